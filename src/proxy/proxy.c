/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A reload is prepared whole before anything changes: sockets that are wanted and not there are
 * bound, and if one can't be, the old settings stay. Then each worker is posted the new settings
 * with their doors, and takes them between two turns. A listener lives until the last worker has
 * let go of it.
 */

#include "proxy/proxy.h"

#include <stdlib.h>

#include <gio/gio.h>

#include "base/fd.h"
#include "base/log-id.h"
#include "proxy/worker.h"

/* Connections that were half made when the door was shut have so long to be accepted. */
#define DOOR_TIME (G_TIME_SPAN_SECOND / 10)

/* Descriptors of the process itself: standard streams, signals, the journal, names being looked up,
 * callers on the control socket. */
#define OWN_DESCRIPTORS 120

/* Something that every worker has been posted, and what to call when the last has done it. */
typedef struct Round {
        unsigned left; /* atomic */
        ProxyFunc done;
        void *data;
} Round;

struct Proxy {
        Settings *settings;
        unsigned max_descriptors;
        GPtrArray *passed; /* of Listener: from systemd, kept even while no listener wants them */
        GPtrArray *inherited; /* of Listener: bound by the process before this one; until it left */
        GArray *doors;        /* of WorkerDoor: what is open */
        GPtrArray *workers;
        WorkerShared shared;
        Round taking;     /* new settings */
        Round draining;   /* the last sessions */
        Round sharing;    /* descriptors */
        guint door_timer; /* of doors that are shut, and not yet closed */
        GSourceFunc on_door_time;
};

static gboolean
round_on_done(void *data)
{
        Round *round = data;

        round->done(round->data);

        return G_SOURCE_REMOVE;
}

static void
round_begin(Round *round, unsigned n, ProxyFunc done, void *data)
{
        g_assert(__atomic_load_n(&round->left, __ATOMIC_ACQUIRE) == 0);

        round->done = done;
        round->data = data;
        __atomic_store_n(&round->left, n, __ATOMIC_RELEASE);
        if (n == 0)
                g_idle_add(round_on_done, round);
}

/* A worker is done; on its thread. */
static void
round_on_worker(void *data)
{
        Round *round = data;

        if (__atomic_sub_fetch(&round->left, 1, __ATOMIC_ACQ_REL) == 0)
                g_idle_add(round_on_done, round);
}

static void
door_clear(void *data)
{
        listener_unref(((WorkerDoor *)data)->listener);
}

static GArray *
doors_new(void)
{
        GArray *doors = g_array_new(FALSE, FALSE, sizeof(WorkerDoor));

        g_array_set_clear_func(doors, door_clear);

        return doors;
}

static void
listeners_add(GPtrArray *listeners, Listener *listener)
{
        g_ptr_array_add(listeners, listener_ref(listener));
}

static GPtrArray *
listeners_new(void)
{
        return g_ptr_array_new_with_free_func((GDestroyNotify)listener_unref);
}

Proxy *
proxy_new(GPtrArray *sockets, unsigned max_descriptors, Ledger *ledger)
{
        Proxy *proxy = NULL;

        if (posix_memalign((void **)&proxy, G_ALIGNOF(Proxy), sizeof(*proxy)) != 0)
                g_error("Out of memory");

        *proxy = (Proxy){ .max_descriptors = max_descriptors, .shared.spare_fd = FD_NONE };
        pthread_mutex_init(&proxy->shared.spare_lock, NULL);
        proxy->shared.places = ledger_get_sessions(ledger);
        proxy->passed = listeners_new();
        proxy->inherited = listeners_new();
        for (unsigned i = 0; i < sockets->len; i++)
                listeners_add(listener_get_passed_name(sockets->pdata[i]) ? proxy->passed
                                                                          : proxy->inherited,
                              sockets->pdata[i]);
        g_ptr_array_unref(sockets);
        proxy->doors = doors_new();
        proxy->workers = g_ptr_array_new_with_free_func((GDestroyNotify)worker_free);

        return proxy;
}

