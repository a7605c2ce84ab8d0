/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

#include "daemon/handover.h"
#include "proxy/ledger.h"

/*
 * The process that this one follows in a live upgrade, as long as it lives: it has sessions to
 * finish. Main thread.
 */

typedef struct Predecessor Predecessor;

/* Takes what it handed over. NULL without an error when there is none, with one when what it handed
 * over can't be understood. First thing in a process: its environment is changed. */
Predecessor *predecessor_take(GError **error);

/* Its listening sockets, of Listener; a new empty array when @predecessor is NULL. Once. */
GPtrArray *predecessor_take_listeners(Predecessor *predecessor, GError **error);

/* Its ledger, or a new one when it can't be shared, or @predecessor is NULL. Once. */
Ledger *predecessor_take_ledger(Predecessor *predecessor, GError **error);

/* Calls @func with @data for each HandoverMessage, the last of which is HANDOVER_END. Once. */
void predecessor_watch(Predecessor *predecessor, HandoverFunc func, void *data);

void predecessor_send(Predecessor *predecessor, HandoverMessage message, const char *text);

/* NULL is fine. */
void predecessor_free(Predecessor *predecessor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Predecessor, predecessor_free)
