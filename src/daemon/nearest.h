/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <stddef.h>

/* The known word that somebody who wrote another one may have meant. */

typedef struct Nearest {
        const char *text;
        const char *best; /* NULL while nothing came close; borrowed from nearest_offer() */
        size_t distance;
} Nearest;

void nearest_init(Nearest *nearest, const char *text);
void nearest_offer(Nearest *nearest, const char *candidate);
