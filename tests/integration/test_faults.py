#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every system call that a session or the process makes fails in every way it can, one at a time.

Each scenario is played with each rule of FAULTS, the rule being applied to the first call that it
fits, then to the second, and so on until the scenario makes no more of them. Whatever happens, the
caller is served, or told FAILURE, or sees a reset; who meets what is no failure is served; the next
caller is served; and no place and no descriptor is lost: there is but one place at the server and
one in the proxy. The last test prints what came of what as a table (data/doc/robustness.md).
"""

import collections
import errno
import os
import signal
import ssl
import subprocess
import sys
import unittest

from harness import tap
from harness.case import Config, group, route_group, server_group
from harness.connection import is_refused, refusing_authority, RESET
from harness.faults import Faults, FOR_EVER, NAME
from harness.proxy import Adopted, sanitizer
from harness.tls_case import TlsTest
from harness.waiting import TIMEOUT, wait_until

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


def is_harmless(rule):
    """Nothing that a caller may notice: the call is to be made once more, or again for the rest, or
    was for the better only; who was not accepted is still in the queue."""
    if rule.site == 'accept4':
        return rule.error in (errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
    return rule.error in (0, errno.EINTR, errno.EAGAIN) or rule.site in ('setsockopt', 'shutdown')



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
        self.base = self.proxy.first_descriptors
        self.assert_served(self.play)
        self.wait_closed('the first call')

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

    def wait_closed(self, what):
        wait_until(lambda: self.proxy.descriptors() <= self.base,
                   f'the descriptors to be closed after {what}')

    def assert_nothing_lost(self, what):
        self.assertIsNone(self.proxy.process.poll(), what)
        self.assert_served(self.health)
        self.wait_closed(f'the call after {what}')

    health = None

    def play_with(self, rule, after, times=1):
        """What has become of the caller, and how many calls failed."""
        what = f'{name_of(rule)} at call {after + 1} of {self.scenario}'
        self.faults.arm(rule.site, rule.error, rule.length, rule.side, after, times)
        outcome = self.play()
        self.wait_closed(what)  # what the proxy does until then belongs to it
        hits = self.faults.disarm()
        if outcome == 'closed' and hits and rule.side == 'client' and rule.error in GONE:
            outcome = 'reset'  # the library's; the caller met it while it wrote
        good = self.good(rule) if hits else self.usual
        self.assertIn(outcome, good, what + '; the log:\n' + self.proxy.log_text())
        if hits:
            TABLE[name_of(rule)][self.scenario][outcome] += 1
            self.assert_nothing_lost(what)
        return outcome, hits

    def try_rule(self, rule):
        """Each call that the rule fits, one at a time; how often that was."""
        if rule.error == 0:
            return self.play_with(rule, 0, FOR_EVER)[1]
        after, step, tried = 0, 1, 0
        while self.play_with(rule, after)[1]:
            tried += 1
            after += step
            if after >= MOST:
                step = 7
        return tried

    usual = ('served',)
    bytewise = {}  # by site and side, where TLS does not get over a byte at a time
    without = set()  # sites and sides that the scenario has no calls of, or not always

    def good(self, rule):
        """What may become of the caller."""
        if is_harmless(rule):
            return self.bytewise.get((rule.site, rule.side), self.usual) if rule.error == 0 \
                else self.usual
        if rule.side == 'server':
            return *self.usual, 'refused'  # there is a client that can be told
        return *self.usual, 'refused', 'reset'

    def try_all(self, rules):
        missed = [name_of(rule) for rule in rules if self.try_rule(rule) == 0
                  and not self.without & {rule.site, (rule.site, rule.side)}]
        self.assertEqual(missed, [], 'faults that no call of this scenario has met')

    def try_memory(self, step):
        """malloc() itself, every `step`-th call of the worker's."""
        if sanitizer():
            self.skipTest(f'a malloc() of its own has what is built for or run by: {sanitizer()}')
        rule = Fault('malloc', '', errno.ENOMEM, 0)
        after = 0
        while self.play_with(rule, after)[1]:
            after += step
        self.assertGreater(after, 0)
        for n in (0, 1, 2, 3, 5, 8):
            self.play_with(rule, n, FOR_EVER)


class Plain(Faulty):
    scenario = 'plain'
    without = {'sendmsg', 'setsockopt'}

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
            # When both have ended, nobody needs to be told.
            wait_until(lambda: self.faults.counts()[1] > 0, f'{name_of(rule)}')
            self.pass_end(client, session)
            self.faults.disarm()
            TABLE[name_of(rule)][self.scenario]['served'] += 1
        self.assert_ends(*self.open_session(held))

    def pass_end(self, client, session):
        session.finish()
        client.read_to_end()
        client.close()
        session.read_to_end()
        session.close()
        self.wait_closed('the end of the client')


