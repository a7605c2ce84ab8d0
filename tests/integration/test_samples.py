#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was captured from real Asterisks passes byte for byte but for the authority: in one read, one
byte at a time, and cut at every position."""

import re

from harness import tap
from harness.asterisk import with_authority
from harness.case import IntegrationTest, route_group, sample, server_group, SETTLE

ENVIRONMENTS = ['env-asterisk16.txt', 'env-asterisk22.txt', 'env-no-path.txt', 'env-hagi.txt',
                'env-127-args.txt', 'env-ipv6-special-chars.txt', 'env-injected-request.txt',
                'env-injected-blank-line.txt']

TIMELINES = ['session-normal.txt', 'session-hangup.txt', 'session-failure.txt',
             'session-hangup-agiexitonhangup.txt', 'session-hangup-before-read.txt',
             'session-hangup-during-exec.txt']

# How many sessions are under way at a time.
BATCH = 400

TO_SERVER, TO_CLIENT, SERVER_ENDS, CLIENT_ENDS = 'A>S', 'S>A', 'server ends', 'client ends'


def read_timeline(name):
    """A list of (what, bytes); the environment's lines are one entry."""
    steps = []
    for line in sample(name).splitlines():
        match = re.match(rb' *[\d.]+ (A>S|S>A|-- ) (.*)', line)
        if not match:
            continue
        what, text = match[1].decode(), match[2]
        if what != '-- ':
            data = re.sub(rb'\\(.)', lambda m: {b'n': b'\n', b'r': b'\r', b'\\': b'\\'}[m[1]], text)
            in_block = steps and what == TO_SERVER and b'\n\n' not in steps[0][1]
            if in_block:
                steps[0] = (TO_SERVER, steps[0][1] + data)
            else:
                steps.append((what, data))
        elif b'server shutdown(WR)' in text or (b'server close' in text
                                                and SERVER_ENDS not in dict(steps)):
            steps.append((SERVER_ENDS, b''))
        elif b'EOF from asterisk' in text:
            steps.append((CLIENT_ENDS, b''))
    return steps


def said(steps, who):
    return b''.join(data for what, data in steps if what == who)


class Replay:
    """A session of a timeline, with one of its bytes sent apart from those before it."""

    def __init__(self, test, server, steps, direction, cut):
        self.test, self.server, self.steps = test, server, steps
        self.direction, self.cut = direction, cut
        self.offset = {TO_SERVER: 0, TO_CLIENT: 0}
        self.client = test.connect()
        self.session = None
        self.rest = b''

    def peers(self, what):
        return (self.client, self.session) if what == TO_SERVER else (self.session, self.client)

    def begin(self, step):
        """The part of the step before the cut."""
        what, data = self.steps[step]
        if what == SERVER_ENDS:
            self.session.finish()
        elif what == CLIENT_ENDS:
            self.client.finish()
        else:
            cut = self.cut - self.offset[what] if what == self.direction else 0
            cut = cut if 0 < cut < len(data) else 0
            if cut:
                self.peers(what)[0].send(data[:cut])
            self.rest = data[cut:]

    def complete(self, step):
        """The part after it; all of it must have come through."""
        what, data = self.steps[step]
        if what == SERVER_ENDS:
            if (CLIENT_ENDS, b'') in self.steps[step:]:
                self.test.assertEqual((self.client.read_to_end(), self.client.ended), (b'', 'FIN'))
            return
        if what == CLIENT_ENDS:
            self.test.assertEqual((self.session.read_to_end(), self.session.ended), (b'', 'FIN'))
            return
        sender, receiver = self.peers(what)
        sender.send(self.rest)
        expected = data
        if step == 0:
            self.session = receiver = self.server.accept()
            expected = with_authority(data, self.server.authority)
        got = receiver.read(len(expected))
        if got != expected:
            self.test.assertEqual(got, expected, f'{what}, cut at {self.cut} of {self.direction}')
        self.offset[what] += len(data)

    def end(self):
        for side in (self.session, self.client):
            side.finish()
            self.test.assertEqual(side.read_to_end(), b'')
        self.session.close()
        self.client.close()
        self.test.clients.remove(self.client)


