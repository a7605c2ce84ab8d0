/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a server sends reaches the terminal only as text. */

#include <string.h>

#include <glib.h>

#include "ctl/transcript.h"

static void
assert_escaped(const char *text, size_t length, bool utf8, const char *expected)
{
        g_autofree char *escaped = transcript_escape(text, length, utf8);

        g_assert_cmpstr(escaped, ==, expected);
}

static void
test_control_bytes(void)
{
        assert_escaped("a\033[2J\r\n\tb\0c\177", 12, true, "a\\x1b[2J\\r\\n\\tb\\x00c\\x7f");
}

static void
test_invalid_utf8(void)
{
        assert_escaped("\xff\xc3(", 3, true, "\\xff\\xc3(");
        assert_escaped("\xc3", 1, true, "\\xc3");
}

static void
test_unprintable_characters(void)
{
        /* The 8-bit CSI, and what turns the direction of writing round. */
        assert_escaped("\xc2\x9b", 2, true, "\\xc2\\x9b");
        assert_escaped("\xe2\x80\xae", 3, true, "\\xe2\\x80\\xae");
}

static void
test_character_set(void)
{
        assert_escaped("\xc3\xa9", 2, true, "\xc3\xa9");
        assert_escaped("\xc3\xa9", 2, false, "\\xc3\\xa9");
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/ctl-transcript/control-bytes", test_control_bytes);
        g_test_add_func("/ctl-transcript/invalid-utf8", test_invalid_utf8);
        g_test_add_func("/ctl-transcript/unprintable-characters", test_unprintable_characters);
        g_test_add_func("/ctl-transcript/character-set", test_character_set);

        return g_test_run();
}
