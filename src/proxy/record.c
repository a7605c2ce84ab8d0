/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The names in the message and in the fields are the contract's; values that came from a peer go in
 * as they are and are made harmless by the sink.
 */

#include "proxy/record.h"

#include <string.h>

#include "agi/agi-redact.h"
#include "base/log-id.h"
#include "base/text.h"

static const char *const result_names[] = {
        [RECORD_SERVED] = "served",       [RECORD_ANSWERED] = "answered",
        [RECORD_ABANDONED] = "abandoned", [RECORD_REFUSED] = "refused",
        [RECORD_BROKEN] = "broken",       [RECORD_CUT] = "cut",
};

/* A set of fields under construction; the numbers' text lives beside them. */
typedef struct FieldSet {
        GLogField fields[32];
        size_t n;
        char numbers[8][24];
        size_t n_numbers;
} FieldSet;

static void
field_set_add(FieldSet *set, const char *key, const char *value, gssize length)
{
        g_assert(set->n < G_N_ELEMENTS(set->fields));
        set->fields[set->n++] = (GLogField){ key, value, length };
}

static void
field_set_add_text(FieldSet *set, const char *key, const char *value)
{
        if (value)
                field_set_add(set, key, value, -1);
}

static void
field_set_add_number(FieldSet *set, const char *key, uint64_t value)
{
        char *text = set->numbers[set->n_numbers++];

        g_assert(set->n_numbers <= G_N_ELEMENTS(set->numbers));
        g_snprintf(text, sizeof(set->numbers[0]), "%" G_GUINT64_FORMAT, value);
        field_set_add(set, key, text, -1);
}

static void
field_set_add_span(FieldSet *set, const char *key, const char *facts, RecordSpan span)
{
        if (span.length > 0)
                field_set_add(set, key, facts + span.offset, span.length);
}

void
record_start(Record *record, uint64_t id, const Address *client, const char *listener, gint64 now)
{
        record->id = id;
        record->client = client;
        record->listener = listener;
        record->started = now;
}

/* Moves @span's bytes to the end of what is in @facts. */
static void
copy_span(char *facts, size_t *size, const char *block, AgiSpan from, RecordSpan *to)
{
        *to = (RecordSpan){ (uint16_t)*size, (uint16_t)from.length };
        memcpy(facts + *size, block + from.offset, from.length);
        *size += from.length;
}

void
record_note_environment(Record *record, const AgiEnv *env, const char *block)
{
        size_t size = 0;

        G_STATIC_ASSERT(AGI_ENV_MAX_SIZE <= UINT16_MAX + 1);
        g_assert(!record->facts);
        record->facts = g_try_malloc(env->request.length + env->uniqueid.length +
                                     env->channel.length + env->callerid.length + 1);
        if (!record->facts)
                return;

        copy_span(record->facts, &size, block, env->request, &record->request);
        copy_span(record->facts, &size, block, env->uniqueid, &record->uniqueid);
        copy_span(record->facts, &size, block, env->channel, &record->channel);
        copy_span(record->facts, &size, block, env->callerid, &record->callerid);
}

void
record_note_failure(Record *record, int error, const char *failure)
{
        char *old = record->failure;

        record->error = error;
        record->failure = text_copy(failure);
        g_free(old);
}

void
record_note_break(Record *record, const Stream *stream)
{
        record_note_failure(record, stream_get_error(stream), stream_get_failure(stream));
}

void
record_note_ends(Record *record, const Stream *client, const Stream *server)
{
        if (client->truncated)
                record->truncated = "client";
        else if (server->truncated)
                record->truncated = "server";
}

void
record_note_state(Record *record, const char *state)
{
        if (!record->state)
                record->state = state;
}

/* What is behind the result, for people; NULL when nothing is. */
static const char *
record_get_cause(const Record *record)
{
        if (record->failure)
                return record->failure;

        return record->error ? g_strerror(record->error) : NULL;
}

