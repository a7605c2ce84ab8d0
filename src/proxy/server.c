/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Counters are atomics. The address list is behind a mutex that is held for a few instructions,
 * once a session; it is a pthread one because ThreadSanitizer doesn't know GLib's.
 */

#include "proxy/server.h"

#include <pthread.h>
#include <stdlib.h>

#include "proxy/notice.h"
#include "proxy/places.h"

struct Server {
        pthread_mutex_t lock;
        AddressList *addresses; /* behind the lock */
        int refs;               /* atomic, like all below */
        bool is_down;
        Notice full;
        LedgerAccount account;
        Places alone[2]; /* the account of one without a ledger */
};

Server *
server_new(const char *name, Ledger *ledger)
{
        Server *server = NULL;

        if (posix_memalign((void **)&server, G_ALIGNOF(Server), sizeof(*server)) != 0)
                g_error("Out of memory");

        *server = (Server){ .refs = 1 };
        pthread_mutex_init(&server->lock, NULL);
        if (!ledger || !ledger_get_account(ledger, name, &server->account))
                server->account = (LedgerAccount){ &server->alone[0], &server->alone[1] };

        return server;
}

Server *
server_ref(Server *server)
{
        __atomic_add_fetch(&server->refs, 1, __ATOMIC_RELAXED);

        return server;
}

void
server_unref(Server *server)
{
        if (!server || __atomic_sub_fetch(&server->refs, 1, __ATOMIC_ACQ_REL) > 0)
                return;

        pthread_mutex_destroy(&server->lock);
        address_list_unref(server->addresses);
        free(server);
}

bool
server_reserve(Server *server, unsigned max)
{
        if (!places_reserve(server->account.total, max))
                return false;
        places_add(server->account.own); /* who dies right here leaves a place taken for good */

        return true;
}

void
server_release(Server *server)
{
        places_release(server->account.own);
        places_release(server->account.total);
}

unsigned
server_get_active(const Server *server)
{
        return places_get_taken(server->account.total);
}

AddressList *
server_get_addresses(Server *server)
{
        AddressList *addresses;

        pthread_mutex_lock(&server->lock);
        addresses = server->addresses ? address_list_ref(server->addresses) : NULL;
        pthread_mutex_unlock(&server->lock);

        return addresses;
}

void
server_set_addresses(Server *server, AddressList *addresses)
{
        AddressList *old;

        if (addresses)
                address_list_ref(addresses);

        pthread_mutex_lock(&server->lock);
        old = server->addresses;
        server->addresses = addresses;
        pthread_mutex_unlock(&server->lock);

        address_list_unref(old);
}

bool
server_note_dial(Server *server, bool succeeded)
{
        /* Reads first, so that the usual case shares the cache line. */
        return __atomic_load_n(&server->is_down, __ATOMIC_RELAXED) == succeeded &&
               __atomic_exchange_n(&server->is_down, !succeeded, __ATOMIC_RELAXED) == succeeded;
}

bool
server_is_up(const Server *server)
{
        return !__atomic_load_n(&server->is_down, __ATOMIC_RELAXED);
}

bool
server_note_full(Server *server, bool is_full, gint64 now)
{
        if (is_full)
                return notice_raise(&server->full, now);
        notice_lower(&server->full, now);

        return false;
}
