/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"

/*
 * What a log server's socket is asked and told beyond reading and writing.
 */

/* A datagram socket that never blocks, connected to @address; FD_NONE with errno set. */
int syslog_socket_open_datagram(const Address *address);

/* Asks for no more memory in the kernel than a log needs, and that a peer that has vanished is
 * noticed even if nothing is sent. */
void syslog_socket_set_up(int fd);

/* Places in a TCP connection: bytes since its beginning. */
typedef struct SyslogPlaces {
        uint64_t acked;  /* by the peer's kernel; after the connection's end, how many that were */
        uint64_t given;  /* to our kernel */
        uint64_t window; /* how many more the peer's kernel has room for */
} SyslogPlaces;

/* False when nobody knows. */
bool syslog_socket_get_places(int fd, SyslogPlaces *places);

/* True when the peer of this TCP connection doesn't answer any more: neither to data nor to the
 * question whether it may be sent. One that answers "not now" may do so for as long as it likes. */
bool syslog_socket_is_dead(int fd);

/* True when the connection was reset, by either side. */
bool syslog_socket_is_reset(int fd);

/* @configured, or if that is NULL or empty what this host is called, in graphic ASCII characters;
 * to be freed. */
char *syslog_socket_get_hostname(const char *configured);
