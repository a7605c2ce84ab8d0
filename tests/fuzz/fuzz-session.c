/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is a whole session: pieces, each ended by a byte 0xff. The first one is letters that
 * say what is configured (case_set_up()), the others are what the peers, the clock and the kernel
 * do, by their first byte (case_play()). The session runs as it is in its worker, on a loop whose
 * kernel is kernel.c. After the last piece the peers do nothing more and time passes, and when
 * nothing is waited for any more, the client ends.
 *
 * Whatever happened, the session comes to its end and is told of once; it leaves no place, buffer
 * or descriptor behind; and each side was given what it should be, as far as it could be given.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include "agi/agi-env.h"
#include "base/log.h"
#include "kernel.h"
#include "proxy/session.h"

#define PIECE_END 0xff
#define MAX_TURNS 1000 /* that a session has left once its input is over */
#define SERVERS   2
#define PORT      4573 /* of the first server */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As much of a worker as its sessions know of. */
struct Worker {
        Loop *loop;
        BufferPool *pool;
        Session *session; /* NULL once it is freed */
        bool is_over;
        bool had_place;
};

typedef struct Case {
        const uint8_t *data, *end; /* of the input, what is left */
        Worker worker;
        Settings *settings;
        AnswerSettings *closed;
        Refusal refusal;
        KernelSocket *client;
        GString *client_said, *server_said; /* the latter by the last server dialed */
        KernelSocket *server;               /* the last one dialed; NULL: none */
        unsigned n_turns;                   /* after the input */
        bool is_idle_bounded;
        bool is_forever;  /* the client had to end for the session to do so */
        bool was_blocked; /* time passed while somebody took nothing */
        bool was_narrow;  /* the client took nothing for a while */
        bool was_cut;
        bool server_ended_first;
        bool is_bytes, is_reset;

        /* What the log says of the end. */
        unsigned n_records;
        char *result, *reason;
} Case;

/* There is one at a time, and the log's writer can't be told of another. */
static Case the_case;

/* The worker */

Loop *
worker_get_loop(Worker *worker)
{
        return worker->loop;
}

BufferPool *
worker_get_pool(Worker *worker)
{
        return worker->pool;
}

uint64_t
worker_make_session_id(Worker *worker)
{
        return 1;
}

void
worker_bury(Worker *worker, Session *session, bool has_place)
{
        g_assert_true(session == worker->session);
        g_assert_false(worker->is_over);
        worker->is_over = true;
        worker->had_place = has_place;
        loop_quit(worker->loop);
}

void
worker_note_short(Worker *worker, int error)
{
        g_assert_true(error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
                      error == ENOSPC);
}

static void
worker_after_turn(void *data)
{
        Worker *worker = data;

        if (worker->is_over && worker->session) {
                session_free(worker->session);
                worker->session = NULL;
        }
}

/* The log */

static char *
field_get(const GLogField *field)
{
        return field->length < 0 ? g_strdup(field->value)
                                 : g_strndup(field->value, (size_t)field->length);
}

static GLogWriterOutput
case_on_log(GLogLevelFlags level, const GLogField *fields, gsize n_fields, void *data)
{
        Case *the = data;

        if (level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL))
                return g_log_writer_default(level, fields, n_fields, NULL);

        for (size_t i = 0; i < n_fields; i++) {
                if (strcmp(fields[i].key, "AGITATOR_RESULT") == 0) {
                        the->n_records++;
                        g_free(the->result);
                        the->result = field_get(&fields[i]);
                } else if (strcmp(fields[i].key, "AGITATOR_REASON") == 0) {
                        g_free(the->reason);
                        the->reason = field_get(&fields[i]);
                }
        }

        return G_LOG_WRITER_HANDLED;
}

/* What is configured */

static void
case_add_servers(Settings *settings, bool is_full)
{
        for (unsigned i = 0; i < SERVERS; i++) {
                g_autofree char *name = g_strdup_printf("ivr-%u", i);
                g_autofree char *text = g_strdup_printf("%s.example.com:%u", name, PORT + i);
                ServerSettings *server = settings_add_server(settings, name);

                server->endpoint = endpoint_parse(text, PORT, NULL);
                server->max_sessions = is_full && i == 0 ? 1 : 0;
        }
}