class Remedy(Faulty):
    """The log names what is to be raised."""
    scenario = 'plain'

    def check(self, site, error, remedy, side=''):
        server = self.make_server(quiet_serve)
        self.start(server_group('one', server.address), route_group('all', '*', 'one'))
        self.faults.arm(site, error, side=side)
        self.assertEqual(self.play(), 'refused')
        self.assertEqual(self.faults.disarm(), 1)
        self.proxy.wait_for_log(f': sessions that need more .*; raise {remedy} or lower MaxSessions=')

    def test_descriptors(self):
        self.check('socket', errno.EMFILE, 'LimitNOFILE=')

    def test_descriptors_of_the_machine(self):
        self.check('socket', errno.ENFILE, 'the sysctl fs.file-max')

    def test_memory(self):
        self.check('socket', errno.ENOBUFS, 'MemoryMax=')

    def test_watches(self):
        self.check('epoll_ctl', errno.ENOSPC, 'the sysctl fs.epoll.max_user_watches', 'server')


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
    without = {('send', 'client'), ('sendmsg', 'server'), 'setsockopt'}
    bytewise = {('sendmsg', 'client'): ('reset',)}

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
    without = {('send', 'server'), ('sendmsg', 'client')}
    bytewise = {('sendmsg', 'server'): ('refused',)}

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
    without = {'socket', 'connect', 'sendmsg', 'setsockopt', ('send', 'server'),
               ('recv', 'server'), ('epoll_ctl', 'server')}

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
    expected = {}  # by site: what it may come to

    def start_held(self):
        self.server, self.busy = self.make_server(None), self.make_server(quiet_serve)
        self.text = [server_group('one', self.server.address), server_group('two', self.busy.address),
                     server_group('named', self.busy.address.replace('127.0.0.1', NAME)),
                     route_group('held', 'held', 'one'), route_group('all', '*', 'two'),
                     route_group('named', 'named', 'named')]
        self.play = self.health = lambda: self.outcome(self.call)
        self.start(*self.text, places=3)
        self.held = self.open_session(self.server, b'agi_request: agi://h/held\n\n')

    def check_held(self, what):
        self.assert_relayed(*self.held)
        self.assertEqual(self.outcome(self.call), 'served', what)
        self.assertEqual(self.outcome(self.call, 'agi://h/named'), 'served', what)

    def try_control(self, rule, act, check, most):
        """`act` with each call that the rule fits failing; what came of it."""
        outcomes = set()
        for after in range(most):
            what = f'{self.scenario} with {name_of(rule)} at call {after + 1}'
            self.faults.arm(rule.site, rule.error, after=after, thread='')
            outcome = act()
            hits = self.faults.disarm()
            if hits:
                self.assertIn(outcome, self.expected[rule.site], what)
                TABLE[name_of(rule)][self.scenario][outcome] += 1
                outcomes.add(outcome)
            else:
                self.assertEqual(outcome, self.usual[0], what)
            check(rule, outcome, what)
            self.check_held(what)
            if not hits:
                break
        return outcomes


class Reload(Control):
    scenario = 'reload'
    usual = ('reloaded',)

    # A listener that can't be opened is a mistake; without the service manager's socket, which
    # hears nothing then, and a name's new address it goes on.
    expected = {'socket': {'reloaded', 'refused'}, 'setsockopt': {'reloaded'},
                'eventfd': {'reloaded'}, 'getaddrinfo': {'reloaded'}}

    def reload(self, more=True):
        """To other rules, or back to those of the start; how it went."""
        mark = self.proxy.log.mark()
        other = [group('Listener', 'more', 'Listen=unix:' + self.make_path('more')),
                 group('Answer', 'no', 'Result=failure'),
                 route_group('other', 'other', [], 'Answer=no')] if more else []
        self.proxy.write_config(Config(*self.text, *other, proxy=['Threads=1', 'MaxSessions=3']).text)
        self.proxy.signal(signal.SIGHUP)
        line = self.proxy.wait_for_log('reloaded: |reload failed', mark)
        return 'reloaded' if 'reloaded: ' in line else 'refused'

    def check_rules(self, _rule, outcome, what):
        """The new ones are in force as a whole, or the old ones; then the old ones again."""
        is_new = outcome == 'reloaded'
        self.assertEqual(self.outcome(self.call, 'agi://h/other'),
                         'refused' if is_new else 'served', what)
        self.assertEqual(is_refused(self.make_path('more')), not is_new, what)
        self.assertEqual(self.reload(more=False), 'reloaded', what)
        self.assertEqual(self.outcome(self.call, 'agi://h/other'), 'served', what)

    def test_reload(self):
        self.start_held()
        self.check_rules(None, self.reload(), 'reload without a fault')
        for rule in CONTROL_FAULTS:
            outcomes = self.try_control(rule, self.reload, self.check_rules, 12)
            if rule.site == 'socket':
                self.assertEqual(outcomes, self.expected['socket'], name_of(rule))
        self.assert_ends(*self.held)


