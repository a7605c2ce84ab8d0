/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log-id.h"
#include "daemon/syslog-message.h"

/* 2026-11-23 07:15:38.123456 UTC */
#define TIME (G_GINT64_CONSTANT(1795418138) * G_USEC_PER_SEC + 123456)
#define HEAD "<30>1 2026-11-23T09:15:38.123456+02:00 host agitator 4711 "

static const SyslogOrigin origin = {
        .facility = 3,
        .hostname = "host",
        .procid = "4711",
        .max = 8192,
};

static void
set_zone(const char *zone)
{
        g_setenv("TZ", zone, TRUE);
        tzset();
}

/* To be freed; the fields end with one without a key and stay where they are. */
static LogRecord *
make_record(const GLogField *fields)
{
        size_t n = 0;
        LogRecord *record;

        while (fields[n].key)
                n++;
        record = g_malloc0(sizeof(LogRecord) + n * sizeof(GLogField));
        record->refs = 1;
        record->time = TIME;
        record->n_fields = n;
        for (size_t i = 0; i < n; i++)
                record->fields[i] = fields[i];

        return record;
}

static char *
format_as(const GLogField *fields, const SyslogOrigin *as, uint32_t sequence)
{
        g_autoptr(LogRecord) record = make_record(fields);
        GString *text = g_string_new(NULL);

        syslog_message_append(text, as, record, sequence);
        g_assert_cmpuint(text->len, ==, strlen(text->str));

        return g_string_free(text, FALSE);
}

static char *
format(const GLogField *fields, uint32_t sequence)
{
        return format_as(fields, &origin, sequence);
}

static void
test_whole(void)
{
        const GLogField fields[] = {
                { "MESSAGE", "session 1: served", -1 },
                { "PRIORITY", "6", -1 },
                { "GLIB_DOMAIN", G_LOG_DOMAIN, -1 },
                { "CODE_FILE", "x.c", -1 },
                { "MESSAGE_ID", LOG_ID_SESSION, -1 },
                { "AGITATOR_SESSION", "1", -1 },
                { "AGITATOR_BYTES_IN", "17 bytes", 2 },
                { "SYSLOG_IDENTIFIER", "agitator", -1 },
                { NULL },
        };
        g_autofree char *text = format(fields, 7);

        g_assert_cmpstr(text, ==,
                        HEAD "session [meta sequenceId=\"7\"][agitator@32473 session=\"1\" "
                             "bytes_in=\"17\"] session 1: served");
}

/* Each part that can be missing. */
static void
test_missing(void)
{
        const GLogField nothing[] = { { NULL } };
        const GLogField empty[] = { { "MESSAGE", "", -1 }, { "MESSAGE_ID", "0", -1 }, { NULL } };
        const GLogField text_only[] = { { "MESSAGE", "a", -1 }, { NULL } };
        const GLogField data_only[] = { { "AGITATOR_A", "", -1 }, { NULL } };
        const GLogField no_name[] = { { "AGITATOR_", "x", -1 }, { "OTHER", "x", -1 }, { NULL } };
        g_autofree char *a = format(nothing, 0), *b = format(nothing, 1), *c = format(empty, 0);
        g_autofree char *d = format(text_only, 0), *e = format(data_only, 0);
        g_autofree char *f = format(no_name, 0);

        g_assert_cmpstr(a, ==, HEAD "- -");
        g_assert_cmpstr(b, ==, HEAD "- [meta sequenceId=\"1\"]");
        g_assert_cmpstr(c, ==, HEAD "- -");
        g_assert_cmpstr(d, ==, HEAD "- - a");
        g_assert_cmpstr(e, ==, HEAD "- [agitator@32473 a=\"\"]");
        g_assert_cmpstr(f, ==, HEAD "- -");
}

