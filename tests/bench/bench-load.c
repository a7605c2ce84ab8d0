/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Plays Asterisk for the benchmarks: one thread, sessions by the thousand, each of them as script.h
 * says: connect, send the environment, reply to every command, and at the server's end send HANGUP
 * and close. Every byte that comes is compared with the one expected.
 *
 * Closed loop: --concurrency sessions at a time, a new one for each that ended. Open loop (--rate):
 * session i begins at i / rate whatever became of those before it, and its setup time counts from
 * that moment, so that a stall of the proxy is not hidden by fewer calls during it.
 *
 * With --idle, that many sessions are opened first and stay open while the others run; a line
 * {"idle": N} is printed once they are. Then the result is printed. With --wait a line on stdin is
 * awaited after each of the two, so that the caller can measure while they are open.
 *
 * With --idle-pause those open sessions talk all the while: each replies to its command only after
 * so many milliseconds, half of them to one and a half, and so gets the next one. In the end their
 * replies are SCRIPT_LAST_REPLY, the server ends them, and a line {"finished": N, ...} is printed.
 *
 * With --tls=full every session begins with a handshake, with --tls=resumed one that resumes the
 * session before it.
 */
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "channel.h"
#include "endpoint.h"
#include "histogram.h"
#include "load-options.h"
#include "script.h"

#define SECOND         INT64_C(1000000000)
#define IDLE_AT_A_TIME 64
#define ERRORS_SHOWN   5
#define MAX_OPEN       19000
#define TALK_TURN      20 /* ms */

typedef enum SessionState {
        SESSION_FREE,
        SESSION_HANDSHAKE,
        SESSION_ENVIRONMENT, /* being sent */
        SESSION_COMMAND,     /* awaits one */
        SESSION_PAUSE,       /* has one, and takes its time to reply */
        SESSION_REPLY,       /* being sent */
        SESSION_IDLE,        /* open, and nothing may come */
} SessionState;

typedef struct Session {
        Channel channel;
        SessionState state;
        bool is_idle; /* one of those to be held open */
        bool is_last; /* its reply is to be SCRIPT_LAST_REPLY */
        unsigned id, command;
        size_t sent;    /* of the environment, or of the reply */
        size_t matched; /* of the awaited command */
        int64_t start, mark;
        int64_t due; /* of the reply after a pause */
        struct Session *next_free;
} Session;

/* What became of a session that failed. */
typedef enum Failure {
        FAILURE_REFUSED, /* not connected, or told so before its first command */
        FAILURE_CUT,     /* broken off in its middle */
        FAILURE_WRONG,   /* a byte that nobody sent, or not the one sent */
        N_FAILURES
} Failure;

typedef struct Load {
        LoadOptions options;
        Script script, idle_script;
        ChannelSetup *tls; /* NULL: plain */
        int epoll, timer;
        Session *all, *free;
        unsigned next_id;
        unsigned started, open, completed; /* but for idle ones */
        unsigned idle_started, idle_open, finished;
        unsigned held; /* idle ones that have said all that they had to, or talk on and on */
        bool is_finishing;
        unsigned errors, failures[N_FAILURES], late, resumed;
        int64_t begin;
        uint64_t commands, idle_commands;
        Histogram setup, command, session;
} Load;

static const Script *
script_of(const Load *load, const Session *session)
{
        return session->is_idle ? &load->idle_script : &load->script;
}

static void
session_close(Session *session, Load *load)
{
        channel_close(&session->channel);
        if (session->is_idle)
                load->idle_open--;
        else
                load->open--;
        session->state = SESSION_FREE;
        session->next_free = load->free;
        load->free = session;
}

