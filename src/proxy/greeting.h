/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include "net/stream.h"
#include "proxy/record.h"

/* What comes before a client's first byte: TLS, where its listener wants it. */

typedef enum GreetingResult {
        GREETING_WAIT,
        GREETING_DONE,
        GREETING_GONE,   /* the client went, or broke */
        GREETING_PLAIN,  /* it doesn't speak TLS: it can be told plainly */
        GREETING_FAILED, /* it has been told why by an alert; nothing is left but to await its end
                          */
        GREETING_SHORT,  /* there is no memory for it */
} GreetingResult;

/* Goes on: to be called at first and after every event of @client, while it says WAIT. What it has
 * come to is noted in @record. */
GreetingResult greeting_run(Stream *client, Record *record);
