/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <sys/types.h>

#include <glib.h>

#include "daemon/handover.h"
#include "proxy/ledger.h"

/*
 * The process that follows this one in a live upgrade. It is no child of ours but of process 1's,
 * as a service's main process has to be. Main thread.
 */

typedef struct Successor Successor;

/* The program that this process runs, where it was installed: what a package has replaced since
 * then counts as the same. NULL when it can't be told. Freed by the caller. */
char *successor_find_program(void);

/* Starts @program with the configuration file @config (NULL: the default one) and hands it
 * @listeners (of Listener), @ledger and the secret of tickets. @func is called with @data for each
 * HandoverMessage from it, the last of which is HANDOVER_END. NULL with an error when it could not
 * even be started. No worker may rely on a close alone meanwhile: see proxy_share_descriptors(). */
Successor *successor_start(const char *program,
                           const char *config,
                           const GPtrArray *listeners,
                           Ledger *ledger,
                           HandoverFunc func,
                           void *data,
                           GError **error);

pid_t successor_get_pid(const Successor *successor);

/* The service is its own from now on. */
void successor_go(Successor *successor);

/* Lets go of it: when the service isn't its own yet, it is told to end, and killed if it doesn't.
 * NULL is fine. */
void successor_free(Successor *successor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Successor, successor_free)
