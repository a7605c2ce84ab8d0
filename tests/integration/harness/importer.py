# SPDX-License-Identifier: GPL-3.0-or-later
"""agitator-import as a test runs it, and what came of it."""

import os
import re
import subprocess
import sys

from .case import IntegrationTest
from .proxy import run_program
from .tls import Authority
from .waiting import TIMEOUT

# What an old configuration needs for nothing of it to be refused.
LISTEN = 'listen = "127.0.0.1"\nport = 4573\n'
ROUTE = '[[route]]\npath = "*"\n[[route.host]]\naddr = "127.0.0.1"\nport = 4545\n'


def get_import():
    path = os.environ.get('AGITATOR_IMPORT')
    if not path:
        raise AssertionError('AGITATOR_IMPORT is not set: it is to name agitator-import')
    return path


def get_modules():
    """The folder that agitator-import has its modules from."""
    with open(get_import(), encoding='utf-8') as file:
        return re.search(r"sys\.path\.insert\(0, '(.*)'\)", file.read())[1]


def run_import(*arguments, data=b'', environment=None, **options):
    everything = {**os.environ, 'LC_ALL': 'C.UTF-8', 'LANGUAGE': '', **(environment or {})}
    options.setdefault('stdout', subprocess.PIPE)
    return subprocess.run([sys.executable, get_import(), *arguments], input=data, env=everything,
                          stderr=subprocess.PIPE, timeout=TIMEOUT, check=False, **options)


def parse(text):
    """{title: {key: value}} of a configuration, in its order."""
    groups = {}
    for line in text.split('\n'):
        if line.startswith('['):
            group = groups[line[1:-1]] = {}
        elif line and not line.startswith('#'):
            key, _, value = line.partition('=')
            group[key] = value
    return groups


# A server whose certificate is verified.
VERIFIED = r'(\nAddress=.*\n(?:[M#].*\n)*TLS=yes\n)(?!#.*\n(?:#.*\n)*TLSVerify=no)'


class ImportTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.authority = None

    def write(self, text, name='old.conf'):
        """A file in the test's folder; its path."""
        path = self.make_path(name)
        with open(path, 'wb') as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def convert(self, old, check=True):
        """The text that is made of `old`, found good by agitator unless `check` is false."""
        run = run_import('-', data=old if isinstance(old, bytes) else old.encode())
        self.assertEqual(run.returncode, 0, run.stderr.decode())
        text = run.stdout.decode()
        if check:
            self.check(text)
        return text

    def check(self, text):
        """Neither an error nor a warning, wherever the authorities of the system may be missing."""
        if re.search(VERIFIED, text):
            if not self.authority:
                self.make_path('')
                self.authority = Authority(self.directory.name)
            text = re.sub(VERIFIED, fr'\1CAFile={self.authority.certificate}\n', text)
        result = run_program('--check-config', '--config=' + self.write(text, 'new.conf'))
        self.assertEqual((result.returncode, result.stderr), (0, ''), text)

    def refuse(self, old):
        """The lines that say why `old` is refused, without the file's name."""
        run = run_import('-', data=old if isinstance(old, bytes) else old.encode())
        said = run.stderr.decode()
        self.assertEqual((run.returncode, run.stdout), (1, b''), said)
        self.assertNotIn('Traceback', said)
        lines = said.splitlines()
        self.assertTrue(lines)
        for line in lines:
            self.assertTrue(line.startswith('-:'), said)
        return [line[2:] for line in lines]

    def assert_key(self, old, title, key, value):
        """In what `old` becomes, the key has that value; None: it isn't there."""
        self.assertEqual(parse(self.convert(old)).get(title, {}).get(key), value, old)
