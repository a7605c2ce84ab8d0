/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is pieces, each ended by a byte 0xff: the first one is letters that say how the relay
 * is configured, the others are what happens, by their first byte (side_play()). It happens to
 * several relays, which read the bytes in pieces of different sizes, and to a model of each that
 * keeps everything in strings and looks at it from the beginning every time. What either side has
 * been given after each piece must be the model's, and so must the ends and the state.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <glib.h>

#include "base/fd.h"
#include "proxy/relay.h"

#define PIECE_END 0xff
#define MAX_LONG  4
#define READS     8           /* of each side in a turn */
#define BIG_READ  (16 * 1024) /* the least that is read at once of a line made by repeating */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One side of a relay: what it has sent and has been given. */
typedef struct Side {
        Stream stream;
        GString *in;  /* not yet read */
        GString *out; /* given to it */
        size_t window, piece;
        bool ends, breaks; /* after what is in @in */
        bool was_finished, was_reset, was_closed;
} Side;

/* The rules, as slowly as they can be followed. What is on its way is in strings, the beginning of
 * which goes as far as the other side takes it. */
typedef struct Model {
        const Side *client, *server;
        GString *client_in, *server_in;   /* not yet read */
        GString *to_client_held;          /* from the server, not yet taken by the client */
        size_t passed;                    /* of it: may go */
        GString *to_server_held;          /* all of it may */
        GString *client_out, *server_out; /* taken */
        size_t client_window, server_window;
        GString *line; /* of the client, so far */
        bool whole_lines, outstanding, in_usage, in_long_line, failed, hung_up, hangs_up;
        bool client_ended, client_broke, server_ended, server_broke;
        bool at_line_start; /* the client has whole lines */
        OnServerFailure on_server_failure;
} Model;

typedef struct Pair {
        Side client, server;
        Relay relay;
        RelayResult result;
        bool is_over;
        BufferPool *pool;
        Model model;
} Pair;

/* Streams */

static Side *
side_of(Stream *stream)
{
        return (Side *)(void *)((char *)stream - G_STRUCT_OFFSET(Side, stream));
}

static StreamResult
side_read(Stream *stream, void *data, size_t size, size_t *n)
{
        Side *side = side_of(stream);

        *n = MIN(MIN(size, side->piece), side->in->len);
        if (*n > 0) {
                memcpy(data, side->in->str, *n);
                g_string_erase(side->in, 0, (gssize)*n);
                return STREAM_OK;
        }
        if (side->breaks)
                return stream_break(stream, ECONNRESET);

        return side->ends ? STREAM_END : STREAM_WAIT;
}

static StreamResult
side_write(Stream *stream, const void *data, size_t size, size_t *n)
{
        Side *side = side_of(stream);

        g_assert_cmpuint(size, >, 0);
        g_assert_false(side->was_finished);
        *n = 0;
        if (side->breaks && side->in->len == 0)
                return stream_break(stream, EPIPE);

        *n = MIN(size, side->window);
        if (*n == 0)
                return STREAM_WAIT;
        side->window -= side->window == SIZE_MAX ? 0 : *n;
        g_string_append_len(side->out, data, (gssize)*n);

        return STREAM_OK;
}

static StreamResult
side_handshake(Stream *stream)
{
        return STREAM_OK;
}

static StreamResult
side_finish(Stream *stream)
{
        side_of(stream)->was_finished = true;

        return STREAM_OK;
}

static void
side_free(Stream *stream)
{
        side_of(stream)->was_closed = true;
        side_of(stream)->was_reset = stream->error == ECONNRESET && !side_of(stream)->breaks;
}

static void
side_init(Side *side, size_t piece, int fd)
{
        static const StreamOps ops = { side_handshake, side_read, side_write, side_finish,
                                       side_free };

        *side = (Side){ .stream = { .ops = &ops, .fd = fd }, .window = SIZE_MAX, .piece = piece };
        side->in = g_string_new(NULL);
        side->out = g_string_new(NULL);
}

static void
side_clear(Side *side)
{
        stream_close(&side->stream);
        g_string_free(side->in, TRUE);
        g_string_free(side->out, TRUE);
}

/* The model: what the client says */

