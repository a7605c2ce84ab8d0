#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many sessions in TLS: what they cost while they are idle, and that those who only waste time don't
waste anybody else's."""

import os
import resource
import threading
import time

from harness import tap
from harness.asterisk import environment
from harness.case import group, route_group, server_group
from harness.proxy import sanitizer
from harness.tls import client_context
from harness.tls_case import TlsTest
from harness.waiting import TIMEOUT

SESSIONS = 5000
FLOOD = 1000

# Resident bytes of the process for each idle session with TLS on one side, at most.
BOUND = 14 * 1024

# What a command and its reply may take while others flood. It is a matter of milliseconds; the rest
# is for a machine that has other things to do.
PATIENCE = 1.0


class Load(TlsTest):
    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = SESSIONS + 2000
        self.assertGreaterEqual(hard, needed, 'the limit of descriptors is too low for this test')
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
        self.context = client_context(self.ca.certificate)

    def open_answered(self):
        """A session that is waiting for our reply; our end keeps no more than the socket."""
        client = self.connect_tls(self.context)
        client.send(environment())
        client.read_line()
        client.tls = client.incoming = client.outgoing = None

    def test_memory_of_idle_sessions(self):
        self.start_secure(group('Answer', 'a', 'Commands=NOOP'),
                          route_group('all', '*', [], 'Answer=a'), log=['Sessions=none'])
        for _ in range(200):
            self.open_answered()
        before = self.proxy.resident_bytes()
        for _ in range(SESSIONS):
            self.open_answered()
        each = (self.proxy.resident_bytes() - before) / SESSIONS
        print(f'# {each:.0f} resident bytes for each of {SESSIONS} idle sessions in TLS')
        if sanitizer():
            print(f'# no bound: the program runs under a sanitizer or wrapper ({sanitizer()})')
        else:
            self.assertLessEqual(each, BOUND)

    def start_with_session(self):
        """One worker, and a session on it that is relayed in TLS."""
        self.held = self.make_server(None)
        self.start_secure(server_group('one', self.held.address),
                          group('Answer', 'a', 'Commands=NOOP'), route_group('all', '*', 'one'),
                          route_group('new', 'new', [], 'Answer=a'),
                          proxy=['Threads=1', 'RequestTimeout=3s'],
                          log=['Sessions=all', 'RateLimitBurst=infinity'])
        client = self.connect_tls(self.context)
        client.send(environment())
        session = self.held.accept()
        session.read_environment()
        return client, session

    def go_on(self, client, session, done):
        """Has the session relayed and new ones made until `done`; the longest that took."""
        longest_relay, longest_call, calls = 0, 0, 0
        end = time.monotonic() + 3 * TIMEOUT
        while not done():
            self.assertLess(time.monotonic(), end, 'it goes on and on')
            begin = time.monotonic()
            self.assert_relayed(client, session)
            longest_relay = max(longest_relay, time.monotonic() - begin)
            begin = time.monotonic()
            self.assert_success(self.call_tls('agi://h/new', self.context))
            longest_call = max(longest_call, time.monotonic() - begin)
            calls += 1
        print(f'# longest command {longest_relay * 1000:.1f} ms, longest of {calls} new calls '
              f'{longest_call * 1000:.1f} ms')
        if not sanitizer():
            self.assertLess(longest_relay, PATIENCE)
            self.assertLess(longest_call, PATIENCE)

    def count_refused(self):
        """How many of the flood are over."""
        while self.seen < len(self.proxy.log.items):
            self.refused += ': refused, T' in self.proxy.log.items[self.seen]  # TLS or TIMEOUT
            self.seen += 1
        return self.refused

    def check_flood(self, pieces):
        """`pieces` are sent by each of the flood, one every 100 ms, until all are closed."""
        self.seen = self.refused = 0
        client, session = self.start_with_session()
        before = self.proxy.resident_bytes()
        flood = [self.connect() for _ in range(FLOOD)]
        stop = threading.Event()

        def pour():
            i = 0
            while not stop.is_set():
                for connection in flood:
                    try:
                        connection.sock.send(pieces[min(i, len(pieces) - 1)])
                    except OSError:
                        pass
                i += 1
                stop.wait(0.1)

        thread = threading.Thread(target=pour, daemon=True)
        thread.start()
        most = 0

        def done():
            nonlocal most
            most = max(most, self.proxy.resident_bytes() - before)
            return self.count_refused() >= FLOOD

        self.go_on(client, session, done)
        stop.set()
        thread.join()
        print(f'# {most / FLOOD:.0f} bytes for each of the flood')
        if not sanitizer():
            self.assertLessEqual(most / FLOOD, 2 * BOUND)

    def test_slow_handshakes(self):
        """A byte at a time of what may become a handshake: each is closed by its deadline."""
        hello = b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'
        self.check_flood([bytes([byte]) for byte in hello] + [b'\0'])

    def test_garbage_handshakes(self):
        self.check_flood([b'\x16\x03\x01\x00\x40\x01\0\0\x3c' + os.urandom(60)])

    def test_many_handshakes_at_once(self):
        """All of them come in one turn, and none of them makes the session wait."""
        client, session = self.start_with_session()
        flood = [self.connect_tls(self.context) for _ in range(300)]
        for connection in flood:
            try:
                connection.tls.do_handshake()
            except Exception:  # it wants to read
                connection._flush()
        ends = threading.Event()

        def shake():
            for connection in flood:
                connection.handshake()
            ends.set()

        threading.Thread(target=shake, daemon=True).start()
        self.go_on(client, session, ends.is_set)


if __name__ == '__main__':
    tap.main()
