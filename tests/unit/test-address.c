/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <string.h>

#include "net/address.h"

#define DEFAULT_PORT 4573

typedef struct Good {
        const char *text;
        const char *host;
        uint16_t port;
        const char *path;
        const char *authority;
} Good;

typedef struct Bad {
        const char *text;
        const char *hint; /* what the message has to say */
} Bad;

static void
test_endpoint_good(void)
{
        static const Good cases[] = {
                { "ivr.example.com:4000", "ivr.example.com", 4000, NULL, "ivr.example.com:4000" },
                { "ivr", "ivr", DEFAULT_PORT, NULL, "ivr:4573" },
                { "my_host-1.", "my_host-1.", DEFAULT_PORT, NULL, "my_host-1.:4573" },
                { "3com.example:1", "3com.example", 1, NULL, "3com.example:1" },
                { "1.2.3.4:65535", "1.2.3.4", 65535, NULL, "1.2.3.4:65535" },
                { "1.2.3.4", "1.2.3.4", DEFAULT_PORT, NULL, "1.2.3.4:4573" },
                { "ivr:04573", "ivr", 4573, NULL, "ivr:4573" },
                { "[::1]:5", "::1", 5, NULL, "[::1]:5" },
                { "[2001:db8::1]", "2001:db8::1", DEFAULT_PORT, NULL, "[2001:db8::1]:4573" },
                { "[::ffff:1.2.3.4]:5", "::ffff:1.2.3.4", 5, NULL, "[::ffff:1.2.3.4]:5" },
                { "unix:/run/ivr socket", NULL, 0, "/run/ivr socket", NULL },
                { "unix:@ivr", NULL, 0, "@ivr", NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(Endpoint) endpoint = endpoint_parse(cases[i].text, DEFAULT_PORT, &error);

                g_assert_no_error(error);
                g_assert_cmpstr(endpoint->host, ==, cases[i].host);
                g_assert_cmpuint(endpoint->port, ==, cases[i].port);
                g_assert_cmpstr(endpoint->path, ==, cases[i].path);
                g_assert_cmpstr(endpoint->authority, ==, cases[i].authority);
        }
}

static void
test_endpoint_bad(void)
{
        static const Bad cases[] = {
                { "", "empty" },
                { ":4573", "host before ':4573'" },
                { "host:", "port after ':' is missing" },
                { "host:0", "'0' is not a number from 1 to 65535" },
                { "host:65536", "from 1 to 65535" },
                { "host:18446744073709551617", "from 1 to 65535" },
                { "host:-1", "from 1 to 65535" },
                { "host:+1", "from 1 to 65535" },
                { "host:agi", "'agi' is not a number" },
                { "host:45x", "'45x' is not a number" },
                { "host :45", "space" },
                { "host: 45", "space" },
                { " host", "space" },
                { "host\n", "space" },
                { "::1", "[::1]" },
                { "2001:db8::1:4573", "brackets" },
                { "2001:db8::1:45730", "[IPV6-ADDRESS]:PORT" },
                { "a:b:c", "more than one ':'" },
                { "[::1", "closing bracket" },
                { "[::1]4573", "not '4573'" },
                { "[::1]:", "port after ':' is missing" },
                { "[]:5", "not an IPv6 address" },
                { "[1.2.3.4]:5", "'1.2.3.4' is not an IPv6 address" },
                { "[host]:5", "not an IPv6 address" },
                { "[fe80::1%eth0]:5", "not an IPv6 address" },
                { "*:4573", "0.0.0.0" },
                { "4573", "127.0.0.1:4573" },
                { "10.0.0.256", "not an IPv4 address" },
                { "10.1:5", "not an IPv4 address" },
                { "agi://host", "is a URL" },
                { "agi://host:4573/path", "is a URL" },
                { "user@host", "not a host name" },
                { "host/path", "not a host name" },
                { "h\xc3\xb6st", "not a host name" },
                { "unix:", "not absolute" },
                { "unix:run/ivr", "not absolute" },
                { "unix:/", "no name" },
                { "unix:@", "no name" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(Endpoint) endpoint = endpoint_parse(cases[i].text, DEFAULT_PORT, &error);

                g_test_message("'%s': %s", cases[i].text, error ? error->message : "taken");
                g_assert_null(endpoint);
                g_assert_nonnull(error);
                g_assert_nonnull(strstr(error->message, cases[i].hint));
        }
        g_assert_null(endpoint_parse("", DEFAULT_PORT, NULL));
}

static void
test_endpoint_long(void)
{
        size_t room = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
        g_autofree char *name = g_strnfill(254, 'a');
        g_autofree char *path = g_strnfill(room + 1, 'a');
        g_autofree char *text = NULL;
        g_autoptr(GError) error = NULL;
        g_autoptr(Endpoint) named = NULL;
        g_autoptr(Endpoint) pathed = NULL;
        Address address;

        g_assert_null(endpoint_parse(name, DEFAULT_PORT, &error));
        g_assert_nonnull(strstr(error->message, "at most 253"));
        g_clear_error(&error);

        name[253] = '\0';
        named = endpoint_parse(name, DEFAULT_PORT, &error);
        g_assert_no_error(error);

        path[0] = '/';
        text = g_strconcat("unix:", path, NULL);
        g_assert_null(endpoint_parse(text, DEFAULT_PORT, &error));
        g_assert_nonnull(strstr(error->message, "at most 107"));
        g_clear_error(&error);

        text[strlen(text) - 1] = '\0';
        pathed = endpoint_parse(text, DEFAULT_PORT, &error);
        g_assert_no_error(error);
        g_assert_true(endpoint_get_address(pathed, &address));
        g_assert_cmpuint(address.length, ==, sizeof(struct sockaddr_un));
        g_assert_cmpuint(strlen(address.un.sun_path), ==, room);
}

static Address
address_of(const char *text)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Endpoint) endpoint = endpoint_parse(text, DEFAULT_PORT, &error);
        Address address;

        g_assert_no_error(error);
        g_assert_true(endpoint_get_address(endpoint, &address));

        return address;
}

