/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is agitator.conf. Whatever is in it, there are settings or an error that says where;
 * and what --dump-config says of good ones is read as the same settings, without an error.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <glib.h>

#include "base/fd.h"
#include "daemon/settings-file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file of these bytes without a place in the file system; its name is in @path. */
static int
file_new(const char *bytes, size_t size, char path[32])
{
        int fd = memfd_create("agitator.conf", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write(fd, bytes, size), ==, (ssize_t)size);
        g_snprintf(path, 32, "/proc/self/fd/%d", fd);

        return fd;
}

static unsigned
count_lines(const char *bytes, size_t size)
{
        unsigned n = 1;

        for (size_t i = 0; i < size; i++)
                n += bytes[i] == '\n';

        return n;
}

/* How many of them are errors. */
static unsigned
check_problems(const GPtrArray *problems, const char *path, unsigned n_lines)
{
        unsigned n = 0, last = 0;

        for (unsigned i = 0; i < problems->len; i++) {
                const SettingsProblem *problem = problems->pdata[i];
                g_autofree char *text = settings_problem_print(problem);
                unsigned line = problem->line > 0 ? problem->line : G_MAXUINT;

                n += problem->is_error;
                g_assert_cmpstr(problem->file, ==, path);
                g_assert_cmpuint(problem->line, <=, n_lines);
                g_assert_cmpuint(line, >=, last);
                last = line;

                /* Only of the whole there may be no line to blame. */
                if (problem->line == 0)
                        g_assert_true(!problem->key);
                g_assert_true(*problem->message);
                g_assert_true(g_utf8_validate(text, -1, NULL));
                for (const char *c = text; *c; c++)
                        g_assert_false(g_ascii_iscntrl(*c));
        }

        return n;
}

static void
print_list(GString *text, const char *name, GStrv list)
{
        g_string_append_printf(text, "%s:", name);
        for (size_t i = 0; list && list[i]; i++)
                g_string_append_printf(text, " <%s>", list[i]);
        g_string_append_c(text, '\n');
}

static void
print_endpoint(GString *text, const Endpoint *endpoint)
{
        g_string_append_printf(text, "endpoint %s %u %s %s\n", endpoint->host ? endpoint->host : "",
                               endpoint->port, endpoint->path ? endpoint->path : "",
                               endpoint->authority ? endpoint->authority : "");
}

static void
print_ranges(GString *text, const char *name, const GArray *ranges)
{
        g_string_append_printf(text, "%s:", name);
        for (unsigned i = 0; i < ranges->len; i++) {
                const AddressRange *range = &g_array_index(ranges, AddressRange, i);

                g_string_append_printf(text, " %u/%u:", range->family, range->bits);
                for (size_t j = 0; j < sizeof(range->prefix); j++)
                        g_string_append_printf(text, "%02x", range->prefix[j]);
        }
        g_string_append_c(text, '\n');
}

static void
print_proxy(GString *text, const Settings *settings)
{
        g_string_append_printf(text, "proxy %u %u %d %d %d %d\n", settings->threads,
                               settings->max_sessions, settings->forwarded_for,
                               settings->report_status, settings->rewrite_host,
                               (int)settings->on_server_failure);
        for (size_t i = 0; i < 7; i++) {
                const gint64 times[] = { settings->request_timeout,  settings->stop_timeout,
                                         settings->resolve_interval, settings->connect_timeout,
                                         settings->setup_timeout,    settings->idle_timeout,
                                         settings->think_timeout };

                g_string_append_printf(text, "time %" G_GINT64_FORMAT "\n", times[i]);
        }
        print_ranges(text, "trust", settings->trust);
        g_string_append_printf(text, "log %d %d %d %u %" G_GINT64_FORMAT "\n",
                               (int)settings->log_target, (int)settings->log_level,
                               (int)settings->log_sessions, settings->log_burst,
                               settings->log_interval);
        print_list(text, "redact", settings->log_redact);
        print_ranges(text, "debugged", settings->log_debugged);
}

static void
print_listener(GString *text, const ListenerSettings *listener)
{
        g_string_append_printf(text, "listener %s %d %d\n", listener->name, listener->tls,
                               listener->is_debugged);
        for (unsigned i = 0; i < listener->listen->len; i++)
                print_endpoint(text, listener->listen->pdata[i]);
        print_ranges(text, "allow", listener->allow);
}

