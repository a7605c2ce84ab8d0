#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a call is refused: the dialplan learns why, and AGISTATUS is FAILURE."""

from harness import tap
from harness.asterisk import environment
from harness.case import IntegrationTest, route_group, server_group, SETTLE
from harness.connection import refusing_authority, SilentServer, Stopwatch
from harness.waiting import FACTOR, wait_until


class Refusal(IntegrationTest):
    def start_without_route(self, **options):
        self.start_proxy(SETTLE, **options)

    def test_no_route(self):
        self.start_without_route()
        self.assert_refused(self.call(), 'NOROUTE')

    def test_no_server(self):
        sock, refusing = refusing_authority()
        self.keep(sock)
        self.start_one_route(refusing)
        self.assert_refused(self.call(), 'NOSERVER')

    def test_no_server_when_a_unix_socket_is_missing(self):
        self.start_one_route('unix:/nonexistent/agi.socket')
        self.assert_refused(self.call(), 'NOSERVER')

    def test_server_full(self):
        one = self.make_server(None)
        self.start_proxy(server_group('one', one.address, 'MaxSessions=1'),
                         route_group('all', '*', 'one'))
        self.open_session(one)
        self.assert_refused(self.call(), 'FULL')

    def test_proxy_full(self):
        one = self.make_server(None)
        self.start_one_route(one, proxy=['MaxSessions=2'])
        held = [self.open_session(one), self.open_session(one)]
        self.assert_refused(self.call(), 'FULL')
        self.assert_refused(self.call(), 'FULL')
        self.end_session(*held[0])
        self.open_session(one)

    def test_time_is_up_while_dialing(self):
        silent = self.keep(SilentServer())
        self.start_one_route(silent.authority, proxy=['SetupTimeout=300ms'])
        self.assert_refused(self.call(), 'TIMEOUT')

    def test_time_is_up_while_reading_the_block(self):
        self.start_without_route(proxy=['RequestTimeout=300ms'])
        for block in (environment()[:-1], b'agi_network: yes\n'):
            self.assert_refused(self.call(block=block), 'TIMEOUT')

    def test_time_for_the_block_is_bounded_for_who_is_slow(self):
        """A byte now and then does not move the timer."""
        self.start_without_route(proxy=['RequestTimeout=300ms', 'ReportStatus=no'])
        client = self.connect()
        watch = Stopwatch()
        while not client.peek():
            client.send(b'x: y\n' if watch.elapsed() < 1 else b'')
            self.assertLess(watch.elapsed(), 5 * FACTOR)
            client.sock.settimeout(0.05)
            try:
                client._receive()
            except AssertionError:
                pass  # nothing yet
        self.assertEqual(client.read_to_end(), b'FAILURE\n')

    def test_bad_request(self):
        self.start_without_route()
        for request in ('', 'not a URL', 'agi:/x'):
            self.assert_refused(self.call(block=environment(request)),
                                'BADREQUEST')

    def test_block_at_the_limits_passes(self):
        server = self.make_server(None)
        self.start_one_route(server)
        line = b'agi_x: ' + b'x' * (16 * 1024 - 8) + b'\n'
        for block in (b'agi_request: agi://h/x\n' + line * 3 + b'\n',
                      b'agi_request: agi://h/x\n' + b'a: b\n' * 510 + b'\n'):
            client, session = self.open_session(server, block)
            self.assertEqual(len(session.environment), len(block) - 1 + len(server.authority))
            client.reset()

    def test_block_beyond_the_limits_is_refused(self):
        server = self.make_server()
        self.start_one_route(server)
        head = b'agi_request: agi://h/x\n'
        line = b'agi_x: ' + b'x' * 15000 + b'\n'
        for block in (head + b'agi_x: ' + b'x' * (16 * 1024) + b'\n\n', head + line * 5 + b'\n',
                      head + b'a: b\n' * 512 + b'\n'):
            self.assert_refused(self.call(block=block), 'BADREQUEST')
        self.assertEqual(server.sessions, [])

    def test_block_cut_short_is_refused(self):
        server = self.make_server()
        self.start_one_route(server)
        for size in (1, 200, len(environment()) - 1):
            client = self.connect()
            client.send(environment()[:size])
            client.finish()
            said = client.read_to_end()
            self.assertTrue(said.endswith(b'FAILURE\n'), (size, said))
            self.assertEqual(client.ended, 'FIN')
        self.assertEqual(server.sessions, [])

    def test_denied(self):
        server = self.make_server()
        self.start_one_route(server, listener=['Allow=127.0.0.2;10.0.0.0/8;::1'])
        self.assert_refused(self.call(), 'DENIED')
        self.assertEqual(server.sessions, [])
        self.assert_success(self.call(source='127.0.0.2'))

    def test_allowed_by_range_and_by_family(self):
        server = self.make_server()
        sockets = {'main': self.make_socket('::1')}
        self.start_one_route(server, sockets=sockets, listener=['Allow=::1/128'])
        self.assert_success(self.call())

    def check_words(self, reply, **options):
        """The exact words of a refusal, with `reply` to the first line."""
        self.start_without_route(**options)
        client = self.connect()
        client.send(environment())
        self.assertEqual(client.read_line(), b'SET VARIABLE AGITATOR_STATUS NOROUTE\n')
        self.assertEqual(client.peek(), b'', 'FAILURE did not await the reply')
        client.send(reply)
        self.assertEqual((client.read_to_end(), client.ended), (b'FAILURE\n', 'FIN'))
        return client

    def test_reply_is_awaited_before_failure(self):
        watch = Stopwatch()
        self.check_words(b'200 result=1\n')
        self.assertLess(watch.elapsed(), 5 * FACTOR)

    def test_reply_in_pieces_after_a_hangup(self):
        self.start_without_route(proxy=['Threads=1'])
        client = self.connect()
        client.send(environment() + b'HANGUP\n')
        client.read_line()
        for byte in (b'2', b'0', b'0 result'):
            client.send(byte)
            self.settle()
            self.assertEqual(client.peek(), b'', 'FAILURE did not await the whole reply')
        client.send(b'=1\n')
        self.assertEqual(client.read_to_end(), b'FAILURE\n')

    def test_reply_is_awaited_for_a_second_at_most(self):
        self.start_without_route()
        client = self.connect()
        watch = Stopwatch()
        client.send(environment())
        client.read_line()
        self.assertEqual(client.read_line(), b'FAILURE\n')
        self.assertGreater(watch.elapsed(), 0.8)
        self.assertLess(watch.elapsed(), 2 * FACTOR)

    def test_dead_channel_may_still_learn_why(self):
        self.start_without_route()
        client = self.call(block=environment() + b'HANGUP\n')
        self.assert_refused(client, 'NOROUTE')

    def test_report_status_can_be_turned_off(self):
        self.start_without_route(proxy=['ReportStatus=no'])
        client = self.call()
        self.assertEqual((client.wait(), client.commands), ('FAILURE', []), client.describe())

    def test_end_is_half_a_close_and_what_comes_is_discarded(self):
        self.start_without_route(proxy=['ReportStatus=no'])
        client = self.connect()
        client.send(environment())
        self.assertEqual((client.read_to_end(), client.ended), (b'FAILURE\n', 'FIN'))
        for _ in range(10):
            client.send(b'x' * 30000)
            client.wait_delivered()
        client.send(b'HANGUP\n')
        client.wait_delivered()

    def test_who_never_closes_is_closed(self):
        """After two seconds of patience the descriptor is free again."""
        self.start_without_route(proxy=['ReportStatus=no'])
        before = self.proxy.descriptors()
        clients = [self.connect() for _ in range(10)]
        for client in clients:
            client.send(environment())
            client.read_to_end()
        watch = Stopwatch()
        wait_until(lambda: self.proxy.descriptors() <= before, 'the descriptors to be closed')
        self.assertLess(watch.elapsed(), 5 * FACTOR)

    def test_many_refusals_at_once(self):
        self.start_without_route()
        clients = [self.call() for _ in range(100)]
        for client in clients:
            self.assert_refused(client, 'NOROUTE')


if __name__ == '__main__':
    tap.main()