static void
test_priority(void)
{
        static const struct {
                int facility;
                const char *priority, *head;
        } cases[] = {
                { 0, "0", "<0>1 " },    { 3, "4", "<28>1 " }, { 16, "7", "<135>1 " },
                { 23, "7", "<191>1 " }, { 3, "8", "<30>1 " }, { 3, "", "<30>1 " },
                { 3, "66", "<30>1 " },  { 3, "x", "<30>1 " },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const GLogField fields[] = { { "PRIORITY", cases[i].priority, -1 }, { NULL } };
                SyslogOrigin as = origin;
                g_autofree char *text = NULL;

                as.facility = cases[i].facility;
                text = format_as(fields, &as, 0);
                g_assert_true(g_str_has_prefix(text, cases[i].head));
        }
}

static void
test_kinds(void)
{
        static const struct {
                const char *id, *name;
        } cases[] = {
                { LOG_ID_SESSION_FAILED, "session-failed" },
                { LOG_ID_SYSLOG_DROPPED, "syslog-dropped" },
                { LOG_ID_READY, "ready" },
                { "ffffffffffffffffffffffffffffffff", "-" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const GLogField fields[] = { { "MESSAGE_ID", cases[i].id, -1 }, { NULL } };
                g_autofree char *text = format(fields, 0);
                g_autofree char *expected = g_strconcat(HEAD, cases[i].name, " -", NULL);

                g_assert_cmpstr(text, ==, expected);
        }
}

static char *
format_time(gint64 time, const char *zone)
{
        const GLogField fields[] = { { NULL } };
        g_autoptr(LogRecord) record = make_record(fields);
        g_autoptr(GString) text = g_string_new(NULL);
        g_auto(GStrv) words = NULL;

        set_zone(zone);
        record->time = time;
        syslog_message_append(text, &origin, record, 0);
        set_zone("EET-2");
        words = g_strsplit(text->str, " ", 3);

        return g_strdup(words[1]);
}

static void
test_time(void)
{
        static const struct {
                gint64 time;
                const char *zone, *text;
        } cases[] = {
                { TIME, "UTC0", "2026-11-23T07:15:38.123456+00:00" },
                { TIME, "EET-2", "2026-11-23T09:15:38.123456+02:00" },
                { TIME, "NST3:30", "2026-11-23T03:45:38.123456-03:30" },
                { TIME, "XXX-5:45", "2026-11-23T13:00:38.123456+05:45" },
                { TIME, "ZZZ0:20", "2026-11-23T06:55:38.123456-00:20" },
                { 0, "UTC0", "1970-01-01T00:00:00.000000+00:00" },
                { 7, "UTC0", "1970-01-01T00:00:00.000007+00:00" },
                { -1, "UTC0", "1969-12-31T23:59:59.999999+00:00" },
                { G_GINT64_CONSTANT(253402300799) * G_USEC_PER_SEC, "UTC0",
                  "9999-12-31T23:59:59.000000+00:00" },
                { G_GINT64_CONSTANT(253402300800) * G_USEC_PER_SEC, "UTC0", "-" },
                { G_MAXINT64, "UTC0", "-" },
                { G_MININT64, "UTC0", "-" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *text = format_time(cases[i].time, cases[i].zone);

                g_assert_cmpstr(text, ==, cases[i].text);
        }
}

/* The value of AGITATOR_A and the text, for the same bytes in both. */
static void
check_bytes(const char *bytes, gssize n, const char *value, const char *message)
{
        const GLogField fields[] = { { "AGITATOR_A", bytes, n },
                                     { "MESSAGE", bytes, n },
                                     { NULL } };
        g_autofree char *text = format(fields, 0);
        g_autofree char *expected =
                g_strconcat(HEAD "- [agitator@32473 a=\"", value, "\"] ", message, NULL);

        g_assert_cmpstr(text, ==, expected);
}

#define BOM "\xef\xbb\xbf"

static void
test_escapes(void)
{
        check_bytes("a \"b\" \\ [c]", -1, "a \\\"b\\\" \\\\ [c\\]", "a \"b\" \\ [c]");
        check_bytes("a\nb\r\t\x1b[31m\x7f", -1, "a\\\\x0ab\\\\x0d\\\\x09\\\\x1b[31m\\\\x7f",
                    "a\\x0ab\\x0d\\x09\\x1b[31m\\x7f");
        check_bytes("a\0b", 3, "a\\\\x00b", "a\\x00b");
        check_bytes("] x=\"", -1, "\\] x=\\\"", "] x=\"");
        check_bytes("[meta x=\"1\"]", -1, "[meta x=\\\"1\\\"\\]", "[meta x=\"1\"]");
}

static void
test_utf8(void)
{
        check_bytes("\xc3\xa4\xe2\x82\xac\xf0\x9f\x93\x9e", -1,
                    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x93\x9e",
                    BOM "\xc3\xa4\xe2\x82\xac\xf0\x9f\x93\x9e");
        /* Not UTF-8: alone, cut short, too long, a surrogate, beyond the end. */
        check_bytes("a\xff", -1, "a\\\\xff", "a\\xff");
        check_bytes("\xc3", -1, "\\\\xc3", "\\xc3");
        check_bytes("\xe2\x82", -1, "\\\\xe2\\\\x82", "\\xe2\\x82");
        check_bytes("\xc0\xaf", -1, "\\\\xc0\\\\xaf", "\\xc0\\xaf");
        check_bytes("\xed\xa0\x80", -1, "\\\\xed\\\\xa0\\\\x80", "\\xed\\xa0\\x80");
        check_bytes("\xf4\x90\x80\x80", -1, "\\\\xf4\\\\x90\\\\x80\\\\x80", "\\xf4\\x90\\x80\\x80");
        /* What steers: C1, a line separator, right-to-left, a mark of its own. */
        check_bytes("\xc2\x9b", -1, "\\\\xc2\\\\x9b", "\\xc2\\x9b");
        check_bytes("\xe2\x80\xa8", -1, "\\\\xe2\\\\x80\\\\xa8", "\\xe2\\x80\\xa8");
        check_bytes("\xe2\x80\xae", -1, "\\\\xe2\\\\x80\\\\xae", "\\xe2\\x80\\xae");
        check_bytes(BOM, -1, "\\\\xef\\\\xbb\\\\xbf", "\\xef\\xbb\\xbf");
}

static void
test_names(void)
{
        const GLogField fields[] = {
                { "AGITATOR_TLS_PEER", "x", -1 },
                { "AGITATOR_A=] \"\xc3\xa4", "x", -1 },
                { "AGITATOR_0123456789012345678901234567890123456789", "x", -1 },
                { NULL },
        };
        g_autofree char *text = format(fields, 0);

        g_assert_cmpstr(text, ==,
                        HEAD "- [agitator@32473 tls_peer=\"x\" a______=\"x\" "
                             "01234567890123456789012345678901=\"x\"]");
}

static void
test_other_domain(void)
{
        const GLogField fields[] = { { "MESSAGE", "a", -1 },
                                     { "GLIB_DOMAIN", "GLib", -1 },
                                     { NULL } };
        g_autofree char *text = format(fields, 0);

        g_assert_cmpstr(text, ==, HEAD "- - GLib: a");
}

static char *
repeat(const char *unit, size_t n)
{
        GString *text = g_string_new(NULL);

        while (n-- > 0)
                g_string_append(text, unit);

        return g_string_free(text, FALSE);
}

static void
test_fits_exactly(void)
{
        SyslogOrigin as = origin;
        g_autofree char *long_text = repeat("x", 600);
        const GLogField fields[] = { { "MESSAGE", long_text, -1 }, { NULL } };
        g_autofree char *whole = NULL, *cut = NULL;

        /* "- - " and the text. */
        as.max = strlen(HEAD) + 4 + 600;
        whole = format_as(fields, &as, 0);
        g_assert_cmpuint(strlen(whole), ==, as.max);
        g_assert_true(g_str_has_suffix(whole, "xxxx"));

        /* Room for a byte order mark is kept. */
        as.max--;
        cut = format_as(fields, &as, 0);
        g_assert_cmpuint(strlen(cut), ==, as.max - strlen(BOM));
        g_assert_true(g_str_has_suffix(cut, "x..."));
}

/* Whatever the bound, no character, no escape and no element is cut in two. */
static void
test_cut_is_clean(void)
{
        static const char *const units[] = { "\xc3\xa4", "\"", "\x01", "\xf0\x9f\x93\x9e", "]" };

        for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
                g_autofree char *bytes = repeat(units[i], 400);
                const GLogField fields[] = {
                        { "AGITATOR_SESSION", "0123456789abc", -1 },
                        { "AGITATOR_REQUEST", bytes, -1 },
                        { "AGITATOR_RESULT", "served", -1 },
                        { "MESSAGE", bytes, -1 },
                        { NULL },
                };

                for (size_t max = SYSLOG_MESSAGE_MIN; max < SYSLOG_MESSAGE_MIN + 16; max++) {
                        SyslogOrigin as = origin;
                        g_autofree char *text = NULL, *end = NULL;

                        as.max = max;
                        text = format_as(fields, &as, 1);
                        g_assert_cmpuint(strlen(text), <=, max);
                        g_assert_cmpuint(strlen(text), >, max - 32);
                        g_assert_true(g_utf8_validate(text, -1, NULL));
                        g_assert_nonnull(strstr(text, " session=\"0123456789abc\" request=\""));
                        g_assert_nonnull(strstr(text, "...\" result=\"served\"] "));
                        g_assert_true(g_str_has_suffix(text, "..."));
                        /* The last unit of the text is whole. */
                        end = g_strdup_printf("%s...", i == 2 ? "\\x01" : units[i]);
                        g_assert_true(g_str_has_suffix(text, end));
                }
        }
}

/* The short ones, which tell most, stay whole; the long ones get the same. */
static void
test_cut_is_fair(void)
{
        g_autofree char *a = repeat("a", 5000), *b = repeat("b", 300), *m = repeat("m", 9000);
        const GLogField fields[] = {
                { "AGITATOR_A", a, -1 }, { "AGITATOR_B", b, -1 },  { "AGITATOR_C", "c", -1 },
                { "MESSAGE", m, -1 },    { "MESSAGE_ID", "x", 1 }, { NULL },
        };
        SyslogOrigin as = origin;
        g_autofree char *text = NULL;
        g_auto(GStrv) parts = NULL;

        as.max = 2048;
        text = format_as(fields, &as, 0);
        g_assert_nonnull(strstr(text, b));
        g_assert_nonnull(strstr(text, "c=\"c\"]"));
        parts = g_strsplit_set(text, "\"", -1);
        g_assert_cmpuint(strspn(parts[1], "a") + 3, ==, strlen(parts[1]));
        g_assert_cmpuint(strlen(parts[1]) + 2, ==, strlen(parts[6])); /* after the "] " */
}

/* More names than there is room for. */
static void
test_cut_drops_parameters(void)
{
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        GLogField fields[101] = { { NULL } };
        SyslogOrigin as = origin;
        g_autofree char *text = NULL;

        for (unsigned i = 0; i < 100; i++) {
                char *name = g_strdup_printf("AGITATOR_FIELD_%u", i);

                g_ptr_array_add(names, name);
                fields[i] = (GLogField){ name, "value", -1 };
        }
        as.max = SYSLOG_MESSAGE_MIN;
        text = format_as(fields, &as, 1);
        g_assert_cmpuint(strlen(text), <=, as.max);
        g_assert_cmpuint(strlen(text), >, as.max - 32);
        g_assert_nonnull(strstr(text, "[agitator@32473 field_0=\""));
        g_assert_null(strstr(text, "field_99"));
        g_assert_true(g_str_has_suffix(text, "\"]"));
}

/* The longest head leaves room for something. */
static void
test_smallest(void)
{
        g_autofree char *hostname = repeat("h", 255);
        const GLogField fields[] = { { "AGITATOR_A", "value", -1 },
                                     { "MESSAGE", "message", -1 },
                                     { "MESSAGE_ID", LOG_ID_SESSION_FAILED, -1 },
                                     { NULL } };
        SyslogOrigin as = origin;
        g_autofree char *text = NULL;

        as.hostname = hostname;
        as.max = SYSLOG_MESSAGE_MIN;
        text = format_as(fields, &as, G_MAXINT32);
        g_assert_true(g_str_has_suffix(text, "[agitator@32473 a=\"value\"] message"));
}

static void
test_local(void)
{
        const GLogField fields[] = { { "MESSAGE", "caf\xc3\xa9\n", -1 },
                                     { "PRIORITY", "4", -1 },
                                     { "AGITATOR_A", "x", -1 },
                                     { NULL } };
        g_autoptr(LogRecord) record = make_record(fields);
        g_autoptr(GString) text = g_string_new(NULL);
        SyslogOrigin as = origin;

        syslog_message_append_local(text, &origin, record);
        g_assert_cmpstr(text->str, ==, "<28>Nov 23 09:15:38 agitator[4711]: caf\xc3\xa9\\x0a");

        as.max = text->len - 1;
        g_string_truncate(text, 0);
        syslog_message_append_local(text, &as, record);
        g_assert_cmpstr(text->str, ==, "<28>Nov 23 09:15:38 agitator[4711]: caf\xc3\xa9...");
}

static void
test_frames(void)
{
        const GLogField fields[] = { { "MESSAGE", "a", -1 }, { NULL } };
        g_autoptr(LogRecord) record = make_record(fields);
        g_autoptr(GString) text = g_string_new(NULL);
        const char local[] = "<30>Nov 23 09:15:38 agitator[4711]: a";

        syslog_message_append_framed(text, SYSLOG_FRAME_COUNTED, &origin, record, 0);
        syslog_message_append_framed(text, SYSLOG_FRAME_COUNTED, &origin, record, 0);
        g_assert_cmpstr(text->str, ==, "63 " HEAD "- - a63 " HEAD "- - a");
        g_assert_cmpuint(strlen(HEAD "- - a"), ==, 63);

        g_string_truncate(text, 0);
        syslog_message_append_framed(text, SYSLOG_FRAME_DATAGRAM, &origin, record, 0);
        g_assert_cmpstr(text->str, ==, HEAD "- - a");

        g_string_truncate(text, 0);
        syslog_message_append_framed(text, SYSLOG_FRAME_LOCAL_DATAGRAM, &origin, record, 0);
        g_assert_cmpstr(text->str, ==, local);

        g_string_truncate(text, 0);
        syslog_message_append_framed(text, SYSLOG_FRAME_LOCAL_STREAM, &origin, record, 0);
        g_assert_cmpmem(text->str, text->len, local, sizeof(local));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        set_zone("EET-2");
        g_test_add_func("/syslog-message/whole", test_whole);
        g_test_add_func("/syslog-message/missing", test_missing);
        g_test_add_func("/syslog-message/priority", test_priority);
        g_test_add_func("/syslog-message/kinds", test_kinds);
        g_test_add_func("/syslog-message/time", test_time);
        g_test_add_func("/syslog-message/escapes", test_escapes);
        g_test_add_func("/syslog-message/utf8", test_utf8);
        g_test_add_func("/syslog-message/names", test_names);
        g_test_add_func("/syslog-message/other-domain", test_other_domain);
        g_test_add_func("/syslog-message/fits-exactly", test_fits_exactly);
        g_test_add_func("/syslog-message/cut-is-clean", test_cut_is_clean);
        g_test_add_func("/syslog-message/cut-is-fair", test_cut_is_fair);
        g_test_add_func("/syslog-message/cut-drops-parameters", test_cut_drops_parameters);
        g_test_add_func("/syslog-message/smallest", test_smallest);
        g_test_add_func("/syslog-message/local", test_local);
        g_test_add_func("/syslog-message/frames", test_frames);

        return g_test_run();
}
