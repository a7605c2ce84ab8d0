/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is a record, any bytes in its fields. What becomes of it has to be one message as RFC
 * 5424, section 6 has it, by a parser that knows nothing but that grammar, no longer than allowed,
 * and has to say what the record says: all of it, or where it was too long the beginning of it.
 *
 * Four bytes choose who speaks, how long a message may be, and whether it is numbered, eight are
 * the time; then each field is a byte for its key, one for its length, or two of them from 128 on,
 * and its value.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include "base/log-id.h"
#include "daemon/syslog-message.h"

#define MAX_FIELDS 64
#define MAX_PARAMS (MAX_FIELDS + 1)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Input {
        const uint8_t *next, *end;
} Input;

/* A value as a parser finds it, undone. */
typedef struct Param {
        char *element, *name;
        GString *value;
} Param;

typedef struct Message {
        unsigned priority;
        char *time, *hostname, *app, *procid, *msgid;
        Param params[MAX_PARAMS];
        size_t n_params;
        bool has_text, has_bom;
        const char *text;
        size_t text_size;
} Message;

static unsigned
take(Input *input)
{
        return input->next < input->end ? *input->next++ : 0;
}

/* The parser. Each function takes its part off the text, and breaks the target where it isn't
 * there. */
typedef struct Text {
        const char *next, *end;
} Text;

static char
text_peek(const Text *text)
{
        g_assert_true(text->next < text->end);

        return *text->next;
}

static void
text_expect(Text *text, char c)
{
        g_assert_true(text_peek(text) == c);
        text->next++;
}

/* 1 to @max characters that print, but for @not. */
static char *
text_take_name(Text *text, size_t max, const char * not )
{
        const char *begin = text->next;

        while (text->next < text->end && *text->next >= 33 && *text->next <= 126 &&
               !strchr(not, *text->next))
                text->next++;
        g_assert_cmpint(text->next - begin, >=, 1);
        g_assert_cmpint(text->next - begin, <=, (gssize)max);

        return g_strndup(begin, (gsize)(text->next - begin));
}

static unsigned
text_take_priority(Text *text)
{
        unsigned value = 0;
        const char *begin;

        text_expect(text, '<');
        for (begin = text->next; g_ascii_isdigit(text_peek(text)); text->next++)
                value = value * 10 + (unsigned)(*text->next - '0');
        g_assert_cmpint(text->next - begin, >=, 1);
        g_assert_cmpint(text->next - begin, <=, 3);
        g_assert_true(*begin != '0' || text->next - begin == 1);
        g_assert_cmpuint(value, <=, 191);
        text_expect(text, '>');

        return value;
}

static GString *
text_take_value(Text *text)
{
        GString *value = g_string_new(NULL);

        text_expect(text, '"');
        while (text_peek(text) != '"') {
                g_assert_true(*text->next != ']');
                if (*text->next == '\\') {
                        text->next++;
                        g_assert_nonnull(strchr("\"\\]", text_peek(text)));
                }
                g_string_append_c(value, *text->next++);
        }
        text->next++;
        g_assert_true(g_utf8_validate(value->str, (gssize)value->len, NULL));

        return value;
}

static void
text_take_element(Text *text, Message *message)
{
        g_autofree char *element = NULL;

        text_expect(text, '[');
        element = text_take_name(text, 32, "= ]\"");
        while (text_peek(text) == ' ') {
                Param *param = &message->params[message->n_params++];

                g_assert_cmpuint(message->n_params, <=, MAX_PARAMS);
                text->next++;
                param->element = g_strdup(element);
                param->name = text_take_name(text, 32, "= ]\"");
                text_expect(text, '=');
                param->value = text_take_value(text);
        }
        text_expect(text, ']');
}

