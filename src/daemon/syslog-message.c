/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A message is put together from pieces that can be cut, the values of the structured data and the
 * text, and what stands between them and can't. Nearly all messages fit, so that a message is
 * written out at once and measured then. One that is too long is written anew: then no piece may be
 * longer than a measure that is the same for all of them, so that the short ones, which tell most,
 * stay whole.
 *
 * The values go into the element agitator@32473. An element that IANA hasn't registered has to
 * carry an enterprise number; agitator has none, so this is the one that is kept for examples (RFC
 * 5612), which is nobody else's, and the name before it tells whose it is.
 */

#include "daemon/syslog-message.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log-id.h"
#include "base/log-text.h"

#define APP_NAME      "agitator"
#define ELEMENT       "agitator@32473"
#define FIELD_PREFIX  "AGITATOR_"
#define NAME_MAX_5424 32 /* of MSGID and of PARAM-NAME */
#define BOM           "\xef\xbb\xbf"
#define CUT           "..."
#define NIL           "-"

static const GLogField *
find_field(const LogRecord *record, const char *key)
{
        for (size_t i = 0; i < record->n_fields; i++)
                if (strcmp(record->fields[i].key, key) == 0)
                        return &record->fields[i];

        return NULL;
}

static int
find_priority(const SyslogOrigin *origin, const LogRecord *record)
{
        const GLogField *field = find_field(record, "PRIORITY");
        const char *digit = field ? field->value : "";
        int severity = *digit >= '0' && *digit <= '7' && !digit[1] ? *digit - '0' : 6;

        return origin->facility * 8 + severity;
}

/* Appends the bytes as far as they need no more than @room; false when that was not all of them. */
static bool
append_escaped(GString *text, const char *bytes, size_t n, bool is_quoted, size_t room)
{
        const char *end = bytes + n;
        size_t limit = room > G_MAXSIZE - text->len ? G_MAXSIZE : text->len + room;

        while (bytes < end) {
                const char *plain = bytes;
                bool is_harmless;
                size_t width, needed;

                while (bytes < end && log_text_is_plain(*bytes) &&
                       !(is_quoted && (*bytes == '"' || *bytes == '\\' || *bytes == ']')))
                        bytes++;
                width = MIN((size_t)(bytes - plain), limit - text->len);
                g_string_append_len(text, plain, (gssize)width);
                if (plain + width < bytes)
                        return false;
                if (bytes == end)
                        break;

                width = log_text_measure(bytes, (size_t)(end - bytes), &is_harmless);
                needed = is_harmless ? width + (width == 1) : width * (is_quoted ? 5 : 4);
                if (needed > limit - text->len)
                        return false;

                if (is_harmless) {
                        /* One of the three that a backslash goes before. */
                        if (width == 1)
                                g_string_append_c(text, '\\');
                        g_string_append_len(text, bytes, (gssize)width);
                } else {
                        for (size_t i = 0; i < width; i++)
                                g_string_append_printf(text, is_quoted ? "\\\\x%02x" : "\\x%02x",
                                                       (unsigned char)bytes[i]);
                }
                bytes += width;
        }

        return true;
}

static void
append_piece(GString *text, const char *bytes, size_t n, bool is_quoted, size_t room)
{
        size_t before = text->len;

        if (append_escaped(text, bytes, n, is_quoted, room))
                return;

        g_string_truncate(text, before);
        if (room < strlen(CUT))
                return;
        append_escaped(text, bytes, n, is_quoted, room - strlen(CUT));
        g_string_append(text, CUT);
}

static void
append_time(GString *text, gint64 time)
{
        gint64 micros = ((time % G_USEC_PER_SEC) + G_USEC_PER_SEC) % G_USEC_PER_SEC;
        time_t seconds = (time_t)(time / G_USEC_PER_SEC - (time % G_USEC_PER_SEC < 0));
        struct tm local = { 0 };
        long offset;

        /* A clock that is wrong by millennia has no TIMESTAMP. */
        if (!localtime_r(&seconds, &local) || local.tm_year < -1900 ||
            local.tm_year > 9999 - 1900) {
                g_string_append(text, NIL);
                return;
        }

        /* Some zones count leap seconds; a message may not. */
        offset = local.tm_gmtoff / 60;
        g_string_append_printf(text, "%04d-%02d-%02dT%02d:%02d:%02d.%06d%c%02ld:%02ld",
                               local.tm_year + 1900, local.tm_mon + 1, local.tm_mday, local.tm_hour,
                               local.tm_min, MIN(local.tm_sec, 59), (int)micros,
                               offset < 0 ? '-' : '+', labs(offset) / 60, labs(offset) % 60);
}

