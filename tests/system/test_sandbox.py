#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that agitator does works inside the service's sandbox."""

import json
import os
import re

from harness.case import route_group, server_group
from harness.names import NameServer
from harness.server import PretendServer, serve
from harness.service import SERVICE, ServiceTest, SOCKET, TLS_ADDRESS, TLS_SOCKET
from harness.system_case import main, PACKAGES
from harness.tls import server_context, server_sessions

# What the service's user can do, a word each.
TRIES = r'''
try() { word=$1; shift; ! "$@" >/dev/null 2>&1 || echo "$word"; }
try own touch /run/agitator/file /var/lib/agitator/file
try write touch /srv/open/file
try configure touch /etc/agitator/open/file
try tmp test -e /tmp/mark
try home test -e /home/somebody
try processes test -e /proc/1
try suid sh -c 'touch /tmp/$$ && chmod u+s /tmp/$$'
try namespace unshare --user true
'''

PIN = '918273'
TOKENS = '/var/lib/agitator/tokens'


class Walls(ServiceTest):
    """The sandbox is there: what works in it doesn't by its being off here."""

    def test_what_the_service_can_do(self):
        self.machine.write('/etc/agitator/tries', TRIES)
        self.machine.write('/tmp/mark', '')
        self.machine.run('mkdir', '-p', '-m', '777', '/srv/open', '/etc/agitator/open')
        self.machine.run('mkdir', '-p', '/home/somebody')
        self.service.drop_in("ExecStartPre=/bin/sh -c 'sh /etc/agitator/tries >/run/agitator/done'")
        self.service.start()
        self.assertEqual(self.machine.read('/run/agitator/done').split(), ['own'])
        done = self.machine.run('runuser', '-u', 'agitator', 'sh', '/etc/agitator/tries').stdout
        self.assertEqual(done.split(), re.findall('(?m)^try ([a-z]+)', TRIES))


class Keys(ServiceTest):
    """Certificates and private keys, wherever they are."""

    def setUp(self):
        super().setUp()
        self.ca = self.make_authority()
        self.server = self.make_server()
        self.rules = self.to_one(self.server)

    def test_files(self):
        """Both sockets at once, each with its listener."""
        self.give_key(self.ca.issue('server'), mode=0o644)
        self.service.write_config(*self.rules,
                                  self.tls_listener('Certificate=/etc/agitator/tls/cert.pem',
                                            'PrivateKey=/etc/agitator/tls/key.pem'))
        self.service.start(SOCKET, TLS_SOCKET)
        self.assertEqual(self.service.show('ActiveState'), 'inactive')
        self.assert_success(self.call_tls(self.ca))
        self.assert_success(self.call())

    def test_key_for_a_group(self):
        """As Debian keeps keys: for the group ssl-cert."""
        self.give_key(self.ca.issue('server'), mode=0o640)
        self.machine.run('groupadd', '-f', '-r', 'ssl-cert')
        self.machine.run('chgrp', 'ssl-cert', '/etc/agitator/tls/key.pem')
        self.service.drop_in('SupplementaryGroups=ssl-cert')
        self.service.write_config(*self.rules,
                                  self.tls_listener('Listen=%s:%d' % TLS_ADDRESS,
                                            'Certificate=/etc/agitator/tls/cert.pem',
                                            'PrivateKey=/etc/agitator/tls/key.pem'))
        self.service.start()
        self.assert_success(self.call_tls(self.ca))

    def test_key_that_root_alone_may_read(self):
        """The service itself may not, and says so; as a credential it is handed over."""
        self.give_key(self.ca.issue('server'), mode=0o600)
        lines = ['Listen=%s:%d' % TLS_ADDRESS, 'Certificate=/etc/agitator/tls/cert.pem']
        self.service.write_config(*self.rules,
                                  self.tls_listener(*lines, 'PrivateKey=/etc/agitator/tls/key.pem'))
        run = self.machine.run('systemctl', 'start', SERVICE, check=False)
        self.assertNotEqual(run.returncode, 0)
        self.assertRegex(self.service.status(), r'\[Listener tls\] PrivateKey=.*permission denied')
        self.machine.run('systemctl', 'reset-failed')

        self.service.drop_in('LoadCredential=key.pem:/etc/agitator/tls/key.pem')
        self.service.write_config(*self.rules, self.tls_listener(*lines, 'PrivateKey=key.pem'))
        self.service.start()
        self.assert_success(self.call_tls(self.ca))
        self.machine.run('agitator', '--check-config')  # as root
        said = self.machine.run('setpriv', '--reuid=nobody', '--clear-groups', 'agitator',
                                '--check-config', check=False)
        self.assertRegex(said.stderr, r"PrivateKey=: 'key\.pem' .* names a credential")
        self.assertEqual(self.service.reload().returncode, 0)
        self.assert_success(self.call_tls(self.ca))

    def start_wrapping(self, *lines):
        """A server that speaks TLS, and has to show that it is the one."""
        server = self.make_server(make_session=server_sessions(server_context(self.ca.issue('server'))))
        self.service.write_config(*self.to_one(server, 'TLS=yes', 'TLSName=localhost', *lines))
        self.service.start()

    def give_authority(self):
        with open(self.ca.certificate, encoding='ascii') as file:
            self.machine.write('/usr/local/share/ca-certificates/test.crt', file.read())

    def test_server_with_an_authority_of_its_own(self):
        self.give_authority()
        self.start_wrapping('CAFile=/usr/local/share/ca-certificates/test.crt')
        self.assert_success(self.call())

    def test_server_with_an_authority_of_the_systems(self):
        self.give_authority()
        self.machine.run('update-ca-certificates')
        self.start_wrapping()
        self.assert_success(self.call())

