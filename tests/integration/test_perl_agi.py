#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real FastAGI server behind agitator: Perl's Asterisk::AGI on Net::Server."""

import os
import subprocess

from harness import tap
from harness.asterisk import environment
from harness.case import IntegrationTest

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'perl-agi-server.pl')

# Where Debian has the modules the script needs.
PACKAGES = {'Asterisk::AGI': 'libasterisk-agi-perl', 'Net::Server::Fork': 'libnet-server-perl'}


class PerlAgi(IntegrationTest):
    def setUp(self):
        super().setUp()
        for module, package in PACKAGES.items():
            found = subprocess.run(['perl', '-M' + module, '-e1'], capture_output=True, check=False)
            self.assertEqual(found.returncode, 0,
                             f'Perl has no {module}: install the package {package}')
        self.perl = subprocess.Popen(['perl', SCRIPT], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, encoding='ascii')
        self.addCleanup(self.stop_perl)
        self.authority = '127.0.0.1:%d' % int(self.perl.stdout.readline())
        self.start_one_route(self.authority)

    def stop_perl(self):
        self.perl.terminate()
        self.perl.wait()
        self.perl.stdout.close()

    def check(self, client):
        self.assert_success(client)
        self.assertEqual(client.variables['REQUEST'], f'agi://{self.authority}/script?x=y')
        self.assertEqual(client.variables['ARGUMENT'], 'one two')
        self.assertEqual(client.variables['SEEN'], client.variables['REQUEST'])
        self.assertEqual((client.glued, client.partial), ([], []))
        self.assertEqual(client.commands[0], b'ANSWER')
        self.assertTrue(client.commands[-1].startswith(b'VERBOSE'), client.commands)

    def start_call(self):
        return self.call(block=environment('agi://h/script?x=y', arguments=['one two']))

    def test_session(self):
        self.check(self.start_call())

    def test_sessions_at_once(self):
        for client in [self.start_call() for _ in range(20)]:
            self.check(client)

    def test_hangup_under_way(self):
        client = self.call(block=environment() + b'HANGUP\n')
        client.wait()
        self.assertTrue(client.commands, client.describe())


if __name__ == '__main__':
    tap.main()
