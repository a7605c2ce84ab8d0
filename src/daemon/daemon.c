/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Settings come into force in one way, at the start and at a reload: the files are read and
 * checked, names of servers are looked up (which may take NAMES_LIMIT), sockets are opened, and
 * then all is swapped in at once. Whatever fails before that leaves what was in force. Signals may
 * come at any point of it: a hang-up during a reload makes another one follow, a stop ends it. Who
 * asks for a reload on the control socket is answered at the end of one that began after that.
 *
 * In a live upgrade a successor is started and handed the listening sockets. It begins as any
 * process does, and accepts; only when it has said so does this one leave the service to it, and
 * ends with its last session. Until then everything that goes wrong ends the successor alone. A
 * process outlives its predecessor, so that whoever waits for the newest waits for all of them.
 */

#include "daemon/daemon.h"

#include <signal.h>
#include <stdlib.h>

#include <glib-unix.h>

#include "base/fd.h"
#include "base/log-id.h"
#include "base/log-limit.h"
#include "base/log.h"
#include "daemon/control.h"
#include "daemon/expiry.h"
#include "daemon/notify.h"
#include "daemon/predecessor.h"
#include "daemon/settings-file.h"
#include "daemon/status.h"
#include "daemon/syslog.h"
#include "daemon/upgrade.h"
#include "net/listener.h"
#include "proxy/names.h"
#include "proxy/proxy.h"

#define NAMES_LIMIT     (3 * G_TIME_SPAN_SECOND)
#define STATUS_INTERVAL 2              /* seconds */
#define EXPIRY_INTERVAL (24 * 60 * 60) /* seconds */
#define EXTENSION       (10 * G_TIME_SPAN_SECOND)

#define STOPPING "agitator is stopping" /* what callers are told then */
#define REPLACED "another process has taken over meanwhile: ask again"

typedef struct Daemon {
        GMainLoop *loop;
        GArray *sources; /* of guint: what the main loop calls with this daemon */
        const char *config;
        Ledger *ledger;
        Proxy *proxy;
        Names *names; /* of the settings in force */
        Syslog *syslog;

        /* Settings on their way into force; NULL when there are none. */
        Settings *next;
        Names *next_names;
        bool again; /* another reload was asked for meanwhile */

        /* A live upgrade, to this process and from it. */
        Predecessor *predecessor; /* as long as it lives */
        Upgrade *upgrade;
        bool wants_upgrade;  /* when the reload is over */
        char *upgrade_error; /* of the last one; NULL when it went well */

        Control *control;       /* NULL until ready, and when there is none */
        ControlQueue reloaders; /* who waits for a reload */
        ControlQueue upgraders; /* ... and for an upgrade */

        bool is_ready;
        bool has_service; /* no predecessor has it any more */
        bool is_leaving;  /* a successor is to have it: what is left is to finish the sessions */
        bool has_left;    /* ... and has it */
        bool is_stopping;
        bool is_drained; /* the last session is over */
        bool has_cut;
        unsigned stop_signals;
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
static void daemon_upgrade(Daemon *daemon);

static void
daemon_show_status(Daemon *daemon)
{
        g_autofree char *text = NULL;

        if (!proxy_get_settings(daemon->proxy))
                return;

        text = status_print(daemon->proxy, daemon->ledger, daemon->is_stopping,
                            daemon->reload_error, daemon->upgrade_error);
        notify_status("%s", text);
}

static gboolean
daemon_on_status_timer(void *data)
{
        Daemon *daemon = data;

        ledger_settle(daemon->ledger);
        control_keep(daemon->control);
        daemon_show_status(daemon);
        if (daemon->is_stopping && g_get_monotonic_time() < daemon->stop_end)
                notify_extend_timeout(EXTENSION);

        return G_SOURCE_CONTINUE;
}

static gboolean
daemon_on_expiry_timer(void *data)
{
        Daemon *daemon = data;

        if (proxy_get_settings(daemon->proxy) && !daemon->is_leaving)
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
        control_queue_end(&daemon->reloaders, daemon->reload_error); /* by now all others know */
        if (daemon->again)
                daemon_begin(daemon);
        else if (daemon->wants_upgrade)
                daemon_upgrade(daemon);
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
                if (daemon->predecessor)
                        predecessor_send(daemon->predecessor, HANDOVER_FAILED, own);
                daemon->status = status;
                g_main_loop_quit(daemon->loop);
        }
        daemon_end(daemon);
}

static void daemon_on_reload_call(ControlCall *call, void *data);
static void daemon_on_upgrade_call(ControlCall *call, void *data);

static const ControlFuncs control_funcs = {
        .reload = daemon_on_reload_call,
        .upgrade = daemon_on_upgrade_call,
};

