/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/* One log record on its way to the sinks: copies of its fields, in one block of memory, which does
 * not change any more, is counted, and shared by all places that it goes to. */

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

bool log_sessions_include(LogSessions sessions, LogKind kind);

typedef struct LogRecord LogRecord;

/* The keys and values follow the fields in the same block; each value is followed by a NUL that its
 * length does not count. */
struct LogRecord {
        int refs;        /* atomic */
        LogRecord *next; /* for base/log.c */
        size_t size;
        gint64 time; /* g_get_real_time() */
        GLogLevelFlags level;
        LogKind kind;
        int sink; /* for base/log.c */
        size_t n_fields;
        GLogField fields[];
};

/* A copy of @fields with what they need to stand alone; NULL when there is no memory. */
LogRecord *log_record_new(GLogLevelFlags level, const GLogField *fields, size_t n_fields);
LogRecord *log_record_ref(LogRecord *record);
void log_record_unref(LogRecord *record); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(LogRecord, log_record_unref)

/* Unrefs @records and all that follow it in their list. */
void log_record_unref_all(LogRecord *records);

/* The first field of that name; NULL when there is none. */
const GLogField *log_field_find(const GLogField *fields, size_t n_fields, const char *key);

/* To GLib a field of length 0 is a pointer for the writer of whoever made it: no text. */
bool log_field_is_text(const GLogField *field);

size_t log_field_get_length(const GLogField *field);
