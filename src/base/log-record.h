/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/*
 * A record as it was logged: one block of memory, immutable, counted, shared by all places that it
 * goes to.
 */

typedef enum LogKind {
        LOG_KIND_EVENT,          /* whatever is no session's end */
        LOG_KIND_SESSION,        /* a session ended well */
        LOG_KIND_SESSION_FAILED, /* ... or did not */
} LogKind;

/* Which sessions have a record. */
typedef enum LogSessions {
        LOG_SESSIONS_ALL,
        LOG_SESSIONS_FAILED,
        LOG_SESSIONS_NONE,
} LogSessions;

typedef struct LogRecord LogRecord;

/* The keys and values follow the fields in the same block, and each value is followed by NUL. */
struct LogRecord {
        int refs; /* atomic */
        int sink; /* the log's own */
        LogRecord *next;
        size_t size; /* of the block */
        gint64 time; /* g_get_real_time() */
        GLogLevelFlags level;
        LogKind kind;
        size_t n_fields;
        GLogField fields[];
};

static inline LogRecord *
log_record_ref(LogRecord *record)
{
        __atomic_add_fetch(&record->refs, 1, __ATOMIC_RELAXED);

        return record;
}

/* NULL is fine. */
static inline void
log_record_unref(LogRecord *record)
{
        if (record && __atomic_sub_fetch(&record->refs, 1, __ATOMIC_ACQ_REL) == 0)
                g_free(record);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogRecord, log_record_unref)

static inline size_t
log_field_get_length(const GLogField *field)
{
        return field->length < 0 ? __builtin_strlen(field->value) : (size_t)field->length;
}

static inline bool
log_sessions_include(LogSessions sessions, LogKind kind)
{
        switch (kind) {
        case LOG_KIND_EVENT:
                return true;
        case LOG_KIND_SESSION:
                return sessions == LOG_SESSIONS_ALL;
        case LOG_KIND_SESSION_FAILED:
                return sessions != LOG_SESSIONS_NONE;
        }

        g_assert_not_reached();
}
