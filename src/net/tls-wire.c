/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GnuTLS asks for a record's head and then for its body. Below it each is taken from what one
 * recv() brought, into a buffer on the stack of the verb that runs; what GnuTLS did not ask for by
 * the end of the verb is copied and kept, which happens only when the caller's memory was full. So
 * an idle connection has no buffer here.
 *
 * What GnuTLS says in a handshake is gathered, and leaves in one segment when the verb is done with
 * all that came. A client's last word in it waits for the first bytes of the caller, who has some:
 * it is the client that speaks first.
 */

#include "net/tls-wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "net/tls-failure.h"

#define RECORD_HANDSHAKE 22
#define VECTORS_MAX      32

bool
tls_wire_check_first_byte(StreamTls *tls, uint8_t byte)
{
        tls->is_plain = byte != RECORD_HANDSHAKE && byte != TLS_FAILURE_ALERT;
        if (tls->is_plain)
                tls->failure = text_copy("plain text instead of TLS");

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

        n = stream->ended
                    ? 0
                    : TEMP_FAILURE_RETRY(recv(stream->fd, tls->buffer, TLS_WIRE_AHEAD_SIZE, 0));
        if (n > 0) {
                /* As on a plain connection. */
                if (n < TLS_WIRE_AHEAD_SIZE) {
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

ssize_t
tls_wire_pull(gnutls_transport_ptr_t data, void *into, size_t size)
{
        StreamTls *tls = data;
        ssize_t result;
        size_t n;

        if (!tls->ahead && !tls_fill(tls, &result)) {
                gnutls_transport_set_errno(tls->session, errno);
                return result;
        }
        if (!tls->is_greeted && !tls_wire_check_first_byte(tls, (uint8_t)*tls->ahead)) {
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

/* Gives the kernel @vectors; what sendmsg() returns. */
static ssize_t
tls_transmit(StreamTls *tls, struct iovec *vectors, size_t n)
{
        Stream *stream = tls->stream;
        struct msghdr message = { .msg_iov = vectors, .msg_iovlen = n };
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
                for (size_t i = 0; i < n; i++)
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

        return -1;
}

/* Takes @n bytes that were sent out of unsent; how many of them were not from there. */
static size_t
tls_drop_unsent(StreamTls *tls, size_t n)
{
        size_t length = tls->n_unsent;

        if (n < length) {
                tls->n_unsent -= n;
                memmove(tls->unsent, tls->unsent + n, tls->n_unsent);
                return 0;
        }
        g_clear_pointer(&tls->unsent, g_free);
        tls->n_unsent = 0;

        return n - length;
}

/* False when there is no memory, which is the end of the connection. */
static bool
tls_add_unsent(StreamTls *tls, const giovec_t *vectors, size_t n, size_t size)
{
        char *unsent = g_try_realloc(tls->unsent, tls->n_unsent + size);

        if (!unsent) {
                tls->error = ENOMEM;
                gnutls_transport_set_errno(tls->session, ENOMEM);
                return false;
        }

        tls->unsent = unsent;
        for (size_t i = 0; i < n; i++) {
                memcpy(unsent + tls->n_unsent, vectors[i].iov_base, vectors[i].iov_len);
                tls->n_unsent += vectors[i].iov_len;
        }

        return true;
}

StreamResult
tls_wire_flush(StreamTls *tls)
{
        while (tls->unsent) {
                struct iovec vector = { .iov_base = tls->unsent, .iov_len = tls->n_unsent };
                ssize_t n = tls_transmit(tls, &vector, 1);

                if (n < 0)
                        return tls->error ? STREAM_BROKEN : STREAM_WAIT;
                tls_drop_unsent(tls, (size_t)n);
        }

        return STREAM_OK;
}

ssize_t
tls_wire_push(gnutls_transport_ptr_t data, const giovec_t *vectors, int n)
{
        StreamTls *tls = data;
        struct iovec all[1 + VECTORS_MAX];
        size_t n_all = 0, size = 0;
        ssize_t result;

        n = MIN(n, VECTORS_MAX);
        if (tls->is_gathering) {
                for (int i = 0; i < n; i++)
                        size += vectors[i].iov_len;
                return tls_add_unsent(tls, vectors, (size_t)n, size) ? (ssize_t)size : -1;
        }

        if (tls->unsent)
                all[n_all++] = (struct iovec){ .iov_base = tls->unsent, .iov_len = tls->n_unsent };
        for (int i = 0; i < n; i++)
                all[n_all++] = (struct iovec){ .iov_base = vectors[i].iov_base,
                                               .iov_len = vectors[i].iov_len };
        result = tls_transmit(tls, all, n_all);
        if (result > 0 && tls->unsent) {
                result = (ssize_t)tls_drop_unsent(tls, (size_t)result);
                if (result == 0) {
                        stream_wait_write(tls->stream);
                        tls->blocked = true;
                        errno = EAGAIN;
                        result = -1;
                }
        }
        if (result < 0)
                gnutls_transport_set_errno(tls->session, errno);

        return result;
}

StreamTls *
tls_wire_enter(Stream *stream, char *buffer)
{
        StreamTls *tls = stream->tls;

        tls->stream = stream;
        tls->buffer = buffer;
        tls->starved = tls->blocked = false;

        return tls;
}

void
tls_wire_leave(StreamTls *tls)
{
        if (tls->ahead && tls->ahead == tls->buffer) {
                uint32_t n = tls->ahead_tail - tls->ahead_head;
                char *kept = g_try_malloc(n);

                if (kept)
                        memcpy(kept, tls->ahead + tls->ahead_head, n);
                else
                        stream_break(tls->stream, ENOMEM); /* a hole in what it says */
                tls->ahead = kept;
                tls->ahead_head = 0;
                tls->ahead_tail = kept ? n : 0;
        }
        tls->buffer = NULL;
}