/* Not before the start has succeeded: until then the socket may be a predecessor's. */
static void
daemon_open_control(Daemon *daemon)
{
        g_autofree char *path = control_get_default_path();

        if (path)
                daemon->control = control_new(path, &control_funcs, daemon);
        control_keep(daemon->control);
}

/* Every worker has the new settings. */
static void
daemon_on_in_force(void *data)
{
        Daemon *daemon = data;

        if (daemon->is_stopping)
                return;

        status_log_in_force(proxy_get_settings(daemon->proxy), daemon->is_ready);
        if (!daemon->is_ready && daemon->predecessor)
                predecessor_send(daemon->predecessor, HANDOVER_READY, NULL);
        else if (!daemon->is_ready)
                daemon_open_control(daemon);
        daemon->is_ready = true;
        daemon_end(daemon);
}

static void
daemon_take_log(Daemon *daemon)
{
        log_configure(daemon->next->log_target, daemon->next->log_level);
        log_set_sessions(daemon->next->log_sessions);
        log_limit_configure(daemon->next->log_burst, daemon->next->log_interval);
        syslog_configure(daemon->syslog, daemon->next);
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

        names_inherit(daemon->next_names, proxy_get_settings(daemon->proxy));
        names_free(daemon->names);
        daemon->names = g_steal_pointer(&daemon->next_names);

        daemon_take_log(daemon);
        g_clear_pointer(&daemon->reload_error, g_free);
        proxy_commit(daemon->proxy, daemon->next, doors, daemon_on_in_force, daemon);
}

/* Reads the files, and if they are good, begins to bring them into force. */
static void
daemon_begin(Daemon *daemon)
{
        g_autoptr(GPtrArray) problems = settings_problems_new();

        daemon->again = false;
        control_queue_begin(&daemon->reloaders);
        if (daemon->is_ready)
                notify_reloading();

        daemon->next = settings_file_load(daemon->config, problems);
        if (daemon->next)
                settings_finish(daemon->next, proxy_get_settings(daemon->proxy), daemon->ledger);
        if (daemon->next && !daemon->is_ready)
                daemon_take_log(daemon); /* which what is said of the start goes to, too */
        settings_problems_log(problems);
        if (!daemon->next) {
                daemon_fail(daemon, settings_problems_summarise(problems), DAEMON_EXIT_CONFIG);
                return;
        }

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

/* True while something goes on that a reload or an upgrade has to wait for. */
static bool
daemon_is_busy(const Daemon *daemon)
{
        return daemon->next || !daemon->is_ready || !daemon->has_service ||
               upgrade_is_going_on(daemon->upgrade);
}

static void
daemon_reload(Daemon *daemon)
{
        if (daemon_is_busy(daemon))
                daemon->again = true;
        else
                daemon_begin(daemon);
}

/* Puts @call among those who wait, unless it comes too late; true when it does wait. */
static bool
daemon_take_call(Daemon *daemon, ControlQueue *queue, ControlCall *call)
{
        if (daemon->is_stopping || daemon->is_leaving) {
                control_call_fail(call, daemon->is_stopping                      ? STOPPING
                                        : upgrade_has_successor(daemon->upgrade) ? REPLACED
                                                                                 : UPGRADE_DIED);
                return false;
        }
        control_queue_add(queue, call);

        return true;
}

static void
daemon_on_reload_call(ControlCall *call, void *data)
{
        Daemon *daemon = data;

        if (daemon_take_call(daemon, &daemon->reloaders, call))
                daemon_reload(daemon);
}

static void
daemon_on_upgrade_call(ControlCall *call, void *data)
{
        Daemon *daemon = data;

        if (daemon_take_call(daemon, &daemon->upgraders, call))
                daemon_upgrade(daemon);
}

static gboolean
daemon_on_hangup(void *data)
{
        Daemon *daemon = data;

        if (daemon->is_leaving)
                daemon->again = true; /* if it comes in time, the successor is told */
        else if (!daemon->is_stopping)
                daemon_reload(daemon);

        return G_SOURCE_CONTINUE;
}

/* A process ends when its last session is over, and its predecessor's too. */
static void
daemon_check_end(Daemon *daemon)
{
        if (!daemon->is_drained || daemon->predecessor || (daemon->is_leaving && !daemon->has_left))
                return;

        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID", LOG_ID_STOPPED, "MESSAGE",
                         "stopped: %u session%s cut", daemon->cut, status_plural(daemon->cut));
        g_main_loop_quit(daemon->loop);
}

static void
daemon_on_drained(void *data)
{
        Daemon *daemon = data;

        daemon->is_drained = true;
        daemon_check_end(daemon);
}

