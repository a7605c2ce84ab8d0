#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""agitator as the FastAGI server: Answer=, Fallback=, and the built-in configuration."""

import re
import time

from harness import tap
from harness.asterisk import environment
from harness.case import group, IntegrationTest, route_group, server_group
from harness.connection import refusing_authority, SilentServer
from harness.proxy import run_program

CLOSED = group('Answer', 'closed', 'Commands=SET VARIABLE IVR closed;EXEC Playback tt-weasels')


class Answers(IntegrationTest):
    def start_answer(self, *lines, proxy=()):
        self.start_proxy(group('Answer', 'it', *lines), route_group('all', '*', [], 'Answer=it'),
                         proxy=['Threads=1', *proxy])

    def test_commands_are_sent_and_the_call_succeeds(self):
        self.start_proxy(CLOSED, route_group('sales', 'sales', [], 'Answer=closed'))
        client = self.call('agi://h/sales/x')
        self.assert_success(client)
        self.assertEqual(client.commands, [b'SET VARIABLE IVR closed', b'EXEC Playback tt-weasels'])
        self.assertEqual((client.glued, client.partial), ([], []))

    def test_result_failure(self):
        self.start_answer('Commands=NOOP', 'Result=failure')
        client = self.call()
        self.assertEqual((client.wait(), client.commands), ('FAILURE', [b'NOOP']))

    def test_no_commands_at_all(self):
        for result, status in (('success', 'SUCCESS'), ('failure', 'FAILURE')):
            self.start_answer('Result=' + result)
            client = self.call()
            self.assertEqual((client.wait(), client.commands), (status, []))

    def test_each_reply_is_awaited(self):
        self.start_answer('Commands=NOOP 1;NOOP 2')
        client = self.connect()
        client.send(environment())
        for i in (1, 2):
            self.assertEqual(client.read_line(), b'NOOP %d\n' % i)
            for piece in (b'HANGUP\n', b'100 result=0 Trying...\n', b'520-Invalid\n', b'Usage\n'):
                client.send(piece)
                self.assertEqual(client.peek(), b'')
            client.send(b'520 End of proper usage.\n')
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'FIN'))
        client.send(b'HANGUP\n')
        client.finish()

    def test_a_slow_command_is_waited_for(self):
        """Playing a file takes longer than every timer of the set-up."""
        self.start_proxy(CLOSED, route_group('all', '*', [], 'Answer=closed'),
                         proxy=['RequestTimeout=200ms', 'SetupTimeout=200ms'])
        client = self.connect()
        client.send(environment())
        self.assertEqual(client.read_line(), b'SET VARIABLE IVR closed\n')
        for _ in range(3):
            slow = self.call(block=b'agi_network: yes\n')
            self.assert_refused(slow, 'TIMEOUT')
        client.send(b'200 result=1\n')
        self.assertEqual(client.read_line(), b'EXEC Playback tt-weasels\n')

    def test_idle_timeout_counts_from_the_last_byte(self):
        """An answer that goes on is not cut, however long it takes; one that nobody replies to is."""
        self.start_proxy(CLOSED, route_group('all', '*', [], 'Answer=closed'),
                         proxy=['IdleTimeout=1h'])
        self.assert_success(self.call())
        self.start_answer('Commands=' + ';'.join(['NOOP'] * 5),
                          proxy=['IdleTimeout=1s', 'RequestTimeout=250ms'])
        client = self.connect()
        client.send(environment())
        begin = time.monotonic()
        for _ in range(5):
            self.assertEqual(client.read_line(), b'NOOP\n')
            self.assert_refused(self.call(block=b'agi_network: yes\n'), 'TIMEOUT')
            client.send(b'200 result=0\n')
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'FIN'))
        self.assertGreater(time.monotonic() - begin, 1)
        client.finish()

        client = self.connect()
        begin = time.monotonic()
        client.send(environment())
        self.assertEqual((client.read_to_end(), client.ended), (b'NOOP\n', 'FIN'))
        self.assertGreater(time.monotonic() - begin, 0.9)
        client.finish()
        self.proxy.wait_for_log('answered, IDLE')

    def test_caller_who_hangs_up_is_answered_to_the_end(self):
        self.start_answer('Commands=NOOP 1;NOOP 2')
        client = self.call(block=environment() + b'HANGUP\n')
        self.assert_success(client)
        self.assertEqual(client.commands, [b'NOOP 1', b'NOOP 2'])

    def test_client_that_is_gone_ends_it(self):
        self.start_answer('Commands=NOOP 1;NOOP 2')
        before = self.proxy.descriptors()
        for end in ('close', 'reset'):
            client = self.connect()
            client.send(environment())
            client.read_line()
            getattr(client, end)()
        self.proxy.wait_descriptors(before)

    def start_fallback(self, address, *lines):
        self.start_proxy(CLOSED, server_group('one', address, *lines),
                         route_group('sales', 'sales', 'one', 'Fallback=closed'))

    def check_fallback(self):
        client = self.call('agi://h/sales')
        self.assert_success(client)
        self.assertEqual(client.variables.get('IVR'), 'closed')

    def test_fallback_is_for_who_finds_no_server(self):
        sock, refusing = refusing_authority()
        self.keep(sock)
        self.start_fallback(refusing)
        self.check_fallback()

    def test_fallback_when_no_server_answers(self):
        self.start_fallback(self.keep(SilentServer()).authority, 'ConnectTimeout=200ms')
        self.check_fallback()

    def test_fallback_when_all_are_full(self):
        one = self.make_server(None)
        self.start_fallback(one.address, 'MaxSessions=1')
        self.open_session(one, environment('agi://h/sales'))
        self.check_fallback()

    def test_fallback_is_not_used_while_a_server_can_take_the_call(self):
        self.start_fallback(self.make_server().address)
        client = self.call('agi://h/sales')
        self.assert_success(client)
        self.assertEqual(client.variables, {'SERVED': 'yes'})

    def test_built_in_configuration_answers_a_first_call(self):
        """On a port of ours; all else as it is."""
        dump = run_program('--dump-config')
        self.assertEqual(dump.returncode, 0, dump.stderr)
        self.assertRegex(dump.stdout, r'(?m)^Listen=127\.0\.0\.1:4573')
        name = re.search(r'(?m)^\[Listener (.*)\]', dump.stdout)[1]
        sock = self.make_socket()
        self.address = sock.getsockname()
        self.start_proxy_as(re.sub(r'(?m)^Listen=.*', '', dump.stdout), {name: sock})
        client = self.call('agi://127.0.0.1/anything')
        self.assert_success(client)
        self.assertTrue(client.commands)


if __name__ == '__main__':
    tap.main()
