/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Setup comes first and only once, so what follows it finds nothing that it had to keep.
 */

#include "proxy/phase.h"

void
phase_init(Phase *phase)
{
        *phase = (Phase){ .kind = PHASE_SETUP };
        agi_env_init(&phase->inbox.env);
}

Inbox
phase_begin_relay(Phase *phase)
{
        Inbox inbox = phase->inbox;

        g_assert(phase->kind == PHASE_SETUP);
        phase->kind = PHASE_RELAY;
        phase->relay = (Relay){ 0 };

        return inbox;
}

void
phase_begin_answer(Phase *phase,
                   Stream *client,
                   const char *const *commands,
                   Refusal refusal,
                   bool failure,
                   Trace *trace,
                   BufferPool *pool,
                   gint64 now)
{
        Inbox inbox = phase->inbox;
        const char *ahead;
        size_t n;

        g_assert(phase->kind == PHASE_SETUP);
        phase->kind = PHASE_ANSWER;
        phase->report[0] = refusal_get_report(refusal);
        phase->report[1] = NULL;
        answer_start(&phase->answer, client, commands ? commands : phase->report, failure, trace,
                     !inbox.is_complete, now);
        ahead = inbox_get_ahead(&inbox, &n);
        if (ahead)
                answer_note_client(&phase->answer, ahead, n);
        inbox_clear(&inbox, pool);
}

void
phase_clear(Phase *phase, BufferPool *pool)
{
        switch ((PhaseKind)phase->kind) {
        case PHASE_SETUP:
                inbox_clear(&phase->inbox, pool);
                break;
        case PHASE_RELAY:
                relay_clear(&phase->relay, pool);
                break;
        case PHASE_ANSWER:
                answer_clear(&phase->answer, pool);
                break;
        }
}
