/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "base/backoff.h"

gint64
backoff_get_delay(unsigned failures, double random)
{
        gint64 delay = BACKOFF_FIRST;

        g_assert(failures > 0);
        while (--failures > 0 && delay < BACKOFF_MAX)
                delay *= 2;
        delay = MIN(delay, BACKOFF_MAX) / 2;

        return delay + (gint64)((double)delay * random);
}
