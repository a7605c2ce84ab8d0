/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "base/escape.h"

#include <glib.h>

/* Of the format characters some turn the direction of what follows. */
static bool
is_harmless_character(gunichar c)
{
        GUnicodeType type = g_unichar_type(c);

        return type != G_UNICODE_CONTROL && type != G_UNICODE_FORMAT &&
               type != G_UNICODE_LINE_SEPARATOR && type != G_UNICODE_PARAGRAPH_SEPARATOR;
}

size_t
escape_measure(const char *bytes, size_t n, bool *is_harmless)
{
        gunichar c;

        *is_harmless = escape_is_plain(*bytes);
        if (!(*bytes & 0x80))
                return 1;

        /* (gunichar)-1 and -2: no character, or not all of one. */
        c = g_utf8_get_char_validated(bytes, (gssize)n);
        if (c >= (gunichar)-2)
                return 1;

        *is_harmless = is_harmless_character(c);

        return (size_t)(g_utf8_next_char(bytes) - bytes);
}
