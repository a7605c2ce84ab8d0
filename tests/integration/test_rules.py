#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for a transparent proxy ("FastAGI on the wire", section 8), a test for each."""

import select

from harness import tap
from harness.asterisk import environment, with_authority
from harness.case import IntegrationTest, route_group, server_group, SESSION_RECORD, SETTLE
from harness.connection import SilentServer, Stopwatch
from harness.proc import tcp_timers
from harness.waiting import FACTOR, wait_until


class Rules(IntegrationTest):
    def test_rule_01_block_is_read_up_to_the_first_empty_line(self):
        """Whatever the segmentation; what follows is kept and sent after it, in order."""
        server = self.make_server(None)
        self.start_one_route(server, proxy=['Threads=1'])
        block = environment('agi://h/x', calleridname='Alice\n\nlate: 1')
        for cut in (1, 17, 40, len(block) - 1, len(block)):
            client = self.connect()
            client.send(block[:cut])
            client.send(block[cut:] + b'HANGUP\nHANGUP\n')
            expected = with_authority(block, server.authority) + b'HANGUP\nHANGUP\n'
            self.assertEqual(server.accept().read(len(expected)), expected)

    def test_rule_02_only_the_authority_of_the_first_request_changes(self):
        server = self.make_server(None)
        self.start_one_route(server)
        for request in ('agi://h', 'agi://h:1/', 'AGI://h/Upper', 'hagi://h/p?x=y', 'agi://[::1]:4/v6',
                        'agi://::1/v6', 'agi://h?x=y', 'agi://h#f', 'agi://u@h/a b?q=e f',
                        'agi://h/a%20b%2Fc?q=%41%zz', 'agi://h//x//y', 'agi://h/a/../b', 'agi:///x',
                        b'agi://h/caf\xc3\xa9|{}[]^<>!*\'()`#frag', b'agi://h/\xff\xfe?\x01'):
            block = environment(request, calleridname='A\nagi_request: agi://evil/evil\nno colon',
                                unknown='', arguments=['', 'a: b', ' ', 'r\r'])
            client, session = self.open_session(server, block)
            self.assertEqual(session.environment, with_authority(block, server.authority))
            client.reset()

    def test_rule_02_ipv6_server_is_bracketed(self):
        server = self.make_server(None, host='::1')
        self.start_one_route(server)
        session = self.open_session(server)[1]
        self.assertEqual(session.environment, with_authority(environment(), server.authority))
        self.assertIn(b'agi://[::1]:', session.environment)

    def test_rule_02_without_request_the_call_is_refused(self):
        server = self.make_server()
        self.start_one_route(server)
        for block in (environment('no-url'), environment('/path'), environment(''),
                      environment().replace(b'agi_request', b'agi_other')):
            self.assert_refused(self.call(block=block), 'BADREQUEST')
        self.assertEqual(server.sessions, [])

    def test_rule_03_routes_match_a_decoded_copy(self):
        """And the decoded text is never written back."""
        server = self.make_server(None)
        self.start_proxy(server_group('one', server.address), route_group('good', 'good', 'one'))
        block = environment('agi://h/g%6Fod/%zz%20x?q=%41')
        session = self.open_session(server, block)[1]
        self.assertEqual(session.environment, with_authority(block, server.authority))

    def test_rule_04_bytes_are_relayed_at_once(self):
        """A long command reaches Asterisk in one piece; any piece of a reply reaches the server."""
        server = self.make_server(None)
        self.start_one_route(server)
        client, session = self.open_session(server)
        command = b'EXEC NoOp ' + b'x' * 8180 + b'\n'
        session.send(command)
        client._receive()
        self.assertEqual(client.unread(), command, 'not all of the command in one read')
        client.read_line()
        for piece in (b'2', b'00 res', b'ult=1 (', b'long' * 1000, b')\n'):
            client.send(piece)
            self.assertEqual(session.read(len(piece)), piece)

    def test_rule_05_half_close(self):
        """After the server's end the last replies and HANGUP still reach it."""
        def three_then_shutdown(session):
            session.read_environment()
            session.send(b'VERBOSE one\nSET VARIABLE X second\nGET VARIABLE X\n')
            session.end()

        server = self.make_server(three_then_shutdown)
        self.start_one_route(server)
        client = self.call()
        self.assert_success(client)
        session = server.accept()
        wait_until(lambda: session.closed, 'the end at the server')
        self.assertTrue(bytes(session.received).endswith(
            b'\n\n200 result=1\n200 result=1\n200 result=1 (second)\nHANGUP\n'), session.received)
        self.assertEqual(session.ended, 'FIN')

    def test_rule_06_errors_after_the_servers_end_are_normal(self):
        """Asterisk's last HANGUP meets a closed socket: no failed session, no server down."""
        def serve_and_close(session):
            session.read_environment()
            session.command(b'NOOP')
            session.close()

        server = self.make_server(serve_and_close)
        self.start_one_route(server, log=['Sessions=failed'])
        for _ in range(20):
            self.assert_success(self.call())
        # A failed session, whose record comes after all of theirs.
        server.stop_listening()
        self.assert_refused(self.call('agi://h/refused'), 'NOSERVER')
        self.proxy.wait_for_log(SESSION_RECORD + '.*|.*refused')
        records = [line for line in self.proxy.log.items if 'agi://' in line]
        self.assertTrue(all('refused' in line for line in records), records)

    def test_rule_07_reset_of_the_server_comes_after_its_bytes(self):
        """As a direct connection would have it, with OnServerFailure=reset."""
        server = self.make_server(None)
        self.start_one_route(server, 'OnServerFailure=reset')
        client, session = self.open_session(server)
        session.send(b'VERBOSE last words\n')
        session.reset()
        self.assertEqual(client.read_line(), b'VERBOSE last words\n')
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'RESET'))

    def test_rule_07_reset_of_the_client_comes_after_its_bytes(self):
        server = self.make_server(None)
        self.start_one_route(server)
        client, session = self.open_session(server)
        client.send(b'200 result=1\nHANGUP\n')
        client.reset()
        self.assertEqual(session.read_to_end(), b'200 result=1\nHANGUP\n')
        self.assertEqual(session.ended, 'RESET')

    def test_rule_08_refusing_is_a_line_an_end_and_patience(self):
        """FAILURE, shutdown(WR), then what Asterisk still says is read: no reset may overtake."""
        self.start_proxy(route_group('other', 'other', [], 'Answer=settle'), SETTLE,
                         proxy=['ReportStatus=no'])
        client = self.connect()
        client.send(environment())
        self.assertEqual((client.read_to_end(), client.ended), (b'FAILURE\n', 'FIN'))
        client.send(b'x' * 100000 + b'\nHANGUP\n')
        client.wait_delivered()

    def test_rule_09_failure_is_never_glued_to_a_command(self):
        server = self.make_server(None)
        self.start_one_route(server, proxy=['Threads=1'])
        client, session = self.open_session(server)
        session.send(b'SET VARIABLE X partial')
        self.pass_through(session, client)
        session.reset()
        self.assertEqual((client.read_to_end(), client.ended), (b'FAILURE\n', 'FIN'))

    def test_rule_10_asterisk_never_waits_100_ms_to_write(self):
        """256 KiB towards a server that reads nothing."""
        server = self.make_server(None)
        server.sock.setsockopt(1, 8, 4096)  # SO_RCVBUF
        self.start_one_route(server)
        client, session = self.open_session(server)
        sent = b''.join(b'200 result=1 (%0994d)\n' % i for i in range(256))
        for at in range(0, len(sent), 1024):
            ready = select.select([], [client.sock], [], 0.1 * FACTOR)[1]
            self.assertTrue(ready, f'not writable for 100 ms after {at} bytes')
            client.send(sent[at:at + 1024])
        self.assertEqual(session.read(len(sent)), sent)

    def test_rule_11_timer_for_the_block_none_for_a_silent_session(self):
        """A session stays silent for longer than every timer of the set-up."""
        server = self.make_server(None)
        self.start_one_route(server, proxy=['RequestTimeout=200ms', 'ConnectTimeout=200ms',
                                            'SetupTimeout=200ms'])
        client, session = self.open_session(server)
        for _ in range(3):
            slow = self.call(block=b'agi_network: yes\n')
            self.assert_refused(slow, 'TIMEOUT')
        self.assert_relayed(client, session)
        self.assert_ends(client, session)

    def test_rule_12_keepalive_on_both_legs(self):
        server = self.make_server(None)
        self.start_one_route(server)
        client, session = self.open_session(server)
        legs = {'client': client.sock.getpeername()[1], 'server': session.sock.getpeername()[1]}
        for leg, port in legs.items():
            peer = (client if leg == 'client' else session).sock.getsockname()[1]
            wait_until(lambda: tcp_timers().get((port, peer)) == 'keepalive',
                       f'a keepalive timer on the {leg} leg', timeout=60 * FACTOR, pause=0.1)
        self.assert_relayed(client, session)

    def test_rule_13_hangup_while_dialing_is_relayed(self):
        silent = SilentServer()
        self.start_one_route(silent.authority, proxy=['ConnectTimeout=15s', 'SetupTimeout=15s'])
        client = self.connect()
        client.send(environment() + b'HANGUP\n')
        server = self.make_server(None, sock=silent.revive())
        expected = with_authority(environment(), silent.authority) + b'HANGUP\n'
        self.assertEqual(server.accept().read(len(expected)), expected)

    def test_rule_13_end_while_dialing_ends_the_dial(self):
        """The place of the one who is gone is free while his dial would still run."""
        silent = SilentServer()
        self.start_proxy(server_group('one', silent.authority, 'MaxSessions=1'),
                         route_group('all', '*', 'one'),
                         proxy=['ConnectTimeout=60s', 'SetupTimeout=60s'])
        for _ in range(3):
            client = self.connect()
            client.send(environment('agi://h/gone'))
            client.finish()
            client.read_to_end()
            client.close()
        self.open_session(self.make_server(None, sock=silent.revive()))

    def test_rule_14_dialing_is_bounded_across_all_servers(self):
        silent = [self.keep(SilentServer()) for _ in range(3)]
        self.start_proxy(*[server_group('s%d' % i, s.authority) for i, s in enumerate(silent)],
                         route_group('all', '*', ['s0', 's1', 's2']),
                         proxy=['ConnectTimeout=10s', 'SetupTimeout=500ms'])
        watch = Stopwatch()
        self.assert_refused(self.call(), 'TIMEOUT')
        self.assertLess(watch.elapsed(), 5 * FACTOR)

    def test_rule_15_out_of_descriptors_pauses_accepting(self):
        """Those who are too many learn it by FAILURE, sessions go on, and no core is busy."""
        server = self.make_server(None)
        self.start_one_route(server)
        client, session = self.open_session(server)
        limit = self.proxy.limit_descriptors(self.proxy.descriptors())
        cpu = self.proxy.cpu_seconds()
        for _ in range(50):
            self.assertEqual(self.call().wait(), 'FAILURE')
            self.assert_relayed(client, session)
        self.assertLess(self.proxy.cpu_seconds() - cpu, 2 * FACTOR)
        self.assertEqual(len(server.sessions), 1)
        self.proxy.limit_descriptors(limit)
        self.open_session(server)
        self.assert_ends(client, session)


if __name__ == '__main__':
    tap.main()
