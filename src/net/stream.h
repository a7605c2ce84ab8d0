/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/buffer.h"
#include "base/loop.h"
#include "net/credentials.h"

/*
 * A connection: five verbs over a descriptor that never blocks. Nothing above net/ asks which kind
 * it has.
 *
 * The stream remembers what the kernel last said, so that a read which must wait costs no system
 * call: after a short read nothing more is there until the next edge (epoll(7), "Q9"). STREAM_WAIT
 * is thus a promise that an event will come.
 */

typedef struct Stream Stream;

typedef enum StreamResult {
        STREAM_OK,     /* done, or some bytes; ask again */
        STREAM_WAIT,   /* the kernel said "not now": an event will come */
        STREAM_END,    /* the peer has said all it had to say; never from a write */
        STREAM_BROKEN, /* reset or failed; stream_get_error() says why */
} StreamResult;

typedef struct StreamOps {
        StreamResult (*handshake)(Stream *stream);
        StreamResult (*read)(Stream *stream, void *data, size_t size, size_t *n);
        StreamResult (*write)(Stream *stream, const void *data, size_t size, size_t *n);
        StreamResult (*finish)(Stream *stream);
        void (*free)(Stream *stream);
} StreamOps;

/* Nagle's algorithm (RFC 9293, 3.7.4) holds a small write back while an earlier one is not
 * acknowledged. Where each side waits for the other's answer it never does, and turning it off is a
 * system call for nothing; so that is done at the first write without an answer to the one before.
 * (An end is an answer too.) */
typedef enum StreamNagle {
        STREAM_NAGLE_OFF,
        STREAM_NAGLE_IDLE,  /* nothing was written, or there was an answer to it */
        STREAM_NAGLE_WAITS, /* it holds back what is written now */
} StreamNagle;

/* Embedded in its owner; all zero when there is no connection. */
struct Stream {
        const StreamOps *ops; /* NULL when there is no connection */
        Watch watch;
        int fd;
        int error;             /* errno of STREAM_BROKEN */
        bool readable;         /* an edge came and the kernel has not said "not now" since */
        bool writable;         /* likewise */
        bool ending;           /* an end or an error waits behind the bytes */
        bool ends_well;        /* it is an end */
        bool ended;            /* the bytes before it have all been read */
        bool awaits_write;     /* the watch asks for readiness to write too */
        bool truncated;        /* TLS ended without saying so */
        uint8_t nagle;         /* StreamNagle */
        struct StreamTls *tls; /* NULL on a plain connection */
        LoopFunc func;
        void *data;
};

/* Takes @fd, a connected or connecting socket: a plain connection when @credentials is NULL, else
 * TLS, as its server with a listener's credentials and as its client with a server's; refs them.
 * False, and @fd left to the caller, when there is no memory. */
bool stream_open(Stream *stream, int fd, Credentials *credentials);

/* The same for @fd that was dialed: an accepted one has TCP_NODELAY from its listener. */
bool stream_open_dialed(Stream *stream, int fd, Credentials *credentials);

/* Calls @func with @data at every event of the connection from now on, unless it does already.
 * False, with errno set, when the kernel can't watch it. */
bool stream_watch(Stream *stream, Loop *loop, LoopFunc func, void *data);

/* One more call of the function in the next turn: its share of this one is spent. A stream that
 * isn't watched yet is told what is there as soon as it is. */
static inline void
stream_again(Stream *stream)
{
        if (stream->watch.loop)
                watch_again(&stream->watch);
}

static inline bool
stream_is_open(const Stream *stream)
{
        return stream->ops != NULL;
}

/* Whatever must come before the first byte: nothing on a plain connection. So that nobody has to
 * wait for other people's handshakes, a turn of a loop does only a few of their steps. What a
 * client says last in it may leave with the first thing it does afterwards, be it a write or a
 * read. */
static inline StreamResult
stream_handshake(Stream *stream)
{
        return stream->ops->handshake(stream);
}

/* Reads up to @size bytes; *@n of them, more than 0, with STREAM_OK and otherwise 0. */
static inline StreamResult
stream_read(Stream *stream, void *data, size_t size, size_t *n)
{
        return stream->ops->read(stream, data, size, n);
}

/* Writes up to @size bytes, which is not 0; *@n of them, more than 0, with STREAM_OK and otherwise
 * 0. After STREAM_WAIT the same bytes are to be written again. */
static inline StreamResult
stream_write(Stream *stream, const void *data, size_t size, size_t *n)
{
        return stream->ops->write(stream, data, size, n);
}

/* False while a write would have to wait: then there is no need to prepare one. */
static inline bool
stream_can_write(const Stream *stream)
{
        return stream->writable;
}

/* Tells the peer that no more bytes follow; it may still be read from. Once, but that it is to be
 * called again after STREAM_WAIT. */
static inline StreamResult
stream_finish(Stream *stream)
{
        return stream->ops->finish(stream);
}

/* Reads and drops what is there, up to its share of a turn: STREAM_WAIT while more may come,
 * STREAM_END or STREAM_BROKEN. */
StreamResult stream_discard(Stream *stream, BufferPool *pool);

/* Closes the connection. Nothing happens when there is none. */
void stream_close(Stream *stream);

/* Closes it with a reset, so that the peer sees an error and not an end; plainly while bytes are on
 * their way that a reset would destroy. */
void stream_reset(Stream *stream);

/* The same, whatever is on its way: what the peer has of it is not to be taken for all. */
void stream_abort(Stream *stream);

/* errno after STREAM_BROKEN. */
static inline int
stream_get_error(const Stream *stream)
{
        return stream->error;
}

/* A server of TLS 1.3 judges our certificate only after the handshake is over for us. STREAM_WAIT
 * while its verdict on a connection that was written to is open; STREAM_OK once it has answered
 * anything, and always where there is nothing to judge; STREAM_BROKEN when it has refused. */
StreamResult stream_confirm(Stream *stream);

/* What went wrong with TLS, in a few words; NULL when it was not TLS that failed, and errno says
 * all. Valid until the stream is closed. */
const char *stream_get_failure(const Stream *stream);

/* True after a handshake that broke since the client doesn't speak TLS at all: what is written and
 * read from now on is plain. */
bool stream_is_plain_after_all(const Stream *stream);

/* The version of TLS, once there is one; NULL on a plain connection. Static. */
const char *stream_get_protocol(const Stream *stream);

/* Whom the peer's certificate is for, to be freed; NULL when it has shown none. */
char *stream_get_peer(const Stream *stream);

/* For the implementations only: the kinds of stream, and the verbs of a plain one. */
void stream_open_tcp(Stream *stream, int fd);
bool stream_open_tls(Stream *stream, int fd, Credentials *credentials);
StreamResult stream_tcp_read(Stream *stream, void *data, size_t size, size_t *n);
StreamResult stream_tcp_write(Stream *stream, const void *data, size_t size, size_t *n);
StreamResult stream_tcp_finish(Stream *stream);

/* For the implementations only: notes that the kernel said "not now" to a write and returns
 * STREAM_WAIT; notes @error and returns STREAM_BROKEN. */
StreamResult stream_wait_write(Stream *stream);
StreamResult stream_break(Stream *stream, int error);
