/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "proxy/inbox.h"
#include "proxy/record.h"
#include "proxy/settings.h"

/*
 * The dialogue of one session for the log, line by line, as Debug= and Level=debug ask for it:
 * each line as it came, with its direction and the time since the session's begin, and with the
 * values of variables in Redact= hidden. Most sessions have none.
 */

typedef struct Trace Trace;

typedef enum TraceDirection {
        TRACE_FROM_CLIENT,
        TRACE_FROM_SERVER,
        TRACE_FROM_AGITATOR, /* to the client */
} TraceDirection;

/* Whether Debug= asks for all sessions of @client, or of @listener (NULL: none). */
bool trace_is_asked_for(const Settings *settings,
                        const ListenerSettings *listener,
                        const Address *client);

/* Of the session that @record is of; both must outlive it. */
Trace *trace_new(const Record *record, const Settings *settings);

/* Logs what there still is of a line, and ends it. NULL is fine. */
void trace_free(Trace *trace);

/* Logs the environment in @inbox, or the whole lines that there are of it. */
void trace_environment(Trace *trace, const Inbox *inbox);

/* Logs the lines that end in these bytes; the rest is kept until its line does. */
void trace_bytes(Trace *trace, TraceDirection direction, const char *data, size_t size);
