/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A dialogue with the client has taken place in the relay or in the answer, where it has begun at
 * all; a refusal is an answer, too.
 */

#include "proxy/ending.h"

#include <string.h>

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

void
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
                record->bytes_out = relay->to_client.bytes;
                find_dialogue(end, &relay->dialogue);
                end->status = relay_get_status(relay);
                end->command = relay->n_command > 0 ? relay->command : NULL;
                end->command_length = relay->n_command;
                break;
        case PHASE_ANSWER:
                record->bytes_in += answer->bytes_in;
                record->bytes_out = answer->bytes_out;
                find_dialogue(end, &answer->dialogue);
                end->status = answer_get_status(answer);
                end->command = answer_get_last_command(answer);
                end->command_length = end->command ? strlen(end->command) : 0;
                break;
        }
}