/* Once they live: where they are, and who has the one place of the one that is full. */
static void
case_place_servers(Settings *settings, unsigned n_addresses)
{
        for (unsigned i = 0; i < SERVERS; i++) {
                ServerSettings *server = settings->servers->pdata[i];
                g_autoptr(AddressList) list = NULL;
                Address addresses[2] = { 0 };

                for (unsigned j = 0; j < n_addresses; j++) {
                        addresses[j].length = sizeof(struct sockaddr_in);
                        addresses[j].in.sin_family = AF_INET;
                        addresses[j].in.sin_port = g_htons((uint16_t)(PORT + i));
                        addresses[j].in.sin_addr.s_addr = g_htonl(INADDR_LOOPBACK + j);
                }
                list = address_list_new(addresses, n_addresses);
                if (n_addresses > 0)
                        server_settings_set_addresses(server, list);
                if (server->max_sessions > 0)
                        server_reserve(server->server, server->max_sessions);
        }
}

static RouteSettings *
case_add_route(Case *the, const char *path)
{
        RouteSettings *route = settings_add_route(the->settings, path);

        route->path = g_strdup(path);

        return route;
}

/* A route to the servers, one to an answer, perhaps one for the rest. */
static void
case_set_up(Case *the, const char *letters)
{
#define HAS(letter) (strchr(letters, letter) != NULL)
        Settings *settings = settings_new();
        AddressRange local;
        RouteSettings *route;

        the->settings = settings;
        settings->forwarded_for = HAS('f');
        settings->report_status = !HAS('n');
        settings->rewrite_host = !HAS('h');
        settings->on_server_failure = HAS('r')   ? ON_SERVER_FAILURE_RESET
                                      : HAS('c') ? ON_SERVER_FAILURE_CLOSE
                                                 : ON_SERVER_FAILURE_FAILURE;
        if (HAS('i'))
                settings->idle_timeout = 30 * G_TIME_SPAN_SECOND;
        if (HAS('k'))
                settings->think_timeout = 5 * G_TIME_SPAN_SECOND;
        if (HAS('t') && address_range_parse(&local, "127.0.0.0/8", NULL))
                g_array_append_val(settings->trust, local);
        case_add_servers(settings, HAS('F'));

        the->closed = settings_add_answer(settings, "closed");
        g_strfreev(the->closed->commands);
        the->closed->commands = g_strsplit("ANSWER;EXEC Playback x", ";", -1);
        the->closed->failure = HAS('X');

        route = case_add_route(the, "menu");
        for (unsigned i = 0; i < settings->servers->len; i++)
                g_ptr_array_add(route->servers, settings->servers->pdata[i]);
        route->mode = HAS('B') ? BALANCE_LEAST : HAS('R') ? BALANCE_ROUND_ROBIN : BALANCE_FAILOVER;
        route->relay_bytes = the->is_bytes = HAS('b');
        route->answer = HAS('A') ? the->closed : NULL;
        case_add_route(the, "closed")->answer = the->closed;
        if (HAS('w'))
                g_ptr_array_add(case_add_route(the, "*")->servers, settings->servers->pdata[1]);

        settings_finish(settings, NULL, NULL);
        case_place_servers(settings, HAS('0') ? 0 : HAS('2') ? 2 : 1);

        the->refusal = HAS('D') ? REFUSAL_DENIED : HAS('U') ? REFUSAL_FULL : REFUSAL_NONE;
        the->is_idle_bounded = HAS('i');
        the->is_reset = HAS('r');
        log_configure(LOG_TARGET_CONSOLE, HAS('d') ? G_LOG_LEVEL_DEBUG : G_LOG_LEVEL_INFO);
#undef HAS
}

/* What happens */

/* The last server dialed; what earlier ones said doesn't count. */
static KernelSocket *
case_get_server(Case *the)
{
        Kernel *kernel = kernel_get();
        KernelSocket *last = &kernel->sockets[kernel->n_sockets - 1];

        if (last == the->client)
                return NULL;
        if (last != the->server)
                g_string_truncate(the->server_said, 0);
        the->server = last;

        return last;
}

static void
case_say(KernelSocket *socket, GString *said, const char *bytes, size_t size)
{
        size_t before;

        if (!socket)
                return;

        before = socket->in->len;
        kernel_send(socket, bytes, size);
        g_string_append_len(said, bytes, (gssize)(socket->in->len - before));
}

