#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every system call that a session or the process makes fails in every way it can, one at a time.

Each scenario is played with each rule of FAULTS, the rule being applied to the first call that it
fits, then to the second, and so on until the scenario makes no more of them. Whatever happens, the
caller is served, or told FAILURE, or sees a reset; the next caller is served; and no place and no
descriptor is lost: there is but one place at the server and one in the proxy. The last test prints
what came of what as a table (data/doc/robustness.md).
"""

import collections
import errno
import signal
import ssl
import sys
import unittest

from harness import tap
from harness.case import Config, group, route_group, server_group
from harness.connection import refusing_authority, RESET
from harness.faults import Faults, FOR_EVER
from harness.proxy import Adopted, sanitizer
from harness.tls_case import TlsTest
from harness.waiting import wait_until

Fault = collections.namedtuple('Fault', 'site side error length')


def fault(site, *errors, sides=('',)):
    return [Fault(site, side, getattr(errno, error), 0) for side in sides for error in errors]


BOTH = ('client', 'server')

# What a session's calls can come to.
SESSION_FAULTS = (
    fault('accept4', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'ECONNABORTED')
    + fault('socket', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM')
    + fault('connect', 'EADDRNOTAVAIL', 'ENOBUFS', 'ENETUNREACH', 'ECONNREFUSED')
    + [Fault(site, side, 0, 1) for site in ('send', 'sendmsg', 'recv') for side in BOTH]
    + fault('send', 'EINTR', 'EAGAIN', 'ENOBUFS', 'ENOMEM', 'ECONNRESET', 'EPIPE', sides=BOTH)
    + fault('sendmsg', 'EINTR', 'EAGAIN', 'ENOBUFS', 'ENOMEM', 'ECONNRESET', 'EPIPE', sides=BOTH)
    + fault('recv', 'EINTR', 'EAGAIN', 'ENOBUFS', 'ENOMEM', 'ECONNRESET', sides=BOTH)
    + fault('epoll_ctl', 'ENOSPC', 'ENOMEM', sides=BOTH)
    + fault('epoll_wait', 'EINTR')
    + fault('setsockopt', 'ENOBUFS', 'ENOMEM')
    + fault('shutdown', 'ENOTCONN', 'ENOBUFS', sides=('client',))
    + fault('g_try_malloc', 'ENOMEM'))

# What a reload or an upgrade does, on any thread.
CONTROL_FAULTS = (
    fault('fork', 'EAGAIN', 'ENOMEM') + fault('execve', 'ENOMEM', 'ENOENT', 'E2BIG')
    + fault('pthread_create', 'EAGAIN') + fault('eventfd', 'EMFILE', 'ENFILE')
    + fault('socket', 'EMFILE', 'ENOBUFS') + fault('getaddrinfo', 'ENOMEM')
    + fault('setsockopt', 'ENOBUFS'))

# What only a caller who goes first has a session do.
END_FAULTS = fault('shutdown', 'ENOTCONN', 'ENOBUFS', sides=('server',))

ALL_FAULTS = SESSION_FAULTS + END_FAULTS + CONTROL_FAULTS

# What the library makes true by resetting the connection.
GONE = (errno.ECONNRESET, errno.EPIPE)

# So many calls of one kind a scenario has at most; of more, these are tried evenly.
MOST = 40

TABLE = collections.defaultdict(lambda: collections.defaultdict(collections.Counter))


def name_of(rule):
    what = errno.errorcode[rule.error] if rule.error else f'{rule.length} byte'
    return ' '.join(filter(None, (rule.site, rule.side, what)))


class Faulty(TlsTest):
    scenario = ''

    def setUp(self):
        super().setUp()
        library = Faults.library()
        if not library:
            self.skipTest('AGITATOR_FAULTS_LIBRARY is not set: only a build has it')
        self.faults = self.keep(Faults(self.make_path('faults')))

    def start(self, *groups, places=1, **options):
        self.start_proxy(*groups, route_group('closed', 'closed', [], 'Answer=closed'),
                         group('Answer', 'closed', 'Commands=SET VARIABLE SERVED yes;NOOP',
                               'Result=success'),
                         proxy=['Threads=1', f'MaxSessions={places}'],
                         log=['RateLimitBurst=2'], environment=self.faults.environment(), **options)
        self.assert_served(self.play)
        self.base = self.proxy.descriptors()

    # One call

    def play(self):
        """The scenario; what the caller has made of it."""
        return self.outcome(self.call)

    def outcome(self, call, *arguments):
        before = len(self.clients)
        try:
            client = call(*arguments)
            status = client.wait()
        except (OSError, ssl.SSLError):
            return 'reset'
        finally:
            while len(self.clients) > before:
                self.clients.pop().close()
        if client.connection.ended == RESET:
            return 'reset'
        if status == 'FAILURE':
            return 'refused'
        return 'served' if client.variables.get('SERVED') == 'yes' else 'closed'

    def assert_served(self, play):
        self.assertEqual(play(), 'served', 'a call without any fault; the log:\n'
                         + self.proxy.log_text())

    def assert_nothing_lost(self, what):
        wait_until(lambda: self.proxy.descriptors() <= self.base,
                   f'the descriptors to be closed after {what}')
        self.assertIsNone(self.proxy.process.poll(), what)
        self.assert_served(self.health)
        wait_until(lambda: self.proxy.descriptors() <= self.base,
                   f'the descriptors to be closed after the call after {what}')

    health = None

    def try_rule(self, rule, **options):
        """Each call that the rule fits, one at a time; how many there are."""
        once = rule.error != 0
        after, step = 0, 1
        while True:
            self.faults.arm(rule.site, rule.error, rule.length, rule.side, after,
                            1 if once else FOR_EVER, **options)
            outcome = self.play()
            hits = self.faults.disarm()
            what = f'{name_of(rule)} at call {after + 1} of {self.scenario}'
            if outcome == 'closed' and hits and rule.error in GONE:
                outcome = 'reset'  # the library's; the caller met it while it wrote
            if hits == 0:
                self.assertIn(outcome, self.usual, what)
                return after
            self.assertIn(outcome, self.good(), what + '; the log:\n' + self.proxy.log_text())
            TABLE[name_of(rule)][self.scenario][outcome] += 1
            self.assert_nothing_lost(what)
            if not once:
                return 1
            after += step
            if after >= MOST:
                step = 7

    usual = ('served',)

    @staticmethod
    def good():
        return 'served', 'refused', 'reset'

    def try_all(self, rules):
        for rule in rules:
            self.try_rule(rule)
        self.assertGreater(sum(map(len, TABLE.values())), 0)

    def try_memory(self, step):
        """malloc() itself, every `step`-th call of the worker's."""
        if sanitizer():
            print(f'# malloc: not in {self.scenario}, the sanitizer has its own')
            return
        rule = Fault('malloc', '', errno.ENOMEM, 0)
        after = 0
        while True:
            self.faults.arm('malloc', errno.ENOMEM, after=after)
            outcome = self.play()
            hits = self.faults.disarm()
            what = f'malloc at call {after + 1} of {self.scenario}'
            if hits == 0:
                break
            self.assertIn(outcome, self.good(), what)
            TABLE[name_of(rule)][self.scenario][outcome] += 1
            self.assert_nothing_lost(what)
            after += step
        self.assertGreater(after, 0)
        for n in (0, 1, 2, 3, 5, 8):
            self.faults.arm('malloc', errno.ENOMEM, after=n, times=FOR_EVER)
            self.assertIn(self.play(), self.good())
            if self.faults.disarm() > 0:
                self.assert_nothing_lost(f'malloc for good after {n}')


