/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "proxy/ledger.h"

/*
 * One FastAGI server as it lives: how many sessions it has, whether it could be reached last time.
 * It outlives a reload and is shared by all routes and threads; what was configured about it, and
 * where that leads, is in ServerSettings.
 */

typedef struct Server Server;

/* Its sessions are counted in @ledger, which must outlive it, together with those that other
 * processes have at the server of that name; NULL: by itself. */
Server *server_new(const char *name, Ledger *ledger);
Server *server_ref(Server *server);
void server_unref(Server *server); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Server, server_unref)

/* Takes one of @max places (0: no limit). False when all are taken. Any thread. */
bool server_reserve(Server *server, unsigned max);

/* Gives a place back. Any thread. */
void server_release(Server *server);

/* Sessions that have a place now, in whichever process. Any thread. */
unsigned server_get_active(const Server *server);

/* From now on @ranking is told of its sessions, as those of @position, until server_unrank(). Any
 * thread. */
typedef struct Ranking Ranking;
void server_rank(Server *server,
                 Ranking *ranking,
                 unsigned position,
                 unsigned weight,
                 unsigned max);
void server_unrank(Server *server, const Ranking *ranking);

/* Notes how a dial ended; true when that is news: the first failure after a success or the start,
 * or the first success after a failure. Any thread. */
bool server_note_dial(Server *server, bool succeeded);

/* True while the last dial succeeded or none has been made. Any thread. */
bool server_is_up(const Server *server);

/* Notes that it was found full or not at @now; true when it is full and that is news. Any thread.
 */
bool server_note_full(Server *server, bool is_full, gint64 now);
