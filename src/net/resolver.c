/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GResolver asks the C library on a thread of its own, which sorts the addresses by how likely they
 * are to work from here (RFC 6724); that order is kept. A name may have an address twice.
 */

#include "net/resolver.h"

#include <string.h>

typedef struct Lookup {
        uint16_t port;
        GCancellable *cancellable;
        ResolverFunc func;
        void *data;
} Lookup;

static void
lookup_free(Lookup *lookup)
{
        g_clear_object(&lookup->cancellable);
        g_free(lookup);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Lookup, lookup_free)

static Address
resolver_convert(GInetAddress *found, uint16_t port)
{
        Address address = { 0 };

        if (g_inet_address_get_family(found) == G_SOCKET_FAMILY_IPV4) {
                address.length = sizeof(address.in);
                address.in.sin_family = AF_INET;
                address.in.sin_port = htons(port);
                memcpy(&address.in.sin_addr, g_inet_address_to_bytes(found),
                       sizeof(address.in.sin_addr));
        } else {
                address.length = sizeof(address.in6);
                address.in6.sin6_family = AF_INET6;
                address.in6.sin6_port = htons(port);
                memcpy(&address.in6.sin6_addr, g_inet_address_to_bytes(found),
                       sizeof(address.in6.sin6_addr));
        }
        address_normalise(&address);

        return address;
}

static AddressList *
resolver_collect(GList *found, uint16_t port)
{
        g_autofree Address *items = g_new(Address, g_list_length(found));
        size_t n = 0;

        for (GList *item = found; item; item = item->next) {
                size_t i = 0;

                items[n] = resolver_convert(item->data, port);
                while (!address_equal(&items[i], &items[n]))
                        i++;
                if (i == n)
                        n++;
        }

        return address_list_new(items, n);
}

static void
resolver_on_found(GObject *resolver, GAsyncResult *result, void *data)
{
        g_autoptr(Lookup) lookup = data;
        g_autoptr(AddressList) addresses = NULL;
        g_autoptr(GError) error = NULL;
        GList *found;

        found = g_resolver_lookup_by_name_finish(G_RESOLVER(resolver), result, &error);
        if (found)
                addresses = resolver_collect(found, lookup->port);
        g_resolver_free_addresses(found);
        g_assert(addresses || error);

        /* Cancelled may mean: after the answer was there and before this call. */
        if (!g_cancellable_is_cancelled(lookup->cancellable))
                lookup->func(addresses, error, lookup->data);
}

void
resolver_lookup(const char *host,
                uint16_t port,
                GCancellable *cancellable,
                ResolverFunc func,
                void *data)
{
        g_autoptr(GResolver) resolver = g_resolver_get_default();
        Lookup *lookup = g_new(Lookup, 1);

        *lookup = (Lookup){
                .port = port,
                .cancellable = cancellable ? g_object_ref(cancellable) : NULL,
                .func = func,
                .data = data,
        };

        g_resolver_lookup_by_name_async(resolver, host, cancellable, resolver_on_found, lookup);

        /* Some names have an answer at once, which waits for the next look at the context. */
        g_main_context_wakeup(g_main_context_get_thread_default());
}