/* By what the proxy says to a client that it refuses or cuts; anything else is a wrong byte. */
static Failure
session_classify(const Session *session, const char *data, size_t length)
{
        static const char refusal[] = "SET VARIABLE AGITATOR_STATUS", failure[] = "FAILURE\n";
        bool is_first = session->command <= 1 && session->matched == 0;

        if (length == 0)
                return FAILURE_CUT;
        if (is_first && length >= strlen(refusal) && memcmp(data, refusal, strlen(refusal)) == 0)
                return FAILURE_REFUSED;
        if (session->matched == 0 && length == strlen(failure) &&
            memcmp(data, failure, length) == 0)
                return is_first ? FAILURE_REFUSED : FAILURE_CUT;

        return FAILURE_WRONG;
}

static void
session_fail(Session *session,
             Load *load,
             Failure failure,
             const char *why,
             const char *data,
             size_t length)
{
        load->failures[failure]++;
        if (load->errors++ < ERRORS_SHOWN) {
                fprintf(stderr, "bench-load: session %u, command %u: %s", session->id,
                        session->command, why);
                if (length > 0)
                        fprintf(stderr, ": '%.*s'", (int)(length < 200 ? length : 200), data);
                fputc('\n', stderr);
        }
        session_close(session, load);
}

/* Sends from @data what was not sent before. True when all of it is. */
static bool
session_send(Session *session, Load *load, const char *data, size_t length, bool lines)
{
        while (session->sent < length) {
                size_t size = length - session->sent;
                ssize_t n;

                if (lines)
                        size = (size_t)((const char *)memchr(data + session->sent, '\n', size) -
                                        (data + session->sent) + 1);
                n = channel_send(&session->channel, data + session->sent, size);
                if (n < 0 && errno != EAGAIN)
                        session_fail(session, load, FAILURE_CUT, strerror(errno), NULL, 0);
                if (n < 0)
                        return false;
                session->sent += (size_t)n;
        }

        return true;
}

static void
session_send_environment(Session *session, Load *load)
{
        char environment[SCRIPT_MAX_ENVIRONMENT];
        const char *path = session->is_idle ? load->options.idle_path : load->options.path;
        size_t length = script_environment(environment, load->options.authority, path, session->id);

        if (session_send(session, load, environment, length, load->options.lines)) {
                session->state = SESSION_COMMAND;
                session->command = 1;
        }
}

/* False when it has to wait, or failed. */
static bool
session_handshake(Session *session, Load *load)
{
        int result = channel_handshake(&session->channel);

        if (result < 0)
                session_fail(session, load, FAILURE_REFUSED, "no handshake", NULL, 0);
        if (result <= 0)
                return false;
        session->state = SESSION_ENVIRONMENT;
        session_send_environment(session, load);

        return session->state != SESSION_FREE;
}

static void
session_send_reply(Session *session, Load *load)
{
        const Script *script = script_of(load, session);
        bool talks = session->is_idle && load->options.idle_pause > 0;
        bool is_last = talks && session->is_last;
        size_t length = strlen(SCRIPT_LAST_REPLY);
        const char *reply = is_last ? SCRIPT_LAST_REPLY : script_reply(script, &length);

        if (!session_send(session, load, reply, length, false))
                return;
        session->state = SESSION_COMMAND;
        session->mark = endpoint_now();
        session->command = is_last ? script->commands + 1 : session->command + 1;
        session->matched = 0;
        if (session->command == script->commands + 1)
                channel_keep(&session->channel, load->tls);
        if (session->is_idle && !talks && session->command > script->commands) {
                session->state = SESSION_IDLE;
                load->held++;
        }
}