/* The open listener that was bound for @endpoint. */
static Listener *
proxy_find_bound(const Proxy *proxy, const Endpoint *endpoint)
{
        for (unsigned i = 0; i < proxy->doors->len; i++) {
                Listener *listener = g_array_index(proxy->doors, WorkerDoor, i).listener;

                if (listener_is_bound_to(listener, endpoint))
                        return listener_ref(listener);
        }
        for (unsigned i = 0; i < proxy->inherited->len; i++) {
                if (listener_is_bound_to(proxy->inherited->pdata[i], endpoint))
                        return listener_ref(proxy->inherited->pdata[i]);
        }

        return NULL;
}

static void
doors_add(GArray *doors, Listener *listener, const ListenerSettings *settings)
{
        WorkerDoor door = { listener, settings };

        g_array_append_val(doors, door);
}

/* Adds what systemd handed over under the listener's name; false when that is nothing. */
static bool
proxy_add_passed(const Proxy *proxy, const ListenerSettings *settings, GArray *doors)
{
        unsigned before = doors->len;

        for (unsigned i = 0; i < proxy->passed->len; i++) {
                Listener *listener = proxy->passed->pdata[i];

                if (g_strcmp0(listener_get_passed_name(listener), settings->name) == 0)
                        doors_add(doors, listener_ref(listener), settings);
        }

        return doors->len > before;
}

/* A listener in force keeps its port until a reload is good, and so can be in its way. */
static void
proxy_explain(const Proxy *proxy, const Endpoint *endpoint, GError **error)
{
        for (unsigned i = 0; i < proxy->doors->len; i++) {
                const WorkerDoor *door = &g_array_index(proxy->doors, WorkerDoor, i);

                if (!listener_is_in_the_way(door->listener, endpoint))
                        continue;

                g_prefix_error(error,
                               "port %u is that of %s, in force until the new settings are: take "
                               "another port, or "
                               "restart: ",
                               endpoint->port, listener_get_text(door->listener));
                return;
        }
}

GArray *
proxy_prepare(Proxy *proxy, Settings *settings, GError **error)
{
        g_autoptr(GArray) doors = doors_new();

        for (unsigned i = 0; i < settings->listeners->len; i++) {
                const ListenerSettings *wanted = settings->listeners->pdata[i];

                if (proxy_add_passed(proxy, wanted, doors))
                        continue;
                if (wanted->listen->len == 0)
                        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID",
                                         LOG_ID_CONFIG_WARNING, "MESSAGE",
                                         "nobody can reach [Listener %s]: it has no Listen=, and "
                                         "systemd handed over no socket of that name",
                                         wanted->name);

                for (unsigned k = 0; k < wanted->listen->len; k++) {
                        const Endpoint *endpoint = wanted->listen->pdata[k];
                        Listener *listener = proxy_find_bound(proxy, endpoint);

                        if (!listener)
                                listener = listener_bind(endpoint, error);
                        if (!listener) {
                                proxy_explain(proxy, endpoint, error);
                                g_prefix_error(error, "[Listener %s] Listen=: ", wanted->name);
                                return NULL;
                        }
                        doors_add(doors, listener, wanted);
                }
        }

        return g_steal_pointer(&doors);
}

static bool
doors_have(const GArray *doors, const Listener *listener)
{
        for (unsigned i = 0; i < doors->len; i++) {
                if (g_array_index(doors, WorkerDoor, i).listener == listener)
                        return true;
        }

        return false;
}

/* Sockets that were handed over and that no listener wants get doors at which everybody is denied:
 * their queue is open in any case, and who waits there for ever would be stuck. */
static void
proxy_add_unwanted(const Proxy *proxy, GArray *doors)
{
        for (unsigned i = 0; i < proxy->inherited->len; i++) {
                if (!doors_have(doors, proxy->inherited->pdata[i]))
                        doors_add(doors, listener_ref(proxy->inherited->pdata[i]), NULL);
        }

        for (unsigned i = 0; i < proxy->passed->len; i++) {
                Listener *listener = proxy->passed->pdata[i];
                const char *name = listener_get_passed_name(listener);

                if (doors_have(doors, listener))
                        continue;

                doors_add(doors, listener_ref(listener), NULL);
                g_log_structured(
                        G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID", LOG_ID_CONFIG_WARNING,
                        "MESSAGE",
                        "callers of %s, which systemd handed over as %s, are denied: there is "
                        "no [Listener %s]",
                        listener_get_text(listener), name, name);
        }
}

