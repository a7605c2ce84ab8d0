#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of a session says who ended it, after what, and what the dialplan was left with."""

import re

from harness import tap
from harness.asterisk import environment
from harness.case import IntegrationTest, group, route_group, server_group, SESSION_RECORD


class Endings(IntegrationTest):
    def record(self):
        """The one record there is."""
        return self.proxy.wait_for_log(SESSION_RECORD)

    def check(self, result, by, status, last=None):
        """The record has these, and the pretend Asterisk's own status is what it says."""
        record = self.record()
        self.assertIn(f': {result}', record)
        self.assertIn(f', ended by {by}', record)
        found = re.search(r', AGISTATUS (\w+)', record)
        self.assertEqual(found and found[1], status, record)
        found = re.search(r', the last(?:, unanswered)?: (.*)$', record)
        self.assertEqual(found and found[1], last, record)
        return record

    def call_with(self, behaviour, *route_lines):
        """A whole call to a server of that behaviour; its AGISTATUS."""
        self.start_one_route(self.make_server(behaviour), *route_lines)
        return self.call().wait()

    def test_server_ends(self):
        self.assertEqual(self.call_with(lambda s: (s.read_environment(), s.command(b'NOOP one'),
                                                   s.end())), 'SUCCESS')
        self.check('served', 'the server', 'SUCCESS', 'NOOP one')

    def test_server_ends_at_once(self):
        self.assertEqual(self.call_with(lambda s: (s.read_environment(), s.end())), 'SUCCESS')
        self.check('served', 'the server', 'SUCCESS')

    def test_server_says_failure(self):
        self.assertEqual(self.call_with(lambda s: (s.read_environment(), s.command(b'NOOP'),
                                                   s.send(b'FAILURE\n'), s.end())), 'FAILURE')
        self.check('served', 'the server', 'FAILURE', 'FAILURE')

    def test_server_says_failure_and_resets(self):
        self.assertEqual(self.call_with(lambda s: (s.read_environment(), s.send(b'FAILURE\n'),
                                                   s.read_to_end(), s.reset())), 'FAILURE')
        self.check('served', 'the server', 'FAILURE', 'FAILURE')

    def test_server_breaks(self):
        self.assertEqual(self.call_with(lambda s: (s.read_environment(), s.command(b'NOOP'),
                                                   s.reset())), 'FAILURE')
        self.check('broken', 'the server', 'FAILURE', 'NOOP')

    def test_server_breaks_and_the_dialplan_is_not_told(self):
        self.assertEqual(self.call_with(lambda s: (s.read_environment(), s.reset()),
                                        'OnServerFailure=close'), 'SUCCESS')
        self.check('broken', 'the server', 'SUCCESS')

    def open_one(self, *route_lines):
        server = self.make_server(None)
        self.start_one_route(server, *route_lines)
        return self.open_session(server)

    def test_caller_hangs_up(self):
        client, session = self.open_one()
        client.send(b'HANGUP\n')
        session.read_line()
        self.assert_ends(client, session)
        self.check('served', 'the client', 'HANGUP')

    def test_caller_hangs_up_while_a_command_runs(self):
        client, session = self.open_one()
        session.send(b'STREAM FILE long ""\n')
        client.read_line()
        client.send(b'200 result=-1 endpos=17\nHANGUP\n')
        self.assertEqual(session.read_line(), b'200 result=-1 endpos=17\n')
        self.assertEqual(session.read_line(), b'HANGUP\n')
        self.assert_ends(client, session)
        self.check('served', 'the client', 'HANGUP', 'STREAM FILE long ""')

    def test_server_hangs_the_caller_up(self):
        client, session = self.open_one()
        session.send(b'HANGUP\n')
        client.read_line()
        client.send(b'200 result=1\nHANGUP\n')
        session.read_line()
        session.read_line()
        self.assert_ends(client, session)
        self.check('served', 'the server', 'HANGUP', 'HANGUP')

    def test_client_closes(self):
        """As with AGIEXITONHANGUP=yes and AGISIGHUP=no."""
        client, session = self.open_one()
        session.send(b'EXEC Dial SIP/x\n')
        client.read_line()
        client.finish()
        session.read_to_end()
        session.close()
        client.read_to_end()
        record = self.check('served', 'the client', 'HANGUP', 'EXEC Dial SIP/x')
        self.assertIn('the last, unanswered: ', record)

    def test_client_breaks(self):
        client, session = self.open_one()
        client.reset()
        session.read_to_end()
        self.check('served', 'the client', None)

    def test_a_command_fails(self):
        client, session = self.open_one()
        for command, reply in ((b'STREAM FILE x ""\n', b'200 result=-1 endpos=0\n'),
                               (b'NOOP\n', b'200 result=0\n')):
            session.send(command)
            client.read_line()
            client.send(reply)
            session.read_line()
        self.assert_ends(client, session)
        self.check('served', 'the server', 'FAILURE', 'NOOP')

    def test_a_timeout_ends_it(self):
        client, session = self.open_one('ThinkTimeout=200ms')
        self.assertEqual(client.read_to_end(), b'FAILURE\n')
        client.close()
        session.read_to_end()
        self.check('broken, THINK', 'agitator', 'FAILURE')

    def test_bytes_are_not_understood(self):
        client, session = self.open_one('Relay=bytes')
        session.send(b'FAILURE\n')
        client.read_line()
        client.send(b'200 result=0\n')
        session.read_line()
        self.assert_ends(client, session)
        self.check('served', 'the server', None)

    def test_a_refusal(self):
        self.start_one_route(self.make_server())
        self.proxy.stop()
        self.start_proxy(route_group('a', 'a', [], 'Answer=x'), group('Answer', 'x'))
        self.assert_refused(self.call('agi://h/b'), 'NOROUTE')
        record = self.check('refused, NOROUTE', 'agitator', 'FAILURE',
                            'SET VARIABLE AGITATOR_STATUS NOROUTE')
        self.assertIn(' while choosing', record)

    def test_an_answer(self):
        self.start_proxy(route_group('a', '*', [], 'Answer=x'),
                         group('Answer', 'x', 'Commands=NOOP;SET VARIABLE PIN 17'))
        self.assert_success(self.call())
        record = self.check('answered', 'agitator', 'SUCCESS', 'SET VARIABLE PIN ***')
        self.assertIn(' while answering', record)

    def test_an_answer_that_fails(self):
        self.start_proxy(route_group('a', '*', [], 'Answer=x'),
                         group('Answer', 'x', 'Commands=NOOP', 'Result=failure'))
        self.assertEqual(self.call().wait(), 'FAILURE')
        self.check('answered', 'agitator', 'FAILURE', 'NOOP')

    def test_client_leaves_an_answer(self):
        self.start_proxy(route_group('a', '*', [], 'Answer=x'),
                         group('Answer', 'x', 'Commands=EXEC Wait 9'))
        client = self.connect()
        client.send(environment())
        client.read_line()
        client.finish()
        client.read_to_end()
        self.check('answered', 'the client', 'HANGUP', 'EXEC Wait 9')

    def test_caller_hangs_up_before_an_answer(self):
        self.start_proxy(route_group('a', '*', [], 'Answer=x'),
                         group('Answer', 'x', 'Commands=NOOP'), log=['Level=debug'])
        self.assert_success(self.call(block=environment() + b'HANGUP\n'))
        self.check('answered', 'the client', 'HANGUP', 'NOOP')
        self.proxy.wait_for_log(r' C->S HANGUP$')

    def test_client_leaves_before_there_is_a_server(self):
        self.start_one_route(self.make_server())
        self.connect().close()
        record = self.check('abandoned', 'the client', None)
        self.assertIn(' while reading', record)

    def test_the_stop(self):
        server = self.make_server(None)
        self.start_one_route(server, proxy=['StopTimeout=1ms'])
        client, session = self.open_session(server)
        session.send(b'NOOP\n')
        client.read_line()
        self.proxy.signal(15)
        self.assertEqual(client.read_to_end(), b'FAILURE\n')
        client.close()
        session.read_to_end()
        record = self.check('cut', 'agitator', 'FAILURE', 'NOOP')
        self.assertIn('unanswered', record)
        self.assertEqual(self.proxy.wait_exit(), 0)

    def test_the_last_command_is_cut_to_its_beginning(self):
        self.call_with(lambda s: (s.read_environment(), s.command(b'NOOP ' + b'x' * 4000), s.end()))
        self.check('served', 'the server', 'SUCCESS', 'NOOP ' + 'x' * 43)

    def test_nothing_is_forged_by_a_command(self):
        evil = b'NOOP x\x1b[2J\xff\xe2\x80\xae\rforged'
        self.call_with(lambda s: (s.read_environment(), s.command(evil), s.end()))
        self.check('served', 'the server', 'SUCCESS',
                   r'NOOP x\x1b[2J\xff\xe2\x80\xae\x0dforged')

    def test_secrets_are_hidden(self):
        self.start_proxy(server_group('one', self.make_server(
            lambda s: (s.read_environment(), s.command(b'EXEC Set MyPin=bond-007'), s.end())).address),
            route_group('all', '*', 'one'))
        self.assert_success(self.call('agi://h/x?a=1&pin=bond-007'))
        record = self.check('served', 'the server', 'SUCCESS', 'EXEC Set MyPin=***')
        self.assertIn('for agi://h/x?a=1&pin=***:', record)
        self.assertNotIn('bond-007', record)

    def test_a_request_looks_like_no_words_of_ours(self):
        self.start_one_route(self.make_server())
        self.assert_success(self.call('agi://h/x: refused, NOROUTE, AGISTATUS FAILURE'))
        self.check('served', 'the server', 'SUCCESS', 'SET VARIABLE SERVED yes')


if __name__ == '__main__':
    tap.main()
