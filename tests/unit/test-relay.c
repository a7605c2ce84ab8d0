/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "base/buffer.h"
#include "proxy/relay.h"

/* A relay between two socket pairs; the test holds the far ends and says when there are events. */
typedef struct Fixture {
        BufferPool *pool;
        RouteSettings route;
        Stream client, server;
        int client_fd, server_fd; /* the far ends */
        Relay relay;
        RelayResult result;
        gint64 now;
} Fixture;

static void
open_pair(Stream *stream, int *far)
{
        int fds[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==,
                        0);
        stream_open_tcp(stream, fds[0]);
        *far = fds[1];
}

static void
fixture_set_up(Fixture *fixture, const void *data)
{
        const RouteSettings *route = data;

        fixture->pool = buffer_pool_new();
        open_pair(&fixture->client, &fixture->client_fd);
        open_pair(&fixture->server, &fixture->server_fd);
        relay_start(&fixture->relay, &fixture->client, &fixture->server, route, NULL, 0);
}

static void
fixture_tear_down(Fixture *fixture, const void *data)
{
        relay_clear(&fixture->relay, fixture->pool);
        stream_close(&fixture->client);
        stream_close(&fixture->server);
        if (fixture->client_fd >= 0)
                close(fixture->client_fd);
        if (fixture->server_fd >= 0)
                close(fixture->server_fd);
        g_assert_cmpuint(buffer_pool_get_used(fixture->pool), ==, 0);
        buffer_pool_free(fixture->pool);
}

/* As after an event of both. */
static void
run(Fixture *fixture)
{
        fixture->client.readable = fixture->client.writable = true;
        fixture->server.readable = fixture->server.writable = true;
        fixture->result = relay_run(&fixture->relay, fixture->pool, ++fixture->now);
}

static void
say_bytes(Fixture *fixture, int fd, const char *bytes, size_t size)
{
        g_assert_cmpint(send(fd, bytes, size, MSG_NOSIGNAL), ==, size);
        run(fixture);
}

static void
server_says(Fixture *fixture, const char *text)
{
        say_bytes(fixture, fixture->server_fd, text, strlen(text));
}

static void
client_says(Fixture *fixture, const char *text)
{
        say_bytes(fixture, fixture->client_fd, text, strlen(text));
}

static void
expect(int fd, const char *text)
{
        char bytes[4096];
        ssize_t n = recv(fd, bytes, sizeof(bytes) - 1, 0);

        bytes[MAX(n, 0)] = '\0';
        g_assert_cmpstr(bytes, ==, text);
}

#define client_gets(fixture, text) expect((fixture)->client_fd, (text))
#define server_gets(fixture, text) expect((fixture)->server_fd, (text))

static void
expect_end(int fd)
{
        char byte;

        g_assert_cmpint(recv(fd, &byte, 1, 0), ==, 0);
}

static void
end(int *fd)
{
        close(*fd);
        *fd = -1;
}

static void
test_whole_lines_pass(Fixture *fixture, const void *data)
{
        server_says(fixture, "NO");
        client_gets(fixture, "");
        server_says(fixture, "OP\nANS");
        client_gets(fixture, "NOOP\n");
        client_says(fixture, "200 result=0\n");
        server_gets(fixture, "200 result=0\n");
        client_gets(fixture, "");
        server_says(fixture, "WER\n");
        client_gets(fixture, "ANSWER\n");
        g_assert_cmpuint(fixture->relay.dialogue.commands, ==, 2);
}

static void
test_one_command_at_a_time(Fixture *fixture, const void *data)
{
        server_says(fixture, "ONE\nTWO\nTHREE\n");
        client_gets(fixture, "ONE\n");
        client_says(fixture, "HANGUP\n");
        client_gets(fixture, "");
        client_says(fixture, "100 result=0 Trying...\n");
        client_gets(fixture, "");
        client_says(fixture, "200 res");
        client_gets(fixture, "");
        client_says(fixture, "ult=0\n");
        client_gets(fixture, "TWO\n");
        client_says(fixture, "520-Invalid\nUsage\n");
        client_gets(fixture, "");
        client_says(fixture, "520 End\n");
        client_gets(fixture, "THREE\n");
        server_gets(fixture,
                    "HANGUP\n100 result=0 Trying...\n200 result=0\n520-Invalid\nUsage\n520 End\n");
}

