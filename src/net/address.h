/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <glib.h>

/* Text to socket address and back, lists of addresses, and ranges of them. */

/* A value: copied freely, nothing to clear. */
typedef struct Address {
        socklen_t length;

        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
                struct sockaddr_un un;
        };
} Address;

/* A host and port as configured: "host:port", "host", "1.2.3.4:5", "[::1]:5", "[::1]",
 * "unix:/path". */
typedef struct Endpoint {
        char *host;      /* name or address without brackets; NULL for a Unix socket */
        uint16_t port;   /* 0 for a Unix socket */
        char *path;      /* of a Unix socket, else NULL; a leading '@' is the abstract namespace */
        char *authority; /* as it stands in a URL: host:port, IPv6 bracketed; NULL for a Unix socket
                          */
} Endpoint;

/* Reads @text; a port that is left out is @default_port. NULL and a GError that says what is wrong
 * with it and what would be right. Free with endpoint_free(). */
Endpoint *endpoint_parse(const char *text, uint16_t default_port, GError **error);
void endpoint_free(Endpoint *endpoint);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Endpoint, endpoint_free)

/* The endpoint's own address, when it is literal or a Unix socket; false when it is a name. */
bool endpoint_get_address(const Endpoint *endpoint, Address *address);

/* An IPv4 address that came as an IPv6 one (::ffff:1.2.3.4) becomes what it is. */
void address_normalise(Address *address);

/* "1.2.3.4:5", "[::1]:5", "unix:/path", "unix:" for an unnamed one. Always ended by NUL; returns
 * @text. */
#define ADDRESS_TEXT_SIZE 128
char *address_print(const Address *address, char text[ADDRESS_TEXT_SIZE]);

bool address_equal(const Address *a, const Address *b);

/* A copy that has only the bytes that are in use, to be freed with g_free(): not to be copied like
 * others. NULL when there is no memory. */
Address *address_copy(const Address *address);

/* An immutable, counted list of addresses; shared between threads. */
typedef struct AddressList {
        int refs; /* atomic */
        size_t n;
        Address items[];
} AddressList;

AddressList *address_list_new(const Address *items, size_t n);
AddressList *address_list_ref(AddressList *list);
void address_list_unref(AddressList *list); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(AddressList, address_list_unref)

/* "10.0.0.0/8", "::1", "unix": a range of addresses that a client may come from. */
typedef struct AddressRange {
        sa_family_t family;
        uint8_t bits;
        uint8_t prefix[16];
} AddressRange;

bool address_range_parse(AddressRange *range, const char *text, GError **error);

/* True when @address is in one of the @n ranges. */
bool address_range_match(const AddressRange *ranges, size_t n, const Address *address);
