/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A dialogue with the client has taken place in the relay or in the answer, where it has begun at
 * all; a refusal is an answer, too.
 */

#include "proxy/ending.h"

#include <errno.h>
#include <string.h>

#include "proxy/refusal.h"

static const char *
find_by_in_relay(const Relay *relay)
{
        switch ((RelayEnd)relay->ended_by) {
        case RELAY_END_NONE:
                return NULL;
        case RELAY_END_CLIENT:
                return "client";
        case RELAY_END_SERVER:
                return "server";
        case RELAY_END_AGITATOR:
                return "agitator";
        }

        g_assert_not_reached();
}

static const char *
find_by(const Record *record, const Phase *phase)
{
        switch ((RecordResult)record->result) {
        case RECORD_SERVED:
        case RECORD_BROKEN:
                return find_by_in_relay(&phase->relay);
        case RECORD_ANSWERED:
                return phase->answer.was_left || phase->answer.dialogue.hung_up ? "client"
                                                                                : "agitator";
        case RECORD_ABANDONED:
                return "client";
        case RECORD_REFUSED:
        case RECORD_CUT:
                return "agitator";
        }

        g_assert_not_reached();
}

/* Without a dialogue: only who had sent all of an environment is Asterisk, and has hung up. */
static const char *
find_status_of_none(const Record *record)
{
        return record->result == RECORD_ABANDONED && record->facts && !record->error ? "HANGUP"
                                                                                     : NULL;
}

static void
find_dialogue(RecordEnd *end, const AgiDialogue *dialogue)
{
        end->commands = dialogue->commands;
        end->replies = dialogue->replies;
}

static void
ending_find(RecordEnd *end, Record *record, const Phase *phase)
{
        const Answer *answer = &phase->answer;
        const Relay *relay = &phase->relay;

        *end = (RecordEnd){ .by = find_by(record, phase) };

        switch ((PhaseKind)phase->kind) {
        case PHASE_SETUP:
                record->bytes_in += buffer_length(&phase->inbox.bytes);
                end->status = find_status_of_none(record);
                break;
        case PHASE_RELAY:
                record->bytes_in += relay->to_server.bytes;
                record->bytes_out += relay->to_client.bytes;
                find_dialogue(end, &relay->dialogue);
                end->status = relay_get_status(relay);
                end->command = relay->n_command > 0 ? relay->command : NULL;
                end->command_length = relay->n_command;
                break;
        case PHASE_ANSWER:
                record->bytes_in += answer->bytes_in;
                record->bytes_out += answer->bytes_out;
                find_dialogue(end, &answer->dialogue);
                end->status = answer_get_status(answer);
                end->command = answer_get_last_command(answer);
                end->command_length = end->command ? strlen(end->command) : 0;
                break;
        }
}

void
ending_log(Record *record, const Phase *phase, const Settings *settings, gint64 now)
{
        RecordEnd end;

        ending_find(&end, record, phase);
        record_log(record, &end, settings, now);
}

/* What waits for the kernel may be the rest of a line, and what is said after it would be part of
 * that. */
static bool
can_say_failure(const Phase *phase, const Stream *client)
{
        const RelayWay *to_client = &phase->relay.to_client;

        switch ((PhaseKind)phase->kind) {
        case PHASE_SETUP:
                /* Not in the middle of a handshake. */
                return !client->tls || stream_get_protocol(client);
        case PHASE_RELAY:
                return to_client->passed == 0 && !to_client->finished && !to_client->dead;
        case PHASE_ANSWER:
                return !phase->answer.is_short;
        }

        g_assert_not_reached();
}

bool
ending_run_short(Record *record, int error, Phase *phase, Stream *client, Stream *server)
{
        static const char text[] = "\nFAILURE\n";
        Relay *relay = phase->kind == PHASE_RELAY ? &phase->relay : NULL;
        const char *words = relay && !relay->at_line_start ? text : text + 1;
        size_t n = 0;

        record->result = relay ? RECORD_BROKEN : RECORD_REFUSED;
        if (!record->reason)
                record->reason = refusal_get_word(REFUSAL_FULL);
        record_note_failure(record, error, NULL);
        if (relay && relay->ended_by == RELAY_END_NONE)
                relay->ended_by = RELAY_END_AGITATOR;
        stream_abort(server);

        if (can_say_failure(phase, client) &&
            stream_write(client, words, strlen(words), &n) == STREAM_OK && n == strlen(words)) {
                record->bytes_out += n;
                if (relay)
                        relay->dialogue.failed = true;
                else if (phase->kind == PHASE_ANSWER)
                        phase->answer.dialogue.failed = true;
                stream_finish(client);
                return true;
        }
        stream_abort(client);

        return false;
}
