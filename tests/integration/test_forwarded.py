#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""agi_x_fwd_for: who the client was, and whom to believe."""

from harness import tap
from harness.asterisk import environment, with_authority
from harness.case import IntegrationTest

YES = 'ForwardedFor=yes'
TRUST = 'TrustForwardedFor=127.0.0.0/8;::1'


class Forwarded(IntegrationTest):
    def forwarded(self, block, *proxy_lines, host='127.0.0.1'):
        """The block as it went in with the server's authority, as it came out, and the client."""
        server = self.make_server(None)
        self.start_one_route(server, proxy=proxy_lines, sockets={'main': self.make_socket(host)})
        client, session = self.open_session(server, block)
        address, port = client.sock.getsockname()[:2]
        me = ('[%s]:%d' if ':' in address else '%s:%d') % (address, port)
        return with_authority(block, server.authority), session.environment, me.encode()

    def test_off_by_default(self):
        before, after, _ = self.forwarded(environment())
        self.assertEqual(after, before)

    def test_line_is_added_at_the_end(self):
        before, after, me = self.forwarded(environment(), YES)
        self.assertEqual(after, before[:-1] + b'agi_x_fwd_for: ' + me + b'\n\n')

    def test_ipv6_client(self):
        before, after, me = self.forwarded(environment(), YES, host='::1')
        self.assertEqual(after, before[:-1] + b'agi_x_fwd_for: ' + me + b'\n\n')

    def test_trusted_line_is_appended_to_in_its_place(self):
        block = environment(x_fwd_for='10.1.2.3:5', last='line')
        before, after, me = self.forwarded(block, YES, TRUST)
        self.assertEqual(after, before.replace(b'10.1.2.3:5', b'10.1.2.3:5, ' + me))

    def test_untrusted_line_is_replaced(self):
        block = environment(x_fwd_for='10.1.2.3:5', last='line')
        for trust in ((), ('TrustForwardedFor=127.0.0.2;10.0.0.0/8',)):
            before, after, me = self.forwarded(block, YES, *trust)
            without = before.replace(b'agi_x_fwd_for: 10.1.2.3:5\n', b'')
            self.assertEqual(after, without[:-1] + b'agi_x_fwd_for: ' + me + b'\n\n')

    def test_every_untrusted_line_is_replaced(self):
        """A caller's name can bring one, too."""
        block = environment(x_fwd_for='10.1.2.3:5', calleridname='A\nagi_x_fwd_for: 10.9.9.9:9')
        _, after, me = self.forwarded(block, YES)
        self.assertEqual(after.count(b'agi_x_fwd_for'), 1)
        self.assertIn(b'agi_x_fwd_for: ' + me + b'\n', after)

    def test_of_several_trusted_lines_the_last_stays(self):
        """It is the one the trusted client added; an earlier one may be a caller's name."""
        block = environment(x_fwd_for='10.1.2.3:5', calleridname='A\nagi_x_fwd_for: 10.9.9.9:9')
        _, after, me = self.forwarded(block, YES, TRUST)
        self.assertEqual(after.count(b'agi_x_fwd_for'), 1)
        self.assertIn(b'agi_x_fwd_for: 10.1.2.3:5, ' + me + b'\n', after)

    def test_untrusted_line_is_dropped_when_off(self):
        _, after, _ = self.forwarded(environment(x_fwd_for='10.1.2.3:5'))
        self.assertNotIn(b'x_fwd_for', after)

    def test_trusted_line_passes_when_off(self):
        before, after, _ = self.forwarded(environment(x_fwd_for='10.1.2.3:5'), TRUST)
        self.assertEqual(after, before)

    def test_chain_of_two_proxies(self):
        server = self.make_server(None)
        self.start_one_route(server, proxy=[YES, TRUST])
        inner_authority = '127.0.0.1:%d' % self.address[1]
        self.start_one_route(inner_authority, proxy=[YES])
        client, session = self.open_session(server)
        me = b'127.0.0.1:%d, 127.0.0.1:' % client.sock.getsockname()[1]
        self.assertIn(b'agi_x_fwd_for: ' + me, session.environment)
        self.assert_relayed(client, session)
        self.assert_ends(client, session)


if __name__ == '__main__':
    tap.main()
