/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The log can be started once in a process, so most cases run in one of their own, with stderr in a
 * pipe that the case reads, or does not read.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log-console.h"
#include "base/log-limit.h"
#include "base/log.h"

#define FULL_RECORDS 8192
#define THREADS      4
#define PER_THREAD   3000

typedef struct Capture {
        int read_fd, saved_fd;
        GString *text;
        pthread_t reader;
        bool reading;
} Capture;

static void
capture_start(Capture *capture)
{
        int ends[2];

        *capture = (Capture){ .text = g_string_new(NULL) };
        g_assert_cmpint(pipe2(ends, O_CLOEXEC), ==, 0);
        capture->read_fd = ends[0];
        capture->saved_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        g_assert_cmpint(dup2(ends[1], STDERR_FILENO), ==, STDERR_FILENO);
        fd_clear(&ends[1]);
}

static void *
capture_run(void *data)
{
        Capture *capture = data;
        char bytes[4096];
        ssize_t n;

        while ((n = read(capture->read_fd, bytes, sizeof(bytes))) > 0)
                g_string_append_len(capture->text, bytes, n);

        return NULL;
}

static void
capture_read(Capture *capture)
{
        g_assert_cmpint(pthread_create(&capture->reader, NULL, capture_run, capture), ==, 0);
        capture->reading = true;
}

/* Gives stderr back; all that was written is in the text then. */
static void
capture_stop(Capture *capture)
{
        g_assert_cmpint(dup2(capture->saved_fd, STDERR_FILENO), ==, STDERR_FILENO);
        fd_clear(&capture->saved_fd);
        if (capture->reading)
                pthread_join(capture->reader, NULL);
        else
                capture_run(capture);
        fd_clear(&capture->read_fd);
}

static void
capture_clear(Capture *capture)
{
        g_string_free(capture->text, TRUE);
}

static unsigned
count(const Capture *capture, const char *what)
{
        unsigned n = 0;

        for (const char *p = capture->text->str; (p = strstr(p, what)); p++)
                n++;

        return n;
}

/* Runs the case that calls it in a process of its own, where no record is one too many; false in
 * the parent, when that went well. */
static bool
in_child(void)
{
        if (g_test_subprocess()) {
                log_limit_configure(0, LOG_LIMIT_INTERVAL);
                return true;
        }

        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_passed();

        return false;
}

static char *
format(GLogLevelFlags level, const GLogField *fields, size_t n, bool colours)
{
        GString *text = g_string_new(NULL);

        /* 2001-02-03 04:05:06.789 */
        log_console_format(text, G_GINT64_CONSTANT(981173106789012), level, fields, n, colours);

        return g_string_free(text, FALSE);
}

