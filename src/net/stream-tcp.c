/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A plain connection, over TCP or a Unix socket. It may still be connecting: writing waits until it
 * is, and then says how that went, so no system call is spent on asking.
 */

#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "net/stream.h"

static StreamResult
stream_tcp_handshake(Stream *stream)
{
        return STREAM_OK;
}

StreamResult
stream_tcp_read(Stream *stream, void *data, size_t size, size_t *n)
{
        ssize_t r;

        *n = 0;
        if (!stream->readable)
                return STREAM_WAIT;
        if (stream->ended)
                return STREAM_END;

        r = TEMP_FAILURE_RETRY(recv(stream->fd, data, size, 0));
        if (r >= 0 && stream->nagle)
                stream->nagle = STREAM_NAGLE_IDLE;
        if (r > 0) {
                /* A short read has emptied the socket; what it ends with is known if it is an end.
                 */
                if ((size_t)r < size) {
                        stream->readable = stream->ending;
                        stream->ended = stream->ending && stream->ends_well;
                }
                *n = (size_t)r;
                return STREAM_OK;
        }
        if (r == 0)
                return STREAM_END;
        if (errno == EAGAIN) {
                stream->readable = false;
                return STREAM_WAIT;
        }

        return stream_break(stream, errno);
}

StreamResult
stream_tcp_write(Stream *stream, const void *data, size_t size, size_t *n)
{
        ssize_t r;

        *n = 0;
        if (!stream->writable)
                return STREAM_WAIT;

        if (stream->nagle == STREAM_NAGLE_WAITS) {
                fd_set_nodelay(stream->fd);
                stream->nagle = STREAM_NAGLE_OFF;
        }
        r = TEMP_FAILURE_RETRY(send(stream->fd, data, size, MSG_NOSIGNAL));
        if (r > 0) {
                if (stream->nagle)
                        stream->nagle = STREAM_NAGLE_WAITS;
                *n = (size_t)r;
                return STREAM_OK;
        }
        if (r < 0 && errno == EAGAIN)
                return stream_wait_write(stream);

        return stream_break(stream, r < 0 ? errno : EIO);
}

StreamResult
stream_tcp_finish(Stream *stream)
{
        if (shutdown(stream->fd, SHUT_WR) < 0)
                return stream_break(stream, errno);

        return STREAM_OK;
}

static void
stream_tcp_free(Stream *stream)
{
        fd_clear(&stream->fd);
}

void
stream_open_tcp(Stream *stream, int fd)
{
        static const StreamOps ops = {
                .handshake = stream_tcp_handshake,
                .read = stream_tcp_read,
                .write = stream_tcp_write,
                .finish = stream_tcp_finish,
                .free = stream_tcp_free,
        };

        /* Worth a try at once: the bytes are often there before anything was watched. */
        *stream = (Stream){ .ops = &ops, .fd = fd, .readable = true, .writable = true };
}
