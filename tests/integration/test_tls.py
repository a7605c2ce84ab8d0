#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS on both sides: the ways it is set up, who it works with, and how its sessions end."""

import os
import ssl
import threading

from harness import tap
from harness.asterisk import environment
from harness.case import Config, group, route_group, server_group, SETTLE
from harness.tls import client_context, get_pin
from harness.tls_case import TlsTest


class Topologies(TlsTest):
    def test_tls_client_plain_server(self):
        server = self.make_server()
        self.start_secure(server_group('one', server.address), route_group('all', '*', 'one'))
        client = self.call_tls('agi://h/x?y=z')
        self.assert_success(client)
        self.assertEqual(client.variables['SERVED'], 'yes')
        self.assertIn(b'agi_request: agi://%s/x?y=z\n' % server.authority.encode(),
                      server.sessions[0].environment)

    def test_plain_client_tls_server(self):
        server = self.make_tls_server()
        self.start_wrapping(server.address)
        for _ in range(5):
            self.assert_success(self.call())
        self.assertEqual(len(server.sessions), 5)

    def test_two_agitators_between(self):
        """Asterisk, agitator, TLS, agitator, servers of both paths."""
        one, two = self.make_server(), self.make_server()
        inner = self.start_secure(server_group('one', one.address), server_group('two', two.address),
                                  route_group('one', 'one', 'one'), route_group('two', 'two', 'two'))
        outer = self.start_wrapping('%s:%d' % self.address)
        for path, server in (('one', one), ('two', two)):
            self.assert_success(self.call('agi://h/' + path))
            self.assertEqual(len(server.sessions), 1)
        # A refusal comes through as what it is.
        self.assert_refused(self.call('agi://h/three'), 'NOROUTE')
        inner.wait_for_log('refused, NOROUTE')
        outer.wait_for_log('server one, .* 1 commands')

    def test_large_both_ways(self):
        """More than any buffer, through two agitators in TLS, in both directions at once."""
        server = self.make_server(None)
        self.start_secure(server_group('one', server.address), route_group('all', '*', 'one',
                                                                           'Relay=bytes'))
        self.start_proxy(self.tls_server('one', '%s:%d' % self.address),
                         route_group('all', '*', 'one', 'Relay=bytes'))
        client, session = self.open_session(server)
        data = os.urandom(3 * 1024 * 1024)
        for sender, receiver in ((client, session), (session, client)):
            thread = threading.Thread(target=sender.send, args=(data,))
            thread.start()
            receiver_got = receiver.read(len(data))
            thread.join()
            self.assertEqual(receiver_got, data)
        self.assert_ends(client, session)


class Ends(TlsTest):
    def start_pair(self, *listener):
        """Two agitators in TLS with each other, and a session through them."""
        server = self.make_server(None)
        self.start_secure(server_group('one', server.address),
                          route_group('all', '*', 'one', 'Relay=bytes'), listener=listener)
        self.start_proxy(self.tls_server('one', '%s:%d' % self.address),
                         route_group('all', '*', 'one', 'Relay=bytes'))
        return self.open_session(server)

    def test_half_close_from_the_server(self):
        client, session = self.start_pair()
        data = os.urandom(600 * 1024)
        session.send(data)
        session.finish()
        self.assertEqual((client.read_to_end() == data, client.ended), (True, 'FIN'))
        client.send(b'HANGUP\n')
        client.finish()
        self.assertEqual((session.read_to_end(), session.ended), (b'HANGUP\n', 'FIN'))

    def test_half_close_from_the_client(self):
        client, session = self.start_pair()
        data = os.urandom(600 * 1024)
        client.send(data)
        client.finish()
        self.assertEqual((session.read_to_end() == data, session.ended), (True, 'FIN'))
        session.send(b'NOOP late\n')
        session.finish()
        self.assertEqual((client.read_to_end(), client.ended), (b'NOOP late\n', 'FIN'))

    def test_half_close_in_tls_itself(self):
        """Python's ends: close_notify from each, every byte before it and after the other's."""
        server = self.make_tls_server(None)
        self.start_secure(self.tls_server('one', server.address), route_group('all', '*', 'one'))
        client = self.connect_tls()
        client.send(environment())
        session = server.accept()
        session.read_environment()
        session.send(b'NOOP x\n')
        session.finish()
        self.assertEqual((client.read_to_end(), client.ended), (b'NOOP x\n', 'FIN'))
        client.send(b'HANGUP\n')
        client.finish()
        self.assertEqual((session.read_to_end(), session.ended), (b'HANGUP\n', 'FIN'))
        self.proxy.wait_for_log('served')
        self.assertNotIn('truncated', self.proxy.log_text())

    def start_truncating_server(self, *lines):
        def behave(session):
            session.read_environment()
            session.command(b'NOOP one')
            session.truncate()
            session.read_to_end()

        self.start_wrapping(self.make_tls_server(behave).address, *lines)

    def test_truncation_accepted(self):
        self.start_truncating_server()
        self.assert_success(self.call())
        self.proxy.wait_for_log('served, .*truncated by the server')

    def test_truncation_fails(self):
        self.start_truncating_server('OnTruncation=fail')
        self.assertEqual(self.call().wait(), 'FAILURE')
        self.proxy.wait_for_log(r'broken \(an end without close_notify\)')

    def test_truncation_by_a_client(self):
        server = self.make_server(None)
        self.start_secure(server_group('one', server.address), route_group('all', '*', 'one'))
        client = self.connect_tls()
        client.send(environment())
        session = server.accept()
        session.read_environment()
        client.truncate()
        self.assertEqual((session.read_to_end(), session.ended), (b'', 'FIN'))
        session.finish()
        self.proxy.wait_for_log('truncated by the client')

    def test_server_resets(self):
        """The dialplan sees FAILURE, as without TLS."""
        server = self.make_tls_server(lambda session: (session.read_environment(),
                                                       session.command(b'NOOP one'),
                                                       session.reset()))
        self.start_wrapping(server.address)
        self.assertEqual(self.call().wait(), 'FAILURE')
        self.proxy.wait_for_log(r'broken \(Connection reset')


