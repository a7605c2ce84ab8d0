/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A FastAGI server for the benchmarks: one thread, what it says is in script.h.
 *
 * It reads the environment up to the empty line, sends the commands one by one, each after the
 * reply to the one before it, and ends: by close(), as a script does that has come to its end (the
 * client's HANGUP then meets a closed socket), or by shutdown() where the path says `shut`, reading
 * the HANGUP too. A wrong byte is answered with FAILURE, so that the client counts it as well. At
 * SIGTERM it prints its counts.
 *
 * usage: bench-server [ADDRESS:PORT [CERTIFICATE full|resumed]]     its clients speak TLS
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"
#include "endpoint.h"
#include "script.h"

#define HANGUPS_MAX 2 /* the caller's and the one that ends every session */

typedef enum SessionState {
        SESSION_HANDSHAKE,
        SESSION_ENVIRONMENT,
        SESSION_REPLY, /* awaits one */
        SESSION_HOLD,  /* awaits the client's end */
        SESSION_SHUT,  /* has ended, and still reads */
} SessionState;

typedef struct Session {
        Channel channel;
        SessionState state;
        Script script;
        unsigned id, command;
        bool is_last;   /* the reply that comes is SCRIPT_LAST_REPLY */
        size_t matched; /* bytes of the awaited reply, or of HANGUP lines */
        size_t sent;    /* bytes of the command that the kernel took */
        size_t used;
        char environment[SCRIPT_MAX_ENVIRONMENT];
} Session;

typedef struct Counts {
        unsigned long accepted, completed, resumed, errors;
} Counts;

static void
session_close(Session *session)
{
        channel_close(&session->channel);
        free(session);
}

static void
session_count(const Session *session, Counts *counts)
{
        counts->completed++;
        counts->resumed += channel_is_resumed(&session->channel);
}

static bool
session_fail(Session *session, Counts *counts, const char *why)
{
        if (counts->errors++ < 10)
                fprintf(stderr, "bench-server: session %u, command %u: %s\n", session->id,
                        session->command, why);
        (void)!channel_send(&session->channel, "FAILURE\n", 8);
        session_close(session);

        return false;
}

/* Sends what is left of the current command. False when the session is gone. */
static bool
session_flush(Session *session, Counts *counts)
{
        size_t length;
        const char *command =
                script_command(&session->script, session->id, session->command, &length);
        ssize_t n;

        if (session->command == 0 || session->sent == length)
                return true;
        n = channel_send(&session->channel, command + session->sent, length - session->sent);
        if (n < 0 && errno != EAGAIN)
                return session_fail(session, counts, strerror(errno));
        if (n > 0)
                session->sent += (size_t)n;

        return true;
}

/* The next command, or the end. False when the session is gone. */
static bool
session_next(Session *session, Counts *counts)
{
        session->matched = 0;
        if (session->command < session->script.commands) {
                session->state = SESSION_REPLY;
                session->command++;
                session->sent = 0;
                return session_flush(session, counts);
        }
        if (session->script.hold) {
                session->state = SESSION_HOLD;
                return true;
        }
        if (session->script.shut) {
                session->state = SESSION_SHUT;
                channel_shut(&session->channel);
                return true;
        }
        session_count(session, counts);
        session_close(session);

        return false;
}

static bool
session_read_environment(Session *session, Counts *counts, const char *data, size_t length)
{
        ScriptRequest request;

        if (session->used + length > sizeof(session->environment))
                return session_fail(session, counts, "environment too long");
        memcpy(session->environment + session->used, data, length);
        session->used += length;
        if (session->used < 2 || memcmp(session->environment + session->used - 2, "\n\n", 2) != 0)
                return true;
        if (!script_check_environment(&request, session->environment, session->used) ||
            !script_parse(&session->script, request.path, request.path_length)) {
                fprintf(stderr, "%.*s", (int)session->used, session->environment);
                return session_fail(session, counts, "this is not the environment sent");
        }
        session->id = request.id;

        return session_next(session, counts);
}

static bool
session_read_reply(Session *session, Counts *counts, const char *data, size_t length)
{
        const size_t differs = strlen(SCRIPT_REPLY_BEGIN);
        size_t size;
        const char *reply = script_reply(&session->script, &size);

        if (session->matched <= differs && session->matched + length > differs)
                session->is_last = data[differs - session->matched] == SCRIPT_LAST_REPLY[differs];
        if (session->is_last) {
                reply = SCRIPT_LAST_REPLY;
                size = strlen(SCRIPT_LAST_REPLY);
        }
        if (length > size - session->matched || memcmp(reply + session->matched, data, length) != 0)
                return session_fail(session, counts, "this is not the reply sent");
        session->matched += length;
        if (session->matched < size)
                return true;
        if (session->is_last)
                session->command = session->script.commands;

        return session_next(session, counts);
}

static bool
session_read_hangup(Session *session, Counts *counts, const char *data, size_t length)
{
        for (size_t i = 0; i < length; i++, session->matched++)
                if (session->matched >= HANGUPS_MAX * strlen(SCRIPT_HANGUP) ||
                    data[i] != SCRIPT_HANGUP[session->matched % strlen(SCRIPT_HANGUP)])
                        return session_fail(session, counts, "this is not HANGUP");

        return true;
}

static bool
session_end(Session *session, Counts *counts)
{
        if (session->state <= SESSION_ENVIRONMENT && session->used == 0) {
                session_close(session); /* a look whether anybody listens */
                return false;
        }
        if (session->state != SESSION_HOLD && session->state != SESSION_SHUT)
                return session_fail(session, counts, "the client ended too early");
        if (session->matched == 0 || session->matched % strlen(SCRIPT_HANGUP) != 0)
                return session_fail(session, counts, "no HANGUP before the end");
        session_count(session, counts);
        session_close(session);

        return false;
}

static bool
session_read(Session *session, Counts *counts, const char *data, size_t length)
{
        switch (session->state) {
        case SESSION_HANDSHAKE:
                break;
        case SESSION_ENVIRONMENT:
                return session_read_environment(session, counts, data, length);
        case SESSION_REPLY:
                return session_read_reply(session, counts, data, length);
        case SESSION_HOLD:
        case SESSION_SHUT:
                return session_read_hangup(session, counts, data, length);
        }

        return false;
}

/* False when it has to wait, or the session is gone. */
static bool
session_handshake(Session *session, Counts *counts)
{
        int result = channel_handshake(&session->channel);

        if (result < 0)
                session_fail(session, counts, "no handshake");
        if (result <= 0)
                return false;
        session->state = SESSION_ENVIRONMENT;

        return true;
}

/* One read is enough when it does not fill the buffer: anything that comes later is a new edge, and
 * after an end announced with this one nothing can come. With TLS it is but one record. */
static void
session_ready(Session *session, Counts *counts, uint32_t events)
{
        static char buffer[256 * 1024];
        ssize_t n;

        if (session->state == SESSION_HANDSHAKE) {
                if (!session_handshake(session, counts))
                        return;
                events = EPOLLIN; /* what follows may have come with its end */
        }
        if ((events & EPOLLOUT) && !session_flush(session, counts))
                return;
        if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
                return;
        do {
                n = channel_recv(&session->channel, buffer, sizeof(buffer));
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n < 0) {
                        session_fail(session, counts, strerror(errno));
                        return;
                }
                if (n == 0) {
                        session_end(session, counts);
                        return;
                }
                if (!session_read(session, counts, buffer, (size_t)n))
                        return;
        } while ((size_t)n == sizeof(buffer) || session->channel.tls ||
                 (events & (EPOLLRDHUP | EPOLLHUP)));
}

