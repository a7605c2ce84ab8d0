/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Levenshtein's distance, case left out: how many letters are to be changed, added or left out to
 * make one word of the other. A third of the letters may differ; beyond that it is another word.
 */

#include "daemon/nearest.h"

#include <stdbool.h>
#include <string.h>

#include <glib.h>

#define NEAREST_LENGTH_MAX 64

static size_t
distance(const char *a, const char *b)
{
        size_t n = strlen(b), row[NEAREST_LENGTH_MAX + 1];

        for (size_t j = 0; j <= n; j++)
                row[j] = j;

        for (size_t i = 0; a[i]; i++) {
                size_t diagonal = row[0];

                row[0] = i + 1;
                for (size_t j = 0; j < n; j++) {
                        bool differs = g_ascii_tolower(a[i]) != g_ascii_tolower(b[j]);
                        size_t changed = diagonal + differs;

                        diagonal = row[j + 1];
                        row[j + 1] = MIN(changed, MIN(row[j], diagonal) + 1);
                }
        }

        return row[n];
}

void
nearest_init(Nearest *nearest, const char *text)
{
        *nearest = (Nearest){ .text = text, .distance = (strlen(text) + 2) / 3 + 1 };
}

void
nearest_offer(Nearest *nearest, const char *candidate)
{
        size_t n = strlen(nearest->text), m = strlen(candidate), d;

        if (n > NEAREST_LENGTH_MAX || m > NEAREST_LENGTH_MAX)
                return;

        d = distance(nearest->text, candidate);
        if (d < nearest->distance) {
                nearest->best = candidate;
                nearest->distance = d;
        }
}
