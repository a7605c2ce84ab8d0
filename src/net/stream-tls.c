/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection in TLS, by GnuTLS, as server or client.
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
#include "base/text.h"
#include "net/stream.h"
#include "net/tls-failure.h"
#include "net/tls-wire.h"

#define RECORD_SIZE    (16 * 1024)
#define TRIES          32 /* of GnuTLS in one verb that lead nowhere */
#define HANDSHAKES     4  /* steps in one turn, two of them for those that wait for theirs */
#define HANDSHAKES_NEW 2
#define RECORD_HEAD    5
#define HEADROOM       (64 * 1024) /* more than a handshake takes */

/* How many steps of handshakes this thread has made in the turn that began then. */
static _Thread_local struct {
        gint64 turn;
        unsigned steps;
} handshakes;

/* The failure that GnuTLS's fatal @result stands for. */
static StreamResult
tls_break(StreamTls *tls, int result)
{
        Stream *stream = tls->stream;

        if (tls->error)
                return stream_break(stream, tls->error);
        if (result == GNUTLS_E_MEMORY_ERROR)
                return stream_break(stream, ENOMEM);

        if (!tls->failure && tls->verdict.fault)
                tls->failure = text_copy(tls->verdict.fault);
        if (!tls->failure && result == GNUTLS_E_FATAL_ALERT_RECEIVED)
                tls->failure = tls_failure_name_alert(gnutls_alert_get(tls->session));
        if (!tls->failure && result == GNUTLS_E_DECRYPTION_FAILED && tls->alert)
                tls->failure = tls_failure_name_alert((gnutls_alert_description_t)tls->alert);
        if (!tls->failure && tls->saw_end)
                tls->failure = text_copy(
                        tls->is_shaken ? "an end without close_notify"
                                       : tls_failure_explain(GNUTLS_E_PREMATURE_TERMINATION));
        if (!tls->failure)
                tls->failure = text_copy(tls_failure_explain(result));

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

/* GnuTLS does not get over a lack of memory wherever it meets it, and what it is built on ends the
 * process; so it isn't asked when there is none. */
static bool
tls_has_headroom(void)
{
        void *headroom = g_try_malloc(HEADROOM);

        g_free(headroom);

        return headroom != NULL;
}

/* False when GnuTLS has no memory for a session. */
static bool
tls_begin(StreamTls *tls)
{
        if (credentials_open_session(tls->credentials, &tls->session) < 0)
                return false;

        gnutls_session_set_ptr(tls->session, &tls->verdict);
        gnutls_transport_set_ptr(tls->session, tls);
        gnutls_transport_set_pull_function(tls->session, tls_wire_pull);
        gnutls_transport_set_vec_push_function(tls->session, tls_wire_push);
        gnutls_handshake_set_timeout(tls->session, 0);

        return true;
}

/* A client's certificate is looked at once more when a ticket stands for it: it may have ended, or
 * been revoked, since. */
static bool
tls_is_still_good(StreamTls *tls)
{
        unsigned n = 0;

        if (credentials_are_listeners(tls->credentials) &&
            gnutls_session_is_resumed(tls->session) &&
            gnutls_certificate_get_peers(tls->session, &n))
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

        if (n > 0 && !tls_wire_check_first_byte(tls, head[0]))
                return tls_break_handshake(stream, EPROTO);
        if (n >= RECORD_HEAD)
                wanted += MIN(head[3] << 8 | head[4], RECORD_SIZE);
        if (n >= wanted)
                return STREAM_OK;

        stream->readable = false;
        if (!stream->ending)
                return STREAM_WAIT;

        tls->failure = text_copy(tls_failure_explain(GNUTLS_E_PREMATURE_TERMINATION));

        return tls_break_handshake(stream, EPROTO);
}

/* GnuTLS has done its part; a client's Finished may wait. */
static StreamResult
tls_complete(StreamTls *tls)
{
        StreamResult result = STREAM_OK;

        if (credentials_are_listeners(tls->credentials))
                result = tls_wire_flush(tls);
        if (result == STREAM_BROKEN)
                return tls_break_handshake(tls->stream, tls->error);

        return result;
}

static StreamResult
stream_tls_handshake(Stream *stream)
{
        StreamTls *tls = stream->tls;
        char buffer[TLS_WIRE_AHEAD_SIZE];
        StreamResult result;

        if (tls->is_shaken)
                return tls_complete(tls);

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

        if (!tls_has_headroom() || (!tls->session && !tls_begin(tls)))
                return tls_break_handshake(stream, ENOMEM);

        tls_wire_enter(stream, buffer);
        tls->is_gathering = true;
        result = tls_shake(tls);
        tls->is_gathering = false;
        tls_wire_leave(tls);
        if (result == STREAM_OK)
                return tls_complete(tls);

        /* An alert too, as far as the kernel takes it. */
        if (tls_wire_flush(tls) == STREAM_BROKEN && result == STREAM_WAIT)
                return tls_break_handshake(stream, tls->error);

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
        char buffer[TLS_WIRE_AHEAD_SIZE];
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

        tls_wire_enter(stream, buffer);
        result = tls_receive(tls, &tls->early, 1, &n);
        tls_wire_leave(tls);
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
        char buffer[TLS_WIRE_AHEAD_SIZE];
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

        tls_wire_enter(stream, buffer);
        if (tls->unsent && tls_wire_flush(tls) == STREAM_BROKEN)
                result = stream_break(stream, tls->error);
        else
                result = tls_receive(tls, data, size, n);
        tls_wire_leave(tls);

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

        tls_wire_enter(stream, NULL);
        result = tls_send(tls, data, size, n);
        tls_wire_leave(tls);
        if (!tls->write_error)
                return result;

        /* The connection broke under it. What had arrived before can still be read. */
        *n = 0;

        return stream_break(stream, tls->write_error);
}

static StreamResult
stream_tls_finish(Stream *stream)
{
        StreamTls *tls = stream->tls;
        StreamResult judged = STREAM_OK;
        unsigned tries = 0;

        if (!tls->is_shaken || stream->error)
                return stream_break(stream, stream->error ? stream->error : EPROTO);

        tls_wire_enter(stream, NULL);
        while (!tls->is_finished && judged == STREAM_OK) {
                int result = gnutls_bye(tls->session, GNUTLS_SHUT_WR);

                if (result == GNUTLS_E_SUCCESS)
                        tls->is_finished = true;
                else
                        judged = tls_judge(tls, result, &tries);
        }
        tls_wire_leave(tls);

        return tls->is_finished ? stream_tcp_finish(stream) : judged;
}

static void
stream_tls_free(Stream *stream)
{
        StreamTls *tls = stream->tls;

        /* A close that is no failure says so, as far as the kernel takes it. */
        if (tls->is_shaken && !tls->is_finished && !tls->is_writing && !stream->error &&
            !tls->write_error) {
                tls_wire_enter(stream, NULL);
                gnutls_bye(tls->session, GNUTLS_SHUT_WR);
        }

        if (tls->session)
                gnutls_deinit(tls->session);
        credentials_unref(tls->credentials);
        g_free(tls->unsent);
        g_free(tls->ahead);
        g_free(tls->failure);
        g_free(tls);
        fd_clear(&stream->fd);
}

bool
stream_open_tls(Stream *stream, int fd, Credentials *credentials)
{
        static const StreamOps ops = {
                .handshake = stream_tls_handshake,
                .read = stream_tls_read,
                .write = stream_tls_write,
                .finish = stream_tls_finish,
                .free = stream_tls_free,
        };
        StreamTls *tls = g_try_new0(StreamTls, 1);

        if (!tls)
                return false;

        tls->credentials = credentials_ref(credentials);
        tls->verdict.credentials = credentials;
        *stream = (Stream){ .ops = &ops, .fd = fd, .readable = true, .writable = true, .tls = tls };

        return true;
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
                peer = text_copy((const char *)name.data); /* GnuTLS has put a NUL behind it */
        gnutls_free(name.data);
        gnutls_x509_crt_deinit(leaf);

        return peer;
}