static bool
begins_with(const char *line, const char *text)
{
        return g_ascii_strncasecmp(line, text, strlen(text)) == 0;
}

static bool
has_code(const char *line)
{
        return strspn(line, "0123456789") >= 3 && (line[3] == ' ' || line[3] == '-');
}

static void
model_on_line(Model *model)
{
        const char *line = model->line->str;

        if (!has_code(line)) {
                model->hung_up |= !model->in_usage && !model->failed &&
                                  model->line->len == strlen(line) &&
                                  (strcmp(line, "HANGUP") == 0 || strcmp(line, "HANGUP\r") == 0);
        } else if (model->outstanding && g_str_has_prefix(line, "520-")) {
                model->in_usage = true;
        } else if (model->outstanding && *line != '1') {
                model->outstanding = false;
                model->in_usage = false;
                model->hung_up |= model->hangs_up && !model->failed;
        }
}

static void
model_on_client(Model *model, const char *bytes, size_t size)
{
        if (!model->server_broke)
                g_string_append_len(model->to_server_held, bytes, (gssize)size);
        while (size > 0) {
                const char *lf = memchr(bytes, '\n', size);
                size_t n = lf ? (size_t)(lf - bytes) : size;

                g_string_append_len(model->line, bytes, (gssize)n);
                if (lf) {
                        model_on_line(model);
                        g_string_truncate(model->line, 0);
                        n++;
                }
                bytes += n;
                size -= n;
        }
}

/* The model: what the server says */

static void
model_on_command(Model *model, const char *line)
{
        if (model->failed || !*line)
                return;
        if (begins_with(line, "failure")) {
                model->failed = true;
                return;
        }

        model->outstanding = true;
        line += strspn(line, " ");
        model->hangs_up = begins_with(line, "HANGUP\n") || begins_with(line, "EXEC HANGUP\n") ||
                          begins_with(line, "EXEC HANGUP ");
}

/* Where the line that begins after what may go has its end; 0: nowhere. */
static size_t
model_find_line(const Model *model)
{
        const GString *held = model->to_client_held;
        const char *lf = memchr(held->str + model->passed, '\n', held->len - model->passed);

        return lf ? (size_t)(lf - held->str) + 1 : 0;
}

static void
model_pass(Model *model, size_t passed)
{
        if (passed > model->passed)
                model->at_line_start = model->to_client_held->str[passed - 1] == '\n';
        model->passed = passed;
}

/* Whatever may go to the client by now. */
static void
model_gate(Model *model)
{
        GString *held = model->to_client_held;
        size_t end;

        if (!model->whole_lines || model->server_ended) {
                model_pass(model, held->len);
                return;
        }
        if (model->in_long_line) {
                end = model_find_line(model);
                model->in_long_line = end == 0;
                model_pass(model, end ? end : held->len);
        }
        while (model->client_ended && (end = model_find_line(model)) > 0)
                model_pass(model, end);
        while (!model->outstanding && (end = model_find_line(model)) > 0) {
                g_autofree char *line = g_strndup(held->str + model->passed, end - model->passed);

                model_on_command(model, line);
                model_pass(model, end);
        }
}

static size_t
move(GString *from, size_t n, GString *to, size_t *window)
{
        n = MIN(n, *window);
        g_string_append_len(to, from->str, (gssize)n);
        g_string_erase(from, 0, (gssize)n);
        *window -= *window == SIZE_MAX ? 0 : n;

        return n;
}

static void
model_drop_client(Model *model)
{
        model->client_broke = true;
        g_string_truncate(model->to_client_held, 0);
        model->passed = 0;
}

static void
model_drop_server(Model *model)
{
        model->server_broke = true;
        g_string_truncate(model->to_server_held, 0);
}

static void
model_flush_client(Model *model)
{
        model_gate(model);
        /* It is whoever writes that finds out. */
        if (model->passed > 0 && model->client->breaks && model->client_in->len == 0)
                model_drop_client(model);
        model->passed -= move(model->to_client_held, model->passed, model->client_out,
                              &model->client_window);
}

static void
model_flush_server(Model *model)
{
        if (model->to_server_held->len > 0 && model->server->breaks && model->server_in->len == 0)
                model_drop_server(model);
        move(model->to_server_held, model->to_server_held->len, model->server_out,
             &model->server_window);
}

