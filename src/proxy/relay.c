/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A read goes into the thread's scratch memory and from there straight to the other side's socket.
 * Only what may not go yet, or what the kernel doesn't take, is copied and held, so that a session
 * with nothing in flight has no memory for it, and the usual chunk costs a read and a write.
 *
 * Errors of a server's socket need care. Linux says EPIPE when the peer had ended before its reset
 * and ECONNRESET when it had not, and says it once: whichever call comes first gets it, and a read
 * after that looks like a clean end. So a write's error is kept until the reading side has
 * delivered what arrived.
 */

#include "proxy/relay.h"

#include <errno.h>
#include <string.h>

#include "agi/agi-dialogue.h"
#include "base/fd.h"
#include "base/text.h"
#include "proxy/trace.h"

#define READS_PER_TURN 8

static const char failure_line[] = "FAILURE\n";

void
relay_start(Relay *relay,
            Stream *client,
            Stream *server,
            const RouteSettings *route,
            Trace *trace,
            gint64 now)
{
        relay->client = client;
        relay->server = server;
        relay->route = route;
        relay->trace = trace;
        relay->started = relay->active = now;
        relay->on_server_failure = (uint8_t)route->on_server_failure;
        relay->whole_lines = !route->relay_bytes;
        relay->at_line_start = true;
        agi_dialogue_init(&relay->dialogue);
}

/* One side, or agitator, has ended the session; who was first counts. */
static void
relay_note_end(Relay *relay, RelayEnd by)
{
        const AgiDialogue *dialogue = &relay->dialogue;

        if (relay->ended_by != RELAY_END_NONE)
                return;

        /* The server's FAILURE is what this is the answer to, or it hung up itself. */
        if (by == RELAY_END_CLIENT &&
            (dialogue->failed || (dialogue->hung_up && dialogue->hangs_up)))
                by = RELAY_END_SERVER;
        else if (by == RELAY_END_SERVER && dialogue->hung_up && !dialogue->hangs_up)
                by = RELAY_END_CLIENT;
        relay->ended_by = (uint8_t)by;
        if (by == RELAY_END_SERVER)
                agi_dialogue_end(&relay->dialogue);
}

/* A line goes to the client: for the log, and to know what it is doing. */
static void
relay_note_line(Relay *relay, const char *line, size_t length)
{
        size_t n;

        g_assert(line && length > 0);
        n = MIN(length - (line[length - 1] == '\n'), sizeof(relay->command));
        agi_dialogue_command(&relay->dialogue, line, length);
        memcpy(relay->command, line, n);
        relay->n_command = (uint8_t)n;
}

static void
way_drop(RelayWay *way, BufferPool *pool)
{
        buffer_clear(&way->held, pool);
        way->passed = 0;
        way->scanned = 0;
}

static void
relay_note_write_error(Relay *relay, RelayWay *way, int error)
{
        way->dead = true;
        if (fd_is_shortage(error)) {
                relay->is_short = true; /* nobody's end but ours */
                return;
        }

        if (way == &relay->to_client) {
                relay->client_error = error;
                relay_note_end(relay, RELAY_END_CLIENT);
        } else if (!relay->to_client.ended && error != EPIPE) {
                relay->server_error = error;
        }
}

/* Writes to the receiving side and returns how much of it is done with. */
static size_t
relay_send(Relay *relay, RelayWay *way, const char *data, size_t size)
{
        Stream *to = way == &relay->to_server ? relay->server : relay->client;
        size_t sent = 0, n;

        while (sent < size && !way->dead) {
                switch (stream_write(to, data + sent, size - sent, &n)) {
                case STREAM_OK:
                        sent += n;
                        break;
                case STREAM_WAIT:
                        return sent;
                case STREAM_END:
                        g_assert_not_reached();
                case STREAM_BROKEN:
                        relay_note_write_error(relay, way, stream_get_error(to));
                        break;
                }
        }

        return size;
}

/* How many of the bytes from the server, which begin where a line does (or within one that is
 * passed as it comes), may go to the client now. The first @scanned of them have no LF. */
static size_t
relay_gate(Relay *relay, const char *data, size_t size, size_t scanned)
{
        size_t passed = 0;
        const char *lf;

        if (!relay->whole_lines || relay->to_client.ended) {
                relay->has_unseen = true;
                return size;
        }

        if (relay->in_long_line) {
                lf = memchr(data, '\n', size);
                relay->in_long_line = !lf;
                passed = lf ? (size_t)(lf - data) + 1 : size;
        }

        /* No reply will come any more: while lines waited for one, the server's end behind them
         * would not be seen. */
        if (relay->to_server.ended) {
                lf = memrchr(data + passed, '\n', size - passed);
                return lf ? (size_t)(lf - data) + 1 : passed;
        }

        while (!relay->dialogue.outstanding && MAX(passed, scanned) < size) {
                size_t from = MAX(passed, scanned);

                lf = memchr(data + from, '\n', size - from);
                if (!lf)
                        break;
                relay_note_line(relay, data + passed, (size_t)(lf - data) + 1 - passed);
                passed = (size_t)(lf - data) + 1;
        }

        return passed;
}

