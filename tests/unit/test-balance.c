/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <glib.h>

#include "proxy/balance.h"
#include "proxy/server.h"
#include "proxy/settings.h"

static Settings *
make_settings(BalanceMode mode, unsigned n)
{
        Settings *settings = settings_new();
        RouteSettings *route;

        for (unsigned i = 0; i < n; i++) {
                g_autofree char *name = g_strdup_printf("%u", i);

                settings_add_server(settings, name);
        }
        route = settings_add_route(settings, "route");
        route->path = g_strdup("*");
        route->mode = mode;
        for (unsigned i = 0; i < n; i++)
                g_ptr_array_add(route->servers, settings->servers->pdata[i]);
        settings_finish(settings, NULL, NULL);

        return settings;
}

static ServerSettings *
get_server(const Settings *settings, unsigned i)
{
        return settings->servers->pdata[i];
}

/* The first choices of so many sessions, each of which stays. */
static char *
first_choices(Settings *settings, unsigned sessions)
{
        GString *order = g_string_new(NULL);

        for (unsigned i = 0; i < sessions; i++) {
                Balance balance = { 0 };
                ServerSettings *server = balance_next(&balance, settings->wildcard);

                g_assert_true(server_reserve(server->server, 0));
                g_string_append(order, server->name);
                balance_clear(&balance);
        }

        return g_string_free(order, FALSE);
}

/* All that one session tries. */
static char *
all_tries(Settings *settings)
{
        GString *order = g_string_new(NULL);
        Balance balance = { 0 };
        ServerSettings *server;

        while ((server = balance_next(&balance, settings->wildcard)))
                g_string_append(order, server->name);
        g_assert_null(balance_next(&balance, settings->wildcard));
        balance_clear(&balance);

        return g_string_free(order, FALSE);
}

static void
release_all(const Settings *settings)
{
        for (unsigned i = 0; i < settings->servers->len; i++) {
                while (server_get_active(get_server(settings, i)->server) > 0)
                        server_release(get_server(settings, i)->server);
        }
}

static void
test_failover_is_in_order(void)
{
        g_autoptr(Settings) settings = make_settings(BALANCE_FAILOVER, 3);
        g_autofree char *choices = first_choices(settings, 4);
        g_autofree char *tries = all_tries(settings);

        g_assert_cmpstr(choices, ==, "0000");
        g_assert_cmpstr(tries, ==, "012");
}

static void
test_round_robin_begins_with_the_first(void)
{
        g_autoptr(Settings) settings = make_settings(BALANCE_ROUND_ROBIN, 3);
        g_autofree char *choices = first_choices(settings, 7);
        g_autofree char *tries = all_tries(settings);

        g_assert_cmpstr(choices, ==, "0120120");
        g_assert_cmpstr(tries, ==, "120");
}

static void
test_balance_takes_the_least_active(void)
{
        g_autoptr(Settings) settings = make_settings(BALANCE_LEAST, 3);
        g_autofree char *tries = NULL;

        server_reserve(get_server(settings, 0)->server, 0);
        server_reserve(get_server(settings, 0)->server, 0);
        server_reserve(get_server(settings, 2)->server, 0);
        tries = all_tries(settings);
        g_assert_cmpstr(tries, ==, "120");
        release_all(settings);
}

static void
test_balance_goes_by_weight(void)
{
        g_autoptr(Settings) settings = make_settings(BALANCE_LEAST, 2);
        g_autofree char *choices = NULL;

        get_server(settings, 1)->weight = 3;
        choices = first_choices(settings, 400);
        g_assert_cmpuint(server_get_active(get_server(settings, 0)->server), ==, 100);
        g_assert_cmpuint(server_get_active(get_server(settings, 1)->server), ==, 300);
        release_all(settings);
}

static void
test_balance_ties_go_round(void)
{
        g_autoptr(Settings) settings = make_settings(BALANCE_LEAST, 3);

        for (unsigned i = 0; i < 6; i++) {
                g_autofree char *choice = first_choices(settings, 1);

                g_assert_true(choice[0] == '0' + (char)(i % 3));
                release_all(settings);
        }
}

static void
test_each_at_most_once_of_many(void)
{
        g_autoptr(Settings) settings = make_settings(BALANCE_LEAST, 200);
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        Balance balance = { 0 };
        ServerSettings *server;

        while ((server = balance_next(&balance, settings->wildcard)))
                g_assert_true(g_hash_table_add(seen, server));
        g_assert_cmpuint(g_hash_table_size(seen), ==, 200);
        balance_clear(&balance);
}

/* Places are never overdrawn, however many threads take them. */

typedef struct Crowd {
        Server *server;
        int inside;      /* atomic */
        int most;        /* atomic */
        unsigned served; /* atomic */
} Crowd;

enum { PLACES = 3, ROUNDS = 20000 };

static void *
take_places(void *data)
{
        Crowd *crowd = data;

        for (unsigned i = 0; i < ROUNDS; i++) {
                int inside;

                if (!server_reserve(crowd->server, PLACES))
                        continue;
                inside = __atomic_add_fetch(&crowd->inside, 1, __ATOMIC_SEQ_CST);
                if (inside > __atomic_load_n(&crowd->most, __ATOMIC_SEQ_CST))
                        __atomic_store_n(&crowd->most, inside, __ATOMIC_SEQ_CST);
                __atomic_add_fetch(&crowd->served, 1, __ATOMIC_SEQ_CST);
                __atomic_sub_fetch(&crowd->inside, 1, __ATOMIC_SEQ_CST);
                server_release(crowd->server);
        }

        return NULL;
}

static void
test_places_are_never_overdrawn(void)
{
        g_autoptr(Server) server = server_new("one", NULL);
        Crowd crowd = { .server = server };
        GThread *threads[8];

        for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
                threads[i] = g_thread_new("crowd", take_places, &crowd);
        for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
                g_thread_join(threads[i]);

        g_assert_cmpint(crowd.most, <=, PLACES);
        g_assert_cmpuint(crowd.served, >, 0);
        g_assert_cmpuint(server_get_active(server), ==, 0);
}

static void
test_only_changes_are_news(void)
{
        g_autoptr(Server) server = server_new("one", NULL);
        gint64 now = G_TIME_SPAN_HOUR;

        g_assert_true(server_is_up(server));
        g_assert_false(server_note_dial(server, true));
        g_assert_true(server_note_dial(server, false));
        g_assert_false(server_note_dial(server, false));
        g_assert_false(server_is_up(server));
        g_assert_true(server_note_dial(server, true));

        g_assert_true(server_note_full(server, true, now));
        g_assert_false(server_note_full(server, false, now + 1));
        g_assert_false(server_note_full(server, true, now + 2));
        g_assert_false(server_note_full(server, false, now + G_TIME_SPAN_MINUTE));
        g_assert_true(server_note_full(server, true, now + G_TIME_SPAN_MINUTE));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/balance/failover-is-in-order", test_failover_is_in_order);
        g_test_add_func("/balance/round-robin-begins-with-the-first",
                        test_round_robin_begins_with_the_first);
        g_test_add_func("/balance/takes-the-least-active", test_balance_takes_the_least_active);
        g_test_add_func("/balance/goes-by-weight", test_balance_goes_by_weight);
        g_test_add_func("/balance/ties-go-round", test_balance_ties_go_round);
        g_test_add_func("/balance/each-at-most-once-of-many", test_each_at_most_once_of_many);
        g_test_add_func("/server/places-are-never-overdrawn", test_places_are_never_overdrawn);
        g_test_add_func("/server/only-changes-are-news", test_only_changes_are_news);

        return g_test_run();
}
