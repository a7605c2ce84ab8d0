/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "agi/agi-env.h"
#include "base/buffer.h"
#include "net/address.h"
#include "net/stream.h"
#include "proxy/settings.h"

/*
 * What a client has sent before its session is relayed: the environment, and whatever follows it
 * while a server is being found. It stays whole, so that one server after the other can be given
 * it.
 */

typedef enum InboxResult {
        INBOX_WAIT,     /* for more */
        INBOX_COMPLETE, /* the environment is there */
        INBOX_BAD,      /* it is beyond the limits */
        INBOX_CUT,      /* the client ended in the middle of it */
        INBOX_TLS,      /* it is TLS, which nobody speaks here */
        INBOX_GONE,     /* the client broke, or ended before the first byte */
        INBOX_SHORT,    /* there is no memory for it */
} InboxResult;

/* Embedded in its session; all zero at first. */
typedef struct Inbox {
        Buffer bytes;
        AgiEnv env;
        bool is_complete; /* the environment */
} Inbox;

/* Reads until the environment is complete, or can't be. */
InboxResult inbox_read(Inbox *inbox, Stream *client, BufferPool *pool);

/* Reads what comes after the environment: INBOX_WAIT, INBOX_GONE when the client has ended or
 * broken, or INBOX_SHORT. Beyond a bound the rest is left in the socket. */
InboxResult inbox_read_ahead(Inbox *inbox, Stream *client, BufferPool *pool);

/* Finds in @settings where the request is to go, NULL: nowhere. *@is_odd: its path could climb or
 * merge (agi_request_get_path()), so it is the wildcard. False when there is no agi_request, or no
 * URL in it. Uses @pool's scratch memory. */
bool inbox_find_route(const Inbox *inbox,
                      const Settings *settings,
                      BufferPool *pool,
                      RouteSettings **route,
                      bool *is_odd);

/* The bytes after the environment; NULL as long as it isn't complete. */
const char *inbox_get_ahead(const Inbox *inbox, size_t *length);

/* Appends all of it, once complete, to @out as a server is to get it: with @authority in the
 * request (NULL keeps what it has), and agi_x_fwd_for for a client at @from treated as @settings
 * say. False, and nothing appended, when there is no memory. */
bool inbox_write(const Inbox *inbox,
                 const Settings *settings,
                 const Address *from,
                 const char *authority,
                 Buffer *out,
                 BufferPool *pool);

void inbox_clear(Inbox *inbox, BufferPool *pool);
