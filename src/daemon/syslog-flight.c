/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Syslog has no acknowledgements, but TCP has, of the server's kernel. What it has not acknowledged
 * when the connection ends, the server has not got. What it has acknowledged the server has read,
 * if it closed the connection and there was no reset, for a close with bytes unread makes one. Even
 * then it may have had some in a buffer of its own (syslog-ng has 32 KiB of them, and ends without
 * a look). After a reset nobody knows how much was unread: then the last few seconds are sent once
 * more. sequenceId tells the copies.
 */

#include "daemon/syslog-flight.h"

typedef struct Item {
        LogRecord *record;
        uint64_t place; /* of its end */
        gint64 acked;   /* when */
        uint32_t sequence;
} Item;

static Item *
flight_get(const SyslogFlight *flight, guint i)
{
        g_assert(flight->items);
        return &g_array_index(flight->items, Item, flight->first + i);
}

guint
syslog_flight_get_n(const SyslogFlight *flight)
{
        return flight->items ? flight->items->len - flight->first : 0;
}

guint
syslog_flight_get_unacked(const SyslogFlight *flight)
{
        return syslog_flight_get_n(flight) - flight->n_acked;
}

guint
syslog_flight_get_unwritten(const SyslogFlight *flight)
{
        return syslog_flight_get_n(flight) - flight->n_written;
}

void
syslog_flight_add(SyslogFlight *flight, LogRecord *record)
{
        Item item = { .record = record };

        /* RFC 5424, 7.3.1: from 1 on, and again after 2^31 - 1. */
        flight->sequence = flight->sequence == G_MAXINT32 ? 1 : flight->sequence + 1;
        item.sequence = flight->sequence;
        if (!flight->items)
                flight->items = g_array_new(FALSE, FALSE, sizeof(Item));
        g_array_append_val(flight->items, item);
}

const LogRecord *
syslog_flight_write(SyslogFlight *flight, uint32_t *sequence)
{
        const Item *item;

        if (flight->n_written == syslog_flight_get_n(flight))
                return NULL;

        item = flight_get(flight, flight->n_written++);
        *sequence = item->sequence;

        return item->record;
}

static void
flight_drop_first(SyslogFlight *flight)
{
        Item *item = flight_get(flight, 0);

        flight->n_acked -= flight->n_acked > 0;
        flight->n_placed -= flight->n_placed > 0;
        flight->n_written -= flight->n_written > 0;
        log_record_unref(item->record);
        flight->first++;

        /* So that dropping all costs no more than their number. */
        if (flight->first >= 256 && flight->first > flight->items->len / 2) {
                g_array_remove_range(flight->items, 0, flight->first);
                flight->first = 0;
        }
        if (syslog_flight_get_n(flight) == 0) {
                g_array_unref(flight->items);
                flight->items = NULL;
                flight->first = 0;
        }
}

void
syslog_flight_drop_last(SyslogFlight *flight)
{
        Item *item;

        g_assert(flight->n_written > flight->n_placed);
        item = flight_get(flight, --flight->n_written);
        log_record_unref(item->record);
        g_array_remove_index(flight->items, flight->first + flight->n_written);
        if (syslog_flight_get_n(flight) == 0)
                syslog_flight_clear(flight);
}

void
syslog_flight_drop_written(SyslogFlight *flight, guint n_kept)
{
        while (flight->n_written > n_kept)
                flight_drop_first(flight);
}

void
syslog_flight_note_place(SyslogFlight *flight, uint64_t place)
{
        while (flight->n_placed < flight->n_written)
                flight_get(flight, flight->n_placed++)->place = place;
}

void
syslog_flight_acknowledge(SyslogFlight *flight, uint64_t place, gint64 now)
{
        while (flight->n_acked < flight->n_placed) {
                Item *item = flight_get(flight, flight->n_acked);

                if (item->place > place)
                        break;
                item->acked = now;
                flight->n_acked++;
                flight->acked_place = item->place;
        }
}

/* Lets go of what was acknowledged so long ago, or is so many bytes back. */
static void
flight_drop_acked(SyslogFlight *flight, gint64 now, gint64 age, uint64_t size)
{
        while (flight->n_acked > 0 && (flight->acked_place - flight_get(flight, 0)->place > size ||
                                       now - flight_get(flight, 0)->acked >= age))
                flight_drop_first(flight);
}

void
syslog_flight_expire(SyslogFlight *flight, gint64 now, uint64_t unread)
{
        flight_drop_acked(flight, now, SYSLOG_FLIGHT_DOUBT, MIN(unread, SYSLOG_FLIGHT_DOUBT_SIZE));
}

void
syslog_flight_rewind(SyslogFlight *flight, SyslogFlightEnd end, gint64 now)
{
        switch (end) {
        case SYSLOG_FLIGHT_CLOSED:
                flight_drop_acked(flight, now, 0, 0);
                break;
        case SYSLOG_FLIGHT_ENDED:
                flight_drop_acked(flight, now, SYSLOG_FLIGHT_HANDS, SYSLOG_FLIGHT_HANDS_SIZE);
                break;
        case SYSLOG_FLIGHT_BROKEN:
                break;
        }

        flight->n_written = 0;
        flight->n_placed = 0;
        flight->n_acked = 0;
        flight->acked_place = 0;
}

void
syslog_flight_clear(SyslogFlight *flight)
{
        while (syslog_flight_get_n(flight) > 0)
                flight_drop_first(flight);
        g_clear_pointer(&flight->items, g_array_unref);
        flight->first = 0;
        flight->n_written = flight->n_placed = flight->n_acked = 0;
        flight->acked_place = 0;
}
