#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: every mistake of a configuration at once, the settings in force, the version."""

import os

from harness import tap
from harness.case import IntegrationTest
from harness.proxy import run_program

GOOD = '''[Proxy]
RequestTimeout=5s

[Listener main]
Listen=127.0.0.1:4573;[::1]:4573

[Server one]
Address=ivr1.example.com

[Route all]
Path=*
Servers=one
'''

# Each mistake on a line of its own; the comment before it is what the report must say.
BAD = '''[Proxy]
# RequestTimeout
RequestTimeot=5s
# soon
ConnectTimeout=soon
# Threads
Threads=0

# Listener
[Listner main]

[Listener main]
# Port 'x'
Listen=127.0.0.1:x
# 300.0.0.0/8
Allow=300.0.0.0/8

[Server one]
Address=127.0.0.1:4573
# Weight
Weight=-1
# MaxSessions
MaxSessions=many

# Address
[Server two]
Weight=2

[Route a]
Path=a
# nosuch
Servers=one;nosuch
# balance
Mode=balanc

[Route b]
# a
Path=a
Servers=one
# nosuch
Fallback=nosuch

[Route c]
Path=c
Servers=one
# Path
Path=d

[Route d]
Path=e
Servers=one

# d
[Route d]
'''


class Configuration(IntegrationTest):
    def write(self, text, name='agitator.conf'):
        path = self.make_path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        return path

    def check(self, text, *arguments):
        return run_program(*(arguments or ['--check-config']), '--config=' + self.write(text))

    def test_good_file(self):
        result = self.check(GOOD)
        self.assertEqual(result.returncode, 0, result)
        self.assertNotIn('error', result.stdout + result.stderr)

    def test_every_mistake_is_reported_with_its_line(self):
        result = self.check(BAD)
        self.assertNotEqual(result.returncode, 0)
        report = (result.stdout + result.stderr).splitlines()
        missing = []
        lines = BAD.splitlines()
        for number, line in enumerate(lines, 1):
            if line.startswith('# '):
                place = 'agitator.conf:%d: ' % (number + 1)
                if not any(place in said and line[2:] in said.partition(place)[2]
                           for said in report):
                    missing.append((place, line[2:], lines[number]))
        self.assertEqual(missing, [], '\n'.join(report))

    def test_report_names_nothing_twice(self):
        result = self.check(BAD)
        report = (result.stdout + result.stderr).splitlines()
        self.assertEqual(len(report), len(set(report)), report)

    def test_nearest_name_is_suggested(self):
        said = self.check(GOOD.replace('RequestTimeout', 'RequestTimeot'))
        self.assertIn('RequestTimeout', said.stdout + said.stderr)

    def test_unused_server_is_a_warning(self):
        result = self.check(GOOD + '\n[Server idle]\nAddress=127.0.0.1\n')
        self.assertEqual(result.returncode, 0, result)
        self.assertIn('idle', result.stdout + result.stderr)

    def test_missing_file_is_an_error(self):
        result = run_program('--check-config', '--config=/nonexistent/agitator.conf')
        self.assertNotEqual(result.returncode, 0)
        self.assertIn('/nonexistent/agitator.conf', result.stdout + result.stderr)

    def test_junk_is_an_error_with_its_line(self):
        result = self.check(GOOD + 'no key here\n')
        self.assertNotEqual(result.returncode, 0)
        self.assertIn('agitator.conf:%d' % (GOOD.count('\n') + 1), result.stdout + result.stderr)

    def test_drop_ins_win_in_the_order_of_their_names(self):
        self.write('[Proxy]\nRequestTimeout=7s\n', 'agitator.conf.d/20-later.conf')
        self.write('[Proxy]\nRequestTimeout=6s\nSetupTimeout=8s\n', 'agitator.conf.d/10-first.conf')
        self.write('[Proxy]\nRequestTimeout=9s\n', 'agitator.conf.d/30-not-one.txt')
        result = self.check(GOOD, '--dump-config')
        self.assertEqual(result.returncode, 0, result)
        self.assertRegex(result.stdout, r'(?m)^RequestTimeout=7s')
        self.assertRegex(result.stdout, r'(?m)^SetupTimeout=8s')
        self.assertIn('20-later.conf', result.stdout)
        self.assertIn('10-first.conf', result.stdout)
        self.assertNotIn('30-not-one', result.stdout)

    def test_mistake_in_a_drop_in_names_it(self):
        self.write('[Proxy]\n\nBad=1\n', 'agitator.conf.d/10-bad.conf')
        result = self.check(GOOD)
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stdout + result.stderr, r'10-bad\.conf:3: .*Bad')

    def test_dump_is_a_configuration_again(self):
        dump = self.check(GOOD, '--dump-config')
        self.assertEqual(dump.returncode, 0, dump)
        self.assertRegex(dump.stdout, r'(?m)^RequestTimeout=5s')
        self.assertRegex(dump.stdout, r'(?m)^StopTimeout=30s')
        again = self.check(dump.stdout)
        self.assertEqual(again.returncode, 0, again)

    def test_dump_of_a_bad_file_fails(self):
        result = self.check(BAD, '--dump-config')
        self.assertNotEqual(result.returncode, 0)

    def test_output_that_cannot_be_written_is_no_success(self):
        path = self.write(GOOD)
        for option in '--dump-config', '--check-config', '--version':
            with open('/dev/full', 'w', encoding='utf-8') as full:
                result = run_program('--config=' + path, option, stdout=full)
            self.assertEqual(result.returncode, 1, option)
            self.assertEqual(result.stderr, 'agitator: No space left on device\n')
        with open('/dev/full', 'w', encoding='utf-8') as full:
            result = run_program('--help', stdout=full)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, '^agitator: .+\n$')  # GLib has forgotten the reason

    def test_version(self):
        result = run_program('--version')
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stdout, r'^agitator \d+\.\d+')

    def test_unknown_option(self):
        result = run_program('--no-such-option')
        self.assertNotEqual(result.returncode, 0)
        self.assertIn('--no-such-option', result.stderr)

    def test_help(self):
        result = run_program('--help')
        self.assertEqual(result.returncode, 0)
        self.assertIn('--check-config', result.stdout)


if __name__ == '__main__':
    tap.main()
