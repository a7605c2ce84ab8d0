#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""agitator-import: its command line, its files, its language, and the TOML library it takes."""

import ctypes
import os
import re
import stat
import struct
import subprocess
import sys
import sysconfig
import unittest

from harness import tap
from harness.importer import get_import, get_modules, ImportTest, LISTEN, ROUTE, run_import
from harness.proxy import run_program
from harness.waiting import TIMEOUT

GOOD = LISTEN + ROUTE

NOBODY = 65534
PR_CAPBSET_DROP, CAP_CHOWN = 24, 0

# Stands for Python's tomllib, which it hides.
HIDE = 'raise ImportError("hidden by a test")\n'

SHOW = '''import importlib.util, sys
spec = importlib.util.spec_from_file_location(__name__, {0!r} + "/__init__.py",
                                              submodule_search_locations=[{0!r}])
sys.modules[__name__] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
'''


def make_catalog(messages):
    """A catalog of messages as gettext has it."""
    pairs = sorted((key.encode(), value.encode()) for key, value in messages.items())
    start, table, data = 28 + 16 * len(pairs), [], b''
    for column in (0, 1):
        for pair in pairs:
            table.append(struct.pack('<II', len(pair[column]), start + len(data)))
            data += pair[column] + b'\0'
    head = struct.pack('<7I', 0x950412de, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 28)
    return head + b''.join(table) + data


