#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log servers in TLS: who is believed, what we show, and that nothing is lost on the way there."""

import datetime
import ssl

from harness import tap
from harness.case import group
from harness.logserver import ANSWER, is_session, LogServers, StreamLogServer
from harness.tls import get_pin, server_context
from harness.tls_case import TlsTest


class SyslogTls(LogServers, TlsTest):
    def serve(self, certificate=None, ca=None, version=None, port=0):
        context = server_context(certificate or self.certificate, ca, version)
        return self.keep_server(StreamLogServer(context=context, port=port))

    def close(self, server):
        server.close()
        self.log_servers.remove(server)

    def start_with(self, server, *lines, ca=True, host='localhost'):
        lines += ('CAFile=' + self.ca.certificate,) if ca else ()
        self.start_proxy(ANSWER, group('Syslog', 'a', f'Address=tls:{host}:{server.port}', *lines),
                         proxy=['Threads=1'])

    def make_sessions(self, n):
        for _ in range(n):
            self.assert_success(self.call('agi://h/x'))

    def check_taken(self, server, n=5):
        self.make_sessions(n)
        self.assertEqual(len(server.wait_sessions(n)), n)
        sequence = [message.sequence for message in server.messages.items]
        self.assertEqual(sequence, list(range(1, len(sequence) + 1)))

    def check_refused(self, server, why):
        """Nothing is told to a server that isn't the right one."""
        self.proxy.wait_for_log("log server a can't be reached: .*" + why)
        self.make_sessions(3)
        self.proxy.stop()
        self.assertEqual(server.messages.items, [])
        self.proxy.wait_for_log(r'\d+ log records for log server a were dropped: it did not take')

    def test_tls_1_3(self):
        server = self.serve(version='TLSv1_3')
        self.start_with(server)
        self.check_taken(server)

    def test_tls_1_2(self):
        server = self.serve(version='TLSv1_2')
        self.start_with(server)
        self.check_taken(server)

    def test_an_address_for_a_name(self):
        server = self.serve()
        self.start_with(server, host='127.0.0.1')
        self.check_taken(server)

    def test_pin(self):
        server = self.serve(certificate=self.ca.issue_self_signed('self'))
        self.start_with(server, 'TLSPin=' + get_pin(self.ca.path('self.pem')), ca=False)
        self.check_taken(server)

    def test_unknown_authority(self):
        server = self.serve(certificate=self.ca.issue_self_signed('self'))
        self.start_with(server)
        self.check_refused(server, 'signed by itself')

    def test_another_name(self):
        server = self.serve(certificate=self.ca.issue('other', names='DNS:logs.example.com'))
        self.start_with(server)
        self.check_refused(server, 'for another name')

    def test_the_name_that_was_configured(self):
        server = self.serve(certificate=self.ca.issue('other', names='DNS:logs.example.com'))
        self.start_with(server, 'TLSName=logs.example.com')
        self.check_taken(server)

    def test_expired(self):
        server = self.serve(certificate=self.ca.issue('old', end='20200201'))
        self.start_with(server)
        self.check_refused(server, 'has expired')

    def test_a_server_without_tls(self):
        server = self.keep_server(StreamLogServer())
        server.reading.clear()
        self.start_with(server)
        self.proxy.wait_for_log("log server a can't be reached: .*handshake was not finished")
        self.make_sessions(3)
        self.proxy.stop()
        connection = server.connections[0]
        connection.settimeout(1)
        self.assertEqual(connection.recv(1), b'\x16')  # a handshake, and no message
        server.take = lambda buffer: ()

    def test_our_certificate(self):
        for version in ('TLSv1_2', 'TLSv1_3'):
            server = self.serve(ca=self.ca.certificate, version=version)
            self.start_with(server, 'Certificate=' + self.ca.issue('client', purpose='client'))
            self.check_taken(server)
            self.proxy.stop()

    def test_our_certificate_ends_soon(self):
        """A kind of its own, and not one among all that is odd in a configuration."""
        soon = (datetime.date.today() + datetime.timedelta(days=10)).strftime('%Y%m%d')
        server = self.serve(ca=self.ca.certificate)
        self.start_with(server, 'Certificate=' + self.ca.issue('client', purpose='client', end=soon))
        message = server.wait(lambda message: message.msgid == 'certificate')
        self.assertRegex(message.text, r'\[Syslog a\] Certificate=: The certificate .* ends in \d+ days')

    def check_our_certificate_refused(self, version):
        """Until the server changes its mind: then it gets everything."""
        server = self.serve(ca=self.ca.certificate, version=version)
        self.start_with(server, 'Certificate=' + self.ca.issue_self_signed('self'))
        self.proxy.wait_for_log("log server a can't be reached: ")
        self.make_sessions(5)
        self.assertEqual(server.messages.items, [])
        port = server.port
        self.close(server)
        server = self.serve(version=version, port=port)
        server.wait_sessions(5)
        sequence = [message.sequence for message in server.messages.items]
        self.assertEqual(sequence, list(range(1, len(sequence) + 1)))
        self.proxy.wait_for_log('log server a is back')

    def test_our_certificate_refused_in_1_2(self):
        self.check_our_certificate_refused('TLSv1_2')

    def test_our_certificate_refused_in_1_3(self):
        self.check_our_certificate_refused('TLSv1_3')

    def test_a_restart(self):
        server = self.serve()
        self.start_with(server)
        self.make_sessions(10)
        server.wait_sessions(10)
        port, first = server.port, list(server.messages.items)
        self.close(server)
        self.make_sessions(9)
        self.assert_success(self.call('agi://h/last'))
        server = self.serve(port=port)
        # Some of the first may be there again, before it.
        server.wait(lambda m: is_session(m) and m.data['request'] == 'agi://h/last')
        both = {message.sequence: message for message in first + server.messages.items}
        self.assertEqual(sorted(both), list(range(1, len(both) + 1)))
        self.assertEqual(len([m for m in both.values() if is_session(m)]), 20)

    def test_the_end_says_goodbye(self):
        """A connection that TLS knows the end of; Python raises an error for any other."""
        server = self.serve()
        self.start_with(server)
        server.wait_text('^ready')
        stream = server.connections[-1]
        self.assertIsInstance(stream, ssl.SSLSocket)
        self.proxy.stop()
        server.wait_text('^stopped')
        for reader in server.readers:
            reader.join(10)
        self.assertEqual(server.ends, ['close_notify'])


if __name__ == '__main__':
    tap.main()