void
record_log_debug(const Record *record, const GLogField *fields, size_t n_fields)
{
        if (record->is_debugged)
                log_debug_always(fields, n_fields);
        else
                g_log_structured_array(G_LOG_LEVEL_DEBUG, fields, n_fields);
}

void
record_log_step(const Record *record, const char *state, const char *format, ...)
{
        g_autofree char *text = NULL, *message = NULL;
        char id[RECORD_ID_SIZE];
        FieldSet set = { .n = 0 };
        va_list arguments;

        va_start(arguments, format);
        text = g_strdup_vprintf(format, arguments);
        va_end(arguments);

        g_snprintf(id, sizeof(id), RECORD_ID_FORMAT, record->id);
        message = g_strdup_printf("session %s %s: %s", id, state, text);
        field_set_add_text(&set, "MESSAGE", message);
        field_set_add_text(&set, "MESSAGE_ID", LOG_ID_STEP);
        field_set_add_text(&set, "GLIB_DOMAIN", G_LOG_DOMAIN);
        field_set_add_text(&set, "AGITATOR_SESSION", id);
        field_set_add_text(&set, "AGITATOR_STATE", state);
        field_set_add_span(&set, "AGITATOR_UNIQUEID", record->facts, record->uniqueid);
        record_log_debug(record, set.fields, set.n);
}

/* The request with its secrets hidden: a value of none becomes three characters. False when there
 * is no memory for it. */
static bool
record_get_request(const Record *record, const Settings *settings, GString *request)
{
        if (!text_open(request, 4 * (size_t)record->request.length + 8))
                return false;

        agi_redact_value((const char *const *)settings->log_redact, request,
                         record_get_text(record, record->request), record->request.length);

        return true;
}

/* In one word, so that no text in it looks like ours. */
static void
print_request(GString *text, const GString *request)
{
        for (size_t i = 0; i < request->len; i++) {
                if (request->str[i] == ' ')
                        g_string_append(text, "\\x20");
                else
                        g_string_append_c(text, request->str[i]);
        }
}

void
record_log_odd_path(const Record *record, const Settings *settings)
{
        text_auto GString request = { 0 }, shown = { 0 };
        char client[ADDRESS_TEXT_SIZE], id[RECORD_ID_SIZE];

        if (!record_get_request(record, settings, &request) ||
            !text_open(&shown, 4 * request.len)) {
                log_count_dropped(1);
                return;
        }

        g_snprintf(id, sizeof(id), RECORD_ID_FORMAT, record->id);
        print_request(&shown, &request);

        const GLogField fields[] = {
                { "MESSAGE_ID", LOG_ID_ODD_PATH, -1 },
                { "AGITATOR_SESSION", id, -1 },
                { "AGITATOR_CLIENT", address_print(record->client, client), -1 },
                { "AGITATOR_LISTENER", record->listener ? record->listener : "", -1 },
                { "AGITATOR_REQUEST", request.str, -1 },
        };

        log_fields(G_LOG_LEVEL_MESSAGE, fields, G_N_ELEMENTS(fields),
                   "session %s: its path could climb or merge, so it matches no route but *: %s",
                   id, shown.str);
}

bool
record_is_failure(const Record *record)
{
        switch ((RecordResult)record->result) {
        case RECORD_SERVED:
        case RECORD_ANSWERED:
        case RECORD_ABANDONED:
                return false;
        case RECORD_REFUSED:
        case RECORD_BROKEN:
        case RECORD_CUT:
                return true;
        }

        g_assert_not_reached();
}

/* "session 05f.. from 127.0.0.1:4711 for agi://h/menu: served, route menu, server ivr-1, ended by
 * the server, AGISTATUS SUCCESS, 3 commands in 0.120 s, the last: HANGUP". What a peer has made up
 * comes last. */
