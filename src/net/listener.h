/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "net/address.h"

/*
 * One listening socket, handed over by systemd or bound by us; what uses it sees no difference. It
 * is counted and shared by all workers, which accept from it by themselves.
 */

typedef struct Listener Listener;

/* How many connections may wait to be accepted; the kernel takes the lesser of this and
 * net.core.somaxconn. */
#define LISTENER_BACKLOG 4096

typedef enum ListenerAccept {
        LISTENER_ACCEPTED,
        LISTENER_EMPTY,        /* nobody is waiting, or whoever was has gone */
        LISTENER_NO_RESOURCES, /* no descriptor or memory; errno says which */
} ListenerAccept;

/* Binds @endpoint, which is literal or a Unix socket, and listens. A Unix socket that nobody
 * answers is replaced; it is removed when the listener ends. */
Listener *listener_bind(const Endpoint *endpoint, GError **error);

/* The listening sockets that systemd handed over (sd_listen_fds(3)), each with its
 * FileDescriptorName=; an empty array when there are none. A descriptor that is no listening stream
 * socket is an error. Only once: the environment is cleared. */
GPtrArray *listener_take_passed(GError **error);

/* One that another process had, which got it from systemd under @passed_name or (NULL) bound it.
 * Takes @fd. NULL with an error when it is no listening stream socket. */
Listener *listener_take_over(int fd, const char *passed_name, GError **error);

Listener *listener_ref(Listener *listener);
void listener_unref(Listener *listener); /* closes with the last; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Listener, listener_unref)

int listener_get_fd(const Listener *listener);

/* Its address as text, for people. */
const char *listener_get_text(const Listener *listener);

/* FileDescriptorName= of one that systemd handed over, NULL of one that we bound. */
const char *listener_get_passed_name(const Listener *listener);

/* True when it has the port that @endpoint asks for, so that both can't be open at a time. */
bool listener_is_in_the_way(const Listener *listener, const Endpoint *endpoint);

/* True when it was bound by us for this very endpoint. */
bool listener_is_bound_to(const Listener *listener, const Endpoint *endpoint);

/* Takes one connection: a socket that never blocks, with the options of the listener, and where it
 * comes from. Any thread. */
ListenerAccept listener_accept(Listener *listener, int *fd, Address *client);

/* While it is shared, another process accepts from it as well, and keeps it when this one lets go:
 * nothing is done to the socket then that the other would notice. One that is taken over from
 * another process begins so. Not while a worker reads it. */
void listener_set_shared(Listener *listener, bool is_shared);
bool listener_is_shared(const Listener *listener);

/* What comes before a close that must not cut anybody: on TCP no new connection is begun from now
 * on, but those that wait in the queue, or are half made, can still be accepted. On a Unix socket
 * none is half made, and nothing has to be done. False, and no effect, on a socket that stays open:
 * one that is shared or that systemd handed over. */
bool listener_shut_door(Listener *listener);