class LookUp(Faulty):
    def test_look_up_that_gets_no_thread(self):
        """GLib says nothing of it, and the look-up waits for the next one to bring a thread."""
        self.server = self.make_server(quiet_serve)
        self.play = lambda: self.outcome(self.call)
        text = [server_group('one', self.server.address), route_group('all', '*', 'one')]
        self.start(*text)
        self.faults.arm('pthread_create', errno.EAGAIN, thread='')
        self.proxy.reload(Config(
            *text, server_group('named', self.server.address.replace('127.0.0.1', NAME)),
            route_group('named', 'named', 'named'), proxy=['Threads=1', 'ResolveInterval=1s']).text)
        self.assertEqual(self.faults.disarm(), 1)
        wait_until(lambda: self.outcome(self.call, 'agi://h/named') == 'served',
                   'the name to be looked up', pause=0.1)


class Upgrade(Control):
    scenario = 'upgrade'
    usual = ('upgraded',)

    # Where there is no other process, or not a whole one, the first goes on.
    expected = {'fork': {'refused'}, 'execve': {'refused'},
                'pthread_create': {'refused', 'upgraded'}, 'eventfd': {'upgraded'},
                'socket': {'upgraded'}, 'getaddrinfo': {'upgraded'}, 'setsockopt': {'upgraded'}}

    def upgrade(self):
        self.log_mark, mark = self.proxy.log.mark(), self.proxy.notices.mark()
        self.proxy.signal(signal.SIGUSR2)
        line = self.proxy.wait_for_log('upgrade failed, this process goes on|has taken over',
                                       self.log_mark)
        if 'failed' in line:
            return 'refused'
        self.proxy.take_over(mark)
        return 'upgraded'

    def check_process(self, rule, outcome, what):
        """It is another one, or the same, that lives."""
        self.assertIsNone(self.proxy.process.poll(), what)
        pid = self.proxy.process.pid
        self.assertEqual(pid != self.pid, outcome == 'upgraded', what)
        if outcome == 'upgraded' and rule.site in ('getaddrinfo', 'pthread_create') and \
                self.has_no_address():
            self.assertEqual(self.upgrade(), 'upgraded', what)
        self.pid = self.proxy.process.pid

    def has_no_address(self):
        """The new process could not look its server's name up, and the one before it does not tell
        it; this takes until the next look-up."""
        refused = self.outcome(self.call, 'agi://h/named') == 'refused'
        if refused:
            self.proxy.wait_for_log("server named can't be reached: No route to host", self.log_mark)
        return refused

    def test_upgrade(self):
        Adopted.adopt_all()
        self.start_held()
        self.pid = self.proxy.process.pid
        for rule in CONTROL_FAULTS:
            self.try_control(rule, self.upgrade, self.check_process, 4)
        self.assert_ends(*self.held)
        self.assertEqual(self.upgrade(), 'upgraded')


class TakeOver(Faulty):
    """The control socket, which a new process makes once it has the service."""

    def setUp(self):
        super().setUp()
        Adopted.adopt_all()
        self.path = self.make_path('control')
        environment = {**self.faults.environment(), 'RUNTIME_DIRECTORY': os.path.dirname(self.path)}
        self.server = self.make_server(None)
        self.start_proxy(server_group('one', self.server.address),
                         route_group('all', '*', 'one'), environment=environment)

    def ask(self, verb):
        """agitatorctl's exit status and what it complained of."""
        run = subprocess.run([os.environ['AGITATORCTL'], verb, '--socket=' + self.path], check=False,
                             stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding='utf-8',
                             timeout=TIMEOUT)
        return run.returncode, run.stderr

    def test_death_of_the_new_process(self):
        """The old one finishes its sessions, and tells everybody."""
        held = self.open_session(self.server)
        self.faults.arm('rename', errno.EOWNERDEAD, thread='')
        for verb in 'upgrade', 'reload', 'upgrade':
            status, error = self.ask(verb)
            self.assertEqual(status, 1)
            self.assertIn('the new process ended when it was to take over', error)
        self.proxy.wait_for_log('critical nobody has the service: the new process ended')
        self.assert_relayed(*held)
        self.assert_ends(*held)
        self.proxy.expected_status = 1
        self.assertEqual(self.proxy.wait_exit(), 1)

    def test_socket_that_comes_later(self):
        self.faults.arm('rename', errno.ENOSPC, times=2, thread='')
        self.proxy.upgrade()
        self.proxy.wait_for_log('no control socket: .*No space left')
        wait_until(lambda: self.ask('reload') == (0, ''), 'the control socket', pause=0.1)
        self.assertEqual(self.faults.disarm(), 2)
        self.assertEqual(sum('no control socket' in line for line in self.proxy.log.items), 1)


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
