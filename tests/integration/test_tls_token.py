#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate and its key in a PKCS #11 token: SoftHSM's, which is a folder of this test's."""

import os
import shutil
import subprocess

from harness import tap
from harness.case import Config, route_group, server_group
from harness.proxy import program
from harness.tls import client_context
from harness.tls_case import TlsTest

PIN = '918273'

# Where Debian has the programs.
PACKAGES = {'softhsm2-util': 'softhsm2', 'p11tool': 'gnutls-bin'}


class Token(TlsTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.make_path('tokens'))
        settings = self.make_path('softhsm2.conf')
        with open(settings, 'w', encoding='utf-8') as file:
            file.write('directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n'
                       % self.make_path('tokens'))
        self.environment = {'SOFTHSM2_CONF': settings}
        self.run_tool('softhsm2-util', '--init-token', '--free', '--label', 'box', '--pin', PIN,
                      '--so-pin', PIN)
        self.put('first', self.certificate)

    def run_tool(self, name, *arguments):
        assert shutil.which(name), f'There is no {name}: install the package {PACKAGES[name]}'
        run = subprocess.run([name, *arguments], capture_output=True, check=False,
                             stdin=subprocess.DEVNULL, encoding='utf-8', errors='backslashreplace',
                             env={**os.environ, **self.environment, 'GNUTLS_PIN': PIN})
        assert run.returncode == 0, f'{name} {arguments}: {run.stdout}{run.stderr}'
        return run.stdout

    def put(self, label, path):
        """A certificate and its key, which can't be taken out any more."""
        for kind in ('certificate', 'privkey'):
            self.run_tool('p11tool', '--batch', '--login', '--write', f'--load-{kind}', path,
                          '--label', label, 'pkcs11:token=box')

    @staticmethod
    def make_lines(label, pin=PIN):
        return ['TLS=yes', f'Certificate=pkcs11:token=box;object={label};type=cert',
                f'PrivateKey=pkcs11:token=box;object={label};type=private?pin-value={pin}']

    def start_token(self):
        server = self.make_server()
        self.groups = [server_group('one', server.address), route_group('all', '*', 'one')]
        self.start_proxy(*self.groups, listener=self.make_lines('first'),
                         environment=self.environment)

    def test_listener(self):
        """Several sessions at once, on all workers, and with both versions."""
        self.start_token()
        for client in [self.call_tls('agi://h/x') for _ in range(30)]:
            self.assert_success(client)
        for version in ('TLSv1_2', 'TLSv1_3'):
            context = client_context(self.ca.certificate, version=version)
            self.assert_success(self.call_tls('agi://h/x', context))

    def test_pin_in_a_file(self):
        with open(self.make_path('pin'), 'w', encoding='utf-8') as file:
            file.write(PIN)
        server = self.make_server()
        lines = [line.replace('pin-value=' + PIN, 'pin-source=' + self.make_path('pin'))
                 for line in self.make_lines('first')]
        self.start_proxy(server_group('one', server.address), route_group('all', '*', 'one'),
                         listener=lines, environment=self.environment)
        self.assert_success(self.call_tls('agi://h/x'))

    def test_server(self):
        """The key signs for us towards a server that asks for a certificate."""
        self.put('client', self.ca.issue('client', purpose='client'))
        server = self.make_tls_server(ca=self.ca.certificate)
        self.start_wrapping(server.address, *self.make_lines('client')[1:],
                            environment=self.environment)
        self.assert_success(self.call())
        self.assertEqual(server.sessions[0].tls.getpeercert()['subject'],
                         ((('commonName', 'client'),),))

    def check_reload(self, label, said, subject):
        mark = self.proxy.reload(Config(*self.groups, listener=self.make_lines(label)).text)
        self.proxy.wait_for_log(said, mark)
        client = self.connect_tls().handshake()
        self.assertEqual(client.tls.getpeercert()['subject'], ((('commonName', subject),),))

    def test_reload(self):
        """Another object is taken; one that isn't there keeps the old."""
        self.put('second', self.ca.issue('other'))
        self.start_token()
        self.check_reload('second', 'reloaded', 'other')
        self.check_reload('third', 'is no certificate that can be used', 'other')
        self.check_reload('first', 'reloaded', 'server')
        self.assertNotIn(PIN, self.proxy.log_text())

    def test_wrong_pin(self):
        """It is told to nobody either. Only the first use of a token looks at it, so this is not
        tried with a running proxy."""
        path = self.make_path('agitator.conf')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(Config(listener=self.make_lines('first', '112233')).text)
        run = subprocess.run([*program(), '--check-config', '--config=' + path],
                             capture_output=True, check=False, encoding='utf-8',
                             env={**os.environ, **self.environment})
        self.assertIn('object=first;type=private is no private key that can be used: ', run.stderr)
        self.assertNotEqual(run.returncode, 0)
        self.assertNotIn('112233', run.stderr + run.stdout)


if __name__ == '__main__':
    tap.main()
