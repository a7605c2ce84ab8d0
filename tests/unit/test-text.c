/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <string.h>

#include <glib.h>

#include "base/text.h"

static void
test_copy(void)
{
        g_autofree char *copy = text_copy("abc");

        g_assert_cmpstr(copy, ==, "abc");
        g_assert_null(text_copy(NULL));
}

static void
test_print(void)
{
        g_autofree char *long_word = g_strnfill(1000, 'x');
        g_autofree char *shown = text_print("%d %s", 7, "words");
        g_autofree char *longer = text_print("%s.", long_word);

        g_assert_cmpstr(shown, ==, "7 words");
        g_assert_cmpuint(strlen(longer), ==, 1001);
        g_assert_true(g_str_has_suffix(longer, "x."));
}

static void
test_room(void)
{
        text_auto GString text = { 0 };
        const char *memory;

        g_assert_true(text_open(&text, 10));
        g_assert_cmpstr(text.str, ==, "");
        memory = text.str;

        text_add(&text, "%s", "12345");
        g_string_append(&text, "67");
        text_add(&text, "%d", 8);
        g_assert_cmpstr(text.str, ==, "12345678");

        /* What there is no room for is left out. */
        text_add(&text, "%s", "90ab");
        g_assert_cmpstr(text.str, ==, "1234567890");
        g_assert_cmpuint(text.len, ==, 10);
        text_add(&text, "%s", "more");
        g_assert_cmpstr(text.str, ==, "1234567890");
        g_assert_true(text.str == memory);
}

static void
test_no_memory(void)
{
        text_auto GString text = { 0 };

        g_assert_false(text_open(&text, G_MAXSIZE / 4));
        g_assert_null(text.str);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/text/copy", test_copy);
        g_test_add_func("/text/print", test_print);
        g_test_add_func("/text/room", test_room);
        g_test_add_func("/text/no-memory", test_no_memory);

        return g_test_run();
}
