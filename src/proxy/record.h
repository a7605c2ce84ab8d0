/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "agi/agi-env.h"
#include "base/log.h"
#include "net/address.h"
#include "net/stream.h"
#include "proxy/settings.h"

/*
 * What the log says of one session at its end.
 */

typedef enum RecordResult {
        RECORD_SERVED,    /* relayed to a server until both had ended */
        RECORD_ANSWERED,  /* an [Answer] was played */
        RECORD_ABANDONED, /* the client went before a server was reached */
        RECORD_REFUSED,   /* the client was told FAILURE; reason says why */
        RECORD_BROKEN,    /* the server failed in mid-session */
        RECORD_CUT,       /* ended by the proxy's stop */
} RecordResult;

/* A piece of a record's facts, which are no longer than the environment that they come from. */
typedef struct RecordSpan {
        uint16_t offset, length;
} RecordSpan;

/* Embedded in its session; all zero at first, record_clear() at the end. What is const is borrowed
 * from the session. */
typedef struct Record {
        uint64_t id;
        const Address *client;
        const char *listener, *route, *server;
        char *facts; /* copies of what the spans below stand for */
        RecordSpan request, uniqueid, channel, callerid;
        int error;              /* errno behind the result; 0 when there is none */
        uint8_t result;         /* RecordResult */
        bool is_debugged;       /* by Debug=: its steps are logged, whatever the level */
        const char *reason;     /* NOROUTE and so on; NULL when all went well */
        char *failure;          /* what says more than that errno; NULL when it says all */
        const char *tls;        /* version of the client's; NULL: none */
        char *tls_peer;         /* whom the client's certificate is for; NULL: it has shown none */
        const char *truncated;  /* who ended without TLS's saying so: "client", "server" or NULL */
        const char *state;      /* name of the one it came to its end in */
        gint64 started, set_up; /* monotonic; set_up 0: never */
        uint64_t bytes_in, bytes_out;
} Record;

/* What is known of the end only. Strings are borrowed. */
typedef struct RecordEnd {
        const char *by;      /* "client", "server" or "agitator"; NULL: nobody knows */
        const char *status;  /* the client's AGISTATUS; likewise */
        const char *command; /* the last one, or the beginning of it, without LF; NULL: none */
        size_t command_length;
        uint32_t commands, replies;
} RecordEnd;

/* How an id is written. */
#define RECORD_ID_FORMAT "%013" G_GINT64_MODIFIER "x"
#define RECORD_ID_SIZE   24

/* Begins the record of a session of @client at @listener; neither is copied. */
void record_start(Record *record,
                  uint64_t id,
                  const Address *client,
                  const char *listener,
                  gint64 now);

/* Copies what is worth telling out of the environment in @block. */
void record_note_environment(Record *record, const AgiEnv *env, const char *block);

/* Notes what is behind the result: @error, or if it is not NULL, @failure in its place, which is
 * copied. */
void record_note_failure(Record *record, int error, const char *failure);

/* The same for a stream that broke, if it did. */
void record_note_break(Record *record, const Stream *stream);

/* Notes which of the two, if any, ended without TLS's saying so. */
void record_note_ends(Record *record, const Stream *client, const Stream *server);

/* Notes that the end begins in this state, unless it has begun already. */
void record_note_state(Record *record, const char *state);

/* What one of the spans is of; not ended by NUL. */
static inline const char *
record_get_text(const Record *record, RecordSpan span)
{
        return record->facts ? record->facts + span.offset : "";
}

/* True for the results that somebody should look at. */
bool record_is_failure(const Record *record);

/* Logs at debug level, for this session. */
void record_log_debug(const Record *record, const GLogField *fields, size_t n_fields);

/* Logs one step of a session in @state. */
void record_log_step(const Record *record, const char *state, const char *format, ...)
        G_GNUC_PRINTF(3, 4);

/* Logs that the request's path is one that matches only the wildcard. */
void record_log_odd_path(const Record *record, const Settings *settings);

/* Logs the session's end as of @now, unless @settings say that it isn't wanted, or there are too
 * many of its kind. */
void record_log(const Record *record, const RecordEnd *end, const Settings *settings, gint64 now);

void record_clear(Record *record);
