/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The names in the message and in the fields are the contract's; values that came from a peer go in
 * as they are and are made harmless by the sink.
 */

#include "proxy/record.h"

#include <string.h>

#include "base/log-id.h"

static const char *const result_names[] = {
        [RECORD_SERVED] = "served",       [RECORD_ANSWERED] = "answered",
        [RECORD_ABANDONED] = "abandoned", [RECORD_REFUSED] = "refused",
        [RECORD_BROKEN] = "broken",       [RECORD_CUT] = "cut",
};

/* A set of fields under construction; the numbers' text lives beside them. */
typedef struct FieldSet {
        GLogField fields[28];
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
field_set_add_span(FieldSet *set, const char *key, const char *facts, AgiSpan span)
{
        if (span.length > 0)
                field_set_add(set, key, facts + span.offset, span.length);
}

/* Moves @span's bytes to the end of what is in @facts. */
static void
copy_span(char *facts, size_t *size, const char *block, AgiSpan from, AgiSpan *to)
{
        *to = (AgiSpan){ (uint32_t)*size, from.length };
        memcpy(facts + *size, block + from.offset, from.length);
        *size += from.length;
}

void
record_note_environment(Record *record, const AgiEnv *env, const char *block)
{
        size_t size = 0;

        g_assert(!record->facts);
        record->facts = g_malloc(env->request.length + env->uniqueid.length + env->channel.length +
                                 env->callerid.length + 1);
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
        record->failure = g_strdup(failure);
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

/* What is behind the result, for people; NULL when nothing is. */
static const char *
record_get_cause(const Record *record)
{
        if (record->failure)
                return record->failure;

        return record->error ? g_strerror(record->error) : NULL;
}

void
record_log_step(const Record *record, const char *state, const char *format, ...)
{
        g_autofree char *text = NULL;
        char id[24];
        va_list arguments;

        va_start(arguments, format);
        text = g_strdup_vprintf(format, arguments);
        va_end(arguments);

        g_snprintf(id, sizeof(id), RECORD_ID_FORMAT, record->id);
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_DEBUG, "AGITATOR_SESSION", id, "MESSAGE",
                         "session %s %s: %s", id, state, text);
}

void
record_log_odd_path(const Record *record)
{
        g_log_structured(
                G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID", LOG_ID_ODD_PATH, "MESSAGE",
                "session " RECORD_ID_FORMAT ": the path of %.*s could climb or merge, so it "
                "matches no route but *",
                record->id, (int)record->request.length, record->facts + record->request.offset);
}

bool
record_is_failure(const Record *record)
{
        switch (record->result) {
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

/* "session 05f.. 127.0.0.1:4711 agi://h/menu: served by ivr-1 (route menu), 3 commands in 0.120 s"
 */
static void
record_print(const Record *record, gint64 now, const char *client, GString *text)
{
        g_string_printf(text, "session " RECORD_ID_FORMAT " from %s", record->id, client);
        if (record->request.length > 0) {
                g_string_append(text, " for ");
                g_string_append_len(text, record->facts + record->request.offset,
                                    record->request.length);
        }

        g_string_append_printf(text, ": %s", result_names[record->result]);
        if (record->reason)
                g_string_append_printf(text, ", %s", record->reason);
        if (record_get_cause(record))
                g_string_append_printf(text, " (%s)", record_get_cause(record));
        if (record->route)
                g_string_append_printf(text, ", route %s", record->route);
        if (record->server)
                g_string_append_printf(text, ", server %s", record->server);
        if (record->truncated)
                g_string_append_printf(text, ", truncated by the %s", record->truncated);
        g_string_append_printf(text, ", %u commands in %.3f s", record->commands,
                               (double)(now - record->started) / G_USEC_PER_SEC);
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

        message = g_strdup_printf(
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

void
record_log(const Record *record, LogSessions sessions, gint64 now)
{
        bool is_failure = record_is_failure(record);
        GLogLevelFlags level = is_failure ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_INFO;
        g_autoptr(GString) message = NULL;
        char client[ADDRESS_TEXT_SIZE], id[24];
        FieldSet set = { .n = 0 };

        if (sessions == LOG_SESSIONS_NONE || (sessions == LOG_SESSIONS_FAILED && !is_failure) ||
            !log_is_enabled(level) || record_is_repeated(record, level))
                return;

        address_print(&record->client, client);
        g_snprintf(id, sizeof(id), RECORD_ID_FORMAT, record->id);
        message = g_string_sized_new(256);
        record_print(record, now, client, message);

        field_set_add_text(&set, "MESSAGE", message->str);
        field_set_add_text(&set, "PRIORITY", is_failure ? "4" : "6");
        field_set_add_text(&set, "GLIB_DOMAIN", G_LOG_DOMAIN);
        field_set_add_text(&set, "MESSAGE_ID", is_failure ? LOG_ID_SESSION_FAILED : LOG_ID_SESSION);
        field_set_add_text(&set, "AGITATOR_SESSION", id);
        field_set_add_text(&set, "AGITATOR_CLIENT", client);
        field_set_add_text(&set, "AGITATOR_LISTENER", record->listener);
        field_set_add_span(&set, "AGITATOR_REQUEST", record->facts, record->request);
        field_set_add_text(&set, "AGITATOR_ROUTE", record->route);
        field_set_add_text(&set, "AGITATOR_SERVER", record->server);
        field_set_add_text(&set, "AGITATOR_RESULT", result_names[record->result]);
        field_set_add_text(&set, "AGITATOR_REASON", record->reason);
        field_set_add_text(&set, "AGITATOR_ERROR", record_get_cause(record));
        field_set_add_text(&set, "AGITATOR_TLS", record->tls);
        field_set_add_text(&set, "AGITATOR_TLS_PEER", record->tls_peer);
        field_set_add_text(&set, "AGITATOR_TRUNCATED", record->truncated);
        field_set_add_span(&set, "AGITATOR_UNIQUEID", record->facts, record->uniqueid);
        field_set_add_span(&set, "AGITATOR_CHANNEL", record->facts, record->channel);
        field_set_add_span(&set, "AGITATOR_CALLERID", record->facts, record->callerid);
        field_set_add_number(&set, "AGITATOR_DURATION_USEC", (uint64_t)(now - record->started));
        if (record->set_up)
                field_set_add_number(&set, "AGITATOR_SETUP_USEC",
                                     (uint64_t)(record->set_up - record->started));
        field_set_add_number(&set, "AGITATOR_COMMANDS", record->commands);
        field_set_add_number(&set, "AGITATOR_BYTES_IN", record->bytes_in);
        field_set_add_number(&set, "AGITATOR_BYTES_OUT", record->bytes_out);

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
