# SPDX-License-Identifier: GPL-3.0-or-later
"""Medians, spread and ratios of what was measured: {proxy: [{metric: value}, one for each round]}.

A ratio is the median of those within a round, so that a slow round counts for both. "haproxy" is the
better of one and two threads, in each round and for each metric by itself.
"""

import statistics
import sys

HAPROXY = 'haproxy'
BOTH = ('haproxy-1', 'haproxy-2')


def has(values, name):
    return all(one in values for one in (BOTH if name == HAPROXY else (name,)))


def series(values, name, metric):
    """One value for each round. What was not seen at all, a system call say, is 0."""
    if name != HAPROXY:
        return [value.get(metric, 0) for value in values[name]]
    best = max if metric.endswith('s/s') else min
    return [best(pair) for pair in zip(*(series(values, one, metric) for one in BOTH))]


def ratios(values, name, other, metric):
    return [mine / theirs if theirs else float('nan')
            for mine, theirs in zip(series(values, name, metric), series(values, other, metric))]


def spread(numbers):
    """Half the distance between the quartiles."""
    if len(numbers) < 2:
        return 0.0
    quartiles = statistics.quantiles(numbers, n=4, method='inclusive')
    return (quartiles[2] - quartiles[0]) / 2


def print_table(values, references):
    references = [name for name in references if has(values, name)]
    metrics = dict.fromkeys(m for rounds in values.values() for value in rounds for m in value)
    head = ''.join(f" {':' + name:>14}" for name in references)
    for metric in metrics:
        print(f"\n{metric:28} {'median':>10} {'spread':>8} {'min':>10}" + head)
        for name in values:
            numbers = series(values, name, metric)
            line = f'  {name:26} {statistics.median(numbers):10.2f} {spread(numbers):8.2f}'
            line += f' {min(numbers):10.2f}'
            for other in references:
                line += f' {statistics.median(ratios(values, name, other, metric)):14.3f}'
            print(line)
    sys.stdout.flush()
