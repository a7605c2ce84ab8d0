/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/* One log record on its way to the sinks: copies of its fields, in one block of memory. */

typedef struct LogRecord LogRecord;

/* The keys and values follow the fields in the same block; each value is followed by a NUL that its
 * length does not count. */
struct LogRecord {
        LogRecord *next; /* for whoever has it in a list */
        size_t size;
        gint64 time; /* g_get_real_time() */
        GLogLevelFlags level;
        int sink; /* for base/log.c */
        size_t n_fields;
        GLogField fields[];
};

/* A copy of @fields with what they need to stand alone, to be freed with g_free(); NULL when there
 * is no memory. */
LogRecord *log_record_new(GLogLevelFlags level, const GLogField *fields, size_t n_fields);

/* Frees @records and all that follow it in their list. */
void log_record_free_all(LogRecord *records);

/* The first field of that name; NULL when there is none. */
const GLogField *log_field_find(const GLogField *fields, size_t n_fields, const char *key);

/* To GLib a field of length 0 is a pointer for the writer of whoever made it: no text. */
bool log_field_is_text(const GLogField *field);

size_t log_field_get_length(const GLogField *field);