static void
test_holds_no_memory_while_idle(Fixture *fixture, const void *data)
{
        server_says(fixture, "ONE\n");
        g_assert_cmpuint(buffer_pool_get_used(fixture->pool), ==, 0);
        client_says(fixture, "200 result=0\n");
        g_assert_cmpuint(buffer_pool_get_used(fixture->pool), ==, 0);
        server_says(fixture, "TWO\nTHR");
        g_assert_cmpuint(buffer_pool_get_used(fixture->pool), ==, 1);
        server_says(fixture, "EE\n");
        client_says(fixture, "200 result=0\n");
        g_assert_cmpuint(buffer_pool_get_used(fixture->pool), ==, 0);
}

static void
test_bytes_pass_as_they_come(Fixture *fixture, const void *data)
{
        server_says(fixture, "ONE\nTWO\nTHR");
        client_gets(fixture, "ONE\nTWO\nTHR");
}

static void
test_end_sends_what_is_held(Fixture *fixture, const void *data)
{
        server_says(fixture, "ONE\nTWO\nlast without end");
        client_gets(fixture, "ONE\n");
        shutdown(fixture->server_fd, SHUT_WR);
        run(fixture);
        client_gets(fixture, "TWO\nlast without end");
        expect_end(fixture->client_fd);
        g_assert_cmpint(fixture->result, ==, RELAY_RUNNING);

        /* The other way still works. */
        client_says(fixture, "200 result=0\nHANGUP\n");
        server_gets(fixture, "200 result=0\nHANGUP\n");
        end(&fixture->client_fd);
        run(fixture);
        g_assert_cmpint(fixture->result, ==, RELAY_ENDED);
        g_assert_false(fixture->relay.server_failed);
}

static void
test_client_end_is_passed_on(Fixture *fixture, const void *data)
{
        client_says(fixture, "HANGUP\n");
        shutdown(fixture->client_fd, SHUT_WR);
        run(fixture);
        server_gets(fixture, "HANGUP\n");
        expect_end(fixture->server_fd);
        g_assert_cmpint(fixture->result, ==, RELAY_RUNNING);
        server_says(fixture, "BYE\n");
        client_gets(fixture, "BYE\n");
        end(&fixture->server_fd);
        run(fixture);
        g_assert_cmpint(fixture->result, ==, RELAY_ENDED);
}

static void
test_gone_client_ends_the_server(Fixture *fixture, const void *data)
{
        client_says(fixture, "HANGUP\n");
        end(&fixture->client_fd);
        run(fixture);
        g_assert_cmpint(fixture->result, ==, RELAY_RUNNING);
        server_gets(fixture, "HANGUP\n");

        /* Its next command shows that nobody is there. */
        server_says(fixture, "NOOP\n");
        g_assert_cmpint(fixture->result, ==, RELAY_ENDED);
}

static void
test_failed_server_tells_failure(Fixture *fixture, const void *data)
{
        server_says(fixture, "ONE\nTWO\nSET VARIABLE X par");
        client_gets(fixture, "ONE\n");
        relay_fail_server(&fixture->relay, fixture->pool, ECONNRESET, RELAY_END_SERVER);
        run(fixture);
        client_gets(fixture, "TWO\nFAILURE\n");
        expect_end(fixture->client_fd);
        expect_end(fixture->server_fd);
        g_assert_cmpint(fixture->relay.server_error, ==, ECONNRESET);

        /* ONE and TWO are still being executed, so this isn't over. */
        g_assert_cmpint(fixture->result, ==, RELAY_RUNNING);
        client_says(fixture, "200 result=0\n");
        g_assert_cmpint(fixture->result, ==, RELAY_RUNNING);
        end(&fixture->client_fd);
        run(fixture);
        g_assert_cmpint(fixture->result, ==, RELAY_ENDED);
}

