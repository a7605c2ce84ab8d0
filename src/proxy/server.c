/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Counters are atomics. The rankings are behind a mutex, which is a pthread one because
 * ThreadSanitizer doesn't know GLib's; most servers are in none, and never lock it.
 */

#include "proxy/server.h"

#include <pthread.h>
#include <stdlib.h>

#include "proxy/notice.h"
#include "proxy/places.h"
#include "proxy/ranking.h"

/* Where a ranking has it. */
typedef struct Rank {
        Ranking *ranking;
        unsigned position;
} Rank;

struct Server {
        pthread_mutex_t lock;
        GArray *ranks; /* of Rank; behind the lock */
        LedgerAccount account;
        unsigned n_ranks; /* atomic, like all below */
        int refs;
        bool is_down;
        Notice full;
        Places alone[2]; /* the account of one without a ledger */
};

Server *
server_new(const char *name, Ledger *ledger)
{
        Server *server = NULL;

        if (posix_memalign((void **)&server, G_ALIGNOF(Server), sizeof(*server)) != 0)
                g_error("Out of memory");

        *server = (Server){ .refs = 1 };
        pthread_mutex_init(&server->lock, NULL);
        server->ranks = g_array_new(FALSE, FALSE, sizeof(Rank));
        if (!ledger || !ledger_get_account(ledger, name, &server->account))
                server->account = (LedgerAccount){ &server->alone[0], &server->alone[1] };

        return server;
}

Server *
server_ref(Server *server)
{
        __atomic_add_fetch(&server->refs, 1, __ATOMIC_RELAXED);

        return server;
}

void
server_unref(Server *server)
{
        if (!server || __atomic_sub_fetch(&server->refs, 1, __ATOMIC_ACQ_REL) > 0)
                return;

        pthread_mutex_destroy(&server->lock);
        g_array_unref(server->ranks);
        free(server);
}

/* After a change of its count. */
static void
server_tell(Server *server)
{
        if (G_LIKELY(__atomic_load_n(&server->n_ranks, __ATOMIC_SEQ_CST) == 0))
                return;

        pthread_mutex_lock(&server->lock);
        for (unsigned i = 0; i < server->ranks->len; i++) {
                const Rank *rank = &g_array_index(server->ranks, Rank, i);

                ranking_note(rank->ranking, rank->position);
        }
        pthread_mutex_unlock(&server->lock);
}

bool
server_reserve(Server *server, unsigned max)
{
        if (!places_reserve(server->account.total, max))
                return false;
        places_add(server->account.own); /* who dies right here leaves a place taken for good */
        server_tell(server);

        return true;
}

void
server_release(Server *server)
{
        places_release(server->account.own);
        places_release(server->account.total);
        server_tell(server);
}

unsigned
server_get_active(const Server *server)
{
        return places_get_taken(server->account.total);
}

void
server_rank(Server *server, Ranking *ranking, unsigned position, unsigned weight, unsigned max)
{
        Rank rank = { ranking, position };

        pthread_mutex_lock(&server->lock);
        g_array_append_val(server->ranks, rank);
        __atomic_store_n(&server->n_ranks, server->ranks->len, __ATOMIC_SEQ_CST);
        ranking_set(ranking, position, &server->account, weight, max);
        pthread_mutex_unlock(&server->lock);
}

void
server_unrank(Server *server, const Ranking *ranking)
{
        pthread_mutex_lock(&server->lock);
        for (unsigned i = server->ranks->len; i-- > 0;) {
                if (g_array_index(server->ranks, Rank, i).ranking == ranking)
                        g_array_remove_index_fast(server->ranks, i);
        }
        __atomic_store_n(&server->n_ranks, server->ranks->len, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&server->lock);
}

bool
server_note_dial(Server *server, bool succeeded)
{
        /* Reads first, so that the usual case shares the cache line. */
        return __atomic_load_n(&server->is_down, __ATOMIC_RELAXED) == succeeded &&
               __atomic_exchange_n(&server->is_down, !succeeded, __ATOMIC_RELAXED) == succeeded;
}

bool
server_is_up(const Server *server)
{
        return !__atomic_load_n(&server->is_down, __ATOMIC_RELAXED);
}

bool
server_note_full(Server *server, bool is_full, gint64 now)
{
        if (is_full)
                return notice_raise(&server->full, now);
        notice_lower(&server->full, now);

        return false;
}