static void
case_end_server(Case *the, KernelSocket *server)
{
        the->server_ended_first |= server->is_open && !server->connecting && !server->is_dead &&
                                   !the->client->in_end && !the->client->is_dead;
        kernel_end(server);
}

static void
case_pass_time(Case *the, gint64 most, int timeout)
{
        const KernelSocket *server = case_get_server(the);
        gint64 span = timeout < 0 ? most : MIN(most, timeout * G_TIME_SPAN_MILLISECOND);

        the->was_blocked |= the->client->window == 0 || (server && server->window == 0);
        kernel_get()->now += span;
}

static unsigned
digit(const char *bytes, size_t size)
{
        return size > 0 ? (unsigned)bytes[0] & 15 : 0;
}

static void
case_break(Case *the, const char *what, size_t size)
{
        static const int errors[] = { EMFILE, ECONNREFUSED, ENETUNREACH, ENOBUFS, EADDRNOTAVAIL };
        int error = errors[digit(what + 1, size > 0 ? size - 1 : 0) % G_N_ELEMENTS(errors)];

        if (size > 0 && what[0] == 's')
                kernel_get()->socket_error = error;
        else if (size > 0 && what[0] == 'c')
                kernel_get()->connect_error = error;
        else
                kernel_get()->watch_error = ENOSPC;
}

/* What only a server does. */
static void
case_play_server(Case *the, KernelSocket *server, char what, unsigned number)
{
        switch (what) {
        case '+':
        case '-':
                kernel_connect(server, what == '+');
                break;
        case ')':
                case_end_server(the, server);
                break;
        case ']':
                kernel_reset(server);
                break;
        case 'W':
                kernel_open_window(server, number ? SIZE_MAX : 0);
                break;
        case 'C':
                server->chunk = number ? number : SIZE_MAX;
                break;
        default:
                break;
        }
}

static void
case_play(Case *the, const char *piece, size_t size, int timeout)
{
        static const gint64 spans[] = { 1, 20, 100, 1000, 3000, 5000, 10000, 30000, 60000 };
        KernelSocket *server = case_get_server(the);
        char what = (char)(size > 0 ? piece[0] : '\0');
        const char *rest = piece + 1;
        size_t n = size > 0 ? size - 1 : 0;
        unsigned number = digit(rest, n);

        switch (what) {
        case '<':
                case_say(the->client, the->client_said, rest, n);
                break;
        case '>':
                case_say(server, the->server_said, rest, n);
                break;
        case '(':
                kernel_end(the->client);
                break;
        case '[':
                kernel_reset(the->client);
                break;
        case 'w':
                the->was_narrow |= number == 0;
                kernel_open_window(the->client, number ? SIZE_MAX : 0);
                break;
        case 'c':
                the->client->chunk = number ? number : SIZE_MAX;
                break;
        case 't':
                case_pass_time(the, spans[number % G_N_ELEMENTS(spans)] * G_TIME_SPAN_MILLISECOND,
                               timeout);
                break;
        case '!':
                case_break(the, rest, n);
                break;
        case 'x':
                if (the->worker.session && !the->worker.is_over) {
                        the->was_cut = true;
                        session_cut(the->worker.session);
                }
                break;
        default:
                if (server)
                        case_play_server(the, server, what, number);
        }
}

/* After the input: everybody takes everything, time passes, and at last the client ends. */
static void
case_run_out(Case *the, int timeout)
{
        KernelSocket *server = case_get_server(the);

        g_assert_cmpuint(the->n_turns++, <, MAX_TURNS);

        kernel_open_window(the->client, SIZE_MAX);
        if (server)
                kernel_open_window(server, SIZE_MAX);
        if (the->n_turns == 1)
                return;

        if (timeout >= 0 && the->n_turns != MAX_TURNS / 2) {
                case_pass_time(the, G_MAXINT64, timeout);
                return;
        }

        /* Only who may be silent for ever waits without a deadline, or looks again and again whose
         * turn it is. */
        g_assert_false(the->is_idle_bounded || the->is_forever);
        the->is_forever = true;
        kernel_end(the->client);
}

/* Asterisk takes the beginning of a line for all of it. */
static void
check_lines(Case *the)
{
        const KernelSocket *server = case_get_server(the);

        if (the->client->n_parts > 0 && !the->is_bytes)
                g_assert_true(server && (server->in_end || the->server_said->len > 32 * 1024));
}

