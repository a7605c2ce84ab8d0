/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "certs.h"
#include "daemon/expiry.h"

#define DAY (24 * 60 * 60)

/* A listener and a server, each with a certificate that is good for 100 days. */
typedef struct Fixture {
        Certs *certs;
        Settings *settings;
        gint64 listener_end, server_end;
} Fixture;

/* What was logged: "LEVEL MESSAGE", one a line. */
static GString *logged;

static GLogWriterOutput
write_log(GLogLevelFlags level, const GLogField *fields, gsize n, gpointer data)
{
        for (gsize i = 0; i < n; i++)
                if (g_str_equal(fields[i].key, "MESSAGE"))
                        g_string_append_printf(logged, "%s %s\n",
                                               level == G_LOG_LEVEL_CRITICAL  ? "critical"
                                               : level == G_LOG_LEVEL_WARNING ? "warning"
                                               : level == G_LOG_LEVEL_MESSAGE ? "notice"
                                                                              : "other",
                                               (const char *)fields[i].value);

        return G_LOG_WRITER_HANDLED;
}

static void
use(Fixture *fixture, CredentialsOptions *options, const char *name)
{
        g_autofree char *joined = g_strconcat(name, ".pem", NULL);
        g_autofree char *key = g_strconcat(name, ".key", NULL);
        g_autofree char *both = g_strconcat(name, ".both", NULL);
        char *items[] = { NULL, NULL };

        certs_issue(fixture->certs, name, "localhost", 100);
        certs_join(fixture->certs, both, joined, key);
        items[0] = certs_get_path(fixture->certs, both);
        options->certificates = g_strdupv(items);
        g_free(items[0]);
}

static void
fixture_set_up(Fixture *fixture, const void *data)
{
        ListenerSettings *listener;
        ServerSettings *server;
        g_autoptr(GError) error = NULL;

        fixture->certs = certs_new();
        fixture->settings = settings_new();
        listener = settings_add_listener(fixture->settings, "in");
        server = settings_add_server(fixture->settings, "out");
        use(fixture, &listener->tls_options, "one");
        use(fixture, &server->tls_options, "two");
        server->tls_options.trusts_all = true;
        listener->credentials = credentials_new_listener(&listener->tls_options, "in", &error);
        g_assert_no_error(error);
        server->credentials = credentials_new_server(&server->tls_options, NULL, NULL, &error);
        g_assert_no_error(error);
        credentials_get_certificate(listener->credentials, 0, &fixture->listener_end);
        credentials_get_certificate(server->credentials, 0, &fixture->server_end);
        logged = g_string_new(NULL);
}

static void
fixture_tear_down(Fixture *fixture, const void *data)
{
        settings_unref(fixture->settings);
        certs_free(fixture->certs);
        g_string_free(logged, TRUE);
}

/* Expects @level and @end of the listener's and the server's certificate when it is @now. */
static void
expect(Fixture *fixture, gint64 now, const char *level, const char *end)
{
        g_autofree char *one = certs_get_path(fixture->certs, "one.both");
        g_autofree char *two = certs_get_path(fixture->certs, "two.both");
        g_autofree char *expected = g_strdup_printf("%s the certificate %s of [Listener in] %s\n"
                                                    "%s the certificate %s of [Server out] %s\n",
                                                    level, one, end, level, two, end);

        g_string_truncate(logged, 0);
        expiry_log(fixture->settings, now);
        g_assert_cmpstr(logged->str, ==, expected);
}

static void
test_far(Fixture *fixture, const void *data)
{
        expiry_log(fixture->settings, fixture->listener_end - 100 * DAY);
        expiry_log(fixture->settings,
                   MIN(fixture->listener_end, fixture->server_end) - 30 * DAY - 1);
        g_assert_cmpstr(logged->str, ==, "");
}

static void
test_near(Fixture *fixture, const void *data)
{
        gint64 end = MAX(fixture->listener_end, fixture->server_end);

        g_assert_cmpint(end, <=, MIN(fixture->listener_end, fixture->server_end) + 60);
        expect(fixture, end - 30 * DAY + 60, "notice", "ends in 29 days");
        expect(fixture, end - 8 * DAY + 60, "notice", "ends in 7 days");
        expect(fixture, end - 7 * DAY + 60, "warning", "ends in 6 days");
        expect(fixture, end - 2 * DAY + 60, "warning", "ends in 1 day");
        expect(fixture, end - DAY + 60, "critical", "ends in 0 days");
}

static void
test_past(Fixture *fixture, const void *data)
{
        gint64 end = MAX(fixture->listener_end, fixture->server_end);

        expect(fixture, end + 1, "critical", "has ended 0 days ago");
        expect(fixture, end + DAY + 1, "critical", "has ended 1 day ago");
        expect(fixture, end + 400 * DAY + 1, "critical", "has ended 400 days ago");
}

static void
test_log_server(void)
{
        Fixture fixture = { 0 };
        SyslogSettings *syslog;
        ServerSettings *server;
        g_autofree char *one = NULL, *two = NULL, *expected = NULL;

        fixture_set_up(&fixture, NULL);
        server = settings_get_server(fixture.settings, "out");
        syslog = settings_add_syslog(fixture.settings, "logs");
        syslog->credentials = g_steal_pointer(&server->credentials);
        one = certs_get_path(fixture.certs, "one.both");
        two = certs_get_path(fixture.certs, "two.both");
        expected = g_strdup_printf("critical the certificate %s of [Listener in] has ended 1 day "
                                   "ago\n"
                                   "critical the certificate %s of [Syslog logs] has ended 1 day "
                                   "ago\n",
                                   one, two);
        expiry_log(fixture.settings, MAX(fixture.listener_end, fixture.server_end) + DAY + 1);
        g_assert_cmpstr(logged->str, ==, expected);
        fixture_tear_down(&fixture, NULL);
}

static void
test_without_tls(void)
{
        Settings *settings = settings_new();

        logged = g_string_new(NULL);
        settings_add_listener(settings, "in");
        settings_add_server(settings, "out");
        expiry_log(settings, 0);
        g_assert_cmpstr(logged->str, ==, "");
        settings_unref(settings);
        g_string_free(logged, TRUE);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_log_set_always_fatal(G_LOG_FATAL_MASK); /* a critical line is what is asked for */
        g_log_set_writer_func(write_log, NULL, NULL);
        g_test_add("/expiry/far-end-is-silent", Fixture, NULL, fixture_set_up, test_far,
                   fixture_tear_down);
        g_test_add("/expiry/near-end-is-told-by-level", Fixture, NULL, fixture_set_up, test_near,
                   fixture_tear_down);
        g_test_add("/expiry/past-end-is-critical", Fixture, NULL, fixture_set_up, test_past,
                   fixture_tear_down);
        g_test_add_func("/expiry/log-servers-have-theirs", test_log_server);
        g_test_add_func("/expiry/nothing-without-tls", test_without_tls);

        return g_test_run();
}
