#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reload: a good configuration is in force at once, a bad one changes nothing, and no session notices."""

import os
import re
import signal
import threading

from harness import tap
from harness.asterisk import environment
from harness.case import Config, group, IntegrationTest, route_group, server_group
from harness.connection import connect, is_refused
from harness.waiting import wait_until


def line_of(text, what):
    """The number of the line that begins with `what`."""
    return [line.startswith(what) for line in text.splitlines()].index(True) + 1


class Reload(IntegrationTest):
    def start_two(self, sockets=None):
        """Two servers, and the configuration's groups but for the routes."""
        self.one, self.two = self.make_server(), self.make_server()
        self.groups = [server_group('one', self.one.address), server_group('two', self.two.address)]
        more = [group('Listener', name) for name in sockets or () if name != 'main']
        self.start_proxy(*self.groups, *more, route_group('all', '*', 'one'), sockets=sockets)

    def served_by(self, request='agi://h/x'):
        """The server that the next call goes to."""
        before = len(self.one.sessions)
        self.assert_success(self.call(request))
        return self.one if len(self.one.sessions) > before else self.two

    def test_routes(self):
        self.start_two()
        self.assertIs(self.served_by(), self.one)
        self.proxy.reload(Config(*self.groups, route_group('all', '*', 'two'),
                                 route_group('new', 'new', 'one')).text)
        self.assertIs(self.served_by(), self.two)
        self.assertIs(self.served_by('agi://h/new'), self.one)
        self.proxy.reload(Config(*self.groups, route_group('new', 'new', 'one')).text)
        self.assert_refused(self.call(), 'NOROUTE')

    def test_address_of_a_server(self):
        self.start_two()
        self.proxy.reload(Config(server_group('one', self.two.address),
                                 route_group('all', '*', 'one')).text)
        self.assertIs(self.served_by(), self.two)

    def test_limits(self):
        held = self.make_server(None)
        self.start_one_route(held)
        first = self.open_session(held)
        groups = [server_group('one', held.address, 'MaxSessions=1'), route_group('all', '*', 'one')]
        self.proxy.reload(Config(*groups).text)
        self.assert_refused(self.call(), 'FULL')
        self.proxy.reload(Config(*groups).text.replace('MaxSessions=1', 'MaxSessions=2'))
        self.open_session(held)
        self.assert_refused(self.call(), 'FULL')
        self.end_session(*first)
        self.open_session(held)

    def test_timeouts_and_log(self):
        self.start_two()
        self.proxy.reload(Config(*self.groups, route_group('all', '*', 'one'),
                                 proxy=['RequestTimeout=200ms'], log=['Level=debug']).text)
        mark = self.proxy.log.mark()
        slow = self.connect()
        self.assertIn(b'FAILURE\n', slow.read_to_end())
        self.proxy.wait_for_log('debug', mark)

    def test_listener_added_and_removed(self):
        """The others stay as they are: no connection is refused, none in the queue lost."""
        self.start_two()
        path = self.make_path('new')
        new = group('Listener', 'new', 'Listen=unix:' + path)
        routes = [*self.groups, route_group('all', '*', 'one')]
        early = self.begin_call()
        self.proxy.reload(Config(*routes, new).text)
        self.assert_success(self.call(address=path))
        self.assert_success(self.call())
        late = self.begin_call(path)
        self.proxy.reload(Config(*routes).text)
        wait_until(lambda: is_refused(path), 'the removed listener to refuse')
        self.assert_success(self.call())
        # Who came before it was removed is served.
        for client in (early, late):
            self.assert_success(client.start([environment()[100:]]))

    def test_listener_kept_keeps_its_queue(self):
        path = self.make_path('kept')
        server = self.make_server()
        groups = [server_group('one', server.address), route_group('all', '*', 'one'),
                  group('Listener', 'kept', 'Listen=unix:' + path)]
        self.start_proxy(*groups)
        for i in range(20):
            self.proxy.reload(Config(*groups, proxy=['RequestTimeout=%ds' % (i + 1)]).text)
            self.assert_success(self.call(address=path))

    def test_allow(self):
        self.start_two()
        routes = [*self.groups, route_group('all', '*', 'one')]
        self.proxy.reload(Config(*routes, listener=['Allow=10.0.0.0/8']).text)
        self.assert_refused(self.call(), 'DENIED')
        self.proxy.reload(Config(*routes).text)
        self.assertIs(self.served_by(), self.one)

    def test_session_keeps_the_settings_it_began_with(self):
        held = self.make_server(None)
        self.start_one_route(held)
        client, session = self.open_session(held)
        self.proxy.reload(Config(server_group('other', self.make_server().address),
                                 route_group('other', 'other', 'other')).text)
        for _ in range(3):
            self.assert_relayed(client, session)
        self.assert_ends(client, session)

    def check_bad(self, text, line, pattern):
        """A bad file is reported with its line and in STATUS=, and what was in force stays so."""
        mark = self.proxy.notices.mark()
        log_mark = self.proxy.reload(text)
        self.proxy.wait_for_log(r'agitator\.conf:%d: .*%s' % (line, pattern), log_mark)
        self.proxy.wait_notice(r'^STATUS=.*(?i:configuration|reload|agitator\.conf)', mark)
        self.assertIs(self.served_by(), self.one)

    def test_bad_file_changes_nothing_and_says_where(self):
        self.start_two()
        for lines, key, pattern in ((['Mod=balance'], 'Mod=', 'Mod'),
                                    (['Mode=fastest'], 'Mode=', 'Mode'),
                                    (['SetupTimeout=soon'], 'SetupTimeout=', 'SetupTimeout')):
            text = Config(*self.groups, route_group('all', '*', 'two', *lines)).text
            self.check_bad(text, line_of(text, key), pattern)
        text = Config(*self.groups, route_group('all', '*', 'nosuch')).text
        self.check_bad(text, line_of(text, 'Servers='), 'nosuch')
        # And the way back: the message is gone with the mistake.
        mark = self.proxy.notices.mark()
        self.proxy.reload(Config(*self.groups, route_group('all', '*', 'two')).text)
        self.assertIs(self.served_by(), self.two)
        statuses = [notice for notice in self.proxy.notices.items[mark:]
                    if notice.startswith('STATUS=')]
        self.assertTrue(statuses and 'agitator.conf' not in statuses[-1], statuses)

    def test_missing_file_changes_nothing(self):
        self.start_two()
        os.unlink(self.proxy.config_file)
        self.proxy.reload()
        self.assertIs(self.served_by(), self.one)

    def test_listener_that_cannot_be_opened_changes_nothing(self):
        self.start_two()
        bad = group('Listener', 'bad', 'Listen=unix:/nonexistent/socket')
        mark = self.proxy.reload(Config(*self.groups, bad, route_group('all', '*', 'two')).text)
        self.proxy.wait_for_log('/nonexistent/socket', mark)
        self.assertIs(self.served_by(), self.one)

    def test_port_of_a_listener_in_force(self):
        """It can't become another's within a reload, and the log says why."""
        self.start_two({'main': self.make_socket(), 'six': self.make_socket('::1')})
        for sock, form in zip(self.sockets, ('127.0.0.1:%d', '[::1]:%d')):
            port = sock.getsockname()[1]
            other = group('Listener', 'other', 'Listen=' + form % port)
            mark = self.proxy.reload(Config(*self.groups, group('Listener', 'six'), other,
                                            route_group('all', '*', 'two')).text)
            taken = re.escape(form % port)
            self.proxy.wait_for_log(f'port {port} is that of {taken}, in force until', mark)
            self.assertIs(self.served_by(), self.one)

    def test_threads_stay_as_they_are(self):
        self.start_two()
        mark = self.proxy.reload(Config(*self.groups, route_group('all', '*', 'two'),
                                        proxy=['Threads=3']).text)
        self.proxy.wait_for_log(r'Threads=: \d+ of them run until a restart', mark)
        self.assertIs(self.served_by(), self.two)

    def test_50_reloads_under_200_sessions_and_constant_calls(self):
        """Good and bad ones in turn: no session fails, and counts stay true."""
        held, busy = self.make_server(None), self.make_server()
        groups = [server_group('held', held.address, 'MaxSessions=201'),
                  server_group('busy', busy.address, 'MaxSessions=100')]
        routes = [route_group('held', 'held', 'held'), route_group('all', '*', 'busy')]
        self.start_proxy(*groups, *routes)
        block = environment('agi://h/held')
        sessions = [self.open_session(held, block) for _ in range(200)]
        done, outcomes = threading.Event(), []

        def call_on():
            while not done.is_set():
                client = self.call()
                outcomes.append((client.wait(), client.agitator_status))
                self.clients.remove(client)

        callers = [threading.Thread(target=call_on) for _ in range(3)]
        for caller in callers:
            caller.start()
        try:
            for i in range(50):
                extra = route_group('extra', 'extra/%d' % i, 'busy')
                if i % 2:
                    text = Config(*groups, *routes, extra).text
                    mark = self.proxy.reload(text.replace('[Server busy]', '[Server busy]\nBad=1'))
                    self.proxy.wait_for_log(
                        r'agitator\.conf:%d: .*Bad' % (line_of(text, '[Server busy]') + 1), mark)
                else:
                    self.proxy.reload(Config(*groups, *routes, extra).text)
                self.assert_relayed(*sessions[i])
                # A reload takes less time than a call.
                wait_until(lambda n=i + 1: len(outcomes) > n, 'another call')
        finally:
            done.set()
            for caller in callers:
                caller.join()

        self.assertEqual(set(outcomes), {('SUCCESS', None)})
        self.assertGreater(len(outcomes), 50)
        # The 200 count: one more fits, the next does not.
        sessions.append(self.open_session(held, block))
        self.assert_refused(self.call('agi://h/held'), 'FULL')
        for client, session in sessions:
            self.assert_relayed(client, session)
        mark = self.proxy.log.mark()
        for client, session in sessions:
            self.assert_ends(client, session)
        self.wait_for_records(201, mark)
        again = [self.open_session(held, block) for _ in range(201)]
        self.assert_refused(self.call('agi://h/held'), 'FULL')
        self.assertEqual(len(again), 201)

    def test_sighup_upon_sighup(self):
        """Many at once are one or several reloads, and the last file counts."""
        self.start_two()
        self.proxy.write_config(Config(*self.groups, route_group('all', '*', 'two')).text)
        for _ in range(100):
            self.proxy.signal(signal.SIGHUP)
        self.proxy.reload()
        self.assertIs(self.served_by(), self.two)

    def test_new_calls_are_never_refused_during_reloads(self):
        self.start_two()
        done, errors = threading.Event(), []

        def connect_on():
            while not done.is_set():
                try:
                    connect(self.address).close()
                except OSError as error:
                    errors.append(error)

        thread = threading.Thread(target=connect_on)
        thread.start()
        for _ in range(20):
            self.proxy.reload()
        done.set()
        thread.join()
        self.assertEqual(errors, [])


if __name__ == '__main__':
    tap.main()
