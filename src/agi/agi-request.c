/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The dialplan writes this URL by hand, so nearly anything may stand in it: blanks, UTF-8, percent
 * signs that are no escapes. Only what is needed is taken apart, and nothing is made valid.
 */
#include "agi/agi-request.h"

#include <string.h>

/* How many bytes follow @from until a query, a fragment, or if @slash, a path, or the end. */
static size_t
length_until(const char *value, size_t from, size_t length, bool slash)
{
        size_t i = from;

        while (i < length && value[i] != '?' && value[i] != '#' && !(slash && value[i] == '/'))
                i++;
        return i - from;
}

bool
agi_request_parse(AgiRequest *request, const char *value, size_t length)
{
        size_t i = 0;

        *request = (AgiRequest){ 0 };

        if (length == 0 || !g_ascii_isalpha(value[0]))
                return false;
        while (i < length && (g_ascii_isalnum(value[i]) || (value[i] && strchr("+-.", value[i]))))
                i++;
        if (length - i < strlen("://") || memcmp(value + i, "://", strlen("://")) != 0)
                return false;
        i += strlen("://");

        request->authority = i;
        request->authority_length = length_until(value, i, length, true);
        i += request->authority_length;

        if (i < length && value[i] == '/')
                i++;
        request->path = i;
        request->path_length = length_until(value, i, length, false);
        return true;
}

/* Decodes into @path, which isn't ended; false when a byte is one that no path should have. */
static bool
decode(const char *value, size_t length, char *path, size_t *n)
{
        *n = 0;
        for (size_t i = 0; i < length; i++) {
                char c = value[i];

                if (c == '%' && length - i > 2 && g_ascii_isxdigit(value[i + 1]) &&
                    g_ascii_isxdigit(value[i + 2])) {
                        c = (char)(g_ascii_xdigit_value(value[i + 1]) << 4 |
                                   g_ascii_xdigit_value(value[i + 2]));
                        i += 2;
                        if (c == '/')
                                return false;
                }
                if (g_ascii_iscntrl(c))
                        return false;
                path[(*n)++] = c;
        }
        return true;
}

static bool
segments_are_plain(const char *path)
{
        const char *slash;

        for (; (slash = strchr(path, '/')); path = slash + 1) {
                size_t n = slash - path;

                if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && memcmp(path, "..", 2) == 0))
                        return false;
        }
        return strcmp(path, ".") != 0 && strcmp(path, "..") != 0;
}

bool
agi_request_get_path(const AgiRequest *request, const char *value, char *path)
{
        const char *raw = value + request->path;
        size_t n;

        if (decode(raw, request->path_length, path, &n)) {
                path[n] = '\0';
                if (segments_are_plain(path))
                        return true;
        }

        memcpy(path, raw, request->path_length);
        path[request->path_length] = '\0';
        return false;
}
