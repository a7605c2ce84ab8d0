#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS that must not come about: each mistake is refused, and one line in the log says what it was."""

import os
import ssl

from harness import tap
from harness.asterisk import environment
from harness.case import group, merge, route_group, server_group
from harness.proxy import run_program
from harness.tls import Authority, client_context, get_pin
from harness.tls_case import TlsTest


# What OpenSSL says of it.
CERTIFICATE_MISSING = {'TLSv1_2': 'Handshake failed', 'TLSv1_3': 'Certificate is required'}


class BadServers(TlsTest):
    """The handshake with the first server fails; its cause is logged, and the second is tried."""

    def check(self, reason, certificate=None, lines=(), context=None, **options):
        bad = self.make_tls_server(None, certificate=certificate, **options)
        good = self.make_server()
        self.start_proxy(self.tls_server('bad', bad.address, *lines),
                         server_group('good', good.address),
                         route_group('both', 'both', ['bad', 'good']),
                         route_group('bad', 'bad', 'bad'))
        self.shake_hands(bad)
        self.assert_success(self.call('agi://h/both'))
        self.assertEqual(len(good.sessions), 1)
        self.proxy.wait_for_log(f"server bad can't be reached: {reason}")
        # Alone it is a refusal with the same cause.
        self.assert_refused(self.call('agi://h/bad'), 'NOSERVER')
        self.proxy.wait_for_log(rf'refused, NOSERVER \({reason}\)')

    def shake_hands(self, server):
        """Has the server try its part with whoever comes."""
        def behave(session):
            try:
                session.handshake()
                session.read_to_end()
            except (OSError, ssl.SSLError, AssertionError):
                pass
        server.behaviour = behave

    def test_expired(self):
        self.check('the certificate has expired', self.ca.issue('old', end='20210101'))

    def test_not_valid_yet(self):
        self.check('the certificate is not valid yet',
                   self.ca.issue('young', start='20480101', end='20490101'))

    def test_signed_by_itself(self):
        self.check('the certificate is signed by itself', self.ca.issue_self_signed('own'))

    def test_unknown_authority(self):
        os.mkdir(self.make_path('other'))
        other = Authority(self.make_path('other'), 'Another CA')
        self.check('the certificate is of an unknown CA', other.issue('stranger'))

    def test_wrong_name(self):
        self.check('the certificate is for another name',
                   self.ca.issue('elsewhere', names='DNS:elsewhere.example'))

    def test_wrong_tls_name(self):
        self.check('the certificate is for another name', lines=['TLSName=other.example'])

    def test_wrong_purpose(self):
        self.check('the certificate is made for another purpose',
                   self.ca.issue('mailer', purpose='mail'))

    def test_revoked(self):
        certificate = self.ca.issue('gone')
        self.check('the certificate is revoked', certificate,
                   ['CRL=' + self.ca.revoke(certificate)])

    def test_revoked_by_a_list_that_has_ended(self):
        certificate = self.ca.issue('gone')
        self.ca.revoke(certificate)
        ended = self.ca.list_revoked('-crl_lastupdate', '20200101000000Z', '-crl_nextupdate',
                                     '20200201000000Z')
        self.check('the certificate is revoked', certificate, ['CRL=' + ended])
        self.proxy.wait_for_log(f'The revocation list {ended} has ended')

    def test_weak_key(self):
        self.check('the certificate has a weak key or signature',
                   self.ca.issue('weak', key='weak'))

    def check_list_refused(self, name):
        """A list that isn't of the server's authority."""
        os.mkdir(self.make_path('other'))
        other = Authority(self.make_path('other'), name)
        path = self.make_path('bad.conf')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(group('Listener', 'main', 'Listen=127.0.0.1:4573')
                       + self.tls_server('one', '127.0.0.1:4574', 'CRL=' + other.list_revoked())
                       + route_group('all', '*', 'one'))
        run = run_program('--check-config', '--config=' + path)
        self.assertEqual(run.returncode, 78, run)
        self.assertRegex(run.stderr, r'\[Server one\] CRL=: .*crl.pem holds no revocation list of '
                                     r'these CAs')

    def test_revocation_list_of_another_authority(self):
        self.check_list_refused('Another CA')

    def test_revocation_list_that_is_forged(self):
        self.check_list_refused('Test CA')

    def test_pin(self):
        """In addition to the authority, which is fine."""
        other = self.ca.issue('other')
        self.check('the public key is not the one of TLSPin=', lines=['TLSPin=' + get_pin(other)])

    def test_old_version(self):
        self.check('the peer says: Error in protocol version', version='TLSv1_2',
                   lines=['TLSPriority=NORMAL:-VERS-ALL:+VERS-TLS1.3'])

    def check_certificate_missing(self, version):
        """With TLS 1.3 the server says so only after the handshake is over for its client."""
        self.check(f'the peer says: {CERTIFICATE_MISSING[version]}', ca=self.ca.certificate,
                   version=version)

    def test_certificate_missing_tls12(self):
        self.check_certificate_missing('TLSv1_2')

    def test_certificate_missing_tls13(self):
        self.check_certificate_missing('TLSv1_3')

    def test_certificate_unknown_tls13(self):
        os.mkdir(self.make_path('other'))
        mine = Authority(self.make_path('other'), 'Another CA').issue('mine', purpose='client')
        self.check('the peer says: CA is unknown', ca=self.ca.certificate, version='TLSv1_3',
                   lines=['Certificate=' + mine])

    def test_plain_server(self):
        """One that speaks before it has understood."""
        bad, good = self.make_server(lambda session: session.send(b'NOOP hello\n')), self.make_server()
        self.start_proxy(self.tls_server('bad', bad.address), server_group('good', good.address),
                         route_group('all', '*', ['bad', 'good']))
        self.assert_success(self.call())
        self.proxy.wait_for_log("server bad can't be reached: plain text instead of TLS")

    def test_silent_server(self):
        bad, good = self.make_server(None), self.make_server()
        self.start_proxy(self.tls_server('bad', bad.address), server_group('good', good.address),
                         route_group('all', '*', ['bad', 'good']), proxy=['ConnectTimeout=300ms'])
        self.assert_success(self.call())
        self.proxy.wait_for_log(
            "server bad can't be reached: the TLS handshake was not finished in time")

    def test_server_ends_in_the_handshake(self):
        bad = self.make_server(lambda session: (session.read(5), session.finish(),
                                                session.read_to_end()))
        good = self.make_server()
        self.start_proxy(self.tls_server('bad', bad.address), server_group('good', good.address),
                         route_group('all', '*', ['bad', 'good']))
        self.assert_success(self.call())
        self.proxy.wait_for_log('the peer ended in the middle of the handshake')


