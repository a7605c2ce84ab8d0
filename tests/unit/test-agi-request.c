/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The request: where authority and path stand in the URL, and the path that routes are matched by.
 */
#include <string.h>

#include <glib.h>

#include "agi/agi-request.h"

typedef struct Form {
        const char *value, *authority, *path;
} Form;

/* Of exactly the bytes given, so that a sanitizer sees a read beyond them. */
static char *
exact(const char *text)
{
        return g_memdup2(text, strlen(text));
}

static void
assert_form(const Form *form)
{
        g_autofree char *value = exact(form->value);
        g_autofree char *authority = NULL, *path = NULL;
        AgiRequest request;

        g_assert_true(agi_request_parse(&request, value, strlen(form->value)));
        authority = g_strndup(value + request.authority, request.authority_length);
        path = g_strndup(value + request.path, request.path_length);
        g_assert_cmpstr(authority, ==, form->authority);
        g_assert_cmpstr(path, ==, form->path);
}

static void
test_authority_and_path(void)
{
        static const Form forms[] = {
                { "agi://127.0.0.1:4573", "127.0.0.1:4573", "" },
                { "agi://127.0.0.1:4573/", "127.0.0.1:4573", "" },
                { "agi://127.0.0.1/x", "127.0.0.1", "x" },
                { "agi://[::1]:4573/v6", "[::1]:4573", "v6" },
                { "agi://::1/v6", "::1", "v6" },
                { "AGI://h/Upper", "h", "Upper" },
                { "hagi://h/p?x=y", "h", "p" },
                { "agi://h/a b/c d?q=e f", "h", "a b/c d" },
                { "agi://h/a%20b%2Fc?q=%41%zz", "h", "a%20b%2Fc" },
                { "agi://h//x//y", "h", "/x//y" },
                { "agi://h/a,b?x=1,2", "h", "a,b" },
                { "agi://user@h/x", "user@h", "x" },
                { "agi:///x", "", "x" },
                { "agi://", "", "" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++)
                assert_form(&forms[i]);
}

static void
test_query_and_fragment_end_the_path(void)
{
        static const Form forms[] = {
                { "agi://h:4573/?x=y&z=1", "h:4573", "" },
                { "agi://h/a?b/c#d", "h", "a" },
                { "agi://h/a#b/c?d", "h", "a" },
                { "agi://h?x=a/b", "h", "" },
                { "agi://h#a/b", "h", "" },
                { "agi://h/a?u=agi://other/b", "h", "a" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++)
                assert_form(&forms[i]);
}

static void
test_no_scheme_is_no_request(void)
{
        static const char *const values[] = {
                "",         "/",        "agi",   "agi:",       "agi:/",         "agi:/h/x",
                "://h/x",   "h/x",      "h:80",  " agi://h/x", "x?u=agi://h/x", "a b://h/x",
                "\r://h/x", "agi//h/x", "agi :", "//h/x",      "..i://h/x",     "4://h/x",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(values); i++) {
                g_autofree char *value = exact(values[i]);
                AgiRequest request;

                g_assert_false(agi_request_parse(&request, value, strlen(values[i])));
        }
        {
                AgiRequest request;

                g_assert_false(agi_request_parse(&request, "a\0://h", 6));
        }
}

static void
test_bytes_beyond_the_length_do_not_count(void)
{
        AgiRequest request;

        g_assert_false(agi_request_parse(&request, "agi://h/x", 5));
        g_assert_true(agi_request_parse(&request, "agi://host/x", 8));
        g_assert_cmpuint(request.authority_length, ==, 2);
        g_assert_cmpuint(request.path_length, ==, 0);
}

static bool
get_path(const char *text, size_t length, char **path)
{
        g_autofree char *value = g_memdup2(text, length);
        g_autofree char *buffer = NULL;
        AgiRequest request;
        bool plain;

        g_assert_true(agi_request_parse(&request, value, length));
        buffer = g_malloc(request.path_length + 1);
        memset(buffer, 'x', request.path_length + 1);
        plain = agi_request_get_path(&request, value, buffer);
        *path = g_steal_pointer(&buffer);
        return plain;
}

static void
assert_path(const char *value, bool expect_plain, const char *expect_path)
{
        g_autofree char *path = NULL;

        g_assert_true(get_path(value, strlen(value), &path) == expect_plain);
        g_assert_cmpstr(path, ==, expect_path);
}

static void
test_path_is_decoded_once(void)
{
        assert_path("agi://h", true, "");
        assert_path("agi://h/good/x?q", true, "good/x");
        assert_path("agi://h/g%6Fod/x", true, "good/x");
        assert_path("agi://h/a%20b", true, "a b");
        assert_path("agi://h/%c3%A9", true, "\xc3\xa9");
        assert_path("agi://h/caf\xc3\xa9", true, "caf\xc3\xa9");
        assert_path("agi://h/a%2561", true, "a%61");
        assert_path("agi://h/%252e%252e/x", true, "%2e%2e/x");
        assert_path("agi://h/a%3Fb%23c", true, "a?b#c");
        assert_path("agi://h/GOOD", true, "GOOD");
}

static void
test_what_is_no_escape_stays(void)
{
        assert_path("agi://h/a%zz", true, "a%zz");
        assert_path("agi://h/a%4", true, "a%4");
        assert_path("agi://h/a%", true, "a%");
        assert_path("agi://h/%%41", true, "%A");
        assert_path("agi://h/%4%41", true, "%4A");
        assert_path("agi://h/a+b", true, "a+b");
        assert_path("agi://h/a%4?1", true, "a%4");
}

static void
test_trailing_slash_is_plain(void)
{
        assert_path("agi://h/a/", true, "a/");
        assert_path("agi://h/a/b/?q", true, "a/b/");
}

static void
test_dots_that_are_no_segment_are_plain(void)
{
        assert_path("agi://h/a.b/..c/d../...", true, "a.b/..c/d../...");
        assert_path("agi://h/.a", true, ".a");
}

static void
test_path_that_climbs_is_not_plain(void)
{
        assert_path("agi://h/..", false, "..");
        assert_path("agi://h/../a", false, "../a");
        assert_path("agi://h/good/../nosuch", false, "good/../nosuch");
        assert_path("agi://h/good/..", false, "good/..");
        assert_path("agi://h/a/../", false, "a/../");
        assert_path("agi://h/good/%2e%2E/nosuch", false, "good/%2e%2E/nosuch");
        assert_path("agi://h/good/.%2e", false, "good/.%2e");
        assert_path("agi://h/.", false, ".");
        assert_path("agi://h/a/./b", false, "a/./b");
        assert_path("agi://h/a/%2e", false, "a/%2e");
}

static void
test_path_that_merges_is_not_plain(void)
{
        assert_path("agi://h//", false, "/");
        assert_path("agi://h//good", false, "/good");
        assert_path("agi://h/a//b", false, "a//b");
        assert_path("agi://h/a//", false, "a//");
}

static void
test_encoded_slash_is_not_plain(void)
{
        assert_path("agi://h/good%2Fx", false, "good%2Fx");
        assert_path("agi://h/good%2fx%20y", false, "good%2fx%20y");
        assert_path("agi://h/%6F%2F", false, "%6F%2F");
}

static void
test_control_bytes_are_not_plain(void)
{
        g_autofree char *path = NULL;

        assert_path("agi://h/a\rb", false, "a\rb");
        assert_path("agi://h/a\tb", false, "a\tb");
        assert_path("agi://h/a\x7f", false, "a\x7f");
        assert_path("agi://h/%6F%0a", false, "%6F%0a");
        assert_path("agi://h/a%00b", false, "a%00b");
        assert_path("agi://h/a%7Fb", false, "a%7Fb");

        g_assert_false(get_path("agi://h/a\0%41", 13, &path));
        g_assert_cmpmem(path, 6, "a\0%41", 6);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/agi-request/authority-and-path", test_authority_and_path);
        g_test_add_func("/agi-request/query-and-fragment-end-the-path",
                        test_query_and_fragment_end_the_path);
        g_test_add_func("/agi-request/no-scheme-is-no-request", test_no_scheme_is_no_request);
        g_test_add_func("/agi-request/bytes-beyond-the-length-do-not-count",
                        test_bytes_beyond_the_length_do_not_count);
        g_test_add_func("/agi-request/path-is-decoded-once", test_path_is_decoded_once);
        g_test_add_func("/agi-request/what-is-no-escape-stays", test_what_is_no_escape_stays);
        g_test_add_func("/agi-request/trailing-slash-is-plain", test_trailing_slash_is_plain);
        g_test_add_func("/agi-request/dots-that-are-no-segment-are-plain",
                        test_dots_that_are_no_segment_are_plain);
        g_test_add_func("/agi-request/path-that-climbs-is-not-plain",
                        test_path_that_climbs_is_not_plain);
        g_test_add_func("/agi-request/path-that-merges-is-not-plain",
                        test_path_that_merges_is_not_plain);
        g_test_add_func("/agi-request/encoded-slash-is-not-plain", test_encoded_slash_is_not_plain);
        g_test_add_func("/agi-request/control-bytes-are-not-plain",
                        test_control_bytes_are_not_plain);

        return g_test_run();
}
