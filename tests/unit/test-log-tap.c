/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The further place that records go to. The log can be started once in a process, so each case runs
 * in one of its own, and what the log itself has is on its stderr.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log-id.h"
#include "base/log.h"

#define BLOCKED 20000 /* records, more than the log holds */

typedef struct Tapped {
        GPtrArray *records;
        unsigned n;
} Tapped;

static void
unref(void *data)
{
        log_record_unref(data);
}

static void
tap(void *data, LogRecord *record)
{
        Tapped *tapped = data;

        tapped->n++;
        if (tapped->records)
                g_ptr_array_add(tapped->records, log_record_ref(record));
}

static const char *
get_message(const Tapped *tapped, unsigned i)
{
        const LogRecord *record = tapped->records->pdata[i];

        return log_field_find(record->fields, record->n_fields, "MESSAGE")->value;
}

static void
log_session(const char *id, GLogLevelFlags level, const char *message)
{
        g_log_structured(G_LOG_DOMAIN, level, "MESSAGE_ID", id, "MESSAGE", "%s", message);
}

static void
test_level(void)
{
        Tapped tapped = { .n = 0 };

        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                g_test_trap_assert_stderr("*warning*one*");
                g_test_trap_assert_stderr_unmatched("*two*");
                g_test_trap_assert_stderr_unmatched("*three*");
                return;
        }

        tapped.records = g_ptr_array_new_with_free_func(unref);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_WARNING);
        g_assert_false(log_is_enabled(G_LOG_LEVEL_INFO));
        log_set_tap(tap, &tapped, G_LOG_LEVEL_INFO);
        g_assert_true(log_is_enabled(G_LOG_LEVEL_INFO));
        g_assert_false(log_is_enabled(G_LOG_LEVEL_DEBUG));

        g_warning("one");
        g_info("two");
        g_debug("three");
        log_set_tap(NULL, NULL, 0);
        g_assert_false(log_is_enabled(G_LOG_LEVEL_INFO));
        g_warning("one more");
        log_stop();

        /* They outlive the log. */
        g_assert_cmpuint(tapped.n, ==, 2);
        g_assert_cmpstr(get_message(&tapped, 0), ==, "one");
        g_assert_cmpstr(get_message(&tapped, 1), ==, "two");
        g_ptr_array_unref(tapped.records);
}

/* As <syslog.h> has them, not as GLib, for which a critical record is a warning. */
static void
test_priorities(void)
{
        Tapped tapped = { .n = 0 };

        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                return;
        }

        g_log_set_always_fatal(G_LOG_FATAL_MASK);
        tapped.records = g_ptr_array_new_with_free_func(unref);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_DEBUG);
        log_set_tap(tap, &tapped, G_LOG_LEVEL_DEBUG);
        g_critical("3");
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_CRITICAL, "MESSAGE_ID", LOG_ID_CERTIFICATE,
                         "MESSAGE", "%d", 3);
        g_warning("4");
        g_message("5");
        g_info("6");
        g_debug("7");
        log_stop();

        g_assert_cmpuint(tapped.n, ==, 6);
        for (unsigned i = 0; i < tapped.n; i++) {
                const LogRecord *record = tapped.records->pdata[i];
                unsigned n = 0;

                for (size_t k = 0; k < record->n_fields; k++)
                        n += strcmp(record->fields[k].key, "PRIORITY") == 0;
                g_assert_cmpuint(n, ==, 1);
                g_assert_cmpstr(log_field_find(record->fields, record->n_fields, "PRIORITY")->value,
                                ==, get_message(&tapped, i));
        }
        g_ptr_array_unref(tapped.records);
}

static void
test_sessions(void)
{
        Tapped tapped = { .n = 0 };

        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                g_test_trap_assert_stderr("*all-good*all-failed*failed-failed*event*");
                g_test_trap_assert_stderr_unmatched("*failed-good*");
                g_test_trap_assert_stderr_unmatched("*none-*");
                return;
        }

        tapped.records = g_ptr_array_new_with_free_func(unref);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
        log_set_tap(tap, &tapped, G_LOG_LEVEL_INFO);
        log_session(LOG_ID_SESSION, G_LOG_LEVEL_INFO, "all-good");
        log_session(LOG_ID_SESSION_FAILED, G_LOG_LEVEL_WARNING, "all-failed");
        log_set_sessions(LOG_SESSIONS_FAILED);
        log_session(LOG_ID_SESSION, G_LOG_LEVEL_INFO, "failed-good");
        log_session(LOG_ID_SESSION_FAILED, G_LOG_LEVEL_WARNING, "failed-failed");
        log_set_sessions(LOG_SESSIONS_NONE);
        log_session(LOG_ID_SESSION, G_LOG_LEVEL_INFO, "none-good");
        log_session(LOG_ID_SESSION_FAILED, G_LOG_LEVEL_WARNING, "none-failed");
        g_message("event");
        log_stop();

        g_assert_cmpuint(tapped.n, ==, 7);
        for (unsigned i = 0; i < 6; i++)
                g_assert_cmpint(((LogRecord *)tapped.records->pdata[i])->kind, ==,
                                i % 2 == 0 ? LOG_KIND_SESSION : LOG_KIND_SESSION_FAILED);
        g_assert_cmpint(((LogRecord *)tapped.records->pdata[6])->kind, ==, LOG_KIND_EVENT);
        g_ptr_array_unref(tapped.records);
}

