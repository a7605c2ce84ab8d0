/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "net/stream.h"
#include "proxy/phase.h"
#include "proxy/record.h"

/*
 * Who ended a session, after which command, and what Asterisk makes of it.
 */

/* Finds that out for @record, which gets the bytes that went through, too, and logs it. What it is
 * found by must not have been cleared. */
void ending_log(Record *record, const Phase *phase, const Settings *settings, gint64 now);

/* Ends a session that there is no memory for, of the process or of the kernel, or something else
 * that it needs, as @error says, and notes it in @record: the server is reset, and the client told
 * FAILURE, if its kernel takes that at once; then only its end is to be awaited. False when it
 * doesn't: then the client sees a reset. */
bool ending_run_short(Record *record, int error, Phase *phase, Stream *client, Stream *server);
