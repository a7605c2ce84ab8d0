/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The order of many servers by their load, against a look at all of them. */

#include <pthread.h>

#include <glib.h>

#include "proxy/balance.h"
#include "proxy/ranking.h"
#include "proxy/settings.h"

enum { MANY = 100 };

typedef struct Pool {
        Ranking *ranking;
        unsigned n;
        unsigned weights[MANY];
        Places totals[MANY], own[MANY];
} Pool;

static Pool *
pool_new(unsigned n)
{
        void *memory = NULL;
        Pool *pool;

        g_assert_cmpint(posix_memalign(&memory, G_ALIGNOF(Pool), sizeof(Pool)), ==, 0);
        g_assert(memory); /* unlike the others this one tells an analyser, too */
        pool = memory;
        *pool = (Pool){ .ranking = ranking_new(n), .n = n };
        for (unsigned i = 0; i < n; i++) {
                pool->weights[i] = 1 + (unsigned)g_test_rand_int_range(0, 3) * 333;
                ranking_set(pool->ranking, i, &(LedgerAccount){ &pool->totals[i], &pool->own[i] },
                            pool->weights[i], 0);
        }

        return pool;
}

static void
pool_free(Pool *pool)
{
        ranking_free(pool->ranking);
        free(pool);
}

static unsigned
pool_look_at_all(const Pool *pool, unsigned from)
{
        unsigned best = from;

        for (unsigned k = 1; k < pool->n; k++) {
                unsigned i = (from + k) % pool->n;
                uint64_t mine = (uint64_t)places_get_taken(&pool->totals[i]) * pool->weights[best];

                if (mine < (uint64_t)places_get_taken(&pool->totals[best]) * pool->weights[i])
                        best = i;
        }

        return best;
}

/* One session comes to or leaves server @i, of this process or of another one. */
static void
pool_change(Pool *pool, unsigned i, bool comes, bool is_ours)
{
        Places *own = &pool->own[i], *total = &pool->totals[i];

        if (comes) {
                places_add(total);
                if (is_ours)
                        places_add(own);
        } else if (is_ours && places_get_taken(own) > 0) {
                places_release(own);
                places_release(total);
        } else if (!is_ours && places_get_taken(total) > places_get_taken(own)) {
                places_release(total);
        }
        if (is_ours)
                ranking_note(pool->ranking, i);
}

static void
test_finds_what_a_look_at_all_finds(void)
{
        static const unsigned numbers[] = { 1, 2, 3, 31, 32, 33, 64, 65, MANY };

        for (unsigned k = 0; k < G_N_ELEMENTS(numbers); k++) {
                Pool *pool = pool_new(numbers[k]);

                for (unsigned round = 0; round < 5000; round++) {
                        unsigned i = (unsigned)g_test_rand_int_range(0, (int)pool->n);
                        unsigned from = (unsigned)g_test_rand_int_range(0, (int)pool->n);
                        bool comes = g_test_rand_int_range(0, 100) < (round / 500 % 2 ? 70 : 30);

                        pool_change(pool, i, comes, g_test_rand_int_range(0, 4) > 0);
                        g_assert_cmpuint(ranking_find(pool->ranking, from), ==,
                                         pool_look_at_all(pool, from));
                }
                pool_free(pool);
        }
}