class BadClients(TlsTest):
    def start(self, *listener, **options):
        self.start_secure(group('Answer', 'a', 'Commands=NOOP hello'),
                          route_group('all', '*', [], 'Answer=a'), listener=listener, **options)

    def check(self, context, reason):
        client = self.connect_tls(context)
        with self.assertRaises((ssl.SSLError, AssertionError, OSError)) as caught:
            client.send(environment())
            client.read_line()
        client.close()
        self.proxy.wait_for_log(rf'refused, TLS \({reason}\)')
        return caught.exception

    def test_plain_text(self):
        """What Asterisk does if it is pointed at the wrong port: the dialplan sees FAILURE."""
        self.start()
        client = self.call()
        self.assertEqual(client.wait(), 'FAILURE')
        self.assertEqual(client.commands, [])
        self.assertEqual(bytes(client.connection.received), b'FAILURE\n')
        self.proxy.wait_for_log(r'refused, BADREQUEST \(plain text instead of TLS\)')

    def test_tls_on_a_plain_listener(self):
        self.start_proxy(group('Answer', 'a'), route_group('all', '*', [], 'Answer=a'))
        client = self.connect_tls()
        with self.assertRaises(ssl.SSLError):
            client.handshake()
        client.close()
        self.proxy.wait_for_log(r'refused, BADREQUEST \(TLS on a listener without it\)')

    def test_tls10_and_tls11(self):
        self.start()
        for version in ('TLSv1', 'TLSv1_1'):
            context = client_context(self.ca.certificate, version=version)
            context.set_ciphers('ALL:@SECLEVEL=0')
            mark = self.proxy.log.mark()
            self.check(context, 'no TLS version in common')
            self.proxy.wait_for_log('no TLS version in common', mark)

    def test_no_shared_cipher(self):
        """RSA key exchange has no forward secrecy."""
        self.start(certificate=self.ca.issue('rsa', 'rsa'))
        context = client_context(self.ca.certificate, version='TLSv1_2')
        context.set_ciphers('AES256-GCM-SHA384')
        self.check(context, 'no cipher suite in common')

    def test_certificate_missing(self):
        for version in ('TLSv1_2', 'TLSv1_3'):
            self.start('ClientCertificate=required', 'ClientCA=' + self.ca.certificate)
            self.check(client_context(self.ca.certificate, version=version),
                       'the client certificate is missing')

    def start_with_client(self, certificate, *listener, mode='required'):
        self.start('ClientCertificate=' + mode, 'ClientCA=' + self.ca.certificate, *listener)
        return client_context(self.ca.certificate, certificate)

    def test_certificate_optional(self):
        context = self.start_with_client(self.ca.issue('me', purpose='client'), mode='optional')
        self.assert_success(self.call_tls(context=context))
        self.assert_success(self.call_tls())

    def test_certificate_expired(self):
        context = self.start_with_client(self.ca.issue('me', purpose='client', end='20210101'),
                                         mode='optional')
        self.check(context, 'the certificate has expired')

    def test_certificate_of_a_server(self):
        context = self.start_with_client(self.certificate)
        self.check(context, 'the certificate is made for another purpose')

    def test_certificate_unknown(self):
        os.mkdir(self.make_path('other'))
        other = Authority(self.make_path('other'), 'Another CA')
        context = self.start_with_client(other.issue('stranger', purpose='client'))
        self.check(context, 'the certificate is of an unknown CA')

    def test_certificate_revoked(self):
        me = self.ca.issue('me', purpose='client')
        context = self.start_with_client(me, 'CRL=' + self.ca.revoke(me))
        self.check(context, 'the certificate is revoked')

    def test_client_refuses_us(self):
        os.mkdir(self.make_path('other'))
        other = Authority(self.make_path('other'), 'Another CA')
        self.start()
        self.check(client_context(other.certificate), 'the peer says: CA is unknown')

    def test_silence(self):
        """A handshake has a deadline."""
        self.start(proxy=['RequestTimeout=300ms'])
        client = self.connect()
        client.read_to_end()
        half = self.connect()
        half.send(b'\x16\x03\x01\x01\x00')
        half.read_to_end()
        half.close()
        self.wait_for_records(2)

    def test_denied(self):
        """It is told in TLS why."""
        self.start('Allow=10.0.0.0/8')
        self.assert_refused(self.call_tls(), 'DENIED')

    def test_full(self):
        self.start(proxy=['MaxSessions=1'])
        held = self.connect_tls().handshake()
        self.assert_refused(self.call_tls(), 'FULL')
        held.close()

    def test_full_and_silent(self):
        """Who is refused and never ends the handshake is recorded for what was refused."""
        self.start(proxy=['MaxSessions=1'])
        held = self.connect_tls().handshake()
        silent = self.connect()
        silent.read_to_end()
        silent.close()
        self.proxy.wait_for_log('refused, FULL')
        held.close()

    def test_garbage(self):
        self.start(proxy=['RequestTimeout=1s'])
        for data in (b'\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff' + b'\xff' * 100,
                     b'\x16\x03\x03\xff\xff' + b'A' * 70000,
                     b'\x15\x03\x03\x00\x02\x02\x28', b'\x16' * 5000):
            client = self.connect()
            try:
                client.send(data)
            except OSError:
                pass
            client.read_to_end()
            client.close()
        self.wait_for_records(4)
        self.assert_success(self.call_tls())