static void
test_console_line(void)
{
        const GLogField fields[] = {
                { "PRIORITY", "6", -1 },
                { "GLIB_DOMAIN", G_LOG_DOMAIN, -1 },
                { "MESSAGE", "Ready, 4 listeners", 5 },
                { "CODE_FILE", "x.c", -1 },
        };

        static const struct {
                GLogLevelFlags level;
                const char *line;
        } cases[] = {
                { G_LOG_LEVEL_ERROR | G_LOG_FLAG_FATAL, "04:05:06.789 error    Ready\n" },
                { G_LOG_LEVEL_CRITICAL, "04:05:06.789 critical Ready\n" },
                { G_LOG_LEVEL_WARNING, "04:05:06.789 warning  Ready\n" },
                { G_LOG_LEVEL_MESSAGE, "04:05:06.789 notice   Ready\n" },
                { G_LOG_LEVEL_INFO, "04:05:06.789 info     Ready\n" },
                { G_LOG_LEVEL_DEBUG, "04:05:06.789 debug    Ready\n" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *line = format(cases[i].level, fields, 4, false);

                g_assert_cmpstr(line, ==, cases[i].line);
        }
}

static void
test_console_colours(void)
{
        const GLogField field = { "MESSAGE", "a", -1 };
        g_autofree char *warning = format(G_LOG_LEVEL_WARNING, &field, 1, true);
        g_autofree char *info = format(G_LOG_LEVEL_INFO, &field, 1, true);

        g_assert_cmpstr(warning, ==, "04:05:06.789 \033[1;33mwarning \033[0m a\n");
        g_assert_cmpstr(info, ==, "04:05:06.789 info     a\n");
}

static void
test_console_session(void)
{
        const GLogField fields[] = {
                { "AGITATOR_SESSION", "5f-12", -1 },
                { "MESSAGE", "No server", -1 },
        };
        const GLogField named[] = {
                { "MESSAGE", "Session 5f-12 ended", -1 },
                { "AGITATOR_SESSION", "5f-12", -1 },
        };
        g_autofree char *shown = format(G_LOG_LEVEL_INFO, fields, 2, false);
        g_autofree char *twice = format(G_LOG_LEVEL_INFO, named, 2, false);

        g_assert_cmpstr(shown, ==, "04:05:06.789 info     [5f-12] No server\n");
        g_assert_cmpstr(twice, ==, "04:05:06.789 info     Session 5f-12 ended\n");
}

static void
test_console_library(void)
{
        const GLogField fields[] = {
                { "GLIB_DOMAIN", "GLib-GIO", -1 },
                { "MESSAGE", "odd", -1 },
        };
        g_autofree char *line = format(G_LOG_LEVEL_WARNING, fields, 2, false);
        g_autofree char *none = format(G_LOG_LEVEL_WARNING, NULL, 0, false);

        g_assert_cmpstr(line, ==, "04:05:06.789 warning  GLib-GIO: odd\n");
        g_assert_cmpstr(none, ==, "04:05:06.789 warning  \n");
}

static void
test_console_escapes(void)
{
        static const struct {
                const char *message;
                gssize length;
                const char *text;
        } cases[] = {
                { "plain ~ \\ text", -1, "plain ~ \\ text" },
                { "a\nb\r\tc", -1, "a\\x0ab\\x0d\\x09c" },
                { "\033[31mred\x7f", -1, "\\x1b[31mred\\x7f" },
                { "a\0b", 3, "a\\x00b" },
                { "Zo\xc3\xab \xe2\x82\xac \xf0\x9f\x93\x9e", -1,
                  "Zo\xc3\xab \xe2\x82\xac \xf0\x9f\x93\x9e" },
                { "\xc2\x9b"
                  "31m",
                  -1, "\\xc2\\x9b31m" },
                { "\xc2\xa0", -1, "\xc2\xa0" },
                { "\xe2\x80\xae"
                  "abc",
                  -1, "\\xe2\\x80\\xaeabc" },
                { "\xe2\x80\xa8", -1, "\\xe2\\x80\\xa8" },
                { "\xff\xfe", -1, "\\xff\\xfe" },
                { "\xc3(", -1, "\\xc3(" },
                { "\xc0\x8a", -1, "\\xc0\\x8a" },
                { "\xed\xa0\x80", -1, "\\xed\\xa0\\x80" },
                { "cut \xe2\x82", -1, "cut \\xe2\\x82" },
                { "cut \xe2\x82\xac", 6, "cut \\xe2\\x82" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                const GLogField field = { "MESSAGE", cases[i].message, cases[i].length };
                g_autofree char *line = format(G_LOG_LEVEL_INFO, &field, 1, false);
                g_autofree char *wanted =
                        g_strdup_printf("04:05:06.789 info     %s\n", cases[i].text);

                g_assert_cmpstr(line, ==, wanted);
        }
}

static void
test_level(void)
{
        static const GLogLevelFlags levels[] = {
                G_LOG_LEVEL_ERROR,   G_LOG_LEVEL_CRITICAL, G_LOG_LEVEL_WARNING,
                G_LOG_LEVEL_MESSAGE, G_LOG_LEVEL_INFO,     G_LOG_LEVEL_DEBUG,
        };

        for (size_t i = 0; i < G_N_ELEMENTS(levels); i++) {
                log_configure(LOG_TARGET_CONSOLE, levels[i]);
                for (size_t j = 0; j < G_N_ELEMENTS(levels); j++) {
                        g_assert_true(log_is_enabled(levels[j]) == (j <= i));
                        g_assert_true(log_is_enabled(levels[j] | G_LOG_FLAG_FATAL) == (j <= i));
                }
        }
}

static void
test_records(void)
{
        Capture capture;
        const GLogField fields[] = {
                { "MESSAGE", "by array", -1 },
                { "AGITATOR_SESSION", "17", 2 },
                { "NOT_A_STRING", &capture, 0 },
        };

        if (!in_child())
                return;

        capture_start(&capture);
        log_start();

        g_message("first");
        g_debug("hidden");
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_INFO, "AGITATOR_SESSION", "16", "MESSAGE", "%s",
                         "second\n");
        g_log_structured_array(G_LOG_LEVEL_WARNING, fields, G_N_ELEMENTS(fields));
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_DEBUG);
        g_debug("shown");
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_WARNING);
        g_message("hidden");

        log_stop();
        capture_stop(&capture);

        g_assert_true(g_regex_match_simple("^[0-9:.]{12} notice   first\n"
                                           "[0-9:.]{12} info     \\[16\\] second\\\\x0a\n"
                                           "[0-9:.]{12} warning  \\[17\\] by array\n"
                                           "[0-9:.]{12} debug    shown\n$",
                                           capture.text->str, 0, 0));
        g_assert_cmpuint(log_get_dropped(), ==, 0);
        capture_clear(&capture);
}

