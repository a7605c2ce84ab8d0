/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A hierarchical timing wheel. Time is counted in ticks of 1.024 ms. Level 0 has a slot for each of
 * the next 64 ticks, each slot of level 1 stands for 64 of those, and so on; nine levels reach
 * farther than any clock. An entry goes where the highest bit in which its tick differs from now
 * says; when the wheel comes to a slot of a higher level, that slot's entries move down, at most
 * once a level. A bit for each slot that is in use finds the next one without a search.
 */

#include "base/wheel.h"

#define TICK_SHIFT  10
#define LEVEL_SHIFT 6
#define SLOT_MASK   (WHEEL_SLOTS - 1)
#define FARTHEST    ((UINT64_C(1) << (WHEEL_LEVELS * LEVEL_SHIFT)) - 1)

static uint64_t
tick_of(gint64 time)
{
        return (uint64_t)time >> TICK_SHIFT;
}

static void
entry_link(WheelEntry **head, WheelEntry *entry)
{
        entry->next = *head;
        if (entry->next)
                entry->next->link = &entry->next;
        entry->link = head;
        *head = entry;
}

static void
entry_unlink(WheelEntry *entry)
{
        *entry->link = entry->next;
        if (entry->next)
                entry->next->link = entry->link;
        entry->next = NULL;
        entry->link = NULL;
}

/* Puts @entry where its tick belongs as seen from wheel->tick. */
static void
wheel_place(Wheel *wheel, WheelEntry *entry)
{
        uint64_t differs = entry->tick ^ wheel->tick;
        unsigned level = differs ? (63 - (unsigned)__builtin_clzll(differs)) / LEVEL_SHIFT : 0;
        unsigned index;

        g_assert(level < WHEEL_LEVELS);
        index = (entry->tick >> (level * LEVEL_SHIFT)) & SLOT_MASK;
        entry->slot = level * WHEEL_SLOTS + index;
        wheel->occupied[level] |= UINT64_C(1) << index;
        entry_link(&wheel->slots[entry->slot], entry);
}

static void
wheel_note_empty(Wheel *wheel, unsigned slot)
{
        if (!wheel->slots[slot])
                wheel->occupied[slot / WHEEL_SLOTS] &= ~(UINT64_C(1) << (slot & SLOT_MASK));
}

/* The first tick at which something has to be done, and the slot it is done in. */
static bool
wheel_find(const Wheel *wheel, uint64_t *tick, unsigned *slot)
{
        for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
                unsigned shift = level * LEVEL_SHIFT;
                unsigned index = (wheel->tick >> shift) & SLOT_MASK;
                uint64_t ahead = wheel->occupied[level] & (~UINT64_C(0) << index);

                if (!ahead)
                        continue;

                /* A lower level's slots all lie before the next one of a higher level. */
                index = (unsigned)__builtin_ctzll(ahead);
                *slot = level * WHEEL_SLOTS + index;
                *tick = (wheel->tick >> (shift + LEVEL_SHIFT) << LEVEL_SHIFT | index) << shift;
                *tick = MAX(*tick, wheel->tick);
                return true;
        }

        return false;
}

void
wheel_init(Wheel *wheel, gint64 now)
{
        *wheel = (Wheel){ .tick = tick_of(now) };
}

void
wheel_add(Wheel *wheel, WheelEntry *entry, gint64 due)
{
        uint64_t farthest = wheel->tick | FARTHEST;

        g_assert(!entry->link);

        /* Rounded up, so that nothing fires early. What lies beyond the last level waits at its
         * end. */
        entry->tick = CLAMP(tick_of(MAX(due, 0)) + 1, wheel->tick, farthest);
        wheel_place(wheel, entry);
}

void
wheel_remove(Wheel *wheel, WheelEntry *entry)
{
        if (!entry->link)
                return;

        entry_unlink(entry);
        wheel_note_empty(wheel, entry->slot);
}

gint64
wheel_next(const Wheel *wheel)
{
        unsigned slot;
        uint64_t tick;

        if (wheel->expired)
                return 0;
        if (!wheel_find(wheel, &tick, &slot))
                return G_MAXINT64;

        return (gint64)(tick << TICK_SHIFT);
}

WheelEntry *
wheel_expire(Wheel *wheel, gint64 now)
{
        uint64_t now_tick = MAX(tick_of(now), wheel->tick);
        WheelEntry *entry;
        unsigned slot;
        uint64_t tick;

        while (!wheel->expired) {
                if (!wheel_find(wheel, &tick, &slot) || tick > now_tick) {
                        wheel->tick = now_tick;
                        return NULL;
                }

                /* Level 0: their time has come. A higher level: they move down. */
                wheel->tick = tick;
                while ((entry = wheel->slots[slot])) {
                        entry_unlink(entry);
                        if (slot < WHEEL_SLOTS)
                                entry_link(&wheel->expired, entry);
                        else
                                wheel_place(wheel, entry);
                }
                wheel_note_empty(wheel, slot);
        }

        entry = wheel->expired;
        entry_unlink(entry);

        return entry;
}
