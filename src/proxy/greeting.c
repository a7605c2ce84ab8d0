/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A handshake that failed isn't closed at once: the alert that says why is on its way, and a close
 * while the client's bytes are unread could overtake it.
 */

#include "proxy/greeting.h"

#include <errno.h>

#include "base/fd.h"

static GreetingResult
greeting_fail(Stream *client, Record *record)
{
        const char *failure = stream_get_failure(client);

        if (!failure)
                return fd_is_shortage(stream_get_error(client)) ? GREETING_SHORT : GREETING_GONE;

        record->result = RECORD_REFUSED;
        record->reason = "TLS";
        record_note_failure(record, EPROTO, failure);
        if (stream_is_plain_after_all(client))
                return GREETING_PLAIN;
        stream_finish(client);

        return GREETING_FAILED;
}

GreetingResult
greeting_run(Stream *client, Record *record)
{
        switch (stream_handshake(client)) {
        case STREAM_OK:
                record->tls = stream_get_protocol(client);
                record->tls_peer = stream_get_peer(client);
                return GREETING_DONE;
        case STREAM_WAIT:
                return GREETING_WAIT;
        case STREAM_END:
        case STREAM_BROKEN:
                return greeting_fail(client, record);
        }

        g_assert_not_reached();
}