static void
parse(Message *message, const char *bytes, size_t n)
{
        Text text = { bytes, bytes + n };
        static const char bom[] = "\xef\xbb\xbf";

        *message = (Message){ .priority = text_take_priority(&text) };
        text_expect(&text, '1');
        text_expect(&text, ' ');
        message->time = text_take_name(&text, 32, "");
        text_expect(&text, ' ');
        message->hostname = text_take_name(&text, 255, "");
        text_expect(&text, ' ');
        message->app = text_take_name(&text, 48, "");
        text_expect(&text, ' ');
        message->procid = text_take_name(&text, 128, "");
        text_expect(&text, ' ');
        message->msgid = text_take_name(&text, 32, "");
        text_expect(&text, ' ');

        if (text_peek(&text) == '-')
                text.next++;
        else
                do
                        text_take_element(&text, message);
                while (text.next < text.end && *text.next == '[');

        if (text.next < text.end) {
                text_expect(&text, ' ');
                message->has_text = true;
                message->has_bom = text.end - text.next >= 3 && memcmp(text.next, bom, 3) == 0;
                message->text = text.next + (message->has_bom ? 3 : 0);
                message->text_size = (size_t)(text.end - message->text);
                g_assert_cmpuint(message->text_size, >, 0);
        }
}

static void
message_clear(Message *message)
{
        g_free(message->time);
        g_free(message->hostname);
        g_free(message->app);
        g_free(message->procid);
        g_free(message->msgid);
        for (size_t i = 0; i < message->n_params; i++) {
                g_free(message->params[i].element);
                g_free(message->params[i].name);
                g_string_free(message->params[i].value, TRUE);
        }
}

/* True for what is no character to look at. The tables of a regular expression would be those of
 * another year. */
static bool
steers(gunichar c)
{
        static const GUnicodeType types[] = { G_UNICODE_CONTROL, G_UNICODE_FORMAT,
                                              G_UNICODE_LINE_SEPARATOR,
                                              G_UNICODE_PARAGRAPH_SEPARATOR };

        for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
                if (g_unichar_type(c) == types[i])
                        return true;

        return false;
}

/* What a reader is to see of the bytes, with where each unit of it ends. */
static GString *
model_text(const char *bytes, size_t n, GArray *ends)
{
        GString *text = g_string_new(NULL);
        size_t end = 0;

        g_array_append_val(ends, end);
        while (n > 0) {
                const char *valid;
                size_t width = 1;
                gunichar c = 0;

                /* The first character alone, if there is one. */
                g_utf8_validate_len(bytes, MIN(n, 4), &valid);
                if (valid > bytes) {
                        c = g_utf8_get_char(bytes);
                        width = (size_t)g_unichar_to_utf8(c, NULL);
                } else if (*bytes == '\0') {
                        c = 1;
                }

                if ((c >= ' ' && c < 0x7f) || (c >= 0x80 && !steers(c)))
                        g_string_append_len(text, bytes, (gssize)width);
                else
                        for (size_t i = 0; i < width; i++)
                                g_string_append_printf(text, "\\x%02x", (uint8_t)bytes[i]);
                bytes += width;
                n -= width;
                g_array_append_val(ends, text->len);
        }

        return text;
}

/* True when @found is all of the bytes. Otherwise it is their beginning, cut cleanly. */
static bool
check_value(const char *found, size_t size, const char *bytes, size_t n)
{
        g_autoptr(GArray) ends = g_array_new(FALSE, FALSE, sizeof(size_t));
        g_autoptr(GString) model = model_text(bytes, n, ends);

        if (size == model->len && memcmp(found, model->str, size) == 0)
                return true;
        if (size == 0)
                return false;

        g_assert_cmpuint(size, >=, 3);
        size -= 3;
        g_assert_cmpmem(found + size, 3, "...", 3);
        g_assert_cmpuint(size, <=, model->len);
        g_assert_cmpmem(found, size, model->str, size);
        for (unsigned i = 0; i < ends->len; i++)
                if (g_array_index(ends, size_t, i) == size)
                        return false;
        g_assert_not_reached();
}

static void
check_time(const char *time, gint64 expected)
{
        g_autoptr(GDateTime) parsed = NULL;

        if (strcmp(time, "-") == 0) {
                /* With a day for what the zone does. */
                g_assert_true(expected / G_USEC_PER_SEC > G_GINT64_CONSTANT(253402300799) - 86400 ||
                              expected / G_USEC_PER_SEC < G_GINT64_CONSTANT(-62167219200) + 86400);
                return;
        }

        g_assert_true(g_regex_match_simple(
                "\\A\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{6}[+-]\\d\\d:\\d\\d\\z", time,
                0, 0));
        parsed = g_date_time_new_from_iso8601(time, NULL);
        if (parsed) /* GLib's dates begin with the year 1 */
                g_assert_cmpint(g_date_time_to_unix(parsed) * G_USEC_PER_SEC +
                                        g_date_time_get_microsecond(parsed),
                                ==, expected);
}

