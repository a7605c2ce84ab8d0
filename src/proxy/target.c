/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an operator acts on is logged here, once for each change: a server that can't be reached or
 * can be again, and one that is full.
 */

#include "proxy/target.h"

#include <errno.h>

#include "base/log-id.h"

static void
target_note_full(const ServerSettings *server, bool is_full, gint64 now)
{
        if (!server_note_full(server->server, is_full, now))
                return;

        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID", LOG_ID_SERVER_FULL,
                         "AGITATOR_SERVER", server->name, "MESSAGE",
                         "server %s is full: all of MaxSessions=%u are taken", server->name,
                         server->max_sessions);
}

/* How a dial ended: @error, or 0 for well. */
static void
target_note_dial(Target *target, int error)
{
        const char *name = target->server->name;
        const char *cause = target->failure ? target->failure : g_strerror(error);

        target->error = error;
        if (!error)
                g_clear_pointer(&target->failure, g_free);
        if (error)
                target->was_unreached = true;
        if (!server_note_dial(target->server->server, error == 0))
                return;

        g_log_structured(G_LOG_DOMAIN, error ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_MESSAGE,
                         "MESSAGE_ID", error ? LOG_ID_SERVER_DOWN : LOG_ID_SERVER_UP,
                         "AGITATOR_SERVER", name, "MESSAGE", "server %s %s: %s", name,
                         error ? "can't be reached" : "is back", error ? cause : "connected");
}

/* Begins to connect to the next address; false when there is none left. */
static bool
target_dial(Target *target, int *error)
{
        int fd;

        stream_close(target->stream);
        fd = dial_next(&target->dial, error);
        if (fd < 0)
                return false;

        stream_open(target->stream, fd, target->server->credentials);

        return true;
}

/* Reserves a place at @server and begins to dial it; false when another one has to be found. */
static bool
target_try(Target *target, ServerSettings *server, gint64 now)
{
        bool has_room = server_reserve(server->server, server->max_sessions);
        int error = EHOSTUNREACH; /* its name has never been resolved */

        g_clear_pointer(&target->failure, g_free);
        target_note_full(server, !has_room, now);
        if (!has_room)
                return false;

        target->server = server;
        target->end = now + MIN(server->connect_timeout, G_TIME_SPAN_DAY);
        dial_start(&target->dial, server_get_addresses(server->server));
        if (dial_get_left(&target->dial) > 0 && target_dial(target, &error))
                return true;

        target_note_dial(target, error);
        target_leave(target);

        return false;
}

bool
target_find(Target *target, RouteSettings *route, gint64 now)
{
        ServerSettings *server;

        while ((server = balance_next(&target->balance, route))) {
                if (target_try(target, server, now))
                        return true;
        }

        return false;
}

bool
target_redial(Target *target, int error, gint64 now)
{
        int next_error;

        g_free(target->failure);
        target->failure = g_strdup(stream_get_failure(target->stream));
        if (now < target->end && target_dial(target, &next_error))
                return true;

        target_note_dial(target, error);
        target_leave(target);

        return false;
}

gint64
target_get_limit(const Target *target, gint64 now)
{
        return MAX(target->end - now, 0) / (gint64)(dial_get_left(&target->dial) + 1);
}

void
target_settle(Target *target)
{
        target_note_dial(target, 0);
        balance_clear(&target->balance);
        dial_clear(&target->dial);
}

void
target_leave(Target *target)
{
        stream_close(target->stream);
        if (target->server)
                server_release(target->server->server);
        target->server = NULL;
}

void
target_clear(Target *target)
{
        target_leave(target);
        g_clear_pointer(&target->failure, g_free);
        balance_clear(&target->balance);
        dial_clear(&target->dial);
}