static void
test_endpoint_address(void)
{
        g_autoptr(Endpoint) name = endpoint_parse("localhost", DEFAULT_PORT, NULL);
        Address address;

        g_assert_false(endpoint_get_address(name, &address));

        address = address_of("1.2.3.4:5");
        g_assert_cmpint(address.any.sa_family, ==, AF_INET);
        g_assert_cmpuint(address.length, ==, sizeof(struct sockaddr_in));
        g_assert_cmpuint(ntohs(address.in.sin_port), ==, 5);
        g_assert_cmphex(ntohl(address.in.sin_addr.s_addr), ==, 0x01020304);

        address = address_of("[::1]");
        g_assert_cmpint(address.any.sa_family, ==, AF_INET6);
        g_assert_cmpuint(address.length, ==, sizeof(struct sockaddr_in6));
        g_assert_cmpuint(ntohs(address.in6.sin6_port), ==, DEFAULT_PORT);
        g_assert_true(IN6_IS_ADDR_LOOPBACK(&address.in6.sin6_addr));

        address = address_of("unix:/run/ivr");
        g_assert_cmpint(address.any.sa_family, ==, AF_UNIX);
        g_assert_cmpuint(address.length, ==,
                         offsetof(struct sockaddr_un, sun_path) + sizeof("/run/ivr"));
        g_assert_cmpstr(address.un.sun_path, ==, "/run/ivr");

        address = address_of("unix:@ivr");
        g_assert_cmpuint(address.length, ==, offsetof(struct sockaddr_un, sun_path) + 4);
        g_assert_cmpmem(address.un.sun_path, 4, "\0ivr", 4);
}

static void
test_print(void)
{
        static const char *const texts[] = {
                "1.2.3.4:5",          "255.255.255.255:65535", "[::1]:5",
                "[2001:db8::1]:4573", "unix:/run/ivr",         "unix:@ivr",
        };
        char text[ADDRESS_TEXT_SIZE];
        Address address;

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                address = address_of(texts[i]);
                g_assert_cmpstr(address_print(&address, text), ==, texts[i]);
        }

        address = (Address){ .length = sizeof(sa_family_t), .un.sun_family = AF_UNIX };
        g_assert_cmpstr(address_print(&address, text), ==, "unix:");
        address.length = 0;
        g_assert_cmpstr(address_print(&address, text), ==, "unix:");

        address = (Address){ 0 };
        g_assert_cmpstr(address_print(&address, text), ==, "unknown");
}

