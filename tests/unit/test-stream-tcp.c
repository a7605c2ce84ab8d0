/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "base/fd.h"
#include "net/stream.h"

/* A connection over TCP; the test holds the far end and says when there are events. */
typedef struct Fixture {
        Stream stream;
        int far;
} Fixture;

static void
fixture_set_up(Fixture *fixture, const void *data)
{
        struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        fd_auto int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(bind(listener, (struct sockaddr *)&address, size), ==, 0);
        g_assert_cmpint(listen(listener, 1), ==, 0);
        g_assert_cmpint(getsockname(listener, (struct sockaddr *)&address, &size), ==, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *)&address, size), ==, 0);
        fixture->far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        g_assert_cmpint(fixture->far, >=, 0);
        stream_open_dialed(&fixture->stream, fd, NULL);
}

static void
fixture_tear_down(Fixture *fixture, const void *data)
{
        stream_close(&fixture->stream);
        fd_clear(&fixture->far);
}

static void
say(Fixture *fixture)
{
        size_t n;

        g_assert_cmpint(stream_write(&fixture->stream, "200 result=0\n", 13, &n), ==, STREAM_OK);
        g_assert_cmpuint(n, ==, 13);
}

/* What the far end has done is there when its call returns: this is loopback. */
static StreamResult
hear(Fixture *fixture)
{
        char data[64];
        size_t n;

        fixture->stream.readable = true;

        return stream_read(&fixture->stream, data, sizeof(data), &n);
}

static bool
has_nodelay(Fixture *fixture)
{
        int value = 0;
        socklen_t size = sizeof(value);

        g_assert_cmpint(getsockopt(fixture->stream.fd, IPPROTO_TCP, TCP_NODELAY, &value, &size), ==,
                        0);

        return value != 0;
}

static void
test_answers_need_no_nodelay(Fixture *fixture, const void *data)
{
        for (unsigned i = 0; i < 3; i++) {
                say(fixture);
                g_assert_cmpint(write(fixture->far, "VERBOSE\n", 8), ==, 8);
                g_assert_cmpint(hear(fixture), ==, STREAM_OK);
        }
        g_assert_false(has_nodelay(fixture));
}

static void
test_write_without_an_answer_sets_nodelay(Fixture *fixture, const void *data)
{
        say(fixture);
        g_assert_false(has_nodelay(fixture));
        say(fixture);
        g_assert_true(has_nodelay(fixture));
}

static void
test_end_is_an_answer(Fixture *fixture, const void *data)
{
        say(fixture);
        g_assert_cmpint(shutdown(fixture->far, SHUT_WR), ==, 0);
        g_assert_cmpint(hear(fixture), ==, STREAM_END);
        say(fixture);
        g_assert_false(has_nodelay(fixture));
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

#define ADD(name, func)                                                                            \
        g_test_add("/stream-tcp/" name, Fixture, NULL, fixture_set_up, func, fixture_tear_down)
        ADD("answers-need-no-nodelay", test_answers_need_no_nodelay);
        ADD("write-without-an-answer-sets-nodelay", test_write_without_an_answer_sets_nodelay);
        ADD("end-is-an-answer", test_end_is_an_answer);

        return g_test_run();
}
