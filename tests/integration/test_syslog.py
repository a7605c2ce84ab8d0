#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What log servers get, over each way there, and what becomes of it while they are away."""

import datetime
import os
import re
import signal
import socket
import time

from harness import tap
from harness.asterisk import environment
from harness.case import IntegrationTest, group
from harness.connection import listen_tcp
from harness.logserver import (ANSWER, DatagramLogServer, ENTERPRISE, is_session, LogServers,
                               StreamLogServer)
from harness.proxy import sanitizer
from harness.waiting import FACTOR, TIMEOUT, wait_until

BATCH = 64  # records that are taken out of a queue at once
STOP_LIMIT = 2  # seconds in which what waits is sent at the end


def syslog_group(name, address, *lines):
    return group('Syslog', name, 'Address=' + address, *lines)


def free_port(kind=socket.SOCK_STREAM):
    """One that nobody listens on, as far as anybody can know."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


class SyslogTest(LogServers, IntegrationTest):
    def udp(self, **options):
        return self.keep_server(DatagramLogServer(**options))

    def tcp(self, **options):
        return self.keep_server(StreamLogServer(**options))

    def start_with(self, *groups, proxy=('Threads=1',), **options):
        """One worker, so that sessions one after the other are logged in that order."""
        return self.start_proxy(ANSWER, *groups, proxy=proxy, **options)

    def make_sessions(self, n, first=0):
        """So many calls, one after the other; their callerid is their number."""
        for i in range(first, first + n):
            self.assert_success(self.call(block=environment('agi://h/x', callerid=str(i))))

    def numbers(self, messages):
        return [int(message.data['callerid']) for message in messages if is_session(message)]

    def reload(self, *groups, sockets=('main',)):
        mark = self.proxy.notices.mark()
        text = self.config_text(*groups)
        self.proxy.write_config(text)
        self.proxy.process.send_signal(1)
        self.proxy.notices.wait(lambda line: line == 'READY=1', 'READY=1', mark)

    def close_server(self, server):
        port = server.port
        server.close()
        self.log_servers.remove(server)
        return port, list(server.messages.items)

    def config_text(self, *groups):
        with open(self.proxy.config_file, encoding='utf-8') as file:
            text = file.read()
        return text.partition('[Syslog ')[0] + ''.join(groups)


class Ways(SyslogTest):
    def check_session(self, message, way):
        """A record that was made by make_sessions(1)."""
        self.assertEqual((message.facility, message.severity), (3, 6), way)
        self.assertEqual((message.app, message.msgid), ('agitator', 'session'))
        self.assertEqual(message.procid, str(self.proxy.process.pid))
        self.assertEqual(message.hostname, socket.gethostname())
        stamp = datetime.datetime.fromisoformat(message.time)
        self.assertLess(abs(stamp.timestamp() - time.time()), 60)
        self.assertRegex(message.time, r'\.\d{6}[+-]\d\d:\d\d$')
        data = message.data
        self.assertEqual((data['result'], data['route'], data['listener'], data['callerid']),
                         ('answered', 'all', 'main', '0'))
        self.assertEqual(data['request'], 'agi://h/x')
        self.assertGreater(int(data['duration_usec']), 0)
        self.assertEqual(set(message.elements), {'meta', ENTERPRISE})
        self.assertRegex(message.text, rf'^session {data["session"]} from {data["client"]} for')
        self.assertFalse(message.has_bom)

    def test_udp(self):
        server = self.udp()
        self.start_with(syslog_group('a', 'udp:127.0.0.1:%d' % server.port))
        self.make_sessions(1)
        self.check_session(server.wait_sessions(1)[0], 'UDP')
        self.assertEqual([m.sequence for m in server.messages.items], [1, 2])

    def test_tcp(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(1)
        self.check_session(server.wait_sessions(1)[0], 'TCP')
        self.make_sessions(20, 1)
        self.assertEqual(self.numbers(server.wait_sessions(21)), list(range(21)))
        self.assertEqual([m.sequence for m in server.messages.items], list(range(1, 23)))
        self.assertEqual(len(server.connections), 1)

    def check_local(self, server):
        message = server.wait(lambda m: m.text.startswith('session '))
        self.assertEqual((message.facility, message.severity, message.app), (17, 6, 'agitator'))
        self.assertEqual(message.procid, str(self.proxy.process.pid))
        self.assertRegex(message.text, 'for agi://h/x: answered')

    def test_unix_datagrams(self):
        server = self.udp(path=self.make_path('log'))
        self.start_with(syslog_group('a', 'unix:' + server.path, 'Facility=local1'))
        self.make_sessions(1)
        self.check_local(server)

    def test_unix_stream(self):
        server = self.tcp(path=self.make_path('log'))
        self.start_with(syslog_group('a', 'unix:' + server.path, 'Facility=local1'))
        self.make_sessions(1)
        self.check_local(server)

    def test_a_name_with_an_address_that_leads_nowhere(self):
        """Many systems have ::1 as the first address of localhost."""
        tcp, udp = self.tcp(), self.udp()
        self.start_with(syslog_group('a', 'tcp:localhost:%d' % tcp.port),
                        syslog_group('b', 'udp:localhost:%d' % udp.port))
        self.make_sessions(1)
        tcp.wait_sessions(1)
        udp.wait_sessions(1)

    def test_all_of_them_at_once(self):
        servers = [self.tcp(), self.tcp(), self.udp()]
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % servers[0].port),
                        syslog_group('b', 'tcp:127.0.0.1:%d' % servers[1].port),
                        syslog_group('c', 'udp:127.0.0.1:%d' % servers[2].port))
        self.make_sessions(10)
        for server in servers:
            self.assertEqual(self.numbers(server.wait_sessions(10)), list(range(10)))

    def test_hostname_and_facility(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port,
                                     'Hostname=proxy-1.example.com', 'Facility=local7'))
        message = server.wait_text('^ready')
        self.assertEqual((message.hostname, message.facility, message.severity),
                         ('proxy-1.example.com', 23, 5))


class Records(SyslogTest):
    def test_each_server_has_what_it_wants(self):
        every, failed, events, warnings = (self.tcp() for _ in range(4))
        self.start_proxy(ANSWER.replace('Path=*', 'Path=x'),
                         syslog_group('every', 'tcp:127.0.0.1:%d' % every.port),
                         syslog_group('failed', 'tcp:127.0.0.1:%d' % failed.port,
                                      'Sessions=failed', 'Events=no'),
                         syslog_group('events', 'tcp:127.0.0.1:%d' % events.port, 'Sessions=none'),
                         syslog_group('warnings', 'tcp:127.0.0.1:%d' % warnings.port,
                                      'Level=warning'),
                         log=['Sessions=none'])
        self.make_sessions(2)
        every.wait_sessions(2)
        # There is no connection where there is nothing to say.
        self.assertEqual((len(failed.connections), len(warnings.connections)), (0, 0))
        self.assert_refused(self.call('agi://h/nosuch'), 'NOROUTE')
        every.wait_sessions(3)
        failed.wait_sessions(1)
        warnings.wait_sessions(1)
        self.proxy.stop()
        events.wait_text('^stopped')

        def kinds(server):
            return [message.msgid for message in server.messages.items]

        self.assertEqual(kinds(every), ['ready', 'session', 'session', 'session-failed',
                                        'stopping', 'stopped'])
        self.assertEqual(kinds(failed), ['session-failed'])
        self.assertEqual(kinds(events), ['ready', 'stopping', 'stopped'])
        self.assertEqual(kinds(warnings), ['session-failed'])
        self.assertFalse([line for line in self.proxy.log.items if 'session ' in line])

    def test_counts_go_where_what_they_count_goes(self):
        """Those of an interval that has not ended at the stop, too."""
        failed, events = self.tcp(), self.tcp()
        self.start_proxy(ANSWER.replace('Path=*', 'Path=x'),
                         syslog_group('failed', 'tcp:127.0.0.1:%d' % failed.port,
                                      'Sessions=failed', 'Events=no'),
                         syslog_group('events', 'tcp:127.0.0.1:%d' % events.port, 'Sessions=none'),
                         log=['Sessions=none', 'RateLimitBurst=2', 'RateLimitInterval=1h'])
        for _ in range(5):
            self.assert_refused(self.call('agi://h/nosuch'), 'NOROUTE')
        self.proxy.stop()
        events.wait_text('^stopped')
        count = failed.wait_text('^3 more within')
        self.assertEqual([message.msgid for message in failed.messages.items],
                         ['session-failed', 'session-failed', 'repeated'])
        self.assertIn('NOROUTE', count.text)
        self.assertEqual([message.msgid for message in events.messages.items],
                         ['ready', 'stopping', 'stopped'])
        self.assertFalse([line for line in self.proxy.log.items if ' more within ' in line])

    def test_a_server_may_have_more_than_the_log(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port, 'Level=debug'),
                        log=['Level=warning'])
        self.make_sessions(1)
        server.wait_sessions(1)
        self.proxy.stop()
        self.assertTrue([m for m in server.messages.items if m.severity == 7])
        self.assertEqual([line for line in self.proxy.log.items if ' warning ' not in line], [])

    def test_peers_forge_nothing(self):
        servers = [self.tcp(), self.udp(), self.udp(path=self.make_path('log'))]
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % servers[0].port),
                        syslog_group('b', 'udp:127.0.0.1:%d' % servers[1].port),
                        syslog_group('c', 'unix:' + servers[2].path))
        evil = b'1"] [meta sequenceId="9"] \\"]\x1b[31m\r\xff\x00<0>1 - - - - - - x'
        self.assert_success(self.call(block=environment('agi://h/\x1b]0;x\x07"]\\é',
                                                        callerid=evil)))
        for server in servers[:2]:
            message, = server.wait_sessions(1)
            self.assertEqual(message.data['callerid'],
                             r'1"] [meta sequenceId="9"] \"]\x1b[31m\x0d\xff\x00<0>1 - - - - - - x')
            self.assertEqual(message.data['request'], r'agi://h/\x1b]0;x\x07"]\é')
            self.assertTrue(message.has_bom)
            self.assertIn(r'agi://h/\x1b]0;x\x07"]\é', message.text)
            self.assertEqual(message.elements['meta'], {'sequenceId': str(message.sequence)})
        servers[2].wait_text(r'agi://h/\\x1b\]0;x\\x07')
        for server in servers:
            for message in server.messages.items:
                self.assertIsNone(re.search(rb'[\x00-\x1f\x7f]', message.raw), message)

    def test_what_is_too_long_is_cut(self):
        limits = {'auto': 2048, '700': 700}
        servers = {limit: self.udp() for limit in limits}
        big = self.tcp()
        self.start_with(*(syslog_group('u' + limit, 'udp:127.0.0.1:%d' % server.port,
                                       'MaxMessage=' + limit)
                          for limit, server in servers.items()),
                        syslog_group('t', 'tcp:127.0.0.1:%d' % big.port))
        path = 'ä' * 6000
        self.assert_success(self.call('agi://h/' + path))
        for limit, size in limits.items():
            message, = servers[limit].wait_sessions(1)
            self.assertLessEqual(len(message.raw), size)
            self.assertGreater(len(message.raw), size - 32)
            self.assertRegex(message.data['request'], r'^agi://h/ä+\.\.\.$')
            self.assertRegex(message.text, r'ä\.\.\.$')
            self.assertEqual((message.data['result'], message.data['callerid']),
                             ('answered', '15551234567'))
        message, = big.wait_sessions(1)
        self.assertLessEqual(len(message.raw), 8192)
        self.assertGreater(len(message.raw), 8192 - 32)


class Away(SyslogTest):
    """Log servers that are not there, or not really."""

    def test_what_waits_comes_later_in_order(self):
        port = free_port()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % port))
        self.proxy.wait_for_log("log server a can't be reached: Connection refused")
        self.make_sessions(50)
        server = self.tcp(port=port)
        self.assertEqual(self.numbers(server.wait_sessions(50)), list(range(50)))
        self.proxy.wait_for_log('log server a is back')
        self.proxy.stop()
        events = [line for line in self.proxy.log.items if 'log server' in line]
        self.assertEqual(len(events), 2, events)
        kinds = [message.msgid for message in server.messages.items]
        self.assertEqual(kinds[:2] + kinds[52:],
                         ['ready', 'syslog-down', 'syslog-up', 'stopping', 'stopped'])
        self.assertEqual(server.messages.items[1].data['syslog'], 'a')

    def test_udp_to_nobody(self):
        """The kernel says so on one host: then nothing is lost."""
        port = free_port(socket.SOCK_DGRAM)
        self.start_with(syslog_group('a', 'udp:127.0.0.1:%d' % port))
        self.proxy.wait_for_log("log server a can't be reached: Connection refused")
        self.make_sessions(20)
        server = self.udp(port=port)
        self.assertEqual(self.numbers(server.wait_sessions(20)), list(range(20)))

    def test_unix_socket_that_comes_later(self):
        path = self.make_path('log')
        self.start_with(syslog_group('a', 'unix:' + path))
        self.proxy.wait_for_log("log server a can't be reached: No such file")
        self.make_sessions(3)
        server = self.udp(path=path)
        server.wait_text('answered', server.messages.wait(
            lambda message: 'answered' in message.text, 'a session') + 1)

    @staticmethod
    def count_dropped(server):
        """As the log server was told."""
        return sum(int(message.data['dropped']) for message in list(server.messages.items)
                   if message.msgid == 'syslog-dropped')

    def lines_since_ready(self):
        lines = list(self.proxy.log.items)
        return lines[next(i for i, line in enumerate(lines) if ' ready: ' in line):]

    def check_drops(self, server, n):
        """What came and what is counted as dropped are all there was; returns how many sessions came
        and how many records did not. There were `n` sessions."""
        server.wait(lambda m: m.msgid == 'syslog-dropped', 'a count of the dropped')
        # Nothing waits any more. There may be several counts, each a second after the last.
        wait_until(lambda: len(server.messages.items) + self.count_dropped(server) ==
                   len(self.lines_since_ready()), 'all to be there or counted', pause=0.05)
        self.make_sessions(1, n)
        self.proxy.stop()
        server.wait_text('^stopped')
        came = server.messages.items
        got = self.numbers(came)
        self.assertEqual(got, sorted(set(got)))
        self.assertEqual(got[-1], n)
        dropped = self.count_dropped(server)
        lines = self.lines_since_ready()
        self.assertEqual(len(came) + dropped, len(lines))
        counts = [re.search(r'(\d+) log records? for log server a w\w+ dropped: its queue', line)
                  for line in lines]
        self.assertEqual(sum(int(count[1]) for count in counts if count), dropped)
        return len(got), dropped

    def test_the_dropped_are_counted_when_stopped(self):
        port = free_port()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % port, 'Queue=10'))
        self.proxy.wait_for_log("can't be reached")
        self.make_sessions(200)
        self.check_few(*self.check_drops(self.tcp(port=port), 200))

    def test_the_dropped_are_counted_each_minute_when_a_daemon_hangs(self):
        path = self.make_path('hangs')
        hangs = self.keep(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        hangs.bind(path)
        self.start_with(syslog_group('a', 'unix:' + path, 'Queue=10'),
                        environment={'WATCHDOG_USEC': '1000000'})
        with open('/proc/sys/net/unix/max_dgram_qlen', encoding='ascii') as file:
            self.make_sessions(int(file.read()))
        mark = self.proxy.notices.mark()
        for _ in range(5):  # two seconds and more without a word
            mark = 1 + self.proxy.notices.wait(lambda line: line == 'WATCHDOG=1', 'half a second', mark)
        counted = re.compile(r'log server a w\w+ dropped: its queue').search
        mark = 0
        for _ in range(2):
            self.make_sessions(100 + BATCH)
            mark = 1 + self.proxy.log.wait(counted, 'a count of the dropped', mark, TIMEOUT + 60)

    def check_few(self, got, dropped):
        """With Queue=10: of 200 sessions it got those that waited, two of which may have been events,
        those that a try to send had taken out before, and the one after."""
        self.assertGreaterEqual(got, 8 + 1)
        self.assertLessEqual(got, 10 + BATCH + 1)
        self.assertGreaterEqual(dropped, 200 - 10 - BATCH)

    def blackhole(self):
        """A listening socket whose queue is full: a SYN gets no answer."""
        sock = self.keep(listen_tcp(backlog=0))
        for _ in range(4):
            filler = self.keep(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        return sock

    def test_the_dropped_are_counted_when_blackholed(self):
        sock = self.blackhole()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % sock.getsockname()[1], 'Queue=10'))
        begin = time.monotonic()
        self.make_sessions(200)
        self.assertLess(time.monotonic() - begin, 10 * FACTOR)
        self.proxy.wait_for_log("can't be reached: Connection timed out")
        # Now it is taken care of.
        sock.listen(100)
        server = self.keep_server(StreamLogServer(sock=sock))
        self.sockets.remove(sock)
        self.check_few(*self.check_drops(server, 200))

    def test_the_dropped_are_counted_when_it_does_not_read(self):
        server = self.tcp(reads=False, receive_buffer=2048)
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port, 'Queue=50'))
        memory = self.proxy.resident_bytes()
        self.make_sessions(1000)
        # What is on its way is in the kernel's buffers, and Queue= bounds the rest. A sanitizer keeps
        # what is freed.
        if not sanitizer():
            self.assertLess(self.proxy.resident_bytes() - memory, 8 << 20)
        server.reading.set()
        _, dropped = self.check_drops(server, 1000)
        self.assertGreater(dropped, 0)

    def test_the_dropped_are_counted_when_it_reads_a_byte_a_time(self):
        """Sessions don't notice, the connection is kept, and memory is bounded."""
        server = self.tcp(reads=False, receive_buffer=2048)
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port, 'Queue=50'))
        server.accepted.wait(lambda _: True, 'a connection')
        memory = self.proxy.resident_bytes()
        begin = time.monotonic()
        for i in range(1000):
            self.make_sessions(1, i)
            server.begun += server.connections[0].recv(1)
        self.assertLess(time.monotonic() - begin, 50 * FACTOR)
        if not sanitizer():
            self.assertLess(self.proxy.resident_bytes() - memory, 8 << 20)
        self.assertEqual(len(server.begun), 1000)
        server.reading.set()
        _, dropped = self.check_drops(server, 1000)
        self.assertGreater(dropped, 0)
        self.assertEqual(len(server.connections), 1)

    def check_restart(self, first, server):
        """Numbers 0 to 40 are there, those at the new server in order, and what is there twice is the
        same message."""
        self.make_sessions(1, 40)
        server.wait(lambda m: is_session(m) and m.data['callerid'] == '40')
        both = first + server.messages.items
        copies = {m.sequence: m.raw for m in both}
        for message in both:
            self.assertEqual(copies[message.sequence], message.raw)
        self.assertEqual(sorted(copies), list(range(1, len(copies) + 1)))
        self.assertEqual(sorted(set(self.numbers(both))), list(range(41)))
        later = [m.sequence for m in server.messages.items]
        self.assertEqual(later, list(range(later[0], later[0] + len(later))))

    def test_a_restart_with_all_read_loses_nothing(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(20)
        server.wait_sessions(20)
        port, first = self.close_server(server)
        self.make_sessions(20, 20)
        self.check_restart(first, self.tcp(port=port))

    def test_a_restart_with_something_unread_loses_nothing(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(20)
        server.wait_sessions(20)
        server.reading.clear()
        self.make_sessions(20, 20)
        # The kernel has taken those, and the close is a reset.
        server.wait_unread(2000)
        port, first = self.close_server(server)
        self.check_restart(first, self.tcp(port=port))


class Life(SyslogTest):
    def test_reload_adds_removes_and_keeps(self):
        kept, removed, added = self.tcp(), self.tcp(), self.tcp()
        keep = syslog_group('kept', 'tcp:127.0.0.1:%d' % kept.port)
        self.start_with(keep, syslog_group('removed', 'tcp:127.0.0.1:%d' % removed.port))
        self.make_sessions(3)
        kept.wait_sessions(3)
        removed.wait_sessions(3)
        self.reload(keep, syslog_group('added', 'tcp:127.0.0.1:%d' % added.port))
        wait_until(lambda: removed.connections and removed.connections[0].fileno() < 0 or
                   self.is_ended(removed.connections[0]), 'the end of the removed one')
        self.make_sessions(3, 3)
        self.assertEqual(self.numbers(added.wait_sessions(3)), [3, 4, 5])
        self.assertEqual(self.numbers(kept.wait_sessions(6)), list(range(6)))
        self.assertEqual(len(kept.connections), 1)
        self.assertEqual(self.numbers(removed.messages.items), [0, 1, 2])

    @staticmethod
    def is_ended(connection):
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b''
        except BlockingIOError:
            return False
        except OSError:
            return True

    def test_what_is_odd_at_the_start(self):
        server = self.tcp()
        self.start_with(group('Server', 'unused', 'Address=127.0.0.1:9'),
                        syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        message = server.wait_text('unused.*No route uses it')
        self.assertEqual((message.msgid, message.sequence), ('config-warning', 1))

    def test_start_that_fails(self):
        server, taken = self.tcp(), self.make_socket()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port), sockets={},
                        listener=['Listen=127.0.0.1:%d' % taken.getsockname()[1]], ready=False)
        self.proxy.expected_status = 1
        self.assertEqual(self.proxy.wait_exit(), 1)
        message = server.wait_text("^can't start: .*in use")
        self.assertEqual((message.msgid, message.severity), ('reload-failed', 3))

    def test_reload_keeps_what_waits(self):
        nobody, server = free_port(), self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % nobody))
        self.proxy.wait_for_log("can't be reached")
        self.make_sessions(10)
        self.reload(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port, 'Facility=local0'))
        sessions = server.wait_sessions(10)
        self.assertEqual(self.numbers(sessions), list(range(10)))
        self.assertEqual({message.facility for message in sessions}, {16})

    def test_reload_changes_what_is_wanted(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(1)
        server.wait_sessions(1)
        self.reload(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port, 'Sessions=none'))
        self.make_sessions(5, 1)
        self.proxy.stop()
        server.wait_text('^stopped')
        self.assertEqual(self.numbers(server.messages.items), [0])
        self.assertEqual(len(server.connections), 1)

    def test_reload_changes_the_name_of_this_host(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port, 'Hostname=one'))
        server.wait_text('^ready')
        self.reload(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port, 'Hostname=two'))
        self.make_sessions(1)
        self.assertEqual(server.wait_sessions(1)[0].hostname, 'two')
        self.assertEqual(len(server.connections), 1)

    def test_reload_takes_the_last_one_away(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(1)
        server.wait_sessions(1)
        self.reload()
        self.make_sessions(5, 1)
        self.reload(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(1, 6)
        server.wait_sessions(2)
        self.assertEqual(self.numbers(server.messages.items), [0, 6])

    def test_stop_sends_what_waits(self):
        server = self.tcp(reads=False)
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(200)
        server.reading.set()
        self.proxy.stop()
        server.wait_text('^stopped')
        self.assertEqual(self.numbers(server.messages.items), list(range(200)))

    def stop_in_time(self):
        begin = time.monotonic()
        self.proxy.stop()
        return time.monotonic() - begin

    def test_stop_waits_no_longer_than_it_may(self):
        server = self.tcp(reads=False, receive_buffer=2048)
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(1500)
        took = self.stop_in_time()
        self.assertGreater(took, STOP_LIMIT - 0.5)
        self.assertLess(took, STOP_LIMIT + 2 * FACTOR)
        self.proxy.wait_for_log(r'\d+ log records for log server a were dropped: it did not take')

    def test_stop_counts_what_nobody_takes(self):
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % free_port()))
        self.proxy.wait_for_log("can't be reached")
        self.make_sessions(7)
        self.assertLess(self.stop_in_time(), STOP_LIMIT)
        # ready, the server's being down, seven sessions, stopping and stopped.
        self.proxy.wait_for_log('11 log records for log server a were dropped: it did not take')

    def test_stop_waits_for_a_server_that_is_restarted(self):
        """The last messages are there, though nobody listens for a moment of the stop."""
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        self.make_sessions(3)
        server.wait_sessions(3)
        server.reading.clear()
        self.proxy.process.send_signal(signal.SIGTERM)
        self.proxy.wait_for_log('stopped: ')
        server.wait_unread(100)
        server.connections[-1].close()  # with a reset
        port, _ = self.close_server(server)
        self.proxy.wait_for_log("log server a can't be reached")
        self.tcp(port=port).wait_text('^stopped')
        self.proxy.wait_exit()

    def test_stop_of_an_idle_connection_is_quick(self):
        server = self.tcp()
        self.start_with(syslog_group('a', 'tcp:127.0.0.1:%d' % server.port))
        server.wait_text('^ready')
        self.assertLess(self.stop_in_time(), STOP_LIMIT)
        server.wait_text('^stopped')

    def test_nothing_is_there_without_a_group(self):
        self.start_with()
        names = []
        for task in os.listdir('/proc/%d/task' % self.proxy.process.pid):
            with open('/proc/%d/task/%s/comm' % (self.proxy.process.pid, task)) as file:
                names.append(file.read().strip())
        self.assertNotIn('syslog', names)
        self.assertIn('log', names)


if __name__ == '__main__':
    tap.main()
