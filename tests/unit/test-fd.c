/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

static int
get_option(int fd, int level, int name)
{
        int value = -1;
        socklen_t length = sizeof(value);

        g_assert_cmpint(getsockopt(fd, level, name, &value, &length), ==, 0);

        return value;
}

static bool
is_open(int fd)
{
        return fcntl(fd, F_GETFD) >= 0;
}

static void
test_auto(void)
{
        int number;

        {
                fd_auto int fd = socket(AF_UNIX, SOCK_STREAM, 0);

                g_assert_cmpint(fd, >=, 0);
                number = fd;
        }
        g_assert_false(is_open(number));
}

static void
test_steal(void)
{
        fd_auto int kept = FD_NONE;

        {
                fd_auto int fd = socket(AF_UNIX, SOCK_STREAM, 0);

                kept = fd_steal(&fd);
                g_assert_cmpint(fd, ==, FD_NONE);
        }
        g_assert_true(is_open(kept));
}

static void
test_clear(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM, 0), number = fd;

        errno = ENOMSG;
        fd_clear(&fd);
        g_assert_cmpint(fd, ==, FD_NONE);
        g_assert_false(is_open(number));

        errno = ENOMSG;
        fd_clear(&fd);
        g_assert_cmpint(errno, ==, ENOMSG);
}

static void
test_clear_keeps_errno(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        errno = ENOMSG;
        fd_clear(&fd);
        g_assert_cmpint(errno, ==, ENOMSG);
}

static void
test_tcp(gconstpointer family)
{
        fd_auto int fd = socket(GPOINTER_TO_INT(family), SOCK_STREAM, 0);
        struct linger linger = { 0 };
        socklen_t length = sizeof(linger);

        if (fd < 0 && errno == EAFNOSUPPORT) {
                g_test_skip("the kernel does not have this family");
                return;
        }
        g_assert_cmpint(fd, >=, 0);

        fd_set_keepalive(fd);
        g_assert_cmpint(get_option(fd, SOL_SOCKET, SO_KEEPALIVE), ==, 1);
        g_assert_cmpint(get_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), ==, FD_KEEPALIVE_IDLE);
        g_assert_cmpint(get_option(fd, IPPROTO_TCP, TCP_KEEPINTVL), ==, FD_KEEPALIVE_INTERVAL);
        g_assert_cmpint(get_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), ==,
                        FD_KEEPALIVE_BOUND * 1000);

        fd_set_nodelay(fd);
        g_assert_cmpint(get_option(fd, IPPROTO_TCP, TCP_NODELAY), !=, 0);

        fd_set_reset(fd);
        g_assert_cmpint(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length), ==, 0);
        g_assert_cmpint(linger.l_onoff, !=, 0);
        g_assert_cmpint(linger.l_linger, ==, 0);
}

static void
test_unix(void)
{
        fd_auto int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        fd_set_keepalive(fd);
        fd_set_nodelay(fd);
        fd_set_reset(fd);
        g_assert_cmpint(get_option(fd, SOL_SOCKET, SO_KEEPALIVE), ==, 0);
}

static void
test_flushed(void)
{
        int pair[2];
        char bytes[16];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
        g_assert_true(fd_is_flushed(pair[0]));
        g_assert_cmpint(write(pair[0], "HANGUP\n", 7), ==, 7);
        g_assert_false(fd_is_flushed(pair[0]));
        g_assert_cmpint(read(pair[1], bytes, sizeof(bytes)), ==, 7);
        g_assert_true(fd_is_flushed(pair[0]));

        fd_clear(&pair[0]);
        fd_clear(&pair[1]);
}

static void
test_limit(void)
{
        struct rlimit limit;
        rlim_t hard;

        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        hard = limit.rlim_max;
        limit.rlim_cur = MIN(hard, 64);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);

        g_assert_cmpuint(fd_raise_limit(), ==, MIN(hard, G_MAXUINT));
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        g_assert_cmpuint(limit.rlim_cur, ==, hard);
}

static void
test_standard(void)
{
        if (!g_test_subprocess()) {
                g_test_trap_subprocess(NULL, 0, 0);
                g_test_trap_assert_passed();
                return;
        }

        for (int closed = 0; closed < 8; closed++) {
                fd_auto int next = FD_NONE;

                for (int fd = 0; fd <= STDERR_FILENO; fd++) {
                        if (closed & 1 << fd)
                                close(fd);
                }
                fd_open_standard();

                for (int fd = 0; fd <= STDERR_FILENO; fd++)
                        g_assert_true(is_open(fd));
                next = socket(AF_UNIX, SOCK_STREAM, 0);
                g_assert_cmpint(next, >, STDERR_FILENO);
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/fd/auto/closed-at-the-end-of-its-block", test_auto);
        g_test_add_func("/fd/steal/stays-open", test_steal);
        g_test_add_func("/fd/clear/closes-once", test_clear);
        g_test_add_func("/fd/clear/keeps-errno", test_clear_keeps_errno);
        g_test_add_func("/fd/standard/what-is-missing-is-opened", test_standard);
        g_test_add_data_func("/fd/options/set-on-ipv4", GINT_TO_POINTER(AF_INET), test_tcp);
        g_test_add_data_func("/fd/options/set-on-ipv6", GINT_TO_POINTER(AF_INET6), test_tcp);
        g_test_add_func("/fd/options/no-effect-on-unix-sockets", test_unix);
        g_test_add_func("/fd/flushed/when-the-peer-has-it-all", test_flushed);
        g_test_add_func("/fd/limit/raised-to-the-hard-one", test_limit);

        return g_test_run();
}
