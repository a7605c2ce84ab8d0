/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An edge is what epoll(7) calls one: something has come about, and then all that is true of the
 * socket at that moment is reported. Room to write is told of only to who has found none.
 */

#include "kernel.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define EPOLL_FD (KERNEL_FD - 1)

static Kernel kernel;

/* The linker's names: __wrap_f is called in place of f, which __real_f still is. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the linker wants them so.
 */
int __real_close(int fd);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __real_ioctl(int fd, unsigned long request, void *argument);
ssize_t __real_recv(int fd, void *data, size_t size, int flags);
ssize_t __real_send(int fd, const void *data, size_t size, int flags);
int __real_shutdown(int fd, int how);
int __real_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_socket(int family, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_close(int fd);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length);
int __wrap_ioctl(int fd, unsigned long request, void *argument);
int __wrap_shutdown(int fd, int how);
ssize_t __wrap_recv(int fd, void *data, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_ctl(int set, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int set, struct epoll_event *events, int max, int timeout);
gint64 __wrap_g_get_monotonic_time(void);

/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

Kernel *
kernel_get(void)
{
        return &kernel;
}

void
kernel_start(KernelTurn turn, void *data)
{
        kernel = (Kernel){ .now = 1000 * G_TIME_SPAN_SECOND, .turn = turn, .data = data };
}

void
kernel_stop(void)
{
        for (unsigned i = 0; i < kernel.n_sockets; i++) {
                g_string_free(kernel.sockets[i].in, TRUE);
                g_string_free(kernel.sockets[i].out, TRUE);
        }
        kernel = (Kernel){ .n_sockets = 0 };
}

static int
kernel_fail(int error)
{
        errno = error;

        return -1;
}

static int
kernel_open(void)
{
        KernelSocket *new = &kernel.sockets[kernel.n_sockets];

        g_assert_cmpuint(kernel.n_sockets, <, KERNEL_SOCKETS);
        *new = (KernelSocket){ .is_open = true, .window = SIZE_MAX, .chunk = SIZE_MAX };
        new->in = g_string_new(NULL);
        new->out = g_string_new(NULL);

        return KERNEL_FD + (int)kernel.n_sockets++;
}

int
kernel_accept(void)
{
        return kernel_open();
}

KernelSocket *
kernel_get_socket(int fd)
{
        g_assert_cmpint(fd, <, KERNEL_FD + (int)kernel.n_sockets);

        return &kernel.sockets[fd - KERNEL_FD];
}

/* One that the program has not closed: whatever else it does to it is a mistake. */
static KernelSocket *
kernel_use(int fd)
{
        KernelSocket *used = kernel_get_socket(fd);

        g_assert_true(used->is_open);

        return used;
}

unsigned
kernel_count_open(void)
{
        unsigned n = 0;

        for (unsigned i = 0; i < kernel.n_sockets; i++)
                n += kernel.sockets[i].is_open;

        return n;
}

/* The peer */

void
kernel_send(KernelSocket *socket, const char *bytes, size_t size)
{
        if (!socket->is_open || socket->connecting || socket->in_end || socket->is_dead)
                return;

        g_string_append_len(socket->in, bytes, (gssize)size);
        socket->is_edge |= size > 0;
}

void
kernel_end(KernelSocket *socket)
{
        if (!socket->is_open || socket->connecting || socket->in_end || socket->is_dead)
                return;

        socket->in_end = true;
        socket->is_edge = true;
}

void
kernel_reset(KernelSocket *socket)
{
        if (!socket->is_open || socket->connecting || socket->is_dead)
                return;

        socket->is_dead = true;
        socket->error = socket->in_end ? EPIPE : ECONNRESET;
        socket->is_edge = true;
}

void
kernel_connect(KernelSocket *socket, bool accepts)
{
        if (!socket->is_open || !socket->connecting)
                return;

        socket->connecting = false;
        socket->is_edge = true;
        if (!accepts) {
                socket->is_dead = true;
                socket->error = ECONNREFUSED;
        }
}

void
kernel_open_window(KernelSocket *socket, size_t window)
{
        socket->window = window;
        if (window > 0 && socket->wants_room) {
                socket->wants_room = false;
                socket->is_edge = true;
        }
}

/* The program */

int
__wrap_socket(int family, int type, int protocol)
{
        int error = kernel.socket_error;
        int fd;

        kernel.socket_error = 0;
        if (kernel.n_sockets == KERNEL_SOCKETS)
                error = EMFILE;
        if (error)
                return kernel_fail(error);

        fd = kernel_open();
        kernel_get_socket(fd)->is_dialed = true;

        return fd;
}

int
__wrap_connect(int fd, const struct sockaddr *address, socklen_t length)
{
        int error = kernel.connect_error;

        if (fd < KERNEL_FD)
                return __real_connect(fd, address, length);

        kernel.connect_error = 0;
        kernel_use(fd)->connecting = error == 0;
        kernel_use(fd)->port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);

        return kernel_fail(error ? error : EINPROGRESS);
}

int
__wrap_close(int fd)
{
        KernelSocket *closed;

        if (fd == EPOLL_FD)
                return 0;
        if (fd < KERNEL_FD)
                return __real_close(fd);

        closed = kernel_use(fd);
        closed->is_open = false;
        closed->is_watched = false;
        closed->was_reset = closed->lingers || closed->in->len > 0;

        return 0;
}

