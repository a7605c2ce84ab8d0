/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "proxy/answer.h"
#include "proxy/record.h"
#include "proxy/relay.h"

/*
 * Who ended a session, after which command, and what Asterisk makes of it.
 */

/* Finds that out for @record, of a session that @relay or @answer, or neither, had the dialogue of;
 * they must not have been cleared. */
void ending_find(RecordEnd *end, const Record *record, const Relay *relay, const Answer *answer);
