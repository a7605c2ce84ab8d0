/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A reload in the middle of look-ups, each answered when a case says so. */

#include "fake-resolver.h"
#include "proxy/names.h"

#define LIMIT (60 * G_TIME_SPAN_SECOND)

static const char *const one[] = { "192.0.2.1", NULL };
static const char *const two[] = { "192.0.2.2", NULL };

/* Settings on their way into force, or in force. */
typedef struct Side {
        Settings *settings;
        Names *names;
        unsigned done; /* how often it was said that all are looked up */
} Side;

static void
note_done(void *data)
{
        ((Side *)data)->done++;
}

static void
side_start(Side *side, const char *address, const Side *old)
{
        ServerSettings *server;

        *side = (Side){ .settings = settings_new() };
        server = settings_add_server(side->settings, "ivr");
        server->endpoint = endpoint_parse(address, 4573, NULL);
        settings_finish(side->settings, old ? old->settings : NULL, NULL);
        side->names = names_new(side->settings, LIMIT, note_done, side);
}

static void
side_clear(Side *side)
{
        names_free(side->names);
        settings_unref(side->settings);
}

static void
answer(const char *const *addresses)
{
        fake_resolver_release(addresses);
        while (g_main_context_iteration(NULL, FALSE))
                ;
}

/* @wanted: NULL for none. */
static void
assert_at(const Side *side, const char *wanted)
{
        g_autoptr(AddressList) list =
                server_settings_get_addresses(settings_get_server(side->settings, "ivr"));
        char text[ADDRESS_TEXT_SIZE];

        if (!wanted) {
                g_assert_null(list);
                return;
        }
        g_assert_nonnull(list);
        g_assert_cmpuint(list->n, ==, 1);
        g_assert_cmpstr(address_print(&list->items[0], text), ==, wanted);
}

static void
test_literal(void)
{
        Side side;

        side_start(&side, "192.0.2.9:1", NULL);
        assert_at(&side, "192.0.2.9:1");
        while (side.done == 0)
                g_main_context_iteration(NULL, TRUE);
        names_inherit(side.names, NULL);
        assert_at(&side, "192.0.2.9:1");
        side_clear(&side);
}

static void
test_own_answer(void)
{
        Side old, new;

        fake_resolver_hold();
        side_start(&old, "ivr.test:1", NULL);
        answer(one);
        assert_at(&old, "192.0.2.1:1");
        g_assert_cmpuint(old.done, ==, 1);

        side_start(&new, "ivr.test:1", &old);
        answer(two);
        g_assert_cmpuint(new.done, ==, 1);
        names_inherit(new.names, old.settings);
        assert_at(&new, "192.0.2.2:1");
        assert_at(&old, "192.0.2.1:1");
        side_clear(&old);
        side_clear(&new);
}

/* The one that comes for the old settings while the new ones are still being looked up. */
static void
test_late_answer(void)
{
        Side old, new;

        fake_resolver_hold();
        side_start(&old, "ivr.test:1", NULL);
        side_start(&new, "ivr.test:1", &old);
        answer(one);
        assert_at(&new, NULL);
        names_inherit(new.names, old.settings);
        assert_at(&new, "192.0.2.1:1");
        side_clear(&old);
        answer(two);
        assert_at(&new, "192.0.2.2:1");
        side_clear(&new);
}

/* The old settings have an answer, the new ones at @address get none. */
static void
check_failed_look_up(const char *address, const char *wanted)
{
        Side old, new;

        fake_resolver_hold();
        side_start(&old, "ivr.test:1", NULL);
        answer(one);
        side_start(&new, address, &old);
        answer(NULL);
        g_assert_cmpuint(new.done, ==, 1);
        names_inherit(new.names, old.settings);
        assert_at(&new, wanted);
        assert_at(&old, "192.0.2.1:1");
        side_clear(&old);
        side_clear(&new);
}

static void
test_failed_look_up(void)
{
        check_failed_look_up("ivr.test:1", "192.0.2.1:1");
}

static void
test_other_host(void)
{
        check_failed_look_up("other.test:1", NULL);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        /* What failed is logged as a warning. */
        g_log_set_always_fatal(G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL);

        g_test_add_func("/names/literal-address-at-once", test_literal);
        g_test_add_func("/names/own-answer-before-an-inherited-one", test_own_answer);
        g_test_add_func("/names/late-answer-to-the-old-settings-is-inherited", test_late_answer);
        g_test_add_func("/names/failed-look-up-keeps-the-last-good-answer", test_failed_look_up);
        g_test_add_func("/names/other-host-inherits-nothing", test_other_host);

        return g_test_run();
}
