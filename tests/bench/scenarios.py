# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: the scenarios, and the proxies that take part in each."""

import dataclasses
import os
import typing

import log_servers
import measures
from proxies import Agitator, Direct, find_program, GoAgitator, Relay, ReloadingAgitator
from rivals import HAProxy, Nginx, Stunnel


@dataclasses.dataclass
class Arm:
    """One of those that are compared."""

    make: typing.Callable  # (bench, directory, job)
    missing: typing.Callable = lambda bench: ''  # why it can't be


def needs_agitator(bench):
    return '' if bench.program else 'no --agitator'


def needs_go(bench):
    return '' if bench.options.go else 'no --go'


def agitator(kind=Agitator, **settings):
    return Arm(lambda bench, place, job: kind(place, job, bench.program, **settings),
               needs_agitator)


def rival(kind, **settings):
    return Arm(lambda bench, place, job: kind(place, job, **settings),
               lambda bench: '' if kind.is_installed() else f'{kind.program} is not installed')


AGITATORS = {'agitator': agitator(), 'agitator-1': agitator(threads='1')}
HAPROXIES = {'haproxy-1': rival(HAProxy, threads=1), 'haproxy-2': rival(HAProxy, threads=2)}
FLOOR = {'relay': Arm(lambda bench, place, job: Relay(place, job, bench.tools))}
ALL = {
    'direct': Arm(lambda bench, place, job: Direct(place, job)),
    **FLOOR,
    **HAPROXIES,
    'haproxy-lean': rival(HAProxy, threads=1, is_lean=True),
    'nginx': rival(Nginx),
    **AGITATORS,
    'go': Arm(lambda bench, place, job: GoAgitator(place, job, bench.options.go), needs_go),
}
PROXIES = {name: arm for name, arm in ALL.items() if name != 'direct'}
WITH_TLS = {**HAPROXIES, 'nginx': rival(Nginx), 'stunnel': rival(Stunnel), **AGITATORS}
# stunnel sometimes loses the HANGUP of a caller who ends at once.
IDLE_TLS = {name: arm for name, arm in WITH_TLS.items() if name != 'stunnel'}
SIZES = {
    'small': agitator(threads='1', routes=2, servers=2),
    '10000-routes': agitator(threads='1', routes=10000, servers=2),
    '1000-servers': agitator(threads='1', routes=2, servers=1000),
}
JOURNAL = {'log-off': agitator(threads='1'), 'log-on': agitator(threads='1', log='journal')}
RELOADED = {'quiet': agitator(threads='1'), 'reloaded': agitator(ReloadingAgitator, threads='1')}
LOG_SERVERS = {name: agitator(log_servers.LoggingAgitator, sink=name)
               for name in log_servers.SINKS}


@dataclasses.dataclass
class Scenario:
    name: str
    about: str
    load: list  # the arguments of bench-load
    sessions: int
    arms: dict
    references: tuple = ('haproxy', 'haproxy-lean', 'relay')
    measure: typing.Callable = measures.sessions
    per: str = 'session'  # or "command", "MB"
    reply_size: int = 0  # for those in MB
    idle: int = 0
    clients: str = ''  # "full" or "resumed": they speak TLS
    servers: str = ''
    tls_version: str = '1.3'
    programs: tuple = ()  # that it can't be run without
    needs_journal: bool = False
    warm_up: int = 200  # sessions, before the first round

    def missing(self):
        """Why it can't be run at all."""
        reason = self.missing_program()
        if reason:
            return reason
        if self.needs_journal and 'BENCH_JOURNAL' not in os.environ:
            return 'the journal of journal.py needs root and namespaces'
        return ''

    def missing_program(self):
        return next((f'{program} is not installed' for program in self.programs
                     if not find_program(program)), '')


SHORT = ['--path=ivr/k3', '--concurrency=64']

SCENARIOS = {scenario.name: scenario for scenario in [
    Scenario('short', '3 commands, 64 sessions at a time, the server closes', SHORT, 15000, ALL),
    Scenario('short-shutdown', 'as short, but the server ends by shutdown() and reads the HANGUP',
             ['--path=ivr/k3/shut', '--concurrency=64'], 15000, ALL),
    Scenario('chatty', '200 commands, 64 sessions at a time',
             ['--path=ivr/k200', '--concurrency=64'], 600, ALL, per='command'),
    Scenario('lines', '3 commands, 64 at a time, the environment sent line by line',
             [*SHORT, '--lines'], 5000, ALL),
    Scenario('rate', '3 commands, 500 sessions a second whatever happens',
             ['--path=ivr/k3', '--rate=500'], 1500, ALL),
    Scenario('bulk', '20 commands with replies of 64 KiB, 16 sessions at a time',
             ['--path=ivr/k20/b65536', '--concurrency=16'], 500, ALL, per='MB', reply_size=65536),
    Scenario('idle', '10 busy sessions of 200 commands among 10 and among 9,000 idle ones',
             ['--path=ivr/k200', '--concurrency=10'], 400, PROXIES, measure=measures.idle,
             idle=9000),
    Scenario('idle-tls', 'the same with TLS, among 10 and among 5,000',
             ['--path=ivr/k200', '--concurrency=10'], 100, IDLE_TLS, ('haproxy', 'nginx'),
             measures.idle, idle=5000, clients='full'),
    Scenario('tls-full', 'as short, each with a handshake', SHORT, 1000, WITH_TLS,
             ('haproxy', 'nginx', 'stunnel'), clients='full'),
    Scenario('tls-resumed', 'as short, each resumed', SHORT, 1000, WITH_TLS,
             ('haproxy', 'nginx', 'stunnel'), clients='resumed'),
    Scenario('tls-wrapped', 'as short, plain in, TLS out, where sessions can be resumed', SHORT,
             1000, WITH_TLS, ('haproxy', 'nginx', 'stunnel'), servers='resumed'),
    Scenario('tls-wrapped-full', 'as short, plain in, TLS out, none resumed', SHORT, 1000, WITH_TLS,
             ('haproxy', 'nginx', 'stunnel'), servers='full'),
    Scenario('tls12-full', 'as tls-full, by TLS 1.2', SHORT, 1000, WITH_TLS,
             ('haproxy', 'nginx', 'stunnel'), clients='full', tls_version='1.2'),
    Scenario('tls12-resumed', 'as tls-resumed, by TLS 1.2', SHORT, 1000, WITH_TLS,
             ('haproxy', 'nginx', 'stunnel'), clients='resumed', tls_version='1.2'),
    Scenario('sizes', 'as short, with 2 routes and 2 servers, and with many', SHORT, 15000, SIZES,
             ('small',)),
    Scenario('reload', 'as short, while the configuration is read again every 100 ms', SHORT, 15000,
             RELOADED, ('quiet',), measures.reloads),
    Scenario('journal', 'as short, with and without a record of each session in the journal', SHORT,
             10000, JOURNAL, ('log-off',), measures.journal, programs=('unshare', 'mount', 'ip'),
             needs_journal=True),
    Scenario('syslog', 'as short, each logged, with and without a log server', SHORT, 10000,
             LOG_SERVERS, ('none',), log_servers.measure, warm_up=log_servers.QUEUE + 1000),
    Scenario('calls', '3 commands, one session at a time, under strace',
             ['--path=ivr/k3', '--concurrency=1'], 1000, PROXIES, ('relay',), measures.calls,
             programs=('strace',)),
]}
