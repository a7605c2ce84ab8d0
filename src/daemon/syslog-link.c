/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A plain connection is known to stand when it takes bytes, so that dialing ends with a write. In
 * TLS 1.3 a server judges our certificate when the handshake is over for us, and what is written to
 * one that refuses it is lost: a moment is given to those that have an opinion.
 */

#include "daemon/syslog-link.h"

#include <errno.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/syslog-socket.h"
#include "net/resolver.h"

#define DIAL_LIMIT    (5 * G_TIME_SPAN_SECOND) /* for one address */
#define VERDICT_LIMIT G_TIME_SPAN_SECOND
#define LIFETIME      (5 * G_TIME_SPAN_MINUTE) /* of what a name led to, without a connection */

void
syslog_link_init(SyslogLink *link,
                 Loop *loop,
                 BufferPool *pool,
                 LoopFunc on_event,
                 LoopFunc on_failure,
                 void *data)
{
        *link = (SyslogLink){
                .loop = loop,
                .pool = pool,
                .on_event = on_event,
                .on_failure = on_failure,
                .data = data,
        };
}

static void
link_note_reason(SyslogLink *link, const char *reason)
{
        g_free(link->reason);
        link->reason = g_strdup(reason);
}

void
syslog_link_note_break(SyslogLink *link, StreamResult result)
{
        const char *failure = stream_get_failure(&link->stream);

        link_note_reason(link, result == STREAM_END ? "it closed the connection"
                               : failure            ? failure
                                                    : g_strerror(stream_get_error(&link->stream)));
}

static void
link_on_dial_limit(void *data)
{
        SyslogLink *link = data;
        const char *failure = stream_get_failure(&link->stream);

        link_note_reason(link, failure ? failure : g_strerror(ETIMEDOUT));
        link->on_failure(link->data);
}

/* A datagram socket for the next address that can have one; FD_NONE with errno set. A daemon may
 * want a stream at that path, which is EPROTOTYPE. */
static int
link_open_datagram(SyslogLink *link)
{
        Dial *dial = &link->dial;
        int fd = FD_NONE;

        while (fd < 0 && dial->next < dial->addresses->n) {
                fd = syslog_socket_open_datagram(&dial->addresses->items[dial->next]);
                if (fd < 0 && errno == EPROTOTYPE)
                        break;
                dial->next++;
        }

        return fd;
}

static bool
link_open(SyslogLink *link)
{
        SyslogTransport transport = link->own->address.transport;
        int fd = FD_NONE, error = EHOSTUNREACH;

        if (dial_get_left(&link->dial) == 0)
                return false;

        link->is_datagram = transport == SYSLOG_UDP;
        if (transport == SYSLOG_UDP || transport == SYSLOG_UNIX) {
                fd = link_open_datagram(link);
                error = errno;
                link->is_datagram |= fd >= 0;
        }
        if (fd < 0 && !link->is_datagram && (transport != SYSLOG_UNIX || error == EPROTOTYPE) &&
            dial_next(&link->dial, &fd, &error) == DIAL_BEGUN)
                syslog_socket_set_up(fd);
        if (fd < 0) {
                link_note_reason(link, g_strerror(error));
                return false;
        }

        if (!stream_open_dialed(&link->stream, fd, link->own->credentials)) {
                link_note_reason(link, g_strerror(ENOMEM));
                fd_clear(&fd);
                return false;
        }

        return true;
}

bool
syslog_link_next(SyslogLink *link)
{
        deadline_stop(&link->deadline);
        stream_close(&link->stream);
        link->is_taken = link->is_confirmed = link->awaits_verdict = false;
        if (!link_open(link))
                return false;

        if (!stream_watch(&link->stream, link->loop, link->on_event, link->data)) {
                link_note_reason(link, g_strerror(errno));
                stream_close(&link->stream);
                return false;
        }
        link->begun = loop_now(link->loop);
        deadline_start(&link->deadline, link->loop, DIAL_LIMIT, link_on_dial_limit, link);

        return true;
}

static void
link_go(SyslogLink *link)
{
        if (syslog_link_next(link))
                link->on_event(link->data);
        else
                link->on_failure(link->data);
}

static void
link_on_turn(void *data)
{
}

static void
link_on_addresses(AddressList *addresses, const GError *error, void *data)
{
        SyslogLink *link = data;

        /* The resolver calls from outside the loop's turns. What comes to its end here is freed
         * after the next one, which has to come. */
        loop_post(link->loop, link_on_turn, NULL);

        g_clear_object(&link->lookup);
        if (error) {
                link_note_reason(link, error->message);
                link->on_failure(link->data);
                return;
        }

        dial_start(&link->dial, address_list_ref(addresses));
        link_go(link);
}

void
syslog_link_begin(SyslogLink *link, const SyslogSettings *own)
{
        const Endpoint *endpoint = own->address.endpoint;
        Address address;

        syslog_link_close(link);
        link->own = own;
        if (endpoint_get_address(endpoint, &address)) {
                dial_start(&link->dial, address_list_new(&address, 1));
                link_go(link);
                return;
        }

        link->lookup = g_cancellable_new();
        resolver_lookup(endpoint->host, endpoint->port, link->lookup, link_on_addresses, link);
}

static void
link_on_verdict_limit(void *data)
{
        SyslogLink *link = data;

        link->is_confirmed = true;
        link->on_event(link->data);
}

StreamResult
syslog_link_greet(SyslogLink *link)
{
        StreamResult result = stream_handshake(&link->stream);

        if (result != STREAM_OK || link->is_confirmed)
                return result;

        /* What we say last in a handshake leaves with a read. */
        result = stream_discard(&link->stream, link->pool);
        if (result == STREAM_WAIT)
                result = stream_confirm(&link->stream);
        if (result == STREAM_OK) {
                link->is_confirmed = true;
        } else if (result == STREAM_WAIT && !link->awaits_verdict) {
                link->awaits_verdict = true;
                deadline_start(&link->deadline, link->loop, VERDICT_LIMIT, link_on_verdict_limit,
                               link);
        }

        return result;
}

void
syslog_link_note_taken(SyslogLink *link)
{
        link->is_taken = true;
        deadline_stop(&link->deadline);
}

bool
syslog_link_has_places(const SyslogLink *link)
{
        return stream_is_open(&link->stream) && link->own->address.transport != SYSLOG_UDP &&
               link->own->address.transport != SYSLOG_UNIX;
}

SyslogFrame
syslog_link_get_frame(const SyslogLink *link)
{
        switch (link->own->address.transport) {
        case SYSLOG_UDP:
                return SYSLOG_FRAME_DATAGRAM;
        case SYSLOG_TCP:
        case SYSLOG_TLS:
                return SYSLOG_FRAME_COUNTED;
        case SYSLOG_UNIX:
                return link->is_datagram ? SYSLOG_FRAME_LOCAL_DATAGRAM : SYSLOG_FRAME_LOCAL_STREAM;
        }

        g_assert_not_reached();
}

bool
syslog_link_is_stale(const SyslogLink *link)
{
        return link->own->address.transport == SYSLOG_UDP &&
               loop_now(link->loop) - link->begun >= LIFETIME;
}

void
syslog_link_close(SyslogLink *link)
{
        if (link->lookup)
                g_cancellable_cancel(link->lookup);
        g_clear_object(&link->lookup);
        deadline_stop(&link->deadline);
        stream_close(&link->stream);
        dial_clear(&link->dial);
}

void
syslog_link_clear(SyslogLink *link)
{
        syslog_link_close(link);
        g_clear_pointer(&link->reason, g_free);
}
