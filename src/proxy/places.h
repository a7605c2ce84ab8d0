/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

/*
 * A number of places, taken and given back by any thread without a lock, and never more of them
 * taken than there are. Who changes it and then looks whether somebody wants to know can't miss him
 * who says so and then reads it: all is in one order.
 */

/* Embedded in its owner, on a cache line of its own, since every session writes to it. */
typedef struct Places {
        unsigned taken __attribute__((aligned(64))); /* atomic */
} Places;

/* Takes one of @max places (0: no limit). False when all are taken. */
static inline bool
places_reserve(Places *places, unsigned max)
{
        unsigned taken = __atomic_load_n(&places->taken, __ATOMIC_SEQ_CST);

        do {
                if (max > 0 && taken >= max)
                        return false;
        } while (!__atomic_compare_exchange_n(&places->taken, &taken, taken + 1, true,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));

        return true;
}

/* Gives one back. */
static inline void
places_release(Places *places)
{
        unsigned before = __atomic_fetch_sub(&places->taken, 1, __ATOMIC_SEQ_CST);

        g_assert(before > 0);
}

/* Takes one where there is no limit. */
static inline void
places_add(Places *places)
{
        __atomic_add_fetch(&places->taken, 1, __ATOMIC_SEQ_CST);
}

static inline unsigned
places_get_taken(const Places *places)
{
        return __atomic_load_n(&places->taken, __ATOMIC_SEQ_CST);
}