/* A line that has filled all the room goes as it comes; else false. */
static bool
model_begin_long_line(Model *model)
{
        const GString *held = model->to_client_held;
        g_autofree char *line = NULL;

        if (model->passed > 0 || (model->outstanding && !model->client_ended))
                return false;

        line = g_strndup(held->str, held->len);
        model_on_command(model, line);
        model->in_long_line = true;

        return true;
}

/* A line without its end is nobody's. */
static void
model_drop_tail(Model *model)
{
        GString *held = model->to_client_held;
        size_t whole = held->len;

        if (!model->whole_lines || whole == model->passed)
                return;
        while (whole > model->passed && held->str[whole - 1] != '\n')
                whole--;
        g_string_truncate(held, whole);
        model_pass(model, whole);
}

/* The client is told, as it is configured. */
static void
model_fail_server(Model *model)
{
        if (model->server_ended)
                return;

        model_drop_tail(model);
        model_pass(model, model->to_client_held->len);
        model_drop_server(model);
        model->server_ended = true;
        if (model->on_server_failure != ON_SERVER_FAILURE_FAILURE || model->client_broke)
                return;

        g_string_append(model->to_client_held, model->at_line_start ? "" : "\n");
        g_string_append(model->to_client_held, "FAILURE\n");
        model->failed = true;
}

static void
model_on_server_end(Model *model, const Side *server)
{
        if (server->breaks && !model->client_ended && !model->hung_up && !model->failed) {
                model_fail_server(model);
                return;
        }

        if (server->breaks || server->stream.truncated)
                model_drop_tail(model);
        if (server->breaks)
                model_drop_server(model);
        model->server_ended = true;
}

static void
model_on_client_end(Model *model, const Side *client)
{
        model->client_ended = true;
        if (client->breaks)
                model_drop_client(model);
}

/* As much as one read brings, taken from @in. */
static char *
read_piece(GString *in, size_t piece, size_t *n)
{
        char *bytes;

        *n = MIN(MIN(in->len, piece), BUFFER_SCRATCH_SIZE);
        bytes = g_memdup2(in->str, *n);
        g_string_erase(in, 0, (gssize)*n);

        return bytes;
}

static void
model_read_client(Model *model, const Side *client)
{
        for (unsigned i = 0; i < READS && !model->client_ended; i++) {
                g_autofree char *bytes = NULL;
                size_t n;

                if (model->to_server_held->len >= RELAY_SERVER_ROOM)
                        return;
                bytes = read_piece(model->client_in, client->piece, &n);
                if (n == 0 && (client->ends || client->breaks))
                        model_on_client_end(model, client);
                model_on_client(model, bytes, n);
                model_flush_server(model);
        }
}

static void
model_read_server(Model *model, const Side *server)
{
        for (unsigned i = 0; i < READS && !model->server_ended; i++) {
                g_autofree char *bytes = NULL;
                size_t n;

                if (model->to_client_held->len >= RELAY_CLIENT_ROOM) {
                        if (!model_begin_long_line(model))
                                return;
                        model_flush_client(model);
                        continue;
                }
                bytes = read_piece(model->server_in, server->piece, &n);
                if (!model->client_broke)
                        g_string_append_len(model->to_client_held, bytes, (gssize)n);
                if (n == 0 && (server->ends || server->breaks))
                        model_on_server_end(model, server);
                model_flush_client(model);
        }
}

/* What happens */

static void
pair_init(Pair *pair, const RouteSettings *route, size_t piece, int fd, BufferPool *pool)
{
        Model *model = &pair->model;
        GString **strings[] = { &model->client_in,
                                &model->server_in,
                                &model->to_client_held,
                                &model->to_server_held,
                                &model->client_out,
                                &model->server_out,
                                &model->line };

        *pair = (Pair){ .pool = pool };
        side_init(&pair->client, piece, fd);
        side_init(&pair->server, piece, fd);
        relay_start(&pair->relay, &pair->client.stream, &pair->server.stream, route, NULL, 0);

        for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
                *strings[i] = g_string_new(NULL);
        model->client_window = model->server_window = SIZE_MAX;
        model->client = &pair->client;
        model->server = &pair->server;
        model->whole_lines = !route->relay_bytes;
        model->on_server_failure = route->on_server_failure;
        model->at_line_start = true;
}

