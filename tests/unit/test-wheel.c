/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <glib.h>

#include "base/wheel.h"

#define LATE_AT_MOST 1100 /* microseconds */

/* As a loop does: asks when, goes there, takes what has come due. Returns when @entry came out. */
static gint64
run_until(Wheel *wheel, const WheelEntry *entry)
{
        for (unsigned turns = 0; turns < 100; turns++) {
                gint64 now = wheel_next(wheel);
                WheelEntry *expired;

                g_assert_cmpint(now, !=, G_MAXINT64);
                while ((expired = wheel_expire(wheel, now))) {
                        if (expired == entry)
                                return now;
                }
        }

        g_assert_not_reached();
}

static void
test_empty_has_no_time(void)
{
        Wheel wheel;

        wheel_init(&wheel, 12345678);
        g_assert_cmpint(wheel_next(&wheel), ==, G_MAXINT64);
        g_assert_null(wheel_expire(&wheel, 12345678 + G_TIME_SPAN_DAY));
}

static void
test_never_early_and_hardly_late(void)
{
        static const gint64 delays[] = { 0,
                                         1,
                                         1000,
                                         65 * 1000,
                                         70 * 1000,
                                         3 * G_TIME_SPAN_SECOND,
                                         10 * G_TIME_SPAN_SECOND,
                                         5 * G_TIME_SPAN_MINUTE,
                                         8 * G_TIME_SPAN_HOUR,
                                         400 * G_TIME_SPAN_DAY };
        static const gint64 starts[] = { 0, 1023, 65535, 7 * G_TIME_SPAN_DAY + 17 };

        for (size_t s = 0; s < G_N_ELEMENTS(starts); s++) {
                for (size_t i = 0; i < G_N_ELEMENTS(delays); i++) {
                        gint64 due = starts[s] + delays[i], out;
                        WheelEntry entry = { 0 };
                        Wheel wheel;

                        wheel_init(&wheel, starts[s]);
                        wheel_add(&wheel, &entry, due);
                        out = run_until(&wheel, &entry);
                        g_assert_cmpint(out, >=, due);
                        g_assert_cmpint(out, <=, due + LATE_AT_MOST);
                }
        }
}

static void
test_past_is_due_at_once(void)
{
        WheelEntry entry = { 0 };
        Wheel wheel;

        wheel_init(&wheel, G_TIME_SPAN_HOUR);
        wheel_add(&wheel, &entry, 5);
        g_assert_true(wheel_expire(&wheel, G_TIME_SPAN_HOUR) == &entry);
}

static void
test_removed_does_not_expire(void)
{
        WheelEntry entries[3] = { { 0 } };
        Wheel wheel;

        wheel_init(&wheel, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(entries); i++)
                wheel_add(&wheel, &entries[i], G_TIME_SPAN_SECOND);
        wheel_remove(&wheel, &entries[1]);
        wheel_remove(&wheel, &entries[1]);

        g_assert_true(wheel_expire(&wheel, 2 * G_TIME_SPAN_SECOND) != &entries[1]);
        g_assert_true(wheel_expire(&wheel, 2 * G_TIME_SPAN_SECOND) != &entries[1]);
        g_assert_null(wheel_expire(&wheel, 2 * G_TIME_SPAN_SECOND));
        g_assert_cmpint(wheel_next(&wheel), ==, G_MAXINT64);
}

static void
test_removed_while_others_expire(void)
{
        WheelEntry a = { 0 }, b = { 0 };
        WheelEntry *first;
        Wheel wheel;

        wheel_init(&wheel, 0);
        wheel_add(&wheel, &a, 1000);
        wheel_add(&wheel, &b, 1000);
        first = wheel_expire(&wheel, G_TIME_SPAN_SECOND);
        wheel_remove(&wheel, first == &a ? &b : &a);
        g_assert_null(wheel_expire(&wheel, G_TIME_SPAN_SECOND));
}

/* Against a list that is searched: many deadlines, added, removed and moved at random. */
static void
test_agrees_with_a_list(void)
{
        enum { N = 500 };

        g_autofree WheelEntry *entries = g_new0(WheelEntry, N);
        g_autofree gint64 *due = g_new0(gint64, N);
        gint64 now = 77;
        Wheel wheel;

        wheel_init(&wheel, now);
        for (unsigned round = 0; round < 20000; round++) {
                unsigned i = (unsigned)g_test_rand_int_range(0, N);
                WheelEntry *expired;

                wheel_remove(&wheel, &entries[i]);
                due[i] = 0;
                if (g_test_rand_bit()) {
                        due[i] = now + g_test_rand_int_range(0, 1 << g_test_rand_int_range(1, 30));
                        wheel_add(&wheel, &entries[i], due[i]);
                }

                now += g_test_rand_int_range(0, 1 << g_test_rand_int_range(1, 24));
                while ((expired = wheel_expire(&wheel, now))) {
                        g_assert_cmpint(due[expired - entries], >, 0);
                        g_assert_cmpint(due[expired - entries], <=, now);
                        due[expired - entries] = 0;
                }
                for (unsigned k = 0; k < N; k++)
                        g_assert_true(due[k] == 0 || due[k] + LATE_AT_MOST > now);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/wheel/empty-has-no-time", test_empty_has_no_time);
        g_test_add_func("/wheel/never-early-and-hardly-late", test_never_early_and_hardly_late);
        g_test_add_func("/wheel/past-is-due-at-once", test_past_is_due_at_once);
        g_test_add_func("/wheel/removed-does-not-expire", test_removed_does_not_expire);
        g_test_add_func("/wheel/removed-while-others-expire", test_removed_while_others_expire);
        g_test_add_func("/wheel/agrees-with-a-list", test_agrees_with_a_list);

        return g_test_run();
}
