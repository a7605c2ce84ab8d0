/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "base/log-record.h"

/*
 * Against floods: of what is said of one subject (a server that is down, sessions that fail for one
 * reason on one route) only so many records go out in an interval. The others are counted, and the
 * count is logged at the interval's end. While that goes on, each further interval has one record
 * and a count.
 *
 * What a subject is, whoever logs says by the fields that are the same each time. Their number is
 * bounded: when many subjects are on at once, the rest share one. Any thread.
 */

#define LOG_LIMIT_BURST    20
#define LOG_LIMIT_INTERVAL (10 * G_TIME_SPAN_SECOND)

/* Takes effect from the next interval of each subject on. @burst 0: no limit. */
void log_limit_configure(unsigned burst, gint64 interval);

typedef enum LogLimitResult {
        LOG_LIMIT_PASSES,
        LOG_LIMIT_COUNTED,
        LOG_LIMIT_BEGINS, /* counted, as the first one of its interval: the due time may be nearer
                             now */
} LogLimitResult;

/* Whether a record about the subject that @fields make is logged at @now or counted; all are kept
 * for the count's record but MESSAGE, which goes into its text. */
LogLimitResult log_limit_take(GLogLevelFlags level,
                              const GLogField *fields,
                              size_t n_fields,
                              gint64 now);

/* The same for any record: its subject is its MESSAGE_ID with the fields that name things which are
 * configured, or if it has no MESSAGE_ID, its message. Kinds that only an operator can cause, and
 * those below notice, pass always. */
LogLimitResult log_limit_take_event(GLogLevelFlags level,
                                    const GLogField *fields,
                                    size_t n_fields,
                                    gint64 now);

/* When the next interval with a count ends; G_MAXINT64 when there is none. */
gint64 log_limit_get_due(void);

/* The record of a count whose interval has ended by @now, or with @all has not, which begins the
 * next interval; NULL when there is none. It is the caller's to unref. */
LogRecord *log_limit_take_count(gint64 now, bool all);