static void
test_failed_server_leaves_an_idle_client(Fixture *fixture, const void *data)
{
        server_says(fixture, "ONE\nSET VARIABLE X par");
        client_gets(fixture, "ONE\n");
        relay_fail_server(&fixture->relay, fixture->pool, ECONNRESET, RELAY_END_SERVER);
        run(fixture);
        client_gets(fixture, "FAILURE\n");
        g_assert_cmpint(fixture->result, ==, RELAY_RUNNING);
        client_says(fixture, "200 result=0\n");
        g_assert_cmpint(fixture->result, ==, RELAY_FAILED);
}

/* Closing with bytes unread resets; after a hang-up that is how many a script ends. */
static void
test_reset_is_a_failure(Fixture *fixture, const void *data)
{
        client_says(fixture, "200 result=0\n");
        end(&fixture->server_fd);
        run(fixture);
        g_assert_true(fixture->relay.server_failed);
        client_gets(fixture, "FAILURE\n");
}

static void
test_reset_after_the_hangup_is_an_end(Fixture *fixture, const void *data)
{
        client_says(fixture, "HANGUP\n");
        end(&fixture->server_fd);
        run(fixture);
        g_assert_false(fixture->relay.server_failed);
        expect_end(fixture->client_fd);
        end(&fixture->client_fd);
        run(fixture);
        g_assert_cmpint(fixture->result, ==, RELAY_ENDED);
}

/* The times are those that run() counts: microseconds from 1. */
static void
test_silence_is_noticed(Fixture *fixture, const void *data)
{
        Relay *relay = &fixture->relay;
        gint64 think = 3 * G_TIME_SPAN_SECOND, idle = 9 * G_TIME_SPAN_SECOND;

        server_says(fixture, "ONE\n");
        relay_check_time(relay, fixture->now + RELAY_KEEPALIVE_AFTER);
        g_assert_cmpint(relay_check_time(relay, fixture->now + idle - 1), ==, RELAY_IN_TIME);
        g_assert_cmpint(relay_check_time(relay, fixture->now + idle), ==, RELAY_IDLE);
        g_assert_cmpint(relay_get_limit(relay, fixture->now), ==, think);

        client_says(fixture, "200 result=0\n");
        g_assert_cmpint(relay_get_limit(relay, fixture->now + 1), ==, think - 1);
        g_assert_cmpint(relay_check_time(relay, fixture->now + think - 1), ==, RELAY_IN_TIME);
        g_assert_cmpint(relay_check_time(relay, fixture->now + think), ==, RELAY_THINK);
}

static void
test_half_ended_session_ends(Fixture *fixture, const void *data)
{
        Relay *relay = &fixture->relay;

        server_says(fixture, "ONE\n");
        g_assert_false(relay_is_half_ended(relay));
        shutdown(fixture->server_fd, SHUT_WR);
        run(fixture);
        g_assert_false(relay_is_half_ended(relay)); /* ONE may take hours */
        client_says(fixture, "200 result=0\n");
        g_assert_true(relay_is_half_ended(relay));
        relay_check_time(relay, fixture->now + RELAY_KEEPALIVE_AFTER);
        g_assert_cmpint(relay_get_limit(relay, fixture->now), ==, RELAY_END_TIMEOUT);
        g_assert_cmpint(relay_check_time(relay, fixture->now + RELAY_END_TIMEOUT), ==,
                        RELAY_UNENDED);
}

/* What the server had said before its end may be a command that takes hours. */
static void
test_last_words_may_be_executed(Fixture *fixture, const void *data)
{
        Relay *relay = &fixture->relay;

        server_says(fixture, data);
        shutdown(fixture->server_fd, SHUT_WR);
        run(fixture);
        client_says(fixture, "200 result=0\n");
        g_assert_false(relay_is_half_ended(relay));
        relay_check_time(relay, fixture->now + RELAY_KEEPALIVE_AFTER);
        g_assert_cmpint(relay_check_time(relay, fixture->now + RELAY_END_TIMEOUT), ==,
                        RELAY_IN_TIME);
}