class Certificates(TlsTest):
    def check_kinds(self, key, version):
        certificate = self.ca.issue(key, key)
        server = self.make_tls_server(certificate=certificate, version=version)
        self.start_secure(self.tls_server('one', server.address), route_group('all', '*', 'one'),
                          certificate=certificate)
        context = client_context(self.ca.certificate, version=version)
        self.assert_success(self.call_tls(context=context))

    def test_p256_tls12(self):
        self.check_kinds('p256', 'TLSv1_2')

    def test_p256_tls13(self):
        self.check_kinds('p256', 'TLSv1_3')

    def test_rsa_tls12(self):
        self.check_kinds('rsa', 'TLSv1_2')

    def test_rsa_tls13(self):
        self.check_kinds('rsa', 'TLSv1_3')

    def test_ed25519_tls12(self):
        self.check_kinds('ed25519', 'TLSv1_2')

    def test_ed25519_tls13(self):
        self.check_kinds('ed25519', 'TLSv1_3')

    def test_chosen_by_name(self):
        """Several certificates: the one for the name the client asks for, else the first."""
        other = self.ca.issue('other', names='DNS:other.example')
        self.start_secure(group('Answer', 'a'), route_group('all', '*', [], 'Answer=a'),
                          listener=[], certificate=self.certificate + ';' + other)
        for name, expected in (('localhost', 'server'), ('other.example', 'other')):
            client = self.connect_tls(name=name).handshake()
            subject = dict(pair for part in client.tls.getpeercert()['subject'] for pair in part)
            self.assertEqual(subject['commonName'], expected)
        context = client_context(self.ca.certificate)
        context.check_hostname = False
        client = self.connect_tls(context, name='nobody.example').handshake()
        subject = dict(pair for part in client.tls.getpeercert()['subject'] for pair in part)
        self.assertEqual(subject['commonName'], 'server')

    def test_credential_of_systemd(self):
        """A name without a slash is a credential's."""
        folder = self.make_path('credentials')
        os.mkdir(folder)
        os.link(self.certificate, os.path.join(folder, 'tls'))
        self.start_secure(group('Answer', 'a'), route_group('all', '*', [], 'Answer=a'),
                          certificate='tls', environment={'CREDENTIALS_DIRECTORY': folder})
        self.assert_success(self.call_tls())

    def test_mutual_between_agitators(self):
        mine = self.ca.issue('asterisk-side', purpose='client')
        server = self.make_server()
        inner = self.start_secure(server_group('one', server.address), route_group('all', '*', 'one'),
                                  listener=['ClientCertificate=required',
                                            'ClientCA=' + self.ca.certificate])
        self.start_wrapping('%s:%d' % self.address, 'Certificate=' + mine)
        self.assert_success(self.call())
        self.assert_success(self.call())
        inner.wait_for_log('served')

    def test_pin_alone(self):
        """A certificate signed by itself will do when its key is the pinned one."""
        certificate = self.ca.issue_self_signed('own')
        server = self.make_tls_server(certificate=certificate)
        self.start_proxy(server_group('one', server.address, 'TLS=yes',
                                      'TLSPin=' + get_pin(certificate)),
                         route_group('all', '*', 'one'))
        self.assert_success(self.call())

    def test_verify_no_is_warned_about_at_every_load(self):
        server = self.make_tls_server(certificate=self.ca.issue_self_signed('own'))
        config = Config(server_group('one', server.address, 'TLS=yes', 'TLSVerify=no'),
                        route_group('all', '*', 'one')).text
        main = self.make_socket()
        self.start_proxy_as(config, {'main': main})
        self.address = main.getsockname()[:2]
        self.assert_success(self.call())
        mark = self.proxy.reload()
        self.proxy.wait_for_log('TLSVerify=: The server.s certificate is not checked', mark)


