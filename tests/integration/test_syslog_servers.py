#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real rsyslog and syslog-ng, over all ways: what their own parsers make of our messages, field by
field, and that none is lost when they are restarted."""

import datetime
import json
import os
import re
import subprocess

from harness import tap
from harness.asterisk import environment
from harness.case import group
from harness.logserver import ANSWER, ENTERPRISE, LogServers, StreamLogServer
from harness.syslogd import Rsyslog, RsyslogGnutls, Skip, SyslogNg
from harness.tls_case import TlsTest
from harness.waiting import FACTOR, wait_until

# All that a session's record may have, and the number of each message.
FIELDS = [('meta', 'sequenceId')] + [(ENTERPRISE, name) for name in (
    'agistatus', 'bytes_in', 'bytes_out', 'callerid', 'channel', 'client', 'commands',
    'duration_usec', 'ended_by', 'error', 'last_command', 'listener', 'reason', 'replies',
    'request', 'result', 'route', 'server', 'session', 'setup_usec', 'state', 'tls', 'tls_peer',
    'truncated', 'uniqueid')]

EVIL = [
    'agi://h/plain',
    'agi://h/quotes"and\\backslashes]and[brackets=x',
    'agi://h/\x1b[31mred\x07\r\x7f',
    b'agi://h/\xff\xfe\xc0\xaf\xed\xa0\x80',
    'agi://h/\xe4\xdf\u20ac\U0001f4de',
    'agi://h/\u2028\u202e\ufeff',
    'agi://h/' + 'x' * 300,
]


class ServersTest(LogServers, TlsTest):
    def start_daemon(self, kind, transport, mutual=False):
        try:
            kind.check(transport)
        except Skip as reason:
            self.skipTest(str(reason))
        folder = self.make_path('daemon')
        os.mkdir(folder)
        tls = {'ca': self.ca.certificate, 'certificate': self.certificate,
               'key': self.ca.path('server.key'), 'mutual': mutual}
        is_local = transport.startswith('unix')
        daemon = kind(folder, transport, FIELDS, path=self.make_path('log') if is_local else None,
                      tls=tls if transport == 'tls' else None)
        return self.keep_server(daemon).start()

    def syslog_group(self, daemon, *lines, mutual=False):
        if daemon.transport == 'tls':
            lines += ('CAFile=' + self.ca.certificate,)
        if mutual:
            lines += ('Certificate=' + self.ca.issue('client', purpose='client'),)
        return group('Syslog', 'real', 'Address=' + daemon.address, *lines)

    def start_beside(self, daemon, mutual=False):
        """The proxy, and a pretend log server that gets the same records as the real one."""
        pretend = self.keep_server(StreamLogServer())
        self.start_proxy(ANSWER, self.syslog_group(daemon, mutual=mutual),
                         group('Syslog', 'pretend', 'Address=tcp:127.0.0.1:%d' % pretend.port),
                         proxy=['Threads=1'])
        return pretend

    def make_evil_sessions(self):
        for i, request in enumerate(EVIL):
            self.assert_success(self.call(block=environment(request, callerid='"%d\\]' % i)))

    def expect(self, message):
        """What a daemon should have made of it."""
        data = {**message.elements['meta'], **message.data}
        return {'PRI': message.facility * 8 + message.severity,
                'TIME': datetime.datetime.fromisoformat(message.time), 'HOST': message.hostname,
                'APP': message.app, 'PID': message.procid, 'MSGID': message.msgid,
                'MSG': message.text, 'DATA': data}

    def check_fields(self, kind, transport, mutual=False):
        daemon = self.start_daemon(kind, transport, mutual)
        pretend = self.start_beside(daemon, mutual)
        self.make_evil_sessions()
        pretend.wait_sessions(len(EVIL))
        n = len(pretend.messages.items)
        found = daemon.wait(n)
        for message, parsed in zip(pretend.messages.items, found):
            expected = self.expect(message)
            # rsyslog makes all names small, and has no property for an empty value.
            for parts in (expected, parsed):
                parts['DATA'] = {name.lower(): value for name, value in parts['DATA'].items()
                                 if value}
            self.assertEqual(parsed, expected)
        self.assertEqual(len(found), n)
        self.proxy.stop()
        daemon.wait(n + 2)

    def check_local(self, kind, transport):
        """Without the structured data, and the time is that of its arrival or to the second."""
        daemon = self.start_daemon(kind, transport)
        pretend = self.start_beside(daemon)
        self.make_evil_sessions()
        pretend.wait_sessions(len(EVIL))
        found = daemon.wait(len(pretend.messages.items))
        for message, parsed in zip(pretend.messages.items, found):
            expected = self.expect(message)
            for name in ('PRI', 'APP', 'PID', 'MSG'):
                self.assertEqual(parsed[name], expected[name], name)
            self.assertLess(abs((parsed['TIME'] - expected['TIME']).total_seconds()), 60)


class RsyslogFields(ServersTest):
    def test_rsyslog_udp(self):
        self.check_fields(Rsyslog, 'udp')

    def test_rsyslog_tcp(self):
        self.check_fields(Rsyslog, 'tcp')

    def test_rsyslog_tls(self):
        self.check_fields(Rsyslog, 'tls')

    def test_rsyslog_mutual_tls(self):
        self.check_fields(Rsyslog, 'tls', mutual=True)

    def test_rsyslog_tls_by_gnutls(self):
        self.check_fields(RsyslogGnutls, 'tls')

    def test_rsyslog_mutual_tls_by_gnutls(self):
        self.check_fields(RsyslogGnutls, 'tls', mutual=True)

    def test_rsyslog_unix(self):
        self.check_local(Rsyslog, 'unix')


class SyslogNgFields(ServersTest):
    def test_syslog_ng_udp(self):
        self.check_fields(SyslogNg, 'udp')

    def test_syslog_ng_tcp(self):
        self.check_fields(SyslogNg, 'tcp')

    def test_syslog_ng_tls(self):
        self.check_fields(SyslogNg, 'tls')

    def test_syslog_ng_mutual_tls(self):
        self.check_fields(SyslogNg, 'tls', mutual=True)

    def test_syslog_ng_unix_datagrams(self):
        self.check_local(SyslogNg, 'unix')

    def test_syslog_ng_unix_stream(self):
        self.check_local(SyslogNg, 'unix-stream')


class Restarts(ServersTest):
    """Many sessions, and the daemon stopped and started while they run."""

    SESSIONS = 100000 if FACTOR == 1 else 10000

    def run_load(self):
        program = os.environ['AGITATOR_BENCH_LOAD']
        return subprocess.Popen([program, '--path=x', f'--sessions={self.SESSIONS}',
                                 '--concurrency=32', '--timeout=300', '%s:%d' % self.address],
                                stdout=subprocess.PIPE, encoding='utf-8')

    def check_restart(self, kind, transport):
        if 'AGITATOR_BENCH_LOAD' not in os.environ:
            self.skipTest('there is no bench-load, which a build makes and no package has')
        daemon = self.start_daemon(kind, transport)
        self.start_proxy(ANSWER, self.syslog_group(daemon, 'Queue=200000'),
                         proxy=['Threads=1', 'MaxSessions=10000'], log=['Sessions=none'])
        load = self.run_load()
        try:
            for part in (3, 2):
                wait_until(lambda part=part: daemon.count() > self.SESSIONS // part,
                           'a part of the messages', timeout=120 * FACTOR, pause=0.1)
                daemon.stop()
                daemon.start()
            result = json.loads(load.communicate(timeout=300)[0])
        finally:
            load.kill()
        self.assertEqual((result['sessions'], result['errors']), (self.SESSIONS, 0))
        self.wait_for_all(daemon)
        self.proxy.stop()
        self.check_none_lost(daemon)

    def wait_for_all(self, daemon):
        """Until every session is there: the stop waits two seconds and no longer, and a daemon may
        be behind by more on a busy machine."""
        seen, rest = set(), b''

        def look():
            nonlocal rest
            lines, _, rest = (rest + file.read()).rpartition(b'\n')
            seen.update(re.findall(rb'1795408228\.(\d+)', lines))
            return len(seen) == self.SESSIONS

        with open(daemon.out, 'rb') as file:
            wait_until(look, 'all sessions', timeout=120 * FACTOR, pause=0.1)

    def check_none_lost(self, daemon):
        """Every session is there, and all messages in the order of their numbers, but that some may
        be there again after a restart, as they were."""
        wait_until(lambda: b'stopped: ' in self.tail(daemon), 'the last message')
        with open(daemon.out, encoding='utf-8', errors='replace') as file:
            lines = list(file)
        seen, highest, copies = {}, 0, 0
        for line in lines:
            number = int(re.search(r'(?i)sequenceid": ?"(\d+)"', line)[1])
            if number in seen:
                self.assertEqual(line, seen[number])
                copies += 1
            else:
                self.assertEqual(number, highest + 1)
                highest = number
            seen[number] = line
        sessions = {match[1] for line in seen.values()
                    for match in [re.search(r'1795408228\.(\d+)', line)] if match}
        print(f'# {len(lines)} messages, {copies} of them copies')
        self.assertEqual(len(sessions), self.SESSIONS)
        self.assertNotIn('dropped', self.proxy.log_text())

    @staticmethod
    def tail(daemon):
        with open(daemon.out, 'rb') as file:
            file.seek(max(0, os.path.getsize(daemon.out) - 4096))
            return file.read()

    def test_rsyslog_restarts(self):
        self.check_restart(Rsyslog, 'tcp')

    def test_rsyslog_restarts_in_tls(self):
        self.check_restart(Rsyslog, 'tls')

    def test_syslog_ng_restarts(self):
        self.check_restart(SyslogNg, 'tcp')


if __name__ == '__main__':
    tap.main()
