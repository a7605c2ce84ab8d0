/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The protocol is lines of one datagram, so what goes into a line must be one. That a message could
 * not be sent is no reason to do anything else: the service manager will find out by itself. But
 * it is tried again where a descriptor or memory was all that it lacked.
 */

#include "daemon/notify.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>

#include <systemd/sd-daemon.h>

#include "base/fd.h"

#define TRIES 3

/* @change: 1 or 0 to set it, -1 to leave it. */
static bool
notify_silence(int change)
{
        static bool is_silent;

        if (change >= 0)
                is_silent = change;

        return is_silent;
}

void
notify_set_silent(bool is_silent)
{
        notify_silence(is_silent);
}

/* sd_notify() needs a descriptor each time, so one is kept for it, which it nearly always gets:
 * were a successor's MAINPID= lost, the service would be over for the service manager when this
 * process ends. */
static int
notify_try(const char *message)
{
        static int spare = FD_NONE;
        int result = -EMFILE;

        if (!g_getenv("NOTIFY_SOCKET"))
                return 0;

        for (unsigned tries = 0; tries < TRIES && fd_is_shortage(-result); tries++) {
                fd_clear(&spare);
                result = sd_notify(0, message);
                spare = eventfd(0, EFD_CLOEXEC);
        }

        return result;
}

static void
notify_send(const char *message)
{
        int result = notify_silence(-1) ? 0 : notify_try(message);

        if (result < 0)
                g_debug("The service manager was not told: %s", g_strerror(-result));
}

void
notify_main_pid(pid_t pid)
{
        g_autofree char *message = g_strdup_printf("MAINPID=%ld", (long)pid);

        notify_send(message);
}

void
notify_ready(void)
{
        notify_send("READY=1");
}

void
notify_reloading(void)
{
        g_autofree char *message = NULL;

        /* By the time stamp it tells the answer to this reload from one to an earlier request. */
        message = g_strdup_printf("RELOADING=1\nMONOTONIC_USEC=%" PRId64, g_get_monotonic_time());
        notify_send(message);
}

void
notify_stopping(void)
{
        notify_send("STOPPING=1");
}

void
notify_status(const char *format, ...)
{
        static char *last;
        g_autofree char *text = NULL;
        g_autofree char *valid = NULL;
        g_autofree char *message = NULL;
        va_list args;

        va_start(args, format);
        text = g_strdup_vprintf(format, args);
        va_end(args);

        if (notify_silence(-1) || g_strcmp0(text, last) == 0)
                return;

        /* It can hold what stands in a file: no other line may come of it, and systemd refuses
         * what is not UTF-8. */
        valid = g_utf8_make_valid(text, -1);
        message = g_strdup_printf("STATUS=%s", g_strdelimit(valid, "\r\n", ' '));
        notify_send(message);

        g_free(last);
        last = g_steal_pointer(&text);
}

void
notify_extend_timeout(gint64 extension)
{
        g_autofree char *message = g_strdup_printf("EXTEND_TIMEOUT_USEC=%" PRId64, extension);

        notify_send(message);
}

void
notify_watchdog(void)
{
        notify_send("WATCHDOG=1");
}

gint64
notify_get_watchdog_interval(void)
{
        uint64_t limit = 0;

        if (sd_watchdog_enabled(0, &limit) <= 0)
                return 0;

        return (gint64)MIN(limit / 2, (uint64_t)G_MAXINT64);
}