static void
test_second_command_before_the_end(Fixture *fixture, const void *data)
{
        test_last_words_may_be_executed(fixture, "NOOP\nEXEC Dial SIP/x\n");
}

static void
test_part_of_a_command_before_the_end(Fixture *fixture, const void *data)
{
        test_last_words_may_be_executed(fixture, "NOOP\nEXEC Dial SIP/x");
}

static void
test_failure_is_not_glued_to_a_partial_line(Fixture *fixture, const void *data)
{
        server_says(fixture, "SET VARIABLE X ab");
        relay_fail_server(&fixture->relay, fixture->pool, ECONNRESET, RELAY_END_SERVER);
        run(fixture);
        client_gets(fixture, "SET VARIABLE X ab\nFAILURE\n");
}

static void
test_failed_server_resets(Fixture *fixture, const void *data)
{
        server_says(fixture, "ONE\nTWO\nTHR");
        relay_fail_server(&fixture->relay, fixture->pool, ECONNRESET, RELAY_END_SERVER);
        run(fixture);
        client_gets(fixture, "ONE\nTWO\n");
        g_assert_cmpint(fixture->result, ==, RELAY_ENDED);
        g_assert_false(stream_is_open(&fixture->client));
}

static void
test_server_that_ended_does_not_fail(Fixture *fixture, const void *data)
{
        shutdown(fixture->server_fd, SHUT_WR);
        run(fixture);
        relay_fail_server(&fixture->relay, fixture->pool, ECONNRESET, RELAY_END_SERVER);
        g_assert_false(fixture->relay.server_failed);
        expect_end(fixture->client_fd);
}

/* A line longer than what is held for one passes as it comes. */
static void
test_long_line_passes(Fixture *fixture, const void *data)
{
        enum { SIZE = 3 * RELAY_CLIENT_ROOM };

        g_autofree char *line = g_malloc(SIZE), *got = g_malloc(SIZE);
        size_t sent = 0, received = 0;

        memset(line, 'x', SIZE);
        line[SIZE - 1] = '\n';
        while (received < SIZE) {
                ssize_t n = send(fixture->server_fd, line + sent, SIZE - sent, MSG_NOSIGNAL);

                sent += (size_t)MAX(n, 0);
                run(fixture);
                n = recv(fixture->client_fd, got + received, SIZE - received, 0);
                received += (size_t)MAX(n, 0);
        }
        g_assert_cmpmem(got, SIZE, line, SIZE);
        g_assert_true(fixture->relay.dialogue.outstanding);
        g_assert_cmpuint(fixture->relay.dialogue.commands, ==, 1);

        server_says(fixture, "NEXT\n");
        client_gets(fixture, "");
        client_says(fixture, "200 result=0\n");
        client_gets(fixture, "NEXT\n");
}

/* What a server that doesn't read is to get waits, all of it, and reading stops at the bound. */
static void
test_slow_server_loses_nothing(Fixture *fixture, const void *data)
{
        enum { SIZE = 4 * RELAY_SERVER_ROOM };

        g_autofree char *bytes = g_malloc(SIZE), *got = g_malloc(SIZE);
        size_t sent = 0, received = 0, most = 0;

        for (size_t i = 0; i < SIZE; i++)
                bytes[i] = (char)(i % 251);

        while (received < SIZE) {
                ssize_t n;

                do {
                        n = send(fixture->client_fd, bytes + sent, SIZE - sent, MSG_NOSIGNAL);
                        sent += (size_t)MAX(n, 0);
                        run(fixture);
                        most = MAX(most, buffer_length(&fixture->relay.to_server.held));
                } while (n > 0 && sent < SIZE);

                n = recv(fixture->server_fd, got + received, SIZE - received, 0);
                received += (size_t)MAX(n, 0);
                run(fixture);
        }
        g_assert_cmpmem(got, SIZE, bytes, SIZE);
        g_assert_cmpuint(most, >=, RELAY_SERVER_ROOM);
        g_assert_cmpuint(most, <=, RELAY_SERVER_ROOM + BUFFER_SCRATCH_SIZE);
}

