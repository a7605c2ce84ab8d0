# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of every kind, good and odd, at a rate; each knows what has to become of it.

The client of each is bound to an address of its own, by which its record in the log is found. What
server and client say follows from that address, so that each side knows every byte of the other's.
"""

import dataclasses
import random
import socket
import threading

from harness.asterisk import environment, PretendAsterisk, with_authority
from harness.connection import Connection, connect
from harness.tls import client_connections
from harness.waiting import TIMEOUT

AT_ONCE = 60  # calls; more wait for others to end
COMMANDS = 12  # of a call, at the most

# What a session's record may have as its result or reason.
GOOD, ANSWERED = {'served'}, {'answered'}


@dataclasses.dataclass
class Call:
    """One session, as both of its ends see it."""

    source: str
    kind: str
    commands: int
    block: bytes = b''
    leaves: bool = False  # the client goes away in its middle
    pause: float = 0.0  # before each command
    # Of one that hangs up: the client has a command, and has hung up.
    begun: threading.Event = dataclasses.field(default_factory=threading.Event)
    hung_up: threading.Event = dataclasses.field(default_factory=threading.Event)
    problem: str = ''

    def command(self, number):
        return b'NOOP %s %d' % (self.source.encode(), number)


class Calls:
    """`world` has the addresses of the proxy's listeners, the TLS context and how often servers have
    died (see `run`)."""

    KINDS = {
        'plain': (30, GOOD), 'tls-in': (8, GOOD), 'tls-out': (8, GOOD), 'tls-both': (4, GOOD),
        'flap': (16, None), 'answer': (8, ANSWERED), 'idle': (3, GOOD), 'hangup': (6, GOOD),
        'leave-at-once': (3, None), 'leave-in-block': (3, None), 'leave-after-block': (3, None),
        'leave-mid': (4, None), 'reset-mid': (4, None), 'noroute': (4, {'NOROUTE'}),
        'badrequest': (3, {'BADREQUEST'}), 'denied': (2, {'DENIED'}), 'full': (3, {'FULL'}),
        'noserver': (3, {'NOSERVER'}),
    }

    def __init__(self, world, accounts, rate, options):
        self.world, self.accounts, self.rate = world, accounts, rate
        self.random = random.Random(options.seed)
        self.silence = min(10, options.seconds / 60)  # of those who are silent for long
        self.calls = {}  # under way, by source
        self.counts = dict.fromkeys(self.KINDS, 0)
        self.problems = []
        self.number = 0
        self.over, self.never = threading.Event(), threading.Event()
        self.room = threading.BoundedSemaphore(AT_ONCE)
        self.threads = set()
        self.thread = threading.Thread(target=self._begin_all, daemon=True)

    def start(self):
        self.thread.start()

    def finish(self, timeout):
        """No more calls; waits for those under way."""
        self.over.set()
        self.thread.join(timeout)
        for thread in list(self.threads):
            thread.join(timeout)
            if thread.is_alive():
                self.problems.append('a call did not end')

    # The server's end

    def talk(self, session):
        """The behaviour of all servers: what the call's kind says, with every byte checked."""
        try:
            block = session.read_until(b'\n\n')
        except AssertionError:
            if not session.received:
                return  # the client left while this connection was being made
            raise
        source = block.partition(b'agi_uniqueid: ')[2].partition(b'\n')[0].decode()
        call = self.calls.get(source)
        try:
            if call is None:
                raise AssertionError(f'nobody sent this environment: {block!r}')
            host, port = session.sock.getsockname()[:2]
            if block != with_authority(call.block, f'{host}:{port}'):
                raise AssertionError(f'not the environment sent: {block!r}')
            self._talk(session, call)
        except (AssertionError, OSError) as error:
            # One who left is expected, and so is what a server meets that has just died.
            if not session.closed and not (call and call.leaves):
                self.problems.append(f'server, {call and call.kind} from {source}: {error}')

    def _talk(self, session, call):
        hangups = 0
        for number in range(call.commands):
            # At the end of the soak those who are silent for long no longer are.
            (self.over if call.kind == 'idle' else self.never).wait(call.pause)
            if call.kind == 'hangup' and number == 1:
                call.hung_up.wait(TIMEOUT)
            session.send(call.command(number) + b'\n')
            line = session.read_line()
            while line == b'HANGUP\n' and call.kind == 'hangup' and not hangups:
                hangups += 1
                line = session.read_line()
            if line != b'200 result=0\n':
                raise AssertionError(f'not the reply sent: {line!r}')
        rest = session.end()
        if rest.count(b'HANGUP\n') * len(b'HANGUP\n') != len(rest) or not rest:
            raise AssertionError(f'not a HANGUP in the end: {rest!r}')

    # The client's end

    def _begin_all(self):
        kinds = list(self.KINDS)
        weights = [weight for weight, results in self.KINDS.values()]
        while not self.over.wait(self.random.expovariate(self.rate)):
            self.room.acquire()
            kind = self.random.choices(kinds, weights)[0]
            thread = threading.Thread(target=self._run, args=(self._make(kind),), daemon=True)
            self.threads.add(thread)
            thread.start()

    def _make(self, kind):
        self.number += 1
        source = '127.%d.%d.%d' % (100 + (self.number >> 16), self.number >> 8 & 255,
                                   self.number & 255)
        self.counts[kind] += 1
        # Who hangs up does so after the first command, and is to be in the middle of it then.
        least = 2 if kind == 'hangup' else 1
        call = Call(source, kind, self.random.randint(least, COMMANDS))
        call.leaves = kind.startswith(('leave', 'reset'))
        if kind in ('idle', 'leave-mid', 'reset-mid', 'flap'):
            call.pause = self.silence * self.random.uniform(0.5, 1) if kind == 'idle' else 0.2
        path = {'tls-both': 'tls-out', 'flap': 'flap', 'answer': 'answer', 'tls-out': 'tls-out',
                'noroute': 'nosuch', 'full': 'full', 'noserver': 'noserver'}.get(kind, 'talk')
        call.block = environment('agi://127.0.0.1/' + path, uniqueid=source)
        self.calls[source] = call
        self.accounts.expect(source, self.KINDS[kind][1])
        return call

    def _run(self, call):
        try:
            if call.leaves or call.kind == 'badrequest':
                self._leave(call)
            elif call.kind == 'full':
                with self.world.full_lock:
                    self._serve(call)
            else:
                self._serve(call)
        except (AssertionError, OSError) as error:
            self.problems.append(f'client, {call.kind} from {call.source}: {error}')
        finally:
            if not call.leaves:  # whose server has yet to see it
                del self.calls[call.source]
            self.room.release()
            self.threads.discard(threading.current_thread())

    def _serve(self, call):
        address, options = self.world.addresses['main'], {}
        if call.kind in ('tls-in', 'tls-both'):
            address = self.world.addresses['secure']
            options['make_connection'] = client_connections(self.world.context)
        elif call.kind == 'denied':
            address = self.world.addresses['closed']
        elif call.kind == 'hangup':
            options['reply'] = lambda command: call.begun.set()
        deaths = self.world.deaths
        client = PretendAsterisk(address, call.block, source=call.source, **options)
        client.start()
        if call.kind == 'hangup':
            call.begun.wait(TIMEOUT)
            client.hang_up()
            call.hung_up.set()
        client.thread.join(COMMANDS * 10 + 60)
        self._check(call, client, self.world.deaths > deaths)

    def _check(self, call, client, has_server_died):
        """Its end is that of its kind; what a server said that died is what it should say."""
        status = client.wait()
        said = [call.command(number) for number in range(call.commands)]
        wanted = {'denied': 'DENIED', 'noroute': 'NOROUTE', 'full': 'FULL',
                  'noserver': 'NOSERVER'}.get(call.kind)
        if call.kind == 'flap' and has_server_died and status == 'FAILURE':
            is_good = said[:len(client.commands)] == client.commands
        elif wanted:
            is_good = (status, client.agitator_status) == ('FAILURE', wanted)
        elif call.kind == 'answer':
            is_good = (status, client.variables.get('SOAK')) == ('SUCCESS', 'answered')
        elif call.kind == 'hangup':
            is_good = status == 'HANGUP' and client.commands == said
        else:
            is_good = status == 'SUCCESS' and client.commands == said
        if not is_good or client.glued or client.partial:
            raise AssertionError(client.describe())

    def _leave(self, call):
        """Those who don't wait for the end, or never say what they want."""
        connection = Connection(connect(self.world.addresses['main'], call.source))
        cut = self.random.randrange(1, len(call.block) - 1)
        if call.kind == 'badrequest':
            connection.send(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
            self._read_refusal(connection)
        elif call.kind == 'leave-in-block':
            connection.send(call.block[:cut])
        elif call.kind == 'leave-after-block':
            connection.send(call.block)
            connection.sock.shutdown(socket.SHUT_WR)
        elif call.kind != 'leave-at-once':
            connection.send(call.block)
            line = connection.read_line()
            if line != call.command(0) + b'\n':
                raise AssertionError(f'not the command sent: {line!r}')
        if call.kind == 'reset-mid':
            connection.reset()
        connection.close()

    def _read_refusal(self, connection):
        line = connection.read_line()
        if line != b'SET VARIABLE AGITATOR_STATUS BADREQUEST\n':
            raise AssertionError(f'not a refusal: {line!r}')
        connection.send(b'200 result=1\n')
        line = connection.read_to_end()
        if line != b'FAILURE\n':
            raise AssertionError(f'not a FAILURE: {line!r}')