class Plain(Faulty):
    scenario = 'plain'

    def setUp(self):
        super().setUp()
        self.server = self.make_server(quiet_serve)
        self.health = self.play
        self.start(server_group('one', self.server.address, 'MaxSessions=1'),
                   route_group('all', '*', 'one'))

    def test_system_calls(self):
        self.try_all(SESSION_FAULTS)

    def test_memory(self):
        self.try_memory(1)

    def test_end_of_the_client(self):
        """What the server is told when the caller goes first."""
        held = self.make_server(None)
        self.proxy.reload(Config(server_group('one', held.address, 'MaxSessions=1'),
                                 route_group('all', '*', 'one'),
                                 proxy=['Threads=1', 'MaxSessions=1']).text)
        for rule in END_FAULTS:
            client, session = self.open_session(held)
            self.faults.arm(rule.site, rule.error, side=rule.side)
            client.finish()
            self.pass_end(client, session)
            self.assertGreater(self.faults.disarm(), 0)
            TABLE[name_of(rule)][self.scenario]['served'] += 1
        self.assert_ends(*self.open_session(held))

    def pass_end(self, client, session):
        session.finish()
        client.read_to_end()
        client.close()
        session.read_to_end()
        session.close()
        wait_until(lambda: self.proxy.descriptors() <= self.base, 'the descriptors to be closed')


