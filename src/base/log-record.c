/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GLib calls a writer with fields that live on the stack of whoever logs; a record outlives them.
 */

#include "base/log-record.h"

#include <string.h>

#include "base/log-id.h"

/* What each record has besides its own fields. */
#define OWN_FIELDS 3

bool
log_field_is_text(const GLogField *field)
{
        return field->length != 0 && field->value;
}

size_t
log_field_get_length(const GLogField *field)
{
        return field->length < 0 ? strlen(field->value) : (size_t)field->length;
}

const GLogField *
log_field_find(const GLogField *fields, size_t n_fields, const char *key)
{
        for (size_t i = 0; i < n_fields; i++)
                /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): each has a key */
                if (strcmp(fields[i].key, key) == 0)
                        return &fields[i];

        return NULL;
}

static char *
record_add(LogRecord *record, const GLogField *field, char *bytes)
{
        size_t key = strlen(field->key) + 1, value = log_field_get_length(field);

        record->fields[record->n_fields++] = (GLogField){
                .key = memcpy(bytes, field->key, key),
                .value = memcpy(bytes + key, field->value, value),
                .length = (gssize)value,
        };
        bytes[key + value] = '\0';

        return bytes + key + value + 1;
}

static const char *
record_priority(GLogLevelFlags level)
{
        return level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL) ? "3"
               : level & G_LOG_LEVEL_WARNING                      ? "4"
               : level & G_LOG_LEVEL_MESSAGE                      ? "5"
               : level & G_LOG_LEVEL_INFO                         ? "6"
                                                                  : "7";
}

/* A count is of the kind of what it counts. */
static LogKind
record_find_kind(const LogRecord *record)
{
        const GLogField *id = log_field_find(record->fields, record->n_fields, "MESSAGE_ID");

        if (id && strcmp(id->value, LOG_ID_REPEATED) == 0)
                id = log_field_find(record->fields, record->n_fields, "AGITATOR_REPEATED_ID");

        return !id                                             ? LOG_KIND_EVENT
               : strcmp(id->value, LOG_ID_SESSION) == 0        ? LOG_KIND_SESSION
               : strcmp(id->value, LOG_ID_SESSION_FAILED) == 0 ? LOG_KIND_SESSION_FAILED
                                                               : LOG_KIND_EVENT;
}

/* GLib gives a critical record the priority of a warning; here it is an error. */
static bool
record_takes(const GLogField *field, GLogLevelFlags level)
{
        return log_field_is_text(field) &&
               !(level & G_LOG_LEVEL_CRITICAL && strcmp(field->key, "PRIORITY") == 0);
}

LogRecord *
log_record_new(GLogLevelFlags level, const GLogField *fields, size_t n_fields)
{
        size_t size = sizeof(LogRecord) + (n_fields + OWN_FIELDS) * sizeof(GLogField);
        bool has_priority = false, has_id = false;
        LogRecord *record;
        char *bytes;

        for (size_t i = 0; i < n_fields; i++)
                if (record_takes(&fields[i], level))
                        size += strlen(fields[i].key) + log_field_get_length(&fields[i]) + 2;

        record = g_try_malloc(size);
        if (!record)
                return NULL;

        *record = (LogRecord){
                .refs = 1,
                .size = size,
                .time = g_get_real_time(),
                .level = level,
        };
        bytes = (char *)&record->fields[n_fields + OWN_FIELDS];

        for (size_t i = 0; i < n_fields; i++) {
                if (!record_takes(&fields[i], level))
                        continue;
                if (strcmp(fields[i].key, "PRIORITY") == 0)
                        has_priority = true;
                if (strcmp(fields[i].key, "MESSAGE_ID") == 0)
                        has_id = true;
                bytes = record_add(record, &fields[i], bytes);
        }
        g_assert(bytes == (char *)record + size);

        /* g_log_structured_array() adds none. */
        if (!has_priority)
                record->fields[record->n_fields++] =
                        (GLogField){ "PRIORITY", record_priority(level), 1 };
        if (!has_id)
                record->fields[record->n_fields++] =
                        (GLogField){ "MESSAGE_ID", LOG_ID_OTHER, strlen(LOG_ID_OTHER) };
        record->fields[record->n_fields++] =
                (GLogField){ "SYSLOG_IDENTIFIER", G_LOG_DOMAIN, strlen(G_LOG_DOMAIN) };
        record->kind = record_find_kind(record);

        return record;
}

LogRecord *
log_record_ref(LogRecord *record)
{
        __atomic_add_fetch(&record->refs, 1, __ATOMIC_RELAXED);

        return record;
}

void
log_record_unref(LogRecord *record)
{
        if (record && __atomic_sub_fetch(&record->refs, 1, __ATOMIC_ACQ_REL) == 0)
                g_free(record);
}

void
log_record_unref_all(LogRecord *records)
{
        while (records) {
                LogRecord *next = records->next;

                log_record_unref(records);
                records = next;
        }
}

bool
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
