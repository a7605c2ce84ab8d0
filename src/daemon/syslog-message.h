/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <glib.h>

#include "base/log-record.h"

/*
 * A record as the text of one syslog message: bytes in, bytes out, for any thread.
 *
 *     <30>1 2026-11-23T09:15:38.123456+02:00 proxy1 agitator 4711 session
 *           [meta sequenceId="7"][agitator@32473 session="..." result="served"] session ...
 */

/* Who speaks, and what the peer takes. */
typedef struct SyslogOrigin {
        int facility;         /* 0 to 23 */
        const char *hostname; /* 1 to 255 graphic ASCII characters */
        const char *procid;   /* 1 to 128 of them */
        size_t max;           /* bytes in a message, at least SYSLOG_MESSAGE_MIN */
} SyslogOrigin;

#define SYSLOG_MESSAGE_MIN 512

/* Appends @record as RFC 5424 has it. @sequence: its sequenceId; 0 for none. What is too long is
 * cut where it is longest, at the end of a character, and marked with "...". */
void syslog_message_append(GString *text,
                           const SyslogOrigin *origin,
                           const LogRecord *record,
                           uint32_t sequence);

/* Appends @record as syslog(3) would send it to a daemon of this host: "<30>Nov 23 09:15:38
 * agitator[4711]: ...". */
void syslog_message_append_local(GString *text,
                                 const SyslogOrigin *origin,
                                 const LogRecord *record);

/* How messages follow each other. */
typedef enum SyslogFrame {
        SYSLOG_FRAME_COUNTED,        /* RFC 6587, 3.4.1 and RFC 5425, 4.3: the length before each */
        SYSLOG_FRAME_DATAGRAM,       /* by themselves */
        SYSLOG_FRAME_LOCAL_DATAGRAM, /* the same in syslog(3)'s form */
        SYSLOG_FRAME_LOCAL_STREAM,   /* ... with the NUL that it ends with in a stream */
} SyslogFrame;

/* Appends @record in its frame. */
void syslog_message_append_framed(GString *text,
                                  SyslogFrame frame,
                                  const SyslogOrigin *origin,
                                  const LogRecord *record,
                                  uint32_t sequence);
