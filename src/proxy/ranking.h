/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "proxy/ledger.h"

/*
 * Which of many servers has the fewest sessions over its weight, without looking at each: what that
 * costs grows with the logarithm of their number, and with that of the rankings that a server is
 * in: one for each list of servers of each snapshot of the settings that some session still has.
 * Any thread.
 */

typedef struct Ranking Ranking;

/* Fewer servers than this are looked at as quickly. */
#define RANKING_MIN_SERVERS 32

/* Of @n servers, each to be ranking_set(). */
Ranking *ranking_new(unsigned n);
void ranking_free(Ranking *ranking); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ranking, ranking_free)

/* At @position is the server with this @account, which must outlive it, @weight, 1 to 1000, and at
 * most @max sessions; 0: any number. */
void ranking_set(Ranking *ranking,
                 unsigned position,
                 const LedgerAccount *account,
                 unsigned weight,
                 unsigned max);

/* To be called after this process has changed the account at @position. */
void ranking_note(Ranking *ranking, unsigned position);

/* The position of the least that has room; of those that are even, the first from @from on, and
 * once round. As many as there are servers when all are full. */
unsigned ranking_find(Ranking *ranking, unsigned from);
