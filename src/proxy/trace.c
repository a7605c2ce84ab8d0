/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bytes are logged when they come: what a server sends while the client is still busy goes on to it
 * later, but who was late with what, only the time of arrival tells. Of a long line only the
 * beginning is kept.
 */

#include "proxy/trace.h"

#include <string.h>

#include "agi/agi-dialogue.h"
#include "agi/agi-redact.h"
#include "base/log-id.h"
#include "base/log.h"

#define SHOWN_MAX 1024

/* One direction. */
typedef struct TraceWay {
        GString *line; /* the beginning of a line that has not ended */
        size_t length; /* of all of it so far */
} TraceWay;

struct Trace {
        const Record *record;
        const char *const *patterns;
        TraceWay ways[3];
        unsigned pending; /* commands that have no reply yet */
        unsigned secret;  /* the replies up to this one of them are hidden */
        bool hides;       /* the last reply was: what follows may be the rest of it */
};

static const char *const direction_names[] = {
        [TRACE_FROM_CLIENT] = "C->S",
        [TRACE_FROM_SERVER] = "S->C",
        [TRACE_FROM_AGITATOR] = "A->C",
};

bool
trace_is_asked_for(const Settings *settings,
                   const ListenerSettings *listener,
                   const Address *client)
{
        const GArray *debugged = settings->log_debugged;

        return (listener && listener->is_debugged) ||
               (debugged->len > 0 &&
                address_range_match((const void *)debugged->data, debugged->len, client));
}

Trace *
trace_new(const Record *record, const Settings *settings)
{
        Trace *trace = g_new0(Trace, 1);

        trace->record = record;
        trace->patterns = (const char *const *)settings->log_redact;
        for (size_t i = 0; i < G_N_ELEMENTS(trace->ways); i++)
                trace->ways[i].line = g_string_new(NULL);

        return trace;
}

/* Logs one line as it is to be shown; @length: what it had in truth. */
static void
trace_log(const Trace *trace, TraceDirection direction, const GString *shown, size_t length)
{
        const Record *record = trace->record;
        const char *name = direction_names[direction];
        gint64 elapsed = g_get_monotonic_time() - record->started;
        g_autofree char *message = NULL;
        char id[RECORD_ID_SIZE], time[24], more[48] = "";

        g_snprintf(id, sizeof(id), RECORD_ID_FORMAT, record->id);
        g_snprintf(time, sizeof(time), "%" G_GINT64_FORMAT, elapsed);
        if (length > SHOWN_MAX)
                g_snprintf(more, sizeof(more), " [... of %zu bytes]", length);
        message = g_strdup_printf("session %s +%.6f %s %s%s", id, (double)elapsed / G_USEC_PER_SEC,
                                  name, shown->str, more);

        const GLogField fields[] = {
                { "MESSAGE", message, -1 },
                { "MESSAGE_ID", LOG_ID_DIALOGUE, -1 },
                { "GLIB_DOMAIN", G_LOG_DOMAIN, -1 },
                { "AGITATOR_SESSION", id, -1 },
                { "AGITATOR_DIRECTION", name, -1 },
                { "AGITATOR_LINE", shown->str, (gssize)shown->len },
                { "AGITATOR_ELAPSED_USEC", time, -1 },
                { "AGITATOR_UNIQUEID", record_get_text(record, record->uniqueid),
                  record->uniqueid.length },
        };

        record_log_debug(record, fields, G_N_ELEMENTS(fields) - (record->uniqueid.length == 0));
}

/* Servers may send commands ahead, so that a reply is not always one to the last. */
static void
trace_show_command(Trace *trace, GString *shown, const GString *line)
{
        trace->pending++;
        if (agi_redact_command(trace->patterns, shown, line->str, line->len))
                trace->secret = trace->pending;
}

static void
trace_show_reply(Trace *trace, GString *shown, const GString *line)
{
        bool is_reply = trace->pending > 0 && agi_dialogue_is_reply(line->str, line->len);

        if (is_reply || trace->secret > 0)
                trace->hides = trace->secret > 0;
        if (is_reply) {
                trace->pending--;
                trace->secret -= trace->secret > 0;
        }

        if (trace->hides)
                agi_redact_reply(shown, line->str, line->len);
        else
                g_string_append_len(shown, line->str, (gssize)line->len);
}

/* The line is over; what is kept of it is in the way. */
static void
trace_end_line(Trace *trace, TraceDirection direction)
{
        TraceWay *way = &trace->ways[direction];
        g_autoptr(GString) shown = g_string_new(NULL);

        if (direction == TRACE_FROM_CLIENT)
                trace_show_reply(trace, shown, way->line);
        else
                trace_show_command(trace, shown, way->line);

        trace_log(trace, direction, shown, way->length);
        g_string_truncate(way->line, 0);
        way->length = 0;
}

static void
way_add(TraceWay *way, const char *data, size_t size)
{
        size_t room = SHOWN_MAX - way->line->len;

        g_string_append_len(way->line, data, (gssize)MIN(size, room));
        way->length += size;
}

void
trace_bytes(Trace *trace, TraceDirection direction, const char *data, size_t size)
{
        const char *end = data + size, *lf;

        while ((lf = memchr(data, '\n', (size_t)(end - data)))) {
                way_add(&trace->ways[direction], data, (size_t)(lf - data));
                trace_end_line(trace, direction);
                data = lf + 1;
        }
        way_add(&trace->ways[direction], data, (size_t)(end - data));
}

void
trace_environment(Trace *trace, const Inbox *inbox)
{
        const char *line = buffer_data(&inbox->bytes);
        const char *end = line ? line + inbox->env.line_start : NULL;
        bool hides = false;

        while (line < end) {
                g_autoptr(GString) shown = g_string_new(NULL);
                const char *lf = memchr(line, '\n', (size_t)(end - line));
                size_t length = (size_t)((lf ? lf : end) - line);

                agi_redact_environment(trace->patterns, shown, line, MIN(length, SHOWN_MAX),
                                       &hides);
                trace_log(trace, TRACE_FROM_CLIENT, shown, length);
                line += length + 1;
        }
}

void
trace_free(Trace *trace)
{
        if (!trace)
                return;

        for (size_t i = 0; i < G_N_ELEMENTS(trace->ways); i++) {
                if (trace->ways[i].length > 0)
                        trace_end_line(trace, (TraceDirection)i);
                g_string_free(trace->ways[i].line, TRUE);
        }
        g_free(trace);
}