static void
pair_clear(Pair *pair)
{
        Model *model = &pair->model;
        GString *strings[] = { model->client_in,
                               model->server_in,
                               model->to_client_held,
                               model->to_server_held,
                               model->client_out,
                               model->server_out,
                               model->line };

        relay_clear(&pair->relay, pair->pool);
        side_clear(&pair->client);
        side_clear(&pair->server);
        g_assert_cmpuint(buffer_pool_get_used(pair->pool), ==, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(strings); i++)
                g_string_free(strings[i], TRUE);
}

static void
check_ends(const Pair *pair)
{
        const Model *model = &pair->model;
        bool is_told = model->server_ended && model->to_client_held->len == 0;

        /* Each is told of the other's end once it has all, unless it is over anyway. */
        if (pair->client.was_finished && !model->client_broke)
                g_assert_true(is_told);
        if (is_told && !model->client_ended && !model->client_broke && !pair->client.was_closed)
                g_assert_true(pair->client.was_finished);
        if (pair->client.was_reset)
                g_assert_true(model->server_broke &&
                              model->on_server_failure == ON_SERVER_FAILURE_RESET);
        if (pair->server.was_finished)
                g_assert_true(model->client_ended && model->to_server_held->len == 0);
        if (model->client_ended && !model->client_broke && model->to_server_held->len == 0 &&
            !model->server_ended && !model->server_broke)
                g_assert_true(pair->server.was_finished);
}

static void
check(const Pair *pair)
{
        const Relay *relay = &pair->relay;
        const Model *model = &pair->model;

        g_assert_cmpmem(pair->client.out->str, pair->client.out->len, model->client_out->str,
                        model->client_out->len);
        g_assert_cmpmem(pair->server.out->str, pair->server.out->len, model->server_out->str,
                        model->server_out->len);
        g_assert_true(relay->dialogue.outstanding == model->outstanding);
        g_assert_true(relay->dialogue.failed == model->failed);
        if (!model->server_ended)
                g_assert_true(relay->dialogue.hung_up == model->hung_up);
        g_assert_cmpuint(buffer_length(&relay->to_client.held), ==, model->to_client_held->len);
        g_assert_cmpuint(buffer_length(&relay->to_server.held), ==, model->to_server_held->len);
        if (model->to_client_held->len == 0 && model->to_server_held->len == 0)
                g_assert_cmpuint(buffer_pool_get_used(pair->pool), ==, 0);
        check_ends(pair);

        /* Both have ended and have all: nothing is left to be done. */
        if (model->client_ended && model->server_ended && model->to_client_held->len == 0 &&
            model->to_server_held->len == 0)
                g_assert_cmpint(pair->result, !=, RELAY_RUNNING);
        if (pair->result == RELAY_ENDED && !pair->client.was_reset)
                g_assert_true(model->client_ended || model->client_broke);
        if (pair->result == RELAY_FAILED)
                g_assert_true(model->server_broke);
}

/* How far it has come; the same twice: no further. */
static size_t
pair_count(const Pair *pair)
{
        return pair->client.in->len + pair->server.in->len - pair->client.out->len -
               pair->server.out->len - pair->relay.to_client.ended - pair->relay.to_server.ended -
               pair->relay.to_client.finished - pair->relay.to_server.finished;
}

/* After an event of either side, and as often as the loop would call it. */
static void
pair_run(Pair *pair)
{
        size_t before;

        do {
                before = pair_count(pair);
                pair->result = relay_run(&pair->relay, pair->pool, 0);
                model_flush_server(&pair->model);
                model_read_client(&pair->model, &pair->client);
                model_flush_client(&pair->model);
                model_read_server(&pair->model, &pair->server);
                pair->is_over = pair->result != RELAY_RUNNING;
        } while (!pair->is_over && pair_count(pair) != before);

        check(pair);
}