static const GLogField *
find(const LogRecord *record, const char *key)
{
        for (size_t i = 0; i < record->n_fields; i++)
                if (strcmp(record->fields[i].key, key) == 0)
                        return &record->fields[i];

        return NULL;
}

/* True when nothing was cut. */
static bool
check_params(const Message *message, const LogRecord *record, uint32_t sequence)
{
        size_t next = 0;
        bool is_whole = true;

        if (sequence > 0) {
                g_assert_cmpuint(message->n_params, >, 0);
                g_assert_cmpstr(message->params[0].element, ==, "meta");
                g_assert_cmpstr(message->params[0].name, ==, "sequenceId");
                g_assert_cmpuint(g_ascii_strtoull(message->params[0].value->str, NULL, 10), ==,
                                 sequence);
                next++;
        }

        for (size_t i = 0; i < record->n_fields; i++) {
                const GLogField *field = &record->fields[i];
                const Param *param = &message->params[next];

                if (!g_str_has_prefix(field->key, "AGITATOR_") || !field->key[9])
                        continue;
                if (next == message->n_params) {
                        is_whole = false;
                        break;
                }
                next++;
                g_assert_cmpstr(param->element, ==, "agitator@32473");
                g_assert_cmpuint(strlen(param->name), ==, MIN(strlen(field->key) - 9, 32));
                is_whole &= check_value(param->value->str, param->value->len, field->value,
                                        log_field_get_length(field));
        }
        g_assert_cmpuint(next, ==, message->n_params);

        return is_whole;
}

/* True when nothing was cut. */
static bool
check_text(const Message *message, const LogRecord *record)
{
        const GLogField *field = find(record, "MESSAGE"), *domain = find(record, "GLIB_DOMAIN");
        g_autoptr(GString) expected = g_string_new(NULL);
        bool is_ascii = true;

        if (domain && field && field->length > 0 && strcmp(domain->value, G_LOG_DOMAIN) != 0)
                g_string_append_printf(expected, "%s: ", (const char *)domain->value);
        if (field)
                g_string_append_len(expected, field->value, field->length);
        for (size_t i = 0; i < message->text_size; i++)
                is_ascii &= (message->text[i] & 0x80) == 0;

        g_assert_true(message->has_bom == !is_ascii);
        g_assert_true(
                g_utf8_validate_len(message->text ? message->text : "", message->text_size, NULL));

        return check_value(message->text ? message->text : "", message->text_size, expected->str,
                           expected->len);
}

static void
check(const LogRecord *record, const SyslogOrigin *origin, uint32_t sequence)
{
        g_autoptr(GString) text = g_string_new("before");
        const GLogField *id = find(record, "MESSAGE_ID"), *priority = find(record, "PRIORITY");
        const char *name = id ? log_id_get_name(id->value) : NULL;
        unsigned severity = 6;
        Message message;
        bool is_whole;

        syslog_message_append(text, origin, record, sequence);
        g_assert_cmpmem(text->str, 6, "before", 6);
        g_assert_cmpuint(text->len - 6, <=, origin->max);

        parse(&message, text->str + 6, text->len - 6);
        if (priority && strlen(priority->value) == 1 && *(const char *)priority->value >= '0' &&
            *(const char *)priority->value <= '7')
                severity = (unsigned)(*(const char *)priority->value - '0');
        g_assert_cmpuint(message.priority, ==, (unsigned)origin->facility * 8 + severity);
        check_time(message.time, record->time);
        g_assert_cmpstr(message.hostname, ==, origin->hostname);
        g_assert_cmpstr(message.app, ==, "agitator");
        g_assert_cmpstr(message.procid, ==, origin->procid);
        g_assert_cmpstr(message.msgid, ==, name ? name : "-");
        is_whole = check_params(&message, record, sequence);
        is_whole &= check_text(&message, record);

        /* Nothing is cut that had room: more than what is kept for a mark, and for each piece a
         * unit that would not have fitted and its share's remainder. */
        if (!is_whole)
                g_assert_cmpuint(text->len - 6 + 5 + 64 + 24 * (record->n_fields + 1), >=,
                                 origin->max);
        message_clear(&message);
}

