/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/*
 * The dialogue after the environment: the server sends commands, the client (Asterisk) answers each
 * with one reply. This follows both, so that a relay can give Asterisk whole lines and one command
 * at a time: Asterisk spins on a partial line, and stalls on two commands in one read.
 *
 * A reply is a line that begins with three digits and then a blank or '-', or the several lines of
 * `520-` up to the one that begins `520 ` (or is some other reply, since a value that a caller made
 * up can look like `520-`). 1xx is provisional (GOSUB says "100 result=0 Trying...")
 * and does not end a command. HANGUP is no reply, nor is the rest of a value with LF in it.
 */

typedef struct AgiDialogue {
        bool outstanding : 1; /* a command has been passed on and not been replied to */
        bool hung_up : 1;     /* HANGUP was seen before an end was in sight, or asked for */
        bool failed : 1;      /* the server sent FAILURE: the client answers nothing any more */
        bool ends : 1;        /* the server has ended: HANGUP is the client's end, too */
        bool in_usage : 1;    /* between `520-` and `520 ` */
        bool can_err : 1;     /* for the last command -1 as its result is an error to Asterisk */
        bool hangs_up : 1;    /* the last command hangs up by itself */
        bool has_erred : 1;   /* a command before that had an error */
        bool errs : 1;     /* the last one that was replied to had one, unless HANGUP explains it */
        uint8_t n_head;    /* how much of the client's current line is in head */
        char head[14];     /* its first bytes, enough to tell what it is */
        uint32_t commands; /* passed on so far */
        uint32_t replies;  /* commands replied to so far */
} AgiDialogue;

/* What a line from the server is to Asterisk. */
typedef enum AgiLine {
        AGI_LINE_COMMAND,   /* gets a reply */
        AGI_LINE_FAILURE,   /* `failure...` in any case: ends the session, gets none */
        AGI_LINE_SWALLOWED, /* begins with NUL: gets none, and makes Asterisk spin */
} AgiLine;

void agi_dialogue_init(AgiDialogue *dialogue);

/* What the line is, by its first bytes; @length includes its LF. */
AgiLine agi_dialogue_classify(const char *line, size_t length);

/* Notes that the line of @length bytes has been passed on to the client. */
void agi_dialogue_command(AgiDialogue *dialogue, const char *line, size_t length);

/* Notes bytes from the client, in pieces of any size; @dialogue->outstanding tells the outcome. */
void agi_dialogue_reply(AgiDialogue *dialogue, const char *data, size_t size);

/* True when a line of the client, without its LF, ends a command that is outstanding. */
bool agi_dialogue_is_reply(const char *line, size_t length);

/* Notes that the server has ended: what the client says of hanging up from now on is what it says
 * at the end of every session. */
void agi_dialogue_end(AgiDialogue *dialogue);

/* What the channel variable AGISTATUS is to be, after what was seen until the server's end, or the
 * client's if that was first, which is @is_clients: SUCCESS, FAILURE or HANGUP. */
const char *agi_dialogue_get_status(const AgiDialogue *dialogue, bool is_clients);
