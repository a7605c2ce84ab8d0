/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <string.h>

#include "proxy/settings.h"

static RouteSettings *
add_route(Settings *settings, const char *path)
{
        RouteSettings *route = settings_add_route(settings, path);

        route->path = g_strdup(path);
        return route;
}

/* Routes whose names are their paths. */
static Settings *
settings_with(const char *const *paths)
{
        Settings *settings = settings_new();

        for (size_t i = 0; paths[i]; i++)
                add_route(settings, paths[i]);
        settings_finish(settings, NULL, NULL);

        return settings;
}

static void
assert_route(const Settings *settings, const char *path, const char *expected)
{
        g_autofree char *copy = g_strdup(path);
        const RouteSettings *route = settings_get_route(settings, copy);

        g_assert_cmpstr(copy, ==, path);
        g_assert_cmpstr(route ? route->name : NULL, ==, expected);
}

static const char *const some_paths[] = { "a/b", "a/b/c/d", "menu", "*", NULL };
static const char *const no_wildcard[] = { "a/b", NULL };
static const char *const only_wildcard[] = { "*", NULL };
static const char *const no_paths[] = { NULL };

static void
test_whole_path(void)
{
        g_autoptr(Settings) settings = settings_with(some_paths);

        assert_route(settings, "a/b", "a/b");
        assert_route(settings, "menu", "menu");
        assert_route(settings, "a/b/c/d", "a/b/c/d");
}

static void
test_longest_parent(void)
{
        g_autoptr(Settings) settings = settings_with(some_paths);

        assert_route(settings, "a/b/c", "a/b");
        assert_route(settings, "a/b/x/y/z", "a/b");
        assert_route(settings, "a/b/c/d/e/f", "a/b/c/d");
        assert_route(settings, "menu/1", "menu");
        assert_route(settings, "menu/", "menu");
}

static void
test_whole_segments(void)
{
        g_autoptr(Settings) settings = settings_with(some_paths);

        assert_route(settings, "a/bc", "*");
        assert_route(settings, "a", "*");
        assert_route(settings, "menus", "*");
        assert_route(settings, "men", "*");
        assert_route(settings, "x/menu", "*");
}

static void
test_case_matters(void)
{
        g_autoptr(Settings) settings = settings_with(some_paths);

        assert_route(settings, "MENU", "*");
}

static void
test_wildcard_takes_the_rest(void)
{
        g_autoptr(Settings) settings = settings_with(some_paths);
        g_autoptr(Settings) only = settings_with(only_wildcard);

        assert_route(settings, "", "*");
        assert_route(settings, "/", "*");
        assert_route(settings, "//menu", "*");
        assert_route(only, "a/b", "*");
        assert_route(only, "", "*");
}

static void
test_no_route(void)
{
        g_autoptr(Settings) settings = settings_with(no_wildcard);
        g_autoptr(Settings) none = settings_with(no_paths);

        assert_route(settings, "x", NULL);
        assert_route(settings, "", NULL);
        assert_route(settings, "*", NULL);
        assert_route(none, "a", NULL);
}

static void
test_star_is_no_path(void)
{
        g_autoptr(Settings) settings = settings_with(only_wildcard);

        g_assert_cmpuint(g_hash_table_size(settings->routes_by_path), ==, 0);
        g_assert_cmpuint(settings->deepest_route, ==, 0);
}

/* Looking up every prefix of this path would hash some 5e10 bytes. */
static void
test_deep_path_costs_little(void)
{
        g_autoptr(Settings) settings = settings_with(some_paths);
        g_autoptr(GString) path = g_string_new("a/b");

        for (size_t i = 0; i < 150 * 1000; i++)
                g_string_append(path, "/x");

        g_assert_cmpuint(settings->deepest_route, ==, 4);
        for (size_t i = 0; i < 100; i++)
                g_assert_cmpstr(settings_get_route(settings, path->str)->name, ==, "a/b");
}

static void
test_groups_begin_with_what_settings_say(void)
{
        g_autoptr(Settings) settings = settings_new();
        const RouteSettings *route;

        settings->connect_timeout = 1;
        settings->setup_timeout = 2;
        settings->idle_timeout = 3;
        settings->think_timeout = 4;
        settings->rewrite_host = false;
        settings->on_server_failure = ON_SERVER_FAILURE_CLOSE;

        g_assert_cmpint(settings_add_server(settings, "s")->connect_timeout, ==, 1);
        route = settings_add_route(settings, "r");
        g_assert_cmpint(route->setup_timeout, ==, 2);
        g_assert_cmpint(route->idle_timeout, ==, 3);
        g_assert_cmpint(route->think_timeout, ==, 4);
        g_assert_false(route->rewrite_host);
        g_assert_cmpint(route->on_server_failure, ==, ON_SERVER_FAILURE_CLOSE);
}