/* A connection on loopback stands when connect() returns; where it does not, EPOLLOUT tells. */
static void
session_start(Load *load, bool is_idle, int64_t start)
{
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
        Session *session = load->free;
        int fd;

        if (!session)
                errx(1, "more sessions open than there are descriptors");
        load->free = session->next_free;
        *session = (Session){ .state = SESSION_ENVIRONMENT, .is_idle = is_idle, .start = start };
        session->id = load->next_id++ % 100000000;
        if (is_idle) {
                load->idle_started++;
                load->idle_open++;
        } else {
                load->started++;
                load->open++;
        }

        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                err(1, "socket");
        channel_open(&session->channel, load->tls, fd);
        if (load->options.lines)
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        event.data.ptr = session;
        if (connect(fd, (const struct sockaddr *)&load->options.address,
                    sizeof(load->options.address)) < 0 &&
            errno != EINPROGRESS) {
                session_fail(session, load, FAILURE_REFUSED, strerror(errno), NULL, 0);
                return;
        }
        if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                err(1, "epoll_ctl");
        if (load->tls) {
                session->state = SESSION_HANDSHAKE;
                session_handshake(session, load);
        } else
                session_send_environment(session, load);
}

static void
session_end(Session *session, Load *load)
{
        const Script *script = script_of(load, session);

        if (session->state != SESSION_COMMAND || session->matched > 0 ||
            session->command != script->commands + 1) {
                session_fail(session, load, FAILURE_CUT, "ended too early", NULL, 0);
                return;
        }
        load->resumed += channel_is_resumed(&session->channel);
        (void)!channel_send(&session->channel, SCRIPT_HANGUP, strlen(SCRIPT_HANGUP));
        if (session->is_idle) {
                load->finished++;
        } else {
                histogram_add(&load->session, endpoint_now() - session->start);
                load->completed++;
        }
        session_close(session, load);
}

/* The command is there; its reply goes at once, but from those who take their time. */
static void
session_reply(Session *session, Load *load)
{
        int64_t pause = load->options.idle_pause * (SECOND / 1000);

        session->sent = 0;
        if (!session->is_idle || pause == 0) {
                session->state = SESSION_REPLY;
                session_send_reply(session, load);
                return;
        }
        if (session->command == 1)
                load->held++;
        load->idle_commands++;
        session->state = SESSION_PAUSE;
        /* A prime, so that they don't all talk at once. */
        session->due = endpoint_now() + pause / 2 +
                       (int64_t)(session->id + session->command) * 7919 % 1000 * pause / 1000;
}

/* Sends the replies that are due, or all of them as the last ones. */
static void
load_talk(Load *load)
{
        int64_t now = endpoint_now();

        /* They have been opened first. */
        for (unsigned i = 0; i < load->options.idle; i++) {
                Session *session = &load->all[i];

                if (session->state != SESSION_PAUSE || (session->due > now && !load->is_finishing))
                        continue;
                session->is_last = load->is_finishing;
                session->state = SESSION_REPLY;
                session_send_reply(session, load);
        }
}

static void
session_read(Session *session, Load *load, const char *data, size_t length)
{
        const Script *script = script_of(load, session);
        size_t size;
        const char *command = script_command(script, session->id, session->command, &size);

        if (session->state != SESSION_COMMAND || session->command > script->commands ||
            length > size - session->matched ||
            memcmp(command + session->matched, data, length) != 0) {
                session_fail(session, load, session_classify(session, data, length),
                             "not the command expected", data, length);
                return;
        }
        if (session->matched == 0 && !session->is_idle) {
                int64_t now = endpoint_now();

                if (session->command == 1)
                        histogram_add(&load->setup, now - session->start);
                else
                        histogram_add(&load->command, now - session->mark);
                load->commands++;
        }
        session->matched += length;
        if (session->matched == size)
                session_reply(session, load);
}

