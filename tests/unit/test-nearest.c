/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <glib.h>

#include "daemon/nearest.h"

static const char *
nearest_of(const char *text, const char *a, const char *b)
{
        Nearest nearest;

        nearest_init(&nearest, text);
        nearest_offer(&nearest, a);
        nearest_offer(&nearest, b);

        return nearest.best;
}

static void
test_transposed_letters(void)
{
        g_assert_cmpstr(nearest_of("Weigth", "Address", "Weight"), ==, "Weight");
}

static void
test_letter_left_out(void)
{
        g_assert_cmpstr(nearest_of("ivr1", "ivr-1", "sales"), ==, "ivr-1");
}

static void
test_letter_added(void)
{
        g_assert_cmpstr(nearest_of("Paths", "Path", "Mode"), ==, "Path");
}

static void
test_case_alone_is_no_distance(void)
{
        g_assert_cmpstr(nearest_of("threads", "Thread", "Threads"), ==, "Threads");
}

static void
test_first_of_equals(void)
{
        g_assert_cmpstr(nearest_of("ivr", "ivr1", "ivr2"), ==, "ivr1");
}

static void
test_nothing_near(void)
{
        g_assert_null(nearest_of("Colour", "Address", "Weight"));
        g_assert_null(nearest_of("x", "abc", "Weight"));
        g_assert_null(nearest_of("", "Path", "Mode"));
}

static void
test_long_text_is_left_alone(void)
{
        g_autofree char *text = g_strnfill(100 * 1000, 'x');

        g_assert_null(nearest_of(text, text, "Weight"));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/nearest/transposed-letters", test_transposed_letters);
        g_test_add_func("/nearest/letter-left-out", test_letter_left_out);
        g_test_add_func("/nearest/letter-added", test_letter_added);
        g_test_add_func("/nearest/case-alone-is-no-distance", test_case_alone_is_no_distance);
        g_test_add_func("/nearest/first-of-equals", test_first_of_equals);
        g_test_add_func("/nearest/nothing-near", test_nothing_near);
        g_test_add_func("/nearest/long-text-is-left-alone", test_long_text_is_left_alone);

        return g_test_run();
}
