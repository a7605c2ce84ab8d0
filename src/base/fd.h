/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <errno.h>
#include <stdbool.h>

#include <glib.h>

/* Descriptors that close themselves, and the socket options agitator sets. */

#define FD_NONE (-1)

/* Closes *@fd unless it is FD_NONE; errno stays as it was. */
void fd_clear(int *fd);
#define fd_auto __attribute__((cleanup(fd_clear)))

/* Returns *@fd and leaves FD_NONE there. */
int fd_steal(int *fd);

/* Opens what is missing of standard input, output and error, so that nothing opened later is taken
 * for them: first thing in a process. */
void fd_open_standard(void);

/* A listening socket's options are inherited by what it accepts, so this is called once for each
 * listener, and for a connection of our own once it has lasted long enough to need it. A vanished
 * peer is noticed after FD_KEEPALIVE_BOUND seconds of silence or of unacknowledged data. No effect
 * on Unix sockets. */
#define FD_KEEPALIVE_IDLE     15
#define FD_KEEPALIVE_INTERVAL 5
#define FD_KEEPALIVE_BOUND    30
void fd_set_keepalive(int fd);

/* Small writes leave at once. No effect on Unix sockets. */
void fd_set_nodelay(int fd);

/* close() will reset the connection instead of ending it. */
void fd_set_reset(int fd);

/* True when everything that was written has been acknowledged by the peer's kernel. After a reset
 * what had not been stays so. */
bool fd_is_flushed(int fd);

/* True when @error, an errno, says that there are no more descriptors, or is no more memory. */
static inline bool
fd_is_shortage(int error)
{
        return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* What an operator can raise against such an @error, or against ENOSPC of epoll_ctl(). */
const char *fd_get_remedy(int error);

/* Raises the soft limit of descriptors to the hard one; returns what it is then. */
unsigned fd_raise_limit(void);
