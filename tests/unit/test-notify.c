/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Plays the service manager: a datagram socket that NOTIFY_SOCKET= names. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/notify.h"

typedef struct Manager {
        int fd;
        char text[4096];
} Manager;

/* An abstract name that the kernel chooses. */
static void
manager_start(Manager *manager)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        socklen_t length = sizeof(sa_family_t);
        g_autofree char *name = NULL;

        manager->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        g_assert_cmpint(manager->fd, >=, 0);
        g_assert_cmpint(bind(manager->fd, (struct sockaddr *)&address, length), ==, 0);
        length = sizeof(address);
        g_assert_cmpint(getsockname(manager->fd, (struct sockaddr *)&address, &length), ==, 0);

        name = g_strdup_printf("@%.*s", (int)(length - offsetof(struct sockaddr_un, sun_path) - 1),
                               address.sun_path + 1);
        g_setenv("NOTIFY_SOCKET", name, TRUE);
}

static void
manager_stop(Manager *manager)
{
        g_unsetenv("NOTIFY_SOCKET");
        fd_clear(&manager->fd);
}

/* A datagram on a Unix socket is there as soon as it was sent: NULL when none was. */
static const char *
manager_receive(Manager *manager)
{
        ssize_t n = recv(manager->fd, manager->text, sizeof(manager->text) - 1, 0);

        if (n < 0) {
                g_assert_cmpint(errno, ==, EAGAIN);
                return NULL;
        }
        manager->text[n] = '\0';

        return manager->text;
}

static void
test_events(void)
{
        Manager manager;

        manager_start(&manager);

        notify_ready();
        g_assert_cmpstr(manager_receive(&manager), ==, "READY=1");
        notify_stopping();
        g_assert_cmpstr(manager_receive(&manager), ==, "STOPPING=1");
        notify_watchdog();
        g_assert_cmpstr(manager_receive(&manager), ==, "WATCHDOG=1");
        notify_extend_timeout(30 * G_TIME_SPAN_SECOND);
        g_assert_cmpstr(manager_receive(&manager), ==, "EXTEND_TIMEOUT_USEC=30000000");
        g_assert_null(manager_receive(&manager));

        manager_stop(&manager);
}

static void
test_reloading(void)
{
        Manager manager;
        gint64 before = g_get_monotonic_time(), when;
        const char *begin = "RELOADING=1\nMONOTONIC_USEC=", *text;
        char *end;

        manager_start(&manager);

        notify_reloading();
        text = manager_receive(&manager);
        g_assert_true(g_str_has_prefix(text, begin));
        when = g_ascii_strtoll(text + strlen(begin), &end, 10);
        g_assert_cmpstr(end, ==, "");
        g_assert_cmpint(when, >=, before);
        g_assert_cmpint(when, <=, g_get_monotonic_time());

        manager_stop(&manager);
}

static void
test_status_changes(void)
{
        Manager manager;

        manager_start(&manager);

        notify_status("%d sessions", 1);
        g_assert_cmpstr(manager_receive(&manager), ==, "STATUS=1 sessions");
        notify_status("%d sessions", 1);
        g_assert_null(manager_receive(&manager));
        notify_status("%d sessions", 2);
        g_assert_cmpstr(manager_receive(&manager), ==, "STATUS=2 sessions");
        notify_status("%d sessions", 1);
        g_assert_cmpstr(manager_receive(&manager), ==, "STATUS=1 sessions");

        manager_stop(&manager);
}

static void
test_status_is_one_line(void)
{
        Manager manager;

        manager_start(&manager);

        notify_status("%s", "bad key\nREADY=1\r\xff");
        g_assert_cmpstr(manager_receive(&manager), ==, "STATUS=bad key READY=1 \xef\xbf\xbd");

        manager_stop(&manager);
}

static void
test_watchdog(void)
{
        g_autofree char *self = g_strdup_printf("%d", (int)getpid());

        g_unsetenv("WATCHDOG_USEC");
        g_unsetenv("WATCHDOG_PID");
        g_assert_cmpint(notify_get_watchdog_interval(), ==, 0);

        g_setenv("WATCHDOG_USEC", "20000000", TRUE);
        g_setenv("WATCHDOG_PID", self, TRUE);
        g_assert_cmpint(notify_get_watchdog_interval(), ==, 10 * G_TIME_SPAN_SECOND);

        g_setenv("WATCHDOG_PID", "1", TRUE);
        g_assert_cmpint(notify_get_watchdog_interval(), ==, 0);
}

static void
test_nobody(void)
{
        notify_ready();
        notify_reloading();
        notify_status("nobody listens");
        notify_extend_timeout(1);
        notify_watchdog();
        notify_stopping();

        g_setenv("NOTIFY_SOCKET", "@agitator-test-nobody-is-here", TRUE);
        notify_ready();
        g_unsetenv("NOTIFY_SOCKET");
}

int
main(int argc, char **argv)
{
        g_unsetenv("NOTIFY_SOCKET");
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/notify/event-is-one-datagram", test_events);
        g_test_add_func("/notify/reloading-says-when", test_reloading);
        g_test_add_func("/notify/status-sent-when-it-changes", test_status_changes);
        g_test_add_func("/notify/status-stays-one-line", test_status_is_one_line);
        g_test_add_func("/notify/watchdog-at-half-time", test_watchdog);
        g_test_add_func("/notify/without-a-manager-nothing-happens", test_nobody);

        return g_test_run();
}
