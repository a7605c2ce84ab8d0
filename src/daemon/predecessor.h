/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "daemon/handover.h"
#include "proxy/ledger.h"

/*
 * The process that this one follows in a live upgrade, as long as it lives: it has sessions to
 * finish. Main thread.
 */

typedef struct Predecessor Predecessor;

/* What a process begins with. */
typedef struct Inheritance {
        Predecessor *predecessor; /* NULL when there is none */
        GPtrArray *sockets;       /* of Listener: the predecessor's, or systemd's */
        Ledger *ledger;           /* the predecessor's, or a new one when it can't be shared */
} Inheritance;

/* All is the caller's. False with an error when what was handed over can't be understood; there can
 * be a predecessor even then. First thing in a process, once: its environment is changed. */
bool predecessor_inherit(Inheritance *inheritance, GError **error);

/* Calls @func with @data for each HandoverMessage, the last of which is HANDOVER_END. Once. */
void predecessor_watch(Predecessor *predecessor, HandoverFunc func, void *data);

void predecessor_send(Predecessor *predecessor, HandoverMessage message, const char *text);

/* NULL is fine. */
void predecessor_free(Predecessor *predecessor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Predecessor, predecessor_free)
