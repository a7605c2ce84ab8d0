#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debug= and Level=debug show what is said in a session; Redact= what isn't shown."""

import re

from harness import tap
from harness.asterisk import environment
from harness.case import Config, IntegrationTest, group, route_group, server_group, SESSION_RECORD

LINE = re.compile(r' debug +session ([0-9a-f]+) \+(\d+\.\d{6}) (C->S|S->C|A->C) (.*)$')


class Debug(IntegrationTest):
    def start_two(self, *log, server=None):
        """Two routes, to a server each."""
        self.groups = (server_group('ivr-1', (server or self.make_server()).address),
                       server_group('ivr-2', self.make_server().address),
                       route_group('menu', 'menu', 'ivr-1'), route_group('rest', '*', 'ivr-2'))
        self.start_proxy(*self.groups, log=list(log))

    def lines(self, mark=0):
        """(session, direction, line) of all that was said, by the log."""
        found = [LINE.search(line) for line in self.proxy.log.items[mark:]]
        return [(match[1], match[3], match[4]) for match in found if match]

    def call_and_get(self, request, mark=0):
        """What was said in a whole call, by the log."""
        self.assert_success(self.call(request))
        self.wait_for_records(1, mark)
        return self.lines(mark)

    def assert_dialogue(self, lines):
        """All of the call that serve() makes, in its order."""
        said = [line for _, _, line in lines]
        self.assertEqual(len({session for session, _, _ in lines}), 1, lines)
        self.assertEqual(said[0], 'agi_network: yes')
        self.assertIn('agi_uniqueid: 1795408233.17', said)
        self.assertEqual([line[1:] for line in lines[-5:]],
                         [('S->C', 'NOOP one'), ('C->S', '200 result=0'),
                          ('S->C', 'SET VARIABLE SERVED yes'), ('C->S', '200 result=1'),
                          ('C->S', 'HANGUP')])

    def test_nothing_without_it(self):
        self.start_two()
        self.assertEqual(self.call_and_get('agi://h/menu'), [])

    def test_level(self):
        self.start_two('Level=debug')
        self.assert_dialogue(self.call_and_get('agi://h/menu'))

    def test_route(self):
        self.start_two('Debug=route:menu')
        self.assert_dialogue(self.call_and_get('agi://h/menu'))
        self.assertEqual(self.call_and_get('agi://h/other', self.proxy.log.mark()), [])

    def test_server(self):
        self.start_two('Debug=server:ivr-2')
        self.assertEqual(self.call_and_get('agi://h/menu'), [])
        self.assert_dialogue(self.call_and_get('agi://h/other', self.proxy.log.mark()))

    def test_listener(self):
        self.start_two('Debug=listener:main')
        self.assert_dialogue(self.call_and_get('agi://h/menu'))

    def test_client(self):
        self.start_two('Debug=client:127.0.0.2;client:127.0.0.32/28')
        self.assertEqual(self.call_and_get('agi://h/menu'), [])
        for source in ('127.0.0.2', '127.0.0.40'):
            mark = self.proxy.log.mark()
            self.assert_success(self.call('agi://h/menu', source=source))
            self.wait_for_records(1, mark)
            self.assert_dialogue(self.lines(mark))

    def test_reload(self):
        self.start_two()
        self.assertEqual(self.call_and_get('agi://h/menu'), [])
        mark = self.proxy.reload(Config(*self.groups, log=['Debug=route:menu']).text)
        self.assert_dialogue(self.call_and_get('agi://h/menu', mark))
        mark = self.proxy.reload(Config(*self.groups).text)
        self.assertEqual(self.call_and_get('agi://h/menu', mark), [])

    def test_steps_too(self):
        self.start_two('Debug=route:menu')
        session = self.call_and_get('agi://h/menu')[0][0]
        steps = '\n'.join(line for line in self.proxy.log.items if session in line)
        for word in ('dialing: ', 'server ivr-1', 'relaying'):
            self.assertIn(word, steps)

    def test_times_grow(self):
        self.start_two('Debug=route:menu')
        self.call_and_get('agi://h/menu')
        times = [float(LINE.search(line)[2]) for line in self.proxy.log.items if LINE.search(line)]
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[-1], 0)

    def test_answer(self):
        self.start_proxy(group('Answer', 'a', 'Commands=NOOP hello', 'Result=failure'),
                         route_group('all', '*', [], 'Answer=a'), log=['Debug=route:all'])
        self.assertEqual(self.call().wait(), 'FAILURE')
        self.wait_for_records(1)
        said = [line[1:] for line in self.lines() if not line[2].startswith('agi_')]
        self.assertEqual(said[:3], [('A->C', 'NOOP hello'), ('C->S', '200 result=0'),
                                    ('A->C', 'FAILURE')])

    def test_secrets(self):
        def ask(session):
            session.read_environment()
            session.command(b'SET VARIABLE USER_PIN bond-007')
            session.command(b'GET VARIABLE USER_PIN')
            session.command(b'EXEC Set "password=bond-007"')
            session.command(b'GET VARIABLE OTHER')
            session.end()

        self.start_two('Debug=route:menu', server=self.make_server(ask))
        block = environment('agi://h/menu?pin=bond-007&x=1', arguments=['passwd=bond-007', 'plain'])
        client = self.call(block=block, reply=lambda command: {
            b'GET VARIABLE USER_PIN': b'200 result=1 (bond-007)\n',
            b'GET VARIABLE OTHER': b'200 result=1 (shown)\n'}.get(command))
        self.assert_success(client)
        self.wait_for_records(1)
        said = [line for _, _, line in self.lines()]
        for line in ('agi_request: agi://h/menu?pin=***&x=1', 'agi_network_script: menu?pin=***&x=1',
                     'agi_arg_1: passwd=***', 'agi_arg_2: plain', 'SET VARIABLE USER_PIN ***',
                     'GET VARIABLE USER_PIN', '200 result=1 (***)', 'EXEC Set "password=***',
                     'GET VARIABLE OTHER', '200 result=1 (shown)'):
            self.assertIn(line, said)
        self.assertNotIn('bond-007', self.proxy.log_text())

    def test_secrets_of_an_environment_that_was_refused(self):
        """What comes after the line that was one too many, at once and later, is no dialogue."""
        self.start_two('Level=debug')
        client = self.connect()
        client.send(b''.join(b'agi_line_%d: x\n' % number for number in range(513))
                    + b'agi_pin: bond-007\n')
        client.read_line()
        client.send(b'agi_arg_1: pin=bond-007\n\n200 result=1\n')
        self.assertEqual(client.read_to_end(), b'FAILURE\n')
        client.close()
        self.wait_for_records(1)
        self.assertNotIn('bond-007', self.proxy.log_text())
        self.assertEqual({line[1] for line in self.lines()[-2:]}, {'A->C'})

    def test_hello_of_tls_is_no_line(self):
        self.start_two('Level=debug')
        client = self.connect()
        client.send(b'\x16\x03\x01\x00\x05\x01\n\x00\x01\n')
        self.assertEqual(client.read_to_end(), b'FAILURE\n')
        client.close()
        self.wait_for_records(1)
        self.assertEqual([line[1:] for line in self.lines()], [('A->C', 'FAILURE')])

    def test_commands_ahead_give_no_secret_away(self):
        """Their replies come later than other commands."""
        server = self.make_server(None)
        self.start_two('Debug=route:menu', server=server)
        client, session = self.open_session(server, environment('agi://h/menu'))
        session.send(b'GET VARIABLE PIN\nNOOP\nNOOP two\n')
        for reply in (b'200 result=1 (47\n11)\n', b'200 result=0\n', b'200 result=7\n'):
            client.read_line()
            client.send(reply)
        session.read_until(b'200 result=7\n')
        self.assert_ends(client, session)
        self.wait_for_records(1)
        said = [line for _, direction, line in self.lines() if direction == 'C->S'][-5:]
        self.assertEqual(said, ['200 result=1 (***)', '***', '200 result=0', '200 result=7',
                                'HANGUP'])

    def test_redact_nothing(self):
        self.start_two('Debug=route:menu', 'Redact=')
        lines = self.call_and_get('agi://h/menu?pin=bond-007')
        self.assertIn('agi_request: agi://h/menu?pin=bond-007', [line for _, _, line in lines])

    def test_nothing_is_forged(self):
        server = self.make_server(None)
        self.start_two('Debug=route:menu', server=server)
        client, session = self.open_session(server, environment('agi://h/menu', callerid='\x1b[2J'))
        session.send(b'NOOP \x1b[31m\xff\r\n')
        client.read_line()
        client.send(b'200 result=1 (\x9b\xe2\x80\xae)\n')
        session.read_line()
        self.assert_ends(client, session)
        self.wait_for_records(1)
        self.proxy.stop()
        text = '\n'.join(self.proxy.log.items)
        self.assertIsNone(re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]', text), repr(text))
        for part in (r'S->C NOOP \x1b[31m\xff\x0d', r'200 result=1 (\x9b\xe2\x80\xae)',
                     r'agi_callerid: \x1b[2J'):
            self.assertIn(part, text)

    def test_long_lines_are_cut(self):
        server = self.make_server(None)
        self.start_two('Debug=route:menu', server=server)
        client, session = self.open_session(server, environment('agi://h/menu'))
        session.send(b'NOOP ' + b'x' * 50000)
        session.send(b'y\nNOOP\n')
        client.read_until(b'\n')
        client.send(b'200 result=0\n')
        client.read_line()
        client.send(b'200 result=0\n')
        session.read_until(b'0\n200 result=0\n')
        self.assert_ends(client, session)
        self.wait_for_records(1)
        self.assertIn(('S->C', 'NOOP ' + 'x' * 1019 + ' [... of 50006 bytes]'),
                      [line[1:] for line in self.lines()])

    def test_a_line_without_its_end(self):
        server = self.make_server(None)
        self.start_two('Debug=route:menu', server=server)
        client, session = self.open_session(server, environment('agi://h/menu'))
        session.send(b'NOOP half')
        session.finish()
        client.read_to_end()
        client.send(b'HANGUP\n')
        client.close()
        session.read_to_end()
        self.wait_for_records(1)
        self.assertIn(('S->C', 'NOOP half'), [line[1:] for line in self.lines()])
        self.proxy.wait_for_log(SESSION_RECORD)


if __name__ == '__main__':
    tap.main()
