#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process: ready, stop, signals at any moment, watchdog, sockets from systemd, descriptors."""

import signal

from harness import tap
from harness.asterisk import environment
from harness.case import group, IntegrationTest, route_group, server_group, SETTLE
from harness.connection import is_refused, SilentServer, Stopwatch
from harness.waiting import FACTOR, wait_until


class Life(IntegrationTest):
    def start_held(self, *route_lines, **options):
        """A session whose both ends the test plays, on a listener that the proxy opened itself."""
        self.server = self.make_server(None)
        self.address = self.make_path('listener')
        self.start_one_route(self.server, *route_lines, sockets={},
                             listener=['Listen=unix:' + self.address], **options)
        return self.open_session(self.server)

    # Start

    def test_ready_means_listening(self):
        path = self.make_path('listener')
        server = self.make_server()
        self.start_one_route(server, listener=['Listen=unix:' + path], sockets={})
        self.assert_success(self.call(address=path))
        self.assertEqual(self.proxy.notices.items.count('READY=1'), 1)

    def test_status_says_how_many_sessions(self):
        client, session = self.start_held()
        self.proxy.wait_notice(r'^STATUS=.*\b1 session')
        mark = self.proxy.notices.mark()
        self.assert_ends(client, session)
        self.proxy.wait_notice(r'^STATUS=.*\b(0|[Nn]o) sessions', mark)

    def test_calls_that_came_before_the_start_are_served(self):
        """As with socket activation."""
        server, sock = self.make_server(), self.make_socket()
        early = [self.call(address=sock.getsockname()) for _ in range(50)]
        self.start_one_route(server, sockets={'main': sock})
        for client in early:
            self.assert_success(client)

    def test_sockets_meet_listeners_by_name(self):
        server = self.make_server()
        sockets = {'main': self.make_socket(), 'other': self.make_socket('::1')}
        self.start_proxy(server_group('one', server.address), route_group('all', '*', 'one'),
                         group('Listener', 'other', 'Allow=10.0.0.0/8'), sockets=sockets)
        self.assert_success(self.call())
        self.assert_refused(self.call(address=sockets['other'].getsockname()[:2]), 'DENIED')

    def test_passed_sockets_take_the_place_of_configured_ones(self):
        path = self.make_path('listener')
        self.start_one_route(self.make_server(), listener=['Listen=unix:' + path])
        self.assert_success(self.call())
        self.assertTrue(is_refused(path))

    def test_server_by_name(self):
        """Where its name leads to several addresses, all are tried."""
        server = self.make_server()
        self.start_one_route(server.authority.replace('127.0.0.1', 'localhost'))
        self.assert_success(self.call())

    def test_name_without_address_does_not_prevent_the_start(self):
        good = self.make_server()
        self.start_proxy(server_group('bad', 'nowhere.invalid'), server_group('good', good.address),
                         route_group('bad', 'bad', 'bad'), route_group('all', '*', ['bad', 'good']))
        self.proxy.wait_for_log('nowhere.invalid|server bad')
        self.assert_success(self.call())
        self.assert_refused(self.call('agi://h/bad'), 'NOSERVER')

    def test_listener_without_a_socket_is_told_of(self):
        self.start_proxy(SETTLE, group('Listener', 'lost'))
        self.proxy.wait_for_log(r'nobody can reach \[Listener lost\]')
        self.assertNotIn('[Listener main]', self.proxy.log_text())

    def test_own_and_passed_listeners_together(self):
        path = self.make_path('listener')
        server = self.make_server()
        self.start_proxy(server_group('one', server.address), route_group('all', '*', 'one'),
                         group('Listener', 'own', 'Listen=unix:' + path))
        self.assert_success(self.call())
        self.assert_success(self.call(address=path))

    def test_stale_unix_socket_is_replaced(self):
        path = self.make_path('listener')
        for _ in range(2):
            self.start_one_route(self.make_server(), listener=['Listen=unix:' + path], sockets={})
            self.assert_success(self.call(address=path))
            self.proxy.process.kill()
            self.proxy.process.wait()
            self.proxy.expected_status = -signal.SIGKILL

    def test_bad_configuration_ends_the_start(self):
        self.start_proxy('[Rout x]\nPath=*\n', ready=False)
        self.proxy.expected_status = self.proxy.wait_exit()
        self.assertGreater(self.proxy.expected_status, 0)
        self.proxy.wait_for_log(r'agitator\.conf:\d+: .*Rout')
        self.assertNotIn('READY=1', self.proxy.notices.items)

    # Stop

    def test_sigterm_waits_for_sessions_and_takes_no_more(self):
        client, session = self.start_held()
        self.proxy.signal(signal.SIGTERM)
        self.proxy.wait_notice('^STOPPING=1')
        wait_until(lambda: is_refused(self.address), 'connections to be refused')
        self.assert_relayed(client, session)
        self.assertIsNone(self.proxy.process.poll())
        self.assert_ends(client, session)
        self.proxy.check_end()

    def test_sigint_does_the_same(self):
        client, session = self.start_held()
        self.proxy.signal(signal.SIGINT)
        self.proxy.wait_notice('^STOPPING=1')
        self.assert_relayed(client, session)
        self.assert_ends(client, session)
        self.proxy.check_end()

    def test_idle_proxy_stops_at_once(self):
        self.start_proxy(SETTLE)
        watch = Stopwatch()
        self.proxy.signal(signal.SIGTERM)
        self.proxy.check_end()
        self.assertLess(watch.elapsed(), 2 * FACTOR)

    def test_those_in_the_queue_at_stop_are_served_or_told(self):
        """Nobody is reset or left hanging, wherever the signal finds them."""
        path = self.make_path('listener')
        self.start_one_route(self.make_server(), listener=['Listen=unix:' + path], sockets={})
        clients = [self.call(address=path) for _ in range(100)]
        self.proxy.signal(signal.SIGTERM)
        self.proxy.wait_exit()
        for client in clients:
            try:
                status = client.wait()
            except ConnectionResetError:
                status = 'reset'
            self.assertIn(status, ('SUCCESS', 'FAILURE'))
            if status == 'SUCCESS':
                self.assertEqual(client.variables.get('SERVED'), 'yes', 'cut, and taken for success')

    def test_passed_socket_that_no_listener_wants_denies(self):
        """Its queue is open in any case: who comes is told so, and the socket stays good."""
        server, sock, stray = self.make_server(), self.make_socket(), self.make_socket()
        self.start_one_route(server, sockets={'main': sock, 'stray': stray})
        self.proxy.wait_for_log(r'are denied: there is no \[Listener stray\]')
        self.assert_refused(self.call(address=stray.getsockname()), 'DENIED')
        self.assert_success(self.call())
        self.proxy.stop()
        self.start_one_route(server, sockets={'main': stray})
        self.assert_success(self.call())

    def test_queue_of_a_passed_socket_is_left_to_the_next_process(self):
        """systemd keeps the socket open and starts us again for those who wait in it."""
        server, sock = self.make_server(), self.make_socket()
        self.start_one_route(server, sockets={'main': sock})
        self.proxy.stop()
        waiting = [self.call(address=sock.getsockname()) for _ in range(5)]
        self.start_one_route(server, sockets={'main': sock})
        for client in waiting:
            self.assert_success(client)

    def test_stop_timeout_bounds_the_wait(self):
        client, session = self.start_held(proxy=['StopTimeout=300ms'])
        watch = Stopwatch()
        mark = self.proxy.log.mark()
        self.proxy.signal(signal.SIGTERM)
        self.assertEqual(client.read_to_end(), b'FAILURE\n', 'the dialplan takes it for success')
        self.proxy.check_end()
        self.assertGreater(watch.elapsed(), 0.25)
        self.assertLess(watch.elapsed(), 5 * FACTOR)
        self.proxy.wait_for_log(r'(?i)\b(1|one) session', mark)
        session.read_to_end()

    def test_draining_asks_for_more_time(self):
        client, session = self.start_held(proxy=['StopTimeout=10min'])
        self.proxy.signal(signal.SIGTERM)
        self.proxy.wait_notice(r'^EXTEND_TIMEOUT_USEC=\d+')
        self.assert_ends(client, session)
        self.proxy.check_end()

    def test_second_signal_ends_at_once(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            client, session = self.start_held(proxy=['StopTimeout=infinity'])
            self.proxy.signal(signal.SIGTERM)
            self.proxy.wait_notice('^STOPPING=1')
            self.assert_relayed(client, session)
            self.proxy.signal(second)
            self.proxy.check_end()
            client.read_to_end()
            session.read_to_end()

    def test_stop_while_a_dial_runs(self):
        silent = self.keep(SilentServer())
        self.start_one_route(silent.authority, proxy=['SetupTimeout=2s'], log=['Level=debug'])
        client = self.call()
        self.assert_dialing()
        self.proxy.signal(signal.SIGTERM)
        self.assert_refused(client, 'TIMEOUT')
        self.proxy.check_end()

    def assert_dialing(self):
        self.proxy.wait_for_log(r'debug.*dialing')

    def test_reload_while_a_dial_runs(self):
        silent = SilentServer()
        self.start_one_route(silent.authority, proxy=['ConnectTimeout=15s', 'SetupTimeout=15s'],
                             log=['Level=debug'])
        client = self.connect()
        client.send(environment())
        self.assert_dialing()
        self.proxy.reload()
        server = self.make_server(None, sock=silent.revive())
        session = server.accept()
        session.read_environment()
        self.assert_relayed(client, session)
        self.assert_ends(client, session)

    def start_and_signal(self, number):
        """The signal comes as soon as the program catches it, which is during its start."""
        routes = [route_group('r%d' % i, 'r/%d' % i, 'one') for i in range(5000)]
        self.start_proxy(server_group('one', self.make_server().address), *routes,
                         route_group('all', '*', 'one'), ready=False)
        wait_until(lambda: self.proxy.is_launched() and number in self.proxy.caught_signals(),
                   'the program to catch the signal')
        self.proxy.signal(number)

    def test_sighup_during_the_start(self):
        self.start_and_signal(signal.SIGHUP)
        self.proxy.wait_ready()
        self.assert_success(self.call())

    def test_sigterm_during_the_start(self):
        self.start_and_signal(signal.SIGTERM)
        self.proxy.check_end()

    def test_sigint_during_the_start(self):
        self.start_and_signal(signal.SIGINT)
        self.proxy.check_end()

    def test_sigterm_during_a_reload(self):
        for first, second in ((signal.SIGHUP, signal.SIGTERM), (signal.SIGTERM, signal.SIGHUP)):
            client, session = self.start_held()
            self.proxy.signal(first)
            self.proxy.signal(second)
            self.proxy.wait_notice('^STOPPING=1')
            self.assert_relayed(client, session)
            self.assert_ends(client, session)
            self.proxy.check_end()

    # Watchdog

    def test_watchdog_is_fed(self):
        self.start_proxy(SETTLE, environment={'WATCHDOG_USEC': '300000'})
        mark = 0
        for _ in range(5):
            mark = self.proxy.notices.wait(lambda line: line == 'WATCHDOG=1', 'WATCHDOG=1', mark) + 1

    def test_no_watchdog_unless_asked(self):
        self.start_proxy(SETTLE)
        self.settle()
        self.assertNotIn('WATCHDOG=1', self.proxy.notices.items)

    # Descriptors

    def test_out_of_descriptors_and_back(self):
        """Callers are told FAILURE, the log says it once or so, and with more all is well again."""
        client, session = self.start_held()
        for _ in range(3):
            limit = self.proxy.limit_descriptors(self.proxy.descriptors())
            for caller in [self.call() for _ in range(100)]:
                self.assertEqual(caller.wait(), 'FAILURE')
            self.assert_relayed(client, session)
            self.proxy.wait_for_log(r'Too many open files')
            self.proxy.limit_descriptors(limit)
            self.open_session(self.server)
        said = [line for line in self.proxy.log.items if 'accept' in line]
        self.assertLessEqual(len(said), 6, said)
        self.assert_relayed(client, session)
        self.assert_ends(client, session)

    def test_limit_of_sessions_is_what_the_descriptors_allow(self):
        """Whatever MaxSessions= says; the log says so."""
        self.start_held(proxy=['MaxSessions=5000'], nofile=200)
        self.proxy.wait_for_log(r'MaxSessions=5000.*200 descriptors')
        crowd = [self.call() for _ in range(150)]
        wait_until(lambda: [other for other in crowd if other.agitator_status == 'FULL'],
                   'a call that is refused')
        self.assertNotIn('Too many open files', self.proxy.log_text())

    def test_default_limit_keeps_within_the_descriptors(self):
        """MaxSessions=auto: the crowd is told FULL, and no descriptor is missing."""
        client, session = self.start_held(nofile=100)
        crowd = [self.call() for _ in range(100)]
        wait_until(lambda: [other for other in crowd if other.agitator_status == 'FULL'],
                   'a call that is refused')
        refused = [other for other in crowd if other.status]
        self.assertEqual({other.status for other in refused}, {'FAILURE'})
        # Of very many at once some are told no more than FAILURE.
        self.assertLessEqual({other.agitator_status for other in refused}, {'FULL', None})
        self.assert_relayed(client, session)
        self.assertNotIn('Too many open files', self.proxy.log_text())

    def test_sessions_leave_no_descriptor_behind(self):
        server = self.make_server()
        self.start_one_route(server)
        self.assert_success(self.call())
        self.wait_for_records(1)
        before = self.proxy.descriptors()
        mark = self.proxy.log.mark()
        for _ in range(200):
            self.assert_success(self.call())
        self.wait_for_records(200, mark)
        self.proxy.wait_descriptors(before)

    def test_reloads_leave_no_descriptor_behind(self):
        self.start_proxy(SETTLE)
        self.proxy.reload()
        before = self.proxy.descriptors()
        for _ in range(20):
            self.proxy.reload()
        self.proxy.wait_descriptors(before)


if __name__ == '__main__':
    tap.main()
