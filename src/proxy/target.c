/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What an operator acts on is logged here, once for each change: a server that can't be reached or
 * can be again, and one that is full.
 */

#include "proxy/target.h"

#include <errno.h>

#include "base/fd.h"
#include "base/log-id.h"
#include "base/log.h"
#include "base/text.h"

#define RETRY_INTERVAL (20 * G_TIME_SPAN_MILLISECOND) /* of a Unix socket whose queue is full */

static void
target_note_full(const ServerSettings *server, bool is_full, gint64 now)
{
        if (!server_note_full(server->server, is_full, now))
                return;

        log_event(G_LOG_LEVEL_WARNING, LOG_ID_SERVER_FULL, "AGITATOR_SERVER", server->name,
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
        if (error)
                target->was_unreached = true;
        if (!server_note_dial(target->server->server, error == 0))
                return;

        if (error)
                log_fields(G_LOG_LEVEL_WARNING,
                           (const GLogField[]){ { "MESSAGE_ID", LOG_ID_SERVER_DOWN, -1 },
                                                { "AGITATOR_SERVER", name, -1 },
                                                { "AGITATOR_ERROR", cause, -1 } },
                           3, "server %s can't be reached: %s", name, cause);
        else
                log_event(G_LOG_LEVEL_MESSAGE, LOG_ID_SERVER_UP, "AGITATOR_SERVER", name,
                          "server %s is back: connected", name);
}

/* Begins to connect to the next address. */
static DialResult
target_dial(Target *target, int *error)
{
        DialResult result;
        int fd;

        stream_close(target->stream);
        target->sent = 0;
        target->is_sure = false;
        result = dial_next(&target->dial, &fd, error);
        if (result == DIAL_BEGUN &&
            !stream_open_dialed(target->stream, fd, target->server->credentials)) {
                fd_clear(&fd);
                *error = ENOMEM;
                return DIAL_SHORT;
        }

        return result;
}

/* What a dial has come to; one that went wrong with @error, or by itself, gives the place back. */
static TargetResult
target_conclude(Target *target, DialResult result, int error)
{
        switch (result) {
        case DIAL_BEGUN:
        case DIAL_BUSY:
                return TARGET_DIALING;
        case DIAL_NONE:
                target_note_dial(target, error);
                target_leave(target);
                return TARGET_NONE;
        case DIAL_SHORT:
                /* Nothing that the server could help. */
                target->error = error;
                target_leave(target);
                return TARGET_SHORT;
        }

        g_assert_not_reached();
}

/* Reserves a place at @server and begins to dial it. */
static TargetResult
target_try(Target *target, ServerSettings *server, gint64 now)
{
        bool has_room = server_reserve(server->server, server->max_sessions);
        DialResult result = DIAL_NONE;
        int error;

        g_clear_pointer(&target->failure, g_free);
        target_note_full(server, !has_room, now);
        if (!has_room)
                return TARGET_NONE;

        target->server = server;
        target->end = now + MIN(server->connect_timeout, G_TIME_SPAN_DAY);
        dial_start(&target->dial, server_settings_get_addresses(server));
        if (dial_get_left(&target->dial) > 0)
                result = target_dial(target, &error);
        else
                error = EHOSTUNREACH; /* its name has never been resolved */

        return target_conclude(target, result, error);
}

TargetResult
target_find(Target *target, RouteSettings *route, gint64 now)
{
        ServerSettings *server;

        while ((server = balance_next(&target->balance, route))) {
                TargetResult result = target_try(target, server, now);

                if (result != TARGET_NONE)
                        return result;
        }
        if (target->balance.is_short) {
                target->error = ENOMEM;
                return TARGET_SHORT;
        }

        return TARGET_NONE;
}

TargetResult
target_redial(Target *target, int error, gint64 now)
{
        DialResult result = DIAL_NONE;
        int next_error;

        g_free(target->failure);
        target->failure = text_copy(stream_get_failure(target->stream));
        if (fd_is_shortage(error))
                return target_conclude(target, DIAL_SHORT, error);
        if (now < target->end)
                result = target_dial(target, &next_error);

        return target_conclude(target, result, result == DIAL_SHORT ? next_error : error);
}

gint64
target_get_limit(const Target *target, gint64 now)
{
        gint64 left = MAX(target->end - now, 0);

        if (!stream_is_open(target->stream))
                return MIN(left, RETRY_INTERVAL);

        return left / (gint64)(dial_get_left(&target->dial) + 1);
}

StreamResult
target_greet(Target *target,
             const Inbox *inbox,
             const Settings *settings,
             const Address *client,
             const RouteSettings *route,
             Buffer *out,
             BufferPool *pool)
{
        StreamResult result = stream_handshake(target->stream);

        if (result != STREAM_OK)
                return result;
        if (target->sent == 0 && !stream_can_write(target->stream))
                return STREAM_WAIT;
        if (target->sent > 0 && !target->is_sure) {
                result = stream_confirm(target->stream);
                if (result != STREAM_OK)
                        return result;
        }

        /* It is not kept while a server that has it makes up its mind: the next one may need it. */
        if (!inbox_write(inbox, settings, client,
                         route->rewrite_host ? target->server->endpoint->authority : NULL, out,
                         pool))
                return stream_break(target->stream, ENOMEM);
        if (target->sent == 0) {
                result = stream_write(target->stream, buffer_data(out), buffer_length(out),
                                      &target->sent);
                target->is_sure = target->sent < buffer_length(out);
                if (result == STREAM_OK && !target->is_sure)
                        result = stream_confirm(target->stream);
        }
        if (result != STREAM_OK)
                buffer_clear(out, pool);

        return result;
}

void
target_settle(Target *target)
{
        g_clear_pointer(&target->failure, g_free);
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
