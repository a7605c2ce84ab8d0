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

typedef enum DialResult {
        DIAL_BEGUN, /* *@fd, which the caller owns, is connected or connecting: a write will tell */
        DIAL_BUSY, /* the queue of a Unix socket is full: the same address once more, a little later
                    */
        DIAL_NONE, /* no address is left; *@error is that of the last one */
        DIAL_SHORT, /* this process has no descriptor or memory for it; *@error says which */
} DialResult;

/* Begins to connect to the next address at which that can be begun. */
DialResult dial_next(Dial *dial, int *fd, int *error);

/* How many addresses are left to be tried. */
size_t dial_get_left(const Dial *dial);

/* Lets go of the addresses. */
void dial_clear(Dial *dial);