static void
record_print(const Record *record,
             const RecordEnd *end,
             gint64 now,
             const char *client,
             const GString *request,
             const GString *command,
             GString *text)
{
        const char *cause = record_get_cause(record);

        text_add(text, "session " RECORD_ID_FORMAT " from %s", record->id, client);
        if (request->len > 0) {
                g_string_append(text, " for ");
                print_request(text, request);
        }

        text_add(text, ": %s", result_names[record->result]);
        if (record->reason)
                text_add(text, ", %s", record->reason);
        if (cause)
                text_add(text, " (%s)", cause);
        if (record->route)
                text_add(text, ", route %s", record->route);
        if (record->server)
                text_add(text, ", server %s", record->server);
        if (record->truncated)
                text_add(text, ", truncated by the %s", record->truncated);
        if (end->by)
                text_add(text, ", ended by %s%s", strcmp(end->by, "agitator") == 0 ? "" : "the ",
                         end->by);
        if (record->state && strcmp(record->state, "relaying") != 0)
                text_add(text, " while %s", record->state);
        if (end->status)
                text_add(text, ", AGISTATUS %s", end->status);
        text_add(text, ", %u commands in %.3f s", end->commands,
                 (double)(now - record->started) / G_USEC_PER_SEC);
        if (command->len > 0)
                text_add(text, ", the last%s: %s",
                         end->replies < end->commands ? ", unanswered" : "", command->str);
}

/* Of sessions without a server many can come to nothing at once, for one cause: true when this is
 * one too many to be told of by itself. */
static bool
record_is_repeated(const Record *record, GLogLevelFlags level)
{
        bool is_failure = record_is_failure(record);
        g_autofree char *message = NULL;
        FieldSet subject = { .n = 0 };

        if (!is_failure && record->result != RECORD_ABANDONED)
                return false;

        message = text_print(
                "sessions %s%s%s%s%s%s%s%s%s", result_names[record->result],
                record->reason ? ", " : "", record->reason ? record->reason : "",
                record->error ? ", " : "", record->error ? g_strerror(record->error) : "",
                record->route ? ", route " : "", record->route ? record->route : "",
                record->server ? ", server " : "", record->server ? record->server : "");

        field_set_add_text(&subject, "MESSAGE", message);
        field_set_add_text(&subject, "MESSAGE_ID",
                           is_failure ? LOG_ID_SESSION_FAILED : LOG_ID_SESSION);
        field_set_add_text(&subject, "AGITATOR_LISTENER", record->listener);
        field_set_add_text(&subject, "AGITATOR_ROUTE", record->route);
        field_set_add_text(&subject, "AGITATOR_SERVER", record->server);
        field_set_add_text(&subject, "AGITATOR_RESULT", result_names[record->result]);
        field_set_add_text(&subject, "AGITATOR_REASON", record->reason);
        if (record->error)
                field_set_add_text(&subject, "AGITATOR_ERROR", g_strerror(record->error));

        return log_is_repeated(level, subject.fields, subject.n);
}

static bool
record_is_wanted(const Record *record, LogSessions sessions, GLogLevelFlags level)
{
        switch (sessions) {
        case LOG_SESSIONS_ALL:
                break;
        case LOG_SESSIONS_FAILED:
                if (!record_is_failure(record))
                        return false;
                break;
        case LOG_SESSIONS_NONE:
                return false;
        }

        return log_is_enabled(level) && !record_is_repeated(record, level);
}

