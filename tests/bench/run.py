#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares agitator with a bare relay, HAProxy, nginx, stunnel and the Go program.

Every round measures each proxy once, in an order that turns from round to round, so that what the
machine does meanwhile falls on all of them. data/doc/benchmarks.md tells how to read the numbers.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import bars
import tables
from bench import Bench
from proxies import BenchError, find_program
from scenarios import SCENARIOS

JOURNAL = pathlib.Path(__file__).with_name('journal.py')
SKIPPED = 77  # for meson: there was nothing that could be measured


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--agitator', metavar='PATH', help='the program under test')
    parser.add_argument('--tools', metavar='DIR', required=True, help='where bench-load is')
    parser.add_argument('--go', metavar='PATH', help='the Go program, to be compared too')
    parser.add_argument('--bars', action='store_true', help='what is asked of it, in one table')
    parser.add_argument('--scenario', action='append', choices=list(SCENARIOS), dest='scenarios')
    parser.add_argument('--proxy', action='append', dest='proxies', help='only these')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--scale', type=float, default=1.0, help='of the number of sessions')
    parser.add_argument('--pin', metavar='CPU', type=int, help='for the proxies alone')
    parser.add_argument('--json', metavar='FILE', help='write every measured value there')
    options = parser.parse_args()
    if options.bars and not options.agitator:
        parser.error('--bars needs --agitator')
    return options


def run_scenarios(bench, options):
    results = {}
    for name in options.scenarios or SCENARIOS:
        scenario = SCENARIOS[name]
        if scenario.missing():
            print(f'\n{name} is left out: {scenario.missing()}')
            continue
        results[name] = bench.run(scenario, options.proxies)
        tables.print_table(results[name], scenario.references)
    return results


def enter_journal(options):
    """Begins again beside a journal that counts, where that is needed and can be done."""
    names = list(SCENARIOS) if options.bars else options.scenarios or SCENARIOS
    needing = [SCENARIOS[name] for name in names if SCENARIOS[name].needs_journal]
    if 'BENCH_JOURNAL' in os.environ or not needing or needing[0].missing_program():
        return
    can_be = subprocess.run([find_program('unshare'), '--mount', '--net', 'true'],
                            capture_output=True, check=False)
    if can_be.returncode == 0:
        os.execv(sys.executable, [sys.executable, str(JOURNAL), sys.executable, *sys.argv])


def main():
    options = parse_options()
    enter_journal(options)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and so ends what was started
    with tempfile.TemporaryDirectory(prefix='agitator-bench-') as directory:
        try:
            bench = Bench(options, directory)
            results = bars.print_bars(bench) if options.bars else run_scenarios(bench, options)
        except BenchError as error:
            print(f'run.py: {error}', file=sys.stderr)
            return 1
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1) + '\n')
    return 0 if results else SKIPPED


if __name__ == '__main__':
    sys.exit(main())
