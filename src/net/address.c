/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An endpoint is what an operator wrote, an address is what the kernel takes. Parsing is strict and
 * its errors are written for whoever edits the configuration: which part is wrong, and what would
 * be right. No name is looked up here.
 */

#include "net/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include <gio/gio.h>

#define UNIX_PREFIX      "unix:"
#define HOST_MAX         253
#define UNIX_PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

static const uint8_t mapped_prefix[12] = { [10] = 0xff, [11] = 0xff };

static bool refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool
refuse(GError **error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        if (error)
                *error = g_error_new_valist(G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, format, args);
        va_end(args);

        return false;
}

static bool
is_literal(int family, const char *text)
{
        struct in6_addr address;

        return inet_pton(family, text, &address) == 1;
}

static bool
endpoint_parse_port(Endpoint *endpoint, const char *text, GError **error)
{
        unsigned port = 0;
        size_t digits = strspn(text, "0123456789");

        if (!*text)
                return refuse(error, "The port after ':' is missing");

        for (size_t i = 0; i < digits && port <= UINT16_MAX; i++)
                port = port * 10 + (unsigned)(text[i] - '0');

        if (text[digits] || port < 1 || port > UINT16_MAX)
                return refuse(error, "Port '%s' is not a number from 1 to %d", text, UINT16_MAX);

        endpoint->port = (uint16_t)port;
        return true;
}

static bool
endpoint_parse_unix(Endpoint *endpoint, const char *path, GError **error)
{
        struct sockaddr_un *un = NULL;

        if (path[0] != '/' && path[0] != '@')
                return refuse(
                        error,
                        "Socket path '%s' is not absolute: write unix:/PATH, or unix:@NAME for "
                        "an abstract name",
                        path);
        if (!path[1])
                return refuse(error, "There is no name after '%s%s'", UNIX_PREFIX, path);
        if (strlen(path) >= sizeof(un->sun_path))
                return refuse(error, "Socket path '%s' is too long: %zu bytes, at most %zu", path,
                              strlen(path), sizeof(un->sun_path) - 1);

        endpoint->path = g_strdup(path);
        endpoint->port = 0;
        return true;
}

static bool
endpoint_parse_brackets(Endpoint *endpoint, const char *text, GError **error)
{
        const char *end = strchr(text, ']');

        if (!end)
                return refuse(error, "'%s' has no closing bracket", text);

        endpoint->host = g_strndup(text + 1, (size_t)(end - text - 1));
        if (!is_literal(AF_INET6, endpoint->host))
                return refuse(error, "'%s' is not an IPv6 address; brackets hold nothing else",
                              endpoint->host);
        if (!end[1])
                return true;
        if (end[1] != ':')
                return refuse(error, "After ']' comes ':PORT' or nothing, not '%s'", end + 1);

        return endpoint_parse_port(endpoint, end + 2, error);
}

/* Loosely: what is in use as a name goes beyond what the standards allow. */
static bool
endpoint_check_name(const char *host, GError **error)
{
        const char *p = host;

        if (strlen(host) > HOST_MAX)
                return refuse(error, "The host name is too long: %zu bytes, at most %d",
                              strlen(host), HOST_MAX);
        if (strcmp(host, "*") == 0)
                return refuse(error,
                              "'*' is not an address: write 0.0.0.0 or [::] for all of them");
        if (!host[strspn(host, "0123456789")])
                return refuse(error, "'%s' has no host: a port follows one, as in 127.0.0.1:%s",
                              host, host);
        /* getaddrinfo() takes "10.1" for 10.0.0.1, which nobody means. */
        if (!host[strspn(host, "0123456789.")])
                return refuse(error, "'%s' is not an IPv4 address", host);

        while (g_ascii_isalnum(*p) || (*p && strchr("._-", *p)))
                p++;
        if (*p)
                return refuse(error,
                              "'%s' is not a host name: it has letters, digits, '.', '-' and '_'",
                              host);

        return true;
}

static bool
endpoint_parse_host(Endpoint *endpoint, const char *text, GError **error)
{
        const char *colon = strchr(text, ':');

        if (is_literal(AF_INET6, text))
                return refuse(error, "The IPv6 address '%s' needs brackets: [%s] or [ADDRESS]:PORT",
                              text, text);
        if (strstr(text, "://"))
                return refuse(error, "'%s' is a URL: write HOST:PORT, without what is around it",
                              text);
        if (colon && strchr(colon + 1, ':'))
                return refuse(error,
                              "'%s' has more than one ':': write HOST:PORT or [IPV6-ADDRESS]:PORT",
                              text);

        endpoint->host = colon ? g_strndup(text, (size_t)(colon - text)) : g_strdup(text);
        if (!*endpoint->host)
                return refuse(error, "The host before '%s' is missing", text);
        if (!is_literal(AF_INET, endpoint->host) && !endpoint_check_name(endpoint->host, error))
                return false;

        return !colon || endpoint_parse_port(endpoint, colon + 1, error);
}

