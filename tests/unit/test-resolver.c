/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Only numeric hosts go to GLib's resolver. */

#include "fake-resolver.h"
#include "net/resolver.h"

typedef struct Outcome {
        unsigned calls;
        AddressList *addresses;
        GError *error;
} Outcome;

static void
outcome_note(AddressList *addresses, const GError *error, void *data)
{
        Outcome *outcome = data;

        outcome->calls++;
        outcome->addresses = addresses ? address_list_ref(addresses) : NULL;
        outcome->error = error ? g_error_copy(error) : NULL;
}

static void
outcome_clear(Outcome *outcome)
{
        address_list_unref(outcome->addresses);
        g_clear_error(&outcome->error);
}

static void
check_lookup(const char *host, const char *const *wanted)
{
        Outcome outcome = { 0 };
        char text[ADDRESS_TEXT_SIZE];
        size_t n = 0;

        resolver_lookup(host, 4573, NULL, outcome_note, &outcome);
        while (outcome.calls == 0)
                g_main_context_iteration(NULL, TRUE);

        g_assert_no_error(outcome.error);
        for (; wanted[n]; n++) {
                g_assert_cmpuint(n, <, outcome.addresses->n);
                g_assert_cmpstr(address_print(&outcome.addresses->items[n], text), ==, wanted[n]);
        }
        g_assert_cmpuint(outcome.addresses->n, ==, n);
        outcome_clear(&outcome);
}

/* First of all cases: GLib's own resolver is still in place. */
static void
test_numeric(void)
{
        check_lookup("192.0.2.7", (const char *const[]){ "192.0.2.7:4573", NULL });
        check_lookup("2001:db8::1", (const char *const[]){ "[2001:db8::1]:4573", NULL });
}

static void
test_order(void)
{
        static const char *const answer[] = {
                "2001:db8::2", "192.0.2.9",        "2001:db8::1", "192.0.2.9",
                "2001:db8::2", "::ffff:192.0.2.9", "192.0.2.1",   NULL,
        };
        static const char *const wanted[] = {
                "[2001:db8::2]:4573",
                "192.0.2.9:4573",
                "[2001:db8::1]:4573",
                "192.0.2.1:4573",
                NULL,
        };

        fake_resolver_start(answer);
        check_lookup("ivr", wanted);
}

static void
test_error(void)
{
        Outcome outcome = { 0 };

        fake_resolver_start(NULL);
        resolver_lookup("ivr", 4573, NULL, outcome_note, &outcome);
        while (outcome.calls == 0)
                g_main_context_iteration(NULL, TRUE);

        g_assert_null(outcome.addresses);
        g_assert_error(outcome.error, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND);
        outcome_clear(&outcome);
}

/* The answer is there already and waits for its turn in the main loop. */
static void
test_cancel(gconstpointer answer)
{
        g_autoptr(GCancellable) cancellable = g_cancellable_new();
        Outcome cancelled = { 0 }, later = { 0 };

        fake_resolver_start(answer);
        resolver_lookup("ivr", 4573, cancellable, outcome_note, &cancelled);
        g_cancellable_cancel(cancellable);
        resolver_lookup("ivr", 4573, NULL, outcome_note, &later);
        while (later.calls == 0 || g_main_context_pending(NULL))
                g_main_context_iteration(NULL, TRUE);

        g_assert_cmpuint(cancelled.calls, ==, 0);
        outcome_clear(&later);
}

int
main(int argc, char **argv)
{
        static const char *const answer[] = { "192.0.2.9", NULL };

        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/resolver/numeric-host-is-its-own-address", test_numeric);
        g_test_add_func("/resolver/order-kept-and-each-once", test_order);
        g_test_add_func("/resolver/error-passed-on", test_error);
        g_test_add_data_func("/resolver/no-call-once-cancelled", answer, test_cancel);
        g_test_add_data_func("/resolver/no-call-once-cancelled-with-error", NULL, test_cancel);

        return g_test_run();
}
