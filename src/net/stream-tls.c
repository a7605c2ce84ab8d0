/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection in TLS, by GnuTLS, as server or client.
 *
 * GnuTLS asks for a record's head and then for its body. Below it each is taken from what one
 * recv() brought, into a buffer on the stack of the verb that runs; what GnuTLS did not ask for by
 * the end of the verb is copied and kept, which happens only when the caller's memory was full. So
 * an idle connection has no buffer here.
 *
 * GnuTLS says "again" not only when the kernel did, but after a ticket or a warning too.
 * STREAM_WAIT is passed on only after the kernel said so; otherwise GnuTLS is asked again, a
 * bounded number of times, since what it had was none of the caller's bytes.
 *
 * A connection whose handshake broke becomes a plain one, for the caller to say a last word to a
 * client that doesn't speak TLS, or to wait for its end so that it reads the alert.
 */

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "base/fd.h"
#include "net/stream.h"
#include "net/tls-failure.h"

#define AHEAD_SIZE       (32 * 1024)
#define RECORD_SIZE      (16 * 1024)
#define TRIES            32 /* of GnuTLS in one verb that lead nowhere */
#define HANDSHAKES       4  /* steps in one turn, two of them for those that wait for theirs */
#define HANDSHAKES_NEW   2
#define RECORD_HANDSHAKE 22
#define RECORD_HEAD      5

typedef struct StreamTls {
        CredentialsVerdict verdict; /* first, as credentials.h asks */
        Credentials *credentials;
        Stream *stream;           /* whose verb runs */
        gnutls_session_t session; /* NULL until there is something to say or read */
        char *ahead; /* what came and GnuTLS did not ask for yet: on the stack, or kept */
        uint32_t ahead_head, ahead_tail;
        char *buffer;    /* of the verb that runs */
        char *failure;   /* NULL: none, or the kernel's */
        int error;       /* the kernel's */
        int write_error; /* likewise; reading goes on all the same */
        uint8_t alert;   /* in the clear, during the handshake; 0: none */
        char early;      /* what stream_confirm() has read */
        bool has_early;
        bool is_greeted;  /* the peer's first byte has been looked at */
        bool has_spoken;  /* something was sent */
        bool is_plain;    /* that byte is not TLS's */
        bool is_shaken;   /* the handshake is over */
        bool is_deferred; /* its handshake waits for the next turn */
        bool is_writing;  /* GnuTLS has a record that the kernel didn't take yet */
        bool is_finished; /* close_notify is sent */
        bool starved;     /* the kernel has nothing to read */
        bool blocked;     /* the kernel takes nothing */
        bool saw_end;     /* of the connection, close_notify or not */
} StreamTls;

/* How many steps of handshakes this thread has made in the turn that began then. */
static _Thread_local struct {
        gint64 turn;
        unsigned steps;
} handshakes;

/* False when the peer doesn't speak TLS. */
static bool
tls_check_first_byte(StreamTls *tls, uint8_t byte)
{
        tls->is_plain = byte != RECORD_HANDSHAKE && byte != TLS_FAILURE_ALERT;
        if (tls->is_plain)
                tls->failure = g_strdup("plain text instead of TLS");

        return !tls->is_plain;
}

/* Brings what the kernel has; true when there is some. */
static bool
tls_fill(StreamTls *tls, ssize_t *result)
{
        Stream *stream = tls->stream;
        ssize_t n;

        if (!stream->readable) {
                tls->starved = true;
                errno = EAGAIN;
                *result = -1;
                return false;
        }

        n = stream->ended ? 0 : TEMP_FAILURE_RETRY(recv(stream->fd, tls->buffer, AHEAD_SIZE, 0));
        if (n > 0) {
                /* As on a plain connection. */
                if (n < AHEAD_SIZE) {
                        stream->readable = stream->ending;
                        stream->ended = stream->ending && stream->ends_well;
                }
                tls->ahead = tls->buffer;
                tls->ahead_head = 0;
                tls->ahead_tail = (uint32_t)n;
                if (!tls->is_shaken)
                        tls->alert = tls_failure_find_alert(tls->ahead, (size_t)n);
                return true;
        }

        *result = n;
        if (n == 0) {
                tls->saw_end = true;
        } else if (errno == EAGAIN) {
                stream->readable = false;
                tls->starved = true;
        } else {
                tls->error = errno;
        }

        return false;
}

/* Takes away what GnuTLS has been given. */
static void
tls_drop_ahead(StreamTls *tls)
{
        if (tls->ahead != tls->buffer)
                g_free(tls->ahead);
        tls->ahead = NULL;
        tls->ahead_head = tls->ahead_tail = 0;
}