static void
print_server(GString *text, const ServerSettings *server)
{
        g_string_append_printf(text, "server %s %u %u %" G_GINT64_FORMAT " %d %d\n", server->name,
                               server->max_sessions, server->weight, server->connect_timeout,
                               server->tls, server->is_debugged);
        print_endpoint(text, server->endpoint);
}

static void
print_route(GString *text, const RouteSettings *route)
{
        g_string_append_printf(text, "route %s %s %d %d %d %d %d %s\n", route->name, route->path,
                               (int)route->mode, route->relay_bytes, route->is_debugged,
                               route->rewrite_host, (int)route->on_server_failure,
                               route->answer ? route->answer->name : "");
        g_string_append_printf(
                text, "times %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GINT64_FORMAT "\n",
                route->setup_timeout, route->idle_timeout, route->think_timeout);
        for (unsigned i = 0; i < route->servers->len; i++)
                g_string_append_printf(text, "to %s\n",
                                       ((ServerSettings *)route->servers->pdata[i])->name);
}

static void
print_syslog(GString *text, const SyslogSettings *syslog)
{
        g_string_append_printf(text, "syslog %s %d %d %d %d %d %u %u %s\n", syslog->name,
                               (int)syslog->address.transport, (int)syslog->level, syslog->facility,
                               (int)syslog->sessions, syslog->takes_events, syslog->max_records,
                               syslog->max_message, syslog->hostname ? syslog->hostname : "");
        print_endpoint(text, syslog->address.endpoint);
}

/* All that was read into them. */
static char *
print(const Settings *settings)
{
        GString *text = g_string_new(NULL);

        print_proxy(text, settings);
        for (unsigned i = 0; i < settings->listeners->len; i++)
                print_listener(text, settings->listeners->pdata[i]);
        for (unsigned i = 0; i < settings->servers->len; i++)
                print_server(text, settings->servers->pdata[i]);
        for (unsigned i = 0; i < settings->answers->len; i++) {
                const AnswerSettings *answer = settings->answers->pdata[i];

                g_string_append_printf(text, "answer %s %d\n", answer->name, answer->failure);
                print_list(text, "commands", answer->commands);
        }
        for (unsigned i = 0; i < settings->routes->len; i++)
                print_route(text, settings->routes->pdata[i]);
        for (unsigned i = 0; i < settings->syslogs->len; i++)
                print_syslog(text, settings->syslogs->pdata[i]);

        return g_string_free(text, FALSE);
}

/* The dump of good settings is a configuration, of the same settings. */
static void
check_dump(const char *path, Settings *settings, unsigned n_problems)
{
        g_autoptr(GPtrArray) problems = settings_problems_new();
        g_autofree char *dump = settings_file_dump(path, problems);
        g_autofree char *before = print(settings), *after = NULL;
        g_autoptr(Settings) again = NULL;
        char dump_path[32];
        fd_auto int fd = FD_NONE;

        g_assert_nonnull(dump);
        g_assert_cmpuint(problems->len, ==, n_problems);
        g_ptr_array_set_size(problems, 0);

        fd = file_new(dump, strlen(dump), dump_path);
        again = settings_file_load(dump_path, problems);
        g_assert_cmpuint(check_problems(problems, dump_path, count_lines(dump, strlen(dump))), ==,
                         0);
        g_assert_nonnull(again);
        after = print(again);
        g_assert_cmpstr(after, ==, before);

        settings_finish(again, settings, NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(GPtrArray) problems = settings_problems_new();
        g_autoptr(Settings) settings = NULL;
        char path[32];
        fd_auto int fd = FD_NONE;
        unsigned n_errors;

        fd = file_new((const char *)data, size, path);
        settings = settings_file_load(path, problems);
        n_errors = check_problems(problems, path, count_lines((const char *)data, size));
        g_assert_true((settings != NULL) == (n_errors == 0));
        if (settings) {
                settings_finish(settings, NULL, NULL);
                check_dump(path, settings, problems->len);
        } else {
                g_assert_null(settings_file_dump(path, problems));
        }

        return 0;
}
