/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "histogram.h"

/* Below 128 a bucket for each value; above, 64 for each power of two. */
static unsigned
bucket_of(uint64_t value)
{
        unsigned shift;

        if (value < 128)
                return (unsigned)value;
        shift = 57 - (unsigned)__builtin_clzll(value); /* leaves 64 to 127 */

        return shift * 64 + (unsigned)(value >> shift);
}

static int64_t
middle_of(unsigned bucket)
{
        unsigned shift = bucket / 64 - 1;

        if (bucket < 128)
                return bucket;

        return ((int64_t)(bucket % 64 + 64) << shift) + ((int64_t)1 << shift) / 2;
}

void
histogram_add(Histogram *histogram, int64_t time)
{
        if (time < 0)
                time = 0;
        histogram->counts[bucket_of((uint64_t)time)]++;
        histogram->total++;
        if (time > histogram->max)
                histogram->max = time;
}

static double
percentile(const Histogram *histogram, double percent)
{
        uint64_t wanted = (uint64_t)((double)histogram->total * percent / 100), seen = 0;

        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
                seen += histogram->counts[i];
                if (seen > wanted)
                        return (double)middle_of(i) / 1000;
        }

        return (double)histogram->max / 1000;
}

void
histogram_print(const Histogram *histogram, const char *name, FILE *file)
{
        fprintf(file,
                "\"%s\": {\"count\": %llu, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
                "\"p99.9\": %.1f, \"max\": %.1f}",
                name, (unsigned long long)histogram->total, percentile(histogram, 50),
                percentile(histogram, 90), percentile(histogram, 99), percentile(histogram, 99.9),
                (double)histogram->max / 1000);
}