static ssize_t
tls_pull(gnutls_transport_ptr_t data, void *into, size_t size)
{
        StreamTls *tls = data;
        ssize_t result;
        size_t n;

        if (!tls->ahead && !tls_fill(tls, &result)) {
                gnutls_transport_set_errno(tls->session, errno);
                return result;
        }
        if (!tls->is_greeted && !tls_check_first_byte(tls, (uint8_t)*tls->ahead)) {
                gnutls_transport_set_errno(tls->session, EPROTO);
                return -1;
        }
        tls->is_greeted = true;

        n = MIN(size, tls->ahead_tail - tls->ahead_head);
        memcpy(into, tls->ahead + tls->ahead_head, n);
        tls->ahead_head += (uint32_t)n;
        if (tls->ahead_head == tls->ahead_tail)
                tls_drop_ahead(tls);

        return (ssize_t)n;
}

static ssize_t
tls_push(gnutls_transport_ptr_t data, const giovec_t *vectors, int n)
{
        StreamTls *tls = data;
        Stream *stream = tls->stream;
        struct msghdr message = { .msg_iov = (struct iovec *)vectors, .msg_iovlen = (size_t)n };
        ssize_t result = -1;
        size_t size = 0;

        errno = tls->write_error ? tls->write_error : EAGAIN;
        if (stream->writable && !tls->write_error)
                result = TEMP_FAILURE_RETRY(sendmsg(stream->fd, &message, MSG_NOSIGNAL));
        if (result >= 0) {
                tls->has_spoken = true;
                return result;
        }

        if (tls->is_shaken && (errno == EPIPE || errno == ECONNRESET)) {
                /* What has arrived before can still be read, if GnuTLS isn't told. */
                tls->write_error = errno;
                for (int i = 0; i < n; i++)
                        size += vectors[i].iov_len;
                return (ssize_t)size;
        }

        if (errno == EAGAIN) {
                stream_wait_write(stream);
                tls->blocked = true;
                errno = EAGAIN;
        } else {
                tls->error = errno;
        }
        gnutls_transport_set_errno(tls->session, errno);

        return -1;
}

/* Around each verb: @buffer is there as long as it runs. */
static StreamTls *
tls_enter(Stream *stream, char *buffer)
{
        StreamTls *tls = stream->tls;

        tls->stream = stream;
        tls->buffer = buffer;
        tls->starved = tls->blocked = false;

        return tls;
}

static void
tls_leave(StreamTls *tls)
{
        if (tls->ahead && tls->ahead == tls->buffer) {
                uint32_t n = tls->ahead_tail - tls->ahead_head;

                tls->ahead = g_memdup2(tls->ahead + tls->ahead_head, n);
                tls->ahead_head = 0;
                tls->ahead_tail = n;
        }
        tls->buffer = NULL;
}

/* The failure that GnuTLS's fatal @result stands for. */
static StreamResult
tls_break(StreamTls *tls, int result)
{
        Stream *stream = tls->stream;

        if (tls->error)
                return stream_break(stream, tls->error);

        if (!tls->failure && tls->verdict.fault)
                tls->failure = g_strdup(tls->verdict.fault);
        if (!tls->failure && result == GNUTLS_E_FATAL_ALERT_RECEIVED)
                tls->failure = tls_failure_name_alert(gnutls_alert_get(tls->session));
        if (!tls->failure && result == GNUTLS_E_DECRYPTION_FAILED && tls->alert)
                tls->failure = tls_failure_name_alert((gnutls_alert_description_t)tls->alert);
        if (!tls->failure && tls->saw_end)
                tls->failure = g_strdup(
                        tls->is_shaken ? "an end without close_notify"
                                       : tls_failure_explain(GNUTLS_E_PREMATURE_TERMINATION));
        if (!tls->failure)
                tls->failure = g_strdup(tls_failure_explain(result));

        if (!tls->is_plain && !tls->saw_end && result != GNUTLS_E_FATAL_ALERT_RECEIVED) {
                if (result == GNUTLS_E_REHANDSHAKE)
                        gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, GNUTLS_A_NO_RENEGOTIATION);
                else
                        gnutls_alert_send_appropriate(tls->session, result);
        }

        return stream_break(stream, EPROTO);
}

/* What a verb does about GnuTLS's @result, which is negative; STREAM_OK: ask it once more. */
static StreamResult
tls_judge(StreamTls *tls, int result, unsigned *tries)
{
        if (result == GNUTLS_E_REHANDSHAKE || gnutls_error_is_fatal(result))
                return tls_break(tls, result);
        if (tls->starved || tls->blocked)
                return STREAM_WAIT;
        if (++*tries < TRIES)
                return STREAM_OK;

        return tls_break(tls, GNUTLS_E_TOO_MANY_HANDSHAKE_PACKETS);
}

