/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is lines: the paths of routes up to an empty line, then values of agi_request. Which
 * route each of them gets is compared with a model that tries every route, segment by segment.
 */
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include "proxy/inbox.h"
#include "proxy/settings.h"

#define MAX_ROUTES   64
#define MAX_REQUESTS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the settings file lets through as Path=. */
static bool
is_path(const char *path)
{
        g_auto(GStrv) segments = g_strsplit(path, "/", -1);

        if (strcmp(path, "*") == 0)
                return true;
        if (!segments[0])
                return false;
        for (size_t i = 0; segments[i]; i++)
                if (!*segments[i] || strcmp(segments[i], ".") == 0 ||
                    strcmp(segments[i], "..") == 0)
                        return false;

        return true;
}

static void
add_route(Settings *settings, const char *path)
{
        for (unsigned i = 0; i < settings->routes->len; i++)
                if (strcmp(((RouteSettings *)settings->routes->pdata[i])->path, path) == 0)
                        return;

        if (settings->routes->len < MAX_ROUTES && is_path(path))
                settings_add_route(settings, path)->path = g_strdup(path);
}

/* The path as a text of segments, or NULL for one that nothing but the wildcard may have. */
static GStrv
model_segments(const char *request, size_t length)
{
        g_autoptr(GString) path = g_string_new(NULL);
        g_auto(GStrv) segments = NULL;

        for (size_t i = 0; i < length && request[i] != '?' && request[i] != '#'; i++) {
                int high = i + 2 < length ? g_ascii_xdigit_value(request[i + 1]) : -1;
                int low = i + 2 < length ? g_ascii_xdigit_value(request[i + 2]) : -1;
                bool is_escape = request[i] == '%' && high >= 0 && low >= 0;
                uint8_t c = is_escape ? (uint8_t)(high * 16 + low) : (uint8_t)request[i];

                if (c < ' ' || c == 0x7f || (is_escape && c == '/'))
                        return NULL;
                g_string_append_c(path, (char)c);
                i += is_escape ? 2 : 0;
        }

        segments = g_strsplit(path->str, "/", -1);
        for (size_t i = 0; segments[i]; i++) {
                if (strcmp(segments[i], ".") == 0 || strcmp(segments[i], "..") == 0)
                        return NULL;
                if (!*segments[i] && (segments[i + 1] || i == 0))
                        return NULL;
        }

        return g_steal_pointer(&segments);
}

/* How many segments @path has when it is @segments or a parent of them, else 0. */
static unsigned
model_match(const char *path, GStrv segments)
{
        g_auto(GStrv) wanted = g_strsplit(path, "/", -1);
        unsigned n = 0;

        for (; wanted[n]; n++)
                if (!segments[n] || strcmp(wanted[n], segments[n]) != 0)
                        return 0;

        return n;
}

/* False when it is no request. */
static bool
model_find(const Settings *settings, const char *value, size_t length, RouteSettings **found)
{
        const char *end = value + length, *slash, *authority = value;
        g_auto(GStrv) segments = NULL;
        unsigned best = 0;

        *found = NULL;
        if (length == 0 || !g_ascii_isalpha(*value))
                return false;
        while (authority < end && *authority &&
               (g_ascii_isalnum(*authority) || strchr("+-.", *authority)))
                authority++;
        if (end - authority < 3 || memcmp(authority, "://", 3) != 0)
                return false;

        for (slash = authority + 3; slash < end && !memchr("/?#", *slash, 3); slash++)
                ;
        if (slash < end && *slash == '/')
                segments = model_segments(slash + 1, (size_t)(end - slash) - 1);
        else
                segments = g_new0(char *, 1);

        for (unsigned i = 0; i < settings->routes->len; i++) {
                RouteSettings *route = settings->routes->pdata[i];
                bool is_rest = strcmp(route->path, "*") == 0;
                unsigned n = is_rest || !segments ? 0 : model_match(route->path, segments);

                if (n > best || (is_rest && best == 0 && !*found)) {
                        *found = route;
                        best = n;
                }
        }

        return true;
}

static void
check(const Settings *settings, const char *value, size_t length, BufferPool *pool)
{
        g_autoptr(GString) block = g_string_new("agi_request: ");
        RouteSettings *route = NULL, *expected;
        Inbox inbox = { .bytes = { NULL } };
        bool is_odd, is_request;

        g_string_append_len(block, value, (gssize)length);
        g_string_append(block, "\n\n");
        agi_env_init(&inbox.env);
        buffer_append(&inbox.bytes, pool, block->str, block->len);

        if (agi_env_parse(&inbox.env, buffer_data(&inbox.bytes), block->len) == AGI_ENV_COMPLETE) {
                const char *read = buffer_data(&inbox.bytes) + inbox.env.request.offset;

                is_request = model_find(settings, read, inbox.env.request.length, &expected);
                g_assert_true(inbox_find_route(&inbox, settings, pool, &route, &is_odd) ==
                              is_request);
                if (is_request)
                        g_assert_cmpstr(route ? route->path : NULL, ==,
                                        expected ? expected->path : NULL);
                g_assert_cmpmem(buffer_data(&inbox.bytes), buffer_length(&inbox.bytes), block->str,
                                block->len);
        }
        inbox_clear(&inbox, pool);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autoptr(Settings) settings = settings_new();
        g_autoptr(BufferPool) pool = buffer_pool_new();
        const char *text = (const char *)data, *end = text + size;
        bool has_routes = false;

        for (unsigned n = 0; text < end && n < MAX_REQUESTS;) {
                const char *lf = memchr(text, '\n', (size_t)(end - text));
                size_t length = (size_t)((lf ? lf : end) - text);
                g_autofree char *line = g_strndup(text, length);

                if (has_routes) {
                        check(settings, text, length, pool);
                        n++;
                } else if (length > 0) {
                        add_route(settings, line);
                } else {
                        has_routes = true;
                        settings_finish(settings, NULL, NULL);
                }
                text += length + 1;
        }

        return 0;
}