static void
session_ready(Session *session, Load *load, uint32_t events)
{
        static char buffer[64 * 1024];
        ssize_t n;

        if (session->state == SESSION_FREE)
                return;
        if (session->state == SESSION_HANDSHAKE) {
                if (!session_handshake(session, load))
                        return;
                events |= EPOLLIN; /* what follows may have come with its end */
        } else if (events & EPOLLOUT) {
                if (session->state == SESSION_ENVIRONMENT)
                        session_send_environment(session, load);
                else if (session->state == SESSION_REPLY)
                        session_send_reply(session, load);
        }
        /* One read is enough unless the end was announced, or it is but a record of several: what
         * comes later is a new edge. */
        while (session->state != SESSION_FREE &&
               (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
                n = channel_recv(&session->channel, buffer, sizeof(buffer));
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n < 0)
                        session_fail(session, load, FAILURE_CUT, strerror(errno), NULL, 0);
                else if (n == 0)
                        session_end(session, load);
                else
                        session_read(session, load, buffer, (size_t)n);
                if (n > 0 && (size_t)n < sizeof(buffer) && !session->channel.tls &&
                    !(events & (EPOLLRDHUP | EPOLLHUP)))
                        return;
        }
}

static void
set_timer(Load *load, int64_t when)
{
        struct itimerspec spec = { .it_value = { when / SECOND, when % SECOND } };

        if (timerfd_settime(load->timer, TFD_TIMER_ABSTIME, &spec, NULL) < 0)
                err(1, "timerfd_settime");
}

/* Starts what is due. */
static void
load_start(Load *load)
{
        const LoadOptions *options = &load->options;
        unsigned most = options->concurrency;

        if (options->resume && !channel_can_resume(load->tls))
                most = 1; /* the one that all others are resumed from */
        if (options->rate == 0) {
                while (load->open < most && load->started < options->sessions)
                        session_start(load, false, endpoint_now());
                return;
        }
        while (load->started < options->sessions) {
                int64_t due = load->begin + load->started * SECOND / options->rate;
                int64_t now = endpoint_now();

                if (due > now) {
                        set_timer(load, due);
                        return;
                }
                if (now - due > SECOND / 1000)
                        load->late++; /* the generator itself was not there in time */
                session_start(load, false, due);
        }
}

/* A turn of the loop. False when the time is up or a signal came. */
static bool
load_turn(Load *load, int64_t deadline)
{
        struct epoll_event events[256];
        uint64_t expirations;
        bool talks = load->options.idle_pause > 0;
        int n = epoll_wait(load->epoll, events, 256, talks ? TALK_TURN : 1000);

        for (int i = 0; i < n; i++) {
                if (!events[i].data.ptr)
                        return false;
                if (events[i].data.ptr == load)
                        (void)!read(load->timer, &expirations, sizeof(expirations));
                else
                        session_ready(events[i].data.ptr, load, events[i].events);
        }
        if (talks)
                load_talk(load);

        return endpoint_now() < deadline;
}

static bool
wait_for_caller(Load *load)
{
        struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
        char line[16];

        if (!load->options.wait)
                return true;
        while (load->options.idle_pause > 0 && poll(&input, 1, 0) == 0) {
                if (!load_turn(load, INT64_MAX))
                        return false;
        }

        return fgets(line, sizeof(line), stdin);
}

static bool
load_open_idle(Load *load, int64_t deadline)
{
        do {
                while (load->idle_started < load->options.idle &&
                       load->idle_open - load->held < IDLE_AT_A_TIME)
                        session_start(load, true, endpoint_now());
                if (!load_turn(load, deadline) || load->errors > 0)
                        return false;
        } while (load->held < load->options.idle);

        printf("{\"idle\": %u}\n", load->held);
        fflush(stdout);

        return wait_for_caller(load);
}

static void
load_print_errors(const Load *load)
{
        printf("\"errors\": %u, \"refused\": %u, \"cut\": %u, \"wrong\": %u", load->errors,
               load->failures[FAILURE_REFUSED], load->failures[FAILURE_CUT],
               load->failures[FAILURE_WRONG]);
}