static void
test_after_stop(void)
{
        Capture capture;
        char bytes[256] = { 0 };

        if (!in_child())
                return;

        capture_start(&capture);
        log_start();
        log_stop();
        log_stop();

        g_message("late");
        g_assert_cmpint(read(capture.read_fd, bytes, sizeof(bytes) - 1), >, 0);
        capture_stop(&capture);
        g_assert_nonnull(strstr(bytes, "notice   late\n"));
        capture_clear(&capture);
}

/* What the threads of a case share. */
typedef struct Work {
        int running; /* atomic */
} Work;

static void *
work_log(void *data)
{
        Work *work = data;

        for (unsigned i = 0; i < PER_THREAD; i++) {
                g_warning("always");
                if (log_is_enabled(G_LOG_LEVEL_DEBUG))
                        g_debug("sometimes");
                g_debug("sometimes");
        }
        __atomic_fetch_sub(&work->running, 1, __ATOMIC_RELAXED);

        return NULL;
}

static void *
work_configure(void *data)
{
        Work *work = data;

        while (__atomic_load_n(&work->running, __ATOMIC_RELAXED) > 0) {
                log_configure(LOG_TARGET_AUTO, G_LOG_LEVEL_DEBUG);
                log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
                log_get_dropped();
        }

        return NULL;
}

/* Every line is whole and every record that was not dropped is there, whoever stops the log when.
 */
static void
check_threads(bool stop_early)
{
        Capture capture;
        Work work = { .running = THREADS };
        pthread_t threads[THREADS], configurer;
        g_auto(GStrv) lines = NULL;
        guint64 always;

        capture_start(&capture);
        capture_read(&capture);
        log_start();

        for (size_t i = 0; i < THREADS; i++)
                g_assert_cmpint(pthread_create(&threads[i], NULL, work_log, &work), ==, 0);
        g_assert_cmpint(pthread_create(&configurer, NULL, work_configure, &work), ==, 0);
        if (stop_early)
                log_stop();
        for (size_t i = 0; i < THREADS; i++)
                pthread_join(threads[i], NULL);
        pthread_join(configurer, NULL);
        log_stop();
        capture_stop(&capture);

        always = count(&capture, " warning  always\n");
        g_assert_cmpuint(always, <=, THREADS * PER_THREAD);
        g_assert_cmpuint(always + log_get_dropped(), >=, THREADS * PER_THREAD);

        lines = g_strsplit(capture.text->str, "\n", -1);
        for (size_t i = 0; lines[i] && lines[i + 1]; i++)
                g_assert_true(g_str_has_suffix(lines[i], " warning  always") ||
                              g_str_has_suffix(lines[i], " debug    sometimes") ||
                              strstr(lines[i], " dropped: there was no room for "));
        capture_clear(&capture);
}

static void
test_threads(void)
{
        if (in_child())
                check_threads(false);
}

static void
test_threads_stop(void)
{
        if (in_child())
                check_threads(true);
}

/* Nobody reads stderr: the logging of twice what fits must come to its end nevertheless. */
static void
check_blocked(int flags)
{
        Capture capture;
        guint64 dropped;
        g_autofree char *told = NULL;

        capture_start(&capture);
        g_assert_cmpint(fcntl(STDERR_FILENO, F_SETFL, flags), ==, 0);
        log_start();

        /* As many of 200 bytes as a pipe holds and more, so that the thread comes to wait. */
        for (unsigned i = 0; i < 2 * FULL_RECORDS; i++)
                g_message("record %0200u", i);
        dropped = log_get_dropped();
        g_assert_cmpuint(dropped, >, 0);
        g_assert_cmpuint(dropped, <=, FULL_RECORDS);

        capture_read(&capture);
        log_stop();
        capture_stop(&capture);

        g_assert_cmpuint(log_get_dropped(), ==, dropped);
        g_assert_cmpuint(count(&capture, "notice   record "), ==, 2 * FULL_RECORDS - dropped);
        told = g_strdup_printf("warning  %" G_GUINT64_FORMAT " log records were dropped", dropped);
        g_assert_cmpuint(count(&capture, told), ==, 1);
        g_assert_cmpuint(count(&capture, "dropped"), ==, 1);
        capture_clear(&capture);
}

