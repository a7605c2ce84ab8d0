/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "base/log-record.h"

/* The journal as a sink, in its native protocol: each record with all its fields. What could forge
 * something in them is escaped, since journalctl shows some of it as it is. */

/* True when stderr is a stream that the journal reads. */
bool log_journal_has_stderr(void);

/* Appends a record in the native protocol to @text: a line for each field. */
void log_journal_format(GString *text, const LogRecord *record);

/* Sends the first @n records of a list, in their order, and returns how many of them the journal
 * took; the one after these it did not. Waits for as long as the journal's queue is full, or for
 * @patience microseconds each time if that is not negative. Any thread. */
size_t log_journal_send(const LogRecord *records, size_t n, gint64 patience);
