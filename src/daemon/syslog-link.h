/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <gio/gio.h>

#include "base/buffer.h"
#include "base/loop.h"
#include "daemon/syslog-message.h"
#include "net/dial.h"
#include "net/stream.h"
#include "proxy/settings.h"

/*
 * The connection to a log server: from its name to a stream that can be written to. Its addresses
 * are tried one after the other, until one takes the first bytes.
 */

/* Embedded in its owner. */
typedef struct SyslogLink {
        Loop *loop;
        BufferPool *pool;
        LoopFunc on_event;   /* something happened: see how far it gets */
        LoopFunc on_failure; /* nothing did, and syslog_link_next() is to be tried */
        void *data;          /* of both */

        const SyslogSettings *own;
        GCancellable *lookup;
        Dial dial;
        Stream stream; /* open from an address's beginning on */
        bool is_datagram;
        bool is_taken;     /* the first bytes were */
        bool is_confirmed; /* the server took our certificate, or will never say */
        bool awaits_verdict;
        gint64 begun;      /* when this address was */
        Deadline deadline; /* until the first bytes are taken */
        char *reason;      /* of the last failure */
} SyslogLink;

void syslog_link_init(SyslogLink *link,
                      Loop *loop,
                      BufferPool *pool,
                      LoopFunc on_event,
                      LoopFunc on_failure,
                      void *data);

/* Begins with the first address, as @own has it, which stays until the link is closed. */
void syslog_link_begin(SyslogLink *link, const SyslogSettings *own);

/* Closes the stream, if there is one, and begins with the next address; false when there is none.
 * Calls nobody: syslog_link_greet() is next. */
bool syslog_link_next(SyslogLink *link);

/* The handshake: STREAM_OK when bytes may be written. To be called at first and after every event.
 */
StreamResult syslog_link_greet(SyslogLink *link);

/* Bytes were taken: no other address will be tried. */
void syslog_link_note_taken(SyslogLink *link);

/* Keeps why the stream broke, which @result says it did. */
void syslog_link_note_break(SyslogLink *link, StreamResult result);

/* True when the peer's kernel acknowledges bytes. */
bool syslog_link_has_places(const SyslogLink *link);

/* How messages are put into it. */
SyslogFrame syslog_link_get_frame(const SyslogLink *link);

/* True when its addresses, which nothing else would tell from others, are from long ago. */
bool syslog_link_is_stale(const SyslogLink *link);

/* Ends it, or the search for it. */
void syslog_link_close(SyslogLink *link);

/* Closes it and frees what is left. */
void syslog_link_clear(SyslogLink *link);