static void
load_print(const Load *load, int64_t wall)
{
        double seconds = (double)wall / (double)SECOND;

        printf("{\"sessions\": %u, \"idle\": %u, \"commands\": %" PRIu64
               ", \"late\": %u, \"resumed\": %u, \"wall\": %.6f, \"rate\": %.1f, ",
               load->completed, load->idle_open, load->commands, load->late, load->resumed, seconds,
               load->completed / seconds);
        load_print_errors(load);
        printf(", ");
        histogram_print(&load->setup, "setup_us", stdout);
        printf(", ");
        histogram_print(&load->command, "command_us", stdout);
        printf(", ");
        histogram_print(&load->session, "session_us", stdout);
        printf("}\n");
        fflush(stdout);
}

static bool
load_run(Load *load)
{
        int64_t deadline = endpoint_now() + load->options.timeout * SECOND;
        bool in_time = load->options.idle == 0 || load_open_idle(load, deadline);

        load->begin = endpoint_now();
        while (in_time && load->completed + load->errors < load->options.sessions) {
                load_start(load);
                in_time = load_turn(load, deadline);
        }
        if (!in_time) {
                fprintf(stderr, "bench-load: not done in time: %u open, %u idle of %u\n",
                        load->open, load->held, load->options.idle);
                load->errors += load->open > 0 ? load->open : 1;
        }
        load_print(load, endpoint_now() - load->begin);

        return load->errors == 0;
}

/* As a caller does who hangs up. */
static void
load_close_idle(Load *load)
{
        for (unsigned i = 0; i < MAX_OPEN; i++) {
                if (load->all[i].state != SESSION_IDLE && load->all[i].state != SESSION_PAUSE)
                        continue;
                (void)!channel_send(&load->all[i].channel, SCRIPT_HANGUP, strlen(SCRIPT_HANGUP));
                channel_close(&load->all[i].channel);
        }
}

/* Ends those that talk, each as the server does after its last command. */
static bool
load_finish_idle(Load *load)
{
        int64_t deadline = endpoint_now() + load->options.timeout * SECOND;
        bool in_time = true;

        load->is_finishing = true;
        load_talk(load);
        while (in_time && load->idle_open > 0)
                in_time = load_turn(load, deadline);
        load->errors += load->idle_open;

        printf("{\"finished\": %u, \"commands\": %" PRIu64 ", ", load->finished,
               load->idle_commands);
        load_print_errors(load);
        printf("}\n");

        return load->errors == 0;
}

int
main(int argc, char **argv)
{
        static Load load = {
                .options = {
                        .path = "ivr/k3",
                        .idle_path = "ivr/k1/hold",
                        .tls_version = "1.3",
                        .sessions = 1000,
                        .concurrency = 64,
                        .timeout = 120,
                },
        };
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = &load };
        const LoadOptions *options = &load.options;

        load_options_parse(&load.options, argc, argv);
        if (strlen(options->path) > 200 || strlen(options->idle_path) > 200 ||
            !script_parse(&load.script, options->path, strlen(options->path)) ||
            !script_parse(&load.idle_script, options->idle_path, strlen(options->idle_path)))
                errx(2, "no such path");
        if (options->idle > MAX_OPEN)
                errx(2, "more than %d sessions can't be open", MAX_OPEN);

        if (options->tls)
                load.tls = channel_setup_client(options->tls_version, options->resume);
        endpoint_raise_limit();
        load.epoll = epoll_create1(EPOLL_CLOEXEC);
        load.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        endpoint_catch(load.epoll, (int[]){ SIGTERM, SIGINT }, 2);
        if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, load.timer, &event) < 0)
                err(1, "epoll_ctl");
        load.all = calloc(MAX_OPEN, sizeof(*load.all));
        if (!load.all)
                err(1, "memory");
        for (unsigned i = MAX_OPEN; i-- > 0;) {
                load.all[i].next_free = load.free;
                load.free = &load.all[i];
        }

        bool good = load_run(&load);

        if (options->idle > 0 && wait_for_caller(&load) && options->idle_pause > 0)
                good = load_finish_idle(&load) && good;
        load_close_idle(&load);

        return !good;
}
