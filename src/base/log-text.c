/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Nearly all of it is ASCII and copied in runs. A backslash stays as it is: who reads "\x0a" can't
 * tell whether a line end or these four characters were sent, but neither does any harm.
 */

#include "base/log-text.h"

#include <stdbool.h>

/* Of the format characters some turn the direction of what follows. */
static bool
is_harmless(gunichar c)
{
        GUnicodeType type = g_unichar_type(c);

        return type != G_UNICODE_CONTROL && type != G_UNICODE_FORMAT &&
               type != G_UNICODE_LINE_SEPARATOR && type != G_UNICODE_PARAGRAPH_SEPARATOR;
}

void
log_text_append(GString *text, const char *bytes, size_t n)
{
        const char *end = bytes + n;

        while (bytes < end) {
                const char *plain = bytes;
                size_t width = 1;

                while (bytes < end && *bytes >= ' ' && *bytes <= '~')
                        bytes++;
                g_string_append_len(text, plain, bytes - plain);
                if (bytes == end)
                        return;

                if (*bytes & 0x80) {
                        gunichar c = g_utf8_get_char_validated(bytes, end - bytes);

                        /* (gunichar)-1 and -2: no character, or not all of one. */
                        if (c < (gunichar)-2) {
                                width = (size_t)(g_utf8_next_char(bytes) - bytes);
                                if (is_harmless(c)) {
                                        g_string_append_len(text, bytes, (gssize)width);
                                        bytes += width;
                                        continue;
                                }
                        }
                }

                for (; width > 0; width--, bytes++)
                        g_string_append_printf(text, "\\x%02x", (unsigned char)*bytes);
        }
}
