/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "base/log-record.h"

/*
 * Where log records go. All code logs with GLib's g_log_structured(), g_debug() and their like,
 * from any thread; the writer behind them copies the record into a bounded queue and returns, and a
 * thread of its own hands it to the sink. So a slow or dead sink never holds up a session: what no
 * longer fits is dropped, counted, and the count logged once there is room.
 *
 * Control bytes and invalid UTF-8 that came from a peer are escaped on the way to every sink, in
 * all fields. The same failure over and over becomes a few records and a count for each interval;
 * debug records have only half of the queue.
 */

typedef enum LogTarget {
        LOG_TARGET_AUTO, /* the journal when stderr is connected to it, else the console */
        LOG_TARGET_JOURNAL,
        LOG_TARGET_CONSOLE, /* stderr: readable lines, colours only on a terminal */
} LogTarget;

/* Installs the writer and starts the thread. Once, first thing in main(): level info, target auto.
 */
void log_start(void);

/* Takes effect for every record from now on. @level: the least important that is still logged,
 * G_LOG_LEVEL_DEBUG to G_LOG_LEVEL_ERROR. Any thread. */
void log_configure(LogTarget target, GLogLevelFlags level);

/* Which sessions' records go to the journal or stderr; all of them at first. Any thread. */
void log_set_sessions(LogSessions sessions);

/* Called for each record of @level or more important, on the thread that logs it: it may take a
 * reference and must not wait for anything. One call at a time. */
typedef void (*LogTap)(void *data, LogRecord *record);

/* A further place for records to go, whatever the other ones take; NULL for none, as at first. When
 * this returns @func is not called any more that was in force before. Any thread but in a tap. */
void log_set_tap(LogTap func, void *data, GLogLevelFlags level);

/* Writes out what is queued, for two seconds at the most, and ends the thread; later records are
 * written at once by whoever logs them. */
void log_stop(void);

/* False when a record of that level would be dropped anyway: a cheap question to ask before
 * preparing one. Any thread. */
bool log_is_enabled(GLogLevelFlags level);

/* For failures that can come in any number: true when one about the subject that @fields make
 * (base/log-limit.h) is one too many for now and has been counted instead. Events, logged with a
 * MESSAGE_ID, are limited without asking. Any thread. */
bool log_is_repeated(GLogLevelFlags level, const GLogField *fields, size_t n_fields);

/* Logs @fields with a message: as g_log_structured(), but that it takes no memory of GLib's, which
 * ends the process when there is none. What sessions cause is logged this way. Any thread. */
void log_fields(GLogLevelFlags level,
                const GLogField *fields,
                size_t n_fields,
                const char *format,
                ...) G_GNUC_PRINTF(4, 5);

/* The same for the usual event: its MESSAGE_ID, and one field besides; @key NULL: none. */
void log_event(GLogLevelFlags level,
               const char *id,
               const char *key,
               const char *value,
               const char *format,
               ...) G_GNUC_PRINTF(5, 6);

/* Counts records that could not even be made, for want of memory, among those that were dropped. */
void log_count_dropped(size_t n);

/* Logs the counts of what was one too many of its subject now, rather than at the end of their
 * intervals, and tells the tap of what was dropped: before log_set_tap() takes away what should
 * still have them. Any thread. */
void log_flush_counts(void);

/* Logs at debug level, whatever level is in force. Any thread. */
void log_debug_always(const GLogField *fields, size_t n_fields);

/* How many records were dropped so far: no room in the queue, or neither the sink nor stderr took
 * them. Any thread. */
guint64 log_get_dropped(void);