static void
test_blocked(void)
{
        if (in_child())
                check_blocked(0);
}

static void
test_blocked_nonblock(void)
{
        if (in_child())
                check_blocked(O_NONBLOCK);
}

static void
test_bytes(void)
{
        Capture capture;
        g_autofree char *big = g_strnfill(1024 * 1024, 'x');

        if (!in_child())
                return;

        capture_start(&capture);
        log_start();
        for (unsigned i = 0; i < 20; i++)
                g_message("%s", big);
        /* Seven fit into the queue; the first waits in the thread and counts still. */
        g_assert_cmpuint(log_get_dropped(), ==, 13);

        capture_read(&capture);
        log_stop();
        capture_stop(&capture);
        g_assert_cmpuint(count(&capture, "notice   xx"), ==, 7);
        capture_clear(&capture);
}

/* However many debug records there are, others find room. */
static void
test_debug_has_half(void)
{
        Capture capture;
        guint64 dropped;

        if (!in_child())
                return;

        capture_start(&capture);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_DEBUG);
        for (unsigned i = 0; i < FULL_RECORDS; i++)
                g_debug("record %0200u", i);
        dropped = log_get_dropped();
        g_assert_cmpuint(dropped, >=, FULL_RECORDS / 2 - 1024);
        for (unsigned i = 0; i < FULL_RECORDS / 4; i++)
                g_message("important %u", i);
        g_assert_cmpuint(log_get_dropped(), ==, dropped);

        capture_read(&capture);
        log_stop();
        capture_stop(&capture);
        g_assert_cmpuint(count(&capture, "notice   important "), ==, FULL_RECORDS / 4);
        g_assert_cmpuint(count(&capture, "debug    record "), ==, FULL_RECORDS - dropped);
        capture_clear(&capture);
}

static void
test_debug_always(void)
{
        const GLogField fields[] = { { "MESSAGE", "said", -1 }, { "AGITATOR_SESSION", "17", -1 } };
        Capture capture;

        if (!in_child())
                return;

        capture_start(&capture);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_WARNING);
        g_debug("hidden");
        log_debug_always(fields, G_N_ELEMENTS(fields));
        log_stop();
        capture_stop(&capture);

        g_assert_true(g_regex_match_simple("^[0-9:.]{12} debug    \\[17\\] said\n$",
                                           capture.text->str, 0, 0));
        capture_clear(&capture);
}

/* One too many of a library's words; the count comes at the end at the latest. */
static void
test_repeated(void)
{
        Capture capture;

        if (!in_child())
                return;

        capture_start(&capture);
        log_limit_configure(2, G_TIME_SPAN_HOUR);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
        for (unsigned i = 0; i < 100; i++)
                g_warning("odd");
        log_stop();
        g_warning("odd");
        capture_stop(&capture);

        g_assert_cmpuint(count(&capture, " odd\n"), ==, 2 + 1 + 1);
        g_assert_cmpuint(count(&capture, "warning  98 more within 0.0 s: odd\n"), ==, 1);
        capture_clear(&capture);
}

static void
test_stop_blocked(void)
{
        Capture capture;
        gint64 before, took;

        if (!in_child())
                return;

        capture_start(&capture);
        log_start();
        for (unsigned i = 0; i < 1000; i++)
                g_message("record %0200u", i);

        before = g_get_monotonic_time();
        log_stop();
        took = g_get_monotonic_time() - before;
        g_message("nobody waits for this one");

        /* The thread holds the pipe's other end for ever: no capture_stop(). */
        g_assert_cmpint(dup2(capture.saved_fd, STDERR_FILENO), ==, STDERR_FILENO);
        g_assert_cmpint(took, >=, 2 * G_TIME_SPAN_SECOND);
        g_assert_cmpint(took, <, 30 * G_TIME_SPAN_SECOND);
        capture_clear(&capture);
}

static void
test_no_reader(void)
{
        Capture capture;
        sigset_t pending;

        if (!in_child())
                return;

        signal(SIGPIPE, SIG_DFL);
        capture_start(&capture);
        fd_clear(&capture.read_fd);
        log_start();
        g_message("to nobody");
        log_stop();
        g_message("to nobody at once");

        g_assert_cmpint(dup2(capture.saved_fd, STDERR_FILENO), ==, STDERR_FILENO);
        g_assert_cmpuint(log_get_dropped(), >=, 2);
        g_assert_cmpint(sigpending(&pending), ==, 0);
        g_assert_cmpint(sigismember(&pending, SIGPIPE), ==, 0);
        capture_clear(&capture);
}