class Token(ServiceTest):
    """A key in a PKCS #11 token, here SoftHSM's."""

    packages = (*PACKAGES, 'softhsm2', 'gnutls-bin')

    def run_tool(self, *command):
        return self.machine.run('runuser', '-u', 'agitator', '--', 'env', 'GNUTLS_PIN=' + PIN,
                                'SOFTHSM2_CONF=/etc/agitator/softhsm2.conf', *command)

    def test_key_in_a_token(self):
        ca = self.make_authority()
        self.give_key(ca.issue('server'), mode=0o644)
        self.machine.write('/etc/agitator/softhsm2.conf',
                           f'directories.tokendir = {TOKENS}\nobjectstore.backend = file\n')
        self.machine.run('install', '-d', '-o', 'agitator', '/var/lib/agitator', TOKENS)
        self.run_tool('softhsm2-util', '--init-token', '--free', '--label', 'box', '--pin', PIN,
                      '--so-pin', PIN)
        for kind, name in ('certificate', 'cert.pem'), ('privkey', 'key.pem'):
            self.run_tool('p11tool', '--batch', '--login', '--write', '--label', 'server',
                          f'--load-{kind}', '/etc/agitator/tls/' + name, 'pkcs11:token=box')
        server = self.make_server()
        self.service.drop_in('Environment=SOFTHSM2_CONF=/etc/agitator/softhsm2.conf')
        self.service.write_config(
            *self.to_one(server),
            self.tls_listener('Certificate=pkcs11:token=box;object=server;type=cert',
                      f'PrivateKey=pkcs11:token=box;object=server;type=private?pin-value={PIN}'))
        self.service.start(TLS_SOCKET)
        self.service.start()
        for call in [self.call_tls(ca) for _ in range(10)]:
            self.assert_success(call)
        self.assertEqual(self.service.reload().returncode, 0)
        self.assert_success(self.call_tls(ca))