Endpoint *
endpoint_parse(const char *text, uint16_t default_port, GError **error)
{
        g_autoptr(Endpoint) endpoint = g_new0(Endpoint, 1);
        bool is_good;

        endpoint->port = default_port;

        if (g_str_has_prefix(text, UNIX_PREFIX))
                is_good = endpoint_parse_unix(endpoint, text + strlen(UNIX_PREFIX), error);
        else if (!*text)
                is_good = refuse(error, "The address is empty: write HOST:PORT");
        else if (text[strcspn(text, " \t\r\n")])
                is_good = refuse(error, "The address '%s' has a space in it", text);
        else if (*text == '[')
                is_good = endpoint_parse_brackets(endpoint, text, error);
        else
                is_good = endpoint_parse_host(endpoint, text, error);
        if (!is_good)
                return NULL;

        if (endpoint->host)
                endpoint->authority =
                        g_strdup_printf(strchr(endpoint->host, ':') ? "[%s]:%u" : "%s:%u",
                                        endpoint->host, endpoint->port);

        return g_steal_pointer(&endpoint);
}

void
endpoint_free(Endpoint *endpoint)
{
        if (!endpoint)
                return;

        g_free(endpoint->host);
        g_free(endpoint->path);
        g_free(endpoint->authority);
        g_free(endpoint);
}

bool
endpoint_get_address(const Endpoint *endpoint, Address *address)
{
        size_t n;

        *address = (Address){ 0 };

        if (endpoint->path) {
                n = strlen(endpoint->path);
                g_assert(n < sizeof(address->un.sun_path));

                address->un.sun_family = AF_UNIX;
                memcpy(address->un.sun_path, endpoint->path, n);
                /* The name of an abstract socket begins with NUL and ends where its length says. */
                if (endpoint->path[0] == '@')
                        address->un.sun_path[0] = '\0';
                else
                        n++;
                address->length = (socklen_t)(UNIX_PATH_OFFSET + n);
                return true;
        }

        if (inet_pton(AF_INET, endpoint->host, &address->in.sin_addr) == 1) {
                address->in.sin_family = AF_INET;
                address->in.sin_port = htons(endpoint->port);
                address->length = sizeof(address->in);
                return true;
        }

        if (inet_pton(AF_INET6, endpoint->host, &address->in6.sin6_addr) == 1) {
                address->in6.sin6_family = AF_INET6;
                address->in6.sin6_port = htons(endpoint->port);
                address->length = sizeof(address->in6);
                return true;
        }

        return false;
}

void
address_normalise(Address *address)
{
        struct sockaddr_in in = { .sin_family = AF_INET };

        if (address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&address->in6.sin6_addr))
                return;

        in.sin_port = address->in6.sin6_port;
        memcpy(&in.sin_addr, address->in6.sin6_addr.s6_addr + sizeof(mapped_prefix),
               sizeof(in.sin_addr));
        *address = (Address){ .length = sizeof(in), .in = in };
}

/* The name of a Unix socket; @n is 0 when it has none. A path may come with or without its NUL. */
static const char *
address_get_path(const Address *address, size_t *n)
{
        const char *path = address->un.sun_path;

        *n = address->length > UNIX_PATH_OFFSET ? address->length - UNIX_PATH_OFFSET : 0;
        if (*n > 0 && path[0])
                *n = strnlen(path, *n);

        return path;
}

/* A peer chooses its own path, and the text goes into lines. */
static void
address_print_unix(const Address *address, char *text)
{
        size_t n;
        const char *path = address_get_path(address, &n);
        char *end = g_stpcpy(text, UNIX_PREFIX);

        for (size_t i = 0; i < n; i++)
                *end++ = g_ascii_isgraph(path[i]) ? path[i] : i == 0 && !path[0] ? '@' : '?';
        *end = '\0';
}

char *
address_print(const Address *address, char text[ADDRESS_TEXT_SIZE])
{
        char host[INET6_ADDRSTRLEN];

        G_STATIC_ASSERT(sizeof(UNIX_PREFIX) + sizeof(address->un.sun_path) <= ADDRESS_TEXT_SIZE);

        switch (address->any.sa_family) {
        case AF_INET:
                inet_ntop(AF_INET, &address->in.sin_addr, host, sizeof(host));
                snprintf(text, ADDRESS_TEXT_SIZE, "%s:%u", host, ntohs(address->in.sin_port));
                break;
        case AF_INET6:
                inet_ntop(AF_INET6, &address->in6.sin6_addr, host, sizeof(host));
                snprintf(text, ADDRESS_TEXT_SIZE, "[%s]:%u", host, ntohs(address->in6.sin6_port));
                break;
        case AF_UNIX:
                address_print_unix(address, text);
                break;
        default:
                g_strlcpy(text, "unknown", ADDRESS_TEXT_SIZE);
                break;
        }

        return text;
}