static void
test_weights_are_told_apart(void)
{
        Pool *pool = pool_new(2);
        const LedgerAccount accounts[] = { { &pool->totals[0], &pool->own[0] },
                                           { &pool->totals[1], &pool->own[1] } };

        /* 998 / 999 and 999 / 1000 are as near to each other as two loads can be. */
        pool->totals[0].taken = pool->own[0].taken = 998 + 999 * 1000;
        pool->totals[1].taken = pool->own[1].taken = 999 + 1000 * 1000;
        ranking_set(pool->ranking, 0, &accounts[0], 999, 0);
        ranking_set(pool->ranking, 1, &accounts[1], 1000, 0);
        g_assert_cmpuint(ranking_find(pool->ranking, 1), ==, 0);

        /* Twice the sessions at twice the weight is even. */
        pool->totals[0].taken = pool->own[0].taken = 7;
        pool->totals[1].taken = pool->own[1].taken = 14;
        ranking_set(pool->ranking, 0, &accounts[0], 500, 0);
        ranking_set(pool->ranking, 1, &accounts[1], 1000, 0);
        g_assert_cmpuint(ranking_find(pool->ranking, 0), ==, 0);
        g_assert_cmpuint(ranking_find(pool->ranking, 1), ==, 1);
        pool_free(pool);
}

static void
test_full_ones_are_not_found(void)
{
        static const unsigned expected[] = { 0, 1, 2, 1, 2, 2 };
        Pool *pool = pool_new(3);

        for (unsigned i = 0; i < 3; i++)
                ranking_set(pool->ranking, i, &(LedgerAccount){ &pool->totals[i], &pool->own[i] },
                            1, 1 + i);

        /* The first fills up at once, then the second, then the last. */
        for (unsigned n = 0; n < 6; n++) {
                unsigned i = ranking_find(pool->ranking, 0);

                g_assert_cmpuint(i, ==, expected[n]);
                pool_change(pool, i, true, true);
        }
        g_assert_cmpuint(ranking_find(pool->ranking, 0), ==, 3);

        pool_change(pool, 1, false, true);
        g_assert_cmpuint(ranking_find(pool->ranking, 2), ==, 1);
        pool_free(pool);
}

/* Many servers on some routes, as configured. */
static Settings *
make_settings(const Settings *old, unsigned routes)
{
        Settings *settings = settings_new();

        for (unsigned i = 0; i < MANY; i++) {
                g_autofree char *name = g_strdup_printf("s%u", i);

                settings_add_server(settings, name)->weight = 1 + i % 3;
        }
        for (unsigned i = 0; i < routes; i++) {
                g_autofree char *name = g_strdup_printf("r%u", i);
                RouteSettings *route = settings_add_route(settings, name);

                route->path = g_strdup(name);
                route->mode = BALANCE_LEAST;
                for (unsigned k = 0; k < MANY; k++)
                        g_ptr_array_add(route->servers, settings->servers->pdata[k]);
        }
        settings_finish(settings, old, NULL);

        return settings;
}

static RouteSettings *
get_route(const Settings *settings, unsigned i)
{
        return settings->routes->pdata[i];
}

static ServerSettings *
get_server(const Settings *settings, unsigned i)
{
        return settings->servers->pdata[i];
}

/* One session more, where balance sends it; its number. */
static ServerSettings *
begin_session(RouteSettings *route)
{
        Balance balance = { 0 };
        ServerSettings *server = balance_next(&balance, route);

        g_assert_true(server_reserve(server->server, 0));
        balance_clear(&balance);

        return server;
}

static void
assert_even(const Settings *settings, unsigned by_weight)
{
        for (unsigned i = 0; i < MANY; i++)
                g_assert_cmpuint(server_get_active(get_server(settings, i)->server), ==,
                                 by_weight * get_server(settings, i)->weight);
}

static unsigned
sum_of_weights(const Settings *settings)
{
        unsigned sum = 0;

        for (unsigned i = 0; i < MANY; i++)
                sum += get_server(settings, i)->weight;

        return sum;
}

static void
end_all(const Settings *settings)
{
        for (unsigned i = 0; i < MANY; i++) {
                Server *server = get_server(settings, i)->server;

                while (server_get_active(server) > 0)
                        server_release(server);
        }
}

