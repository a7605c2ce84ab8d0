/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "proxy/settings.h"

/*
 * In which order a session tries a route's servers, each at most once.
 */

/* What a session has tried so far; embedded in it, all zero at first. */
typedef struct Balance {
        unsigned first; /* whose turn it was */
        unsigned n_tried : 29;
        unsigned has_many : 1;
        unsigned all_full : 1; /* they were, when the first was looked for */
        unsigned is_short : 1; /* there is no memory for what follows: nothing more is tried */

        /* A bit for each server. */
        union {
                uint64_t few;
                uint64_t *many; /* where there are more than that has */
        } tried;
} Balance;

/* The server to try next, by the route's Mode=; NULL when each has been tried, or when there is no
 * memory to know which have (is_short). It may be full. */
ServerSettings *balance_next(Balance *balance, RouteSettings *route);

/* Forgets what was tried. */
void balance_clear(Balance *balance);
