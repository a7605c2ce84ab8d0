/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Reads go straight into the buffer, whose first block holds the usual environment whole: one read,
 * no copy, until it is written out for a server.
 */

#include "proxy/inbox.h"

#include <string.h>

#include "agi/agi-request.h"
#include "base/fd.h"

#define FIRST_READ 4096
#define NEXT_READ  2048
#define MAX_AHEAD  (256 * 1024)

/* One read of up to @room bytes; false when there is no memory for it. */
static bool
inbox_receive(Inbox *inbox, Stream *client, size_t room, BufferPool *pool, StreamResult *result)
{
        char *into = buffer_reserve(&inbox->bytes, pool, room);
        size_t n;

        if (!into)
                return false;

        *result = stream_read(client, into, room, &n);
        buffer_commit(&inbox->bytes, pool, n);

        return *result != STREAM_BROKEN || !fd_is_shortage(stream_get_error(client));
}

/* A record of TLS with the first words of a client in it, or the beginning of one. */
static bool
is_hello(const Buffer *bytes)
{
        const char *data = buffer_data(bytes);

        g_assert(data);
        return data[0] == 0x16 && (buffer_length(bytes) < 2 || data[1] == 0x03);
}

InboxResult
inbox_read(Inbox *inbox, Stream *client, BufferPool *pool)
{
        for (;;) {
                size_t before = buffer_length(&inbox->bytes);
                StreamResult result;

                if (!inbox_receive(inbox, client, before > 0 ? NEXT_READ : FIRST_READ, pool,
                                   &result))
                        return INBOX_SHORT;

                switch (result) {
                case STREAM_OK:
                        break;
                case STREAM_WAIT:
                        return INBOX_WAIT;
                case STREAM_END:
                        return before > 0 ? INBOX_CUT : INBOX_GONE;
                case STREAM_BROKEN:
                        return INBOX_GONE;
                }

                if (before == 0 && is_hello(&inbox->bytes))
                        return INBOX_TLS;

                switch (agi_env_parse(&inbox->env, buffer_data(&inbox->bytes),
                                      buffer_length(&inbox->bytes))) {
                case AGI_ENV_MORE:
                        break;
                case AGI_ENV_COMPLETE:
                        inbox->is_complete = true;
                        return INBOX_COMPLETE;
                case AGI_ENV_TOO_LONG:
                case AGI_ENV_TOO_MANY:
                        return INBOX_BAD;
                }
        }
}

InboxResult
inbox_read_ahead(Inbox *inbox, Stream *client, BufferPool *pool)
{
        while (buffer_length(&inbox->bytes) < MAX_AHEAD) {
                StreamResult result;

                if (!inbox_receive(inbox, client, NEXT_READ, pool, &result))
                        return INBOX_SHORT;

                switch (result) {
                case STREAM_OK:
                        break;
                case STREAM_WAIT:
                        return INBOX_WAIT;
                case STREAM_END:
                case STREAM_BROKEN:
                        return INBOX_GONE;
                }
        }

        return INBOX_WAIT;
}

bool
inbox_find_route(const Inbox *inbox,
                 const Settings *settings,
                 BufferPool *pool,
                 RouteSettings **route,
                 bool *is_odd)
{
        const char *value = buffer_data(&inbox->bytes) + inbox->env.request.offset;
        char *path = buffer_pool_get_scratch(pool);
        AgiRequest request;

        if (!inbox->env.has_request ||
            !agi_request_parse(&request, value, inbox->env.request.length))
                return false;

        G_STATIC_ASSERT(BUFFER_SCRATCH_SIZE > AGI_ENV_MAX_LINE);
        *is_odd = !agi_request_get_path(&request, value, path);
        *route = *is_odd ? settings->wildcard : settings_get_route(settings, path);

        return true;
}

const char *
inbox_get_ahead(const Inbox *inbox, size_t *length)
{
        size_t size = agi_env_get_size(&inbox->env);

        *length = 0;
        if (!inbox->is_complete)
                return NULL;

        *length = buffer_length(&inbox->bytes) - size;

        return buffer_data(&inbox->bytes) + size;
}

bool
inbox_write(const Inbox *inbox,
            const Settings *settings,
            const Address *from,
            const char *authority,
            Buffer *out,
            BufferPool *pool)
{
        const AddressRange *trust = (const void *)settings->trust->data;
        AgiForward forward = { .trusted = address_range_match(trust, settings->trust->len, from) };
        char client[ADDRESS_TEXT_SIZE];
        size_t n_ahead, n;
        const char *ahead = inbox_get_ahead(inbox, &n_ahead);
        char *to;

        g_assert(ahead);
        if (settings->forwarded_for && from->any.sa_family != AF_UNIX)
                forward.client = address_print(from, client);

        n = agi_env_get_written_max(&inbox->env, authority, &forward);
        to = buffer_reserve(out, pool, n + n_ahead);
        if (!to)
                return false;
        n = agi_env_write(&inbox->env, buffer_data(&inbox->bytes), authority, &forward, to);
        memcpy(to + n, ahead, n_ahead);
        buffer_commit(out, pool, n + n_ahead);

        return true;
}

void
inbox_clear(Inbox *inbox, BufferPool *pool)
{
        buffer_clear(&inbox->bytes, pool);
}
