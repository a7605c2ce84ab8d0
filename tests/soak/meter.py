# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured while a soak runs, and whether memory grew.

The slope of memory is that of least squares, in bytes an hour. Samples that follow each other are
alike, so its standard error is widened: with r the correlation of neighbours in the residuals, n
samples count as n (1 - r) / (1 + r). Beside it stands Theil and Sen's slope, the median of those
between any two samples, which a single jump doesn't move.

Memory has grown when all of it says so: the slope is more than three standard errors above zero,
Theil and Sen's is above zero too, and the growth over the whole window is more than FLOOR bytes for
each session in it. malloc() has no block below 32 bytes, so a leak of one in every eighth session
is above that floor, and pages that the kernel or malloc() hands out once are not.
"""

import math
import os
import re
import statistics

FLOOR = 4
FEWEST = 72  # samples, of a run of 18 minutes; with less it may still be coming to rest


def read_memory(pid):
    """Resident and anonymous bytes."""
    with open('/proc/%d/smaps_rollup' % pid, encoding='ascii') as file:
        text = file.read()
    return tuple(int(re.search(rf'^{name}:\s+(\d+) kB', text, re.M)[1]) * 1024
                 for name in ('Rss', 'Anonymous'))


def read_threads(pid):
    return len(os.listdir('/proc/%d/task' % pid))


def fit(times, values):
    """Least squares: the slope and its standard error, for samples that are like their neighbours."""
    n = len(times)
    middle, mean = statistics.fmean(times), statistics.fmean(values)
    spread = sum((time - middle) ** 2 for time in times)
    slope = sum((time - middle) * (value - mean) for time, value in zip(times, values)) / spread
    rest = [value - mean - slope * (time - middle) for time, value in zip(times, values)]
    squares = sum(value ** 2 for value in rest)
    if not squares:
        return slope, 0.0
    likeness = sum(a * b for a, b in zip(rest, rest[1:])) / squares
    likeness = min(max(likeness, 0.0), 1 - 2 / n)
    counts = max(n * (1 - likeness) / (1 + likeness), 3)
    return slope, math.sqrt(squares / (counts - 2 + 1e-9) / spread)


def fit_median(times, values):
    """Theil and Sen's slope."""
    return statistics.median((values[j] - values[i]) / (times[j] - times[i])
                             for i in range(len(times)) for j in range(i + 1, len(times)))


def judge_memory(samples, key, sessions):
    """How `key` went over the samples, in which there were so many sessions; None when they are
    too few."""
    if len(samples) < FEWEST:
        return None
    times = [sample['time'] for sample in samples]
    values = [sample[key] for sample in samples]
    slope, error = fit(times, values)
    median = fit_median(times, values)
    growth = slope * (times[-1] - times[0])
    return {
        'what': key, 'samples': len(samples), 'seconds': round(times[-1] - times[0]),
        'first': values[0], 'last': values[-1], 'least': min(values), 'most': max(values),
        'slope': round(slope * 3600), 'error': round(error * 3600),
        'theil_sen': round(median * 3600), 'growth': round(growth), 'sessions': sessions,
        'grew': bool(slope > 3 * error and median > 0 and growth > FLOOR * sessions),
    }
