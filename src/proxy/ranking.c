/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A tree of minima: a leaf for each server, in the order of the route, and above each two of them
 * the lesser one, up to the least of all. A change of one leaf changes those above it, and the
 * first of the least from somewhere on is found by going up from there and down again.
 *
 * Each thread of this process that changes a count says so afterwards, and what is noted then is
 * the count as it is by that time. The lock puts the notes in an order, so that the last one of
 * them is right, whoever was quicker. It is held for some ten steps. (A tree without a lock can be
 * made of compare-and-swap; at two locks a session, which makes thirty system calls, none was
 * missed.)
 *
 * Another process says nothing: one that was there before a live upgrade, or after it. It has to
 * have sessions at a server before it can end one, and those show: the total of an account is more
 * than our own part then. Such a leaf is strange, and read anew before the least is looked for. Any
 * other leaf can only say too little, and is looked at before it is believed. So the order is
 * exact, and costs a look at the servers that two processes share for as long as they do. (Our own
 * threads change the total and the part one after the other. Who looks in between takes the leaf
 * for a strange one, until the note that follows. Between the two a leaf may say too much, too, as
 * a count may by the time that somebody acts on it.)
 *
 * A server that is full is not looked for: its leaf is that of none, until it has room again.
 */

#include "proxy/ranking.h"

#include <pthread.h>

#define BITS 64
#define NONE UINT64_MAX /* the load of a leaf that no server has, or a full one */

typedef struct RankingServer {
        LedgerAccount account;
        unsigned weight, max; /* max 0: no limit */
} RankingServer;

struct Ranking {
        pthread_mutex_t lock; /* of all that follows but the servers */
        unsigned n, n_leaves; /* n_leaves: a power of two */
        unsigned n_strange;
        uint64_t *strange; /* a bit for each server */
        uint64_t *least;   /* from 1, the root, on: the children of i are 2i and 2i + 1 */
        RankingServer servers[];
};

Ranking *
ranking_new(unsigned n)
{
        Ranking *ranking = g_malloc0(sizeof(Ranking) + n * sizeof(RankingServer));

        pthread_mutex_init(&ranking->lock, NULL);
        ranking->n = n;
        ranking->n_leaves = 1;
        while (ranking->n_leaves < n)
                ranking->n_leaves *= 2;
        ranking->strange = g_new0(uint64_t, (n + BITS - 1) / BITS);
        ranking->least = g_new(uint64_t, 2 * (size_t)ranking->n_leaves);
        for (unsigned i = 0; i < 2 * ranking->n_leaves; i++)
                ranking->least[i] = NONE;

        return ranking;
}

void
ranking_free(Ranking *ranking)
{
        if (!ranking)
                return;

        pthread_mutex_destroy(&ranking->lock);
        g_free(ranking->strange);
        g_free(ranking->least);
        g_free(ranking);
}

/* Sessions over weight in a fixed point. Two different ones of weights up to 1000 are a millionth
 * apart at least, which is more than 2^-20, so they stay different, and equal ones equal. */
static uint64_t
load_of(const RankingServer *server, unsigned active)
{
        if (server->max > 0 && active >= server->max)
                return NONE;

        return ((uint64_t)active << 20) / server->weight;
}

/* Under the lock, like all that follows. Reads the account anew; true when its leaf was right. */
static bool
ranking_read(Ranking *ranking, unsigned position)
{
        const RankingServer *server = &ranking->servers[position];
        unsigned active = places_get_taken(server->account.total);
        bool is_strange = active != places_get_taken(server->account.own);
        uint64_t *bits = &ranking->strange[position / BITS], bit = UINT64_C(1) << position % BITS;
        uint64_t *least = ranking->least, load = load_of(server, active);
        unsigned i = ranking->n_leaves + position;

        if (is_strange != !!(*bits & bit)) {
                *bits ^= bit;
                ranking->n_strange += is_strange ? 1 : -1u;
        }
        if (least[i] == load)
                return true;

        least[i] = load;
        while (i > 1) {
                uint64_t lesser = MIN(least[i], least[i ^ 1]);

                i /= 2;
                if (least[i] == lesser)
                        break;
                least[i] = lesser;
        }

        return false;
}

static void
ranking_read_strange(Ranking *ranking)
{
        for (unsigned word = 0; ranking->n_strange > 0 && word * BITS < ranking->n; word++) {
                uint64_t bits = ranking->strange[word];

                for (; bits; bits &= bits - 1)
                        ranking_read(ranking, word * BITS + (unsigned)__builtin_ctzll(bits));
        }
}

/* The first of the least from @from on, and once round. */
static unsigned
ranking_look(const Ranking *ranking, unsigned from)
{
        const uint64_t *least = ranking->least;
        unsigned i = ranking->n_leaves + from;

        /* Up, until it is below the neighbour on the right; else from the beginning. */
        if (least[i] != least[1]) {
                while (i > 1 && (i % 2 == 1 || least[i + 1] != least[1]))
                        i /= 2;
                if (i > 1)
                        i++;
        }

        while (i < ranking->n_leaves) {
                i *= 2;
                if (least[i] != least[1])
                        i++;
        }

        return i - ranking->n_leaves;
}

void
ranking_set(Ranking *ranking,
            unsigned position,
            const LedgerAccount *account,
            unsigned weight,
            unsigned max)
{
        pthread_mutex_lock(&ranking->lock);
        ranking->servers[position] = (RankingServer){ *account, weight, max };
        ranking_read(ranking, position);
        pthread_mutex_unlock(&ranking->lock);
}

void
ranking_note(Ranking *ranking, unsigned position)
{
        pthread_mutex_lock(&ranking->lock);
        ranking_read(ranking, position);
        pthread_mutex_unlock(&ranking->lock);
}

unsigned
ranking_find(Ranking *ranking, unsigned from)
{
        unsigned position = ranking->n;

        pthread_mutex_lock(&ranking->lock);
        ranking_read_strange(ranking);
        while (ranking->least[1] != NONE) {
                position = ranking_look(ranking, from);
                if (ranking_read(ranking, position))
                        break;
                position = ranking->n;
        }
        pthread_mutex_unlock(&ranking->lock);

        return position;
}
