/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

/* Sockets and time for the bench programs. They end with a message when the kernel refuses. */

struct sockaddr_in endpoint_parse(const char *text); /* "127.0.0.1:4573" */

/* A listening socket, TCP_NODELAY set so that accepted ones inherit it: number 3 where LISTEN_FDS
 * says so, else bound to @text. Its port is written to stdout, so that port 0 may be asked for. */
int endpoint_listen(const char *text);

int64_t endpoint_now(void); /* nanoseconds */

/* The first signal of @signals that comes makes @epoll report NULL; they no longer kill. */
void endpoint_catch(int epoll, const int *signals, size_t n_signals);

/* As many descriptors as the hard limit allows. */
void endpoint_raise_limit(void);
