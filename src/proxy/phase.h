/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdint.h>

#include <glib.h>

#include "proxy/answer.h"
#include "proxy/inbox.h"
#include "proxy/refusal.h"
#include "proxy/relay.h"

/*
 * What a session has at a time: at first the inbox with what its client has sent, until it is
 * relayed, or agitator answers. Each takes the memory of the one before, since most sessions are
 * idle ones, and there can be many.
 */

typedef enum PhaseKind {
        PHASE_SETUP,
        PHASE_RELAY,
        PHASE_ANSWER,
} PhaseKind;

/* Embedded in its session; phase_init() before use, phase_clear() at the end. */
typedef struct Phase {
        union {
                struct {
                        Inbox inbox;
                        gint64 setup_end; /* no server is tried any more from then on */
                };

                Relay relay;

                struct {
                        Answer answer;
                        const char *report[2]; /* what a refusal says, NULL at its end */
                };
        };

        uint8_t kind; /* PhaseKind */
} Phase;

void phase_init(Phase *phase);

/* From setup to the relay, all zero; the caller owns the inbox that it gets, to be cleared. */
Inbox phase_begin_relay(Phase *phase);

/* From setup to answering: @commands, or if it is NULL, what tells the client of @refusal. The rest
 * is as for answer_start(). */
void phase_begin_answer(Phase *phase,
                        Stream *client,
                        const char *const *commands,
                        Refusal refusal,
                        bool failure,
                        Trace *trace,
                        BufferPool *pool,
                        gint64 now);

/* Lets go of everything. */
void phase_clear(Phase *phase, BufferPool *pool);