static void
append_header(GString *text, const SyslogOrigin *origin, const LogRecord *record)
{
        const GLogField *id = find_field(record, "MESSAGE_ID");
        const char *name = id ? log_id_get_name(id->value) : NULL;

        g_string_append_printf(text, "<%d>1 ", find_priority(origin, record));
        append_time(text, record->time);
        g_string_append_printf(text, " %s " APP_NAME " %s %.*s", origin->hostname, origin->procid,
                               NAME_MAX_5424, name ? name : NIL);
}

static bool
is_parameter(const GLogField *field)
{
        return g_str_has_prefix(field->key, FIELD_PREFIX) && field->key[strlen(FIELD_PREFIX)];
}

/* AGITATOR_BYTES_IN= is bytes_in="". */
static void
append_name(GString *text, const char *key)
{
        key += strlen(FIELD_PREFIX);
        for (size_t i = 0; key[i] && i < NAME_MAX_5424; i++)
                g_string_append_c(text, g_ascii_isalnum(key[i]) ? g_ascii_tolower(key[i]) : '_');
}

/* How much of a piece is written where: @room for the value of each parameter and for the text, for
 * the first @n_parameters of them. */
typedef struct Measure {
        size_t room;
        size_t n_parameters;
} Measure;

static void
append_data(GString *text, const LogRecord *record, uint32_t sequence, const Measure *measure)
{
        size_t n = 0;

        g_string_append_c(text, ' ');
        if (sequence > 0)
                g_string_append_printf(text, "[meta sequenceId=\"%u\"]", sequence);

        for (size_t i = 0; i < record->n_fields && n < measure->n_parameters; i++) {
                const GLogField *field = &record->fields[i];

                if (!is_parameter(field))
                        continue;
                g_string_append(text, n++ == 0 ? "[" ELEMENT " " : " ");
                append_name(text, field->key);
                g_string_append(text, "=\"");
                append_piece(text, field->value, log_field_get_length(field), true, measure->room);
                g_string_append_c(text, '"');
        }
        if (n > 0)
                g_string_append_c(text, ']');
        else if (sequence == 0)
                g_string_append(text, NIL);
}

/* What the message says, with whose it is if it isn't ours. */
static GString *
get_message(const LogRecord *record)
{
        const GLogField *message = find_field(record, "MESSAGE");
        const GLogField *domain = find_field(record, "GLIB_DOMAIN");
        GString *text = g_string_new(NULL);

        if (!message || log_field_get_length(message) == 0)
                return text;

        if (domain && strcmp(domain->value, G_LOG_DOMAIN) != 0)
                g_string_append_printf(text, "%s: ", (const char *)domain->value);
        g_string_append_len(text, message->value, (gssize)log_field_get_length(message));

        return text;
}

/* Text that is more than ASCII has to say that it is UTF-8. */
static bool
needs_bom(const char *bytes, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (bytes[i] & 0x80)
                        return true;

        return false;
}

static void
append_text(GString *text, const LogRecord *record, size_t room)
{
        g_autoptr(GString) message = get_message(record);
        size_t before = text->len;

        if (message->len == 0)
                return;

        g_string_append_c(text, ' ');
        append_piece(text, message->str, message->len, false, room);
        if (needs_bom(text->str + before, text->len - before))
                g_string_insert(text, (gssize)before + 1, BOM);
        else if (text->len == before + 1)
                g_string_truncate(text, before);
}

/* The lengths of all pieces, the text's as the last one. */
static GArray *
measure_pieces(const LogRecord *record)
{
        GArray *lengths = g_array_new(FALSE, FALSE, sizeof(size_t));
        g_autoptr(GString) scratch = g_string_new(NULL);
        g_autoptr(GString) message = get_message(record);
        size_t length;

        for (size_t i = 0; i < record->n_fields; i++) {
                const GLogField *field = &record->fields[i];

                if (!is_parameter(field))
                        continue;
                g_string_truncate(scratch, 0);
                append_escaped(scratch, field->value, log_field_get_length(field), true, G_MAXSIZE);
                length = scratch->len;
                g_array_append_val(lengths, length);
        }

        g_string_truncate(scratch, 0);
        append_escaped(scratch, message->str, message->len, false, G_MAXSIZE);
        length = scratch->len;
        g_array_append_val(lengths, length);

        return lengths;
}

