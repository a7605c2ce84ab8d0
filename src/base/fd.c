/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Socket options are set and not asked about first: the kernel refuses the ones of TCP on a Unix
 * socket, which costs no more than the question would, and is what the caller wants there.
 */

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

void
fd_clear(int *fd)
{
        int saved = errno;
        int result;

        if (*fd == FD_NONE)
                return;

        /* Whatever else it says, close() has closed. EBADF: it was closed before, and the number
         * may by now be somebody else's. */
        result = close(*fd);
        g_assert(result == 0 || errno != EBADF);
        *fd = FD_NONE;
        errno = saved;
}

int
fd_steal(int *fd)
{
        int stolen = *fd;

        *fd = FD_NONE;
        return stolen;
}

void
fd_open_standard(void)
{
        int fd;

        /* The lowest number that is free is taken. Where there is no /dev/null a descriptor that
         * can only be closed will do. */
        do {
                fd = open("/dev/null", O_RDWR);
                if (fd < 0)
                        fd = open("/", O_PATH);
        } while (fd >= STDIN_FILENO && fd <= STDERR_FILENO);

        if (fd > STDERR_FILENO)
                close(fd);
}

static bool
fd_set_option(int fd, int level, int name, int value)
{
        if (setsockopt(fd, level, name, &value, sizeof(value)) == 0)
                return true;

        g_assert(errno != EBADF && errno != ENOTSOCK);
        return false;
}

void
fd_set_keepalive(int fd)
{
        /* It bounds both: data that is not acknowledged, and, in place of TCP_KEEPCNT, silence. */
        if (!fd_set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, FD_KEEPALIVE_BOUND * 1000))
                return;

        fd_set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, FD_KEEPALIVE_IDLE);
        fd_set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, FD_KEEPALIVE_INTERVAL);
        fd_set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

void
fd_set_nodelay(int fd)
{
        fd_set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void
fd_set_reset(int fd)
{
        const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

        if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
                g_assert(errno != EBADF && errno != ENOTSOCK);
}

bool
fd_is_flushed(int fd)
{
        int unsent = 0;

        return ioctl(fd, SIOCOUTQ, &unsent) < 0 || unsent == 0;
}

unsigned
fd_raise_limit(void)
{
        struct rlimit limit, raised;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return FD_SETSIZE;

        raised = (struct rlimit){ .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
                limit = raised;

        return (unsigned)MIN(limit.rlim_cur, UINT_MAX);
}

const char *
fd_get_remedy(int error)
{
        switch (error) {
        case ENOMEM:
        case ENOBUFS:
                return "MemoryMax=";
        case ENFILE:
                return "the sysctl fs.file-max";
        case ENOSPC:
                return "the sysctl fs.epoll.max_user_watches";
        default:
                return "LimitNOFILE=";
        }
}
