/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/log-record.h"

/*
 * Records on their way to one log server: those that were taken to be written, that the kernel has,
 * and that the server's kernel has only just acknowledged. When the connection breaks they are
 * written once more.
 *
 * Places are counts of bytes since a connection began.
 */

#define SYSLOG_FLIGHT_DOUBT      (10 * G_TIME_SPAN_SECOND)
#define SYSLOG_FLIGHT_DOUBT_SIZE (32 * 1024 * 1024)

/* Embedded in its owner; all zero at first. */
typedef struct SyslogFlight {
        GArray *items; /* NULL while there are none */
        guint first;
        guint n_written; /* from the first on: in this connection */
        guint n_placed;  /* of these: whose end is known */
        guint n_acked;   /* of these: that the server's kernel has */
        uint64_t acked_place;
        uint32_t sequence; /* of the last one */
} SyslogFlight;

/* Takes @record as the next one. */
void syslog_flight_add(SyslogFlight *flight, LogRecord *record);

/* The next one to be written, which is borrowed, and its sequenceId; NULL when there is none. It
 * counts as written from now on. */
const LogRecord *syslog_flight_write(SyslogFlight *flight, uint32_t *sequence);

/* The last one that was written can't be, in no connection. */
void syslog_flight_drop_last(SyslogFlight *flight);

/* All that was written, but for the last @n_kept, is delivered as far as anybody will ever know. */
void syslog_flight_drop_written(SyslogFlight *flight, guint n_kept);

/* All that was written ends at @place. */
void syslog_flight_note_place(SyslogFlight *flight, uint64_t place);

/* The server's kernel has everything before @place. */
void syslog_flight_acknowledge(SyslogFlight *flight, uint64_t place, gint64 now);

/* Lets go of what was acknowledged long enough ago, or is further back than the server can have
 * left unread, which is @unread or SYSLOG_FLIGHT_DOUBT_SIZE. */
void syslog_flight_expire(SyslogFlight *flight, gint64 now, uint64_t unread);

/* The connection is over: what remains is to be written again. After a clean end of the server's
 * that is what its kernel did not acknowledge, otherwise also what it did in the last seconds, for
 * the server may not have read it. */
void syslog_flight_rewind(SyslogFlight *flight, bool is_clean);

/* How many the server's kernel doesn't have. */
guint syslog_flight_get_unacked(const SyslogFlight *flight);

/* How many are still to be written. */
guint syslog_flight_get_unwritten(const SyslogFlight *flight);

/* How many there are in all. */
guint syslog_flight_get_n(const SyslogFlight *flight);

void syslog_flight_clear(SyslogFlight *flight);