static void
case_on_turn(void *data, int timeout)
{
        Case *the = data;
        const uint8_t *end;

        check_lines(the);
        if (the->data >= the->end) {
                case_run_out(the, timeout);
                return;
        }

        end = memchr(the->data, PIECE_END, (size_t)(the->end - the->data));
        if (!end)
                end = the->end;
        case_play(the, (const char *)the->data, (size_t)(end - the->data), timeout);
        the->data = end + 1;
}

/* What has come of it */

/* What the server at @port is to be given: the environment, then the rest. */
static GString *
case_expect_at_server(const Case *the, uint16_t port, const Address *client)
{
        GString *expected = g_string_new(NULL);
        const char *said = the->client_said->str;
        size_t size = the->client_said->len, n;
        char text[ADDRESS_TEXT_SIZE];
        g_autofree char *authority = g_strdup_printf("ivr-%u.example.com:%u", port - PORT, port);
        AgiForward forward = { .trusted = the->settings->trust->len > 0 };
        g_autofree char *block = NULL;
        AgiEnv env;

        agi_env_init(&env);
        if (agi_env_parse(&env, said, size) != AGI_ENV_COMPLETE)
                return expected;

        if (the->settings->forwarded_for)
                forward.client = address_print(client, text);
        if (!the->settings->rewrite_host)
                g_clear_pointer(&authority, g_free);
        block = g_malloc(agi_env_get_written_max(&env, authority, &forward));
        n = agi_env_write(&env, said, authority, &forward, block);
        g_string_append_len(expected, block, (gssize)n);
        n = agi_env_get_size(&env);
        g_string_append_len(expected, said + n, (gssize)(size - n));

        return expected;
}

static void
check_prefix(const GString *got, const GString *all)
{
        g_assert_cmpuint(got->len, <=, all->len);
        g_assert_cmpmem(got->str, got->len, all->str, got->len);
}

/* Nobody was in the way of what was to be delivered. */
static bool
case_was_smooth(const Case *the)
{
        return !the->client->is_dead && !the->was_blocked && !the->was_cut;
}

static void
check_servers(const Case *the, const Address *client)
{
        const Kernel *kernel = kernel_get();

        for (unsigned i = 1; i < kernel->n_sockets; i++) {
                const KernelSocket *server = &kernel->sockets[i];
                g_autoptr(GString) expected = case_expect_at_server(the, server->port, client);

                check_prefix(server->out, expected);
                if (server == the->server && !server->is_dead && case_was_smooth(the) &&
                    strcmp(the->result, "served") == 0 && !the->reason) {
                        g_assert_cmpuint(server->out->len, ==, expected->len);
                        g_assert_cmpuint(server->in->len, ==, 0);
                }
        }
}

static bool
cut_suffix(GString *text, const char *suffix)
{
        size_t n = strlen(suffix);

        if (text->len < n || memcmp(text->str + text->len - n, suffix, n) != 0)
                return false;
        g_string_truncate(text, text->len - n);

        return true;
}

/* It was told why, and FAILURE. */
static void
check_refused(const Case *the, const GString *got)
{
        g_autoptr(GString) told = g_string_new_len(got->str, (gssize)got->len);
        g_autofree char *report = g_strdup_printf("SET VARIABLE AGITATOR_STATUS %s\n", the->reason);
        bool is_brief = !the->settings->report_status || the->client_said->str[0] == 0x16;

        if (!case_was_smooth(the))
                return;

        g_assert_true(cut_suffix(told, "FAILURE\n"));
        if (told->len > 0)
                g_assert_cmpstr(told->str, ==, report);
        g_assert_true(told->len > 0 || is_brief || the->client->in_end || the->client->out_end);
        g_assert_true(the->client->out_end);
}

static void
check_answered(const Case *the, const GString *got)
{
        g_autoptr(GString) said = g_string_new("ANSWER\nEXEC Playback x\n");
        g_autoptr(GString) told = g_string_new_len(got->str, (gssize)got->len);
        bool has_failed = cut_suffix(told, "FAILURE\n");

        check_prefix(told, said);
        if (case_was_smooth(the)) {
                g_assert_true(has_failed == the->closed->failure);
                g_assert_true(the->client->out_end);
        }
}