static void
test_knows_whose_turn_it_is(Fixture *fixture, const void *data)
{
        g_assert_true(relay_awaits_command(&fixture->relay));
        server_says(fixture, "ONE\n");
        g_assert_false(relay_awaits_command(&fixture->relay));
        client_says(fixture, "200 result=0\n");
        g_assert_true(relay_awaits_command(&fixture->relay));
        server_says(fixture, "FAILURE\n");
        g_assert_false(relay_awaits_command(&fixture->relay));
}

#define FOREVER .idle_timeout = G_MAXINT64, .think_timeout = G_MAXINT64

/* With as many commands waiting as there may be, the end behind them is found. */
static void
test_both_end_with_commands_left(Fixture *fixture, const void *data)
{
        static const char command[] = "NOOP 12345\n";
        size_t length = strlen(command);

        while (send(fixture->server_fd, command, length, MSG_NOSIGNAL) == (ssize_t)length)
                run(fixture);
        client_gets(fixture, command);
        end(&fixture->client_fd);
        end(&fixture->server_fd);
        for (unsigned i = 0; i < 100 && fixture->result == RELAY_RUNNING; i++)
                run(fixture);
        g_assert_cmpint(fixture->result, ==, RELAY_ENDED);
}

static const RouteSettings lines = { FOREVER };
static const RouteSettings bytes = { FOREVER, .relay_bytes = true };
static const RouteSettings resets = { FOREVER, .on_server_failure = ON_SERVER_FAILURE_RESET };
static const RouteSettings timed = { .idle_timeout = 9 * G_TIME_SPAN_SECOND,
                                     .think_timeout = 3 * G_TIME_SPAN_SECOND };

#define ADD(name, route, func)                                                                     \
        g_test_add("/relay/" name, Fixture, &(route), fixture_set_up, func, fixture_tear_down)

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        ADD("whole-lines-pass", lines, test_whole_lines_pass);
        ADD("one-command-at-a-time", lines, test_one_command_at_a_time);
        ADD("holds-no-memory-while-idle", lines, test_holds_no_memory_while_idle);
        ADD("bytes-pass-as-they-come", bytes, test_bytes_pass_as_they_come);
        ADD("end-sends-what-is-held", lines, test_end_sends_what_is_held);
        ADD("client-end-is-passed-on", lines, test_client_end_is_passed_on);
        ADD("gone-client-ends-the-server", lines, test_gone_client_ends_the_server);
        ADD("failed-server-tells-failure", lines, test_failed_server_tells_failure);
        ADD("failed-server-leaves-an-idle-client", lines, test_failed_server_leaves_an_idle_client);
        ADD("reset-is-a-failure", lines, test_reset_is_a_failure);
        ADD("reset-after-the-hangup-is-an-end", lines, test_reset_after_the_hangup_is_an_end);
        ADD("silence-is-noticed", timed, test_silence_is_noticed);
        ADD("half-ended-session-ends", lines, test_half_ended_session_ends);
        ADD("second-command-before-the-end", lines, test_second_command_before_the_end);
        ADD("part-of-a-command-before-the-end", lines, test_part_of_a_command_before_the_end);
        ADD("failure-is-not-glued", bytes, test_failure_is_not_glued_to_a_partial_line);
        ADD("failed-server-resets", resets, test_failed_server_resets);
        ADD("server-that-ended-does-not-fail", lines, test_server_that_ended_does_not_fail);
        ADD("long-line-passes", lines, test_long_line_passes);
        ADD("both-end-with-commands-left", lines, test_both_end_with_commands_left);
        ADD("slow-server-loses-nothing", lines, test_slow_server_loses_nothing);
        ADD("knows-whose-turn-it-is", lines, test_knows_whose_turn_it_is);

        return g_test_run();
}