static void
test_print_hostile(void)
{
        char text[ADDRESS_TEXT_SIZE];
        Address address = { .un.sun_family = AF_UNIX };
        static const char name[] = "\0a\nagi_x: 1\0\x9b";

        memcpy(address.un.sun_path, name, sizeof(name) - 1);
        address.length = offsetof(struct sockaddr_un, sun_path) + sizeof(name) - 1;
        g_assert_cmpstr(address_print(&address, text), ==, "unix:@a?agi_x:?1??");

        /* A path may fill the whole field, without NUL. */
        memset(address.un.sun_path, 'a', sizeof(address.un.sun_path));
        address.length = sizeof(address.un);
        g_assert_cmpuint(strlen(address_print(&address, text)), ==, 5 + 108);
}

static void
test_normalise(void)
{
        char text[ADDRESS_TEXT_SIZE];
        Address address = address_of("[::ffff:1.2.3.4]:5"), plain = address_of("1.2.3.4:5");

        address_normalise(&address);
        g_assert_cmpstr(address_print(&address, text), ==, "1.2.3.4:5");
        g_assert_cmpuint(address.length, ==, sizeof(struct sockaddr_in));
        g_assert_true(address_equal(&address, &plain));

        address = address_of("[::1]:5");
        address_normalise(&address);
        g_assert_cmpstr(address_print(&address, text), ==, "[::1]:5");

        address = address_of("unix:/run/ivr");
        address_normalise(&address);
        g_assert_cmpstr(address_print(&address, text), ==, "unix:/run/ivr");
}

static void
test_equal(void)
{
        static const char *const texts[] = {
                "1.2.3.4:5", "1.2.3.4:6", "1.2.3.5:5", "[::1]:5",  "[::1]:6",
                "[::2]:5",   "unix:/a",   "unix:/b",   "unix:/aa", "unix:@a",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                for (size_t j = 0; j < G_N_ELEMENTS(texts); j++) {
                        Address a = address_of(texts[i]), b = address_of(texts[j]);

                        g_assert_true(address_equal(&a, &b) == (i == j));
                }
        }
}

static void
test_equal_parts(void)
{
        Address a = address_of("[fe80::1]:5"), b = a;

        b.in6.sin6_flowinfo = 7;
        g_assert_true(address_equal(&a, &b));
        b.in6.sin6_scope_id = 2;
        g_assert_false(address_equal(&a, &b));

        /* As getsockname() gives it, and as it was bound. */
        a = b = address_of("unix:/run/ivr");
        a.length = sizeof(a.un);
        b.length--;
        g_assert_true(address_equal(&a, &b));
}

static void
test_list(void)
{
        const Address items[] = { address_of("1.2.3.4:5"), address_of("[::1]:6") };
        g_autoptr(AddressList) a = address_list_new(items, 2);
        g_autoptr(AddressList) empty = address_list_new(NULL, 0);
        AddressList *again = address_list_ref(a);

        g_assert_true(again == a);
        address_list_unref(again);
        address_list_unref(NULL);

        g_assert_cmpuint(a->n, ==, 2);
        g_assert_true(address_equal(&a->items[1], &items[1]));
        g_assert_cmpuint(empty->n, ==, 0);
}