/* The bytes of @way that may go, @passed of the @size. */
static void
relay_note_passed(Relay *relay, RelayWay *way, const char *data, size_t passed)
{
        if (way == &relay->to_client && passed > 0)
                relay->at_line_start = data[passed - 1] == '\n';
}

/* Sends what is held, which is something, and may go. */
static void
relay_flush(Relay *relay, RelayWay *way, BufferPool *pool)
{
        size_t length = buffer_length(&way->held);
        size_t sent;

        if (way == &relay->to_client && way->passed < length) {
                const char *data = buffer_data(&way->held) + way->passed;
                size_t scanned = MAX(way->scanned, way->passed) - way->passed;
                size_t passed = relay_gate(relay, data, length - way->passed, scanned);

                relay_note_passed(relay, way, data, passed);
                way->passed += passed;
                if (!relay->dialogue.outstanding)
                        way->scanned = length;
        }
        if (way->passed == 0)
                return;

        sent = relay_send(relay, way, buffer_data(&way->held), way->passed);
        if (way->dead) {
                way_drop(way, pool);
                return;
        }
        buffer_consume(&way->held, pool, sent);
        way->passed -= sent;
        way->scanned = way->scanned > sent ? way->scanned - sent : 0;
}

void
relay_note_client(Relay *relay, const char *data, size_t size)
{
        if (G_UNLIKELY(relay->trace))
                trace_bytes(relay->trace, TRACE_FROM_CLIENT, data, size);
        agi_dialogue_reply(&relay->dialogue, data, size);
}

/* Without memory for what has to be held the session is over. */
static bool
relay_hold(Relay *relay, RelayWay *way, const char *data, size_t size, BufferPool *pool)
{
        if (!buffer_append(&way->held, pool, data, size))
                relay->is_short = true;

        return !relay->is_short;
}

/* Takes what was just read: sends what may go, holds the rest. */
static void
relay_take(Relay *relay, RelayWay *way, const char *data, size_t size, BufferPool *pool)
{
        size_t passed = size, sent;

        way->bytes += size;
        if (way == &relay->to_server)
                relay_note_client(relay, data, size);
        else if (G_UNLIKELY(relay->trace))
                trace_bytes(relay->trace, TRACE_FROM_SERVER, data, size);
        if (way->dead)
                return;

        if (buffer_length(&way->held) > 0) {
                if (!relay_hold(relay, way, data, size, pool))
                        return;
                if (way == &relay->to_server)
                        way->passed += size;
                relay_flush(relay, way, pool);
                return;
        }

        if (way == &relay->to_client)
                passed = relay_gate(relay, data, size, 0);
        relay_note_passed(relay, way, data, passed);
        sent = relay_send(relay, way, data, passed);
        if (way->dead)
                return;

        relay_hold(relay, way, data + sent, size - sent, pool);
        way->passed = passed - sent;
        way->scanned = relay->dialogue.outstanding ? 0 : size - sent;
}

/* A line that has filled all the room there is can't wait for its end: it goes as it comes.
 * Asterisk would execute it in pieces in any case. */
static bool
relay_pass_long_line(Relay *relay, RelayWay *way)
{
        size_t length = buffer_length(&way->held);

        if (way != &relay->to_client || way->passed > 0 ||
            (relay->dialogue.outstanding && !relay->to_server.ended))
                return false;

        relay_note_line(relay, buffer_data(&way->held), length);
        relay->in_long_line = true;

        return true;
}

/* A line that was cut short would be executed as if it were whole. */
static void
relay_drop_tail(Relay *relay, BufferPool *pool)
{
        RelayWay *way = &relay->to_client;
        size_t length = buffer_length(&way->held);
        const char *data = buffer_data(&way->held), *lf;
        size_t whole;

        if (!relay->whole_lines || !data || length == way->passed)
                return;

        lf = memrchr(data, '\n', length);
        whole = MAX(lf ? (size_t)(lf - data) + 1 : 0, way->passed);
        buffer_truncate(&way->held, pool, length - whole);
        if (whole > way->passed) {
                relay->at_line_start = true;
                relay->awaits_end = true;
        }
}

/* After a hang-up or FAILURE a reset is how many servers end: they close without reading the HANGUP
 * that follows. */
