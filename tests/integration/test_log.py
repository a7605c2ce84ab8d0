#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the log says on a terminal: one record a session, the operator's events, nothing forged."""

import re

from harness import tap
from harness.asterisk import environment, PretendAsterisk
from harness.case import IntegrationTest, route_group, server_group, SESSION_RECORD, SETTLE
from harness.connection import refusing_authority


class Log(IntegrationTest):
    def records(self):
        return [line for line in self.proxy.log.items if re.search(SESSION_RECORD, line)]

    def start_served(self, **options):
        self.start_proxy(server_group('ivr-1', self.make_server().address),
                         route_group('menu', 'ivr/menu', 'ivr-1'), **options)

    def test_record_of_a_session(self):
        self.start_served()
        client = PretendAsterisk(self.address, block=environment('agi://h/ivr/menu?x=y'))
        self.clients.append(client)
        port = client.connection.sock.getsockname()[1]  # before the call ends and closes it
        self.assert_success(client.start())
        self.wait_for_records(1)
        record, = self.records()
        for part in ('127.0.0.1:%d' % port, 'agi://h/ivr/menu?x=y', 'served', 'route menu',
                     'server ivr-1', '2 commands'):
            self.assertIn(part, record)

    def test_record_of_a_refused_session(self):
        self.start_served()
        self.assert_refused(self.call('agi://h/nosuch'), 'NOROUTE')
        self.wait_for_records(1)
        record, = self.records()
        for part in ('agi://h/nosuch', 'refused', 'NOROUTE', 'warning'):
            self.assertIn(part, record)

    def test_record_of_a_broken_session(self):
        self.start_one_route(self.make_server(lambda s: (s.read_environment(), s.reset())))
        self.assertEqual(self.call().wait(), 'FAILURE')
        self.wait_for_records(1)
        self.assertRegex(self.records()[0], r'broken.*Connection reset')

    def test_record_of_a_caller_who_is_gone(self):
        server = self.make_server(None)
        self.start_one_route(server)
        client, session = self.open_session(server)
        client.reset()
        session.read_to_end()
        self.wait_for_records(1)

    def test_one_record_for_each_session(self):
        self.start_served()
        for _ in range(20):
            self.assert_success(self.call('agi://h/ivr/menu'))
        self.wait_for_records(20)
        self.proxy.stop()
        self.assertEqual(len(self.records()), 20)
        ids = {re.search(r'session (\w+)', record)[1] for record in self.records()}
        self.assertEqual(len(ids), 20)

    def count_records(self, setting):
        self.start_served(log=['Sessions=' + setting])
        self.assert_success(self.call('agi://h/ivr/menu'))
        self.assert_refused(self.call('agi://h/nosuch'), 'NOROUTE')
        self.proxy.stop()
        return len(self.records())

    def test_which_sessions_are_logged(self):
        self.assertEqual({setting: self.count_records(setting)
                          for setting in ('all', 'failed', 'none')},
                         {'all': 2, 'failed': 1, 'none': 0})

    def test_peers_forge_no_lines(self):
        self.start_served()
        evil = b'agi://h/\x1b[31mred\x07\r\x9b\xff\xe2\x80\xa8\xe2\x80\xae'
        block = environment(evil, callerid='1\x1b]0;title\x07', channel='x\r00:00:00 forged')
        self.assert_refused(self.call(block=block), 'NOROUTE')
        self.wait_for_records(1)
        self.proxy.stop()
        text = '\n'.join(self.proxy.log.items)
        self.assertIsNone(re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]', text), repr(text))
        self.assertIn(r'\x1b[31mred', text)

    def test_debug_level_shows_the_steps_of_one_session(self):
        self.start_served(log=['Level=debug'])
        self.assert_success(self.call('agi://h/ivr/menu'))
        self.wait_for_records(1)
        number = re.search(r'session (\w+)', self.records()[0])[1]
        steps = [line for line in self.proxy.log.items if number in line]
        self.assertGreater(len(steps), 3, steps)
        for word in ('reading', 'choosing', 'dialing', 'relaying'):
            self.assertTrue(any(word in line for line in steps), (word, steps))

    def test_info_level_does_not(self):
        self.start_served()
        self.assert_success(self.call('agi://h/ivr/menu'))
        self.wait_for_records(1)
        self.proxy.stop()
        self.assertFalse([line for line in self.proxy.log.items if ' debug ' in line])

    def test_level_warning_hides_the_rest(self):
        self.start_served(log=['Level=warning'])
        self.assert_success(self.call('agi://h/ivr/menu'))
        self.assert_refused(self.call('agi://h/nosuch'), 'NOROUTE')
        self.wait_for_records(1)
        self.proxy.stop()
        self.assertEqual(len(self.records()), 1)
        self.assertFalse([line for line in self.proxy.log.items if ' info ' in line])

    def test_server_down_and_up_are_events(self):
        """Once each, not once a call."""
        sock, authority = refusing_authority()
        self.keep(sock)
        self.start_proxy(server_group('ivr-1', authority), route_group('all', '*', 'ivr-1'))
        for _ in range(5):
            self.assert_refused(self.call(), 'NOSERVER')
        self.wait_for_records(5)
        sock.listen(10)
        self.make_server(sock=sock)
        self.assert_success(self.call())
        self.wait_for_records(6)
        self.proxy.stop()
        events = [line for line in self.proxy.log.items
                  if 'ivr-1' in line and not re.search(SESSION_RECORD, line)]
        self.assertEqual(len(events), 2, events)

    def test_full_server_is_an_event(self):
        one = self.make_server(None)
        self.start_proxy(server_group('ivr-1', one.address, 'MaxSessions=1'),
                         route_group('all', '*', 'ivr-1'))
        self.open_session(one)
        for _ in range(5):
            self.assert_refused(self.call(), 'FULL')
        self.wait_for_records(5)
        events = [line for line in self.proxy.log.items
                  if 'ivr-1' in line and not re.search(SESSION_RECORD, line)]
        self.assertEqual(len(events), 1, events)

    def test_odd_path_is_told_without_secrets(self):
        self.start_served()
        self.assert_refused(self.call('agi://h/a/../b c?pin=bond-007'), 'NOROUTE')
        line = self.proxy.wait_for_log('could climb')
        self.assertIn(r'no route but *: agi://h/a/../b\x20c?pin=***', line)
        self.wait_for_records(1)
        self.assertNotIn('bond-007', self.proxy.log_text())

    def test_no_colours_on_a_pipe(self):
        self.start_proxy(SETTLE)
        self.settle()
        self.wait_for_records(1)
        self.assertFalse([line for line in self.proxy.log.items if '\x1b' in line])


if __name__ == '__main__':
    tap.main()