class Balanced(Plain):
    """Two servers, and the first refuses: one is dialed after the other."""
    scenario = 'two servers'

    def start(self, *groups, **options):
        self.keep(self.dead_socket())
        super().start(*groups[:1], server_group('dead', self.dead), route_group(
            'all', '*', ['dead', 'one'], 'Mode=balance'), **options)

    def dead_socket(self):
        sock, self.dead = refusing_authority()
        return sock


class TlsIn(Faulty):
    scenario = 'TLS in'

    def setUp(self):
        super().setUp()
        self.server = self.make_server(quiet_serve)
        self.health = self.play
        self.start(server_group('one', self.server.address, 'MaxSessions=1'),
                   route_group('all', '*', 'one'), listener=self.tls_listener())

    def play(self):
        return self.outcome(self.call_tls)

    def test_system_calls(self):
        self.try_all(SESSION_FAULTS)

    def test_memory(self):
        self.try_memory(1)


class TlsOut(Faulty):
    scenario = 'TLS out'

    def setUp(self):
        super().setUp()
        self.server = self.make_tls_server(quiet_serve)
        self.health = self.play
        self.start(self.tls_server('one', self.server.address, 'MaxSessions=1'),
                   route_group('all', '*', 'one'))

    def test_system_calls(self):
        self.try_all(SESSION_FAULTS)

    def test_memory(self):
        self.try_memory(1)


class Answer(Faulty):
    scenario = 'answer'

    def setUp(self):
        super().setUp()
        self.health = self.play
        self.start()

    def play(self):
        return self.outcome(self.call, 'agi://h/closed')

    def test_system_calls(self):
        self.try_all(SESSION_FAULTS)

    def test_memory(self):
        self.try_memory(1)


class Refused(Answer):
    scenario = 'refusal'
    usual = ('refused',)

    def health(self):
        return Answer.play(self)

    def setUp(self):
        Faulty.setUp(self)
        self.start()

    def start(self, *groups, **options):
        play, self.play = self.play, lambda: Answer.play(self)
        super().start(*groups, **options)
        self.play = play

    def play(self):
        return self.outcome(self.call, 'agi://h/nosuch')


class Control(Faulty):
    """With a session that is open all the time and must not notice."""

    def start_held(self, name='nowhere.invalid'):
        self.server, self.busy = self.make_server(None), self.make_server(quiet_serve)
        self.text = [server_group('one', self.server.address), server_group('two', self.busy.address),
                     server_group('named', self.busy.address.replace('127.0.0.1', name)),
                     route_group('held', 'held', 'one'), route_group('all', '*', 'two'),
                     route_group('named', 'named', 'named')]
        self.play = self.health = lambda: self.outcome(self.call)
        self.start(*self.text, places=3)
        self.held = self.open_session(self.server, b'agi_request: agi://h/held\n\n')

    def check_held(self, what):
        self.assert_relayed(*self.held)
        self.assertEqual(self.outcome(self.call), 'served', what)

    def note(self, rule, outcome):
        TABLE[name_of(rule)][self.scenario][outcome] += 1