static bool
relay_may_reset(const Relay *relay)
{
        return relay->to_server.ended || relay->dialogue.hung_up || relay->dialogue.failed;
}

/* The server's @error, or its end when that is 0. */
static void
relay_on_server_end(Relay *relay, int error, BufferPool *pool)
{
        if (error == 0 || relay_may_reset(relay))
                relay_note_end(relay, RELAY_END_SERVER);

        if (error == 0) {
                /* Anybody in between could have cut a line short. */
                if (relay->server->truncated)
                        relay_drop_tail(relay, pool);
                relay->to_client.ended = true;
        } else if (relay_may_reset(relay)) {
                relay_drop_tail(relay, pool);
                relay->to_client.ended = true;
                relay->to_server.dead = true;
                way_drop(&relay->to_server, pool);
        } else {
                relay_fail_server(relay, pool, error, RELAY_END_SERVER);
        }
}

/* The client's @error, or its end when that is 0. */
static void
relay_on_client_end(Relay *relay, int error, BufferPool *pool)
{
        relay_note_end(relay, RELAY_END_CLIENT);
        relay->to_server.ended = true;
        if (error == 0)
                return;

        relay->client_error = error;
        relay->to_client.dead = true;
        way_drop(&relay->to_client, pool);
}

static void
relay_on_end(Relay *relay, RelayWay *way, int error, BufferPool *pool)
{
        if (fd_is_shortage(error))
                relay->is_short = true;
        else if (way == &relay->to_server)
                relay_on_client_end(relay, error, pool);
        else
                relay_on_server_end(relay, error ? error : relay->server_error, pool);
}

static void
relay_read(Relay *relay, RelayWay *way, BufferPool *pool)
{
        Stream *from = way == &relay->to_server ? relay->client : relay->server;
        size_t room = way == &relay->to_server ? RELAY_SERVER_ROOM : RELAY_CLIENT_ROOM;
        char *scratch = buffer_pool_get_scratch(pool);
        size_t n;

        for (unsigned reads = 0; reads < READS_PER_TURN; reads++) {
                if (way->ended || relay->is_short)
                        return;
                if (buffer_length(&way->held) >= room) {
                        if (!relay_pass_long_line(relay, way))
                                return;
                        relay_flush(relay, way, pool);
                        continue;
                }

                switch (stream_read(from, scratch, BUFFER_SCRATCH_SIZE, &n)) {
                case STREAM_OK:
                        relay_take(relay, way, scratch, n, pool);
                        break;
                case STREAM_WAIT:
                        return;
                case STREAM_END:
                        relay_on_end(relay, way, 0, pool);
                        return;
                case STREAM_BROKEN:
                        relay_on_end(relay, way, stream_get_error(from), pool);
                        return;
                }
        }

        stream_again(from);
}

/* Once everything before an end is delivered, the other side is told of it. */
static void
relay_pass_end(Relay *relay, RelayWay *way)
{
        Stream *to = way == &relay->to_server ? relay->server : relay->client;

        if (!way->ended || way->finished || buffer_length(&way->held) > 0)
                return;

        way->finished = true;

        /* The second end needs no telling: the close that follows tells it. */
        if (way->dead || (relay->to_server.finished && relay->to_client.finished))
                return;
        if (way == &relay->to_server && relay->client_error) {
                /* A client that broke hears nothing more. */
                stream_reset(to);
                relay->to_client.ended = true;
        } else if (way == &relay->to_client && relay->server_failed &&
                   relay->on_server_failure == ON_SERVER_FAILURE_RESET) {
                stream_reset(to);
        } else {
                switch (stream_finish(to)) {
                case STREAM_OK:
                case STREAM_END:
                        break;
                case STREAM_WAIT:
                        way->finished = false; /* told again at the next event */
                        break;
                case STREAM_BROKEN:
                        way->dead = true;
                        break;
                }
        }
}

/* One way: what is held, what is new, and the end. */
static void
relay_move(Relay *relay, RelayWay *way, BufferPool *pool)
{
        if (buffer_length(&way->held) > 0)
                relay_flush(relay, way, pool);
        relay_read(relay, way, pool);
        if (relay->is_short)
                return;
        if (buffer_length(&way->held) > 0)
                relay_flush(relay, way, pool);
        relay_pass_end(relay, way);
}

/* Grows with whatever either side does. */
static uint64_t
relay_count(const Relay *relay)
{
        return relay->to_server.bytes + relay->to_client.bytes + relay->to_server.ended +
               relay->to_client.ended;
}

/* True while the client executes what it was given. */
static bool
relay_is_client_busy(const Relay *relay)
{
        return relay->dialogue.outstanding || relay->awaits_end;
}

