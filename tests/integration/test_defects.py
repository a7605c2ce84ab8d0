#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The 21 defects of the original Go proxy ("FastAGI on the wire", section 9): for each a test that
fails on a program that has it."""

import signal
import threading

from harness import tap
from harness.asterisk import environment, PretendAsterisk, with_authority
from harness.case import Config, IntegrationTest, route_group, server_group, SETTLE
from harness.connection import is_refused, SilentServer
from harness.proxy import run_program
from harness.waiting import FACTOR, wait_until


class Defects(IntegrationTest):
    def start_served(self, *route_lines, **options):
        """A server that the test plays, behind one route."""
        server = self.make_server(None)
        self.start_one_route(server, *route_lines, **options)
        return server

    def test_defect_01_last_request_wins(self):
        good, evil = self.make_server(None), self.make_server(None)
        self.start_proxy(server_group('good', good.address), server_group('evil', evil.address),
                         route_group('good', 'good', 'good'), route_group('evil', 'evil', 'evil'))
        block = environment('agi://h/good', calleridname='Alice\nagi_request: agi://evil/evil')
        session = self.open_session(good, block)[1]
        self.assertEqual(session.environment, with_authority(block, good.authority))

    def test_defect_02_bytes_after_the_block_are_lost(self):
        server = self.start_served()
        client = self.connect()
        client.send(environment() + b'HANGUP\nHANGUP\n')
        session = server.accept()
        session.read_environment()
        self.assertEqual(session.read(14), b'HANGUP\nHANGUP\n')

    def test_defect_03_line_without_colon_ends_the_block(self):
        server = self.start_served()
        for odd in ('no colon at all', 'x', ':', 'ab'):
            block = environment(calleridname='Alice\n' + odd)
            session = self.open_session(server, block)[1]
            self.assertEqual(session.environment, with_authority(block, server.authority))

    def test_defect_04_many_lines_are_cut(self):
        server = self.start_served()
        block = environment(arguments=['%d' % i for i in range(480)])
        session = self.open_session(server, block)[1]
        self.assertEqual(session.environment, with_authority(block, server.authority))

    def test_defect_05_incomplete_block_is_forwarded(self):
        server = self.start_served(proxy=['RequestTimeout=300ms'])
        for ends in (True, False):
            client = self.connect()
            client.send(environment()[:-1])
            if ends:
                client.finish()
            self.assertTrue(client.read_to_end().endswith(b'FAILURE\n'))
        self.assertEqual(server.sessions, [])

    def test_defect_06_end_closes_both_directions(self):
        server = self.start_served()
        client, session = self.open_session(server)
        session.send(b'NOOP 1\n')
        session.finish()
        self.assertEqual((client.read_to_end(), client.ended), (b'NOOP 1\n', 'FIN'))
        client.send(b'200 result=0\nHANGUP\n')
        client.finish()
        self.assertEqual((session.read_to_end(), session.ended),
                         (b'200 result=0\nHANGUP\n', 'FIN'))

    def test_defect_06_reset_becomes_end(self):
        server = self.start_served('OnServerFailure=reset')
        client, session = self.open_session(server)
        session.reset()
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'RESET'))

    def test_defect_07_limit_is_checked_before_and_counted_after_dialing(self):
        one = self.make_server(counts=True)
        self.start_proxy(server_group('one', one.address, 'MaxSessions=1'),
                         route_group('all', '*', 'one'))
        clients = [PretendAsterisk(self.address) for _ in range(30)]
        self.clients += clients
        for client in clients:
            client.send_block()
        for client in clients:
            client.start([])
        outcomes = [client.wait() for client in clients]
        self.assertEqual(one.most_at_once, 1)
        self.assertEqual(outcomes.count('SUCCESS'), len(one.sessions))

    def test_defect_08_server_list_is_shared_without_care(self):
        """Calls on all threads while the modes that keep a turn choose, and reloads swap the list:
        the thread sanitizer sees what the eye does not."""
        servers = [self.make_server() for _ in range(3)]
        groups = [server_group(name, server.address) for name, server in zip('abc', servers)]
        groups += [route_group('turns', 'turns', list('abc'), 'Mode=round-robin'),
                   route_group('least', 'least', list('abc'), 'Mode=balance')]
        self.start_proxy(*groups, proxy=['Threads=4'])
        outcomes = []

        def call_often(request):
            for _ in range(50):
                outcomes.append(self.call(request).wait())

        threads = [threading.Thread(target=call_often, args=('agi://h/' + path,))
                   for path in ('turns', 'least') * 4]
        for thread in threads:
            thread.start()
        for _ in range(10):
            self.proxy.reload()
        for thread in threads:
            thread.join()
        self.assertEqual(outcomes, ['SUCCESS'] * 400)

    def test_defect_09_ties_go_to_the_first_server(self):
        servers = [self.make_server() for _ in range(3)]
        self.start_proxy(*[server_group(name, s.address) for name, s in zip('abc', servers)],
                         route_group('all', '*', list('abc'), 'Mode=balance'))
        for _ in range(6):
            self.assert_success(self.call())
        self.assertEqual([len(server.sessions) for server in servers], [2, 2, 2])

    def test_defect_10_round_robin_begins_with_the_second(self):
        servers = [self.make_server() for _ in range(3)]
        self.start_proxy(*[server_group(name, s.address) for name, s in zip('abc', servers)],
                         route_group('all', '*', list('abc'), 'Mode=round-robin'))
        for served in ([1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]):
            self.assert_success(self.call())
            self.assertEqual([len(server.sessions) for server in servers], served)

    def test_defect_11_reload_waits_for_a_dial(self):
        silent, good = self.keep(SilentServer()), self.make_server()
        self.start_proxy(server_group('silent', silent.authority), server_group('good', good.address),
                         route_group('silent', 'silent', 'silent'), route_group('all', '*', 'good'),
                         proxy=['ConnectTimeout=60s', 'SetupTimeout=60s'])
        dialing = self.connect()
        dialing.send(environment('agi://h/silent'))
        self.proxy.reload()
        for _ in range(10):
            self.assert_success(self.call())
        # All of that within the time of one dial.
        self.assertEqual((dialing.peek(), dialing.ended), (b'', None))
        dialing.close()

    def test_defect_12_reload_forgets_running_sessions(self):
        one = self.make_server(None)
        self.start_proxy(server_group('one', one.address, 'MaxSessions=1'),
                         route_group('all', '*', 'one'))
        client, session = self.open_session(one)
        for _ in range(3):
            self.proxy.reload()
            self.assert_refused(self.call(), 'FULL')
        self.end_session(client, session)
        self.open_session(one)

    def test_defect_12_reload_takes_routes_only(self):
        one = self.make_server()
        groups = [server_group('one', one.address), route_group('all', '*', 'one')]
        self.start_proxy(*groups)
        self.proxy.reload(Config(*groups, proxy=['ReportStatus=no'],
                                 listener=['Allow=10.0.0.0/8']).text)
        client = self.call()
        self.assertEqual((client.wait(), client.commands), ('FAILURE', []))

    def test_defect_13_interrupted_while_draining(self):
        """After SIGINT nobody is left in the queue, a SIGHUP does no harm, a second SIGINT ends it."""
        server = self.make_server(None)
        self.address = path = self.make_path('listener')
        self.start_one_route(server, sockets={}, listener=['Listen=unix:' + path],
                             proxy=['StopTimeout=infinity'])
        client, session = self.open_session(server)
        self.proxy.signal(signal.SIGINT)
        self.proxy.wait_notice('^STOPPING=1')
        wait_until(lambda: is_refused(path), 'connections to be refused')
        self.proxy.signal(signal.SIGHUP)
        self.assert_relayed(client, session)
        self.proxy.signal(signal.SIGINT)
        self.proxy.check_end()

    def test_defect_14_sigterm_cuts_sessions(self):
        server = self.start_served()
        client, session = self.open_session(server)
        self.proxy.signal(signal.SIGTERM)
        self.proxy.wait_notice('^STOPPING=1')
        self.assert_relayed(client, session)
        self.assert_ends(client, session)
        self.proxy.check_end()

    def test_defect_15_one_silent_side_is_cut(self):
        """A session in which only the client says something outlives others, idle ones, that are
        cut one after the other."""
        server = self.start_served('IdleTimeout=%dms' % (1000 * FACTOR))
        client, session = self.open_session(server)
        for _ in range(2):
            idle = self.open_session(server)[0]
            while not idle.ended:
                self.pass_through(session, client)
                idle.peek()
        self.assert_relayed(client, session)
        self.assert_ends(client, session)

    def test_defect_16_no_limits(self):
        server = self.start_served(proxy=['RequestTimeout=300ms'])
        line = environment(calleridname='x' * 1000000)
        block = b'agi_request: agi://h/x\n' + b'agi_x: y\n' * 100000 + b'\n'
        for much in (line, block):
            client = self.connect()
            try:
                client.send(much)
            except (BrokenPipeError, ConnectionResetError):
                pass  # more than it will ever read
            self.assertIn(b'FAILURE\n', client.read_to_end())
        idle = self.connect()
        self.assertTrue(idle.read_to_end().endswith(b'FAILURE\n'))
        self.assertEqual(server.sessions, [])

    def test_defect_16_block_timer_is_on_by_default(self):
        self.start_proxy(SETTLE)
        dump = run_program('--dump-config', '--config=' + self.proxy.config_file).stdout
        self.assertRegex(dump, r'(?m)^RequestTimeout=10s')

    def test_defect_17_accept_errors_loop(self):
        server = self.start_served()
        client, session = self.open_session(server)
        self.proxy.limit_descriptors(self.proxy.descriptors())
        crowd = [self.connect() for _ in range(200)]
        wait_until(lambda: all(c.peek() for c in crowd), 'all to be refused')
        lines, cpu = self.proxy.log.mark(), self.proxy.cpu_seconds()
        for _ in range(1000):
            self.assert_relayed(client, session)
        self.assertLess(self.proxy.log.mark() - lines, 300)
        self.assertLess(self.proxy.cpu_seconds() - cpu, 2 * FACTOR)

    def test_defect_18_strict_about_form(self):
        server = self.start_served()
        block = environment('agi://h/x?y').replace(b'\n', b'\r\n')
        client = self.connect()
        client.send(block)
        session = server.accept()
        self.assertEqual(session.read_environment(),
                         with_authority(block.replace(b'\r\n', b'\n'), server.authority))
        client.close()
        session = self.open_session(server, b'agi_request:agi://h/x\nagi_channel:c\n\n')[1]
        self.assertEqual(session.environment,
                         b'agi_request:agi://%s/x\nagi_channel:c\n\n' % server.authority.encode())

    def test_defect_19_long_commands_arrive_in_pieces(self):
        def send_long(session):
            session.read_environment()
            for size in (1000, 1025, 2047, 4096, 8191):
                session.command(b'NOOP ' + b'x' * (size - 6))
            session.end()

        self.start_one_route(self.make_server(send_long))
        client = self.call()
        self.assert_success(client)
        self.assertEqual((client.partial, client.glued), ([], []))

    def test_defect_20_hung_up_callers_still_dial(self):
        silent = self.keep(SilentServer())
        self.start_one_route(silent.authority, proxy=['ConnectTimeout=60s', 'SetupTimeout=60s'])
        client = self.connect()
        client.send(environment('agi://h/gone'))
        client.finish()
        client.read_to_end()
        self.proxy.wait_for_log('agi://h/gone')

    def test_defect_21_forwarded_address_can_be_forged(self):
        server = self.make_server(None)
        for setting in ('yes', 'no'):
            self.start_one_route(server, proxy=['ForwardedFor=' + setting])
            client, session = self.open_session(server, environment(x_fwd_for='6.6.6.6:6'))
            self.assertNotIn(b'6.6.6.6', session.environment)
            mine = b'agi_x_fwd_for: 127.0.0.1:%d\n' % client.sock.getsockname()[1]
            self.assertEqual(mine in session.environment, setting == 'yes', session.environment)
            client.reset()


if __name__ == '__main__':
    tap.main()
