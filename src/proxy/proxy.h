/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "net/listener.h"
#include "proxy/settings.h"

/*
 * Listeners and workers together: start, take new settings, drain, stop. Main thread.
 */

typedef struct Proxy Proxy;

typedef void (*ProxyFunc)(void *data);

/* Takes @sockets, the listening sockets (Listener) that systemd or the process before this one
 * handed over. @max_descriptors is the process's limit. Sessions are counted in @ledger, which must
 * outlive it. */
Proxy *proxy_new(GPtrArray *sockets, unsigned max_descriptors, Ledger *ledger);

/* Opens the listening sockets that @settings ask for and that are not open yet. The result, of
 * WorkerDoor, is for proxy_commit(), or to be freed with g_array_unref(). NULL, with an error that
 * names group and key, when one can't be opened; then nothing has changed. */
GArray *proxy_prepare(Proxy *proxy, Settings *settings, GError **error);

/* Puts @settings in force, which have been finished: new sessions follow them, listeners that are
 * gone are closed, workers started if they were not. @in_force is called with @data, from the main
 * loop, when all of that is so; not before then again. Takes @doors, refs @settings. */
void proxy_commit(Proxy *proxy, Settings *settings, GArray *doors, ProxyFunc in_force, void *data);

/* The settings in force; NULL before the first. */
const Settings *proxy_get_settings(const Proxy *proxy);

/* Sessions now. */
unsigned proxy_get_sessions(const Proxy *proxy);

/* Accepts no more, and calls @drained with @data from the main loop when the last session is over.
 * Once. */
void proxy_drain(Proxy *proxy, ProxyFunc drained, void *data);

/* The listening sockets that are open, of Listener: what a process that follows takes over. Free
 * with g_ptr_array_unref(). */
GPtrArray *proxy_get_listeners(const Proxy *proxy);

/* Another process has the listening sockets and accepts from them: proxy_drain() leaves them to it.
 */
void proxy_leave_sockets(Proxy *proxy);

/* The process that had the listening sockets has left them. True when some of them are open that no
 * listener wants: settings that come into force from now on close them. */
bool proxy_own_sockets(Proxy *proxy);

/* While @shared, another process may have all descriptors too (a fork before its exec). @done is
 * called with @data, from the main loop, when every worker knows. Not before then again. */
void proxy_share_descriptors(Proxy *proxy, bool shared, ProxyFunc done, void *data);

/* Ends every session now. */
void proxy_cut(Proxy *proxy);

/* True when every worker's loop has turned since the last call, or there is none yet. */
bool proxy_is_alive(Proxy *proxy);

/* NULL is fine. */
void proxy_free(Proxy *proxy);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Proxy, proxy_free)
