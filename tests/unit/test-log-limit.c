/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Time is what a case says it is.
 */
#include <string.h>

#include "base/log-id.h"
#include "base/log-limit.h"

#define SECOND   G_TIME_SPAN_SECOND
#define BURST    3
#define INTERVAL (10 * SECOND)
#define SUBJECTS 255 /* that have a count of their own */

static gint64
fixture_begin(void)
{
        static gint64 now = SECOND;

        /* What was on in the case before is over. */
        now += 1000 * INTERVAL;
        while (TRUE) {
                g_autoptr(LogRecord) left = log_limit_take_count(now, true);

                if (!left)
                        break;
        }
        log_limit_configure(BURST, INTERVAL);
        now += 1000 * INTERVAL;

        return now;
}

static LogLimitResult
take(const char *server, gint64 now)
{
        const GLogField fields[] = {
                { "MESSAGE", "server can't be reached", -1 },
                { "MESSAGE_ID", LOG_ID_SERVER_DOWN, -1 },
                { "AGITATOR_SERVER", server, -1 },
        };

        return log_limit_take(G_LOG_LEVEL_WARNING, fields, G_N_ELEMENTS(fields), now);
}

/* How many of @n pass. */
static unsigned
take_many(const char *server, unsigned n, gint64 now)
{
        unsigned passed = 0;

        for (unsigned i = 0; i < n; i++)
                passed += take(server, now) == LOG_LIMIT_PASSES;

        return passed;
}

static char *
get(const LogRecord *record, const char *key)
{
        const GLogField *field = log_field_find(record->fields, record->n_fields, key);

        return field ? g_strndup(field->value, log_field_get_length(field)) : NULL;
}

static void
assert_field(const LogRecord *record, const char *key, const char *expected)
{
        g_autofree char *value = get(record, key);

        g_assert_cmpstr(value, ==, expected);
}

static void
test_burst(void)
{
        gint64 now = fixture_begin();

        for (unsigned i = 0; i < BURST; i++)
                g_assert_cmpint(take("a", now), ==, LOG_LIMIT_PASSES);
        g_assert_cmpint(log_limit_get_due(), ==, G_MAXINT64);
        g_assert_cmpint(take("a", now + SECOND), ==, LOG_LIMIT_BEGINS);
        g_assert_cmpint(take("a", now + SECOND), ==, LOG_LIMIT_COUNTED);
        g_assert_cmpint(log_limit_get_due(), ==, now + INTERVAL);

        /* Another subject is another matter. */
        g_assert_cmpint(take("b", now + SECOND), ==, LOG_LIMIT_PASSES);
        g_assert_null(log_limit_take_count(now + INTERVAL - 1, false));
}

static void
test_count(void)
{
        gint64 now = fixture_begin();
        g_autoptr(LogRecord) count = NULL;

        g_assert_cmpuint(take_many("a", 1000, now), ==, BURST);
        count = log_limit_take_count(now + INTERVAL, false);
        g_assert_nonnull(count);
        g_assert_null(log_limit_take_count(now + INTERVAL, false));
        g_assert_cmpint(log_limit_get_due(), ==, G_MAXINT64);

        g_assert_cmpint(count->level, ==, G_LOG_LEVEL_WARNING);
        assert_field(count, "MESSAGE", "997 more within 10.0 s: server can't be reached");
        assert_field(count, "MESSAGE_ID", LOG_ID_REPEATED);
        assert_field(count, "AGITATOR_REPEATED", "997");
        assert_field(count, "AGITATOR_REPEATED_ID", LOG_ID_SERVER_DOWN);
        assert_field(count, "AGITATOR_SERVER", "a");
        assert_field(count, "PRIORITY", "4");
}

/* While it goes on: a record and a count for each interval. */
static void
test_flood(void)
{
        gint64 now = fixture_begin();

        g_assert_cmpuint(take_many("a", 100, now), ==, BURST);
        for (unsigned i = 0; i < 5; i++) {
                g_autoptr(LogRecord) count = NULL;

                now += INTERVAL;
                count = log_limit_take_count(now, false);
                assert_field(count, "AGITATOR_REPEATED", i == 0 ? "97" : "99");
                g_assert_cmpuint(take_many("a", 100, now), ==, 1);
        }
}

static void
test_calm(void)
{
        gint64 now = fixture_begin();
        g_autoptr(LogRecord) count = NULL;

        take_many("a", 100, now);
        now += INTERVAL;
        count = log_limit_take_count(now, false);

        /* Nothing more than the one that a flood may have, then an interval without a count. */
        g_assert_cmpint(take("a", now), ==, LOG_LIMIT_PASSES);
        g_assert_cmpuint(take_many("a", 100, now + INTERVAL), ==, BURST);
}

