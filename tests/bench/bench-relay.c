/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The floor: what any proxy in this place must spend. One thread accepts, reads the environment up
 * to its empty line, connects to one fixed server and copies bytes both ways with TCP_NODELAY. It
 * knows no route, no limit, no timeout, no line and no back-pressure, rewrites nothing, and leaves
 * out every system call that it can: one read for each event, no write that is watched for.
 */
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "endpoint.h"

#define BLOCK_MAX 4096

typedef struct Session Session;

typedef struct Side {
        Session *session;
        int fd;
        bool ended;
} Side;

struct Session {
        Side client, server;
        Session *next_dead;
        bool is_dead;
        size_t used;
        char *block; /* until the server is connected */
};

typedef struct Relay {
        int epoll;
        struct sockaddr_in server;
        Session *dead; /* freed after the turn: an event for them may follow in it */
} Relay;

static void
session_close(Session *session, Relay *relay)
{
        if (session->is_dead)
                return;
        close(session->client.fd);
        if (session->server.fd >= 0)
                close(session->server.fd);
        free(session->block);
        session->is_dead = true;
        session->next_dead = relay->dead;
        relay->dead = session;
}

static bool
watch(Relay *relay, Side *side)
{
        struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = side };

        return epoll_ctl(relay->epoll, EPOLL_CTL_ADD, side->fd, &event) == 0;
}

/* On loopback the connection stands when connect() returns, so the block can be sent at once. */
static bool
session_connect(Session *session, Relay *relay)
{
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        session->server.fd = fd;
        if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)) < 0 ||
            (connect(fd, (struct sockaddr *)&relay->server, sizeof(relay->server)) < 0 &&
             errno != EINPROGRESS) ||
            send(fd, session->block, session->used, MSG_NOSIGNAL) != (ssize_t)session->used)
                return false;
        free(session->block);
        session->block = NULL;

        return watch(relay, &session->server);
}

/* False when the session is to be closed. */
static bool
read_block(Session *session, Relay *relay)
{
        ssize_t n = recv(session->client.fd, session->block + session->used,
                         BLOCK_MAX - session->used, 0);

        if (n < 0 && errno == EAGAIN)
                return true;
        if (n <= 0)
                return false;
        session->used += (size_t)n;
        if (!memmem(session->block, session->used, "\n\n", 2))
                return session->used < BLOCK_MAX;

        return session_connect(session, relay);
}

/* False when the session is to be closed. */
static bool
copy(Side *from, Side *to, uint32_t events)
{
        static char buffer[64 * 1024];
        ssize_t n;

        for (;;) {
                n = recv(from->fd, buffer, sizeof(buffer), 0);
                if (n < 0)
                        return errno == EAGAIN;
                if (n == 0)
                        break;
                if (send(to->fd, buffer, (size_t)n, MSG_NOSIGNAL) != n && !to->ended)
                        return false; /* a HANGUP for a server that has closed is lost */
                if ((size_t)n < sizeof(buffer)) {
                        if (events & EPOLLRDHUP)
                                break; /* the end came before this read, so nothing follows it */
                        return true;
                }
        }
        from->ended = true;
        if (to->ended)
                return false;
        shutdown(to->fd, SHUT_WR);

        return true;
}

static void
side_ready(Side *side, Relay *relay, uint32_t events)
{
        Session *session = side->session;
        bool goes_on;

        if (session->is_dead)
                return;
        if (session->block)
                goes_on = read_block(session, relay);
        else if (side == &session->client)
                goes_on = copy(side, &session->server, events);
        else
                goes_on = copy(side, &session->client, events);
        if (!goes_on)
                session_close(session, relay);
}

static void
accept_one(int listener, Relay *relay)
{
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        Session *session;

        if (fd < 0)
                return;
        session = calloc(1, sizeof(*session));
        if (!session || !(session->block = malloc(BLOCK_MAX)))
                err(1, "memory");
        session->client = (Side){ .session = session, .fd = fd };
        session->server = (Side){ .session = session, .fd = -1 };
        if (!watch(relay, &session->client))
                session_close(session, relay);
}

int
main(int argc, char **argv)
{
        struct epoll_event events[128];
        struct epoll_event event = { .events = EPOLLIN };
        Relay relay = { .epoll = epoll_create1(EPOLL_CLOEXEC) };
        int listener;

        if (argc != 3)
                errx(2, "usage: %s LISTEN SERVER", argv[0]);
        endpoint_raise_limit();
        endpoint_catch(relay.epoll, (int[]){ SIGTERM, SIGINT }, 2);
        listener = endpoint_listen(argv[1]);
        relay.server = endpoint_parse(argv[2]);
        event.data.ptr = &relay;
        if (epoll_ctl(relay.epoll, EPOLL_CTL_ADD, listener, &event) < 0)
                err(1, "epoll_ctl");

        for (;;) {
                int n = epoll_wait(relay.epoll, events, 128, -1);

                for (int i = 0; i < n; i++) {
                        if (!events[i].data.ptr)
                                return 0;
                        if (events[i].data.ptr == &relay)
                                accept_one(listener, &relay);
                        else
                                side_ready(events[i].data.ptr, &relay, events[i].events);
                }
                while (relay.dead) {
                        Session *session = relay.dead;

                        relay.dead = session->next_dead;
                        free(session);
                }
        }
}
