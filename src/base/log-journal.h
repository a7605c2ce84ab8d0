/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* The journal as a sink: its native protocol, fields and all, as GLib speaks it. */

/* True when stderr is a stream that the journal reads. */
bool log_journal_has_stderr(void);

/* Sends one record; blocks while the journal's queue is full. False when there is no journal or it
 * did not take the record. */
bool log_journal_write(GLogLevelFlags level, const GLogField *fields, size_t n_fields);
