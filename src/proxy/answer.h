/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "agi/agi-dialogue.h"
#include "base/buffer.h"
#include "net/stream.h"

/*
 * agitator as the FastAGI server: commands sent one by one, each reply awaited, then the end, or
 * FAILURE and the end. [Answer] groups are played this way, and so is every refusal.
 */

typedef struct Trace Trace;

typedef enum AnswerResult {
        ANSWER_RUNNING,
        ANSWER_SAID,  /* all is said, the end too; the client has yet to end */
        ANSWER_ENDED, /* all is said, if it could be, and the client has ended or broken */
        ANSWER_SHORT, /* there is no memory for what is to be said */
} AnswerResult;

/* Embedded in its owner; all zero before answer_start(). */
typedef struct Answer {
        Stream *client;
        const char *const *commands; /* what is left of them; borrowed */
        Buffer out;
        AgiDialogue dialogue;
        bool failure;
        bool skips;        /* nothing is awaited any more */
        bool ended;        /* the client has ended */
        bool finished;     /* the client has been told of the end */
        bool is_short;     /* a write came to nothing for want of the kernel's memory, or a read */
        bool was_left;     /* the client ended or broke before that */
        bool is_broken;    /* ... and it did break */
        Trace *trace;      /* NULL: the dialogue isn't logged */
        bool hides_client; /* what the client says isn't */
        uint64_t bytes_in, bytes_out;
        gint64 active; /* when a byte last came or went */
} Answer;

/* Begins to say @commands (ended by NULL, without LF; borrowed) to @client, which must stay where
 * it is. @trace: where to log the dialogue, NULL: nowhere; with @hides_client, what is said to it
 * alone: it is still in its environment, whose secrets can't be told from its replies. */
void answer_start(Answer *answer,
                  Stream *client,
                  const char *const *commands,
                  bool failure,
                  Trace *trace,
                  bool hides_client,
                  gint64 now);

/* Looks at bytes from the client: to be called for what it sent ahead. */
void answer_note_client(Answer *answer, const char *data, size_t size);

/* Goes on: to be called at first and after every event of the client's stream, while it says
 * RUNNING. A client that has ended is told the end at once, since it may still read. */
AnswerResult answer_run(Answer *answer, BufferPool *pool, gint64 now);

/* Awaits no more replies and leaves out what has not been said: the end comes at once. To be
 * followed by answer_run(). */
void answer_skip(Answer *answer);

/* What AGISTATUS is to be, as far as can be seen: NULL when it can't. */
const char *answer_get_status(const Answer *answer);

/* The last command that was said; NULL when none was. */
const char *answer_get_last_command(const Answer *answer);

void answer_clear(Answer *answer, BufferPool *pool);
