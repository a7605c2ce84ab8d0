/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

/*
 * How long to wait before trying again what has failed: twice as long each time, up to a bound, and
 * never exactly so long, lest many that failed together try again together.
 */

#define BACKOFF_FIRST G_TIME_SPAN_SECOND
#define BACKOFF_MAX   G_TIME_SPAN_MINUTE

/* After @failures in a row, 1 or more; @random is one from 0 to 1. From half of the time to all of
 * it. */
gint64 backoff_get_delay(unsigned failures, double random);