/* What Debug= shows goes to the log in any case, and to the tap if that has the level. */
static void
test_debug(void)
{
        const GLogField field = { "MESSAGE", "in-full", -1 };
        Tapped tapped = { .n = 0 };

        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                g_test_trap_assert_stderr("*in-full*");
                return;
        }

        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
        log_set_tap(tap, &tapped, G_LOG_LEVEL_INFO);
        log_debug_always(&field, 1);
        g_assert_cmpuint(tapped.n, ==, 0);
        log_set_tap(tap, &tapped, G_LOG_LEVEL_DEBUG);
        log_debug_always(&field, 1);
        g_assert_cmpuint(tapped.n, ==, 1);
        log_stop();
}

/* A sink that takes nothing, as a journald that has stopped, keeps nothing from the tap. */
static void
test_blocked_sink(void)
{
        Tapped tapped = { .n = 0 };
        int ends[2];

        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                return;
        }

        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        g_assert_cmpint(dup2(ends[1], STDERR_FILENO), ==, STDERR_FILENO);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
        log_set_tap(tap, &tapped, G_LOG_LEVEL_INFO);
        for (unsigned i = 0; i < BLOCKED; i++)
                g_info("record %0200u", i);
        g_assert_cmpuint(log_get_dropped(), >, 0);

        log_set_tap(NULL, NULL, 0);
        g_assert_cmpuint(tapped.n, ==, BLOCKED);
        _exit(0);
}

/* The tap is told of what the sink doesn't take: of each record once, and not at each attempt. */
static void
test_dead_sink(void)
{
        Tapped tapped = { .n = 0 };
        guint64 told = 0;
        unsigned reports = 0;

        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                return;
        }

        g_assert_nonnull(freopen("/dev/full", "w", stderr));
        tapped.records = g_ptr_array_new_with_free_func(unref);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
        for (unsigned i = 1; i <= 6; i++) {
                g_info("lost");
                while (log_get_dropped() < i)
                        g_usleep(1000);
                if (i == 1) /* what was lost before isn't its */
                        log_set_tap(tap, &tapped, G_LOG_LEVEL_INFO);
        }
        log_stop();
        log_flush_counts();

        for (unsigned i = 0; i < tapped.n; i++) {
                const LogRecord *record = tapped.records->pdata[i];
                const GLogField *field =
                        log_field_find(record->fields, record->n_fields, "AGITATOR_DROPPED");

                reports += field != NULL;
                told += field ? g_ascii_strtoull(field->value, NULL, 10) : 0;
        }
        g_assert_cmpuint(log_get_dropped(), ==, 6);
        g_assert_cmpuint(told, ==, 5);
        g_assert_cmpuint(reports, <=, 2);
        g_assert_cmpuint(tapped.n - reports, ==, 5);
        g_ptr_array_unref(tapped.records);
}

#define THREADS    4
#define PER_THREAD 5000

static void *
log_many(void *data)
{
        for (unsigned i = 0; i < PER_THREAD; i++)
                g_info("x");

        return NULL;
}

/* After log_set_tap() has returned nobody is in the old one: what it counted in may go. */
static void
test_taken_away_while_in_use(void)
{
        pthread_t threads[THREADS];

        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                return;
        }

        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_WARNING);
        for (unsigned i = 0; i < THREADS; i++)
                g_assert_cmpint(pthread_create(&threads[i], NULL, log_many, NULL), ==, 0);
        for (unsigned i = 0; i < 1000; i++) {
                Tapped *tapped = g_new0(Tapped, 1);

                log_set_tap(tap, tapped, G_LOG_LEVEL_INFO);
                log_set_tap(NULL, NULL, 0);
                g_free(tapped);
        }
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        log_stop();
}

int
main(int argc, char **argv)
{
        g_setenv("G_SLICE", "always-malloc", TRUE);
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/log-tap/level", test_level);
        g_test_add_func("/log-tap/priorities", test_priorities);
        g_test_add_func("/log-tap/sessions", test_sessions);
        g_test_add_func("/log-tap/debug", test_debug);
        g_test_add_func("/log-tap/blocked-sink", test_blocked_sink);
        g_test_add_func("/log-tap/dead-sink", test_dead_sink);
        g_test_add_func("/log-tap/taken-away-while-in-use", test_taken_away_while_in_use);

        return g_test_run();
}