class Names(ServiceTest):
    """What a server's name leads to."""

    def start_with(self, host):
        self.server = self.make_server()
        port = self.server.authority.partition(':')[2]
        self.service.write_config(server_group('one', f'{host}:{port}'),
                                  route_group('all', '*', 'one'))
        self.service.start()

    def test_name_server(self):
        names = self.keep(self.machine.in_network(NameServer, {'ivr.test.example': '127.0.0.1'}))
        self.machine.write('/etc/resolv.conf', 'nameserver 127.0.0.1\n')
        self.start_with('ivr.test.example')
        self.assert_success(self.call())
        self.assertIn('ivr.test.example', [name for name, _ in names.asked])

    def test_file(self):
        with open(self.machine.inside('/etc/hosts'), 'a', encoding='ascii') as file:
            file.write('127.0.0.1 ivr.hosts.example\n')
        self.start_with('ivr.hosts.example')
        self.assert_success(self.call())

    def test_no_name_server(self):
        """The start waits no longer than it should, and the call is told."""
        self.machine.write('/etc/resolv.conf', 'nameserver 127.0.0.1\n')
        self.start_with('ivr.nowhere.example')
        self.assert_refused(self.call(), 'NOSERVER')


class Sockets(ServiceTest):
    def test_unix_sockets(self):
        """A listener in /run/agitator; a server's elsewhere, for everyone."""
        path = self.machine.inside('/run/ivr')
        server = PretendServer(serve, path=path)
        self.servers.append(server)
        os.chmod(path, 0o666)
        self.service.write_config(server_group('one', 'unix:/run/ivr'),
                                  route_group('all', '*', 'one'),
                                  listener=['Listen=unix:/run/agitator/calls'])
        self.service.start()
        self.assert_success(self.call(address=self.machine.inside('/run/agitator/calls')))

    def test_unix_socket_outside_is_the_socket_units(self):
        self.service.drop_in('ListenStream=', 'ListenStream=/run/calls', unit=SOCKET,
                             section='Socket')
        self.service.start(SOCKET)
        self.assert_success(self.call(address=self.machine.inside('/run/calls')))

    def test_ipv6(self):
        server = self.make_server(host='::1')
        self.start_one_server(server, listener=['Listen=[::1]:4573'])
        self.assert_success(self.call(address=('::1', 4573)))

    def test_all_addresses(self):
        """The socket for TLS is one for IPv4 and IPv6."""
        ca = self.make_authority()
        self.give_key(ca.issue('server'), mode=0o644)
        self.service.write_config(
            *self.to_one(self.make_server()),
            self.tls_listener('Certificate=/etc/agitator/tls/cert.pem',
                      'PrivateKey=/etc/agitator/tls/key.pem'))
        self.service.start(TLS_SOCKET)
        for host in '127.0.0.1', '::1':
            self.assert_success(self.call_tls(ca, (host, TLS_ADDRESS[1])))
        self.service.wait_for_log(r'from 127\.0\.0\.1:')

    def test_port_below_1024_is_the_socket_units(self):
        self.service.drop_in('ListenStream=', 'ListenStream=127.0.0.1:573', unit=SOCKET,
                             section='Socket')
        self.service.start(SOCKET)
        self.assert_success(self.call(address=('127.0.0.1', 573)))


class Journal(ServiceTest):
    def test_record_of_a_session(self):
        """With its fields, and an explanation for who asks for it."""
        self.service.start()
        self.assert_success(self.call())
        self.service.wait_for_log('session .* answered')
        arguments = ['-u', SERVICE, '--after-cursor=' + self.service.cursor]
        records = [json.loads(line) for line in
                   self.machine.journal('-o', 'json', *arguments).splitlines()]
        fields = [record for record in records if record.get('AGITATOR_SESSION')]
        self.assertEqual(len(fields), 1)
        self.assertEqual(fields[0]['AGITATOR_LISTENER'], 'plain')
        self.assertEqual(fields[0]['_SYSTEMD_UNIT'], SERVICE)
        explained = self.machine.journal('-x', *arguments)
        self.assertRegex(explained, '(?m)^░░ Subject: ')

    def test_survives_a_journal_that_restarts(self):
        self.service.start()
        self.machine.run('systemctl', 'restart', 'systemd-journald')
        self.assert_success(self.call())
        self.service.wait_for_log('session .* answered')


if __name__ == '__main__':
    main()
