/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

#include "net/address.h"
#include "proxy/refusal.h"
#include "proxy/settings.h"
#include "proxy/worker.h"

/*
 * One call, from the accepted connection to its close: greeting → reading → choosing ⇄ dialing →
 * relaying → closed; answering where agitator plays the server itself; and from any of them
 * refusing, which tells the client why before it closes. A session belongs to one worker and lives
 * on its thread.
 */

typedef struct Session Session;

/* What one has of these at the most. */
#define SESSION_DESCRIPTORS 2
#define SESSION_BUFFERS     4

/* Takes @fd, a connection from @client to @listener, which belongs to @settings (NULL: to none);
 * refs @settings. NULL, and @fd left to the caller, when there is no memory. */
Session *session_new(Worker *worker,
                     int fd,
                     const Address *client,
                     Settings *settings,
                     const ListenerSettings *listener);

/* Begins; with a @refusal, by refusing. A session that is over goes to worker_bury(), perhaps
 * before this returns. */
void session_start(Session *session, Refusal refusal);

/* Ends it now: the client is told FAILURE, unless its server had ended already. */
void session_cut(Session *session);

/* Frees a session that is over. */
void session_free(Session *session);

/* For the worker's list of its sessions. */
GList *session_get_link(Session *session);
