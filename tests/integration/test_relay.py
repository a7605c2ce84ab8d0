#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The session after its environment: whole lines and one command at a time towards Asterisk, bytes
towards the server, and how it ends."""

import select
import threading

from harness import tap
from harness.asterisk import environment, PretendAsterisk, REPLY_USAGE
from harness.case import IntegrationTest
from harness.connection import SilentServer, Stopwatch
from harness.waiting import FACTOR

MEGABYTE = 1024 * 1024


class Relay(IntegrationTest):
    def start_session(self, *route_lines, **options):
        """A session whose both ends the test plays."""
        self.server = self.make_server(None)
        options.setdefault('proxy', ['Threads=1'])
        self.start_one_route(self.server, *route_lines, **options)
        return self.open_session(self.server)

    def start_script(self, script, *route_lines, **options):
        """A server that runs `script` after the environment, and ends."""
        def behave(session):
            session.read_environment()
            script(session)
            session.end()

        self.start_one_route(self.make_server(behave), *route_lines, **options)

    # Towards the client: whole lines, one at a time

    def test_tail_of_a_line_waits_for_its_end(self):
        client, session = self.start_session()
        for piece in (b'EX', b'EC NoOp a', b' b'):
            session.send(piece)
            self.pass_through(session, client)
            self.assertEqual(client.peek(), b'')
        session.send(b'\n')
        self.assertEqual(client.read_line(), b'EXEC NoOp a b\n')

    def test_next_command_follows_the_reply(self):
        client, session = self.start_session()
        session.send(b'NOOP 1\nNOOP 2\nNOOP 3\n')
        for i in (1, 2, 3):
            self.assertEqual(client.read_line(), b'NOOP %d\n' % i)
            self.pass_through(session, client)
            self.assertEqual(client.peek(), b'', 'a command before the reply to the last')
            client.send(b'200 result=0\n')
            self.assertEqual(session.read_line(), b'200 result=0\n')

    def test_early_commands_wait_for_their_turn(self):
        """Sent by a server that has not even read the environment."""
        def speak_first(session):
            session.send(b'NOOP 1\nNOOP 2\nNOOP 3\n')
            session.read_environment()
            session.end()

        self.start_one_route(self.make_server(speak_first))
        client = self.call()
        self.assert_success(client)
        self.assertEqual(client.commands, [b'NOOP 1', b'NOOP 2', b'NOOP 3'])

    def test_reply_in_pieces_ends_with_its_line(self):
        client, session = self.start_session()
        session.send(b'NOOP 1\nNOOP 2\n')
        client.read_line()
        for piece in (b'2', b'00 result=', b'1'):
            client.send(piece)
            session.read(len(piece))
            self.assertEqual(client.peek(), b'')
        client.send(b'\n')
        self.assertEqual(client.read_line(), b'NOOP 2\n')

    def test_usage_of_several_lines_is_one_reply(self):
        client, session = self.start_session()
        session.send(b'SET VARIABLE\nNOOP 2\n')
        client.read_line()
        for line in REPLY_USAGE.splitlines(True)[:-1]:
            client.send(line)
            self.assertEqual(session.read_line(), line)
            self.assertEqual(client.peek(), b'')
        client.send(REPLY_USAGE.splitlines(True)[-1])
        self.assertEqual(client.read_line(), b'NOOP 2\n')

    def test_provisional_reply_does_not_end_a_command(self):
        client, session = self.start_session()
        session.send(b'GOSUB sub,s,1\nNOOP 2\n')
        client.read_line()
        client.send(b'100 result=0 Trying...\n')
        session.read_line()
        self.assertEqual(client.peek(), b'')
        client.send(b'200 result=0 Gosub complete\n')
        self.assertEqual(client.read_line(), b'NOOP 2\n')

    def test_value_with_line_ends_is_one_reply(self):
        """Only a line that looks like a reply is one."""
        client, session = self.start_session()
        session.send(b'GET VARIABLE X\n')
        client.read_line()
        reply = b'200 result=1 (one\ntwo\nHANGUP)\n'
        client.send(reply)
        self.assertEqual(session.read(len(reply)), reply)
        self.assert_relayed(client, session)

    def test_thousands_of_commands_never_glued_nor_torn(self):
        n = 5000
        self.start_script(lambda session: [session.command(b'NOOP %d' % i) for i in range(n)])
        client = self.call()
        self.assert_success(client)
        self.assertEqual((client.glued, client.partial), ([], []))
        self.assertEqual(client.commands, [b'NOOP %d' % i for i in range(n)])

    def test_many_commands_in_one_write(self):
        n = 3000

        def send_all(session):
            session.send(b''.join(b'NOOP %d\n' % i for i in range(n)))
            for _ in range(n):
                session.read_line()

        self.start_script(send_all)
        client = self.call()
        self.assert_success(client)
        self.assertEqual((client.glued, client.partial), ([], []))
        self.assertEqual(client.commands, [b'NOOP %d' % i for i in range(n)])

    def test_commands_in_single_bytes(self):
        def send_bytes(session):
            for byte in b'NOOP 1\nNOOP 2\nVERBOSE "three" 3\n':
                session.send(bytes([byte]))
            for _ in range(3):
                session.read_line()

        self.start_script(send_bytes)
        client = self.call()
        self.assert_success(client)
        self.assertEqual((client.glued, client.partial), ([], []))
        self.assertEqual(client.commands, [b'NOOP 1', b'NOOP 2', b'VERBOSE "three" 3'])

    def test_clean_end_sends_all_that_is_held(self):
        client, session = self.start_session()
        session.send(b'NOOP 1\nNOOP 2\nSET VARIABLE X partial')
        session.finish()
        self.assertEqual((client.read_to_end(), client.ended),
                         (b'NOOP 1\nNOOP 2\nSET VARIABLE X partial', 'FIN'))
        client.send(b'200 result=0\n' * 2 + b'200 result=1\nHANGUP\n')
        client.finish()
        self.assertEqual(session.read_to_end(), b'200 result=0\n' * 2 + b'200 result=1\nHANGUP\n')

    def test_failure_line_needs_no_reply(self):
        self.start_script(lambda session: session.send(b'NOOP 1\nFAILURE\n'))
        client = self.call()
        self.assertEqual(client.wait(), 'FAILURE')
        self.assertEqual(client.commands, [b'NOOP 1'])

    def test_line_ends_are_not_translated(self):
        client, session = self.start_session()
        session.send(b'NOOP\r\n')
        self.assertEqual(client.read_line(), b'NOOP\r\n')
        client.send(b'510 Invalid\r\n')
        self.assertEqual(session.read_line(), b'510 Invalid\r\n')

    def test_any_bytes_pass(self):
        client, session = self.start_session()
        command = bytes(i for i in range(1, 256) if i != 10) + b'\n'
        reply = b'200 result=1 (' + bytes(i for i in range(256) if i != 10) + b')\n'
        session.send(command)
        self.assertEqual(client.read_line(), command)
        client.send(reply)
        self.assertEqual(session.read_line(), reply)

    def test_line_beyond_64_kib_passes_in_the_end(self):
        client, session = self.start_session()
        for size in (65535, 65536, 65537, 300000):
            line = b'NOOP ' + b'x' * size + b'\n'
            sender = threading.Thread(target=session.send, args=(line,))
            sender.start()
            self.assertEqual(client.read_line(), line)
            sender.join()
            client.send(b'200 result=0\n')
            self.assertEqual(session.read_line(), b'200 result=0\n')
        self.assert_ends(client, session)

    def test_relay_of_bytes(self):
        client, session = self.start_session('Relay=bytes')
        for piece in (b'EXEC No', b'Op a\nNOOP 2\nNO', b'OP 3\n'):
            session.send(piece)
            self.assertEqual(client.read(len(piece)), piece)
        client.send(b'200 re')
        self.assertEqual(session.read(6), b'200 re')
        self.assert_ends(client, session)

    # Towards the server: bytes, generously

    def test_64_kib_reply(self):
        self.start_script(lambda session: session.command(b'GET FULL VARIABLE ${X}'))
        reply = b'200 result=1 (' + b'v' * 65536 + b')\n'
        client = self.call(reply=lambda command: reply)
        self.assert_success(client)
        self.assertIn(reply, bytes(self.servers[0].sessions[0].received))

    def send_until_stuck(self, connection, chunk):
        """How many bytes the proxy takes from a sender whose receiver does not read."""
        connection.sock.setblocking(False)
        sent = 0
        while select.select([], [connection.sock], [], 0.3 * FACTOR)[1]:
            try:
                sent += connection.sock.send(chunk[sent % len(chunk):])
            except BlockingIOError:
                pass
            self.assertLess(sent, 500 * MEGABYTE, 'no back-pressure')
        connection.sock.settimeout(20 * FACTOR)
        return sent

    def check_back_pressure(self, sender, receiver, chunk):
        before = self.proxy.resident_bytes()
        sent = self.send_until_stuck(sender, chunk)
        grown = self.proxy.resident_bytes() - before
        self.assertLess(grown, 2 * MEGABYTE * FACTOR, f'after {sent} bytes')
        expected = (chunk * (sent // len(chunk) + 1))[:sent]
        self.assertTrue(receiver.read(sent) == expected, 'other bytes came out')
        return sent

    def test_back_pressure_of_a_server_that_does_not_read(self):
        client, session = self.start_session()
        sent = self.check_back_pressure(client, session, b'x' * 99999 + b'\n')
        self.assertGreaterEqual(sent, 256 * 1024)
        client.send(b'\n')
        session.read_line()
        self.assert_relayed(client, session)

    def test_back_pressure_of_a_client_that_does_not_read(self):
        client, session = self.start_session('Relay=bytes')
        self.check_back_pressure(session, client, b'x' * 99999 + b'\n')

    def test_back_pressure_of_a_client_that_does_not_reply(self):
        client, session = self.start_session()
        before = self.proxy.resident_bytes()
        self.send_until_stuck(session, b'NOOP 12345\n' * 10000)
        self.assertLess(self.proxy.resident_bytes() - before, 2 * MEGABYTE * FACTOR)
        self.assertEqual(client.read_line(), b'NOOP 12345\n')
        self.assertEqual(client.peek(), b'')

    def test_bulk_both_ways(self):
        chunk = b'r' * 9999 + b'\n'
        client, session = self.start_session('Relay=bytes')
        total = 32 * MEGABYTE // len(chunk)
        senders = [threading.Thread(target=lambda end=end: [end.send(chunk) for _ in range(total)])
                   for end in (client, session)]
        readers = [threading.Thread(target=lambda end=end: sizes.append(
            end.read(total * len(chunk)) == chunk * total)) for end in (client, session)]
        sizes = []
        for thread in senders + readers:
            thread.start()
        for thread in senders + readers:
            thread.join()
        self.assertEqual(sizes, [True, True])
        self.assert_ends(client, session)

    # Ends

    def test_servers_end_then_the_clients(self):
        client, session = self.start_session()
        self.assert_ends(client, session)

    def test_clients_end_then_the_servers(self):
        client, session = self.start_session()
        client.send(b'HANGUP\n')
        client.finish()
        self.assertEqual((session.read_to_end(), session.ended), (b'HANGUP\n', 'FIN'))
        session.finish()
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'FIN'))

    def test_server_speaks_on_after_the_clients_end(self):
        client, session = self.start_session()
        client.finish()
        session.read_to_end()
        session.send(b'NOOP 1\n')
        self.assertEqual(client.read_line(), b'NOOP 1\n')

    def test_client_that_vanishes_leaves_nothing(self):
        client, session = self.start_session()
        client.reset()
        session.read_to_end()
        self.assertEqual(session.ended, 'RESET')
        self.proxy.wait_for_log('agi://127.0.0.1:4573/path')

    def test_caller_hangs_up_while_the_server_is_idle(self):
        done = threading.Event()

        def ask_after_hangup(session):
            session.command(b'ANSWER')
            asked.set()
            self.assertEqual(session.read_line(), b'HANGUP\n')
            self.assertEqual(session.command(b'GET VARIABLE X'), b'200 result=0')
            self.assertTrue(session.command(b'STREAM FILE x ""').startswith(b'511 '))
            done.set()

        asked = threading.Event()
        self.start_script(ask_after_hangup)
        client = self.call()
        self.assertTrue(asked.wait(20 * FACTOR))
        client.hang_up()
        self.assertEqual(client.wait(), 'HANGUP', client.describe())
        self.assertTrue(done.is_set())

    def test_hangup_before_the_reply_does_not_end_the_command(self):
        client, session = self.start_session()
        session.send(b'EXEC Wait 5\nNOOP 2\n')
        client.read_line()
        client.send(b'HANGUP\n')
        session.read_line()
        self.assertEqual(client.peek(), b'')
        client.send(b'200 result=-1\n')
        self.assertEqual(client.read_line(), b'NOOP 2\n')

    def test_hangup_and_end_at_once(self):
        """AGIEXITONHANGUP: two lines and the end."""
        client, session = self.start_session()
        client.send(b'HANGUP\nHANGUP\n')
        client.close()
        self.assertEqual((session.read_to_end(), session.ended), (b'HANGUP\nHANGUP\n', 'FIN'))

    def test_server_that_breaks_makes_failure(self):
        client, session = self.start_session()
        session.send(b'NOOP 1\nSET VARIABLE X part')
        self.assertEqual(client.read_line(), b'NOOP 1\n')
        self.pass_through(session, client)
        session.reset()
        self.assertEqual((client.read_to_end(), client.ended), (b'FAILURE\n', 'FIN'))

    def test_server_that_resets_after_the_hangup_has_ended(self):
        """Many a script closes without reading the HANGUP; that is no failure."""
        client, session = self.start_session()
        session.send(b'NOOP 1\n')
        self.assertEqual(client.read_line(), b'NOOP 1\n')
        client.send(b'200 result=-1\nHANGUP\n')
        self.assertEqual(session.read_line(), b'200 result=-1\n')
        self.assertEqual(session.read_line(), b'HANGUP\n')
        session.reset()
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'FIN'))
        client.close()
        self.proxy.wait_for_log(r': served, ')

    def test_server_that_breaks_with_commands_held(self):
        """What arrived whole is delivered."""
        client, session = self.start_session()
        session.send(b'NOOP 1\nNOOP 2\nSET VARIABLE X part')
        self.pass_through(session, client)
        session.reset()
        self.assertEqual(client.read_to_end(), b'NOOP 1\nNOOP 2\nFAILURE\n')

    def test_server_that_breaks_as_asterisk_sees_it(self):
        def break_off(session):
            session.read_environment()
            session.command(b'NOOP')
            session.send(b'SET VARIABLE X part')
            session.reset()

        self.start_one_route(self.make_server(break_off))
        for _ in range(20):
            client = self.call()
            self.assertEqual(client.wait(), 'FAILURE', client.describe())
            self.assertEqual(client.commands, [b'NOOP'])

    def test_on_server_failure_reset(self):
        client, session = self.start_session('OnServerFailure=reset')
        session.reset()
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'RESET'))

    def test_on_server_failure_close(self):
        client, session = self.start_session('OnServerFailure=close')
        session.send(b'SET VARIABLE X part')
        self.pass_through(session, client)
        session.reset()
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'FIN'))

    def test_server_that_accepts_and_resets(self):
        """A reset at accept may look like a failed connect: the dialplan sees FAILURE either way."""
        self.start_one_route(self.make_server(lambda session: session.reset()))
        for _ in range(20):
            self.assertEqual(self.call().wait(), 'FAILURE')

    def test_server_that_accepts_and_ends(self):
        self.start_one_route(self.make_server(lambda session: session.end()))
        self.assert_success(self.call())

    # Clocks

    def test_think_timeout(self):
        """The server owes the next command."""
        client, session = self.start_session('ThinkTimeout=300ms')
        self.assertEqual((client.read_to_end(), client.ended), (b'FAILURE\n', 'FIN'))
        client.send(b'HANGUP\n')
        client.close()
        session.read_to_end()

    def test_think_timeout_begins_anew_with_each_reply(self):
        client, session = self.start_session('ThinkTimeout=%dms' % (300 * FACTOR))
        session.send(b'NOOP\n')
        client.read_line()
        # That of another one is over meanwhile.
        self.assertEqual(self.open_session(self.server)[0].read_to_end(), b'FAILURE\n')
        watch = Stopwatch()
        client.send(b'200 result=0\n')
        self.assertEqual(session.read_line(), b'200 result=0\n')
        self.assertEqual(client.read_to_end(), b'FAILURE\n')
        self.assertGreater(watch.elapsed(), 0.25)

    def test_think_timeout_spares_a_command_under_way(self):
        """While Asterisk plays a file others run into it, one after the other."""
        client, session = self.start_session('ThinkTimeout=%dms' % (200 * FACTOR))
        cpu = self.proxy.cpu_seconds()
        session.send(b'STREAM FILE long ""\n')
        client.read_line()
        for _ in range(3):
            self.assertEqual(self.open_session(self.server)[0].read_to_end(), b'FAILURE\n')
        self.assertEqual((client.peek(), client.ended), (b'', None))
        client.send(b'200 result=0 endpos=1\n')
        session.read_line()
        self.assert_relayed(client, session)
        self.assertLess(self.proxy.cpu_seconds() - cpu, 0.2 * FACTOR, 'busy while it waits')

    def test_idle_timeout(self):
        client, session = self.start_session('IdleTimeout=300ms')
        self.assertEqual((client.read_to_end(), client.ended), (b'FAILURE\n', 'FIN'))
        session.read_to_end()

    def test_idle_timeout_ends_a_command_under_way(self):
        client, session = self.start_session('IdleTimeout=%dms' % (300 * FACTOR))
        session.send(b'EXEC Wait 1000\n')
        self.assertEqual(client.read_to_end(), b'EXEC Wait 1000\nFAILURE\n')
        self.proxy.wait_for_log(r': broken, IDLE ')

    def test_idle_timeout_ends_what_the_server_has_left(self):
        client, session = self.start_session('IdleTimeout=%dms' % (300 * FACTOR))
        session.send(b'EXEC Wait 1000\n')
        session.finish()
        self.assertEqual(client.read_to_end(), b'EXEC Wait 1000\n')
        self.proxy.wait_for_log(r': served, IDLE, ')

    def test_idle_timeout_is_moved_by_either_side(self):
        client, session = self.start_session('IdleTimeout=%dms' % (300 * FACTOR), 'Relay=bytes')
        for who, other in ((client, session), (session, client)):
            idle = self.open_session(self.server)[0]
            while not idle.ended:
                who.send(b'x\n')
                self.assertEqual(other.read_line(), b'x\n')
                idle.peek()
        self.assert_ends(client, session)

    def test_connect_timeout_of_the_only_server(self):
        silent = self.keep(SilentServer())
        self.start_one_route(silent.authority, proxy=['ConnectTimeout=300ms'])
        watch = Stopwatch()
        client = self.call()
        self.assertEqual(client.wait(), 'FAILURE')
        self.assertIn(client.agitator_status, ('NOSERVER', 'TIMEOUT'))
        self.assertLess(watch.elapsed(), 2 * FACTOR)

    # Other sockets

    def test_ipv6_to_ipv6(self):
        server = self.make_server(host='::1')
        self.start_one_route(server, sockets={'main': self.make_socket('::1')})
        self.assert_success(self.call())

    def test_unix_to_unix(self):
        path = self.make_path('agi')
        server = self.make_server(None, path=path)
        self.start_one_route(server, listener=['Listen=unix:%s-in' % path], sockets={})
        client = self.connect(path + '-in')
        client.send(environment())
        session = server.accept()
        # A Unix socket has no authority to put there.
        self.assertEqual(session.read_environment(), environment())
        self.assert_relayed(client, session)
        self.assert_ends(client, session)

    def test_slow_reader_gets_everything(self):
        """A client with a small window, so that writes to it are partial."""
        def send_much(session):
            for i in range(50):
                session.command(b'NOOP ' + b'%d' % (i % 10) * 8000)

        self.start_script(send_much)
        client = PretendAsterisk(self.address, receive_buffer=2048)
        self.clients.append(client)
        self.assert_success(client.start())
        self.assertEqual(len(client.commands), 50)


if __name__ == '__main__':
    tap.main()
