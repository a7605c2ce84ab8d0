/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "proxy/phase.h"
#include "proxy/record.h"

/*
 * Who ended a session, after which command, and what Asterisk makes of it.
 */

/* Finds that out for @record, which gets the bytes that went through, too. What it is found by must
 * not have been cleared. */
void ending_find(RecordEnd *end, Record *record, const Phase *phase);