class Resumption(TlsTest):
    def check_listener(self, version):
        self.start_secure(group('Answer', 'a', 'Commands=NOOP'),
                          route_group('all', '*', [], 'Answer=a'), proxy=['Threads=2'])
        context = client_context(self.ca.certificate, version=version)
        first = self.connect_tls(context)
        first.send(environment())
        first.read_line()
        session = first.tls.session
        self.assertFalse(first.tls.session_reused)
        for _ in range(4):  # on whichever worker
            again = self.connect_tls(context, session=session).handshake()
            self.assertTrue(again.tls.session_reused)
        # Tickets stay good over a reload.
        self.proxy.reload()
        self.assertTrue(self.connect_tls(context, session=session).handshake().tls.session_reused)
        # ... and when another process takes over.
        self.proxy.upgrade()
        self.assertTrue(self.connect_tls(context, session=session).handshake().tls.session_reused)

    def test_listener_tls12(self):
        self.check_listener('TLSv1_2')

    def test_listener_tls13(self):
        self.check_listener('TLSv1_3')

    def check_server(self, version):
        server = self.make_tls_server(version=version)
        self.start_wrapping(server.address)
        for _ in range(3):
            self.assert_success(self.call())
        self.assertEqual([session.tls.session_reused for session in server.sessions],
                         [False, True, True])

    def test_server_tls12(self):
        self.check_server('TLSv1_2')

    def test_server_tls13(self):
        self.check_server('TLSv1_3')

    def test_not_across_other_client_authorities(self):
        """A ticket is no way around ClientCertificate=."""
        mine = self.ca.issue('mine', purpose='client')
        listener = ['ClientCertificate=required', 'ClientCA=' + self.ca.certificate]
        groups = [group('Answer', 'a', 'Commands=NOOP'), route_group('all', '*', [], 'Answer=a')]
        self.start_secure(*groups, listener=listener)
        context = client_context(self.ca.certificate, certificate=mine)
        first = self.connect_tls(context)
        first.send(environment())
        first.read_line()
        session = first.tls.session
        self.assertTrue(self.connect_tls(context, session=session).handshake().tls.session_reused)
        revoked = self.ca.revoke(mine)
        self.proxy.reload(Config(*groups, listener=self.tls_listener(*listener,
                                                                     'CRL=' + revoked)).text)
        again = self.connect_tls(context, session=session)
        with self.assertRaises((ssl.SSLError, OSError)):
            again.send(environment())
            again._receive()
        self.assertFalse(again.tls.session_reused)
        self.proxy.wait_for_log(r'the certificate is revoked')


class Reload(TlsTest):
    def subject(self):
        client = self.connect_tls().handshake()
        return dict(pair for part in client.tls.getpeercert()['subject'] for pair in part)

    def test_certificate_replaced(self):
        server = self.make_server(None)
        groups = [server_group('one', server.address), route_group('all', '*', 'one')]
        self.start_secure(*groups)
        running = self.connect_tls()
        running.send(environment())
        session = server.accept()
        session.read_environment()
        os.replace(self.ca.issue('second'), self.certificate)
        self.proxy.reload()
        self.assertEqual(self.subject()['commonName'], 'second')
        self.assert_relayed(running, session)
        # A broken one keeps what was, and says so.
        with open(self.certificate, 'w', encoding='ascii') as file:
            file.write('no certificate\n')
        mark = self.proxy.reload()
        line = self.proxy.wait_for_log('reload failed, the old settings stay in force', mark)
        self.assertRegex(line, r'Certificate=: .*server\.pem holds no certificate')
        self.assertEqual(self.subject()['commonName'], 'second')
        self.assert_relayed(running, session)
        running.finish()
        session.finish()

    def test_address_and_tls_of_a_server_at_once(self):
        """Who is being read at that moment goes to the old address in the old mode, and so does
        nobody else."""
        plain, secure = self.make_server(), self.make_tls_server()
        routes = [SETTLE, route_group('all', '*', 'one')]
        self.start_proxy(server_group('one', plain.address), *routes, proxy=['Threads=1'])
        for old, new, group_of_new in (
                (plain, secure, self.tls_server('one', secure.address)),
                (secure, plain, server_group('one', plain.address))):
            early = self.begin_call()
            self.settle()
            self.proxy.reload(Config(group_of_new, *routes, proxy=['Threads=1']).text)
            counts = len(old.sessions), len(new.sessions)
            self.assert_success(early.start([environment()[100:]]))
            self.assertEqual((len(old.sessions), len(new.sessions)), (counts[0] + 1, counts[1]))
            self.assert_success(self.call())
            self.assertEqual(len(new.sessions), counts[1] + 1)

    def test_certificate_near_and_past_its_end(self):
        past = self.ca.issue('past', end='20210101')
        self.start_secure(group('Answer', 'a'), route_group('all', '*', [], 'Answer=a'),
                          certificate=past)
        self.proxy.wait_for_log(r'warning.*past\.pem has ended \d+ days ago')


if __name__ == '__main__':
    tap.main()
