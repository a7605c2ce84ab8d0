/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "daemon/settings-file.h"
#include "daemon/settings-keys.h"
#include "daemon/settings-lines.h"

#define REST "[Listener in]\nListen=127.0.0.1:4573\n[Route rest]\nPath=*\nAnswer=a\n[Answer a]\n"

/* A folder with agitator.conf and agitator.conf.d in it. */
typedef struct Fixture {
        char *folder, *file, *drop_ins;
        GPtrArray *problems;
} Fixture;

static void
fixture_set_up(Fixture *fixture, const void *data)
{
        fixture->folder = g_dir_make_tmp(NULL, NULL);
        fixture->file = g_build_filename(fixture->folder, "agitator.conf", NULL);
        fixture->drop_ins = g_build_filename(fixture->folder, "agitator.conf.d", NULL);
        fixture->problems = settings_problems_new();
        g_assert_cmpint(g_mkdir(fixture->drop_ins, 0700), ==, 0);
}

static void
remove_files(const char *folder)
{
        g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
        const char *name;

        while (dir && (name = g_dir_read_name(dir))) {
                g_autofree char *path = g_build_filename(folder, name, NULL);

                if (g_file_test(path, G_FILE_TEST_IS_DIR))
                        g_rmdir(path);
                else
                        g_unlink(path);
        }
}

static void
fixture_tear_down(Fixture *fixture, const void *data)
{
        remove_files(fixture->drop_ins);
        g_rmdir(fixture->drop_ins);
        remove_files(fixture->folder);
        g_assert_cmpint(g_rmdir(fixture->folder), ==, 0);
        g_free(fixture->folder);
        g_free(fixture->file);
        g_free(fixture->drop_ins);
        g_ptr_array_unref(fixture->problems);
}

static void
write_main(Fixture *fixture, const char *text)
{
        g_assert_true(g_file_set_contents(fixture->file, text, -1, NULL));
}