static void
say(Side *side, GString *model_in, const char *bytes, size_t size)
{
        if (side->ends || side->breaks)
                return;
        g_string_append_len(side->in, bytes, (gssize)size);
        g_string_append_len(model_in, bytes, (gssize)size);
}

/* A line that is longer than the input may be. */
static void
say_long(Side *side, GString *model_in, const char *bytes, size_t size)
{
        g_autoptr(GString) text = g_string_new(NULL);
        size_t n = size > 1 ? ((uint8_t)bytes[0] % 96) * 1024 + (uint8_t)bytes[1] : 0;

        g_string_append_len(text, bytes + 2, size > 2 ? (gssize)size - 2 : 0);
        while (text->len > 0 && text->len < n)
                g_string_append_len(text, text->str, (gssize)MIN(text->len, n - text->len));
        side->piece = MAX(side->piece, BIG_READ);
        say(side, model_in, text->str, text->len);
}

static void
pair_play(Pair *pair, const char *piece, size_t size)
{
        Model *model = &pair->model;
        char what = (char)(size > 0 ? piece[0] : '\0');
        const char *rest = piece + 1;
        size_t n = size > 0 ? size - 1 : 0;
        size_t window = n > 0 && rest[0] != '9' ? (uint8_t)rest[0] & 15 : SIZE_MAX;

        if (pair->is_over)
                return;

        if (what == '<')
                say(&pair->client, model->client_in, rest, n);
        else if (what == '>')
                say(&pair->server, model->server_in, rest, n);
        else if (what == 'l')
                say_long(&pair->client, model->client_in, rest, n);
        else if (what == 'L')
                say_long(&pair->server, model->server_in, rest, n);
        else if (what == '(')
                pair->client.ends = !pair->client.breaks;
        else if (what == ')' || what == '}')
                pair->server.ends = !pair->server.breaks;
        else if (what == '[')
                pair->client.breaks = !pair->client.ends;
        else if (what == ']')
                pair->server.breaks = !pair->server.ends;
        else if (what == 'w')
                pair->client.window = model->client_window = window;
        else if (what == 'W')
                pair->server.window = model->server_window = window;
        if (what == '}')
                pair->server.stream.truncated = true;
        if (what == 'F') {
                relay_fail_server(&pair->relay, pair->pool, ETIMEDOUT, RELAY_END_AGITATOR);
                model_fail_server(model);
        }

        pair_run(pair);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const size_t pieces[] = { SIZE_MAX, 1, 2, 7 };
        const char *piece = (const char *)data, *end = piece + size;
        Pair pairs[G_N_ELEMENTS(pieces)];
        RouteSettings route = { .idle_timeout = G_MAXINT64, .think_timeout = G_MAXINT64 };
        unsigned n_long = 0;
        /* For what is only said to the kernel, as how to close. */
        fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        /* Kept, since their scratch memory costs more than most inputs. */
        static BufferPool *pools[G_N_ELEMENTS(pieces)];

        g_assert_cmpint(fd, >=, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(pools) && !pools[i]; i++)
                pools[i] = buffer_pool_new();
        for (bool is_first = true; piece < end || is_first; is_first = false) {
                const char *stop =
                        piece < end ? memchr(piece, PIECE_END, (size_t)(end - piece)) : NULL;
                size_t n = (size_t)((stop ? stop : end) - piece);

                if (is_first) {
                        route.relay_bytes = n > 0 && memchr(piece, 'b', n);
                        route.on_server_failure =
                                n > 0 && memchr(piece, 'r', n)   ? ON_SERVER_FAILURE_RESET
                                : n > 0 && memchr(piece, 'c', n) ? ON_SERVER_FAILURE_CLOSE
                                                                 : ON_SERVER_FAILURE_FAILURE;
                        for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++)
                                pair_init(&pairs[i], &route, pieces[i], fd, pools[i]);
                } else {
                        n_long += n > 0 && (*piece == 'l' || *piece == 'L');
                        for (size_t i = 0; i < G_N_ELEMENTS(pairs) && n_long <= MAX_LONG; i++)
                                pair_play(&pairs[i], piece, n);
                }
                piece += n + 1;
        }

        for (size_t i = 0; i < G_N_ELEMENTS(pairs); i++)
                pair_clear(&pairs[i]);

        return 0;
}
