/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * failover and round-robin walk the list once round, from its head or from whose turn it is.
 * balance looks for the fewest active sessions over weight, and begins to look where its turn is,
 * so that ties go round too. Nothing beats a server without sessions, so with more servers than
 * sessions it looks at few of them. A route with many servers has a ranking of them, which knows
 * who is full; a session that was in vain at the first in it has had a dial for nothing, and can
 * look at all the others. When all are full, they are asked in their order, so that it is told of
 * each.
 */

#include "proxy/balance.h"

#define BITS 64

static bool
balance_was_tried(const Balance *balance, unsigned i)
{
        const uint64_t *tried = balance->has_many ? balance->tried.many : &balance->tried.few;

        return balance->n_tried > 0 && tried[i / BITS] >> (i % BITS) & 1;
}

/* False when there is no memory to remember it in. */
static bool
balance_mark(Balance *balance, unsigned i, unsigned n)
{
        uint64_t *tried;

        if (n > BITS && !balance->has_many) {
                tried = g_try_new0(uint64_t, (n + BITS - 1) / BITS);
                if (!tried)
                        return false;
                balance->tried.many = tried;
                balance->has_many = true;
        }
        tried = balance->has_many ? balance->tried.many : &balance->tried.few;
        tried[i / BITS] |= UINT64_C(1) << (i % BITS);

        return true;
}

/* Fewer sessions over weight, without a division. */
static bool
is_less(const ServerSettings *a, unsigned a_active, const ServerSettings *b, unsigned b_active)
{
        return (uint64_t)a_active * b->weight < (uint64_t)b_active * a->weight;
}

static unsigned
balance_find_least(const Balance *balance, const RouteSettings *route)
{
        const GPtrArray *servers = route->servers;
        unsigned best = servers->len, best_active = 0;

        for (unsigned k = 0; k < servers->len; k++) {
                unsigned i = (balance->first + k) % servers->len;
                const ServerSettings *server = servers->pdata[i];
                unsigned active = server_get_active(server->server);

                if (balance_was_tried(balance, i))
                        continue;
                if (best == servers->len ||
                    is_less(server, active, servers->pdata[best], best_active)) {
                        best = i;
                        best_active = active;
                        if (active == 0)
                                break;
                }
        }

        return best;
}

/* The least active one that was not tried; as many as there are when that can't be told. */
static unsigned
balance_choose(Balance *balance, const RouteSettings *route)
{
        unsigned n = route->servers->len, i = n;

        if (route->ranking && balance->n_tried == 0)
                i = ranking_find(route->ranking, balance->first);
        if (route->ranking && balance->n_tried == 0 && i == n)
                balance->all_full = true;
        if (balance->all_full)
                return (balance->first + balance->n_tried) % n;

        if (i == n)
                i = balance_find_least(balance, route);
        if (n > 1 && !balance_mark(balance, i, n)) {
                balance->is_short = true;
                return n;
        }

        return i;
}

ServerSettings *
balance_next(Balance *balance, RouteSettings *route)
{
        unsigned n = route->servers->len;
        unsigned i = 0;

        if (balance->n_tried == n)
                return NULL;
        if (balance->n_tried == 0 && route->mode != BALANCE_FAILOVER)
                balance->first = __atomic_fetch_add(&route->turn, 1, __ATOMIC_RELAXED) % n;

        switch (route->mode) {
        case BALANCE_FAILOVER:
        case BALANCE_ROUND_ROBIN:
                i = (balance->first + balance->n_tried) % n;
                break;
        case BALANCE_LEAST:
                i = balance_choose(balance, route);
                if (i == n)
                        return NULL;
                break;
        }
        balance->n_tried++;

        return route->servers->pdata[i];
}

void
balance_clear(Balance *balance)
{
        if (balance->has_many)
                g_free(balance->tried.many);
        *balance = (Balance){ .first = 0 };
}
