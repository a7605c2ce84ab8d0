# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of agitator, row by row, and what was measured. A number, no verdict."""

import dataclasses
import statistics

import instructions
import tables
from proxies import find_program
from scenarios import SCENARIOS


@dataclasses.dataclass
class Bar:
    about: str
    bar: float
    scenario: str
    metric: str
    arm: str = 'agitator'
    over: str = ''  # whose value it is divided by, round by round
    scale: float = 1.0  # of what is not divided

    def names(self):
        """Those that have to take part."""
        names = [self.arm, *(tables.BOTH if self.over == tables.HAPROXY else [self.over])]
        return [name for name in names if name]

    def numbers(self, values, arm):
        if self.over:
            return tables.ratios(values, arm, self.over, self.metric)
        return [number * self.scale for number in tables.series(values, arm, self.metric)]


SESSION, COMMAND, MB = 'CPU µs/session', 'CPU µs/command', 'CPU µs/MB'
KIB = 1 / 1024
INSTRUCTION_ROUNDS = 3

BARS = [
    Bar('CPU per short session / HAProxy', 0.88, 'short', SESSION, over='haproxy'),
    Bar('CPU per short session / the floor', 1.08, 'short', SESSION, over='relay'),
    Bar('the environment line by line: CPU / HAProxy', 0.90, 'lines', SESSION, over='haproxy'),
    Bar('CPU per relayed command / HAProxy', 0.98, 'chatty', COMMAND, over='haproxy'),
    Bar('CPU per relayed command / the floor', 1.05, 'chatty', COMMAND, over='relay'),
    Bar('500 a second: CPU per session / HAProxy', 0.75, 'rate', SESSION, over='haproxy'),
    Bar('500 a second: setup p50 / HAProxy', 1.0, 'rate', 'setup p50 µs', over='haproxy'),
    Bar('500 a second: setup p99 / HAProxy', 1.0, 'rate', 'setup p99 µs', over='haproxy'),
    Bar('system calls per session, one at a time', 34, 'calls', 'system calls/session',
        arm='agitator-1'),
    Bar('bulk: CPU per MB / HAProxy', 0.72, 'bulk', MB, over='haproxy'),
    Bar('CPU per short session / Go agitator', 0.48, 'short', SESSION, over='go'),
    Bar('CPU per relayed command / Go agitator', 0.70, 'chatty', COMMAND, over='go'),
    Bar('bulk: CPU per MB / Go agitator', 0.13, 'bulk', MB, over='go'),
    Bar('CPU per command among 9,000 idle / among 10', 1.1, 'idle', 'CPU, many : few'),
    Bar('command p50 among 9,000 idle / among 10', 1.1, 'idle', 'command p50, many : few'),
    Bar('command p99 among 9,000 idle / among 10', 1.1, 'idle', 'command p99, many : few'),
    Bar('KiB per idle session, plain', 1.0, 'idle', 'B/idle session', scale=KIB),
    Bar('KiB per idle session, TLS', 12, 'idle-tls', 'B/idle session', scale=KIB),
    Bar('TLS full: CPU per session / HAProxy', 1.1, 'tls-full', SESSION, over='haproxy'),
    Bar('TLS resumed: CPU per session / HAProxy', 0.9, 'tls-resumed', SESSION, over='haproxy'),
    Bar('TLS wrapped: CPU per session / HAProxy', 0.8, 'tls-wrapped', SESSION, over='haproxy'),
    Bar('10,000 routes / 2 routes', 1.03, 'sizes', SESSION, arm='10000-routes', over='small'),
    Bar('1,000 servers in a route / 2 servers', 1.1, 'sizes', SESSION, arm='1000-servers',
        over='small'),
    Bar('session log on (journal) / off', 1.25, 'journal', SESSION, arm='log-on', over='log-off'),
]


def run(bench):
    """Every scenario that a bar needs, with those that it compares; the results, and why some are
    missing."""
    results, missing = {}, {}
    for name in dict.fromkeys(bar.scenario for bar in BARS):
        reason = SCENARIOS[name].missing()
        if reason:
            missing[name] = reason
            continue
        bars = [bar for bar in BARS if bar.scenario == name]
        names = {arm for bar in bars for arm in bar.names()}
        if any(bar.arm == 'agitator' and bar.over for bar in bars):
            names.add('agitator-1')
        results[name] = bench.run(SCENARIOS[name], names)
        tables.print_table(results[name], SCENARIOS[name].references)
    return results, missing


def describe(bar, results, missing):
    """The cells from the median on."""
    values = results.get(bar.scenario)
    if values is None:
        return [f'not measured: {missing[bar.scenario]}', '', '', '', '']
    absent = [name for name in bar.names() if name not in values]
    if absent:
        return [f"not measured: no {', '.join(absent)}", '', '', '', '']
    numbers = bar.numbers(values, bar.arm)
    one_thread = ''
    if bar.arm == 'agitator' and 'agitator-1' in values:
        one_thread = f"{statistics.median(bar.numbers(values, 'agitator-1')):.3f}"
    both = ''
    if bar.over:
        both = ' : '.join(f'{statistics.median(tables.series(values, name, bar.metric)):.1f}'
                          for name in (bar.arm, bar.over))
    return [f'{statistics.median(numbers):.3f}', f'{tables.spread(numbers):.3f}',
            str(len(numbers)), one_thread, both]


def print_bars(bench):
    results, missing = run(bench)
    total = 'not measured: valgrind is not installed | | '
    if find_program('valgrind'):
        counts = instructions.count(bench, {'agitator': bench.program}, INSTRUCTION_ROUNDS)
        numbers = instructions.totals(counts['agitator'])
        total = f'{statistics.median(numbers):.0f} | {tables.spread(numbers):.0f} | {len(numbers)}'
    print('\n| measure | bar | median | spread | rounds | one thread | µs |')
    print('|---|---|---|---|---|---|---|')
    for bar in BARS:
        cells = describe(bar, results, missing)
        print(f"| {bar.about} | {bar.bar:g} | {' | '.join(cells)} |")
    print(f'| instructions per short session in user space | recorded | {total} | | |')
    return results
