/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

/*
 * Deadlines in the order of their time: add, remove and expire cost the same whether there are ten
 * or a hundred thousand. Times are microseconds of any one clock that the caller passes in; a
 * deadline fires at its time or up to 1.1 ms later, never early. One thread.
 */

#define WHEEL_LEVELS 9
#define WHEEL_SLOTS  64

typedef struct WheelEntry WheelEntry;

/* Embedded in its owner; all zero when not in a wheel. */
struct WheelEntry {
        WheelEntry *next;
        WheelEntry **link; /* what points at this entry; NULL when not in a wheel */
        uint64_t tick;
        uint16_t slot; /* level * WHEEL_SLOTS + index */
};

typedef struct Wheel {
        uint64_t tick; /* every earlier tick has been expired */
        uint64_t occupied[WHEEL_LEVELS];
        WheelEntry *slots[WHEEL_LEVELS * WHEEL_SLOTS];
        WheelEntry *expired;
} Wheel;

void wheel_init(Wheel *wheel, gint64 now);

/* Puts @entry, which must not be in a wheel, where it expires at @due. */
void wheel_add(Wheel *wheel, WheelEntry *entry, gint64 due);

/* Takes @entry out again; nothing happens when it is in no wheel. */
void wheel_remove(Wheel *wheel, WheelEntry *entry);

/* The time at which wheel_expire() should be called next, G_MAXINT64 when the wheel is empty. */
gint64 wheel_next(const Wheel *wheel);

/* Takes out and returns one entry whose time has come by @now; NULL when there is none (left). */
WheelEntry *wheel_expire(Wheel *wheel, gint64 now);
