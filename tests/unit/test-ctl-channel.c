/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The channel that `agitatorctl call` pretends to have: its environment and its replies. */

#include <string.h>

#include <glib.h>

#include "ctl/channel.h"

static void
assert_reply(Channel *channel, const char *line, const char *expected)
{
        g_autofree char *reply = channel_execute(channel, line, strlen(line));

        g_assert_cmpstr(reply, ==, expected);
}

static void
test_environment_order(void)
{
        static const char *const names[] = {
                "agi_network",     "agi_network_script", "agi_request",     "agi_channel",
                "agi_language",    "agi_type",           "agi_uniqueid",    "agi_version",
                "agi_callerid",    "agi_calleridname",   "agi_callingpres", "agi_callingani2",
                "agi_callington",  "agi_callingtns",     "agi_dnid",        "agi_rdnis",
                "agi_context",     "agi_extension",      "agi_priority",    "agi_enhanced",
                "agi_accountcode", "agi_threadid",       "agi_arg_1",       "agi_arg_2",
        };
        g_autoptr(Channel) channel = channel_new("agi://[::1]:4573/path?x=y");
        g_auto(GStrv) lines = NULL;

        channel_add_argument(channel, "one");
        channel_add_argument(channel, "");
        lines = channel_get_environment(channel);

        g_assert_cmpuint(g_strv_length(lines), ==, G_N_ELEMENTS(names));
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *start = g_strconcat(names[i], ": ", NULL);

                g_assert_true(g_str_has_prefix(lines[i], start));
        }
        g_assert_cmpstr(lines[1], ==, "agi_network_script: path?x=y");
        g_assert_cmpstr(lines[2], ==, "agi_request: agi://[::1]:4573/path?x=y");
        g_assert_cmpstr(lines[20], ==, "agi_accountcode: ");
        g_assert_cmpstr(lines[23], ==, "agi_arg_2: ");
}

static void
test_environment_without_path(void)
{
        static const char *const urls[] = { "agi://h", "agi://h/", "agi://h:4573/" };

        for (size_t i = 0; i < G_N_ELEMENTS(urls); i++) {
                g_autoptr(Channel) channel = channel_new(urls[i]);
                g_auto(GStrv) lines = channel_get_environment(channel);

                g_assert_true(g_str_has_prefix(lines[1], "agi_request: "));
        }
}

static void
test_environment_overrides(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");
        g_auto(GStrv) lines = NULL;

        channel_set_environment(channel, "agi_callerid", "4711");
        channel_set_environment(channel, "agi_x_fwd_for", "192.0.2.1:1");
        lines = channel_get_environment(channel);

        g_assert_cmpstr(lines[8], ==, "agi_callerid: 4711");
        g_assert_cmpstr(lines[22], ==, "agi_x_fwd_for: 192.0.2.1:1");
        assert_reply(channel, "GET VARIABLE CALLERID(num)", "200 result=1 (4711)\n");
}

static void
test_variables(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");

        assert_reply(channel, "GET VARIABLE X", "200 result=0\n");
        assert_reply(channel, "SET VARIABLE X \"some \\\"text\"", "200 result=1\n");
        assert_reply(channel, "get  variable X", "200 result=1 (some \"text)\n");
        assert_reply(channel, "SET VARIABLE EMPTY \"\"", "200 result=1\n");
        assert_reply(channel, "GET VARIABLE EMPTY", "200 result=0\n");
        g_assert_cmpstr(channel_get_variable(channel, "X"), ==, "some \"text");
}

static void
test_full_variable(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");

        assert_reply(channel, "SET VARIABLE WHICH X", "200 result=1\n");
        assert_reply(channel, "SET VARIABLE X deep", "200 result=1\n");
        assert_reply(channel, "GET FULL VARIABLE ${${WHICH}}", "200 result=1 (deep)\n");
        assert_reply(channel, "GET FULL VARIABLE \"<${X}> for ${CALLERID(name)}${\"",
                     "200 result=1 (<deep> for Alice Example${)\n");
        assert_reply(channel, "GET FULL VARIABLE ${NONE}", "200 result=0\n");
}

