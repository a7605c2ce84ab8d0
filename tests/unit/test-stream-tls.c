/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "certs.h"
#include "net/stream.h"

#define TURNS 12
#define LARGE (3 * 1024 * 1024)

/* Both ends of a connection, on one loop. */
typedef struct Fixture {
        Certs *certs;
        Loop *loop;
        BufferPool *pool;
        CredentialsOptions listener_options, server_options;
        Credentials *listener, *server;
        Stream theirs, ours; /* the listener's end and the end of whoever dials */
        int fd;              /* instead of one of them: a bare socket */
} Fixture;

static void
fixture_set_up(Fixture *fixture, const void *data)
{
        fixture->certs = certs_new();
        certs_issue(fixture->certs, "one", "one.example", 365);
        certs_join(fixture->certs, "both.pem", "one.pem", "one.key");
        fixture->loop = loop_new(NULL, NULL);
        fixture->pool = buffer_pool_new();
        fixture->fd = FD_NONE;
        fixture->listener_options.certificates = g_new0(char *, 2);
        fixture->listener_options.certificates[0] = certs_get_path(fixture->certs, "both.pem");
        fixture->server_options.ca = certs_get_path(fixture->certs, "ca.pem");
}

static void
fixture_tear_down(Fixture *fixture, const void *data)
{
        stream_close(&fixture->theirs);
        stream_close(&fixture->ours);
        fd_clear(&fixture->fd);
        credentials_unref(fixture->listener);
        credentials_unref(fixture->server);
        credentials_options_clear(&fixture->listener_options);
        credentials_options_clear(&fixture->server_options);
        buffer_pool_free(fixture->pool);
        loop_free(fixture->loop);
        certs_free(fixture->certs);
}

static void
ignore(void *data)
{
}

static void
quit(void *data)
{
        loop_quit(data);
}

/* Lets the events come that are there. */
static void
turn(Fixture *fixture)
{
        loop_post(fixture->loop, quit, fixture->loop);
        loop_run(fixture->loop);
}

/* Opens what the options ask for, with @name looked for; @ours or @theirs only is a bare socket. */
static void
open_both(Fixture *fixture, const char *name, bool has_theirs, bool has_ours)
{
        g_autoptr(GError) error = NULL;
        int fds[2];

        fixture->listener = credentials_new_listener(&fixture->listener_options, "main", &error);
        g_assert_no_error(error);
        fixture->server = credentials_new_server(&fixture->server_options, name, NULL, &error);
        g_assert_no_error(error);
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), ==,
                        0);
        if (has_theirs) {
                stream_open(&fixture->theirs, fds[0], fixture->listener);
                g_assert_true(stream_watch(&fixture->theirs, fixture->loop, ignore, NULL));
        } else {
                fixture->fd = fds[0];
        }
        if (has_ours) {
                stream_open(&fixture->ours, fds[1], fixture->server);
                g_assert_true(stream_watch(&fixture->ours, fixture->loop, ignore, NULL));
        } else {
                fixture->fd = fds[1];
        }
}

/* What the handshakes come to. */
static void
shake(Fixture *fixture, StreamResult *theirs, StreamResult *ours)
{
        size_t n;
        char byte;

        *theirs = *ours = STREAM_WAIT;
        for (unsigned i = 0; i < TURNS; i++) {
                turn(fixture);
                if (*ours == STREAM_WAIT)
                        *ours = stream_handshake(&fixture->ours);
                /* The client's last word goes with what it says first, or before it reads. */
                if (*ours == STREAM_OK)
                        g_assert_cmpint(stream_read(&fixture->ours, &byte, 1, &n), !=, STREAM_OK);
                turn(fixture);
                if (*theirs == STREAM_WAIT)
                        *theirs = stream_handshake(&fixture->theirs);
        }
}

static void
connect_both(Fixture *fixture)
{
        StreamResult theirs, ours;

        open_both(fixture, "one.example", true, true);
        shake(fixture, &theirs, &ours);
        g_assert_cmpint(theirs, ==, STREAM_OK);
        g_assert_cmpint(ours, ==, STREAM_OK);
}

static void
say(Stream *stream, const char *text)
{
        size_t n;

        g_assert_cmpint(stream_write(stream, text, strlen(text), &n), ==, STREAM_OK);
        g_assert_cmpuint(n, ==, strlen(text));
}

/* Reads all there is by @step bytes; returns what the last read came to. */
static StreamResult
read_all(Fixture *fixture, Stream *stream, size_t step, GString *got)
{
        g_autofree char *bytes = g_malloc(step);
        StreamResult result;
        size_t n;

        turn(fixture);
        while ((result = stream_read(stream, bytes, step, &n)) == STREAM_OK)
                g_string_append_len(got, bytes, (gssize)n);

        return result;
}

