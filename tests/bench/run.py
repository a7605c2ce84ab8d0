#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares agitator with a bare relay, HAProxy, nginx and the Go program, session by session.

Every round measures each proxy once, in an order that turns from round to round, so that what the
machine does meanwhile falls on all of them. data/doc/benchmarks.md tells how to read the numbers.
"""

import argparse
import dataclasses
import itertools
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import typing

import proxies
from proxies import BenchError

LOAD_TIMEOUT = 120
WARM_UP = 200  # sessions, before the first round


@dataclasses.dataclass
class Scenario:
    """What is measured: the arguments of bench-load, and what the costs are divided by."""

    about: str
    load: list
    sessions: int
    per: str = 'session'  # or "command"
    measure: typing.Callable = None
    leave_out: tuple = ()  # proxies that can't do it


def measure_sessions(bench, proxy, scenario):
    """One run of the load against one proxy: costs per unit, and what the client saw."""
    before = proxy.settled_cpu()
    result = bench.load(proxy, [*scenario.load, f'--sessions={bench.sessions(scenario)}'])
    cpu = proxy.settled_cpu() - before
    units = result['sessions'] if scenario.per == 'session' else result['commands']
    return {
        f'CPU µs/{scenario.per}': cpu / units / 1000,
        f'{scenario.per}s/s': units / result['wall'],
        'setup p50 µs': result['setup_us']['p50'],
        'setup p99 µs': result['setup_us']['p99'],
        'setup p99.9 µs': result['setup_us']['p99.9'],
        'command p50 µs': result['command_us']['p50'],
        'command p99 µs': result['command_us']['p99'],
    }


def measure_idle(bench, proxy, scenario):
    """CPU per command of ten busy sessions among few and among many idle ones; memory of those.

    The proxy is started anew for each, so that no memory of earlier sessions hides the growth.
    """
    values = {}
    for count in (10, bench.idle):
        proxy.stop()
        bench.start_proxy(proxy)
        descriptors = proxy.descriptors()
        arguments = [*scenario.load, f'--idle={count}', f'--sessions={bench.sessions(scenario)}']
        at_start = {}

        def when_idle(at_start=at_start):
            at_start['descriptors'] = proxy.descriptors()
            at_start['memory'] = proxy.memory()
            at_start['cpu'] = proxy.settled_cpu()

        result = bench.load(proxy, arguments, when_idle, proxy.settled_cpu)
        cpu = (result['at_end'] - at_start['cpu']) / result['commands'] / 1000
        values[count] = (at_start['memory'], cpu, at_start['descriptors'])
        # Every session still has its HANGUP to deliver.
        proxy.wait_until(lambda most=descriptors: proxy.descriptors() <= most, 'close them')
    few, many = values[10], values[bench.idle]
    return {
        'B/idle session': (many[0] - few[0]) / (bench.idle - 10),
        'CPU µs/command, 10 idle': few[1],
        f'CPU µs/command, {bench.idle} idle': many[1],
        'many : few': many[1] / few[1],
        'descriptors/session': (many[2] - few[2]) / (bench.idle - 10),
    }


SCENARIOS = {
    'short': Scenario(
        '3 commands, 64 sessions at a time, the server closes',
        ['--path=ivr/k3', '--concurrency=64'],
        20000,
    ),
    'short-shutdown': Scenario(
        'as short, but the server ends by shutdown() and reads the HANGUP',
        ['--path=ivr/k3/shut', '--concurrency=64'],
        20000,
    ),
    'chatty': Scenario(
        '200 commands, 64 sessions at a time',
        ['--path=ivr/k200', '--concurrency=64'],
        1000,
        per='command',
    ),
    'lines': Scenario(
        '3 commands, 64 at a time, the environment sent line by line',
        ['--path=ivr/k3', '--concurrency=64', '--lines'],
        5000,
    ),
    'rate': Scenario(
        '3 commands, 500 sessions a second whatever happens',
        ['--path=ivr/k3', '--rate=500'],
        1500,
    ),
    'bulk': Scenario(
        '20 commands with replies of 60,000 bytes, 16 sessions at a time',
        ['--path=ivr/k20/b60000', '--concurrency=16'],
        500,
    ),
    'idle': Scenario(
        '10 busy sessions of 200 commands among idle ones',
        ['--path=ivr/k200', '--concurrency=10'],
        400,
        measure=measure_idle,
        leave_out=('direct',),
    ),
}


class Bench:
    """One call of this script."""

    def __init__(self, options):
        self.options = options
        self.tools = pathlib.Path(options.tools).resolve()
        self.idle = options.idle
        self.server = None
        self.proxies = []

    def sessions(self, scenario):
        return max(1, int(scenario.sessions * self.options.scale))

    def pin(self, pids, others=False):
        """With --pin the proxies have a CPU of their own, and the load and the server the rest."""
        if self.options.pin is None:
            return
        alone = {self.options.pin}
        cpus = os.sched_getaffinity(0) - alone if others else alone
        for pid in pids:
            for task in os.listdir(f'/proc/{pid}/task'):
                os.sched_setaffinity(int(task), cpus)

    def start_proxy(self, proxy):
        proxy.start()
        if not isinstance(proxy, proxies.Direct):
            self.pin(proxy.pids())

    def start(self, directory):
        server = proxies.BenchServer(directory / 'server', self.tools)
        self.server = server
        server.start()
        self.pin(server.pids(), others=True)
        options = self.options
        candidates = {
            'direct': lambda place: proxies.Direct(place, server),
            'relay': lambda place: proxies.Relay(place, server, self.tools),
            'haproxy-1': lambda place: proxies.HAProxy(place, server, 1),
            'haproxy-2': lambda place: proxies.HAProxy(place, server, 2),
            'haproxy-lean': lambda place: proxies.HAProxy(place, server, 1, is_lean=True),
            'nginx': lambda place: proxies.Nginx(place, server),
        }
        if options.agitator:
            program = pathlib.Path(options.agitator).resolve()
            for threads, sessions in itertools.product(('auto', '1'), ('none', 'all')):
                name = 'agitator' if threads == 'auto' else 'agitator-1'
                name += '' if sessions == 'none' else '-journal'
                candidates[name] = lambda place, threads=threads, sessions=sessions: (
                    proxies.Agitator(place, server, program, threads, sessions)
                )
        if options.go:
            candidates['go'] = lambda place: proxies.GoAgitator(place, server, options.go)
        for name in options.proxies or candidates:
            if name not in candidates:
                raise BenchError(f"no proxy is called {name}; there are {', '.join(candidates)}")
            if name.startswith('haproxy') and not proxies.HAProxy.is_installed():
                print(f'{name} is not installed and left out')
            elif name == 'nginx' and not proxies.Nginx.is_installed():
                print('nginx with its stream module is not installed and left out')
            elif name.endswith('-journal') and not proxies.Agitator.has_journal():
                print(f'{name} is left out: there is no journal (see journal.py)')
            else:
                proxy = candidates[name](directory / name)
                self.proxies.append(proxy)
                self.start_proxy(proxy)

    def stop(self):
        for proxy in self.proxies:
            proxy.stop()
        counts = self.server.stop() if self.server else ''
        if counts:
            print(f'\nserver: {counts}'.rstrip())
            if json.loads(counts.splitlines()[0])['errors'] > 0:
                raise BenchError('the server got bytes that were not sent; see above')

    def load(self, proxy, arguments, when_idle=None, at_end=None):
        """Runs bench-load to its end; an error in a single session is one of the run.

        when_idle() and at_end() are called while the idle sessions are open, before and after the
        others; what at_end() returns becomes a part of the result.
        """
        command = [self.tools / 'bench-load', *arguments, f'--timeout={LOAD_TIMEOUT}']
        if when_idle:
            command.append('--wait')
        command.append(f'127.0.0.1:{proxy.port}')
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as load:
            self.pin([load.pid], others=True)
            try:
                line = load.stdout.readline()
                if when_idle and '"wall"' not in line:
                    when_idle()
                    print('go on', file=load.stdin, flush=True)
                    line = load.stdout.readline()
                result = json.loads(line or '{}')
                if at_end:
                    result['at_end'] = at_end()
                    print('close', file=load.stdin, flush=True)
                load.wait(LOAD_TIMEOUT + 10)
            finally:
                load.kill()
        if load.returncode != 0 or 'wall' not in result:
            raise BenchError(f'{proxy.name}: bench-load failed: {line.strip()}')
        return result

    def run(self, name):
        scenario = SCENARIOS[name]
        measure = scenario.measure or measure_sessions
        taking_part = [p for p in self.proxies if p.name not in scenario.leave_out]
        values = {proxy.name: [] for proxy in taking_part}
        print(f'\n## {name}: {scenario.about}; {self.options.rounds} rounds', flush=True)
        if not scenario.measure:
            for proxy in taking_part:
                self.load(proxy, [*scenario.load, f'--sessions={WARM_UP}'])
        for turn in range(self.options.rounds):
            first = turn % len(taking_part)
            for proxy in taking_part[first:] + taking_part[:first]:
                values[proxy.name].append(measure(self, proxy, scenario))
        print_table(values)
        if self.options.syscalls and not scenario.measure:
            for proxy in taking_part:
                if proxy.name != 'direct':
                    self.count_calls(proxy, scenario)
        return values

    def count_calls(self, proxy, scenario):
        """System calls per session, in a run of their own: strace slows everything down."""
        sessions = max(64, self.sessions(scenario) // 10)
        report = proxy.directory / 'strace'
        command = ['strace', '-f', '-c', '-U', 'calls,name', '-S', 'calls', '-o', report]
        for pid in proxy.pids():
            command += ['-p', str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            strace.stderr.readline()  # "attached"
            self.load(proxy, [*scenario.load, f'--sessions={sessions}'])
            proxy.settled_cpu()
            strace.send_signal(signal.SIGINT)
            strace.wait()
        print(f'\nsystem calls of {proxy.name} per session:')
        for line in report.read_text().splitlines()[2:]:
            words = line.split()
            if len(words) == 2 and words[0].isdigit() and int(words[0]) > sessions / 100:
                print(f'  {int(words[0]) / sessions:8.2f}  {words[1]}')


def print_table(values):
    """Medians, with the spread as half the distance between the quartiles, and ratios.

    A ratio is the median of those within a round, so that a slow round counts for both.
    """
    names = list(values)
    metrics = list(next(iter(values.values()))[0])
    references = find_references(values, metrics)
    head = ''.join(f" {':' + name:>14}" for name in references)
    for metric in metrics:
        print(f"\n{metric:28} {'median':>10} {'spread':>8} {'min':>10}" + head)
        for name in names:
            series = [value[metric] for value in values[name]]
            line = f'  {name:26} {statistics.median(series):10.2f} {spread(series):8.2f}'
            line += f' {min(series):10.2f}'
            for other in references:
                ratios = [
                    mine[metric] / theirs[metric] if theirs[metric] else float('nan')
                    for mine, theirs in zip(values[name], values[other])
                ]
                line += f' {statistics.median(ratios):14.3f}'
            print(line)
    sys.stdout.flush()


def find_references(values, metrics):
    """What the others are divided by: the better HAProxy of one and two threads, the lean one, and
    the floor."""
    cpu = next(metric for metric in metrics if metric.startswith('CPU'))
    rivals = [name for name in ('haproxy-1', 'haproxy-2') if name in values]
    best = sorted(rivals, key=lambda name: statistics.median(v[cpu] for v in values[name]))[:1]
    return best + [name for name in ('haproxy-lean', 'relay') if name in values]


def spread(series):
    if len(series) < 2:
        return 0.0
    quartiles = statistics.quantiles(series, n=4, method='inclusive')
    return (quartiles[2] - quartiles[0]) / 2


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--agitator', metavar='PATH', help='the program under test')
    parser.add_argument('--tools', metavar='DIR', required=True, help='where bench-load is')
    parser.add_argument('--go', metavar='PATH', help='the Go program, to be compared too')
    parser.add_argument('--scenario', action='append', choices=list(SCENARIOS), dest='scenarios')
    parser.add_argument('--proxy', action='append', dest='proxies', help='only these')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--scale', type=float, default=1.0, help='of the number of sessions')
    parser.add_argument('--idle', type=int, default=9000)
    parser.add_argument('--pin', metavar='CPU', type=int, help='for the proxies alone')
    parser.add_argument('--syscalls', action='store_true', help='count them, with strace')
    parser.add_argument('--json', metavar='FILE', help='write every measured value there')
    return parser.parse_args()


def main():
    options = parse_options()
    bench = Bench(options)
    results = {}
    with tempfile.TemporaryDirectory(prefix='agitator-bench-') as directory:
        try:
            try:
                bench.start(pathlib.Path(directory))
                for name in options.scenarios or SCENARIOS:
                    results[name] = bench.run(name)
            finally:
                bench.stop()
        except BenchError as error:
            print(f'run.py: {error}', file=sys.stderr)
            return 1
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
