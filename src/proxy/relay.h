/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "agi/agi-dialogue.h"
#include "base/buffer.h"
#include "net/stream.h"
#include "proxy/settings.h"

/*
 * Bytes both ways between a client and a server that are both connected.
 *
 * To the server they go at once, and reading from the client goes on while up to RELAY_SERVER_ROOM
 * of them wait: Asterisk drops what it can't write within 100 ms. To the client they go by whole
 * lines and one command at a time (agi/agi-dialogue.h). An end on one side becomes an end on the
 * other once all before it is delivered.
 *
 *      seen                           done
 *      server ends                    what is held goes to the client, then the end
 *      server breaks or is failed     whole lines go to the client, a tail is dropped, then FAILURE
 * (or a reset, or a plain end, by OnServerFailure=); the server is closed at once server broken
 * after its end    normal: Asterisk's last HANGUP met a closed socket client ends what is held goes
 * to the server, then the end client breaks                  the same, then the server is reset,
 * unless bytes are still on their way client can't be written to     it has gone: once the server
 * has all that is held, over both ended                     over
 */

#define RELAY_SERVER_ROOM (256 * 1024)
#define RELAY_CLIENT_ROOM (64 * 1024) /* the longest line that is held for its end */

typedef enum RelayResult {
        RELAY_RUNNING,
        RELAY_ENDED,  /* nothing more will come or go: close */
        RELAY_FAILED, /* the client has been told that the server failed, and has nothing left to do
                       */
} RelayResult;

typedef struct RelayWay {
        Buffer held;
        uint32_t passed;  /* of held: may go as soon as the kernel takes it */
        uint32_t scanned; /* of held: has been searched for LF */
        bool ended;       /* no more will come */
        bool finished;    /* the receiving side has been told so */
        bool dead;        /* the receiving side takes nothing any more */
        uint64_t bytes;   /* received */
} RelayWay;

/* Embedded in its owner; all zero before relay_init(). */
typedef struct Relay {
        Stream *client, *server;
        RelayWay to_server, to_client;
        AgiDialogue dialogue;
        OnServerFailure on_server_failure;
        bool whole_lines;
        bool in_long_line;  /* the head of a line too long to hold has been passed */
        bool at_line_start; /* the last byte passed to the client was LF */
        bool server_failed;
        int client_error, server_error; /* errno of a break; 0 for none */
        char *server_failure; /* what says more than the server's errno; NULL when it says all */
} Relay;

/* Begins between @client and @server, which must stay where they are and be open. Bytes that the
 * client sent ahead are in relay->to_server.held, all of it passed. */
void relay_start(Relay *relay, Stream *client, Stream *server, const RouteSettings *route);

/* Moves what can be moved: to be called after every event of either stream. */
RelayResult relay_run(Relay *relay, BufferPool *pool);

/* Gives the server up, as if it had broken with @error: to be followed by relay_run(). */
void relay_fail_server(Relay *relay, BufferPool *pool, int error);

/* True while the server owes the next command. */
bool relay_awaits_command(const Relay *relay);

/* Lets go of everything held. */
void relay_clear(Relay *relay, BufferPool *pool);
