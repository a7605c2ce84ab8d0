# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations that pages show are such as the program takes, without a warning.

The files of certificates and keys in them are credentials, by names without a '/': each is one that
is made here.

usage: check_pages.py PROGRAM PAGE...
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap


def make_credentials(folder, text):
    """A file for each name in a key that names one, all the same: a certificate and its key."""
    names = re.findall(r'^(?:Certificate|PrivateKey|ClientCA|CAFile)=([\w.-]+)$', text, re.M)
    if not names:
        return
    first = os.path.join(folder, names[0])
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:P-256', '-noenc', '-days', '365', '-subj', '/CN=example',
                    '-keyout', first + '.new', '-out', first], check=True, capture_output=True)
    with open(first, 'ab') as file:
        file.write(pathlib.Path(first + '.new').read_bytes())
    for name in set(names[1:]) - {names[0]}:
        shutil.copy(first, os.path.join(folder, name))


def check(program, text):
    """What is wrong with a configuration; None when nothing is."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'agitator.conf'
        path.write_text(text, encoding='utf-8')
        make_credentials(directory, text)
        run = subprocess.run([program, f'--config={path}', '--check-config'], check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8',
                             env={**os.environ, 'CREDENTIALS_DIRECTORY': directory})
    return run.stdout if run.returncode or 'warning' in run.stdout.lower() else None


def find(page, text):
    """The configurations in a page; in a manual page those that are whole."""
    if not page.endswith('.rst'):
        return re.findall(r'^```ini\n(.*?)^```$', text, re.S | re.M)

    blocks = re.findall(r'::\n\n((?:(?: {4}.*)?\n)+)', text)
    return [textwrap.dedent(block) for block in blocks if '[Listener ' in block]


def main():
    program, *pages = sys.argv[1:]
    status = 0
    for page in pages:
        text = pathlib.Path(page).read_text(encoding='utf-8')
        blocks = find(page, text)
        if not blocks:
            print(f'{page}: no configuration')
            status = 1
        for block in blocks:
            wrong = check(program, block)
            if wrong is not None:
                print(f'{page}: {wrong}')
                status = 1
    sys.exit(status)


main()