static void
test_endless_expression(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");
        g_autoptr(GString) line = g_string_new("GET FULL VARIABLE ");
        g_autofree char *reply = NULL;

        for (unsigned i = 0; i < 5000; i++)
                g_string_append(line, "${");
        for (unsigned i = 0; i < 5000; i++)
                g_string_append(line, "}");

        reply = channel_execute(channel, line->str, line->len);
        g_assert_cmpstr(reply, ==, "200 result=0\n");
}

static void
test_database(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");

        assert_reply(channel, "DATABASE GET f k", "200 result=0\n");
        assert_reply(channel, "DATABASE PUT f k v", "200 result=1\n");
        assert_reply(channel, "DATABASE GET f k", "200 result=1 (v)\n");
        assert_reply(channel, "DATABASE DELTREE f", "200 result=1\n");
        assert_reply(channel, "DATABASE DEL f k", "200 result=0\n");
}

static void
test_wrong_commands(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");

        assert_reply(channel, "FROBNICATE", "510 Invalid or unknown command\n");
        assert_reply(channel, "", "510 Invalid or unknown command\n");
        assert_reply(channel, "NOOP\r", "510 Invalid or unknown command\n");
        assert_reply(channel, "STREAM", "510 Invalid or unknown command\n");
        assert_reply(channel, "GET VARIABLE",
                     "520-Invalid command syntax.  Proper usage follows:\n"
                     "Usage: GET VARIABLE NAME\n"
                     "520 End of proper usage.\n");
        g_assert_cmpstr(channel_get_status(channel), ==, "SUCCESS");
}

static void
test_failure(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");

        assert_reply(channel, " FAILURE", "510 Invalid or unknown command\n");
        assert_reply(channel, "FAIL", "510 Invalid or unknown command\n");
        g_assert_false(channel_has_failed(channel));
        assert_reply(channel, "failures happen", NULL);
        g_assert_true(channel_has_failed(channel));
        g_assert_cmpstr(channel_get_status(channel), ==, "FAILURE");
}

static void
test_channel_state(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");

        channel_set_environment(channel, "agi_channel", "Local/1");
        assert_reply(channel, "CHANNEL STATUS", "200 result=4\n");
        assert_reply(channel, "ANSWER", "200 result=0\n");
        assert_reply(channel, "CHANNEL STATUS Local/1", "200 result=6\n");
        assert_reply(channel, "CHANNEL STATUS Local/2", "200 result=-1\n");
        assert_reply(channel, "SET CALLERID 4711", "200 result=1\n");
        assert_reply(channel, "GET VARIABLE CALLERID(num)", "200 result=1 (4711)\n");
        assert_reply(channel, "HANGUP Local/2", "200 result=-1\n");
        g_assert_false(channel_is_hung_up(channel));
        assert_reply(channel, "HANGUP Local/1", "200 result=1\n");
        g_assert_true(channel_is_hung_up(channel));
}

static void
test_dead_channel(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");

        assert_reply(channel, "HANGUP", "200 result=1\n");
        g_assert_true(channel_is_hung_up(channel));
        g_assert_cmpstr(channel_get_status(channel), ==, "HANGUP");
        assert_reply(channel, "SET VARIABLE DONE 1", "200 result=1\n");
        assert_reply(channel, "STREAM FILE hello \"\"",
                     "511 Command Not Permitted on a dead channel or intercept routine\n");
}

static void
test_nul_byte(void)
{
        g_autoptr(Channel) channel = channel_new("agi://h/x");

        g_assert_null(channel_execute(channel, "\0NOOP", 5));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/ctl-channel/environment-order", test_environment_order);
        g_test_add_func("/ctl-channel/environment-without-path", test_environment_without_path);
        g_test_add_func("/ctl-channel/environment-overrides", test_environment_overrides);
        g_test_add_func("/ctl-channel/variables", test_variables);
        g_test_add_func("/ctl-channel/full-variable", test_full_variable);
        g_test_add_func("/ctl-channel/endless-expression-is-cut", test_endless_expression);
        g_test_add_func("/ctl-channel/database", test_database);
        g_test_add_func("/ctl-channel/wrong-commands-are-answered", test_wrong_commands);
        g_test_add_func("/ctl-channel/failure-is-not-answered", test_failure);
        g_test_add_func("/ctl-channel/channel-has-a-state", test_channel_state);
        g_test_add_func("/ctl-channel/dead-channel-allows-little", test_dead_channel);
        g_test_add_func("/ctl-channel/nul-byte-is-not-answered", test_nul_byte);

        return g_test_run();
}