static unsigned
proxy_get_threads(const Settings *settings)
{
        return settings->threads > 0 ? settings->threads : g_get_num_processors();
}

/* What MaxSessions= comes to: a session has two descriptors, and some are needed for other things.
 */
static unsigned
proxy_get_max_sessions(const Proxy *proxy, const Settings *settings)
{
        unsigned other = OWN_DESCRIPTORS + WORKER_MAX_REFUSALS +
                         proxy_get_threads(settings) * WORKER_DESCRIPTORS + proxy->doors->len;
        unsigned most = MAX(proxy->max_descriptors, other + 2) - other;

        most /= 2;
        if (settings->max_sessions > most)
                g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID",
                                 LOG_ID_CONFIG_WARNING, "MESSAGE",
                                 "[Proxy] MaxSessions=%u: the limit of %u descriptors allows %u "
                                 "(LimitNOFILE=)",
                                 settings->max_sessions, proxy->max_descriptors, most);

        return settings->max_sessions > 0 ? MIN(settings->max_sessions, most) : most;
}

static void
proxy_start_workers(Proxy *proxy, const Settings *settings)
{
        unsigned threads = proxy_get_threads(settings);
        unsigned running = proxy->workers->len;

        if (running > 0 && running != threads)
                g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID",
                                 LOG_ID_CONFIG_WARNING, "MESSAGE",
                                 "[Proxy] Threads=: %u of them run until a restart", running);
        if (running > 0)
                return;

        for (unsigned i = 0; i < threads; i++)
                g_ptr_array_add(proxy->workers, worker_new(i, &proxy->shared));

        proxy->shared.workers = proxy->workers;
        proxy->shared.n_accepting = settings->threads > 0 ? threads : 1;
        proxy->shared.adapts = settings->threads == 0;
        for (unsigned i = 0; i < threads; i++)
                worker_start(proxy->workers->pdata[i]);
}

/* Each worker takes what proxy_commit() has put in force. */
static void
proxy_post_settings(Proxy *proxy)
{
        for (unsigned i = 0; i < proxy->workers->len; i++)
                worker_take_settings(proxy->workers->pdata[i], proxy->settings, proxy->doors,
                                     round_on_worker, &proxy->taking);
}

/* Gives those who are half-way through a shut door their time, and then calls @func. */
static void
proxy_start_door_time(Proxy *proxy, GSourceFunc func)
{
        proxy->on_door_time = func;
        proxy->door_timer = g_timeout_add(DOOR_TIME / 1000, func, proxy);
}

/* Calls it now. */
static void
proxy_end_door_time(Proxy *proxy)
{
        if (!proxy->door_timer)
                return;

        g_source_remove(proxy->door_timer);
        proxy->on_door_time(proxy);
}

/* Shuts the doors that are not among the new ones; true when there were any. */
static bool
proxy_shut_doors(const GArray *old, const GArray *new)
{
        bool any = false;

        for (unsigned i = 0; i < old->len; i++) {
                Listener *listener = g_array_index(old, WorkerDoor, i).listener;

                if (doors_have(new, listener))
                        continue;

                any = listener_shut_door(listener) || any;
        }

        return any;
}

static gboolean
proxy_on_removed_doors(void *data)
{
        Proxy *proxy = data;

        proxy->door_timer = 0;
        proxy_post_settings(proxy);

        return G_SOURCE_REMOVE;
}

void
proxy_commit(Proxy *proxy, Settings *settings, GArray *doors, ProxyFunc in_force, void *data)
{
        g_autoptr(GArray) old_doors = proxy->doors;
        G_GNUC_UNUSED g_autoptr(Settings) old_settings = proxy->settings;

        proxy_add_unwanted(proxy, doors);
        proxy->doors = doors;
        proxy->settings = settings_ref(settings);
        __atomic_store_n(&proxy->shared.max_sessions, proxy_get_max_sessions(proxy, settings),
                         __ATOMIC_RELAXED);

        proxy_start_workers(proxy, settings);
        round_begin(&proxy->taking, proxy->workers->len, in_force, data);
        if (proxy_shut_doors(old_doors, doors))
                proxy_start_door_time(proxy, proxy_on_removed_doors);
        else
                proxy_post_settings(proxy);
}