/* A new ticket has come, if there is one: with TLS 1.3 they come whenever the server likes. */
static void
tls_save_session(StreamTls *tls)
{
        if (!credentials_are_listeners(tls->credentials) &&
            (gnutls_session_get_flags(tls->session) & GNUTLS_SFLAGS_SESSION_TICKET))
                credentials_save_session(tls->credentials, tls->session);
}

static StreamResult
tls_refuse_handshake(Stream *stream)
{
        return STREAM_BROKEN;
}

static void stream_tls_free(Stream *stream);

/* What is left of a connection whose handshake broke. */
static const StreamOps broken_ops = {
        .handshake = tls_refuse_handshake,
        .read = stream_tcp_read,
        .write = stream_tcp_write,
        .finish = stream_tcp_finish,
        .free = stream_tls_free,
};

static StreamResult
tls_break_handshake(Stream *stream, int error)
{
        stream->ops = &broken_ops;

        return stream_break(stream, error);
}

/* True when it is this connection's turn to make a step that costs. */
static bool
tls_may_step(Stream *stream)
{
        StreamTls *tls = stream->tls;
        gint64 turn;

        if (!stream->watch.loop)
                return true;

        turn = loop_now(stream->watch.loop);
        if (handshakes.turn != turn) {
                handshakes.turn = turn;
                handshakes.steps = 0;
        }
        if (handshakes.steps >= (tls->is_deferred ? HANDSHAKES : HANDSHAKES_NEW)) {
                tls->is_deferred = true;
                stream_again(stream);
                return false;
        }
        handshakes.steps++;
        tls->is_deferred = false;

        return true;
}

/* False when GnuTLS has no memory for a session. */
static bool
tls_begin(StreamTls *tls)
{
        if (credentials_open_session(tls->credentials, &tls->session) < 0)
                return false;

        gnutls_session_set_ptr(tls->session, &tls->verdict);
        gnutls_transport_set_ptr(tls->session, tls);
        gnutls_transport_set_pull_function(tls->session, tls_pull);
        gnutls_transport_set_vec_push_function(tls->session, tls_push);
        gnutls_handshake_set_timeout(tls->session, 0);

        return true;
}

/* A client's certificate is looked at once more when a ticket stands for it: it may have ended, or
 * been revoked, since. */
static bool
tls_is_still_good(StreamTls *tls)
{
        if (credentials_are_listeners(tls->credentials) &&
            gnutls_session_is_resumed(tls->session) &&
            gnutls_certificate_get_peers(tls->session, &(unsigned){ 0 }))
                tls->verdict.fault = credentials_check_peer(tls->credentials, tls->session);

        return !tls->verdict.fault;
}

static StreamResult
tls_shake(StreamTls *tls)
{
        unsigned tries = 0;

        for (;;) {
                int result = gnutls_handshake(tls->session);
                StreamResult judged;

                if (result == GNUTLS_E_SUCCESS && tls_is_still_good(tls)) {
                        tls->is_shaken = true;
                        tls_save_session(tls);
                        return STREAM_OK;
                }
                if (result == GNUTLS_E_SUCCESS)
                        result = GNUTLS_E_CERTIFICATE_ERROR;

                judged = tls_judge(tls, result, &tries);
                if (judged == STREAM_BROKEN) {
                        if (!credentials_are_listeners(tls->credentials))
                                credentials_forget_session(tls->credentials);
                        return tls_break_handshake(tls->stream, tls->stream->error);
                }
                if (judged != STREAM_OK)
                        return judged;
        }
}

/* Looks at what a client says first, and leaves it where it is: until all of its first record has
 * come it costs no more than a descriptor. */
static StreamResult
tls_await_hello(StreamTls *tls)
{
        Stream *stream = tls->stream;
        uint8_t head[RECORD_HEAD + RECORD_SIZE];
        ssize_t n = TEMP_FAILURE_RETRY(recv(stream->fd, head, sizeof(head), MSG_PEEK));
        ssize_t wanted = RECORD_HEAD;

        if (n < 0 && errno != EAGAIN)
                return tls_break_handshake(stream, errno);
        if (n == 0)
                return STREAM_END;

        if (n > 0 && !tls_check_first_byte(tls, head[0]))
                return tls_break_handshake(stream, EPROTO);
        if (n >= RECORD_HEAD)
                wanted += MIN(head[3] << 8 | head[4], RECORD_SIZE);
        if (n >= wanted)
                return STREAM_OK;

        stream->readable = false;
        if (!stream->ending)
                return STREAM_WAIT;

        tls->failure = g_strdup(tls_failure_explain(GNUTLS_E_PREMATURE_TERMINATION));

        return tls_break_handshake(stream, EPROTO);
}

