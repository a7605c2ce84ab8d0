#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients and servers that mean harm: each costs no more memory than data/doc/robustness.md says, the
others' commands are as quick as before, a good call gets through as long as there are places, and the
log stays short.
"""

import contextlib
import resource
import statistics
import subprocess
import sys
import threading
import time

from harness import tap
from harness.asterisk import environment
from harness.case import IntegrationTest, route_group, server_group
from harness.proxy import sanitizer
from harness.waiting import FACTOR, wait_until

# How many of a kind there are at a time.
N = 200

# Resident KiB for each of them, at most: data/doc/robustness.md.
SILENT, SLOW, LINE, BLOCK, UNREAD, UNSENT = 2, 6, 40, 140, 140, 560

# And what all of them share, the free blocks that the worker keeps: 256 KiB in each of 7 sizes at most
# (src/base/buffer.c).
KEPT = 7 * 256

# A command's way through the proxy and back may take twice as long as in quiet times, or this.
LATENCY = 0.02 * FACTOR

# Lines of the log that one kind may cause, whatever its number: the default burst for each of a few
# subjects.
LOG_LINES = 100

STORM = """
import select, socket, struct, sys
host, port, n, how = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
i = 0
while i < n or not select.select([sys.stdin], [], [], 0)[0]:
    i += 1
    if i == min(20, n):
        print('has begun', flush=True)
    s = socket.socket()
    try:
        s.connect((host, port))
        if how == 'reset':
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            s.send(b'agi_network: yes\\n' * (i % 3))
        elif how == 'cut':
            s.send(b'agi_network: yes\\nagi_req')
        elif how == 'lines':
            s.sendall(b'agi_x: y\\n' * 100000)
        elif how == 'line':
            s.sendall(b'x' * 1000000)
    except OSError:
        pass
    s.close()
