#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live upgrade: another process takes over, no call notices, and one that can't start harms nothing."""

import os
import signal
import socket
import stat
import threading

from harness import tap
from harness.asterisk import PretendAsterisk
from harness.case import Config, group, IntegrationTest, route_group, server_group
from harness.connection import is_refused
from harness.proxy import Adopted
from harness.waiting import wait_until


class Upgrade(IntegrationTest):
    def start_held(self, *server_lines, **options):
        """Sessions whose both ends the test plays."""
        self.server = self.make_server(None)
        self.start_proxy(server_group('one', self.server.address, *server_lines),
                         route_group('all', '*', 'one'), **options)

    def start_replaceable(self, **options):
        """The same with a program that the test can put another in place of."""
        self.binary = self.make_path('agitator')
        self.start_held(binary=self.binary, **options)

    def replace(self, content):
        """As a package manager does: another file of that name."""
        with open(self.binary + '.new', 'w', encoding='ascii') as file:
            file.write(content)
        os.chmod(self.binary + '.new', 0o755)
        os.rename(self.binary + '.new', self.binary)

    def assert_upgrade_fails(self, reason):
        """... and that the process before goes on, with an old session and new ones."""
        old = self.open_session(self.server)
        mark, log_mark = self.proxy.notices.mark(), self.proxy.log.mark()
        self.proxy.signal(signal.SIGUSR2)
        self.proxy.wait_for_log('upgrade failed, this process goes on: .*' + reason, log_mark)
        self.proxy.wait_notice('^STATUS=.*the last upgrade failed: .*' + reason, mark)
        self.assert_relayed(*old)
        self.assert_ends(*old)
        self.assert_ends(*self.open_session(self.server))
        self.assertIsNone(self.proxy.process.poll())
        self.assertFalse([line for line in self.proxy.notices.items if 'MAINPID' in line])

    # Nobody notices

    def test_old_sessions_stay_and_new_ones_are_the_new_process_s(self):
        self.start_held()
        old = self.open_session(self.server)
        before = self.proxy.upgrade()
        self.proxy.wait_for_log(r'process \d+ has taken over: 1 session to finish here')
        self.proxy.wait_notice(r'^STATUS=.*; 1 session in 1 older process')
        new = self.open_session(self.server)
        self.assert_relayed(*old)
        self.assert_relayed(*new)
        self.assertIsNone(before.poll())
        mark = self.proxy.notices.mark()
        self.assert_ends(*old)
        self.assertEqual(before.wait(30), 0)
        self.proxy.wait_notice(r'^STATUS=1 session, (?!.*older)', mark)
        self.assert_relayed(*new)
        self.assert_ends(*new)

    def test_process_without_sessions_ends_at_once(self):
        self.start_held()
        for _ in range(3):
            self.assertEqual(self.proxy.upgrade().wait(30), 0)
        self.assert_ends(*self.open_session(self.server))

    def test_main_process_is_told_before_it_speaks(self):
        """The service manager listens to the main process alone."""
        self.start_held()
        mark = self.proxy.notices.mark()
        self.proxy.upgrade()
        notices = [line for line in self.proxy.notices.items[mark:] if line != 'WATCHDOG=1']
        self.assertEqual(notices[0], 'STATUS=Upgrading: waiting for the new process')
        self.assertRegex(notices[1], '^MAINPID=')
        self.assertEqual(notices.count('READY=1'), 1)

    def test_none_refused_none_cut(self):
        """200 sessions stay open, others come all the time, and process follows process."""
        held, busy = self.make_server(None), self.make_server()
        self.start_proxy(server_group('held', held.address), server_group('busy', busy.address),
                         route_group('held', 'held', 'held'), route_group('all', '*', 'busy'))
        sessions = []
        problems, over = [], threading.Event()

        def call_all_the_time():
            while not over.is_set():
                client = PretendAsterisk(self.address).start()
                if client.wait() != 'SUCCESS' or client.variables.get('SERVED') != 'yes':
                    problems.append(client.describe())
                client.close()

        callers = [threading.Thread(target=call_all_the_time) for _ in range(4)]
        for caller in callers:
            caller.start()
        try:
            for _ in range(5):
                sessions += [self.open_session(held, b'agi_request: agi://h/held\n\n')
                             for _ in range(40)]
                self.proxy.upgrade()
        finally:
            over.set()
            for caller in callers:
                caller.join()
        self.assertEqual(problems, [])
        for session in sessions:
            self.assert_relayed(*session)
        for session in sessions:
            self.assert_ends(*session)
        for old in self.proxy.older:
            self.assertEqual(old.wait(30), 0)

    def test_those_in_the_queue_are_served(self):
        server = self.make_server()
        self.start_one_route(server)
        self.proxy.signal(signal.SIGSTOP)
        clients = [self.call() for _ in range(50)]
        self.proxy.signal(signal.SIGUSR2)
        self.proxy.signal(signal.SIGCONT)
        self.proxy.upgrade()
        for client in clients:
            self.assert_success(client)
            self.assertEqual(client.variables.get('SERVED'), 'yes')

    # Listening sockets

    def test_own_sockets_go_over(self):
        path = self.make_path('listener')
        self.start_held(listener=['Listen=unix:' + path], sockets={})
        self.address = path
        old = self.open_session(self.server)
        before = self.proxy.upgrade()
        self.assert_ends(*self.open_session(self.server))
        self.assert_ends(*old)
        self.assertEqual(before.wait(30), 0)
        self.assertTrue(stat.S_ISSOCK(os.stat(path).st_mode), 'it was the old one that removed it')
        self.assert_ends(*self.open_session(self.server))
        self.proxy.stop()
        self.assertFalse(os.path.exists(path))

    def test_listener_that_is_gone_is_closed(self):
        path = self.make_path('listener')
        self.start_held(listener=['Listen=unix:' + path], sockets={})
        self.proxy.write_config(Config(server_group('one', self.server.address),
                                       route_group('all', '*', 'one'),
                                       listener=['Listen=unix:' + path + '2']).text)
        self.proxy.upgrade()
        self.address = path + '2'
        self.assert_ends(*self.open_session(self.server))
        wait_until(lambda: is_refused(path), 'connections to be refused')

    def test_sockets_of_the_service_manager_keep_their_names(self):
        main, other = self.make_socket(), self.make_socket()
        self.start_held(sockets={'main': main, 'other': other})
        self.proxy.upgrade()
        self.assert_refused(self.call(address=other.getsockname()), 'DENIED')
        self.assert_ends(*self.open_session(self.server))
        self.proxy.stop()
        waiting = socket.create_connection(self.address)
        self.assertFalse(is_refused(self.address), 'the socket is the service manager\'s')
        waiting.close()

    def test_new_configuration_is_read(self):
        self.start_held()
        two = self.make_server()
        self.proxy.write_config(Config(server_group('two', two.address),
                                       route_group('all', '*', 'two')).text)
        self.proxy.upgrade()
        self.assert_success(self.call())
        self.assertEqual(len(two.sessions), 1)

    # Counts

    def test_limit_is_that_of_both_processes_together(self):
        self.start_held('MaxSessions=2')
        old = self.open_session(self.server)
        before = self.proxy.upgrade()
        new = self.open_session(self.server)
        self.assert_refused(self.call(), 'FULL')
        self.assert_ends(*old)
        self.assertEqual(before.wait(30), 0)
        newer = self.open_session(self.server)
        self.assert_refused(self.call(), 'FULL')
        self.assert_ends(*new)
        self.assert_ends(*newer)

    def test_places_of_an_old_process_that_died_are_free(self):
        self.start_held('MaxSessions=1')
        client, session = self.open_session(self.server)
        before = self.proxy.upgrade()
        self.assert_refused(self.call(), 'FULL')
        mark = self.proxy.notices.mark()
        before.kill()
        before.wait()
        client.read_to_end()
        session.close()
        self.proxy.wait_notice(r'^STATUS=0 sessions, (?!.*older)', mark)
        self.assert_ends(*self.open_session(self.server))

    def test_more_processes_than_one_drain(self):
        self.start_held('MaxSessions=6')
        sessions = []
        for _ in range(5):
            sessions.append(self.open_session(self.server))
            self.proxy.upgrade()
        self.proxy.wait_notice(r'^STATUS=.*; 5 sessions in 5 older processes')
        sessions.append(self.open_session(self.server))
        self.assert_refused(self.call(), 'FULL')
        for session in sessions:
            self.assert_relayed(*session)
        self.assert_ends(*sessions.pop(2))
        self.assert_relayed(*self.open_session(self.server))
        for session in sessions:
            self.assert_ends(*session)

    # What can't follow

    def test_bad_configuration(self):
        self.start_replaceable()
        self.proxy.write_config('[Listener main]\n[Rout x]\nPath=*\n')
        self.assert_upgrade_fails(r'agitator\.conf:2: .*Rout')

    def test_file_that_is_no_program(self):
        self.start_replaceable()
        self.replace('junk')
        self.assert_upgrade_fails('is no program')

    def test_file_that_is_gone(self):
        self.start_replaceable()
        os.unlink(self.binary)
        self.assert_upgrade_fails('No such file')

    def test_program_that_ends(self):
        self.start_replaceable()
        self.replace('#!/bin/sh\nexit 1\n')
        self.assert_upgrade_fails('ended before it was ready')

    def replace_by_one_that_hangs(self, command='', **options):
        """Returns what gives its number, as soon as it runs."""
        Adopted.adopt_all()
        self.start_replaceable(**options)
        started = self.make_path('started')
        self.replace('#!/bin/sh\n%s\necho $$ >%s.new\nmv %s.new %s\nexec sleep 300 </dev/null\n'
                     % (command, started, started, started))

        def get_number():
            wait_until(lambda: os.path.exists(started), 'the new process', pause=0.01)
            with open(started, encoding='ascii') as file:
                return int(file.read())

        return get_number

    def test_program_that_is_never_ready(self):
        get_number = self.replace_by_one_that_hangs("trap '' TERM")
        self.assert_upgrade_fails('not ready within 15 s')
        self.assertEqual(Adopted(get_number()).wait(), -signal.SIGKILL, 'it was left alone')

    def test_stop_while_the_new_process_starts(self):
        """That is no failure of the upgrade."""
        get_number = self.replace_by_one_that_hangs(proxy=['StopTimeout=2s'])
        held = self.open_session(self.server)[0]
        self.proxy.signal(signal.SIGUSR2)
        number = get_number()
        self.proxy.signal(signal.SIGTERM)
        self.assertEqual(held.read_to_end(), b'FAILURE\n')  # later than the end of the attempt
        self.assertEqual(self.proxy.wait_exit(), 0)
        self.assertNotIn('upgrade failed', self.proxy.log_text())
        self.assertEqual(Adopted(number).wait(), -signal.SIGTERM, 'it was left alone')

    def test_listener_that_can_t_be_opened(self):
        taken = self.make_socket()
        self.start_replaceable()
        self.proxy.write_config(Config(server_group('one', self.server.address),
                                       route_group('all', '*', 'one'),
                                       group('Listener', 'two', 'Listen=%s:%d' %
                                             taken.getsockname()[:2])).text)
        self.assert_upgrade_fails(r'\[Listener two\] Listen=.*in use')

    def test_an_upgrade_can_follow_one_that_failed(self):
        self.start_replaceable()
        self.replace('junk')
        self.assert_upgrade_fails('is no program')
        os.unlink(self.binary)
        os.symlink(self.proxy_program(), self.binary)
        self.proxy.upgrade()
        self.proxy.wait_notice(r'^STATUS=0 sessions, (?!.*failed)', self.proxy.notices.mark() - 3)
        self.assert_ends(*self.open_session(self.server))

    def proxy_program(self):
        return os.environ['AGITATOR']

    # Together with other signals

    def test_upgrade_and_reload_at_once(self):
        Adopted.adopt_all()
        self.start_held()
        for first, second in ((signal.SIGHUP, signal.SIGUSR2), (signal.SIGUSR2, signal.SIGHUP)):
            mark = self.proxy.notices.mark()
            held = self.open_session(self.server)
            self.proxy.signal(first)
            self.proxy.signal(second)
            self.proxy.take_over(mark)
            self.assert_relayed(*held)
            self.assert_ends(*held)

    def test_two_upgrades_at_once_are_one(self):
        self.start_held()
        self.proxy.signal(signal.SIGUSR2)
        self.proxy.upgrade()
        self.assert_ends(*self.open_session(self.server))
        self.assertEqual(sum('MAINPID' in line for line in self.proxy.notices.items), 1)

    def test_stop_ends_all_processes_in_their_time(self):
        self.start_held()
        old = self.open_session(self.server)
        before = self.proxy.upgrade()
        new = self.open_session(self.server)
        self.proxy.signal(signal.SIGTERM)
        self.proxy.wait_for_log('stopping: 1 session to finish')
        self.assert_relayed(*old)
        self.assert_ends(*new)
        self.assert_relayed(*old)
        self.assertIsNone(self.proxy.process.poll(), 'the newest is to be the last')
        self.assert_ends(*old)
        self.assertEqual(before.wait(30), 0)
        self.assertEqual(self.proxy.wait_exit(), 0)

    def test_stop_timeout_is_for_all_processes(self):
        self.start_held(proxy=['StopTimeout=500ms'])
        old = self.open_session(self.server)
        before = self.proxy.upgrade()
        new = self.open_session(self.server)
        for process in (before, self.proxy.process):
            process.send_signal(signal.SIGTERM)  # as systemd does
        for client, session in (old, new):
            self.assertEqual(client.read_to_end(), b'FAILURE\n')
            session.read_to_end()
        self.assertEqual(before.wait(30), 0)
        self.assertEqual(self.proxy.wait_exit(), 0)

    def test_second_signal_cuts_all_processes(self):
        self.start_held(proxy=['StopTimeout=infinity'])
        old = self.open_session(self.server)
        before = self.proxy.upgrade()
        new = self.open_session(self.server)
        mark = self.proxy.log.mark()
        self.proxy.signal(signal.SIGTERM)
        for _ in range(2):
            mark = 1 + self.proxy.log.wait(lambda line: 'stopping: 1 session' in line, 'both', mark)
        self.assert_relayed(*old)
        self.assert_relayed(*new)
        self.proxy.signal(signal.SIGTERM)
        for client, session in (old, new):
            self.assertEqual(client.read_to_end(), b'FAILURE\n')
            session.read_to_end()
        self.assertEqual(before.wait(30), 0)
        self.assertEqual(self.proxy.wait_exit(), 0)

    def test_death_of_the_new_process_leaves_the_old_one_s_sessions(self):
        self.start_held()
        old = self.open_session(self.server)
        before = self.proxy.upgrade()
        self.proxy.process.kill()
        self.proxy.process.wait()
        self.assert_relayed(*old)
        self.assert_ends(*old)
        # Where it is this one that is watched, the service is to be started anew.
        self.assertEqual(before.wait(30), 1)
        self.proxy.expected_status = -signal.SIGKILL

    def test_stop_after_the_death_of_the_new_process_cuts(self):
        """A service manager that starts it anew waits for the old one while nobody accepts."""
        self.start_held()
        client, _ = self.open_session(self.server)
        before = self.proxy.upgrade()
        self.proxy.process.kill()
        self.proxy.process.wait()
        before.send_signal(signal.SIGTERM)
        self.assertEqual(client.read_to_end(), b'FAILURE\n')
        self.assertEqual(before.wait(5), 1)
        self.proxy.expected_status = -signal.SIGKILL

    def test_watchdog_is_fed_by_the_new_process(self):
        self.start_held(environment={'WATCHDOG_USEC': '400000'})
        self.proxy.upgrade()
        mark = self.proxy.notices.mark()
        for _ in range(3):
            mark = 1 + self.proxy.notices.wait(lambda line: line == 'WATCHDOG=1', 'WATCHDOG=1', mark)

    def test_junk_in_the_environment_is_refused(self):
        """It is for the program alone, and wrong when anybody else sets it."""
        for value in ('junk', '0', '77', '-1'):
            self.start_held(environment={'AGITATOR_HANDOVER': value}, ready=False)
            self.proxy.expected_status = 1
            self.assertEqual(self.proxy.wait_exit(), 1)
            self.proxy.wait_for_log('handed over is wrong')


if __name__ == '__main__':
    tap.main()
