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
find_by(const Record *record, const Relay *relay, const Answer *answer)
{
        switch (record->result) {
        case RECORD_SERVED:
        case RECORD_BROKEN:
                return find_by_in_relay(relay);
        case RECORD_ANSWERED:
                return answer->was_left || answer->dialogue.hung_up ? "client" : "agitator";
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
ending_find(RecordEnd *end, const Record *record, const Relay *relay, const Answer *answer)
{
        const AgiDialogue *dialogue = answer->client ? &answer->dialogue : &relay->dialogue;

        *end = (RecordEnd){
                .by = find_by(record, relay, answer),
                .commands = dialogue->commands,
                .replies = dialogue->replies,
        };

        if (answer->client) {
                end->status = answer_get_status(answer);
                end->command = answer_get_last_command(answer);
                end->command_length = end->command ? strlen(end->command) : 0;
        } else if (relay->client) {
                end->status = relay_get_status(relay);
                end->command = relay->n_command > 0 ? relay->command : NULL;
                end->command_length = relay->n_command;
        } else {
                end->status = find_status_of_none(record);
        }
}

void
ending_log(Record *record,
           const Relay *relay,
           const Answer *answer,
           const Settings *settings,
           gint64 now)
{
        RecordEnd end;

        record->bytes_in += relay->to_server.bytes + answer->bytes_in;
        record->bytes_out = relay->to_client.bytes + answer->bytes_out;
        ending_find(&end, record, relay, answer);
        record_log(record, &end, settings, now);
}

/* What waits for the kernel may be the rest of a line, and what is said after it would be part of
 * that. */
static bool
can_say_failure(const Relay *relay, const Answer *answer)
{
        return !answer->is_short && relay->to_client.passed == 0 && !relay->to_client.finished &&
               !relay->to_client.dead;
}

bool
ending_run_short(Record *record, Relay *relay, const Answer *answer, Stream *client, Stream *server)
{
        static const char text[] = "\nFAILURE\n";
        const char *words = relay->client && !relay->at_line_start ? text : text + 1;
        size_t n = 0;

        record->result = relay->client ? RECORD_BROKEN : RECORD_REFUSED;
        if (!record->reason)
                record->reason = refusal_get_word(REFUSAL_FULL);
        record_note_failure(record, ENOMEM, NULL);
        if (relay->ended_by == RELAY_END_NONE)
                relay->ended_by = RELAY_END_AGITATOR;
        stream_abort(server);

        if (can_say_failure(relay, answer) &&
            stream_write(client, words, strlen(words), &n) == STREAM_OK && n == strlen(words)) {
                relay->dialogue.failed = true;
                stream_finish(client);
                return true;
        }
        stream_abort(client);

        return false;
}
