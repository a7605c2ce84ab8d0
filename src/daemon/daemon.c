/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Settings come into force in one way, at the start and at a reload: the files are read and
 * checked, names of servers are looked up (which may take NAMES_LIMIT), sockets are opened, and
 * then all is swapped in at once. Whatever fails before that leaves what was in force. Signals may
 * come at any point of it: a hang-up during a reload makes another one follow, a stop ends it.
 */

#include "daemon/daemon.h"

#include <signal.h>
#include <stdlib.h>

#include <glib-unix.h>

#include "base/fd.h"
#include "base/log-id.h"
#include "base/log.h"
#include "daemon/expiry.h"
#include "daemon/notify.h"
#include "daemon/settings-file.h"
#include "daemon/syslog.h"
#include "net/listener.h"
#include "proxy/names.h"
#include "proxy/proxy.h"

#define NAMES_LIMIT     (3 * G_TIME_SPAN_SECOND)
#define STATUS_INTERVAL 2              /* seconds */
#define EXPIRY_INTERVAL (24 * 60 * 60) /* seconds */
#define EXTENSION       (10 * G_TIME_SPAN_SECOND)

typedef struct Daemon {
        GMainLoop *loop;
        GArray *sources; /* of guint: what the main loop calls with this daemon */
        const char *config;
        Proxy *proxy;
        Names *names; /* of the settings in force */
        Syslog *syslog;

        /* Settings on their way into force; NULL when there are none. */
        Settings *next;
        Names *next_names;
        bool again; /* another reload was asked for meanwhile */

        bool is_ready;
        bool is_stopping;
        bool has_cut;
        unsigned cut;       /* sessions that the stop has ended */
        gint64 stop_end;    /* of StopTimeout= */
        char *reload_error; /* of the last reload; NULL when it went well */
        int status;
} Daemon;

static void
daemon_keep_source(Daemon *daemon, guint id)
{
        g_array_append_val(daemon->sources, id);
}

static void daemon_begin(Daemon *daemon);

static const char *
plural(unsigned n)
{
        return n == 1 ? "" : "s";
}

static void
daemon_show_status(Daemon *daemon)
{
        unsigned sessions = proxy_get_sessions(daemon->proxy);
        const Settings *settings = proxy_get_settings(daemon->proxy);
        unsigned up = 0;

        if (daemon->is_stopping) {
                notify_status("Draining: %u session%s left", sessions, plural(sessions));
                return;
        }
        if (!settings)
                return;

        for (unsigned i = 0; i < settings->servers->len; i++)
                up += server_is_up(((ServerSettings *)settings->servers->pdata[i])->server);
        notify_status("%u session%s, %u of %u server%s up%s%s", sessions, plural(sessions), up,
                      settings->servers->len, plural(settings->servers->len),
                      daemon->reload_error ? "; the last reload failed: " : "",
                      daemon->reload_error ? daemon->reload_error : "");
}

static gboolean
daemon_on_status_timer(void *data)
{
        Daemon *daemon = data;

        daemon_show_status(daemon);
        if (daemon->is_stopping && g_get_monotonic_time() < daemon->stop_end)
                notify_extend_timeout(EXTENSION);

        return G_SOURCE_CONTINUE;
}

static gboolean
daemon_on_expiry_timer(void *data)
{
        Daemon *daemon = data;

        if (proxy_get_settings(daemon->proxy))
                expiry_log(proxy_get_settings(daemon->proxy), g_get_real_time() / G_USEC_PER_SEC);

        return G_SOURCE_CONTINUE;
}

static gboolean
daemon_on_watchdog_timer(void *data)
{
        Daemon *daemon = data;

        if (proxy_is_alive(daemon->proxy))
                notify_watchdog();

        return G_SOURCE_CONTINUE;
}

static void
daemon_log_problem(const SettingsProblem *problem)
{
        g_autofree char *text = settings_problem_print(problem);

        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID",
                         problem->is_error ? LOG_ID_RELOAD_FAILED : LOG_ID_CONFIG_WARNING,
                         "MESSAGE", "%s%s", problem->is_error ? "" : "warning: ", text);
}

/* What @problems have against these settings, in a line: the first error, and how many there are.
 */