int
__wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
        if (fd < KERNEL_FD)
                return __real_setsockopt(fd, level, name, value, length);

        if (level == SOL_SOCKET && name == SO_LINGER)
                kernel_use(fd)->lingers = true;

        return kernel_use(fd)->is_dead ? kernel_fail(EINVAL) : 0;
}

/* Asked for is what the peer has not acknowledged: something, while it takes nothing. */
int
__wrap_ioctl(int fd, unsigned long request, void *argument)
{
        if (fd < KERNEL_FD)
                return __real_ioctl(fd, request, argument);

        *(int *)argument = kernel_use(fd)->window == 0;

        return 0;
}

int
__wrap_shutdown(int fd, int how)
{
        KernelSocket *ended;

        if (fd < KERNEL_FD)
                return __real_shutdown(fd, how);

        ended = kernel_use(fd);
        if (ended->is_dead || ended->connecting)
                return kernel_fail(ENOTCONN);
        ended->out_end = true;

        return 0;
}

static int
kernel_say_error(KernelSocket *broken)
{
        int error = broken->error;

        broken->error = 0;

        return error;
}

ssize_t
__wrap_recv(int fd, void *data, size_t size, int flags)
{
        KernelSocket *from;
        size_t n;

        if (fd < KERNEL_FD)
                return __real_recv(fd, data, size, flags);

        from = kernel_use(fd);
        n = MIN(size, from->in->len);
        if (n > 0) {
                memcpy(data, from->in->str, n);
                g_string_erase(from->in, 0, (gssize)n);
                return (ssize_t)n;
        }
        if (from->in_end)
                return 0;
        if (from->error)
                return kernel_fail(kernel_say_error(from));

        return from->is_dead ? 0 : kernel_fail(EAGAIN);
}

ssize_t
__wrap_send(int fd, const void *data, size_t size, int flags)
{
        KernelSocket *to;
        size_t n;

        if (fd < KERNEL_FD)
                return __real_send(fd, data, size, flags);

        to = kernel_use(fd);
        g_assert_cmpuint(size, >, 0);
        to->n_parts += ((const char *)data)[size - 1] != '\n';
        if (to->error)
                return kernel_fail(kernel_say_error(to));
        if (to->is_dead || to->out_end)
                return kernel_fail(EPIPE);

        n = to->connecting ? 0 : MIN(MIN(size, to->chunk), to->window);
        if (n == 0) {
                to->wants_room = true;
                return kernel_fail(EAGAIN);
        }
        g_string_append_len(to->out, data, (gssize)n);
        to->window -= to->window == SIZE_MAX ? 0 : n;

        return (ssize_t)n;
}

int
__wrap_epoll_create1(int flags)
{
        return EPOLL_FD;
}

int
__wrap_epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
        KernelSocket *watched;
        int error = kernel.watch_error;

        /* What wakes the loop up for other threads, of which there are none. */
        if (fd < KERNEL_FD)
                return 0;

        watched = kernel_use(fd);
        if (operation == EPOLL_CTL_DEL) {
                watched->is_watched = false;
                return 0;
        }

        g_assert_true(watched->is_watched == (operation == EPOLL_CTL_MOD));
        if (operation == EPOLL_CTL_ADD)
                kernel.watch_error = 0;
        if (operation == EPOLL_CTL_ADD && error)
                return kernel_fail(error);

        watched->is_watched = true;
        watched->events = event->events;
        watched->data = event->data.ptr;
        watched->is_edge = true;

        return 0;
}

/* All that is true of it. */
static uint32_t
kernel_poll(const KernelSocket *polled)
{
        uint32_t events = 0;

        if (polled->connecting)
                return 0;
        if (polled->in->len > 0 || polled->in_end || polled->is_dead)
                events |= EPOLLIN;
        if (polled->in_end || polled->is_dead)
                events |= EPOLLRDHUP;
        if (polled->is_dead || (polled->in_end && polled->out_end))
                events |= EPOLLHUP;
        if (polled->error)
                events |= EPOLLERR;
        if (polled->window > 0 || polled->is_dead || polled->out_end)
                events |= EPOLLOUT;

        return events & (polled->events | EPOLLERR | EPOLLHUP);
}

static int
kernel_collect(struct epoll_event *events, int max)
{
        int n = 0;

        for (unsigned i = 0; i < kernel.n_sockets && n < max; i++) {
                KernelSocket *polled = &kernel.sockets[i];
                uint32_t ready = polled->is_watched && polled->is_edge ? kernel_poll(polled) : 0;

                polled->is_edge = false;
                if (ready)
                        events[n++] = (struct epoll_event){ ready, { .ptr = polled->data } };
        }

        return n;
}

int
__wrap_epoll_wait(int set, struct epoll_event *events, int max, int timeout)
{
        int n = kernel_collect(events, max);

        if (n > 0 || timeout == 0)
                return n;

        kernel.turn(kernel.data, timeout);

        return kernel_collect(events, max);
}

gint64
__wrap_g_get_monotonic_time(void)
{
        return kernel.now;
}
