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
 */
/* clang-format off */
/*
 *      what is seen                    what is done
 *
 *      the server ends                 what is held goes to the client, then the end
 *      the server breaks, or is        whole lines go to the client, a tail is dropped, then
 *        failed by relay_fail_server()   FAILURE (or a reset, or a plain end, by
 *                                        OnServerFailure=); the server is closed at once
 *      the server breaks after a       an end: it closed without reading the HANGUP
 *        hang-up or the client's end
 *      the server breaks after its     nothing: Asterisk's last HANGUP met a closed socket
 *        own end
 *      the client ends                 what is held goes to the server, then the end; no line
 *                                        waits for a reply any more
 *      the client breaks               the same, then the server is reset, unless bytes are
 *                                        still on their way
 *      the client can't be written to  it has gone: over when the server has all that is held
 *      both have ended                 over
 */
/* clang-format on */

#define RELAY_SERVER_ROOM (256 * 1024)
#define RELAY_CLIENT_ROOM (64 * 1024) /* the longest line that is held for its end */

typedef enum RelayResult {
        RELAY_RUNNING,
        RELAY_ENDED,  /* nothing more will come or go: close */
        RELAY_FAILED, /* the client has been told that the server failed, and has nothing left to do
                       */
        RELAY_SHORT,  /* there is no memory for what has to be held: neither side has all of it */
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

typedef struct Trace Trace;

/* Who ended a session first, by ending or breaking his side, or by hanging up, or FAILURE. */
typedef enum RelayEnd {
        RELAY_END_NONE,
        RELAY_END_CLIENT,
        RELAY_END_SERVER,
        RELAY_END_AGITATOR, /* a timeout, or the proxy's stop */
} RelayEnd;

#define RELAY_COMMAND_SIZE 48

/* Embedded in its owner; all zero before relay_start(). */
typedef struct Relay {
        Stream *client, *server;
        const RouteSettings *route;
        Trace *trace; /* NULL: the dialogue isn't logged */
        RelayWay to_server, to_client;
        AgiDialogue dialogue;
        uint8_t on_server_failure; /* OnServerFailure */
        bool whole_lines;
        bool in_long_line;  /* the head of a line too long to hold has been passed */
        bool at_line_start; /* the last byte passed to the client was LF */
        bool has_unseen;    /* the client was given bytes that were not looked at */
        bool server_failed;
        bool is_short;   /* of memory */
        bool awaits_end; /* the client was given several lines at once: its last reply isn't known
                          */
        bool has_keepalive;             /* the server's connection */
        int client_error, server_error; /* errno of a break; 0 for none */
        char *server_failure;   /* what says more than the server's errno; NULL when it says all */
        gint64 started, active; /* active: when either side last did something */
        uint8_t ended_by;       /* RelayEnd */
        uint8_t n_command;
        char command[RELAY_COMMAND_SIZE]; /* beginning of the last line that the client was given */
} Relay;

/* Begins between @client and @server, which must stay where they are and be open, at @now. Bytes
 * that the client sent ahead are in relay->to_server.held, all of it passed. @route and @trace
 * (NULL: the dialogue isn't logged) must outlive it. */
void relay_start(Relay *relay,
                 Stream *client,
                 Stream *server,
                 const RouteSettings *route,
                 Trace *trace,
                 gint64 now);

/* Looks at bytes from the client: to be called for what it sent ahead. */
void relay_note_client(Relay *relay, const char *data, size_t size);

/* Moves what can be moved: to be called after every event of either stream. */
RelayResult relay_run(Relay *relay, BufferPool *pool, gint64 now);

/* Gives the server up, as if it had broken with @error, on behalf of @by: to be followed by
 * relay_run(). */
void relay_fail_server(Relay *relay, BufferPool *pool, int error, RelayEnd by);

/* What AGISTATUS is to be, once it is over, as far as can be seen: NULL when it can't. */
const char *relay_get_status(const Relay *relay);

/* True while the server owes the next command. */
bool relay_awaits_command(const Relay *relay);

/* True when one side has ended, and nothing keeps the other from doing so. */
bool relay_is_half_ended(const Relay *relay);

/* When nothing has been heard for too long. A side whose other one has ended, and that is not
 * executing anything, has RELAY_END_TIMEOUT to end too: no call depends on it any more. A client
 * that was given bytes unseen may be executing one of them for as long as it likes. */
#define RELAY_END_TIMEOUT (60 * G_TIME_SPAN_SECOND)

typedef enum RelayTimeout {
        RELAY_IN_TIME,
        RELAY_IDLE,    /* IdleTimeout= is over */
        RELAY_THINK,   /* ThinkTimeout= is */
        RELAY_UNENDED, /* RELAY_END_TIMEOUT is: to be closed */
} RelayTimeout;

RelayTimeout relay_check_time(Relay *relay, gint64 now);

/* Keepalive costs system calls that a short session doesn't need: relay_check_time() sets it on the
 * server's connection of one that has lasted so long. (The client's has it from its listener.) */
#define RELAY_KEEPALIVE_AFTER (5 * G_TIME_SPAN_SECOND)

/* How long relay_check_time() need not be asked; G_MAXINT64: for ever, until relay_run() is called.
 */
gint64 relay_get_limit(const Relay *relay, gint64 now);

/* Lets go of everything held. */
void relay_clear(Relay *relay, BufferPool *pool);