/* What the server said, in whole lines, and then FAILURE or what is configured in its place. */
static void
check_broken(const Case *the, const GString *got)
{
        g_autoptr(GString) told = g_string_new_len(got->str, (gssize)got->len);
        bool is_told = the->settings->on_server_failure == ON_SERVER_FAILURE_FAILURE;
        bool has_failed = is_told && cut_suffix(told, "FAILURE\n");

        if (case_was_smooth(the))
                g_assert_true(has_failed == is_told);
        /* The line that was begun is ended first. */
        if (told->len > the->server_said->len ||
            memcmp(told->str, the->server_said->str, told->len) != 0)
                g_assert_true(has_failed && cut_suffix(told, "\n"));
        check_prefix(told, the->server_said);
        if (!the->is_bytes && told->len > 0 && case_was_smooth(the))
                g_assert_true(told->str[told->len - 1] == '\n');
}

static void
check_client(const Case *the)
{
        const GString *got = the->client->out;

        g_assert_true(!the->client->lingers || the->is_reset);
        if (strcmp(the->result, "refused") == 0) {
                check_refused(the, got);
        } else if (strcmp(the->result, "answered") == 0) {
                check_answered(the, got);
        } else if (strcmp(the->result, "abandoned") == 0) {
                g_assert_cmpuint(got->len, ==, 0);
        } else if (strcmp(the->result, "broken") == 0) {
                check_broken(the, got);
        } else if (strcmp(the->result, "served") == 0) {
                check_prefix(got, the->server_said);
                if (the->server_ended_first && case_was_smooth(the) && !the->server->is_dead) {
                        g_assert_cmpuint(got->len, ==, the->server_said->len);
                        g_assert_true(the->client->out_end || the->was_narrow);
                }
        } else {
                g_assert_cmpstr(the->result, ==, "cut");
                g_assert_true(the->was_cut);
        }
}

static void
check_nothing_is_left(const Case *the)
{
        g_assert_true(the->worker.is_over);
        g_assert_null(the->worker.session);
        g_assert_true(the->worker.had_place == (the->refusal == REFUSAL_NONE));
        g_assert_cmpuint(buffer_pool_get_used(the->worker.pool), ==, 0);
        g_assert_cmpuint(kernel_count_open(), ==, 0);
        g_assert_cmpint(the->settings->refs, ==, 1);
        for (unsigned i = 0; i < the->settings->servers->len; i++) {
                const ServerSettings *server = the->settings->servers->pdata[i];

                /* The one place of a full one is somebody else's. */
                g_assert_cmpuint(server_get_active(server->server), ==, server->max_sessions);
        }
        g_assert_cmpuint(the->n_records, ==, 1);
}

static void
case_run(Case *the, const Address *client)
{
        int fd = kernel_accept();

        the->client = kernel_get_socket(fd);
        the->worker.session = session_new(&the->worker, fd, client, the->settings, NULL);
        session_start(the->worker.session, the->refusal);
        loop_run(the->worker.loop);
        worker_after_turn(&the->worker);
        case_get_server(the);

        check_nothing_is_left(the);
        check_servers(the, client);
        check_client(the);
}

static void
case_clear(Case *the)
{
        loop_free(the->worker.loop);
        buffer_pool_free(the->worker.pool);
        settings_unref(the->settings);
        g_string_free(the->client_said, TRUE);
        g_string_free(the->server_said, TRUE);
        g_free(the->result);
        g_free(the->reason);
        *the = (Case){ .data = NULL };
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static bool is_set_up = false;
        Address client = { .length = sizeof(struct sockaddr_in) };
        const uint8_t *end = size > 0 ? memchr(data, PIECE_END, size) : NULL;
        g_autofree char *letters = g_strndup((const char *)data, end ? (size_t)(end - data) : size);
        Case *the = &the_case;

        if (!is_set_up)
                g_log_set_writer_func(case_on_log, the, NULL);
        is_set_up = true;

        client.in.sin_family = AF_INET;
        client.in.sin_port = g_htons(1000);
        client.in.sin_addr.s_addr = g_htonl(INADDR_LOOPBACK);

        the->data = end ? end + 1 : data + size;
        the->end = data + size;
        the->client_said = g_string_new(NULL);
        the->server_said = g_string_new(NULL);
        kernel_start(case_on_turn, the);
        the->worker.pool = buffer_pool_new();
        the->worker.loop = loop_new(worker_after_turn, &the->worker);
        case_set_up(the, letters);
        case_run(the, &client);
        case_clear(the);
        kernel_stop();

        return 0;
}