static void
daemon_cut(Daemon *daemon)
{
        if (daemon->has_cut)
                return;

        daemon->has_cut = true;
        if (daemon->predecessor)
                predecessor_send(daemon->predecessor, HANDOVER_CUT, NULL);
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
        upgrade_cancel(daemon->upgrade, STOPPING);
        daemon_end(daemon);
        control_queue_fail(&daemon->reloaders, STOPPING);
        control_queue_fail(&daemon->upgraders, STOPPING);
        notify_stopping();
        if (daemon->predecessor)
                predecessor_send(daemon->predecessor, HANDOVER_STOP, NULL);
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID", LOG_ID_STOPPING,
                         "MESSAGE", "stopping: %u session%s to finish", sessions,
                         status_plural(sessions));

        daemon->stop_end = timeout == G_MAXINT64 ? G_MAXINT64 : g_get_monotonic_time() + timeout;
        if (timeout != G_MAXINT64)
                daemon_keep_source(daemon, g_timeout_add((guint)CLAMP(timeout / 1000, 1, G_MAXINT),
                                                         daemon_on_stop_timeout, daemon));
        if (!daemon->is_leaving)
                proxy_drain(daemon->proxy, daemon_on_drained, daemon);
        daemon_show_status(daemon);
}

/* When the successor has died, who never ends before us, a stop is for nothing else than to start
 * the service anew, which waits for us while nobody accepts; and who watches us is to start it. */
static void
daemon_make_way(void *data)
{
        Daemon *daemon = data;

        if (!daemon->is_leaving || upgrade_has_successor(daemon->upgrade))
                return;
        daemon->status = EXIT_FAILURE;
        if (daemon->is_stopping)
                daemon_cut(daemon);
}

static gboolean
daemon_on_stop_signal(void *data)
{
        Daemon *daemon = data;

        /* A successor may have told us before the service manager does. */
        if (++daemon->stop_signals > 1 && daemon->has_service)
                daemon_cut(daemon);
        else if (!daemon->is_stopping)
                daemon_stop(daemon);
        daemon_make_way(daemon);

        return G_SOURCE_CONTINUE;
}

/* The upgrade is over, and this process has the service as before. */
static void
daemon_on_upgrade_failed(const char *reason, void *data)
{
        Daemon *daemon = data;

        g_free(daemon->upgrade_error);
        daemon->upgrade_error = g_strdup(reason);
        control_queue_end(&daemon->upgraders, reason);
        if (daemon->is_stopping)
                return;

        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID", LOG_ID_UPGRADE_FAILED,
                         "MESSAGE", "upgrade failed, this process goes on: %s", reason);
        daemon->wants_upgrade |= !control_queue_is_empty(&daemon->upgraders);
        daemon_end(daemon);
}

/* No worker accepts any more: whoever calls from now on is the successor's. */
static void
daemon_on_left(void *data)
{
        Daemon *daemon = data;
        pid_t pid = upgrade_finish(daemon->upgrade);
        unsigned sessions = proxy_get_sessions(daemon->proxy);

        if (pid == 0) {
                g_critical("%s", UPGRADE_DIED);
                control_queue_end(&daemon->upgraders, UPGRADE_DIED);
                daemon->has_left = true;
                if (!daemon->is_stopping)
                        daemon_stop(daemon);
                daemon_cut(daemon);
                daemon_check_end(daemon);
                return;
        }

        if (daemon->control)
                control_leave(daemon->control);
        if (daemon->again)
                kill(pid, SIGHUP);
        if (daemon->is_stopping)
                kill(pid, SIGTERM);
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID", LOG_ID_UPGRADED,
                         "MESSAGE", "process %ld has taken over: %u session%s to finish here",
                         (long)pid, sessions, status_plural(sessions));
}

/* The successor has the service, and answers on the control socket; or doesn't, for @failure. */
static void
daemon_on_served(const char *failure, void *data)
{
        Daemon *daemon = data;

        if (failure)
                g_critical("%s", failure);
        control_queue_end(&daemon->upgraders, failure);
        control_queue_fail(&daemon->upgraders, failure ?: REPLACED);
        control_queue_fail(&daemon->reloaders, failure ?: REPLACED);
        daemon->has_left = true;
        daemon_check_end(daemon);
}

/* The successor is ready, and accepts. */
static void
daemon_on_successor(void *data)
{
        Daemon *daemon = data;

        daemon->is_leaving = true;
        proxy_leave_sockets(daemon->proxy);
        proxy_drain(daemon->proxy, daemon_on_drained, daemon);
        proxy_share_descriptors(daemon->proxy, false, daemon_on_left, daemon);
}

/* The successor is told to stop, and so are we. */
static void
daemon_on_told(bool to_cut, void *data)
{
        Daemon *daemon = data;

        if (!daemon->is_stopping)
                daemon_stop(daemon);
        if (to_cut)
                daemon_cut(daemon);
}

