#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the instructions that a short session takes in user space, and says by how much a change
moved them.

usage: instructions.py --tools DIR --agitator PATH [--against PATH] [--rounds N]

Under callgrind, two runs that differ in nothing but the number of sessions, one after the other, on
one worker: their difference is what the sessions took, without start and stop. With --against the
same of another build by turns, the ratio, and the functions that made the difference. What else the
machine does hardly matters: it changes how much time passes, and so how often deadlines are looked
at.
"""

import argparse
import collections
import pathlib
import re
import statistics
import sys
import tempfile

from bench import Bench
from proxies import Agitator, BenchError, find_program
from scenarios import Arm, Scenario
from tables import spread

RUNS = (200, 1200)  # sessions
SLOWNESS = 6  # of whatever runs under valgrind
FUNCTIONS = 12  # shown
SKIPPED = 77  # for meson


class CountedAgitator(Agitator):
    """Under callgrind, which adds up when it ends."""

    def start(self):
        self.out = self.directory / 'callgrind.out'
        self.out.unlink(missing_ok=True)
        super().start()

    def make_command(self):
        return [find_program('valgrind'), '--tool=callgrind', f'--callgrind-out-file={self.out}',
                *super().make_command()]


def read_counts(path):
    """{function: instructions in itself} of a file of callgrind's, in which a name stands once and
    is a number from then on, and what calls cost, after a line of calls=, isn't the caller's own."""
    names, counts, function, is_call = {}, collections.Counter(), '', False
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        match = re.match(r'c?fn=(\(\d+\))(?: (.*))?$', line)
        if match:
            names.setdefault(match[1], match[2])
            if line.startswith('fn='):
                function = names[match[1]]
        elif line.startswith('calls='):
            is_call = True
        elif re.match(r'[+*\d-]', line):
            if not is_call:
                counts[function] += int(line.split()[1])
            is_call = False
    return counts


def count_once(bench, program, name):
    arm = Arm(lambda bench, place, job: CountedAgitator(place, job, program, threads='1'))
    found = []
    for sessions in RUNS:
        scenario = Scenario(f'{name}-{sessions}', '3 commands, one session at a time',
                            ['--path=ivr/k3', '--concurrency=1'], sessions, {name: arm})
        server = bench.start_server(scenario)
        proxy = bench.make_proxies(scenario, server, ())[0]
        proxy.patience *= SLOWNESS
        try:
            proxy.start()
            bench.load(proxy, scenario, sessions)
        finally:
            proxy.stop()
            bench.stop_server(server, tell=False)
        found.append(read_counts(proxy.out))
    return {function: (found[1][function] - found[0][function]) / (RUNS[1] - RUNS[0])
            for function in found[1]}


def count(bench, programs, rounds):
    """For each program, {function: instructions per session} of each round."""
    counts = {name: [] for name in programs}
    for number in range(rounds):
        for name, program in programs.items():
            counts[name].append(count_once(bench, program, name))
        bench.progress(f'instructions: round {number + 1} of {rounds}')
    return counts


def totals(counts):
    return [sum(round_of.values()) for round_of in counts]


def medians(counts):
    return {function: statistics.median(round_of.get(function, 0) for round_of in counts)
            for function in {name: None for round_of in counts for name in round_of}}


def print_counts(counts, against):
    total = statistics.median(totals(counts))
    moved = medians(counts)
    print(f'\n{total:.0f} instructions per short session in user space, '
          f'spread {spread(totals(counts)):.0f}')
    if against:
        other = statistics.median(totals(against))
        print(f'{other:.0f} in the other build, spread {spread(totals(against)):.0f}: '
              f'{total - other:+.0f}, {total / other:.4f} of it')
        others = medians(against)
        moved = {function: moved.get(function, 0) - others.get(function, 0)
                 for function in {**moved, **others}}
    for function in sorted(moved, key=lambda name: -abs(moved[name]))[:FUNCTIONS]:
        print(f'  {moved[function]:{"+" if against else ""}10.1f}  {function}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--agitator', required=True, help='the program')
    parser.add_argument('--against', metavar='PATH', help='another build of it')
    parser.add_argument('--tools', metavar='DIR', required=True, help='where bench-load is')
    parser.add_argument('--rounds', type=int, default=5)
    options = parser.parse_args()
    options.pin, options.scale = None, 1.0
    if not find_program('valgrind'):
        print('instructions is left out: valgrind is not installed')
        return SKIPPED
    with tempfile.TemporaryDirectory(prefix='agitator-bench-') as directory:
        try:
            bench = Bench(options, directory)
            programs = {'agitator': bench.program}
            if options.against:
                programs['against'] = pathlib.Path(options.against).resolve()
            counts = count(bench, programs, options.rounds)
            print_counts(counts['agitator'], counts.get('against'))
        except BenchError as error:
            print(f'instructions.py: {error}', file=sys.stderr)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