/* In the frame of a stream, or for a daemon of this host, it is one message too. */
static void
check_frames(const LogRecord *record, const SyslogOrigin *origin, uint32_t sequence)
{
        g_autoptr(GString) plain = g_string_new(NULL), counted = g_string_new(NULL);
        g_autoptr(GString) local = g_string_new(NULL);
        char *end;

        syslog_message_append(plain, origin, record, sequence);
        syslog_message_append_framed(counted, SYSLOG_FRAME_COUNTED, origin, record, sequence);
        g_assert_cmpuint(g_ascii_strtoull(counted->str, &end, 10), ==, plain->len);
        g_assert_true(*end == ' ');
        g_assert_cmpmem(end + 1, counted->len - (size_t)(end + 1 - counted->str), plain->str,
                        plain->len);

        syslog_message_append_framed(local, SYSLOG_FRAME_LOCAL_STREAM, origin, record, sequence);
        g_assert_cmpuint(strlen(local->str), ==, local->len - 1);
        g_assert_cmpuint(local->len - 1, <=, origin->max);
        g_assert_true(g_utf8_validate(local->str, -1, NULL));
        for (size_t i = 0; i < local->len - 1; i++)
                g_assert_false(g_ascii_iscntrl(local->str[i]));
        g_assert_true(g_regex_match_simple(
                "\\A<\\d{1,3}>[A-Z][a-z]{2} [ \\d]\\d \\d\\d:\\d\\d:\\d\\d agitator\\[\\d+\\]: ",
                local->str, 0, 0));
}

static void
take_field(Input *input, LogRecord *record, GPtrArray *keys)
{
        static const char *const known[] = { "MESSAGE",          "PRIORITY",        "MESSAGE_ID",
                                             "GLIB_DOMAIN",      "CODE_FILE",       "AGITATOR_",
                                             "AGITATOR_REQUEST", "AGITATOR_SESSION" };
        static const char *const texts[] = { "PRIORITY", "MESSAGE_ID", "GLIB_DOMAIN" };
        unsigned choice = take(input), length = take(input);
        const char *key = known[choice % G_N_ELEMENTS(known)];
        char *value;

        if (length >= 128)
                length = (length - 128) << 8 | take(input);
        length = (unsigned)MIN(length, (size_t)(input->end - input->next));

        /* A key is of the program's own making, but some day's program. */
        if (choice >= 128) {
                size_t name = MIN(length, choice % 64);
                g_autofree char *rest = g_strndup((const char *)input->next, name);

                key = g_strconcat("AGITATOR_", rest, NULL);
                g_ptr_array_add(keys, (void *)key);
        }

        value = g_malloc(length + 1);
        memcpy(value, input->next, length);
        value[length] = '\0';
        g_ptr_array_add(keys, value);
        input->next += length;
        record->fields[record->n_fields] = (GLogField){ key, value, (gssize)length };
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
                if (strcmp(key, texts[i]) == 0)
                        record->fields[record->n_fields].length = -1;
        record->n_fields++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const unsigned sizes[] = { SYSLOG_MESSAGE_MIN, 600, 2048, 8192 };
        static const char *const hostnames[] = { "-", "proxy-1.example.com", "2001:db8::1" };
        Input input = { data, data + size };
        g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
        g_autofree LogRecord *record =
                g_malloc0(sizeof(LogRecord) + MAX_FIELDS * sizeof(GLogField));
        SyslogOrigin origin = { .procid = "4711" };
        uint32_t sequence;
        uint64_t time = 0;

        origin.facility = (int)(take(&input) % 24);
        origin.max = sizes[take(&input) % G_N_ELEMENTS(sizes)];
        origin.hostname = hostnames[take(&input) % G_N_ELEMENTS(hostnames)];
        sequence = take(&input) * 8388607U;
        for (unsigned i = 0; i < 8; i++)
                time = time << 8 | take(&input);
        record->time = (gint64)time;
        while (input.next < input.end && record->n_fields < MAX_FIELDS)
                take_field(&input, record, strings);

        check(record, &origin, sequence);
        check_frames(record, &origin, sequence);

        return 0;
}
