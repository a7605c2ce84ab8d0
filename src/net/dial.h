/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "net/address.h"

/*
 * Connecting to one of a list of addresses, without blocking: one after the other, in their order.
 */

/* Embedded in its owner; all zero when idle. */
typedef struct Dial {
        AddressList *addresses;
        size_t next; /* address to be tried next */
} Dial;

/* Takes @addresses, and lets go of those it had. */
void dial_start(Dial *dial, AddressList *addresses);

/* A socket that is connected or connecting to the next address at which an attempt could be begun;
 * the caller owns it. Whether it succeeds shows when it is written to. FD_NONE when no address is
 * left, or when the process has no descriptor or memory for a socket; *@error is the last errno
 * then. */
int dial_next(Dial *dial, int *error);

/* How many addresses are left to be tried. */
size_t dial_get_left(const Dial *dial);

/* Lets go of the addresses. */
void dial_clear(Dial *dial);
