/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

/*
 * A condition that is logged when it begins and when it is over, and not each time that it is met:
 * under a load that stays at a limit, that would be twice a session. Any thread.
 */

#define NOTICE_CALM (5 * G_TIME_SPAN_SECOND) /* it is over when it was not met for so long */

/* Embedded in its owner; all zero at first. */
typedef struct Notice {
        gint64 last; /* atomic: when it was last met; 0 while it isn't on */
} Notice;

/* The condition is met; true when that is news. */
static inline bool
notice_raise(Notice *notice, gint64 now)
{
        return __atomic_exchange_n(&notice->last, now, __ATOMIC_RELAXED) == 0;
}

/* The condition isn't met; true when it was on and is now over. */
static inline bool
notice_lower(Notice *notice, gint64 now)
{
        gint64 last = __atomic_load_n(&notice->last, __ATOMIC_RELAXED);

        return last != 0 && now - last >= NOTICE_CALM &&
               __atomic_compare_exchange_n(&notice->last, &last, 0, false, __ATOMIC_RELAXED,
                                           __ATOMIC_RELAXED);
}
