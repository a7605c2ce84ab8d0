/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "net/stream.h"
#include "proxy/answer.h"
#include "proxy/record.h"
#include "proxy/relay.h"

/*
 * Who ended a session, after which command, and what Asterisk makes of it.
 */

/* Finds that out for @record, of a session that @relay or @answer, or neither, had the dialogue of,
 * and logs it; they must not have been cleared. */
void ending_log(Record *record,
                const Relay *relay,
                const Answer *answer,
                const Settings *settings,
                gint64 now);

/* Ends a session that there is no memory for, of the process or of the kernel, and notes it in
 * @record: the server is reset, and the client told FAILURE, if its kernel takes that at once; then
 * only its end is to be awaited. False when it doesn't: then the client sees a reset. */
bool ending_run_short(Record *record,
                      Relay *relay,
                      const Answer *answer,
                      Stream *client,
                      Stream *server);
