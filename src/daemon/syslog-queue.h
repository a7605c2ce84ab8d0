/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "base/log-record.h"

/*
 * Records that wait for one log server, oldest first, so many and no more. No lock of its own.
 */

/* Embedded in its owner. */
typedef struct SyslogQueue {
        LogRecord **records; /* a ring */
        size_t size;         /* of the ring */
        size_t first, n;
        size_t bytes; /* that the records take */
        size_t max_records, max_bytes;
        guint64 dropped; /* since the beginning */
} SyslogQueue;

/* For each record that may wait; a session's takes about as much. */
#define SYSLOG_QUEUE_RECORD_SIZE 2048

/* Empty; no more than @max_records may wait. */
void syslog_queue_init(SyslogQueue *queue, size_t max_records);

/* What is too much by now stays. */
void syslog_queue_set_max(SyslogQueue *queue, size_t max_records);

/* Takes a reference; false when it had to be dropped. */
bool syslog_queue_push(SyslogQueue *queue, LogRecord *record);

/* The oldest one, the caller's to unref; NULL when there is none. */
LogRecord *syslog_queue_pop(SyslogQueue *queue);

/* True when half of it is free. */
bool syslog_queue_has_room(const SyslogQueue *queue);

void syslog_queue_clear(SyslogQueue *queue);
