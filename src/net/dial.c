/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One socket at a time. A refusal that the kernel knows of at once moves on to the next address;
 * one that takes a while shows at the first write, and the owner then asks for the next.
 */

#include "net/dial.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"

void
dial_start(Dial *dial, AddressList *addresses)
{
        dial_clear(dial);
        dial->addresses = addresses;
}

static int
dial_address(const Address *address)
{
        fd_auto int fd =
                socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
                return FD_NONE;

        if (connect(fd, &address->any, address->length) < 0 && errno != EINPROGRESS)
                return FD_NONE;

        return fd_steal(&fd);
}

static bool
dial_is_unix(const Dial *dial)
{
        return dial->addresses->items[dial->next].any.sa_family == AF_UNIX;
}

DialResult
dial_next(Dial *dial, int *fd, int *error)
{
        *error = 0;
        while (dial_get_left(dial) > 0) {
                *fd = dial_address(&dial->addresses->items[dial->next]);
                if (*fd < 0)
                        *error = errno;
                if (fd_is_shortage(*error))
                        return DIAL_SHORT;
                if (*fd < 0 && *error == EAGAIN && dial_is_unix(dial))
                        return DIAL_BUSY;

                dial->next++;
                if (*fd >= 0)
                        return DIAL_BEGUN;
        }

        return DIAL_NONE;
}

size_t
dial_get_left(const Dial *dial)
{
        return dial->addresses ? dial->addresses->n - dial->next : 0;
}

void
dial_clear(Dial *dial)
{
        address_list_unref(dial->addresses);
        *dial = (Dial){ .addresses = NULL };
}
