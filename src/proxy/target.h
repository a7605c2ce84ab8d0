/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "net/dial.h"
#include "net/stream.h"
#include "proxy/balance.h"
#include "proxy/inbox.h"
#include "proxy/settings.h"

/*
 * The way from a route to one connected server: the next server by the route's balance, a place
 * reserved there, one of its addresses after the other dialed. A place is held as long as there is
 * a target and given back with it, so a server never has more sessions than MaxSessions=.
 */

/* Embedded in its session; all zero, with @stream set, at first. */
typedef struct Target {
        Stream *stream;         /* of the session's connection to the server */
        ServerSettings *server; /* a place there is ours; NULL when there is none */
        gint64 end;             /* when its ConnectTimeout= is over */
        char *failure;          /* what says more than the errno below; NULL when it says all */
        size_t sent;            /* of the environment, to the server that is being dialed */
        int error;              /* errno of the last dial that failed, 0 after one that did not */
        bool is_sure;           /* that server's verdict on us isn't waited for any longer */
        bool was_unreached;     /* some server could not be reached, rather than being full */
        Balance balance;
        Dial dial;
} Target;

typedef enum TargetResult {
        TARGET_DIALING, /* an address is being dialed: the stream is open, unless it has to wait a
                           little */
        TARGET_NONE,    /* nothing is left to try, and no place held */
        TARGET_SHORT,   /* this process has no descriptor or memory to dial with; likewise */
} TargetResult;

/* Finds the next server of @route that has room and begins to dial it. */
TargetResult target_find(Target *target, RouteSettings *route, gint64 now);

/* The dial failed with @error: goes on with the server's next address. */
TargetResult target_redial(Target *target, int error, gint64 now);

/* How long the address that is being dialed may take: its share of what the server has left. */
gint64 target_get_limit(const Target *target, gint64 now);

/* Gives the server the environment, which also tells whether it is connected: STREAM_OK when it has
 * taken it, or the beginning of it, @target->sent bytes of what @out holds then. @out is empty
 * otherwise. To be called at first and after every event while it says WAIT. */
StreamResult target_greet(Target *target,
                          const Inbox *inbox,
                          const Settings *settings,
                          const Address *client,
                          const RouteSettings *route,
                          Buffer *out,
                          BufferPool *pool);

/* The server took the first bytes; nothing else will be tried. */
void target_settle(Target *target);

/* Closes the connection, if there is one, and gives the place back. */
void target_leave(Target *target);

/* The same, and forgets what was tried. */
void target_clear(Target *target);