static void
expect(Fixture *fixture, Stream *stream, const char *text, StreamResult end)
{
        g_autoptr(GString) got = g_string_new(NULL);

        g_assert_cmpint(read_all(fixture, stream, 4096, got), ==, end);
        g_assert_cmpstr(got->str, ==, text);
}

static void
test_bytes_both_ways(Fixture *fixture, const void *data)
{
        connect_both(fixture);
        g_assert_cmpstr(stream_get_protocol(&fixture->ours), ==, "TLS1.3");
        g_assert_cmpstr(stream_get_protocol(&fixture->theirs), ==, "TLS1.3");
        g_assert_null(stream_get_peer(&fixture->theirs));
        say(&fixture->ours, "agi_network: yes\n");
        expect(fixture, &fixture->theirs, "agi_network: yes\n", STREAM_WAIT);
        say(&fixture->theirs, "NOOP\n");
        expect(fixture, &fixture->ours, "NOOP\n", STREAM_WAIT);
        expect(fixture, &fixture->ours, "", STREAM_WAIT);
}

static void
test_peer_is_named(Fixture *fixture, const void *data)
{
        g_autofree char *peer = NULL;

        connect_both(fixture);
        peer = stream_get_peer(&fixture->ours);
        g_assert_cmpstr(peer, ==, "CN=one.example");
}

/* Decrypted bytes wake nobody: what one read leaves the next one finds, without an event. */
static void
test_small_reads_get_all(Fixture *fixture, const void *data)
{
        g_autoptr(GString) got = g_string_new(NULL);

        connect_both(fixture);
        for (unsigned i = 0; i < 100; i++)
                say(&fixture->ours, "a line of some bytes\n");
        g_assert_cmpint(read_all(fixture, &fixture->theirs, 7, got), ==, STREAM_WAIT);
        g_assert_cmpuint(got->len, ==, 100 * strlen("a line of some bytes\n"));
}

static void
test_blocked_write_goes_on(Fixture *fixture, const void *data)
{
        g_autoptr(GString) got = g_string_new(NULL);
        g_autofree char *bytes = g_malloc(LARGE);
        size_t sent = 0, n;
        bool waited = false;

        for (size_t i = 0; i < LARGE; i++)
                bytes[i] = (char)(i * 7 + i / 251);
        connect_both(fixture);
        while (sent < LARGE) {
                StreamResult result = stream_write(&fixture->ours, bytes + sent, LARGE - sent, &n);

                g_assert_true(result == STREAM_OK || result == STREAM_WAIT);
                sent += n;
                if (result == STREAM_WAIT) {
                        waited = true;
                        g_assert_cmpint(read_all(fixture, &fixture->theirs, 65536, got), ==,
                                        STREAM_WAIT);
                        turn(fixture);
                }
        }
        read_all(fixture, &fixture->theirs, 65536, got);
        g_assert_true(waited);
        g_assert_cmpmem(got->str, got->len, bytes, LARGE);
}

static void
test_half_close(Fixture *fixture, const void *data)
{
        connect_both(fixture);
        say(&fixture->theirs, "NOOP\n");
        g_assert_cmpint(stream_finish(&fixture->theirs), ==, STREAM_OK);
        expect(fixture, &fixture->ours, "NOOP\n", STREAM_END);
        say(&fixture->ours, "HANGUP\n");
        g_assert_cmpint(stream_finish(&fixture->ours), ==, STREAM_OK);
        expect(fixture, &fixture->theirs, "HANGUP\n", STREAM_END);
        g_assert_false(fixture->ours.truncated || fixture->theirs.truncated);
}

static void
test_close_says_goodbye(Fixture *fixture, const void *data)
{
        connect_both(fixture);
        say(&fixture->theirs, "NOOP\n");
        stream_close(&fixture->theirs);
        expect(fixture, &fixture->ours, "NOOP\n", STREAM_END);
        g_assert_false(fixture->ours.truncated);
}

static void
test_reset_does_not(Fixture *fixture, const void *data)
{
        connect_both(fixture);
        stream_reset(&fixture->theirs);
        expect(fixture, &fixture->ours, "", STREAM_END);
        g_assert_true(fixture->ours.truncated);
}

static void
test_truncation_accepted(Fixture *fixture, const void *data)
{
        connect_both(fixture);
        say(&fixture->theirs, "NOOP\n");
        shutdown(fixture->theirs.fd, SHUT_WR);
        expect(fixture, &fixture->ours, "NOOP\n", STREAM_END);
        g_assert_true(fixture->ours.truncated);
}

static void
test_truncation_fails(Fixture *fixture, const void *data)
{
        fixture->server_options.fails_on_truncation = true;
        connect_both(fixture);
        say(&fixture->theirs, "NOOP\n");
        shutdown(fixture->theirs.fd, SHUT_WR);
        expect(fixture, &fixture->ours, "NOOP\n", STREAM_BROKEN);
        g_assert_cmpint(stream_get_error(&fixture->ours), ==, EPROTO);
        g_assert_cmpstr(stream_get_failure(&fixture->ours), ==, "an end without close_notify");
}