RelayResult
relay_run(Relay *relay, BufferPool *pool, gint64 now)
{
        uint64_t before = relay_count(relay);

        /* First the client's: its reply is what a held command waits for. */
        relay_move(relay, &relay->to_server, pool);
        if (!relay->is_short)
                relay_move(relay, &relay->to_client, pool);
        if (relay->is_short)
                return RELAY_SHORT;

        /* A failed server, or one that was found broken by a write, has ended the first way too. */
        relay_pass_end(relay, &relay->to_server);

        if (relay_count(relay) != before)
                relay->active = now;

        if (!stream_is_open(relay->client))
                return RELAY_ENDED;
        if (relay->to_server.finished && (relay->to_client.finished || relay->to_client.dead))
                return RELAY_ENDED;
        if (relay->to_client.dead && relay->to_client.ended &&
            buffer_length(&relay->to_server.held) == 0)
                return RELAY_ENDED;
        if (relay->server_failed && relay->to_client.finished && !relay_is_client_busy(relay))
                return RELAY_FAILED;

        return RELAY_RUNNING;
}

void
relay_fail_server(Relay *relay, BufferPool *pool, int error, RelayEnd by)
{
        RelayWay *way = &relay->to_client;

        if (way->ended)
                return;

        relay_note_end(relay, by);
        relay->server_failed = true;
        relay->server_error = error;
        relay->server_failure = text_copy(stream_get_failure(relay->server));
        stream_close(relay->server);
        relay->to_server.dead = true;
        way_drop(&relay->to_server, pool);

        relay_drop_tail(relay, pool);
        if (relay->on_server_failure == ON_SERVER_FAILURE_FAILURE && !way->dead) {
                /* Glued to a partial line it would be part of that command. */
                relay->dialogue.failed =
                        (relay->at_line_start || relay_hold(relay, way, "\n", 1, pool)) &&
                        relay_hold(relay, way, failure_line, strlen(failure_line), pool);
        }
        way->passed = (uint32_t)buffer_length(&way->held);
        way->ended = true;
}

bool
relay_awaits_command(const Relay *relay)
{
        return relay->whole_lines && !relay->dialogue.outstanding && !relay->dialogue.failed &&
               !relay->to_client.ended && !relay->to_server.ended;
}

bool
relay_is_half_ended(const Relay *relay)
{
        /* What went out unseen may be a command that it executes. */
        return relay->to_server.ended ||
               (relay->to_client.ended && !relay_is_client_busy(relay) && !relay->has_unseen);
}

gint64
relay_get_limit(const Relay *relay, gint64 now)
{
        const RouteSettings *route = relay->route;
        gint64 limit = loop_time_left(route->idle_timeout, relay->active, now);

        if (relay_is_half_ended(relay))
                limit = MIN(limit, loop_time_left(RELAY_END_TIMEOUT, relay->active, now));
        if (!relay->has_keepalive)
                limit = MIN(limit, loop_time_left(RELAY_KEEPALIVE_AFTER, relay->started, now));

        /* While it isn't the server's turn, it may be by the next time. */
        return MIN(limit, relay_awaits_command(relay)
                                  ? loop_time_left(route->think_timeout, relay->active, now)
                                  : route->think_timeout);
}

RelayTimeout
relay_check_time(Relay *relay, gint64 now)
{
        gint64 silent = now - relay->active;

        if (!relay->has_keepalive && now - relay->started >= RELAY_KEEPALIVE_AFTER) {
                relay->has_keepalive = true;
                if (stream_is_open(relay->server))
                        fd_set_keepalive(relay->server->fd);
        }

        if (relay_is_half_ended(relay) && silent >= RELAY_END_TIMEOUT)
                return RELAY_UNENDED;
        if (silent >= relay->route->idle_timeout)
                return RELAY_IDLE;
        if (silent >= relay->route->think_timeout && relay_awaits_command(relay))
                return RELAY_THINK;

        return RELAY_IN_TIME;
}

const char *
relay_get_status(const Relay *relay)
{
        bool is_clients = relay->ended_by == RELAY_END_CLIENT;

        /* A client that broke may have gone in any way, and bytes are not understood. */
        if (!relay->dialogue.hung_up && !relay->dialogue.failed) {
                if (relay->client_error && is_clients)
                        return NULL;
                if (relay->has_unseen || relay->ended_by == RELAY_END_NONE)
                        return NULL;
        }

        return agi_dialogue_get_status(&relay->dialogue, is_clients);
}

void
relay_clear(Relay *relay, BufferPool *pool)
{
        way_drop(&relay->to_server, pool);
        way_drop(&relay->to_client, pool);
        g_clear_pointer(&relay->server_failure, g_free);
}