static char *
summarise(const GPtrArray *problems)
{
        const SettingsProblem *first = NULL;
        g_autofree char *text = NULL;
        unsigned n = 0;

        for (unsigned i = 0; i < problems->len; i++) {
                const SettingsProblem *problem = problems->pdata[i];

                if (problem->is_error && n++ == 0)
                        first = problem;
        }
        if (!first)
                return g_strdup("the configuration could not be read");

        text = settings_problem_print(first);
        if (n == 1)
                return g_steal_pointer(&text);

        return g_strdup_printf("%s (and %u more)", text, n - 1);
}

/* What was on its way is over, well or not. */
static void
daemon_end(Daemon *daemon)
{
        g_clear_pointer(&daemon->next_names, names_free);
        g_clear_pointer(&daemon->next, settings_unref);

        if (!daemon->is_ready || daemon->is_stopping)
                return;

        daemon_show_status(daemon);
        notify_ready();
        if (daemon->again)
                daemon_begin(daemon);
}

/* New settings can't come into force for @reason, which is taken. At the start that is the end. */
static void
daemon_fail(Daemon *daemon, char *reason, int status)
{
        g_autofree char *own = reason;

        if (daemon->is_ready) {
                g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID",
                                 LOG_ID_RELOAD_FAILED, "MESSAGE",
                                 "reload failed, the old settings stay in force: %s", own);
                g_free(daemon->reload_error);
                daemon->reload_error = g_steal_pointer(&own);
        } else {
                g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_CRITICAL, "MESSAGE_ID",
                                 LOG_ID_RELOAD_FAILED, "MESSAGE", "can't start: %s", own);
                notify_status("Can't start: %s", own);
                daemon->status = status;
                g_main_loop_quit(daemon->loop);
        }
        daemon_end(daemon);
}

static void
daemon_log_in_force(const Daemon *daemon)
{
        const Settings *settings = proxy_get_settings(daemon->proxy);

        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID",
                         daemon->is_ready ? LOG_ID_RELOADED : LOG_ID_READY, "MESSAGE",
                         "%s: %u listener%s, %u route%s, %u server%s",
                         daemon->is_ready ? "reloaded" : "ready", settings->listeners->len,
                         plural(settings->listeners->len), settings->routes->len,
                         plural(settings->routes->len), settings->servers->len,
                         plural(settings->servers->len));
}

/* Every worker has the new settings. */
static void
daemon_on_in_force(void *data)
{
        Daemon *daemon = data;

        if (daemon->is_stopping)
                return;

        daemon_log_in_force(daemon);
        daemon->is_ready = true;
        daemon_end(daemon);
}

/* The names have been looked up: the rest is done at once. */
static void
daemon_on_names(void *data)
{
        Daemon *daemon = data;
        g_autoptr(GError) error = NULL;
        GArray *doors = proxy_prepare(daemon->proxy, daemon->next, &error);

        if (!doors) {
                daemon_fail(daemon, g_strdup(error->message), EXIT_FAILURE);
                return;
        }

        names_publish(daemon->next_names, proxy_get_settings(daemon->proxy));
        names_free(daemon->names);
        daemon->names = g_steal_pointer(&daemon->next_names);

        log_configure(daemon->next->log_target, daemon->next->log_level);
        log_set_sessions(daemon->next->log_sessions);
        syslog_configure(daemon->syslog, daemon->next);
        g_clear_pointer(&daemon->reload_error, g_free);
        proxy_commit(daemon->proxy, daemon->next, doors, daemon_on_in_force, daemon);
}

/* Reads the files, and if they are good, begins to bring them into force. */
static void
daemon_begin(Daemon *daemon)
{
        g_autoptr(GPtrArray) problems = settings_problems_new();

        daemon->again = false;
        if (daemon->is_ready)
                notify_reloading();

        daemon->next = settings_file_load(daemon->config, problems);
        for (unsigned i = 0; i < problems->len; i++)
                daemon_log_problem(problems->pdata[i]);
        if (!daemon->next) {
                daemon_fail(daemon, summarise(problems), DAEMON_EXIT_CONFIG);
                return;
        }

        settings_finish(daemon->next, proxy_get_settings(daemon->proxy));
        daemon->next_names = names_new(daemon->next, NAMES_LIMIT, daemon_on_names, daemon);
}

static gboolean
daemon_on_start(void *data)
{
        Daemon *daemon = data;

        if (!daemon->is_stopping)
                daemon_begin(daemon);

        return G_SOURCE_REMOVE;
}

static gboolean
daemon_on_hangup(void *data)
{
        Daemon *daemon = data;

        if (daemon->is_stopping)
                return G_SOURCE_CONTINUE;

        if (daemon->next || !daemon->is_ready)
                daemon->again = true;
        else
                daemon_begin(daemon);

        return G_SOURCE_CONTINUE;
}