static void
test_found_by_name(void)
{
        g_autoptr(Settings) settings = settings_new();
        ListenerSettings *listener = settings_add_listener(settings, "same");
        ServerSettings *server = settings_add_server(settings, "same");
        AnswerSettings *answer = settings_add_answer(settings, "same");

        g_assert_true(settings_get_listener(settings, "same") == listener);
        g_assert_true(settings_get_server(settings, "same") == server);
        g_assert_true(settings_get_answer(settings, "same") == answer);
        g_assert_null(settings_get_listener(settings, "other"));
        g_assert_null(settings_get_server(settings, "Same"));
        g_assert_null(settings_get_answer(settings, ""));
        g_assert_cmpuint(g_strv_length(answer->commands), ==, 0);
}

static void
test_live_server_survives_reload(void)
{
        g_autoptr(Settings) old = settings_new();
        g_autoptr(Settings) new = settings_new();
        ServerSettings *kept, *added;
        Server *live;

        settings_add_server(old, "gone");
        kept = settings_add_server(old, "kept");
        settings_finish(old, NULL, NULL);
        live = kept->server;
        g_assert_nonnull(live);
        g_assert_true(server_reserve(live, 0));

        added = settings_add_server(new, "added");
        kept = settings_add_server(new, "kept");
        settings_finish(new, old, NULL);
        g_assert_true(kept->server == live);
        g_assert_true(added->server != live);

        /* It outlives the settings it came with. */
        g_clear_pointer(&old, settings_unref);
        g_assert_cmpuint(server_get_active(kept->server), ==, 1);
        server_release(kept->server);
}

static void
test_turn_goes_on_after_reload(void)
{
        g_autoptr(Settings) old = settings_with(some_paths);
        g_autoptr(Settings) new = settings_new();
        RouteSettings *menu, *wildcard, *added;

        old->wildcard->turn = 3;
        ((RouteSettings *)g_hash_table_lookup(old->routes_by_path, "menu"))->turn = 7;

        added = add_route(new, "added");
        wildcard = add_route(new, "*");
        menu = add_route(new, "menu");
        settings_finish(new, old, NULL);
        g_assert_cmpuint(added->turn, ==, 0);
        g_assert_cmpuint(wildcard->turn, ==, 3);
        g_assert_cmpuint(menu->turn, ==, 7);
}

static void *
ref_and_unref(void *data)
{
        for (size_t i = 0; i < 10 * 1000; i++)
                settings_unref(settings_ref(data));

        return NULL;
}

static void
test_counted_on_many_threads(void)
{
        g_autoptr(Settings) settings = settings_new();
        GThread *threads[4];

        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
                threads[i] = g_thread_new("ref", ref_and_unref, settings);
        for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
                g_thread_join(threads[i]);

        g_assert_cmpint(settings->refs, ==, 1);
}

static void
test_unref_takes_null(void)
{
        settings_unref(NULL);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/settings/whole-path", test_whole_path);
        g_test_add_func("/settings/longest-parent", test_longest_parent);
        g_test_add_func("/settings/whole-segments", test_whole_segments);
        g_test_add_func("/settings/case-matters", test_case_matters);
        g_test_add_func("/settings/wildcard-takes-the-rest", test_wildcard_takes_the_rest);
        g_test_add_func("/settings/no-route", test_no_route);
        g_test_add_func("/settings/star-is-no-path", test_star_is_no_path);
        g_test_add_func("/settings/deep-path-costs-little", test_deep_path_costs_little);
        g_test_add_func("/settings/groups-begin-with-what-settings-say",
                        test_groups_begin_with_what_settings_say);
        g_test_add_func("/settings/found-by-name", test_found_by_name);
        g_test_add_func("/settings/live-server-survives-reload", test_live_server_survives_reload);
        g_test_add_func("/settings/turn-goes-on-after-reload", test_turn_goes_on_after_reload);
        g_test_add_func("/settings/counted-on-many-threads", test_counted_on_many_threads);
        g_test_add_func("/settings/unref-takes-null", test_unref_takes_null);

        return g_test_run();
}
