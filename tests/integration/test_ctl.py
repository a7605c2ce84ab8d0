#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""agitatorctl call: what it sends, what it shows, and how it exits."""

import os
import socket
import subprocess
import threading
import time
import unittest

from harness.connection import listen_tcp
from harness.server import PretendServer
from harness.tap import main
from harness.waiting import TIMEOUT

ENVIRONMENT = [
    'agi_network', 'agi_network_script', 'agi_request', 'agi_channel', 'agi_language', 'agi_type',
    'agi_uniqueid', 'agi_version', 'agi_callerid', 'agi_calleridname', 'agi_callingpres',
    'agi_callingani2', 'agi_callington', 'agi_callingtns', 'agi_dnid', 'agi_rdnis', 'agi_context',
    'agi_extension', 'agi_priority', 'agi_enhanced', 'agi_accountcode', 'agi_threadid']


def run(*arguments, locale='C.UTF-8', stdout=subprocess.PIPE):
    return subprocess.run([os.environ['AGITATORCTL'], *arguments], stdin=subprocess.DEVNULL, stdout=stdout,
                          stderr=subprocess.PIPE, env=dict(os.environ, LC_ALL=locale, LANGUAGE=''),
                          timeout=TIMEOUT, check=False, encoding='utf-8')


class CtlTest(unittest.TestCase):
    maxDiff = 4000

    def call(self, behaviour, *arguments, path='/hello', **options):
        """Calls a server that behaves so; returns the outcome and the server's end of it."""
        server = PretendServer(behaviour)
        try:
            result = run('call', f'agi://{server.authority}{path}', *arguments, **options)
            session = server.accept()
            server.wait_ended()
        finally:
            server.close()
        return result, session

    def assert_ended(self, result, agistatus, exit_status):
        self.assertEqual(result.stdout.splitlines()[-1:], ['AGISTATUS=' + agistatus], result.stderr)
        self.assertEqual(result.returncode, exit_status)

    def test_environment_is_that_of_asterisk(self):
        def behave(session):
            session.read_environment()
            session.end()

        result, session = self.call(behave, '--arg', 'one', '--arg', '', '--set', 'agi_callerid=7',
                                    '--set', 'agi_x_more=\u00e9', path='/path?x=y')
        lines = session.environment.decode().split('\n')
        names = [line.partition(': ')[0] for line in lines]
        self.assertEqual(names, ENVIRONMENT + ['agi_x_more', 'agi_arg_1', 'agi_arg_2', '', ''])
        self.assertIn('agi_network_script: path?x=y', lines)
        self.assertIn('agi_callerid: 7', lines)
        self.assertIn('agi_x_more: \u00e9', lines)
        self.assertIn('agi_arg_2: ', lines)
        self.assert_ended(result, 'SUCCESS', 0)

    def test_no_network_script_without_a_path(self):
        def behave(session):
            session.read_environment()
            session.end()

        for path in ('', '/'):
            result, session = self.call(behave, path=path)
            self.assertNotIn(b'agi_network_script', session.environment)
            self.assert_ended(result, 'SUCCESS', 0)

    def test_commands_are_answered_and_shown(self):
        replies = []

        def behave(session):
            session.read_environment()
            for command in (b'ANSWER', b'SET VARIABLE X "a b"', b'GET FULL VARIABLE <${X}>',
                            b'FROBNICATE'):
                replies.append(session.command(command))
            replies.append(session.command(b'GET VARIABLE'))
            replies.append(session.read_until(b'520 End of proper usage.\n'))
            replies.append(session.end())

        result, session = self.call(behave)
        self.assertEqual(replies[:4], [b'200 result=0', b'200 result=1', b'200 result=1 (<a b>)',
                                       b'510 Invalid or unknown command'])
        self.assertTrue(replies[4].startswith(b'520-'))
        self.assertEqual(replies[-1], b'HANGUP\n')
        self.assertRegex(result.stdout, r'(?m)^ +\d+\.\d{3} < GET FULL VARIABLE <\$\{X\}>$')
        self.assertRegex(result.stdout, r'(?m)^ +\d+\.\d{3} > 200 result=1 \(<a b>\)$')
        self.assert_ended(result, 'SUCCESS', 0)

    def test_control_bytes_are_escaped(self):
        def behave(session):
            session.read_environment()
            session.command(b'NOOP \x1b[2J\xff\r')
            session.end()

        result, session = self.call(behave)
        self.assertIn('< NOOP \\x1b[2J\\xff\\r\n', result.stdout)
        self.assertNotIn('\x1b', result.stdout)

    def test_bytes_survive_a_plain_locale(self):
        def behave(session):
            session.read_environment()
            session.end()

        result, session = self.call(behave, '--arg', 'caf\u00e9', locale='C')
        self.assertIn('agi_arg_1: caf\u00e9\n'.encode(), session.environment)
        self.assertIn('agi_arg_1: caf\\xc3\\xa9\n', result.stdout)

    def test_failure_line(self):
        def behave(session):
            session.read_environment()
            session.command(b'SET VARIABLE AGITATOR_STATUS NOROUTE')
            session.send(b'FAILURE\n')
            session.read_to_end()

        result, session = self.call(behave, '--quiet')
        self.assertEqual(result.stdout, 'AGITATOR_STATUS=NOROUTE\nAGISTATUS=FAILURE\n')
        self.assertEqual(result.returncode, 1)

    def test_partial_line_is_executed_at_the_end(self):
        def behave(session):
            session.read_environment()
            session.send(b'SET VARIABLE AGITATOR_STATUS odd')
            session.end()

        result, session = self.call(behave)
        self.assertIn('AGITATOR_STATUS=odd\n', result.stdout)
        self.assert_ended(result, 'SUCCESS', 0)

    def test_reset_is_success_to_asterisk(self):
        def behave(session):
            session.read_environment()
            session.command(b'NOOP')
            session.reset()

        result, session = self.call(behave)
        self.assert_ended(result, 'SUCCESS', 0)

    def test_hangup_command(self):
        rest = []

        def behave(session):
            session.read_environment()
            session.command(b'HANGUP')
            rest.append(session.read_line())
            rest.append(session.command(b'ANSWER')[:4])
            rest.append(session.end())

        result, session = self.call(behave)
        self.assertEqual(rest, [b'HANGUP\n', b'511 ', b'HANGUP\n'])
        self.assert_ended(result, 'HANGUP', 1)

    def test_two_commands_at_once_are_remarked(self):
        def behave(session):
            session.read_environment()
            session.send(b'NOOP 1\nNOOP 2\n')
            session.read_line()
            session.read_line()
            session.end()

        result, session = self.call(behave)
        self.assertIn('* the next command came before', result.stdout)
        self.assert_ended(result, 'SUCCESS', 0)

    def test_silent_server_is_hung_up_on(self):
        seen = []

        def behave(session):
            session.read_environment()
            seen.append(session.read_line())
            session.end()

        result, session = self.call(behave, '--timeout', '0.2')
        self.assertEqual(seen, [b'HANGUP\n'])
        self.assert_ended(result, 'HANGUP', 1)

    def test_server_that_sends_without_waiting_is_hung_up_on(self):
        def behave(session):
            session.read_environment()
            reader = threading.Thread(target=session.read_to_end)
            reader.start()
            try:
                while True:
                    session.send(b'NOOP\n' * 100000)
            except OSError:
                reader.join()  # agitatorctl has ended

        before = time.monotonic()
        result, session = self.call(behave, '--timeout', '0.2', '--quiet')
        self.assertGreaterEqual(time.monotonic() - before, 2.2)
        self.assertIn(b'HANGUP\n', session.received)
        self.assert_ended(result, 'HANGUP', 1)

    def test_refused_connection(self):
        sock = listen_tcp('127.0.0.1')
        port = sock.getsockname()[1]
        sock.close()
        result = run('call', f'agi://127.0.0.1:{port}/x')
        self.assert_ended(result, 'FAILURE', 1)
        self.assertIn('Connection refused', result.stderr)

    def test_retry_waits_for_somebody_to_listen(self):
        sock = socket.socket()
        self.addCleanup(sock.close)
        sock.bind(('127.0.0.1', 0))
        url = 'agi://127.0.0.1:%d/x' % sock.getsockname()[1]
        command = [os.environ['AGITATORCTL'], 'call', url, '--retry', str(TIMEOUT)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding='utf-8') as process:
            # No need to know whether it was refused before this: it must get through either way.
            sock.listen()
            sock.settimeout(TIMEOUT)
            sock.accept()[0].close()
            self.assertIn('AGISTATUS=SUCCESS', process.communicate(timeout=TIMEOUT)[0])

    def test_mistakes_on_the_command_line(self):
        for arguments in ((), ('frobnicate',), ('--frobnicate',), ('call',), ('call', 'a', 'b'),
                          ('call', 'http://h/'), ('call', 'agi://h:x/'), ('call', 'agi://h?x'),
                          ('call', 'agi://unix:@x/'),
                          ('call', 'agi://h/', '--set', 'x'), ('call', 'agi://h/', '--timeout=-1'),
                          ('call', 'agi://h/', '--retry=-1'),
                          ('reload', 'x'), ('upgrade', '--frobnicate'), ('help', 'frobnicate')):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ''), arguments)
            self.assertIn('agitatorctl', result.stderr, arguments)

    def test_seconds_out_of_range(self):
        for option in '--timeout', '--retry':
            for seconds in '-1', '1e10', 'inf', 'nan':
                result = run('call', 'agi://h/', f'{option}={seconds}')
                self.assertEqual((result.returncode, result.stderr), (
                    2, 'agitatorctl call: SECONDS should be from 0 to 2147483647\n'), seconds)

    def test_help_and_version(self):
        for arguments in (('--help',), ('help',), ('help', 'call'), ('call', '--help')):
            result = run(*arguments)
            self.assertEqual((result.returncode, result.stderr), (0, ''), arguments)
            self.assertIn('Usage:', result.stdout)
        for arguments in (('help',), ('help', 'help')):
            self.assertEqual(run(*arguments).stdout, run('--help').stdout)
        self.assertRegex(run('--version').stdout, r'^agitatorctl \d')

    def test_output_that_cannot_be_written_is_no_success(self):
        def behave(session):
            session.read_environment()
            session.end()

        with open('/dev/full', 'w', encoding='utf-8') as full:
            for arguments in ('--version',), ('help',):
                result = run(*arguments, stdout=full)
                self.assertEqual(result.returncode, 1, arguments)
                self.assertEqual(result.stderr, 'agitatorctl: No space left on device\n')
            for arguments in ('--help',), ('help', 'call'), ('call', '--help'):
                result = run(*arguments, stdout=full)
                self.assertEqual(result.returncode, 1, arguments)
                self.assertRegex(result.stderr, '^agitatorctl.*: .+\n$')  # GLib has forgotten the reason
            for options in (), ('--quiet',):
                result = self.call(behave, *options, stdout=full)[0]
                self.assertEqual((result.returncode, result.stderr),
                                 (1, 'agitatorctl call: No space left on device\n'))


if __name__ == '__main__':
    main()