static void
daemon_upgrade(Daemon *daemon)
{
        if (daemon_is_busy(daemon)) {
                daemon->wants_upgrade = !upgrade_is_going_on(daemon->upgrade);
                return;
        }

        daemon->wants_upgrade = false;
        g_clear_pointer(&daemon->upgrade_error, g_free);
        control_queue_begin(&daemon->upgraders);
        notify_status("Upgrading: waiting for the new process");
        upgrade_start(daemon->upgrade);
}

static gboolean
daemon_on_upgrade_signal(void *data)
{
        Daemon *daemon = data;

        if (!daemon->is_stopping && !daemon->is_leaving)
                daemon_upgrade(daemon);

        return G_SOURCE_CONTINUE;
}

/* The predecessor has left the service to this process. */
static void
daemon_take_service(Daemon *daemon)
{
        daemon->has_service = true;
        daemon->stop_signals = 0; /* the one of before may come twice */
        notify_set_silent(false);
        daemon_open_control(daemon);
        notify_watchdog();
        daemon_show_status(daemon);
        notify_ready();
        predecessor_send(daemon->predecessor, HANDOVER_SERVING, NULL);

        if (proxy_own_sockets(daemon->proxy))
                daemon->again = true;
        if (daemon->is_stopping)
                return;
        if (daemon->again)
                daemon_reload(daemon);
        else if (daemon->wants_upgrade)
                daemon_upgrade(daemon);
}

static void
daemon_on_predecessor(HandoverMessage message, const char *text, void *data)
{
        Daemon *daemon = data;

        if (message == HANDOVER_GO && !daemon->has_service)
                daemon_take_service(daemon);
        if (message != HANDOVER_END)
                return;

        g_clear_pointer(&daemon->predecessor, predecessor_free);
        ledger_settle(daemon->ledger);
        if (!daemon->has_service && !daemon->is_stopping) {
                g_warning("the process before this one has ended, or gave up");
                daemon_stop(daemon);
        }
        daemon_check_end(daemon);
}

static bool
daemon_init(Daemon *daemon, GError **error)
{
        static const UpgradeFuncs upgrade_funcs = {
                .ready = daemon_on_successor,
                .served = daemon_on_served,
                .failed = daemon_on_upgrade_failed,
                .told = daemon_on_told,
                .bereft = daemon_make_way,
        };
        gint64 watchdog = notify_get_watchdog_interval();
        Inheritance inheritance;
        bool inherits;

        /* Before anything that takes time: from here on a signal is never lost and never kills. */
        signal(SIGPIPE, SIG_IGN);
        daemon_keep_source(daemon, g_unix_signal_add(SIGHUP, daemon_on_hangup, daemon));
        daemon_keep_source(daemon, g_unix_signal_add(SIGTERM, daemon_on_stop_signal, daemon));
        daemon_keep_source(daemon, g_unix_signal_add(SIGINT, daemon_on_stop_signal, daemon));
        daemon_keep_source(daemon, g_unix_signal_add(SIGUSR2, daemon_on_upgrade_signal, daemon));

        inherits = predecessor_inherit(&inheritance, error);
        daemon->predecessor = inheritance.predecessor;
        daemon->ledger = inheritance.ledger;
        daemon->has_service = !daemon->predecessor;
        notify_set_silent(!daemon->has_service);
        if (!inherits)
                return false;

        if (daemon->predecessor)
                predecessor_watch(daemon->predecessor, daemon_on_predecessor, daemon);
        daemon->proxy = proxy_new(inheritance.sockets, fd_raise_limit(), daemon->ledger);
        daemon->upgrade =
                upgrade_new(daemon->config, daemon->proxy, daemon->ledger, &upgrade_funcs, daemon);
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

        control_free(daemon->control);
        control_queue_clear(&daemon->reloaders);
        control_queue_clear(&daemon->upgraders);
        names_free(daemon->next_names);
        settings_unref(daemon->next);
        names_free(daemon->names);
        upgrade_free(daemon->upgrade);
        proxy_free(daemon->proxy);
        predecessor_free(daemon->predecessor);
        ledger_free(daemon->ledger);
        g_free(daemon->upgrade_error);
        syslog_free(daemon->syslog);
        g_free(daemon->reload_error);
        g_main_loop_unref(daemon->loop);
}

int
daemon_run(const char *config)
{
        Daemon daemon = { .config = config, .loop = g_main_loop_new(NULL, FALSE) };
        g_autoptr(GError) error = NULL;

        daemon.syslog = syslog_new();
        daemon.sources = g_array_new(FALSE, FALSE, sizeof(guint));
        control_queue_init(&daemon.reloaders);
        control_queue_init(&daemon.upgraders);
        if (daemon_init(&daemon, &error))
                g_main_loop_run(daemon.loop);
        else
                daemon_fail(&daemon, g_strdup(error->message), EXIT_FAILURE);
        daemon_clear(&daemon);

        return daemon.status;
}