static void
write_drop_in(Fixture *fixture, const char *name, const char *text)
{
        g_autofree char *path = g_build_filename(fixture->drop_ins, name, NULL);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void assert_problem(const Fixture *fixture, unsigned i, const char *format, ...)
        G_GNUC_PRINTF(3, 4);

static void
assert_problem(const Fixture *fixture, unsigned i, const char *format, ...)
{
        g_autofree char *printed = NULL, *expected = NULL;
        va_list arguments;

        va_start(arguments, format);
        expected = g_strdup_vprintf(format, arguments);
        va_end(arguments);

        g_assert_cmpuint(fixture->problems->len, >, i);
        printed = settings_problem_print(fixture->problems->pdata[i]);
        g_assert_cmpstr(printed, ==, expected);
}

static void
assert_no_problem(const Fixture *fixture)
{
        g_autofree char *printed = NULL;

        if (fixture->problems->len > 0)
                printed = settings_problem_print(fixture->problems->pdata[0]);
        g_assert_cmpstr(printed, ==, NULL);
}

/* Loads @text and expects no problem. */
static Settings *
load_text(Fixture *fixture, const char *text)
{
        Settings *settings;

        write_main(fixture, text);
        settings = settings_file_load(fixture->file, fixture->problems);
        assert_no_problem(fixture);
        g_assert_nonnull(settings);

        return settings;
}

static void
test_defaults_as_in_the_table(Fixture *fixture, const void *data)
{
        g_autoptr(GString) text = g_string_new(REST "[Server s]\nAddress=h\n[Route s]\nPath=s\n"
                                                    "Servers=s\n[Syslog l]\nAddress=udp:h\n");
        g_autoptr(Settings) implied = load_text(fixture, text->str), written = NULL;
        g_autofree char *dump = settings_file_dump(fixture->file, fixture->problems);

        /* The dump writes every default out. */
        written = load_text(fixture, dump);
        g_assert_cmpmem(implied, offsetof(Settings, trust), written, offsetof(Settings, trust));
        g_assert_cmpmem(&implied->report_status,
                        offsetof(Settings, log_redact) - offsetof(Settings, report_status),
                        &written->report_status,
                        offsetof(Settings, log_redact) - offsetof(Settings, report_status));
        g_assert_cmpuint(g_strv_length(implied->log_redact), >, 0);
        g_assert_true(g_strv_equal((const char *const *)implied->log_redact,
                                   (const char *const *)written->log_redact));
        g_assert_cmpuint(written->log_debugged->len, ==, 0);
        g_assert_cmpuint(written->trust->len, ==, 0);

        for (unsigned i = 0; i < 2; i++) {
                const RouteSettings *a = implied->routes->pdata[i], *b = written->routes->pdata[i];

                g_assert_cmpint(a->mode, ==, b->mode);
                g_assert_cmpmem(
                        &a->relay_bytes,
                        offsetof(RouteSettings, turn) - offsetof(RouteSettings, relay_bytes),
                        &b->relay_bytes,
                        offsetof(RouteSettings, turn) - offsetof(RouteSettings, relay_bytes));
        }

        {
                const ServerSettings *a = implied->servers->pdata[0];
                const ServerSettings *b = written->servers->pdata[0];

                g_assert_cmpuint(a->max_sessions, ==, b->max_sessions);
                g_assert_cmpuint(a->weight, ==, b->weight);
                g_assert_cmpint(a->connect_timeout, ==, b->connect_timeout);
        }
        {
                const SyslogSettings *a = implied->syslogs->pdata[0];
                const SyslogSettings *b = written->syslogs->pdata[0];

                g_assert_cmpmem(
                        &a->level,
                        offsetof(SyslogSettings, hostname) - offsetof(SyslogSettings, level),
                        &b->level,
                        offsetof(SyslogSettings, hostname) - offsetof(SyslogSettings, level));
        }
        g_assert_false(((AnswerSettings *)implied->answers->pdata[0])->failure);
        g_assert_false(((AnswerSettings *)written->answers->pdata[0])->failure);
}

static void
test_proxy_and_log(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = load_text(
                fixture,
                "[Proxy]\nThreads=3\nMaxSessions=500\nForwardedFor=on\n"
                "TrustForwardedFor=10.0.0.0/8 ::1;unix\nRewriteHost=0\nReportStatus=false\n"
                "OnServerFailure=reset\nRequestTimeout=5\nConnectTimeout=500ms\n"
                "SetupTimeout=1min 30s\nIdleTimeout=1h30min\nThinkTimeout=1d\n"
                "StopTimeout=infinity\nResolveInterval=5min\n"
                "[Log]\nTarget=console\nLevel=error\nSessions=failed\n"
                "RateLimitBurst=7\nRateLimitInterval=1min\n"
                "Redact=*PIN;card?\nDebug=route:rest;listener:in;client:10.0.0.0/8\n" REST);

        g_assert_cmpuint(settings->threads, ==, 3);
        g_assert_cmpuint(settings->max_sessions, ==, 500);
        g_assert_true(settings->forwarded_for);
        g_assert_cmpuint(settings->trust->len, ==, 3);
        g_assert_false(settings->rewrite_host);
        g_assert_false(settings->report_status);
        g_assert_cmpint(settings->on_server_failure, ==, ON_SERVER_FAILURE_RESET);
        g_assert_cmpint(settings->request_timeout, ==, 5 * G_TIME_SPAN_SECOND);
        g_assert_cmpint(settings->connect_timeout, ==, 500 * G_TIME_SPAN_MILLISECOND);
        g_assert_cmpint(settings->setup_timeout, ==, 90 * G_TIME_SPAN_SECOND);
        g_assert_cmpint(settings->idle_timeout, ==, 90 * G_TIME_SPAN_MINUTE);
        g_assert_cmpint(settings->think_timeout, ==, G_TIME_SPAN_DAY);
        g_assert_cmpint(settings->stop_timeout, ==, G_MAXINT64);
        g_assert_cmpint(settings->resolve_interval, ==, 5 * G_TIME_SPAN_MINUTE);
        g_assert_cmpint(settings->log_target, ==, LOG_TARGET_CONSOLE);
        g_assert_cmpint(settings->log_level, ==, G_LOG_LEVEL_CRITICAL);
        g_assert_cmpint(settings->log_sessions, ==, LOG_SESSIONS_FAILED);
        g_assert_cmpuint(settings->log_burst, ==, 7);
        g_assert_cmpint(settings->log_interval, ==, G_TIME_SPAN_MINUTE);
        g_assert_true(g_strv_equal((const char *const *)settings->log_redact,
                                   (const char *const[]){ "*PIN", "card?", NULL }));
        g_assert_true(((RouteSettings *)settings->routes->pdata[0])->is_debugged);
        g_assert_true(((ListenerSettings *)settings->listeners->pdata[0])->is_debugged);
        g_assert_cmpuint(settings->log_debugged->len, ==, 1);
}

static void
test_listeners_and_servers(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = load_text(
                fixture, REST "[Listener two]\nListen=[::1]; 127.0.0.1:99 unix:/run/a.sock\n"
                              "Allow=127.0.0.0/8;::1;unix\n"
                              "[Server one]\nAddress=ivr.example.com\nMaxSessions=7\nWeight=1000\n"
                              "ConnectTimeout=2s\n[Server two]\nAddress=unix:/run/b c.sock\n"
                              "[Route r]\nPath=r\nServers=two one\n");
        const ListenerSettings *listener = settings_get_listener(settings, "two");
        const ServerSettings *one = settings_get_server(settings, "one");
        const ServerSettings *two = settings_get_server(settings, "two");

        g_assert_cmpuint(listener->listen->len, ==, 3);
        g_assert_cmpuint(listener->allow->len, ==, 3);
        g_assert_cmpuint(((Endpoint *)listener->listen->pdata[0])->port, ==, 4573);
        g_assert_cmpuint(((Endpoint *)listener->listen->pdata[1])->port, ==, 99);
        g_assert_cmpstr(((Endpoint *)listener->listen->pdata[2])->path, ==, "/run/a.sock");

        g_assert_cmpstr(one->endpoint->authority, ==, "ivr.example.com:4573");
        g_assert_cmpuint(one->max_sessions, ==, 7);
        g_assert_cmpuint(one->weight, ==, 1000);
        g_assert_cmpint(one->connect_timeout, ==, 2 * G_TIME_SPAN_SECOND);
        g_assert_cmpstr(two->endpoint->path, ==, "/run/b c.sock");
        g_assert_cmpuint(two->max_sessions, ==, 0);
}

static void
test_routes_and_answers(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = load_text(
                fixture,
                REST "[Route r]\nPath=/ivr/a b/\nMode=round-robin\nServers=s;t\nFallback=b\n"
                     "Relay=bytes\nRewriteHost=no\nOnServerFailure=close\nSetupTimeout=1s\n"
                     "IdleTimeout=2s\nThinkTimeout=3s\n[Server s]\nAddress=h\n[Server t]\n"
                     "Address=h\n[Answer b]\nCommands=ANSWER; SET VARIABLE A \"x\\;y\" ;HANGUP;\n"
                     "Result=failure\n");
        const RouteSettings *route = settings->routes->pdata[1];
        const AnswerSettings *answer = settings_get_answer(settings, "b");

        g_assert_cmpstr(route->name, ==, "r");
        g_assert_cmpstr(route->path, ==, "ivr/a b");
        g_assert_cmpint(route->mode, ==, BALANCE_ROUND_ROBIN);
        g_assert_cmpuint(route->servers->len, ==, 2);
        g_assert_true(route->servers->pdata[0] == settings_get_server(settings, "s"));
        g_assert_true(route->servers->pdata[1] == settings_get_server(settings, "t"));
        g_assert_true(route->answer == answer);
        g_assert_true(route->relay_bytes);
        g_assert_false(route->rewrite_host);
        g_assert_cmpint(route->on_server_failure, ==, ON_SERVER_FAILURE_CLOSE);
        g_assert_cmpint(route->setup_timeout, ==, G_TIME_SPAN_SECOND);
        g_assert_cmpint(route->idle_timeout, ==, 2 * G_TIME_SPAN_SECOND);
        g_assert_cmpint(route->think_timeout, ==, 3 * G_TIME_SPAN_SECOND);

        g_assert_true(answer->failure);
        g_assert_cmpuint(g_strv_length(answer->commands), ==, 3);
        g_assert_cmpstr(answer->commands[0], ==, "ANSWER");
        g_assert_cmpstr(answer->commands[1], ==, "SET VARIABLE A \"x;y\"");
        g_assert_cmpstr(answer->commands[2], ==, "HANGUP");
}

static void
test_long_command(Fixture *fixture, const void *data)
{
        g_autofree char *longest = g_strnfill(2046, 'x'), *too_long = g_strnfill(2047, 'x');
        g_autofree char *good = g_strconcat(REST "Commands=", longest, NULL);
        g_autofree char *bad = g_strconcat(REST "Commands=", too_long, NULL);
        g_autoptr(Settings) settings = load_text(fixture, good);

        g_assert_cmpuint(settings->answers->len, ==, 1);
        write_main(fixture, bad);
        g_assert_null(settings_file_load(fixture->file, fixture->problems));
        assert_problem(fixture, 0,
                       "%s:7: [Answer a] Commands=: Command 1 is too long: at most 2046 bytes",
                       fixture->file);
}

static void
test_group_defaults_are_the_proxys(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = load_text(
                fixture, REST "[Server s]\nAddress=h\n[Route s]\nPath=s\nServers=s\n"
                              "[Proxy]\nConnectTimeout=7s\nThinkTimeout=8s\nRewriteHost=no\n");
        const RouteSettings *route = settings->routes->pdata[1];

        g_assert_cmpint(settings_get_server(settings, "s")->connect_timeout, ==,
                        7 * G_TIME_SPAN_SECOND);
        g_assert_cmpint(route->think_timeout, ==, 8 * G_TIME_SPAN_SECOND);
        g_assert_false(route->rewrite_host);
}

static void
test_drop_ins_in_order_of_names(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = NULL;

        write_main(fixture, "[Proxy]\nThreads=1\nMaxSessions=1\nForwardedFor=yes\n" REST);
        write_drop_in(fixture, "20-b.conf", "[Proxy]\nThreads=3\n");
        write_drop_in(fixture, "10-a.conf", "[Proxy]\nThreads=2\nMaxSessions=2\n");
        write_drop_in(fixture, "30-c.conf",
                      "[Server s]\nAddress=h\n[Route r]\nPath=r\nServers=s\n");
        write_drop_in(fixture, "99-off.conf.disabled", "[Proxy]\nThreads=4\n");
        write_drop_in(fixture, ".99-hidden.conf", "[Proxy]\nThreads=5\n");

        settings = settings_file_load(fixture->file, fixture->problems);
        assert_no_problem(fixture);
        g_assert_cmpuint(settings->threads, ==, 3);
        g_assert_cmpuint(settings->max_sessions, ==, 2);
        g_assert_true(settings->forwarded_for);
        g_assert_cmpuint(settings->routes->len, ==, 2);
}

static void
test_drop_in_replaces_lists(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = NULL;

        write_main(fixture, REST "[Server s]\nAddress=h\n[Route r]\nPath=r\nServers=s\n"
                                 "[Route q]\nPath=q\nServers=s\nFallback=a\n");
        write_drop_in(
                fixture, "a.conf",
                "[Listener in]\nListen=127.0.0.1:99\n[Route q]\nServers=\nFallback=\nAnswer=a\n");

        settings = settings_file_load(fixture->file, fixture->problems);
        assert_no_problem(fixture);
        g_assert_cmpuint(settings_get_listener(settings, "in")->listen->len, ==, 1);
        g_assert_cmpuint(((RouteSettings *)settings->routes->pdata[2])->servers->len, ==, 0);
        g_assert_nonnull(((RouteSettings *)settings->routes->pdata[2])->answer);
}

static void
test_problem_names_its_drop_in(Fixture *fixture, const void *data)
{
        write_main(fixture, "[Proxy]\nThreads=x\n" REST);
        write_drop_in(fixture, "a.conf", "[Route q]\nPath=*\nAnswer=b\n");
        write_drop_in(fixture, "b.conf", "\n[Proxy]\nStopTimeout=x\n[Proxi]\n");

        g_assert_null(settings_file_load(fixture->file, fixture->problems));
        g_assert_cmpuint(fixture->problems->len, ==, 5);
        assert_problem(fixture, 0,
                       "%s:2: [Proxy] Threads=: 'x' is not allowed. Allowed: a number from 1 to "
                       "256, or auto",
                       fixture->file);
        assert_problem(fixture, 1,
                       "%s/a.conf:2: [Route q] Path=: '*' is the path of [Route rest] already "
                       "(%s:6)",
                       fixture->drop_ins, fixture->file);
        assert_problem(fixture, 2,
                       "%s/a.conf:3: [Route q] Answer=: There is no group [Answer b]; did you mean "
                       "a?",
                       fixture->drop_ins);
        assert_problem(fixture, 4, "%s/b.conf:4: [Proxi]: Unknown group; did you mean [Proxy]?",
                       fixture->drop_ins);
}

static void
test_overridden_value_is_not_looked_at(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = NULL;

        write_main(fixture, "[Proxy]\nThreads=many\n" REST);
        write_drop_in(fixture, "a.conf", "[Proxy]\nThreads=4\n");

        settings = settings_file_load(fixture->file, fixture->problems);
        assert_no_problem(fixture);
        g_assert_cmpuint(settings->threads, ==, 4);
}

static void
test_missing_file(Fixture *fixture, const void *data)
{
        g_assert_null(settings_file_load(fixture->file, fixture->problems));
        assert_problem(fixture, 0, "%s: The file can't be read: No such file or directory",
                       fixture->file);
        g_assert_cmpuint(fixture->problems->len, ==, 1);
}

static void
test_too_large_a_file(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = NULL;

        write_main(fixture, REST);
        g_assert_cmpint(truncate(fixture->file, 16 * 1024 * 1024 + 1), ==, 0);
        settings = settings_file_load(fixture->file, fixture->problems);
        g_assert_null(settings);
        assert_problem(fixture, 0, "%s: The file can't be read: File too large", fixture->file);
}

static void
test_file_for_drop_ins(Fixture *fixture, const void *data)
{
        g_autofree char *printed = NULL;

        write_main(fixture, REST);
        g_assert_cmpint(g_rmdir(fixture->drop_ins), ==, 0);
        g_assert_true(g_file_set_contents(fixture->drop_ins, "", 0, NULL));
        g_assert_null(settings_file_load(fixture->file, fixture->problems));
        g_assert_cmpint(g_unlink(fixture->drop_ins), ==, 0);
        g_assert_cmpint(g_mkdir(fixture->drop_ins, 0700), ==, 0);

        /* GLib's words, with whatever quotes it takes. */
        g_assert_cmpuint(fixture->problems->len, ==, 1);
        printed = settings_problem_print(fixture->problems->pdata[0]);
        g_assert_true(g_str_has_prefix(printed, fixture->drop_ins));
        g_assert_true(g_str_has_suffix(printed, ": Not a directory"));
}

static void
test_folder_for_file(Fixture *fixture, const void *data)
{
        g_autofree char *folder = g_build_filename(fixture->drop_ins, "x.conf", NULL);

        g_assert_null(settings_file_load(fixture->folder, fixture->problems));
        assert_problem(fixture, 0, "%s: The file can't be read: Is a directory", fixture->folder);

        write_main(fixture, REST);
        g_assert_cmpint(g_mkdir(folder, 0700), ==, 0);
        g_assert_null(settings_file_load(fixture->file, fixture->problems));
        assert_problem(fixture, 1, "%s: The file can't be read: Is a directory", folder);
}

static void
test_built_in(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = settings_file_load_default(fixture->file, fixture->problems);
        const RouteSettings *route;

        assert_no_problem(fixture);
        g_assert_cmpuint(settings->listeners->len, ==, 1);
        g_assert_cmpuint(settings->servers->len, ==, 0);
        g_assert_cmpuint(settings->routes->len, ==, 1);
        route = settings->routes->pdata[0];
        g_assert_cmpstr(route->path, ==, "*");
        g_assert_cmpuint(g_strv_length(route->answer->commands), >, 0);
}

static void
test_built_in_is_what_is_installed(Fixture *fixture, const void *data)
{
        g_autofree char *installed =
                g_test_build_filename(G_TEST_DIST, "..", "..", "data", "agitator.conf", NULL);
        g_autofree char *a = settings_file_dump_default(fixture->file, fixture->problems);
        g_autofree char *b = settings_file_dump(installed, fixture->problems);
        g_autofree char *renamed = NULL;
        g_auto(GStrv) parts = NULL;

        assert_no_problem(fixture);
        parts = g_strsplit(b, installed, -1);
        renamed = g_strjoinv("(built in)", parts);
        g_assert_cmpstr(a, ==, renamed);
}

static void
test_built_in_takes_drop_ins(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = NULL;

        write_drop_in(fixture, "a.conf", "[Listener plain]\nListen=127.0.0.1:99\n");
        settings = settings_file_load_default(fixture->file, fixture->problems);
        assert_no_problem(fixture);
        g_assert_cmpuint(settings->listeners->len, ==, 1);
        g_assert_cmpuint(
                ((Endpoint *)settings_get_listener(settings, "plain")->listen->pdata[0])->port, ==,
                99);
}

static void
test_default_place_comes_before_built_in(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = NULL;

        write_main(fixture, REST);
        settings = settings_file_load_default(fixture->file, fixture->problems);
        assert_no_problem(fixture);
        g_assert_nonnull(settings_get_listener(settings, "in"));
}

static void
test_dump_names_origins(Fixture *fixture, const void *data)
{
        g_autofree char *dump = NULL, *server = NULL;

        write_main(fixture, "[Server s]\nAddress=h\n[Route r]\nPath=r\nServers=s\n"
                            "[Listener l]\nListen=127.0.0.1\n[Proxy]\nConnectTimeout=4s\n");
        write_drop_in(fixture, "a.conf", "[Server s]\nWeight=2\n");
        dump = settings_file_dump(fixture->file, fixture->problems);
        assert_no_problem(fixture);

        g_assert_nonnull(strstr(dump, "[Proxy]\n# default\nThreads=auto\n"));
        server =
                g_strdup_printf("\n[Server s]\n# %s:2\nAddress=h\n# default\nMaxSessions=infinity\n"
                                "# %s/a.conf:2\nWeight=2\n# %s:9\nConnectTimeout=4s\n",
                                fixture->file, fixture->drop_ins, fixture->file);
        g_assert_nonnull(strstr(dump, server));
}

static void
test_dump_reads_the_same(Fixture *fixture, const void *data)
{
        g_autofree char *first = NULL, *second = NULL;
        g_autoptr(GRegex) comments = g_regex_new("^#.*$", G_REGEX_MULTILINE, 0, NULL);
        g_autofree char *first_values = NULL, *second_values = NULL;

        write_main(fixture, REST "Commands=A \\\\ \\;b;C\\s\n[Server s]\nAddress=unix:/a\\sb\n"
                                 "[Route r]\nPath=a\\\\b\nServers=s\n[Proxy]\nRewriteHost=off\n");
        first = settings_file_dump(fixture->file, fixture->problems);
        g_assert_nonnull(first);
        write_main(fixture, first);
        second = settings_file_dump(fixture->file, fixture->problems);
        assert_no_problem(fixture);

        first_values = g_regex_replace_literal(comments, first, -1, 0, "", 0, NULL);
        second_values = g_regex_replace_literal(comments, second, -1, 0, "", 0, NULL);
        g_assert_cmpstr(first_values, ==, second_values);
        g_assert_nonnull(strstr(second, "Commands=A \\\\ \\;b;C\\s\n"));
}

static void
test_no_dump_after_an_error(Fixture *fixture, const void *data)
{
        write_main(fixture, "[Proxy]\nThreads=x\n" REST);
        g_assert_null(settings_file_dump(fixture->file, fixture->problems));
        g_assert_cmpuint(fixture->problems->len, ==, 1);
}

static void
test_warning_alone_is_no_error(Fixture *fixture, const void *data)
{
        g_autoptr(Settings) settings = NULL;

        write_main(fixture, REST "[Answer b]\n");
        settings = settings_file_load(fixture->file, fixture->problems);
        g_assert_nonnull(settings);
        g_assert_cmpuint(fixture->problems->len, ==, 1);
        g_assert_false(((SettingsProblem *)fixture->problems->pdata[0])->is_error);
}

static void
test_nul_byte(Fixture *fixture, const void *data)
{
        static const char text[] = "[Proxy]\nThreads=2\0\n" REST;

        g_assert_true(g_file_set_contents(fixture->file, text, sizeof(text) - 1, NULL));
        g_assert_null(settings_file_load(fixture->file, fixture->problems));
        assert_problem(fixture, 0, "%s:2: [Proxy]: The line has a NUL byte in it", fixture->file);
}

static void
test_many_groups(Fixture *fixture, const void *data)
{
        g_autoptr(GString) text = g_string_new(REST);
        g_autoptr(Settings) settings = NULL;

        for (unsigned i = 0; i < 10 * 1000; i++)
                g_string_append_printf(text,
                                       "[Server s%u]\nAddress=h%u\n[Route r%u]\nPath=p/%u\n"
                                       "Servers=s%u\n",
                                       i, i, i, i, i);
        settings = load_text(fixture, text->str);
        g_assert_cmpuint(settings->routes->len, ==, 10 * 1000 + 1);
}

static char *
read_sample(void)
{
        g_autofree char *name = g_test_build_filename(G_TEST_DIST, "..", "..", "data",
                                                      "agitator.conf.sample", NULL);
        g_autoptr(GError) error = NULL;
        char *text = NULL;

        g_file_get_contents(name, &text, NULL, &error);
        g_assert_no_error(error);

        return text;
}

/* The sample with every key's default in force. */
static char *
uncomment(const char *sample)
{
        g_autoptr(GRegex) regex = g_regex_new("^#([A-Z][A-Za-z]*=)", G_REGEX_MULTILINE, 0, NULL);

        return g_regex_replace(regex, sample, -1, 0, "\\1", 0, NULL);
}

static void
test_sample_is_right(Fixture *fixture, const void *data)
{
        g_autofree char *sample = read_sample(), *uncommented = uncomment(sample);
        g_autoptr(Settings) as_is = load_text(fixture, sample);
        g_autoptr(Settings) all = load_text(fixture, uncommented);

        g_assert_cmpstr(sample, !=, uncommented);
        g_assert_cmpuint(as_is->routes->len, ==, all->routes->len);
}

/* True when a group of @kind in @lines has @key with the text @value; NULL: any. */
static bool
has_line(const SettingsLines *lines, const SettingsKind *kind, const char *key, const char *value)
{
        for (unsigned i = 0; i < lines->lines->len; i++) {
                const SettingsLine *line = &g_array_index(lines->lines, SettingsLine, i);

                if (line->key && g_str_has_prefix(line->group, kind->name) &&
                    strcmp(line->key, key) == 0 && (!value || strcmp(line->value, value) == 0))
                        return true;
        }

        return false;
}

/* A key stands there as '#KEY=DEFAULT', or with an example when there is no default to show. */
static void
test_sample_has_every_key(Fixture *fixture, const void *data)
{
        g_autofree char *sample = read_sample(), *uncommented = uncomment(sample);
        g_autoptr(SettingsLines) lines =
                settings_lines_new("sample", uncommented, strlen(uncommented), fixture->problems);

        for (SettingsKindId id = 0; id < SETTINGS_KINDS; id++) {
                const SettingsKind *kind = settings_kind_get(id);

                for (size_t i = 0; i < kind->n_keys; i++) {
                        const char *value = settings_key_get_fallback(&kind->keys[i]);
                        g_autofree char *commented =
                                g_strdup_printf("\n#%s=%s\n", kind->keys[i].name, value);

                        g_test_message("[%s] %s=%s", kind->name, kind->keys[i].name, value);
                        g_assert_true(
                                has_line(lines, kind, kind->keys[i].name, *value ? value : NULL));
                        if (*value)
                                g_assert_nonnull(strstr(sample, commented));
                }
        }
        assert_no_problem(fixture);
}

static const struct {
        const char *name;
        void (*test)(Fixture *fixture, const void *data);
} tests[] = {
        { "defaults-as-in-the-table", test_defaults_as_in_the_table },
        { "proxy-and-log", test_proxy_and_log },
        { "listeners-and-servers", test_listeners_and_servers },
        { "routes-and-answers", test_routes_and_answers },
        { "long-command", test_long_command },
        { "group-defaults-are-the-proxys", test_group_defaults_are_the_proxys },
        { "drop-ins-in-order-of-names", test_drop_ins_in_order_of_names },
        { "drop-in-replaces-lists", test_drop_in_replaces_lists },
        { "problem-names-its-drop-in", test_problem_names_its_drop_in },
        { "overridden-value-is-not-looked-at", test_overridden_value_is_not_looked_at },
        { "missing-file", test_missing_file },
        { "too-large-a-file", test_too_large_a_file },
        { "folder-for-file", test_folder_for_file },
        { "file-for-drop-ins", test_file_for_drop_ins },
        { "built-in", test_built_in },
        { "built-in-is-what-is-installed", test_built_in_is_what_is_installed },
        { "built-in-takes-drop-ins", test_built_in_takes_drop_ins },
        { "default-place-comes-before-built-in", test_default_place_comes_before_built_in },
        { "dump-names-origins", test_dump_names_origins },
        { "dump-reads-the-same", test_dump_reads_the_same },
        { "no-dump-after-an-error", test_no_dump_after_an_error },
        { "warning-alone-is-no-error", test_warning_alone_is_no_error },
        { "nul-byte", test_nul_byte },
        { "many-groups", test_many_groups },
        { "sample-is-right", test_sample_is_right },
        { "sample-has-every-key", test_sample_has_every_key },
};

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
                g_autofree char *name = g_strconcat("/settings-file/", tests[i].name, NULL);

                g_test_add(name, Fixture, NULL, fixture_set_up, tests[i].test, fixture_tear_down);
        }

        return g_test_run();
}
