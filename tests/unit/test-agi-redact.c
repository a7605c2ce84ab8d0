/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is shown of commands, replies, environments and URLs, and what isn't. */
#include <string.h>

#include <glib.h>

#include "agi/agi-redact.h"

static const char *const patterns[] = { "*pin*", "card", "code?", "authenticate", NULL };

/* Each text is given as bytes of exactly that length. */
static bool
show_command(const char *const *names, const char *line, GString *text)
{
        g_autofree char *exact = g_memdup2(line, strlen(line));

        return agi_redact_command(names, text, exact, strlen(line));
}

static void
test_command(void)
{
        static const struct {
                const char *line, *shown;
                bool hides;
        } cases[] = {
                { "", "", false },
                { "NOOP", "NOOP", false },
                { "SET VARIABLE X 1234", "SET VARIABLE X 1234", false },
                { "SET VARIABLE PIN 1234", "SET VARIABLE PIN ***", true },
                { "set variable \"MyPin\" \"12 34\"", "set variable \"MyPin\"***", true },
                { "SET VARIABLE card 1", "SET VARIABLE card ***", true },
                { "SET VARIABLE cards 1", "SET VARIABLE cards 1", false },
                { "SET VARIABLE code7 1", "SET VARIABLE code7 ***", true },
                { "SET VARIABLE code 1", "SET VARIABLE code 1", false },
                { "SET VARIABLE code77 1", "SET VARIABLE code77 1", false },
                { "GET VARIABLE PIN", "GET VARIABLE PIN", true },
                { "GET FULL VARIABLE ${PIN} SIP/x", "GET FULL VARIABLE ${PIN}***", true },
                { "GET FULL VARIABLE ${PIN}", "GET FULL VARIABLE ${PIN}", true },
                { "GET DATA custom/enter-pin 5000 4", "GET DATA custom/enter-pin ***", true },
                { "EXEC Set PIN=1234", "EXEC Set PIN=***", true },
                { "EXEC MSet A=1,PIN=2,B=3", "EXEC MSet A=1,PIN=***", true },
                { "EXEC Authenticate 1234", "EXEC Authenticate ***", true },
                { "EXEC Read \"CARD,\"", "EXEC Read \"CARD,***", true },
                { "SET VARIABLE PIN ", "SET VARIABLE PIN ", true },
                { "SET VARIABLE \xff\xc3PIN 1", "SET VARIABLE \xff\xc3PIN ***", true },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GString) text = g_string_new("> "), all = g_string_new(NULL);
                g_autofree char *expected = g_strconcat("> ", cases[i].shown, NULL);

                g_assert_true(show_command(patterns, cases[i].line, text) == cases[i].hides);
                g_assert_cmpstr(text->str, ==, expected);
                g_assert_false(show_command(NULL, cases[i].line, all));
                g_assert_cmpstr(all->str, ==, cases[i].line);
        }
}

static void
test_reply(void)
{
        static const struct {
                const char *line, *shown;
        } cases[] = {
                { "200 result=1 (1234)", "200 result=1 (***)" },
                { "200 result=1 (12) 34)", "200 result=1 (***)" },
                { "200 result=1", "200 result=1" },
                { "200 result=0", "200 result=0" },
                { "200 result=-1", "200 result=-1" },
                { "200 result=-1 endpos=0", "200 result=-1 (***)" },
                { "200 result=1234", "200 result=***" },
                { "200 result=1234 (timeout)", "200 result=***" },
                { "200 result=10", "200 result=***" },
                { "200 result=-12", "200 result=***" },
                { "200 result=", "***" },
                { "200 result=4", "200 result=***" },
                { "200 secret", "***" },
                { "rest of a value)", "***" },
                { "", "***" },
                { "HANGUP", "HANGUP" },
                { "HANGUP 1234", "***" },
                { "510 Invalid or unknown command", "510 Invalid or unknown command" },
                { "100 result=0 Trying...", "100 result=0 Trying..." },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GString) text = g_string_new(NULL);
                g_autofree char *exact = g_memdup2(cases[i].line, strlen(cases[i].line));

                agi_redact_reply(text, exact, strlen(cases[i].line));
                g_assert_cmpstr(text->str, ==, cases[i].shown);
        }
}

static void
test_value(void)
{
        static const struct {
                const char *value, *shown;
        } cases[] = {
                { "agi://h/pin/menu?x=1", "agi://h/pin/menu?x=1" },
                { "agi://h/menu?pin=1234", "agi://h/menu?pin=***" },
                { "agi://h/menu?a=1&PIN=1234&b=2", "agi://h/menu?a=1&PIN=***&b=2" },
                { "agi://h/menu?pin=1&card=2#x", "agi://h/menu?pin=***&card=***#x" },
                { "agi://h/menu?pin=", "agi://h/menu?pin=***" },
                { "pin", "pin" },
                { "", "" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GString) text = g_string_new(NULL);
                g_autofree char *exact = g_memdup2(cases[i].value, strlen(cases[i].value));

                agi_redact_value(patterns, text, exact, strlen(cases[i].value));
                g_assert_cmpstr(text->str, ==, cases[i].shown);
        }
}

static void
test_environment(void)
{
        static const struct {
                const char *line, *shown;
        } cases[] = {
                { "agi_callerid: 17", "agi_callerid: 17" },
                { "agi_pin: 1234", "agi_pin: ***" },
                { "of two lines", "***" },
                { "agi_arg_1: pin=7;x", "agi_arg_1: pin=***;x" },
                { "of two lines", "of two lines" },
                { "agi_pin:", "agi_pin:" },
        };

        bool hides = false;

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GString) text = g_string_new(NULL);
                g_autofree char *exact = g_memdup2(cases[i].line, strlen(cases[i].line));

                agi_redact_environment(patterns, text, exact, strlen(cases[i].line), &hides);
                g_assert_cmpstr(text->str, ==, cases[i].shown);
        }
}

static void
test_patterns(void)
{
        static const struct {
                const char *pattern, *name;
                bool matches;
        } cases[] = {
                { "pin", "PIN", true },
                { "pin", "PI", false },
                { "*", "x", true },
                { "p*n", "pin", true },
                { "p*n", "pinn", true },
                { "p*n", "pinx", false },
                { "*a*b*", "xxaxxbxx", true },
                { "*a*b*", "xxbxxaxx", false },
                { "**pin", "mypin", true },
                { "?", "xy", false },
                { "p*", "p", true },
                { "*aab", "aaaaab", true },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const char *const one[] = { cases[i].pattern, NULL };
                g_autoptr(GString) text = g_string_new(NULL);

                g_assert_true(show_command(one, cases[i].name, text) == cases[i].matches);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/agi-redact/command", test_command);
        g_test_add_func("/agi-redact/reply", test_reply);
        g_test_add_func("/agi-redact/value", test_value);
        g_test_add_func("/agi-redact/environment", test_environment);
        g_test_add_func("/agi-redact/patterns", test_patterns);

        return g_test_run();
}
