/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is the value of agi_request. What is found in it is compared with a regular
 * expression's findings, the path with one decoded and split by a model; and with another authority
 * in place, path and rest must still be found as they were.
 */
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include "agi/agi-request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_against_pattern(const char *value, size_t size, bool parsed, const AgiRequest *request)
{
        g_autoptr(GRegex) regex = g_regex_new(
                "\\A([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(?:/([^?#]*))?", G_REGEX_RAW, 0, NULL);
        g_autoptr(GMatchInfo) match = NULL;
        int start, end;

        g_assert_true(g_regex_match_full(regex, value, size, 0, 0, &match, NULL) == parsed);
        if (!parsed)
                return;

        g_assert_true(g_match_info_fetch_pos(match, 2, &start, &end));
        g_assert_cmpuint(request->authority, ==, start);
        g_assert_cmpuint(request->authority_length, ==, end - start);

        if (g_match_info_fetch_pos(match, 3, &start, &end) && start >= 0) {
                g_assert_cmpuint(request->path, ==, start);
                g_assert_cmpuint(request->path_length, ==, end - start);
        } else {
                g_assert_cmpuint(request->path_length, ==, 0);
        }
        g_assert_cmpuint(request->path + request->path_length, <=, size);
}

/* The decoded path, or NULL for one that may match nothing but the wildcard. */
static char *
model_path(const char *raw, size_t length)
{
        g_autoptr(GString) path = g_string_new(NULL);
        g_auto(GStrv) segments = NULL;

        for (size_t i = 0; i < length; i++) {
                int high = i + 2 < length ? g_ascii_xdigit_value(raw[i + 1]) : -1;
                int low = i + 2 < length ? g_ascii_xdigit_value(raw[i + 2]) : -1;
                bool is_escape = raw[i] == '%' && high >= 0 && low >= 0;
                uint8_t c = is_escape ? high * 16 + low : raw[i];

                if (c < 0x20 || c == 0x7f || (is_escape && c == '/'))
                        return NULL;
                g_string_append_c(path, c);
                if (is_escape)
                        i += 2;
        }

        segments = g_strsplit(path->str, "/", -1);
        for (size_t i = 0; segments[i]; i++) {
                bool is_last = segments[i + 1] == NULL;

                if (g_str_equal(segments[i], ".") || g_str_equal(segments[i], "..") ||
                    (segments[i][0] == '\0' && (!is_last || (is_last && path->len == 1))))
                        return NULL;
        }
        return g_strdup(path->str);
}

static void
check_path(const char *value, const AgiRequest *request)
{
        g_autofree char *expected = model_path(value + request->path, request->path_length);
        g_autofree char *path = g_malloc(request->path_length + 1);

        if (agi_request_get_path(request, value, path)) {
                g_assert_cmpstr(path, ==, expected);
        } else {
                g_assert_null(expected);
                g_assert_cmpmem(path, request->path_length, value + request->path,
                                request->path_length);
                g_assert_true(path[request->path_length] == '\0');
        }
}

static void
check_replaced(const char *value, size_t size, const AgiRequest *request)
{
        const char *authority = "[2001:db8::1]:4573";
        g_autoptr(GString) replaced = g_string_new_len(value, (gssize)request->authority);
        size_t rest = request->authority + request->authority_length;
        AgiRequest again;

        g_string_append(replaced, authority);
        g_string_append_len(replaced, value + rest, (gssize)(size - rest));

        g_assert_true(agi_request_parse(&again, replaced->str, replaced->len));
        g_assert_cmpmem(replaced->str + again.authority, again.authority_length, authority,
                        strlen(authority));
        g_assert_cmpmem(replaced->str + again.path, again.path_length, value + request->path,
                        request->path_length);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *value = g_malloc(MAX(size, 1));
        AgiRequest request;
        bool parsed;

        if (size > 0)
                memcpy(value, data, size);
        parsed = agi_request_parse(&request, value, size);

        check_against_pattern(value, size, parsed, &request);
        if (parsed) {
                check_path(value, &request);
                check_replaced(value, size, &request);
        }
        return 0;
}
