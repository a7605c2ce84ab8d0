/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "base/text.h"

#include <stdarg.h>
#include <string.h>

#define SHORT 256

char *
text_copy(const char *text)
{
        size_t size = text ? strlen(text) + 1 : 0;
        char *copy = text ? g_try_malloc(size) : NULL;

        return copy ? memcpy(copy, text, size) : NULL;
}

char *
text_print(const char *format, ...)
{
        char text[SHORT];
        va_list arguments;
        size_t length;
        char *longer;

        va_start(arguments, format);
        length = (size_t)g_vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        if (length < sizeof(text))
                return text_copy(text);

        longer = g_try_malloc(length + 1);
        if (longer) {
                va_start(arguments, format);
                g_vsnprintf(longer, length + 1, format, arguments);
                va_end(arguments);
        }

        return longer;
}

bool
text_open(GString *text, size_t room)
{
        *text = (GString){ .str = g_try_malloc(room + 1), .allocated_len = room + 1 };
        if (text->str)
                *text->str = '\0';

        return text->str != NULL;
}

void
text_add(GString *text, const char *format, ...)
{
        size_t room = text->allocated_len - text->len, n;
        va_list arguments;

        va_start(arguments, format);
        n = (size_t)g_vsnprintf(text->str + text->len, room, format, arguments);
        va_end(arguments);
        text->len += MIN(n, room - 1);
}

void
text_close(GString *text)
{
        g_free(text->str);
        *text = (GString){ .str = NULL };
}