bool
address_equal(const Address *a, const Address *b)
{
        const char *path_a, *path_b;
        size_t n_a, n_b;

        if (a->any.sa_family != b->any.sa_family)
                return false;

        switch (a->any.sa_family) {
        case AF_INET:
                return a->in.sin_port == b->in.sin_port &&
                       a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
        case AF_INET6:
                return a->in6.sin6_port == b->in6.sin6_port &&
                       a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
                       IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr);
        case AF_UNIX:
                path_a = address_get_path(a, &n_a);
                path_b = address_get_path(b, &n_b);
                return n_a == n_b && memcmp(path_a, path_b, n_a) == 0;
        default:
                return a->length == b->length && memcmp(&a->un, &b->un, a->length) == 0;
        }
}

AddressList *
address_list_new(const Address *items, size_t n)
{
        AddressList *list = g_malloc(sizeof(AddressList) + n * sizeof(Address));

        list->refs = 1;
        list->n = n;
        if (n > 0)
                memcpy(list->items, items, n * sizeof(Address));

        return list;
}

AddressList *
address_list_ref(AddressList *list)
{
        int refs = __atomic_fetch_add(&list->refs, 1, __ATOMIC_RELAXED);

        g_assert(refs > 0);

        return list;
}

void
address_list_unref(AddressList *list)
{
        int refs;

        if (!list)
                return;

        refs = __atomic_fetch_sub(&list->refs, 1, __ATOMIC_ACQ_REL);
        g_assert(refs > 0);
        if (refs == 1)
                g_free(list);
}

/* Sets all but the first @bits bits to 0; false when they were 0 before. */
static bool
clear_tail(uint8_t bytes[16], unsigned bits)
{
        bool changed = false;

        for (unsigned i = bits / 8; i < 16; i++) {
                uint8_t kept = i == bits / 8 ? (uint8_t)(bytes[i] & (0xff00U >> (bits % 8))) : 0;

                changed |= kept != bytes[i];
                bytes[i] = kept;
        }

        return changed;
}

/* As address_normalise() does with a client's address, or the range would match none. */
static void
address_range_normalise(AddressRange *range)
{
        AddressRange in = { .family = AF_INET };

        if (range->family != AF_INET6 || range->bits < 8 * sizeof(mapped_prefix) ||
            memcmp(range->prefix, mapped_prefix, sizeof(mapped_prefix)) != 0)
                return;

        in.bits = range->bits - 8 * sizeof(mapped_prefix);
        memcpy(in.prefix, range->prefix + sizeof(mapped_prefix), sizeof(struct in_addr));
        *range = in;
}

/* Not with GInetAddressMask, which logs a warning of its own about a prefix that is too long. */
bool
address_range_parse(AddressRange *range, const char *text, GError **error)
{
        const char *slash = strchr(text, '/');
        g_autofree char *host = slash ? g_strndup(text, (size_t)(slash - text)) : g_strdup(text);
        char zeroed[INET6_ADDRSTRLEN];
        guint64 bits, max = 128;

        *range = (AddressRange){ .family = AF_UNIX };
        if (strcmp(text, "unix") == 0)
                return true;

        range->family = AF_INET6;
        if (inet_pton(AF_INET6, host, range->prefix) != 1) {
                range->family = AF_INET;
                max = 32;
                if (inet_pton(AF_INET, host, range->prefix) != 1)
                        return refuse(error,
                                      "'%s' is not a range of addresses: write ADDRESS, "
                                      "ADDRESS/BITS or unix, without a port",
                                      text);
        }

        bits = max;
        if (slash && !g_ascii_string_to_unsigned(slash + 1, 10, 0, max, &bits, NULL))
                return refuse(error, "The bits '%s' of '%s' are not a number from 0 to %u",
                              slash + 1, text, (unsigned)max);
        range->bits = (uint8_t)bits;

        if (clear_tail(range->prefix, range->bits)) {
                inet_ntop(range->family, range->prefix, zeroed, sizeof(zeroed));
                return refuse(error,
                              "'%s' goes on after its first %u bits: write %s/%u, or just %s", text,
                              range->bits, zeroed, range->bits, host);
        }

        address_range_normalise(range);
        return true;
}

static bool
address_range_contains(const AddressRange *range, const Address *address)
{
        const uint8_t *bytes;
        size_t whole = range->bits / 8;
        unsigned mask = (0xff00U >> (range->bits % 8)) & 0xff;

        if (range->family != address->any.sa_family)
                return false;

        switch (range->family) {
        case AF_INET:
                bytes = (const uint8_t *)&address->in.sin_addr;
                break;
        case AF_INET6:
                bytes = address->in6.sin6_addr.s6_addr;
                break;
        default:
                return true;
        }

        return memcmp(bytes, range->prefix, whole) == 0 &&
               (mask == 0 || ((bytes[whole] ^ range->prefix[whole]) & mask) == 0);
}

bool
address_range_match(const AddressRange *ranges, size_t n, const Address *address)
{
        for (size_t i = 0; i < n; i++)
                if (address_range_contains(&ranges[i], address))
                        return true;

        return false;
}

Address *
address_copy(const Address *address)
{
        size_t size = offsetof(Address, any) + MAX(address->length, sizeof(address->any.sa_family));
        Address *copy = g_try_malloc(size);

        return copy ? memcpy(copy, address, size) : NULL;
}
