/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Lines on stderr, for whoever runs agitator by hand or in a container. What stands in a field may
 * come from a peer, so that a record must stay one line and be nothing but text, whatever it holds.
 *
 * stderr may be anything: a pipe without a reader must not kill us, and one that nobody empties
 * holds up the log thread only, or a caller no longer than it agreed to.
 */

#include "base/log-console.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log-record.h"
#include "base/log-text.h"

#define COLOUR_NONE "\033[0m"

typedef struct Level {
        GLogLevelFlags level;
        const char *word;
        const char *colour;
} Level;

/* Words as the journal has them; what GLib calls a message is a notice there. */
static const Level levels[] = {
        { G_LOG_LEVEL_ERROR, "error", "\033[1;31m" },
        { G_LOG_LEVEL_CRITICAL, "critical", "\033[1;31m" },
        { G_LOG_LEVEL_WARNING, "warning", "\033[1;33m" },
        { G_LOG_LEVEL_MESSAGE, "notice", "\033[1m" },
        { G_LOG_LEVEL_INFO, "info", "" },
        { G_LOG_LEVEL_DEBUG, "debug", "\033[2m" },
};

bool
log_console_has_colours(void)
{
        return isatty(STDERR_FILENO) && !g_getenv("NO_COLOR");
}

static const Level *
log_console_find_level(GLogLevelFlags level)
{
        for (size_t i = 0; i < G_N_ELEMENTS(levels); i++)
                if (level & levels[i].level)
                        return &levels[i];

        return &levels[G_N_ELEMENTS(levels) - 1];
}

static void
log_console_format_time(GString *text, gint64 time)
{
        time_t seconds = (time_t)(time / G_USEC_PER_SEC);
        struct tm local = { 0 };

        localtime_r(&seconds, &local);
        g_string_append_printf(text, "%02d:%02d:%02d.%03d ", local.tm_hour, local.tm_min,
                               local.tm_sec, (int)(time % G_USEC_PER_SEC / 1000));
}

void
log_console_format(GString *text,
                   gint64 time,
                   GLogLevelFlags level,
                   const GLogField *fields,
                   size_t n_fields,
                   bool colours)
{
        const Level *found = log_console_find_level(level);
        const GLogField *message = log_field_find(fields, n_fields, "MESSAGE");
        const GLogField *session = log_field_find(fields, n_fields, "AGITATOR_SESSION");
        const GLogField *domain = log_field_find(fields, n_fields, "GLIB_DOMAIN");

        log_console_format_time(text, time);
        g_string_append_printf(text, "%s%-8s%s ", colours ? found->colour : "", found->word,
                               colours && *found->colour ? COLOUR_NONE : "");

        if (session && !(message && memmem(message->value, log_field_get_length(message),
                                           session->value, log_field_get_length(session)))) {
                g_string_append_c(text, '[');
                log_text_append(text, session->value, log_field_get_length(session));
                g_string_append(text, "] ");
        }
        /* A library speaks. */
        if (domain && strcmp(domain->value, G_LOG_DOMAIN) != 0) {
                log_text_append(text, domain->value, log_field_get_length(domain));
                g_string_append(text, ": ");
        }
        if (message)
                log_text_append(text, message->value, log_field_get_length(message));
        g_string_append_c(text, '\n');
}

/* False when there is no room by @due. */
static bool
log_console_wait(gint64 due)
{
        struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
        int timeout = -1, result;

        do {
                if (due >= 0) {
                        gint64 left = MAX(due - g_get_monotonic_time(), 0);

                        timeout = (int)MIN((left + 999) / 1000, INT_MAX);
                }
                result = poll(&room, 1, timeout);
        } while (result < 0 && errno == EINTR);

        return result > 0;
}

static bool
log_console_write_all(const char *text, size_t n, gint64 patience)
{
        gint64 due = patience < 0 ? -1 : g_get_monotonic_time() + patience;

        while (n > 0) {
                /* stderr blocks as a rule. Where poll() sees room there is room for so much. */
                size_t size = due < 0 ? n : MIN(n, PIPE_BUF);
                ssize_t written;

                if (due >= 0 && !log_console_wait(due))
                        return false;

                written = write(STDERR_FILENO, text, size);
                if (written >= 0) {
                        text += written;
                        n -= (size_t)written;
                } else if (errno == EAGAIN) {
                        if (!log_console_wait(due))
                                return false;
                } else if (errno != EINTR) {
                        return false;
                }
        }

        return true;
}

bool
log_console_write(const char *text, size_t n, gint64 patience)
{
        const struct timespec now = { 0 };
        sigset_t pipe_signal, blocked, pending;
        bool written;

        sigemptyset(&pipe_signal);
        sigaddset(&pipe_signal, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe_signal, &blocked);
        sigpending(&pending);

        written = log_console_write_all(text, n, patience);

        /* Whoever had SIGPIPE blocked and pending before gets it as it was. */
        if (!written && !sigismember(&pending, SIGPIPE))
                sigtimedwait(&pipe_signal, NULL, &now);
        pthread_sigmask(SIG_SETMASK, &blocked, NULL);

        return written;
}