/* What was lost is counted once, however often that could not be told. */
static void
test_lost_for_a_while(void)
{
        Capture capture;
        fd_auto int good = -1;
        fd_auto int full = -1;

        if (!in_child())
                return;

        capture_start(&capture);
        good = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        full = open("/dev/full", O_WRONLY | O_CLOEXEC);
        g_assert_cmpint(dup2(full, STDERR_FILENO), ==, STDERR_FILENO);
        log_start();
        for (unsigned i = 1; i <= 3; i++) {
                g_message("lost");
                while (log_get_dropped() < i)
                        g_usleep(1000);
        }

        g_assert_cmpint(dup2(good, STDERR_FILENO), ==, STDERR_FILENO);
        fd_clear(&good);
        g_message("back");
        log_stop();
        capture_stop(&capture);

        g_assert_cmpuint(log_get_dropped(), ==, 3);
        g_assert_cmpuint(count(&capture, "lost"), ==, 0);
        g_assert_cmpuint(count(&capture, "notice   back"), ==, 1);
        g_assert_cmpuint(count(&capture, "warning  3 log records were dropped: "), ==, 1);
        g_assert_cmpuint(count(&capture, "dropped"), ==, 1);
        capture_clear(&capture);
}

static void
test_fatal(void)
{
        if (g_test_subprocess()) {
                log_start();
                log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
                g_message("what came before");
                g_error("and the %s", "end");
        }

        g_test_trap_subprocess(NULL, 0, 0);
        g_test_trap_assert_failed();
        g_test_trap_assert_stderr("*notice   what came before\n*error    and the end\n*");
}

static void
test_no_journal(void)
{
        Capture capture;

        if (g_file_test("/run/systemd/journal/socket", G_FILE_TEST_EXISTS)) {
                g_test_skip("a journal runs here and would take the record");
                return;
        }
        if (!in_child())
                return;

        capture_start(&capture);
        log_start();
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
        g_message("one");
        log_configure(LOG_TARGET_JOURNAL, G_LOG_LEVEL_INFO);
        g_message("two");
        log_configure(LOG_TARGET_CONSOLE, G_LOG_LEVEL_INFO);
        g_message("three");
        log_stop();
        capture_stop(&capture);

        g_assert_true(
                g_regex_match_simple("^.* one\n.* two\n.* three\n$", capture.text->str, 0, 0));
        g_assert_cmpuint(log_get_dropped(), ==, 0);
        capture_clear(&capture);
}

int
main(int argc, char **argv)
{
        g_setenv("TZ", "UTC", TRUE);
        /* For the children: GLib's slices go from thread to thread unseen by ThreadSanitizer. */
        g_setenv("G_SLICE", "always-malloc", TRUE);
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/log/console/line-has-time-level-message", test_console_line);
        g_test_add_func("/log/console/level-coloured", test_console_colours);
        g_test_add_func("/log/console/session-in-front-unless-named", test_console_session);
        g_test_add_func("/log/console/library-named", test_console_library);
        g_test_add_func("/log/console/peer-cannot-forge-a-line", test_console_escapes);
        g_test_add_func("/log/level/least-important-wanted", test_level);
        g_test_add_func("/log/records/in-order-and-by-level", test_records);
        g_test_add_func("/log/records/at-once-after-stop", test_after_stop);
        g_test_add_func("/log/threads/log-while-reconfigured", test_threads);
        g_test_add_func("/log/threads/log-while-stopped", test_threads_stop);
        g_test_add_func("/log/queue/blocked-sink-drops-and-tells", test_blocked);
        g_test_add_func("/log/queue/blocked-sink-that-says-so", test_blocked_nonblock);
        g_test_add_func("/log/queue/bounded-in-bytes", test_bytes);
        g_test_add_func("/log/queue/debug-has-half-of-it", test_debug_has_half);
        g_test_add_func("/log/records/debug-at-any-level", test_debug_always);
        g_test_add_func("/log/records/one-too-many-is-counted", test_repeated);
        g_test_add_func("/log/stop/does-not-wait-for-ever", test_stop_blocked);
        g_test_add_func("/log/stderr/survives-a-lost-reader", test_no_reader);
        g_test_add_func("/log/stderr/lost-for-a-while", test_lost_for_a_while);
        g_test_add_func("/log/fatal/written-before-the-end", test_fatal);
        g_test_add_func("/log/journal/stderr-when-there-is-none", test_no_journal);

        return g_test_run();
}
