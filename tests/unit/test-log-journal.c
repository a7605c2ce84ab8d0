/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What goes to the journal, as bytes; tests/system has a real one read it.
 */
#include <string.h>

#include "base/log-id.h"
#include "base/log-journal.h"

#define REST "PRIORITY=6\nMESSAGE_ID=" LOG_ID_OTHER "\nSYSLOG_IDENTIFIER=agitator\n"

static char *
format(const GLogField *fields, size_t n)
{
        g_autoptr(LogRecord) record = log_record_new(G_LOG_LEVEL_INFO, fields, n);
        GString *text = g_string_new(NULL);

        log_journal_format(text, record);

        return g_string_free(text, FALSE);
}

static void
test_fields(void)
{
        const GLogField fields[] = {
                { "MESSAGE", "hello", -1 },
                { "AGITATOR_SERVER", "ivr-1xx", 5 },
                { "NOT_A_STRING", fields, 0 },
                { "AGITATOR_EMPTY", "", -1 },
        };
        g_autofree char *text = format(fields, G_N_ELEMENTS(fields));

        g_assert_cmpstr(text, ==, "MESSAGE=hello\nAGITATOR_SERVER=ivr-1\nAGITATOR_EMPTY=\n" REST);
}

static void
test_forgeries(void)
{
        static const struct {
                const char *value;
                gssize length;
                const char *text;
        } cases[] = {
                { "x\nMESSAGE_ID=5e0c3d8a7f6b4e1a9d2c8b7a6f5e4d02", -1,
                  "x\\x0aMESSAGE_ID=5e0c3d8a7f6b4e1a9d2c8b7a6f5e4d02" },
                { "x\n\nMESSAGE=forged", -1, "x\\x0a\\x0aMESSAGE=forged" },
                { "a\0b", 3, "a\\x00b" },
                { "\033[2J\x9b", -1, "\\x1b[2J\\x9b" },
                { "\xe2\x80\xae", -1, "\\xe2\\x80\\xae" },
                { "Zo\xc3\xab", -1, "Zo\xc3\xab" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const GLogField field = { "AGITATOR_REQUEST", cases[i].value, cases[i].length };
                g_autofree char *text = format(&field, 1);
                g_autofree char *expected =
                        g_strdup_printf("AGITATOR_REQUEST=%s\n" REST, cases[i].text);

                g_assert_cmpstr(text, ==, expected);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/log-journal/format/a-line-for-each-field", test_fields);
        g_test_add_func("/log-journal/format/peer-cannot-forge-a-field", test_forgeries);

        return g_test_run();
}
