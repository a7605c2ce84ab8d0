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
        unsigned n_tried;
        unsigned first;  /* whose turn it was */
        uint64_t *tried; /* a bit for each server; made for the second try, since most need only one
                          */
} Balance;

/* The server to try next, by the route's Mode=; NULL when each has been tried. It may be full. */
ServerSettings *balance_next(Balance *balance, RouteSettings *route);

/* Forgets what was tried. */
void balance_clear(Balance *balance);
