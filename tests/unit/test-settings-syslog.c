/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <glib/gstdio.h>

#include "daemon/settings-file.h"

#define REST "[Listener in]\nListen=127.0.0.1:4573\n[Route rest]\nPath=*\nAnswer=a\n[Answer a]\n"

/* Loads @text, which is as it should be. */
static Settings *
load(const char *text)
{
        g_autoptr(GPtrArray) problems = settings_problems_new();
        g_autofree char *file = NULL;
        Settings *settings;

        g_assert_cmpint(g_close(g_file_open_tmp("agitator-XXXXXX", &file, NULL), NULL), ==, TRUE);
        g_assert_true(g_file_set_contents(file, text, -1, NULL));
        settings = settings_file_load(file, problems);
        g_unlink(file);
        g_assert_cmpuint(problems->len, ==, 0);
        g_assert_nonnull(settings);

        return settings;
}

static void
test_values(void)
{
        g_autoptr(Settings) settings =
                load(REST "[Syslog a]\nAddress=udp:logs\n"
                          "[Syslog b]\nAddress=tcp:[::1]\nLevel=debug\n"
                          "Sessions=none\nEvents=no\nFacility=local7\n"
                          "Hostname=proxy-1\nMaxMessage=1200\nQueue=7\n"
                          "[Syslog c]\nAddress=tls:logs\nTLSPin="
                          "0123456789abcdef0123456789abcdef0123456789abcdef01234567"
                          "89abcdef\n"
                          "[Syslog d]\nAddress=unix:/dev/log\nFacility=kern\n");
        const SyslogSettings *a = settings->syslogs->pdata[0], *b = settings->syslogs->pdata[1];
        const SyslogSettings *c = settings->syslogs->pdata[2], *d = settings->syslogs->pdata[3];

        g_assert_cmpuint(settings->syslogs->len, ==, 4);

        g_assert_cmpstr(a->name, ==, "a");
        g_assert_cmpint(a->address.transport, ==, SYSLOG_UDP);
        g_assert_cmpstr(a->address.endpoint->authority, ==, "logs:514");
        g_assert_cmpint(a->level, ==, G_LOG_LEVEL_INFO);
        g_assert_cmpint(a->sessions, ==, LOG_SESSIONS_ALL);
        g_assert_true(a->takes_events);
        g_assert_cmpint(a->facility, ==, 3);
        g_assert_cmpuint(a->max_message, ==, 0);
        g_assert_cmpuint(a->max_records, ==, 10000);
        g_assert_null(a->credentials);

        g_assert_cmpint(b->address.transport, ==, SYSLOG_TCP);
        g_assert_cmpstr(b->address.endpoint->authority, ==, "[::1]:514");
        g_assert_cmpint(b->level, ==, G_LOG_LEVEL_DEBUG);
        g_assert_cmpint(b->sessions, ==, LOG_SESSIONS_NONE);
        g_assert_false(b->takes_events);
        g_assert_cmpint(b->facility, ==, 23);
        g_assert_cmpstr(b->hostname, ==, "proxy-1");
        g_assert_cmpuint(b->max_message, ==, 1200);
        g_assert_cmpuint(b->max_records, ==, 7);

        g_assert_cmpint(c->address.transport, ==, SYSLOG_TLS);
        g_assert_cmpstr(c->address.endpoint->authority, ==, "logs:6514");
        g_assert_nonnull(c->credentials);

        g_assert_cmpint(d->address.transport, ==, SYSLOG_UNIX);
        g_assert_cmpstr(d->address.endpoint->path, ==, "/dev/log");
        g_assert_cmpint(d->facility, ==, 0);

        g_assert_true(syslog_settings_lead_to_the_same(a, a));
        g_assert_false(syslog_settings_lead_to_the_same(a, b));
        g_assert_false(syslog_settings_lead_to_the_same(a, d));
}

/* What a session has a record for is what any place wants. */
static void
test_any_sessions(void)
{
        static const struct {
                const char *text;
                LogSessions any;
        } cases[] = {
                { "[Log]\nSessions=none\n", LOG_SESSIONS_NONE },
                { "[Log]\nSessions=none\n[Syslog a]\nAddress=udp:h\nSessions=failed\n",
                  LOG_SESSIONS_FAILED },
                { "[Log]\nSessions=failed\n[Syslog a]\nAddress=udp:h\nSessions=none\n",
                  LOG_SESSIONS_FAILED },
                { "[Log]\nSessions=none\n[Syslog a]\nAddress=udp:h\nSessions=failed\n"
                  "[Syslog b]\nAddress=udp:h\n",
                  LOG_SESSIONS_ALL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *text = g_strconcat(REST, cases[i].text, NULL);
                g_autoptr(Settings) settings = load(text);
                g_autoptr(Ledger) ledger = ledger_new(NULL);

                settings_finish(settings, NULL, ledger);
                g_assert_cmpint(settings->any_sessions, ==, cases[i].any);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/settings-syslog/values", test_values);
        g_test_add_func("/settings-syslog/any-sessions", test_any_sessions);

        return g_test_run();
}
