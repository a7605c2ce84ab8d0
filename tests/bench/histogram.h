/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdint.h>
#include <stdio.h>

/* Times in nanoseconds, counted in buckets that are at most 1.6 % wide; so any number of them costs
 * the same memory. */

#define HISTOGRAM_BUCKETS (58 * 64)

typedef struct Histogram {
        uint64_t counts[HISTOGRAM_BUCKETS];
        uint64_t total;
        int64_t max;
} Histogram;

void histogram_add(Histogram *histogram, int64_t time);

/* `"NAME": {"count": …, "p50": …, "p90": …, "p99": …, "p99.9": …, "max": …}`, in microseconds. */
void histogram_print(const Histogram *histogram, const char *name, FILE *file);