static void
test_wrong_name(Fixture *fixture, const void *data)
{
        StreamResult theirs, ours;

        open_both(fixture, "other.example", true, true);
        shake(fixture, &theirs, &ours);
        g_assert_cmpint(ours, ==, STREAM_BROKEN);
        g_assert_cmpstr(stream_get_failure(&fixture->ours), ==,
                        "the certificate is for another name");
        g_assert_cmpint(theirs, ==, STREAM_BROKEN);
        g_assert_true(g_str_has_prefix(stream_get_failure(&fixture->theirs), "the peer says: "));
        g_assert_false(stream_is_plain_after_all(&fixture->theirs));
}

static void
test_expired(Fixture *fixture, const void *data)
{
        StreamResult theirs, ours;

        certs_issue(fixture->certs, "old", "one.example", -2);
        certs_join(fixture->certs, "both.pem", "old.pem", "old.key");
        open_both(fixture, "one.example", true, true);
        shake(fixture, &theirs, &ours);
        g_assert_cmpint(ours, ==, STREAM_BROKEN);
        g_assert_cmpstr(stream_get_failure(&fixture->ours), ==, "the certificate has expired");
}

static void
test_plain_client(Fixture *fixture, const void *data)
{
        char answer[64] = "";

        open_both(fixture, "one.example", true, false);
        g_assert_cmpint(send(fixture->fd, "agi_network: yes\n", 17, 0), ==, 17);
        turn(fixture);
        g_assert_cmpint(stream_handshake(&fixture->theirs), ==, STREAM_BROKEN);
        g_assert_true(stream_is_plain_after_all(&fixture->theirs));
        g_assert_cmpstr(stream_get_failure(&fixture->theirs), ==, "plain text instead of TLS");
        say(&fixture->theirs, "FAILURE\n");
        g_assert_cmpint(recv(fixture->fd, answer, sizeof(answer) - 1, 0), ==, 8);
        g_assert_cmpstr(answer, ==, "FAILURE\n");
        expect(fixture, &fixture->theirs, "agi_network: yes\n", STREAM_WAIT);
}

static void
test_plain_server(Fixture *fixture, const void *data)
{
        open_both(fixture, "one.example", false, true);
        turn(fixture);
        g_assert_cmpint(stream_handshake(&fixture->ours), ==, STREAM_WAIT);
        g_assert_cmpint(send(fixture->fd, "NOOP\n", 5, 0), ==, 5);
        turn(fixture);
        g_assert_cmpint(stream_handshake(&fixture->ours), ==, STREAM_BROKEN);
        g_assert_cmpstr(stream_get_failure(&fixture->ours), ==, "plain text instead of TLS");
}

static void
test_client_ends_at_once(Fixture *fixture, const void *data)
{
        open_both(fixture, "one.example", true, false);
        fd_clear(&fixture->fd);
        turn(fixture);
        g_assert_cmpint(stream_handshake(&fixture->theirs), ==, STREAM_END);
        g_assert_null(stream_get_failure(&fixture->theirs));
}

static void
test_nothing_before_the_handshake(Fixture *fixture, const void *data)
{
        char bytes[16];
        size_t n;

        open_both(fixture, "one.example", true, true);
        g_assert_cmpint(stream_read(&fixture->theirs, bytes, sizeof(bytes), &n), ==, STREAM_BROKEN);
        g_assert_cmpint(stream_write(&fixture->ours, "x", 1, &n), ==, STREAM_BROKEN);
}

int
main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*test)(Fixture *fixture, const void *data);
        } tests[] = {
                { "/stream-tls/bytes-both-ways", test_bytes_both_ways },
                { "/stream-tls/peer-is-named", test_peer_is_named },
                { "/stream-tls/small-reads-get-all", test_small_reads_get_all },
                { "/stream-tls/blocked-write-goes-on", test_blocked_write_goes_on },
                { "/stream-tls/half-close", test_half_close },
                { "/stream-tls/close-says-goodbye", test_close_says_goodbye },
                { "/stream-tls/reset-does-not", test_reset_does_not },
                { "/stream-tls/truncation-accepted", test_truncation_accepted },
                { "/stream-tls/truncation-fails", test_truncation_fails },
                { "/stream-tls/wrong-name", test_wrong_name },
                { "/stream-tls/expired", test_expired },
                { "/stream-tls/plain-client", test_plain_client },
                { "/stream-tls/plain-server", test_plain_server },
                { "/stream-tls/client-ends-at-once", test_client_ends_at_once },
                { "/stream-tls/nothing-before-the-handshake", test_nothing_before_the_handshake },
        };

        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Fixture, NULL, fixture_set_up, tests[i].test,
                           fixture_tear_down);

        return g_test_run();
}
