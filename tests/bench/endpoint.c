/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "endpoint.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>

struct sockaddr_in
endpoint_parse(const char *text)
{
        struct sockaddr_in address = { .sin_family = AF_INET };
        const char *colon = strchr(text, ':');
        char host[INET_ADDRSTRLEN] = "";
        char *end = NULL;
        long port = colon ? strtol(colon + 1, &end, 10) : -1;

        if (colon && (size_t)(colon - text) < sizeof(host))
                memcpy(host, text, (size_t)(colon - text));
        if (port < 0 || port > 65535 || *end || inet_pton(AF_INET, host, &address.sin_addr) != 1)
                errx(2, "'%s' is not an address like 127.0.0.1:4573", text);
        address.sin_port = htons((uint16_t)port);

        return address;
}

int
endpoint_listen(const char *text)
{
        struct sockaddr_in address = { .sin_family = AF_INET };
        socklen_t length = sizeof(address);
        int fd = 3;

        if (!getenv("LISTEN_FDS")) {
                address = endpoint_parse(text);
                fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                if (fd < 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
                    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
                    listen(fd, 4096) < 0)
                        err(1, "can't listen on %s", text);
        }
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                err(1, "socket %d", fd);
        printf("%u\n", ntohs(address.sin_port));
        fflush(stdout);

        return fd;
}

int64_t
endpoint_now(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);

        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void
endpoint_catch(int epoll, const int *signals, size_t n_signals)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
        sigset_t set;
        int fd;

        sigemptyset(&set);
        for (size_t i = 0; i < n_signals; i++)
                sigaddset(&set, signals[i]);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
        if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
                err(1, "signalfd");
}

void
endpoint_raise_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}
