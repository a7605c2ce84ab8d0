/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TCP_USER_TIMEOUT would do for a peer that vanished, but it also ends connections to one that is
 * there and has no room for a while. For a log that is no failure, so we look by ourselves.
 */

#include "daemon/syslog-socket.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

#define SEND_BUFFER  (256 * 1024)
#define SILENCE      30 /* seconds before the first question, */
#define INTERVAL     10 /* between two, */
#define QUESTIONS    3  /* and how many without an answer mean the end */
#define TRIES        6  /* to send the same bytes, each after twice the time of the last */
#define MEASUREMENTS 16
#define STATE_CLOSED 7 /* of tcpi_state: TCP_CLOSE, which only <netinet/tcp.h> has */

int
syslog_socket_open_datagram(const Address *address)
{
        fd_auto int fd =
                socket(address->any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, &address->any, address->length) < 0)
                return FD_NONE;

        return fd_steal(&fd);
}

static void
set_option(int fd, int level, int name, int value)
{
        /* Not on a Unix socket, where none is needed. */
        if (setsockopt(fd, level, name, &value, sizeof(value)) < 0)
                g_assert(errno != EBADF && errno != ENOTSOCK);
}

void
syslog_socket_set_up(int fd)
{
        set_option(fd, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER / 2); /* the kernel doubles it */
        set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, SILENCE);
        set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, INTERVAL);
        set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, QUESTIONS);
}

static bool
get_info(int fd, struct tcp_info *info)
{
        socklen_t length = sizeof(*info);

        *info = (struct tcp_info){ 0 };

        return getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &length) == 0 &&
               length > G_STRUCT_OFFSET(struct tcp_info, tcpi_bytes_received);
}

bool
syslog_socket_get_places(int fd, SyslogPlaces *places)
{
        struct tcp_info before, after;
        int unacked;

        if (!get_info(fd, &before))
                return false;

        /* The two counts are of one moment when nothing came in between. */
        for (int i = 0; i < MEASUREMENTS; i++) {
                if (ioctl(fd, SIOCOUTQ, &unacked) < 0 || !get_info(fd, &after))
                        return false;
                if (after.tcpi_bytes_acked == before.tcpi_bytes_acked)
                        break;
                before = after;
        }

        *places = (SyslogPlaces){
                .acked = after.tcpi_bytes_acked,
                .given = after.tcpi_bytes_acked + (uint64_t)unacked,
                .window = after.tcpi_snd_wnd,
        };

        return true;
}

bool
syslog_socket_is_dead(int fd)
{
        struct tcp_info info;

        return get_info(fd, &info) && (info.tcpi_retransmits >= TRIES || info.tcpi_probes >= TRIES);
}

bool
syslog_socket_is_reset(int fd)
{
        struct tcp_info info;

        return !get_info(fd, &info) || info.tcpi_state == STATE_CLOSED;
}

char *
syslog_socket_get_hostname(const char *configured)
{
        char name[256] = { 0 };

        if (configured && *configured)
                return g_strdup(configured);
        if (gethostname(name, sizeof(name) - 1) < 0 || !*name)
                return g_strdup("-");

        for (char *p = name; *p; p++)
                if (!g_ascii_isgraph(*p))
                        *p = '?';

        return g_strdup(name);
}