static int
compare_lengths(const void *a, const void *b)
{
        size_t x = *(const size_t *)a, y = *(const size_t *)b;

        return x < y ? -1 : x > y;
}

/* The most that each piece may have so that together they have no more than @budget. */
static size_t
share(GArray *lengths, size_t budget)
{
        g_array_sort(lengths, compare_lengths);

        for (unsigned i = 0; i < lengths->len; i++) {
                size_t length = g_array_index(lengths, size_t, i);
                size_t part = budget / (lengths->len - i);

                if (length > part)
                        return part;
                budget -= length;
        }

        return G_MAXSIZE;
}

/* Finds a measure that makes the message no longer than @max. The pieces have no room yet in
 * @measure. */
static void
fit(GString *text,
    const LogRecord *record,
    uint32_t sequence,
    size_t before,
    size_t max,
    Measure *measure)
{
        g_autoptr(GArray) lengths = measure_pieces(record);
        GArray *parameters = lengths;
        size_t header = text->len, frame;

        /* What a message can't go without, with the fewest parameters that must be left out. */
        measure->n_parameters = lengths->len - 1;
        for (;;) {
                append_data(text, record, sequence, measure);
                frame = text->len - before + strlen(" " BOM);
                g_string_truncate(text, header);
                if (frame <= max || measure->n_parameters == 0)
                        break;
                measure->n_parameters--;
                g_array_remove_index(parameters, parameters->len - 2);
        }

        measure->room = share(lengths, max > frame ? max - frame : 0);
}

void
syslog_message_append(GString *text,
                      const SyslogOrigin *origin,
                      const LogRecord *record,
                      uint32_t sequence)
{
        Measure measure = { .room = G_MAXSIZE, .n_parameters = G_MAXSIZE };
        size_t before = text->len, header;

        append_header(text, origin, record);
        header = text->len;
        append_data(text, record, sequence, &measure);
        append_text(text, record, measure.room);
        if (text->len - before <= origin->max)
                return;

        measure.room = 0;
        g_string_truncate(text, header);
        fit(text, record, sequence, before, origin->max, &measure);
        append_data(text, record, sequence, &measure);
        append_text(text, record, measure.room);
        g_assert(text->len - before <= origin->max);
}

void
syslog_message_append_local(GString *text, const SyslogOrigin *origin, const LogRecord *record)
{
        static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
        time_t seconds = (time_t)(record->time / G_USEC_PER_SEC);
        g_autoptr(GString) message = get_message(record);
        size_t before = text->len;
        struct tm local = { 0 };

        localtime_r(&seconds, &local);
        g_string_append_printf(
                text, "<%d>%s %2d %02d:%02d:%02d " APP_NAME "[%s]: ", find_priority(origin, record),
                months[local.tm_mon % 12], local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec,
                origin->procid);
        append_piece(text, message->str, message->len, false, origin->max - (text->len - before));
}

void
syslog_message_append_framed(GString *text,
                             SyslogFrame frame,
                             const SyslogOrigin *origin,
                             const LogRecord *record,
                             uint32_t sequence)
{
        g_autoptr(GString) message = NULL;

        switch (frame) {
        case SYSLOG_FRAME_COUNTED:
                message = g_string_sized_new(1024);
                syslog_message_append(message, origin, record, sequence);
                g_string_append_printf(text, "%" G_GSIZE_FORMAT " ", message->len);
                g_string_append_len(text, message->str, (gssize)message->len);
                break;
        case SYSLOG_FRAME_DATAGRAM:
                syslog_message_append(text, origin, record, sequence);
                break;
        case SYSLOG_FRAME_LOCAL_DATAGRAM:
                syslog_message_append_local(text, origin, record);
                break;
        case SYSLOG_FRAME_LOCAL_STREAM:
                syslog_message_append_local(text, origin, record);
                g_string_append_c(text, '\0');
                break;
        }
}
