/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Nearly all of it is ASCII and copied in runs. A backslash stays as it is: who reads "\x0a" can't
 * tell whether a line end or these four characters were sent, but neither does any harm.
 */

#include "base/log-text.h"

/* Of the format characters some turn the direction of what follows. */
static bool
is_harmless_character(gunichar c)
{
        GUnicodeType type = g_unichar_type(c);

        return type != G_UNICODE_CONTROL && type != G_UNICODE_FORMAT &&
               type != G_UNICODE_LINE_SEPARATOR && type != G_UNICODE_PARAGRAPH_SEPARATOR;
}

size_t
log_text_measure(const char *bytes, size_t n, bool *is_harmless)
{
        gunichar c;

        *is_harmless = log_text_is_plain(*bytes);
        if (!(*bytes & 0x80))
                return 1;

        /* (gunichar)-1 and -2: no character, or not all of one. */
        c = g_utf8_get_char_validated(bytes, (gssize)n);
        if (c >= (gunichar)-2)
                return 1;

        *is_harmless = is_harmless_character(c);

        return (size_t)(g_utf8_next_char(bytes) - bytes);
}

void
log_text_append(GString *text, const char *bytes, size_t n)
{
        const char *end = bytes + n;

        while (bytes < end) {
                const char *plain = bytes;
                bool is_harmless;
                size_t width;

                while (bytes < end && log_text_is_plain(*bytes))
                        bytes++;
                g_string_append_len(text, plain, bytes - plain);
                if (bytes == end)
                        return;

                width = log_text_measure(bytes, (size_t)(end - bytes), &is_harmless);
                if (is_harmless)
                        g_string_append_len(text, bytes, (gssize)width);
                else
                        for (size_t i = 0; i < width; i++)
                                g_string_append_printf(text, "\\x%02x", (unsigned char)bytes[i]);
                bytes += width;
        }
}