print(i)
"""


class Hostile(IntegrationTest):
    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = 20 * N
        self.assertGreaterEqual(hard, needed, 'the limit of descriptors is too low for this test')
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))

    def start(self, *route_lines, proxy=(), **options):
        """A server for good calls, and one whose sessions the test plays."""
        self.good, self.played = self.make_server(patient), self.make_server(None)
        self.start_proxy(server_group('good', self.good.address),
                         server_group('played', self.played.address),
                         route_group('played', 'played', 'played', *route_lines),
                         route_group('all', '*', 'good'),
                         proxy=['Threads=1', 'RequestTimeout=60s', *proxy],
                         environment={'MALLOC_PERTURB_': '0'}, **options)
        for _ in range(20):
            self.assert_success(self.call())
        self.probe = self.open_played()
        self.quiet = self.latency()
        self.before = self.proxy.resident_bytes()
        self.descriptors = self.proxy.descriptors()
        self.log_mark = self.proxy.log.mark()

    def open_played(self, **options):
        client = self.connect(**options)
        client.send(environment('agi://h/played'))
        session = self.played.accept()
        session.read_environment()
        return client, session

    def latency(self):
        """The median of a command's and its reply's way."""
        times = []
        for _ in range(60):
            begin = time.monotonic()
            self.assert_relayed(*self.probe)
            times.append(time.monotonic() - begin)
        return statistics.median(times)

    def check_others(self):
        now = self.latency()
        print(f'# a command: {self.quiet * 1e6:.0f} us in quiet times, {now * 1e6:.0f} us now')
        self.assertLess(now, max(2 * self.quiet, LATENCY))
        self.assert_success(self.call())

    def check_memory(self, bound, what, n=N):
        each = (self.proxy.resident_bytes() - self.before) / n / 1024
        bound += KEPT / n
        print(f'# {each:.1f} KiB resident for each of {n} {what}, at most {bound:.1f}')
        if not sanitizer():
            self.assertLess(each, bound)

    def check_log(self):
        lines = self.proxy.log.items[self.log_mark:]
        print(f'# {len(lines)} lines of the log')
        self.assertLess(len(lines), LOG_LINES)

    def check_gone(self):
        """No session is left but the probe."""
        wait_until(lambda: self.proxy.descriptors() <= self.descriptors,
                   'the descriptors of the hostile ones to be closed')
        self.assert_success(self.call())

    @contextlib.contextmanager
    def storm(self, n, how):
        """At least `n`, and until its stdin is closed; storm_size says how many."""
        process = subprocess.Popen([sys.executable, '-IS', '-c', STORM, *map(str, self.address),
                                    str(n), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.assertEqual(process.stdout.readline(), b'has begun\n')
            yield process
            self.assertEqual(process.wait(300), 0)
            self.storm_size = int(process.stdout.read())
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    # Clients that hold

    def hold(self, data=b'', n=N):
        clients = [self.connect() for _ in range(n)]
        for client in clients:
            client.send(data)
        for client in clients:
            client.wait_delivered()
        self.assert_relayed(*self.probe)
        return clients

    def let_go(self, clients):
        for client in clients:
            client.close()
        self.check_gone()
        self.check_log()

    def test_connect_and_hold(self):
        self.start()
        clients = self.hold()
        self.check_memory(SILENT, 'clients that say nothing')
        self.check_others()
        self.let_go(clients)

    def test_slow_environment(self):
        """A byte at a time."""
        self.start()
        clients = self.hold(b'a')
        for byte in b'gi_network: yes\nagi_request':
            for client in clients:
                client.send(bytes([byte]))
        self.check_memory(SLOW, 'environments that come byte by byte')
        self.check_others()
        self.let_go(clients)

    def test_line_without_end(self):
        self.start()
        clients = self.hold(b'agi_x: ' + b'x' * 16000)
        self.check_memory(LINE, 'lines of 16,000 bytes')
        self.check_others()
        self.let_go(clients)

    def test_block_without_end(self):
        self.start()
        clients = self.hold((b'agi_x: ' + b'x' * 1000 + b'\n') * 64)
        self.check_memory(BLOCK, 'environments of 64,000 bytes')
        self.check_others()
        self.let_go(clients)

    def test_hold_all_places(self):
        """While there is one left a good call has it; then callers are told, and soon there is."""
        self.start(proxy=['MaxSessions=50'])
        clients = self.hold(n=48)
        self.assert_success(self.call())
        clients += self.hold(n=1)
        self.assert_refused(self.call(), 'FULL')
        self.assertLess(self.latency(), max(2 * self.quiet, LATENCY))
        clients.pop().close()
        wait_until(lambda: self.call().wait() == 'SUCCESS', 'the place to be had again')
        self.let_go(clients)

    # Storms

    def weather(self, n, how):
        self.start()
        with self.storm(n, how) as storm:
            latencies = [self.latency()]
            self.assert_success(self.call())
            storm.stdin.close()
            while storm.poll() is None:
                latencies.append(self.latency())
        now = statistics.median(latencies)
        print(f'# {len(latencies)} times a command: {self.quiet * 1e6:.0f} us in quiet times, '
              f'{now * 1e6:.0f} us in the storm, at worst {max(latencies) * 1e6:.0f}')
        self.assertLess(now, max(2 * self.quiet, LATENCY))
        self.check_gone()
        self.check_others()
        self.check_memory(1, f'connections of a storm ({how})', self.storm_size)
        self.check_log()

    def test_connect_and_leave(self):
        self.weather(3000, 'leave')

    def test_resets(self):
        self.weather(3000, 'reset')

    def test_environments_cut_short(self):
        self.weather(2000, 'cut')

    def test_hundred_thousand_variables(self):
        self.weather(200, 'lines')

    def test_endless_lines(self):
        self.weather(200, 'line')

    # In the middle of a session

    def test_clients_that_never_read(self):
        """... while their servers flood them."""
        self.start()
        sessions = [self.open_played(receive_buffer=4096) for _ in range(N // 4)]
        self.flood([session for _, session in sessions], b'NOOP ' + b'x' * 1000 + b'\n')
        self.check_memory(UNREAD, 'clients that never read', N // 4)
        self.check_others()
        self.end_all(sessions)

    def test_servers_that_never_read(self):
        """... while their clients flood them."""
        self.start()
        sessions = [self.open_played() for _ in range(N // 4)]
        self.flood([client for client, _ in sessions], b'200 result=0 ' + b'x' * 1000 + b'\n')
        self.check_memory(UNSENT, 'servers that never read', N // 4)
        self.check_others()
        self.end_all(sessions)

    def test_servers_that_flood(self):
        """A client that reads gets all of it, line by line, and the others don't notice."""
        self.start('Relay=bytes')
        sessions = [self.open_played() for _ in range(8)]
        over = threading.Event()

        def shovel(client, session):
            line = b'NOOP ' + b'x' * 8000 + b'\n'
            while not over.is_set():
                session.send(line)
                client.read(len(line))
                client.received.clear()
                client.taken = 0

        threads = [threading.Thread(target=shovel, args=ends) for ends in sessions]
        for thread in threads:
            thread.start()
        try:
            self.check_others()
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.check_memory(300, 'servers that flood', len(sessions))
        self.end_all(sessions)

    def flood(self, ends, line):
        """Each sends until nothing more is taken."""
        for end in ends:
            end.sock.setblocking(False)
        full = 0
        while full < 3:  # the proxy goes on taking while we look at others
            taken = 0
            for end in ends:
                try:
                    while True:
                        taken += end.sock.send(line * 64)
                except BlockingIOError:
                    pass
            self.assert_relayed(*self.probe)
            full = full + 1 if taken == 0 else 0

    def end_all(self, sessions):
        for client, session in sessions:
            client.reset()
            session.reset()
        self.assert_success(self.call())
        self.check_log()


def patient(session):
    session.read_environment()
    session.command(b'NOOP')
    session.end()


if __name__ == '__main__':
    tap.main()