const Settings *
proxy_get_settings(const Proxy *proxy)
{
        return proxy->settings;
}

unsigned
proxy_get_sessions(const Proxy *proxy)
{
        return places_get_taken(proxy->shared.places);
}

GPtrArray *
proxy_get_listeners(const Proxy *proxy)
{
        GPtrArray *listeners = listeners_new();

        for (unsigned i = 0; i < proxy->doors->len; i++)
                listeners_add(listeners, g_array_index(proxy->doors, WorkerDoor, i).listener);

        return listeners;
}

static void
proxy_set_shared(Proxy *proxy, bool is_shared)
{
        for (unsigned i = 0; i < proxy->doors->len; i++)
                listener_set_shared(g_array_index(proxy->doors, WorkerDoor, i).listener, is_shared);
}

void
proxy_leave_sockets(Proxy *proxy)
{
        proxy_set_shared(proxy, true);
}

bool
proxy_own_sockets(Proxy *proxy)
{
        bool has_unwanted = false;

        proxy_set_shared(proxy, false);
        g_ptr_array_set_size(proxy->inherited, 0);

        for (unsigned i = 0; i < proxy->doors->len; i++) {
                const WorkerDoor *door = &g_array_index(proxy->doors, WorkerDoor, i);

                if (!door->settings && !listener_get_passed_name(door->listener))
                        has_unwanted = true;
        }

        return has_unwanted;
}

void
proxy_share_descriptors(Proxy *proxy, bool shared, ProxyFunc done, void *data)
{
        round_begin(&proxy->sharing, proxy->workers->len, done, data);
        for (unsigned i = 0; i < proxy->workers->len; i++)
                worker_share_descriptors(proxy->workers->pdata[i], shared, round_on_worker,
                                         &proxy->sharing);
}

static gboolean
proxy_on_door_time(void *data)
{
        Proxy *proxy = data;

        proxy->door_timer = 0;
        g_array_set_size(proxy->doors, 0);
        for (unsigned i = 0; i < proxy->workers->len; i++)
                worker_drain(proxy->workers->pdata[i], round_on_worker, &proxy->draining);

        return G_SOURCE_REMOVE;
}

void
proxy_drain(Proxy *proxy, ProxyFunc drained, void *data)
{
        bool shuts = false;

        round_begin(&proxy->draining, proxy->workers->len, drained, data);
        if (proxy->workers->len == 0)
                return;

        proxy_end_door_time(proxy);
        for (unsigned i = 0; i < proxy->doors->len; i++)
                shuts = listener_shut_door(g_array_index(proxy->doors, WorkerDoor, i).listener) ||
                        shuts;
        if (shuts)
                proxy_start_door_time(proxy, proxy_on_door_time);
        else
                proxy_on_door_time(proxy);
}

void
proxy_cut(Proxy *proxy)
{
        /* Nobody new comes in behind those that are cut. */
        proxy_end_door_time(proxy);

        for (unsigned i = 0; i < proxy->workers->len; i++)
                worker_cut(proxy->workers->pdata[i]);
}

bool
proxy_is_alive(Proxy *proxy)
{
        bool alive = true;

        for (unsigned i = 0; i < proxy->workers->len; i++) {
                if (!worker_has_answered(proxy->workers->pdata[i]))
                        alive = false;
                else
                        worker_ping(proxy->workers->pdata[i]);
        }

        return alive;
}

void
proxy_free(Proxy *proxy)
{
        if (!proxy)
                return;

        g_clear_handle_id(&proxy->door_timer, g_source_remove);
        g_ptr_array_unref(proxy->workers);
        g_idle_remove_by_data(&proxy->taking);
        g_idle_remove_by_data(&proxy->draining);
        g_idle_remove_by_data(&proxy->sharing);
        g_assert(!INVARIANTS || places_get_taken(&proxy->shared.refusals) == 0);
        g_array_unref(proxy->doors);
        g_ptr_array_unref(proxy->passed);
        g_ptr_array_unref(proxy->inherited);
        settings_unref(proxy->settings);
        fd_clear(&proxy->shared.spare_fd);
        pthread_mutex_destroy(&proxy->shared.spare_lock);
        free(proxy);
}