static StreamResult
stream_tls_handshake(Stream *stream)
{
        StreamTls *tls = stream->tls;
        char buffer[AHEAD_SIZE];
        StreamResult result;

        if (tls->is_shaken)
                return STREAM_OK;

        /* What is there before the stream is watched is its first event. */
        tls->stream = stream;
        if (credentials_are_listeners(tls->credentials) && !tls->is_greeted) {
                if (!stream->watch.loop || !stream->readable)
                        return STREAM_WAIT;
                result = tls_await_hello(tls);
                if (result != STREAM_OK)
                        return result;
                tls->is_greeted = true;
        }
        if (tls->session && !stream->readable && !stream->writable)
                return STREAM_WAIT;
        if (!tls_may_step(stream))
                return STREAM_WAIT;

        if (!tls->session && !tls_begin(tls))
                return tls_break_handshake(stream, ENOMEM);

        tls_enter(stream, buffer);
        result = tls_shake(tls);
        tls_leave(tls);

        return result;
}

/* An end of the connection that TLS knows nothing of. */
static StreamResult
tls_on_truncation(StreamTls *tls)
{
        tls->stream->truncated = true;
        if (!credentials_fail_on_truncation(tls->credentials))
                return STREAM_END;

        return tls_break(tls, GNUTLS_E_PREMATURE_TERMINATION);
}

/* Fills the caller's memory as far as there is something. */
static StreamResult
tls_receive(StreamTls *tls, char *data, size_t size, size_t *n)
{
        unsigned tries = 0;

        while (*n < size) {
                ssize_t result = gnutls_record_recv(tls->session, data + *n, size - *n);
                StreamResult judged;

                if (result > 0) {
                        *n += (size_t)result;
                        continue;
                }
                if (result == 0)
                        return STREAM_END;

                if (!tls->starved)
                        tls_save_session(tls); /* it may have been a ticket that came */
                if (tls->saw_end && !tls->error)
                        return tls_on_truncation(tls);
                judged = tls_judge(tls, (int)result, &tries);
                if (judged != STREAM_OK)
                        return judged;
        }

        return STREAM_OK;
}

/* One byte is read to see whether there is any; it is kept for the next read. */
StreamResult
stream_confirm(Stream *stream)
{
        char buffer[AHEAD_SIZE];
        StreamTls *tls = stream->tls;
        StreamResult result;
        size_t n = 0;

        if (!tls || !tls->is_shaken || tls->has_early ||
            credentials_are_listeners(tls->credentials) ||
            gnutls_protocol_get_version(tls->session) != GNUTLS_TLS1_3 ||
            !gnutls_certificate_client_get_request_status(tls->session))
                return STREAM_OK;
        if (stream->error)
                return STREAM_BROKEN;

        tls_enter(stream, buffer);
        result = tls_receive(tls, &tls->early, 1, &n);
        tls_leave(tls);
        tls->has_early = n > 0;

        /* A ticket is an answer too. An end is told by the next read once more. */
        if (result == STREAM_END ||
            (gnutls_session_get_flags(tls->session) & GNUTLS_SFLAGS_SESSION_TICKET))
                return STREAM_OK;

        return result;
}

static StreamResult
stream_tls_read(Stream *stream, void *data, size_t size, size_t *n)
{
        char buffer[AHEAD_SIZE];
        StreamTls *tls = stream->tls;
        StreamResult result;

        *n = 0;
        if (!tls->is_shaken || (stream->error && !tls->write_error))
                return stream_break(stream, stream->error ? stream->error : EPROTO);

        if (tls->has_early) {
                *(char *)data = tls->early;
                *n = 1;
                tls->has_early = false;
        }

        tls_enter(stream, buffer);
        result = tls_receive(tls, data, size, n);
        tls_leave(tls);

        /* Whatever comes after the bytes is told by the next read. */
        return *n > 0 ? STREAM_OK : result;
}

static StreamResult
tls_send(StreamTls *tls, const void *data, size_t size, size_t *n)
{
        unsigned tries = 0;

        for (;;) {
                ssize_t result = tls->is_writing ? gnutls_record_send(tls->session, NULL, 0)
                                                 : gnutls_record_send(tls->session, data,
                                                                      MIN(size, RECORD_SIZE));
                StreamResult judged;

                tls->is_writing = result < 0;
                if (result > 0) {
                        *n = (size_t)result;
                        return STREAM_OK;
                }

                judged = tls_judge(tls, (int)result, &tries);
                if (judged != STREAM_OK)
                        return judged;
        }
}

