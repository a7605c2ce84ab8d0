/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "base/backoff.h"

static void
test_doubles(void)
{
        gint64 expected = BACKOFF_FIRST;

        for (unsigned failures = 1; expected < BACKOFF_MAX; failures++, expected *= 2) {
                g_assert_cmpint(backoff_get_delay(failures, 1), ==, expected);
                g_assert_cmpint(backoff_get_delay(failures, 0), ==, expected / 2);
        }
}

static void
test_is_bounded(void)
{
        g_assert_cmpint(backoff_get_delay(7, 1), ==, BACKOFF_MAX);
        g_assert_cmpint(backoff_get_delay(8, 1), ==, BACKOFF_MAX);
        g_assert_cmpint(backoff_get_delay(1000, 0), ==, BACKOFF_MAX / 2);
        g_assert_cmpint(backoff_get_delay(G_MAXUINT, 1), ==, BACKOFF_MAX);
}

static void
test_spreads(void)
{
        g_assert_cmpint(backoff_get_delay(1, 0.5), ==, BACKOFF_FIRST * 3 / 4);
        g_assert_cmpint(backoff_get_delay(1, 0.25), <, backoff_get_delay(1, 0.75));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/backoff/doubles", test_doubles);
        g_test_add_func("/backoff/is-bounded", test_is_bounded);
        g_test_add_func("/backoff/spreads", test_spreads);

        return g_test_run();
}