static void
daemon_on_drained(void *data)
{
        Daemon *daemon = data;

        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID", LOG_ID_STOPPED, "MESSAGE",
                         "stopped: %u session%s cut", daemon->cut, plural(daemon->cut));
        g_main_loop_quit(daemon->loop);
}

static void
daemon_cut(Daemon *daemon)
{
        if (daemon->has_cut)
                return;

        daemon->has_cut = true;
        daemon->cut = proxy_get_sessions(daemon->proxy);
        daemon->stop_end = 0;
        proxy_cut(daemon->proxy);
}

static gboolean
daemon_on_stop_timeout(void *data)
{
        daemon_cut(data);

        return G_SOURCE_CONTINUE; /* once is enough; it ends with the process */
}

static void
daemon_stop(Daemon *daemon)
{
        const Settings *settings = proxy_get_settings(daemon->proxy);
        gint64 timeout = settings ? settings->stop_timeout : 0;
        unsigned sessions = proxy_get_sessions(daemon->proxy);

        daemon->is_stopping = true;
        daemon_end(daemon);
        notify_stopping();
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID", LOG_ID_STOPPING,
                         "MESSAGE", "stopping: %u session%s to finish", sessions, plural(sessions));

        daemon->stop_end = timeout == G_MAXINT64 ? G_MAXINT64 : g_get_monotonic_time() + timeout;
        if (timeout != G_MAXINT64)
                daemon_keep_source(daemon, g_timeout_add((guint)CLAMP(timeout / 1000, 1, G_MAXINT),
                                                         daemon_on_stop_timeout, daemon));
        proxy_drain(daemon->proxy, daemon_on_drained, daemon);
        daemon_show_status(daemon);
}

static gboolean
daemon_on_stop_signal(void *data)
{
        Daemon *daemon = data;

        if (daemon->is_stopping)
                daemon_cut(daemon);
        else
                daemon_stop(daemon);

        return G_SOURCE_CONTINUE;
}

static bool
daemon_init(Daemon *daemon, GError **error)
{
        GPtrArray *passed;
        gint64 watchdog = notify_get_watchdog_interval();

        /* Before anything that takes time: from here on a signal is never lost and never kills. */
        signal(SIGPIPE, SIG_IGN);
        daemon_keep_source(daemon, g_unix_signal_add(SIGHUP, daemon_on_hangup, daemon));
        daemon_keep_source(daemon, g_unix_signal_add(SIGTERM, daemon_on_stop_signal, daemon));
        daemon_keep_source(daemon, g_unix_signal_add(SIGINT, daemon_on_stop_signal, daemon));

        passed = listener_take_passed(error);
        if (!passed)
                return false;

        daemon->proxy = proxy_new(passed, fd_raise_limit());
        daemon_keep_source(daemon,
                           g_timeout_add_seconds(STATUS_INTERVAL, daemon_on_status_timer, daemon));
        g_timeout_add_seconds(EXPIRY_INTERVAL, daemon_on_expiry_timer, daemon);
        if (watchdog > 0)
                daemon_keep_source(daemon, g_timeout_add((guint)MAX(watchdog / 1000, 1),
                                                         daemon_on_watchdog_timer, daemon));
        g_idle_add(daemon_on_start, daemon);

        return true;
}

static void
daemon_clear(Daemon *daemon)
{
        for (unsigned i = 0; i < daemon->sources->len; i++)
                g_source_remove(g_array_index(daemon->sources, guint, i));
        g_array_unref(daemon->sources);

        names_free(daemon->next_names);
        settings_unref(daemon->next);
        names_free(daemon->names);
        proxy_free(daemon->proxy);
        syslog_free(daemon->syslog);
        g_free(daemon->reload_error);
        g_main_loop_unref(daemon->loop);
}

int
daemon_run(const char *config)
{
        Daemon daemon = { .config = config, .status = EXIT_SUCCESS };
        g_autoptr(GError) error = NULL;

        daemon.loop = g_main_loop_new(NULL, FALSE);
        daemon.syslog = syslog_new();
        daemon.sources = g_array_new(FALSE, FALSE, sizeof(guint));
        if (daemon_init(&daemon, &error)) {
                g_main_loop_run(daemon.loop);
        } else {
                g_critical("can't start: %s", error->message);
                daemon.status = EXIT_FAILURE;
        }
        daemon_clear(&daemon);

        return daemon.status;
}