/* The thread that writes counts may be late: nothing is lost. */
static void
test_late(void)
{
        gint64 now = fixture_begin();
        g_autoptr(LogRecord) count = NULL;

        take_many("a", 10, now);
        take_many("a", 10, now + 3 * INTERVAL);
        count = log_limit_take_count(now + 4 * INTERVAL, false);
        assert_field(count, "AGITATOR_REPEATED", "17");
        assert_field(count, "MESSAGE", "17 more within 40.0 s: server can't be reached");
}

static void
test_all(void)
{
        gint64 now = fixture_begin();
        g_autoptr(LogRecord) count = NULL;

        take_many("a", 5, now);
        count = log_limit_take_count(now + 2 * SECOND, true);
        assert_field(count, "MESSAGE", "2 more within 2.0 s: server can't be reached");
}

/* More subjects than there is room for share a count; memory stays bounded, nothing is unlimited.
 */
static void
test_crowd(void)
{
        gint64 now = fixture_begin();
        unsigned passed = 0, counted = 0, counts = 0;
        LogRecord *count;

        for (unsigned i = 0; i < 4 * SUBJECTS; i++) {
                g_autofree char *name = g_strdup_printf("server-%u", i);

                passed += take_many(name, BURST + 1, now);
        }
        g_assert_cmpuint(passed, ==, (SUBJECTS + 1) * BURST);

        while ((count = log_limit_take_count(now + INTERVAL, false))) {
                g_autofree char *number = get(count, "AGITATOR_REPEATED");
                g_autofree char *message = get(count, "MESSAGE");

                counted += (unsigned)g_ascii_strtoull(number, NULL, 10);
                counts++;
                g_assert(message);
                if (strstr(message, "various"))
                        assert_field(count, "AGITATOR_SERVER", NULL);
                log_record_unref(count);
        }
        g_assert_cmpuint(counts, ==, SUBJECTS + 1);
        g_assert_cmpuint(passed + counted, ==, 4 * SUBJECTS * (BURST + 1));

        /* Once it is over there is room for others. */
        g_assert_cmpuint(take_many("new", BURST + 1, now + 10 * INTERVAL), ==, BURST);
}

static void
test_off(void)
{
        gint64 now = fixture_begin();

        log_limit_configure(0, INTERVAL);
        g_assert_cmpuint(take_many("a", 1000, now), ==, 1000);
}

static unsigned
take_events(GLogLevelFlags level, const char *id, const char *key, const char *values, gint64 now)
{
        unsigned passed = 0;

        for (; *values; values++) {
                const GLogField fields[] = {
                        { "MESSAGE", values, 1 },
                        { key, values, 1 },
                        { "MESSAGE_ID", id, -1 },
                };

                passed += log_limit_take_event(level, fields, id ? 3 : 2, now) == LOG_LIMIT_PASSES;
        }

        return passed;
}

static void
test_events(void)
{
        const GLogLevelFlags warning = G_LOG_LEVEL_WARNING, info = G_LOG_LEVEL_INFO;
        gint64 now = fixture_begin();

        /* A server is a subject, a session is none. */
        g_assert_cmpuint(
                take_events(warning, LOG_ID_SERVER_DOWN, "AGITATOR_SERVER", "aaaaabb", now), ==,
                BURST + 2);
        g_assert_cmpuint(take_events(warning, LOG_ID_ODD_PATH, "AGITATOR_SESSION", "abcdefg", now),
                         ==, BURST);
        /* Of a library's words each is one. */
        g_assert_cmpuint(take_events(warning, NULL, "GLIB_DOMAIN", "aaaaab", now), ==, BURST + 1);
        /* Not limited: what an operator causes, and what is no failure. */
        g_assert_cmpuint(take_events(warning, LOG_ID_RELOAD_FAILED, "CODE_FILE", "abcdefg", now),
                         ==, 7);
        g_assert_cmpuint(take_events(info, LOG_ID_SESSION, "AGITATOR_ROUTE", "aaaaaaa", now), ==,
                         7);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/log-limit/burst/passes-and-no-more", test_burst);
        g_test_add_func("/log-limit/count/tells-of-the-rest", test_count);
        g_test_add_func("/log-limit/count/one-and-a-record-while-it-goes-on", test_flood);
        g_test_add_func("/log-limit/count/forgets-a-flood-that-is-over", test_calm);
        g_test_add_func("/log-limit/count/loses-nothing-when-late", test_late);
        g_test_add_func("/log-limit/count/at-the-end-in-any-case", test_all);
        g_test_add_func("/log-limit/subjects/bounded", test_crowd);
        g_test_add_func("/log-limit/off", test_off);
        g_test_add_func("/log-limit/events", test_events);

        return g_test_run();
}