/* The write's own @result, unless the connection broke under it; then there may still be something
 * to be read. */
static StreamResult
tls_tell_write_error(StreamTls *tls, StreamResult result, size_t *n)
{
        if (!tls->write_error)
                return result;

        *n = 0;

        return stream_break(tls->stream, tls->write_error);
}

static StreamResult
stream_tls_write(Stream *stream, const void *data, size_t size, size_t *n)
{
        StreamTls *tls = stream->tls;
        StreamResult result;

        *n = 0;
        if (!tls->is_shaken || stream->error)
                return stream_break(stream, stream->error ? stream->error : EPROTO);
        if (!stream->writable)
                return STREAM_WAIT;

        tls_enter(stream, NULL);
        result = tls_send(tls, data, size, n);
        tls_leave(tls);

        return tls_tell_write_error(tls, result, n);
}

static StreamResult
stream_tls_finish(Stream *stream)
{
        StreamTls *tls = stream->tls;
        StreamResult judged = STREAM_OK;
        unsigned tries = 0;

        if (!tls->is_shaken || stream->error)
                return stream_break(stream, stream->error ? stream->error : EPROTO);

        tls_enter(stream, NULL);
        while (!tls->is_finished && judged == STREAM_OK) {
                int result = gnutls_bye(tls->session, GNUTLS_SHUT_WR);

                if (result == GNUTLS_E_SUCCESS)
                        tls->is_finished = true;
                else
                        judged = tls_judge(tls, result, &tries);
        }
        tls_leave(tls);

        return tls->is_finished ? stream_tcp_finish(stream) : judged;
}

static void
stream_tls_free(Stream *stream)
{
        StreamTls *tls = stream->tls;

        /* A close that is no failure says so, as far as the kernel takes it. */
        if (tls->is_shaken && !tls->is_finished && !tls->is_writing && !stream->error &&
            !tls->write_error) {
                tls_enter(stream, NULL);
                gnutls_bye(tls->session, GNUTLS_SHUT_WR);
        }

        if (tls->session)
                gnutls_deinit(tls->session);
        credentials_unref(tls->credentials);
        g_free(tls->ahead);
        g_free(tls->failure);
        g_free(tls);
        fd_clear(&stream->fd);
}

void
stream_open_tls(Stream *stream, int fd, Credentials *credentials)
{
        static const StreamOps ops = {
                .handshake = stream_tls_handshake,
                .read = stream_tls_read,
                .write = stream_tls_write,
                .finish = stream_tls_finish,
                .free = stream_tls_free,
        };
        StreamTls *tls = g_new0(StreamTls, 1);

        tls->credentials = credentials_ref(credentials);
        tls->verdict.credentials = credentials;
        *stream = (Stream){ .ops = &ops, .fd = fd, .readable = true, .writable = true, .tls = tls };
}

const char *
stream_get_failure(const Stream *stream)
{
        const StreamTls *tls = stream->tls;

        if (!tls || tls->failure || stream->error || tls->is_shaken || !tls->has_spoken)
                return tls ? tls->failure : NULL;

        return "the TLS handshake was not finished in time";
}

bool
stream_is_plain_after_all(const Stream *stream)
{
        return stream->tls && stream->tls->is_plain && stream->ops == &broken_ops;
}

const char *
stream_get_protocol(const Stream *stream)
{
        return stream->tls && stream->tls->is_shaken
                       ? gnutls_protocol_get_name(gnutls_protocol_get_version(stream->tls->session))
                       : NULL;
}

char *
stream_get_peer(const Stream *stream)
{
        gnutls_datum_t name = { .size = 0 };
        const gnutls_datum_t *peers;
        gnutls_x509_crt_t leaf;
        unsigned n = 0;
        char *peer = NULL;

        if (!stream->tls || !stream->tls->is_shaken)
                return NULL;
        peers = gnutls_certificate_get_peers(stream->tls->session, &n);
        if (n == 0 || gnutls_x509_crt_init(&leaf) < 0)
                return NULL;

        if (gnutls_x509_crt_import(leaf, &peers[0], GNUTLS_X509_FMT_DER) >= 0 &&
            gnutls_x509_crt_get_dn3(leaf, &name, 0) >= 0)
                peer = g_strndup((const char *)name.data, name.size);
        gnutls_free(name.data);
        gnutls_x509_crt_deinit(leaf);

        return peer;
}