static void
accept_one(int listener, int epoll, const ChannelSetup *tls, Counts *counts)
{
        struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        Session *session;

        if (fd < 0) {
                if (errno != EAGAIN && errno != ECONNABORTED)
                        err(1, "accept");
                return;
        }
        session = malloc(sizeof(*session));
        if (!session)
                err(1, "memory");
        memset(session, 0, offsetof(Session, environment));
        session->state = tls ? SESSION_HANDSHAKE : SESSION_ENVIRONMENT;
        channel_open(&session->channel, tls, fd);
        event.data.ptr = session;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                err(1, "epoll_ctl");
        counts->accepted++;
}

int
main(int argc, char **argv)
{
        struct epoll_event events[128];
        struct epoll_event event = { .events = EPOLLIN };
        int epoll = epoll_create1(EPOLL_CLOEXEC), listener;
        ChannelSetup *tls =
                argc == 4 ? channel_setup_server(argv[2], strcmp(argv[3], "resumed") == 0) : NULL;
        Counts counts = { 0 };

        endpoint_raise_limit();
        endpoint_catch(epoll, (int[]){ SIGTERM, SIGINT }, 2);
        listener = endpoint_listen(argc > 1 ? argv[1] : "127.0.0.1:0");
        event.data.ptr = &counts;
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
                err(1, "epoll_ctl");

        for (;;) {
                int n = epoll_wait(epoll, events, 128, -1);

                for (int i = 0; i < n; i++) {
                        if (!events[i].data.ptr) {
                                printf("{\"accepted\": %lu, \"completed\": %lu, "
                                       "\"resumed\": %lu, \"errors\": %lu}\n",
                                       counts.accepted, counts.completed, counts.resumed,
                                       counts.errors);
                                return counts.errors > 0;
                        }
                        if (events[i].data.ptr == &counts)
                                accept_one(listener, epoll, tls, &counts);
                        else
                                session_ready(events[i].data.ptr, &counts, events[i].events);
                }
        }
}