class Samples(IntegrationTest):
    def start(self):
        """One thread, so that settle() can tell when a byte was read."""
        self.server = self.make_server(None)
        self.start_proxy(SETTLE, server_group('one', self.server.address),
                         route_group('all', '*', 'one'), proxy=['Threads=1'], log=['Sessions=failed'])

    def send_cut(self, block, cuts):
        """The block over many connections, each cut at one position."""
        expected = with_authority(block, self.server.authority)
        clients = [self.connect() for _ in cuts]
        for client, cut in zip(clients, cuts):
            client.send(block[:cut])
        self.settle()
        for client, cut in zip(clients, cuts):
            client.send(block[cut:])
        sessions = [self.server.accept() for _ in clients]
        for session in sessions:
            self.assertEqual(session.read(len(expected)), expected)
            session.finish()
        for client in clients:
            client.close()
            self.clients.remove(client)
        for session in sessions:
            self.assertEqual((session.read_to_end(), session.ended), (b'', 'FIN'))
            session.close()

    def test_environments_in_one_read(self):
        self.start()
        for name in ENVIRONMENTS:
            self.send_cut(sample(name), [0])

    def test_environments_one_byte_at_a_time(self):
        self.start()
        blocks = [sample(name) for name in ENVIRONMENTS]
        clients = [self.connect() for _ in blocks]
        for i in range(max(map(len, blocks))):
            for client, block in zip(clients, blocks):
                if i < len(block):
                    client.send(block[i:i + 1])
            self.settle()
        expected = {with_authority(block, self.server.authority) for block in blocks}
        sessions = [self.server.accept() for _ in blocks]
        for session in sessions:
            session.read_environment()
        # All are relayed by now, and what follows an early empty line comes before the end.
        for client in clients:
            client.finish()
        self.assertEqual({session.environment + session.read_to_end() for session in sessions},
                         expected)

    def test_environments_cut_at_every_position(self):
        self.start()
        for name in ENVIRONMENTS:
            block = sample(name)
            for begin in range(1, len(block), BATCH):
                self.send_cut(block, range(begin, min(begin + BATCH, len(block))))

    def replay(self, steps, direction, cuts):
        replays = [Replay(self, self.server, steps, direction, cut) for cut in cuts]
        for step in range(len(steps)):
            for replay in replays:
                replay.begin(step)
            self.settle()
            for replay in replays:
                replay.complete(step)
        for replay in replays:
            replay.end()

    def test_timelines_say_what_the_raw_captures_say(self):
        for name in ('session-normal', 'session-hangup'):
            steps = read_timeline(name + '.txt')
            self.assertEqual(said(steps, TO_SERVER), sample(name + '.a2s'))
            self.assertEqual(said(steps, TO_CLIENT), sample(name + '.s2a'))

    def test_sessions_in_one_read(self):
        self.start()
        for name in TIMELINES:
            self.replay(read_timeline(name), None, [0])

    def test_sessions_one_byte_at_a_time(self):
        """Every step in single bytes, each read by the proxy before the next."""
        self.start()
        for name in TIMELINES:
            client, session = self.connect(), None
            for what, data in read_timeline(name):
                for i in range(len(data)):
                    (client if what == TO_SERVER else session).send(data[i:i + 1])
                    self.settle()
                if what == TO_SERVER:
                    session = session or self.server.accept()
                    expected = with_authority(data, self.server.authority)
                    self.assertEqual(session.read(len(expected)), expected)
                elif what == TO_CLIENT:
                    self.assertEqual(client.read(len(data)), data)
            session.reset()

    def test_sessions_cut_at_every_position(self):
        self.start()
        for name in TIMELINES:
            steps = read_timeline(name)
            for direction in (TO_SERVER, TO_CLIENT):
                size = len(said(steps, direction))
                # The environment's own cuts are above.
                first = steps[0][1] if direction == TO_SERVER else b''
                for begin in range(len(first) + 1, size, BATCH):
                    self.replay(steps, direction, range(begin, min(begin + BATCH, size)))


if __name__ == '__main__':
    tap.main()