class Reload(Control):
    scenario = 'reload'

    def reload(self):
        """How it went."""
        mark = self.proxy.log.mark()
        self.proxy.write_config(Config(*self.text, group('Listener', 'more', 'Listen=unix:'
                                                         + self.make_path('more')),
                                       proxy=['Threads=1', 'MaxSessions=3']).text
                                if self.wants_more else Config(*self.text, proxy=['Threads=1']).text)
        self.wants_more = not self.wants_more
        self.proxy.signal(signal.SIGHUP)
        line = self.proxy.wait_for_log('reloaded: |reload failed', mark)
        return 'reloaded' if 'reloaded: ' in line else 'refused'

    def test_reload(self):
        self.start_held()
        self.wants_more = True
        self.reload()
        self.reload()
        for rule in CONTROL_FAULTS:
            for after in range(6):
                self.faults.arm(rule.site, rule.error, after=after, thread='')
                outcome = self.reload()
                if self.faults.disarm() == 0:
                    break
                self.note(rule, outcome)
                self.check_held(f'reload with {name_of(rule)} at call {after + 1}')
            if self.wants_more is False:
                self.reload()
        self.assert_ends(*self.held)


class Upgrade(Control):
    scenario = 'upgrade'

    def upgrade(self):
        log_mark, mark = self.proxy.log.mark(), self.proxy.notices.mark()
        self.proxy.signal(signal.SIGUSR2)
        line = self.proxy.wait_for_log('upgrade failed, this process goes on|has taken over',
                                       log_mark)
        if 'failed' in line:
            return 'refused'
        self.proxy.take_over(mark)
        return 'upgraded'

    def test_upgrade(self):
        Adopted.adopt_all()
        self.start_held()
        for rule in CONTROL_FAULTS:
            for after in range(4):
                self.faults.arm(rule.site, rule.error, after=after, thread='')
                outcome = self.upgrade()
                hits = self.faults.disarm()
                if hits:
                    self.note(rule, outcome)
                self.check_held(f'upgrade with {name_of(rule)} at call {after + 1}')
                if hits == 0:
                    break
        self.assert_ends(*self.held)
        self.assertEqual(self.upgrade(), 'upgraded')


class WholeTable(unittest.TestCase):
    """Last, since it is about all the others."""

    def test_zz_every_site_was_reached(self):
        if len({scenario for row in TABLE.values() for scenario in row}) < 8:
            self.skipTest('only a part of the scenarios ran')
        rules = list(dict.fromkeys(map(name_of, ALL_FAULTS)))
        if not sanitizer():
            rules.append('malloc ENOMEM')
        missing = [rule for rule in rules if not TABLE.get(rule)]
        print_table(rules)
        self.assertEqual(missing, [])


SCENARIOS = ['plain', 'two servers', 'TLS in', 'TLS out', 'answer', 'refusal', 'reload', 'upgrade']


def print_table(rules):
    print('# | site | ' + ' | '.join(SCENARIOS) + ' |', file=sys.stderr)
    print('# |---' * (len(SCENARIOS) + 1) + '|', file=sys.stderr)
    for rule in rules:
        cells = [', '.join(f'{n} {outcome}' for outcome, n in sorted(TABLE[rule][scenario].items()))
                 or '–' for scenario in SCENARIOS]
        print(f'# | {rule} | ' + ' | '.join(cells) + ' |', file=sys.stderr)


def quiet_serve(session):
    """A short session, of which the proxy may make nothing."""
    try:
        session.read_environment()
        session.command(b'NOOP one')
        session.command(b'SET VARIABLE SERVED yes')
        session.end()
    except (AssertionError, OSError, ssl.SSLError):
        pass


if __name__ == '__main__':
    tap.main()