/* All but the message. */
static void
record_add_fields(const Record *record,
                  const RecordEnd *end,
                  gint64 now,
                  const GString *request,
                  const GString *command,
                  FieldSet *set)
{
        bool is_failure = record_is_failure(record);

        field_set_add_text(set, "PRIORITY", is_failure ? "4" : "6");
        field_set_add_text(set, "GLIB_DOMAIN", G_LOG_DOMAIN);
        field_set_add_text(set, "MESSAGE_ID", is_failure ? LOG_ID_SESSION_FAILED : LOG_ID_SESSION);
        field_set_add_text(set, "AGITATOR_LISTENER", record->listener);
        if (request->len > 0)
                field_set_add(set, "AGITATOR_REQUEST", request->str, (gssize)request->len);
        field_set_add_text(set, "AGITATOR_ROUTE", record->route);
        field_set_add_text(set, "AGITATOR_SERVER", record->server);
        field_set_add_text(set, "AGITATOR_RESULT", result_names[record->result]);
        field_set_add_text(set, "AGITATOR_REASON", record->reason);
        field_set_add_text(set, "AGITATOR_ERROR", record_get_cause(record));
        field_set_add_text(set, "AGITATOR_ENDED_BY", end->by);
        field_set_add_text(set, "AGITATOR_STATE", record->state);
        field_set_add_text(set, "AGITATOR_AGISTATUS", end->status);
        if (command->len > 0)
                field_set_add(set, "AGITATOR_LAST_COMMAND", command->str, (gssize)command->len);
        field_set_add_text(set, "AGITATOR_TLS", record->tls);
        field_set_add_text(set, "AGITATOR_TLS_PEER", record->tls_peer);
        field_set_add_text(set, "AGITATOR_TRUNCATED", record->truncated);
        field_set_add_span(set, "AGITATOR_UNIQUEID", record->facts, record->uniqueid);
        field_set_add_span(set, "AGITATOR_CHANNEL", record->facts, record->channel);
        field_set_add_span(set, "AGITATOR_CALLERID", record->facts, record->callerid);
        field_set_add_number(set, "AGITATOR_DURATION_USEC", (uint64_t)(now - record->started));
        if (record->set_up)
                field_set_add_number(set, "AGITATOR_SETUP_USEC",
                                     (uint64_t)(record->set_up - record->started));
        field_set_add_number(set, "AGITATOR_COMMANDS", end->commands);
        field_set_add_number(set, "AGITATOR_REPLIES", end->replies);
        field_set_add_number(set, "AGITATOR_BYTES_IN", record->bytes_in);
        field_set_add_number(set, "AGITATOR_BYTES_OUT", record->bytes_out);
}

/* How long the message may get. */
static size_t
record_get_room(const Record *record, size_t request, size_t command)
{
        const char *const texts[] = { record_get_cause(record), record->route, record->server };
        size_t room = 512 + ADDRESS_TEXT_SIZE + 4 * request + command;

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                room += texts[i] ? strlen(texts[i]) : 0;

        return room;
}

void
record_log(const Record *record, const RecordEnd *end, const Settings *settings, gint64 now)
{
        const char *const *patterns = (const char *const *)settings->log_redact;
        GLogLevelFlags level = record_is_failure(record) ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_INFO;
        text_auto GString message = { 0 }, request = { 0 }, command = { 0 };
        char client[ADDRESS_TEXT_SIZE], id[RECORD_ID_SIZE];
        FieldSet set = { .n = 0 };

        if (!record_is_wanted(record, settings->any_sessions, level))
                return;

        if (!record_get_request(record, settings, &request) ||
            !text_open(&command, end->command_length + 8) ||
            !text_open(&message, record_get_room(record, request.len, end->command_length))) {
                log_count_dropped(1);
                return;
        }
        if (end->command)
                agi_redact_command(patterns, &command, end->command, end->command_length);

        address_print(record->client, client);
        g_snprintf(id, sizeof(id), RECORD_ID_FORMAT, record->id);
        record_print(record, end, now, client, &request, &command, &message);

        field_set_add(&set, "MESSAGE", message.str, (gssize)message.len);
        field_set_add_text(&set, "AGITATOR_SESSION", id);
        field_set_add_text(&set, "AGITATOR_CLIENT", client);
        record_add_fields(record, end, now, &request, &command, &set);

        g_log_structured_array(level, set.fields, set.n);
}

void
record_clear(Record *record)
{
        g_free(record->facts);
        g_free(record->failure);
        g_free(record->tls_peer);
        *record = (Record){ .facts = NULL };
}