static void
test_routes_fill_their_servers_evenly(void)
{
        g_autoptr(Settings) settings = make_settings(NULL, 2);
        unsigned sessions = 5 * sum_of_weights(settings);

        g_assert_nonnull(get_route(settings, 0)->ranking);
        g_assert_true(get_route(settings, 0)->ranking == get_route(settings, 1)->ranking);
        for (unsigned i = 0; i < sessions; i++)
                begin_session(get_route(settings, i % 2));
        assert_even(settings, 5);

        /* A place that is given back is the next to be taken. */
        server_release(get_server(settings, 42)->server);
        g_assert_true(begin_session(get_route(settings, 0)) == get_server(settings, 42));
        end_all(settings);
}

static void
test_a_reload_keeps_the_order(void)
{
        g_autoptr(Settings) old = make_settings(NULL, 1);
        g_autoptr(Settings) new = NULL;
        unsigned sessions = 2 * sum_of_weights(old);

        for (unsigned i = 0; i < sessions / 2; i++)
                begin_session(get_route(old, 0));

        /* Sessions that began before it still choose by the old ones. */
        new = make_settings(old, 1);
        for (unsigned i = 0; i < sessions / 4; i++)
                begin_session(get_route(old, 0));
        g_clear_pointer(&old, settings_unref);
        for (unsigned i = sessions / 2 + sessions / 4; i < sessions; i++)
                begin_session(get_route(new, 0));
        assert_even(new, 2);
        end_all(new);
}

static void
test_few_servers_have_none(void)
{
        g_autoptr(Settings) settings = settings_new();
        RouteSettings *route = settings_add_route(settings, "r");

        route->path = g_strdup("*");
        route->mode = BALANCE_LEAST;
        for (unsigned i = 0; i < RANKING_MIN_SERVERS - 1; i++) {
                g_autofree char *name = g_strdup_printf("s%u", i);

                g_ptr_array_add(route->servers, settings_add_server(settings, name));
        }
        settings_finish(settings, NULL, NULL);
        g_assert_null(route->ranking);
}

enum { THREADS = 4, ROUNDS = 20000, HELD = 50 };

/* Sessions come and go, in a number that differs by thread. */
static void *
come_and_go(void *data)
{
        const Settings *settings = data;
        Server *held[HELD] = { NULL };

        for (unsigned i = 0; i < ROUNDS; i++) {
                Server **place = &held[i % HELD];

                if (*place)
                        server_release(*place);
                *place = begin_session(get_route(settings, 0))->server;
        }
        for (unsigned i = 0; i < HELD; i++)
                server_release(held[i]);

        return NULL;
}

/* While threads come and go, a reload makes rankings and takes them away. */
static void
test_threads_leave_it_right(void)
{
        g_autoptr(Settings) settings = make_settings(NULL, 1);
        pthread_t threads[THREADS];
        unsigned sessions = sum_of_weights(settings);

        for (unsigned i = 0; i < THREADS; i++)
                g_assert_cmpint(pthread_create(&threads[i], NULL, come_and_go, settings), ==, 0);
        for (unsigned i = 0; i < 20; i++) {
                g_autoptr(Settings) next = make_settings(settings, 1);

                g_assert_cmpuint(ranking_find(get_route(next, 0)->ranking, 0), <, MANY);
        }
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);

        for (unsigned i = 0; i < sessions; i++)
                begin_session(get_route(settings, 0));
        assert_even(settings, 1);
        end_all(settings);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/ranking/finds-what-a-look-at-all-finds",
                        test_finds_what_a_look_at_all_finds);
        g_test_add_func("/ranking/weights-are-told-apart", test_weights_are_told_apart);
        g_test_add_func("/ranking/full-ones-are-not-found", test_full_ones_are_not_found);
        g_test_add_func("/ranking/routes-fill-their-servers-evenly",
                        test_routes_fill_their_servers_evenly);
        g_test_add_func("/ranking/a-reload-keeps-the-order", test_a_reload_keeps_the_order);
        g_test_add_func("/ranking/few-servers-have-none", test_few_servers_have_none);
        g_test_add_func("/ranking/threads-leave-it-right", test_threads_leave_it_right);

        return g_test_run();
}