static void
test_range_match(void)
{
        static const struct {
                const char *range;
                const char *address;
                bool matches;
        } cases[] = {
                { "10.0.0.0/8", "10.255.1.2", true },
                { "10.0.0.0/8", "11.0.0.0", false },
                { "10.128.0.0/9", "10.127.255.255", false },
                { "10.128.0.0/9", "10.128.0.0", true },
                { "192.168.1.4/30", "192.168.1.7", true },
                { "192.168.1.4/30", "192.168.1.8", false },
                { "1.2.3.4", "1.2.3.4", true },
                { "1.2.3.4", "1.2.3.5", false },
                { "1.2.3.4/32", "1.2.3.4", true },
                { "0.0.0.0/0", "255.1.2.3", true },
                { "0.0.0.0/0", "[::1]", false },
                { "::/0", "[2001:db8::1]", true },
                { "::/0", "1.2.3.4", false },
                { "::1", "[::1]", true },
                { "::1", "[::2]", false },
                { "2001:db8::/33", "[2001:db8:7fff::1]", true },
                { "2001:db8::/33", "[2001:db8:8000::1]", false },
                { "2001:db8::/128", "[2001:db8::]", true },
                { "::ffff:10.0.0.0/104", "10.1.2.3", true },
                { "::ffff:10.0.0.0/104", "11.1.2.3", false },
                { "::ffff:1.2.3.4", "1.2.3.4", true },
                { "unix", "unix:/run/ivr", true },
                { "unix", "unix:@ivr", true },
                { "unix", "1.2.3.4", false },
                { "1.2.3.4", "unix:/run/ivr", false },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                AddressRange range;
                Address address = address_of(cases[i].address);

                g_test_message("%s in %s", cases[i].address, cases[i].range);
                g_assert_true(address_range_parse(&range, cases[i].range, &error));
                g_assert_no_error(error);
                g_assert_true(address_range_match(&range, 1, &address) == cases[i].matches);
        }
}

static void
test_range_any(void)
{
        AddressRange ranges[3];
        Address address = address_of("10.1.2.3");

        g_assert_true(address_range_parse(&ranges[0], "::1", NULL));
        g_assert_true(address_range_parse(&ranges[1], "unix", NULL));
        g_assert_true(address_range_parse(&ranges[2], "10.0.0.0/8", NULL));
        g_assert_true(address_range_match(ranges, 3, &address));
        g_assert_false(address_range_match(ranges, 2, &address));
        g_assert_false(address_range_match(NULL, 0, &address));
}

static void
test_range_bad(void)
{
        static const Bad cases[] = {
                { "", "not a range" },
                { "localhost", "not a range" },
                { "10.0.0", "not a range" },
                { "1.2.3.4:5", "without a port" },
                { "[::1]", "not a range" },
                { "Unix", "not a range" },
                { "10.0.0.0/33", "from 0 to 32" },
                { "::/129", "from 0 to 128" },
                { "10.0.0.0/", "from 0 to 32" },
                { "10.0.0.0/+8", "from 0 to 32" },
                { "10.0.0.0/ 8", "from 0 to 32" },
                { "10.0.0.0/8/8", "from 0 to 32" },
                { "10.0.0.0/255.0.0.0", "from 0 to 32" },
                { "10.0.0.1/8", "write 10.0.0.0/8, or just 10.0.0.1" },
                { "2001:db8:8000::/32", "write 2001:db8::/32" },
                { "1.2.3.4/0", "write 0.0.0.0/0" },
                { "10.0.0.0/99999999999999999999", "from 0 to 32" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autoptr(GError) error = NULL;
                AddressRange range;

                g_assert_false(address_range_parse(&range, cases[i].text, NULL));
                g_assert_false(address_range_parse(&range, cases[i].text, &error));
                g_test_message("'%s': %s", cases[i].text, error->message);
                g_assert_nonnull(strstr(error->message, cases[i].hint));
        }
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/address/endpoint/every-form-is-read", test_endpoint_good);
        g_test_add_func("/address/endpoint/a-mistake-is-named", test_endpoint_bad);
        g_test_add_func("/address/endpoint/length-is-bounded", test_endpoint_long);
        g_test_add_func("/address/endpoint/literals-have-an-address", test_endpoint_address);
        g_test_add_func("/address/print/reads-as-it-was-written", test_print);
        g_test_add_func("/address/print/peer-cannot-forge-a-line", test_print_hostile);
        g_test_add_func("/address/normalise/mapped-becomes-ipv4", test_normalise);
        g_test_add_func("/address/equal/only-to-itself", test_equal);
        g_test_add_func("/address/equal/by-what-counts", test_equal_parts);
        g_test_add_func("/address/list/compared-in-order", test_list);
        g_test_add_func("/address/range/matches-by-prefix", test_range_match);
        g_test_add_func("/address/range/any-of-several", test_range_any);
        g_test_add_func("/address/range/a-mistake-is-named", test_range_bad);

        return g_test_run();
}
