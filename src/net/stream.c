/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the kinds of stream have in common: the watch, and what its events say about the kernel's
 * readiness.
 */

#include "net/stream.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/fd.h"

#define DISCARDS_PER_TURN 4

static void
stream_on_event(void *data, uint32_t events)
{
        Stream *stream = data;

        if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
                stream->readable = true;
        if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
                stream->writable = true;
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
                stream->ending = true;
                stream->ends_well = !(events & EPOLLERR);
        }

        stream->func(stream->data);
}

bool
stream_open(Stream *stream, int fd, Credentials *credentials)
{
        if (credentials)
                return stream_open_tls(stream, fd, credentials);

        stream_open_tcp(stream, fd);

        return true;
}

bool
stream_open_dialed(Stream *stream, int fd, Credentials *credentials)
{
        if (!stream_open(stream, fd, credentials))
                return false;

        /* A handshake writes several times in a row. */
        if (credentials)
                fd_set_nodelay(fd);
        else
                stream->nagle = STREAM_NAGLE_IDLE;

        return true;
}

bool
stream_watch(Stream *stream, Loop *loop, LoopFunc func, void *data)
{
        if (stream->watch.loop)
                return true;

        stream->func = func;
        stream->data = data;
        stream->awaits_write = !stream->writable;

        /* What is there already is the first event. */
        stream->readable = false;

        return watch_start(&stream->watch, loop, stream->fd,
                           stream->awaits_write ? WATCH_STREAM_WRITE : WATCH_STREAM,
                           stream_on_event, stream);
}

StreamResult
stream_wait_write(Stream *stream)
{
        stream->writable = false;
        if (!stream->awaits_write && stream->watch.loop) {
                stream->awaits_write = true;
                watch_change(&stream->watch, WATCH_STREAM_WRITE);
        }

        return STREAM_WAIT;
}

StreamResult
stream_break(Stream *stream, int error)
{
        stream->error = error;

        return STREAM_BROKEN;
}

StreamResult
stream_discard(Stream *stream, BufferPool *pool)
{
        char *scratch = buffer_pool_get_scratch(pool);
        size_t n;

        for (unsigned reads = 0; reads < DISCARDS_PER_TURN; reads++) {
                StreamResult result = stream_read(stream, scratch, BUFFER_SCRATCH_SIZE, &n);

                if (result != STREAM_OK)
                        return result;
        }
        stream_again(stream);

        return STREAM_WAIT;
}

void
stream_close(Stream *stream)
{
        if (!stream->ops)
                return;

        watch_forget(&stream->watch);
        stream->ops->free(stream);
        *stream = (Stream){ .fd = FD_NONE };
}

static void
stream_break_off(Stream *stream, bool at_once)
{
        if (!stream->ops)
                return;

        /* An end that TLS says goodbye at would be no error. */
        if (stream->error == 0)
                stream->error = ECONNRESET;
        if (at_once || fd_is_flushed(stream->fd))
                fd_set_reset(stream->fd);
        stream_close(stream);
}

void
stream_reset(Stream *stream)
{
        stream_break_off(stream, false);
}

void
stream_abort(Stream *stream)
{
        stream_break_off(stream, true);
}
