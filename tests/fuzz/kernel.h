/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include <glib.h>

/*
 * As much of a kernel as a session asks for: TCP sockets, one epoll set, a clock that stands still
 * until it is told to go on. The linker gives its calls to a target in place of the C library's
 * (--wrap), and the target plays the peers, so that whatever happens is in the input and happens
 * again the same. Descriptors below KERNEL_FD are the real kernel's and left to it.
 *
 * What Linux does at a reset is done here too: what arrived before can still be read; then the
 * error is said once, to whichever call comes first, and after an end not at all to a read; then
 * reads are at the end and writes say EPIPE.
 */

#define KERNEL_FD      (1 << 20)
#define KERNEL_SOCKETS 32

typedef struct KernelSocket {
        bool is_open;     /* by the program */
        bool is_dialed;   /* it is the program that connects */
        bool connecting;  /* and not yet connected */
        GString *in;      /* what the peer has sent and the program not read */
        GString *out;     /* what the program has sent */
        size_t window;    /* how many more bytes are taken */
        size_t chunk;     /* the most that one send() takes */
        uint16_t port;    /* that the program has dialed */
        bool in_end;      /* the peer has ended */
        bool out_end;     /* the program has */
        bool is_dead;     /* reset, or refused */
        bool lingers;     /* close() resets */
        bool was_reset;   /* the program has closed it with a reset, or with bytes unread */
        int error;        /* not yet said */
        unsigned n_parts; /* calls of send() whose bytes did not end with LF */

        bool is_watched, is_edge, wants_room;
        uint32_t events;
        void *data;
} KernelSocket;

/* Whoever plays the peers. Called when there is nothing for the program to do: to be followed by
 * something that is, or by @timeout (in milliseconds, -1: for ever) being over. */
typedef void (*KernelTurn)(void *data, int timeout);

typedef struct Kernel {
        KernelSocket sockets[KERNEL_SOCKETS];
        unsigned n_sockets; /* so far: a number isn't used again */
        gint64 now;
        int socket_error;  /* of the next socket(); 0: none */
        int connect_error; /* of the next connect(); 0: in progress */
        int watch_error;   /* of the next epoll_ctl() */
        KernelTurn turn;
        void *data;
} Kernel;

/* The one there is. */
Kernel *kernel_get(void);

/* Anew, with nobody connected. */
void kernel_start(KernelTurn turn, void *data);
void kernel_stop(void);

/* A socket that a client has connected to; its descriptor. */
int kernel_accept(void);
KernelSocket *kernel_get_socket(int fd);

/* What the peer does. Nothing happens on a socket where it no longer can. */
void kernel_send(KernelSocket *socket, const char *bytes, size_t size);
void kernel_end(KernelSocket *socket);
void kernel_reset(KernelSocket *socket);
void kernel_connect(KernelSocket *socket, bool accepts);
void kernel_open_window(KernelSocket *socket, size_t window);

/* How many of the program's sockets are open. */
unsigned kernel_count_open(void);