def lose_chown():
    """What is executed next can't give files away, not even as root."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_CHOWN)


class Command(ImportTest):
    def read(self, path):
        with open(path, encoding='utf-8') as file:
            return file.read()

    def assert_said(self, run, status, said):
        self.assertEqual((run.returncode, run.stderr.decode()), (status, said))

    # Options

    def test_help(self):
        for option in ('--help', '-h'):
            run = run_import(option)
            self.assertEqual((run.returncode, run.stderr), (0, b''))
            for word in ('OLD.conf', '--output', '--force', '--version', 'Exit status', 'standard input'):
                self.assertIn(word, run.stdout.decode())

    def test_version(self):
        run = run_import('--version')
        version = re.fullmatch(r'agitator-import (\d+\.\d+\.\d+)\n', run.stdout.decode())
        self.assertEqual((run.returncode, run.stderr), (0, b''))
        self.assertEqual(run_program('--version').stdout, f'agitator {version[1]}\n')
        self.assertIn(f'agitator-import {version[1]} of -,', run_import('-', data=GOOD.encode())
                      .stdout.decode())

    def test_wrong_command_lines(self):
        for arguments in ((), ('a', 'b'), ('--nosuch', 'a'), ('--force', 'a'), ('--output',), ('-o', 'x'),
                          ('--vers',), ('--output=x', '--output', 'a')):
            run = run_import(*arguments)
            self.assertEqual((run.returncode, run.stdout), (2, b''), arguments)
            self.assertIn('usage: agitator-import', run.stderr.decode())
        for arguments in (('-o', ''), ('--output=',), ('-f', '--output', '')):
            run = run_import(*arguments, 'a')
            self.assertEqual((run.returncode, run.stdout), (2, b''), arguments)
            self.assertIn('agitator-import: error: --output is empty\n', run.stderr.decode())

    # Input

    def test_input_that_is_not_there(self):
        missing = self.make_path('missing.conf')
        self.assert_said(run_import(missing), 1, f'agitator-import: {missing}: No such file or directory\n')
        folder = self.make_path('')
        self.assert_said(run_import(folder), 1, f'agitator-import: {folder}: Is a directory\n')
        self.assert_said(run_import(''), 1, 'agitator-import: : No such file or directory\n')
        self.assertEqual(run_import('a\nb').stderr.decode(),
                         'agitator-import: a\\u000ab: No such file or directory\n')

    def test_problems_name_the_file(self):
        path = self.write('threads = 1.5\n' + GOOD)
        self.assert_said(run_import(path), 1, f'{path}:1: threads: It has to be a whole number, not a '
                                              'fraction\n')
        path = self.write(LISTEN, 'two words')
        self.assertTrue(run_import(path).stderr.decode().startswith(f'{path}: There is no [[route]]'))

    def test_input_from_a_pipe(self):
        self.assertEqual(run_import('/dev/stdin', data=GOOD.encode()).returncode, 0)

    # Output

    def test_output(self):
        path, expected = self.make_path('new.conf'), run_import('-', data=GOOD.encode()).stdout.decode()
        for option in (('-o', path), ('--output', path), (f'--output={path}',)):
            run = run_import('-', *option, data=GOOD.encode())
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b'', b''))
            self.assertEqual(self.read(path), expected)
            os.unlink(path)

    def test_output_that_is_there(self):
        path = self.write('mine', 'new.conf')
        run = run_import('-', '--output', path, data=GOOD.encode())
        self.assert_said(run, 1, f'agitator-import: {path} is there already; --force replaces it\n')
        self.assertEqual(self.read(path), 'mine')
        link = self.make_path('link')
        os.symlink(self.make_path('nowhere'), link)
        self.assertEqual(run_import('-', '-o', link, data=GOOD.encode()).returncode, 1)
        self.assertFalse(os.path.exists(self.make_path('nowhere')))

    def test_output_by_force(self):
        path = self.write('mine', 'new.conf')
        os.chmod(path, 0o640)
        link = self.make_path('link')
        os.symlink(path, link)
        for target in (path, link):
            old = os.stat(path).st_ino
            run = run_import('-', '--force', '--output', target, data=GOOD.encode())
            self.assertEqual((run.returncode, run.stderr), (0, b''))
            self.assertIn('[Route rest]', self.read(path))
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o640)
            self.assertNotEqual(os.stat(path).st_ino, old, 'it was not replaced in one step')
        self.assertTrue(os.path.islink(link))
        new = self.make_path('other.conf')
        self.assertEqual(run_import('-', '-fo', new, data=GOOD.encode()).returncode, 0)
        self.assertEqual(sorted(os.listdir(self.make_path(''))), ['link', 'new.conf', 'other.conf'])

    @unittest.skipIf(os.geteuid() != 0, 'only root can give files away')
    def test_owner_and_group_stay(self):
        path = self.write('mine', 'new.conf')
        for user, group, mode in ((NOBODY, NOBODY, 0o640), (0, NOBODY, 0o600), (NOBODY, 0, 0o2755)):
            os.chown(path, user, group)
            os.chmod(path, mode)
            self.assert_said(run_import('-', '-fo', path, data=GOOD.encode()), 0, '')
            now = os.stat(path)
            self.assertEqual((now.st_uid, now.st_gid, stat.S_IMODE(now.st_mode)), (user, group, mode))

    @unittest.skipIf(os.geteuid() != 0, 'only root can give files away')
    def test_owner_or_group_that_can_not_be_kept(self):
        path = self.write('mine', 'new.conf')
        for user, group in ((NOBODY, NOBODY), (NOBODY, 0), (0, NOBODY)):
            os.chown(path, user, group)
            run = run_import('-', '-fo', path, data=GOOD.encode(), preexec_fn=lose_chown)
            self.assert_said(run, 1, f"agitator-import: {path}: Its owner and group can't be kept, so it "
                                     'stays as it is\n')
            now = os.stat(path)
            self.assertEqual((self.read(path), now.st_uid, now.st_gid), ('mine', user, group))
        self.assertEqual(os.listdir(self.make_path('')), ['new.conf'])
        os.chown(path, 0, 0)
        run = run_import('-', '-fo', path, data=GOOD.encode(), preexec_fn=lose_chown)
        self.assert_said(run, 0, '')

    def test_file_onto_itself(self):
        """It is read whole before anything is written."""
        path = self.write(GOOD)
        self.assertEqual(run_import(path, '-o', path).returncode, 1)
        self.assertEqual(self.read(path), GOOD)
        self.assertEqual(run_import(path, '-fo', path).returncode, 0)
        self.check(self.read(path))

    def test_output_that_can_not_be_written(self):
        path = self.make_path('no/such/folder')
        for force in ((), ('--force',)):
            run = run_import('-', '-o', path, *force, data=GOOD.encode())
            self.assertEqual(run.returncode, 1)
            self.assertRegex(run.stderr.decode(), '^agitator-import: .*: No such file or directory\n$')
        folder = self.make_path('')
        run = run_import('-', '-f', '-o', folder, data=GOOD.encode())
        self.assert_said(run, 1, f'agitator-import: {folder}: This is not a regular file\n')
        run = run_import('-', '-f', '-o', '/dev/null', data=GOOD.encode())
        self.assert_said(run, 1, 'agitator-import: /dev/null: This is not a regular file\n')
        self.assertTrue(stat.S_ISCHR(os.stat('/dev/null').st_mode))

    def test_full_disk(self):
        with open('/dev/full', 'wb') as full:
            run = run_import('-', data=GOOD.encode(), stdout=full)
        self.assert_said(run, 1, 'agitator-import: -: No space left on device\n')

    def test_nobody_reads(self):
        read, write = os.pipe()
        os.close(read)
        with open(write, 'wb') as pipe:
            run = run_import('-', data=GOOD.encode(), stdout=pipe)
        self.assert_said(run, 1, 'agitator-import: -: Broken pipe\n')

    def test_closed_descriptors(self):
        path, new = self.write(GOOD), self.make_path('new.conf')
        for arguments, closed, status, said in (
                (['-'], '<&-', 1, 'agitator-import: -: Bad file descriptor\n'),
                ([path], '>&-', 1, 'agitator-import: -: Bad file descriptor\n'),
                (['-o', new, path], '<&- >&- 2>&-', 0, ''), (['missing'], '2>&-', 1, ''),
                (['missing'], '2>/dev/full', 1, '')):
            run = subprocess.run(['/bin/sh', '-c', f'exec "$@" {closed}', 'sh', sys.executable, get_import(),
                                  *arguments], capture_output=True, check=False, timeout=TIMEOUT)
            self.assertEqual((run.returncode, run.stdout, run.stderr.decode()), (status, b'', said), closed)
        self.check(self.read(new))

    def test_nothing_is_left_beside_the_modules(self):
        """Root would leave what no package knows of."""
        folder = os.path.join(get_modules(), 'importer')
        before = sorted(os.listdir(folder))
        self.assertEqual(run_import('--version', environment={'PYTHONDONTWRITEBYTECODE': ''}).returncode, 0)
        self.assertEqual(sorted(os.listdir(folder)), before)

    # Languages

    def test_translation(self):
        folder = self.make_path('de/LC_MESSAGES')
        os.makedirs(folder)
        with open(os.path.join(folder, 'agitator.mo'), 'wb') as file:
            file.write(make_catalog({
                '': 'Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=(n != 1);\n',
                'It has to be {wanted}, not {type}': 'Es muss {wanted} sein, nicht {type}',
                'a fraction': 'ein Bruch', 'a whole number': 'eine ganze Zahl',
                'agitator-import: {n} route of {all} is left out; a comment says why\0'
                'agitator-import: {n} routes of {all} are left out; comments say why':
                    'Eine von {all} fehlt\0{n} von {all} fehlen'}))
        script = ('import sys; sys.path.insert(0, sys.argv.pop(1)); from importer.command import main; '
                  'sys.exit(main("1", sys.argv.pop(1)))')

        def run(old, **environment):
            return subprocess.run(
                [sys.executable, '-c', script, get_modules(), self.make_path(''), '-'], input=old.encode(),
                env={**os.environ, 'LC_ALL': 'de_DE.UTF-8', 'LANGUAGE': '', 'PYTHONUTF8': '1', **environment},
                capture_output=True, timeout=TIMEOUT, check=False)

        refused, left_out = 'threads = 1.5\n' + GOOD, GOOD + '[[route]]\npath = "a"\n' * 3
        self.assertEqual(run(refused).stderr.decode(),
                         '-:1: threads: Es muss eine ganze Zahl sein, nicht ein Bruch\n')
        self.assertEqual(run(left_out).stderr.decode(), '3 von 4 fehlen\n')
        self.assertIn('whole number', run(refused, LC_ALL='fr_FR.UTF-8').stderr.decode())
        self.assertEqual(run(left_out).stdout, run(left_out, LC_ALL='C').stdout)

    def test_other_encodings(self):
        """What is written is UTF-8 wherever it runs."""
        old = GOOD + '[[route]]\npath = "café"\n[[route.host]]\naddr = "h"\n'
        expected = run_import('-', data=old.encode()).stdout
        self.assertIn('Path=café\n', expected.decode())
        for environment in ({'PYTHONIOENCODING': 'latin-1'}, {'PYTHONIOENCODING': 'ascii'},
                            {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}):
            environment = {'LC_ALL': 'C.UTF-8', **environment}
            run = run_import('-', data=old.encode(), environment=environment)
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, expected, b''))
            run = run_import('-', data=old.replace('"h"', '"é"').encode(), environment=environment)
            self.assertEqual(run.returncode, 1)
            self.assertNotIn('Traceback', run.stderr.decode('latin-1'))

    # The TOML library

    @unittest.skipIf(sys.version_info < (3, 11), 'This Python has no tomllib to put in the place of tomli')
    def test_tomli_in_place_of_tomllib(self):
        self.write(HIDE, 'tomllib.py')
        os.mkdir(self.make_path('tomli'))
        self.write(SHOW.format(os.path.join(sysconfig.get_path('stdlib'), 'tomllib')), 'tomli/__init__.py')
        environment = {'PYTHONPATH': self.make_path('').rstrip('/')}
        expected = run_import('-', data=GOOD.encode()).stdout
        run = run_import('-', data=GOOD.encode(), environment=environment)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, expected, b''))
        run = run_import('-', data=b'x = \n', environment=environment)
        self.assertRegex(run.stderr.decode(), '^-:1: This is no TOML: ')

    def test_no_toml_library(self):
        for name in ('tomllib.py', 'tomli.py'):
            self.write(HIDE, name)
        environment = {'PYTHONPATH': self.make_path('').rstrip('/')}
        self.assert_said(run_import('-', data=GOOD.encode(), environment=environment), 1,
                         'agitator-import: Python 3.11 is needed, or its module tomli (python3-tomli)\n')
        self.assertEqual(run_import('--version', environment=environment).returncode, 0)


if __name__ == '__main__':
    tap.main()