class BadSettings(TlsTest):
    """Each is an error with the line that is to blame."""

    def check(self, expected, *listener, server=()):
        text = (group('Listener', 'in', 'Listen=127.0.0.1:1', 'TLS=yes', *listener)
                + group('Server', 'one', *merge(server, 'Address=127.0.0.1:2', 'TLS=yes'))
                + route_group('all', '*', 'one'))
        path = self.make_path('agitator.conf')
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text)
        run = run_program('--check-config', '--config=' + path)
        self.assertRegex(run.stdout + run.stderr, expected)
        return run.returncode

    def own(self):
        return 'Certificate=' + self.certificate

    def test_file_missing(self):
        self.assertNotEqual(self.check(r'conf:4: \[Listener in\] Certificate=: /none can.t be read: '
                                       'there is no such file', 'Certificate=/none'), 0)

    def test_no_certificate(self):
        self.check(r'conf:3: \[Listener in\] TLS=: TLS=yes needs Certificate=')

    def test_key_of_another(self):
        other = self.ca.issue('other')
        self.check(r'conf:5: \[Listener in\] PrivateKey=: .*other\.pem is not the key of the '
                   'certificate', self.own(), 'PrivateKey=' + other)

    def test_client_authority_missing(self):
        self.check(r'conf:5: \[Listener in\] ClientCertificate=: .*ClientCA=', self.own(),
                   'ClientCertificate=required')

    def test_priority(self):
        self.check(r"conf:5: \[Listener in\] TLSPriority=: 'NORMAL:\+NONSENSE' is no list of "
                   'priorities', self.own(), 'TLSPriority=NORMAL:+NONSENSE')

    def test_staple_of_another(self):
        staple = self.ca.answer_status(self.ca.issue('other'))
        self.check(r'OCSPResponse=: .*ocsp\.der is no OCSP response for the certificate', self.own(),
                   'OCSPResponse=' + staple)

    def test_server_authority(self):
        self.check(r'\[Server one\] CAFile=: .*server\.key holds no CA certificate', self.own(),
                   server=['CAFile=' + self.ca.path('server.key')])

    def test_pin(self):
        self.check(r"\[Server one\] TLSPin=: 'abc' is no SHA-256", self.own(), server=['TLSPin=abc'])

    def test_unix_socket_without_a_name(self):
        self.check('write TLSName=', self.own(), server=['Address=unix:/x'])

    def test_without_tls(self):
        self.assertEqual(self.check(r'\[Server one\] CAFile=: Without TLS=yes this has no effect',
                                    self.own(), server=['TLS=no', 'CAFile=/x']), 0)


if __name__ == '__main__':
    tap.main()
