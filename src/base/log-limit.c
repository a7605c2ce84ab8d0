/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A small table, searched from end to end: it is asked for failures and events only, of which there
 * are few, or many of one subject. An entry is a subject's current interval; one that has ended
 * without a count can be had by another subject. The last entry is for all that found no room.
 */

#include "base/log-limit.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/log-id.h"

#define SUBJECTS 256

typedef struct Subject {
        uint64_t key; /* 0: none */
        gint64 since; /* the interval's begin */
        unsigned passed, counted;
        bool is_flood;    /* the interval before had a count */
        LogRecord *about; /* what the count's record says; NULL while there is no count */
} Subject;

static struct {
        pthread_mutex_t lock;
        unsigned burst;
        gint64 interval;
        unsigned n_counting;
        Subject subjects[SUBJECTS];
} limit = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .burst = LOG_LIMIT_BURST,
        .interval = LOG_LIMIT_INTERVAL,
};

/* Kinds that are no answer to what a peer does. */
static const char *const unlimited[] = {
        LOG_ID_SESSION,        /* proxy/record.c asks by itself */
        LOG_ID_SESSION_FAILED, /* likewise */
        LOG_ID_READY,          LOG_ID_RELOADED,       LOG_ID_RELOAD_FAILED, LOG_ID_CONFIG_WARNING,
        LOG_ID_STOPPING,       LOG_ID_STOPPED,        LOG_ID_UPGRADED,      LOG_ID_UPGRADE_FAILED,
        LOG_ID_CERTIFICATE,    LOG_ID_DROPPED,        LOG_ID_REPEATED,      LOG_ID_SYSLOG_DOWN,
        LOG_ID_SYSLOG_UP,      LOG_ID_SYSLOG_DROPPED,
};

/* Fields that differ from one record of a subject to the next. */
static const char *const varying[] = {
        "AGITATOR_SESSION", "AGITATOR_CLIENT",   "AGITATOR_REQUEST", "AGITATOR_UNIQUEID",
        "AGITATOR_CHANNEL", "AGITATOR_CALLERID", "AGITATOR_ERROR",
};

static bool
is_among(const char *text, size_t length, const char *const *list, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (strlen(list[i]) == length && memcmp(list[i], text, length) == 0)
                        return true;

        return false;
}

void
log_limit_configure(unsigned burst, gint64 interval)
{
        pthread_mutex_lock(&limit.lock);
        limit.burst = burst;
        limit.interval = interval;
        pthread_mutex_unlock(&limit.lock);
}

/* FNV-1a, of the text and an end that no text has. */
static uint64_t
hash_add(uint64_t hash, const char *text, size_t length)
{
        for (size_t i = 0; i < length; i++)
                hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);

        return (hash ^ 0x100) * UINT64_C(0x100000001b3);
}

static uint64_t
fields_get_key(const GLogField *fields, size_t n_fields)
{
        uint64_t hash = UINT64_C(0xcbf29ce484222325);
        bool has_id = log_field_find(fields, n_fields, "MESSAGE_ID") != NULL;

        for (size_t i = 0; i < n_fields; i++) {
                if (!log_field_is_text(&fields[i]) ||
                    (has_id && strcmp(fields[i].key, "MESSAGE") == 0))
                        continue;
                hash = hash_add(hash, fields[i].key, strlen(fields[i].key));
                hash = hash_add(hash, fields[i].value, log_field_get_length(&fields[i]));
        }

        return hash ? hash : 1;
}

/* Nothing is lost when another subject gets it. */
static bool
subject_is_free(const Subject *subject, gint64 now)
{
        return subject->counted == 0 && now - subject->since >= limit.interval;
}

static Subject *
limit_find(uint64_t key, gint64 now)
{
        Subject *found = NULL;

        for (size_t i = 0; i < SUBJECTS - 1; i++) {
                Subject *subject = &limit.subjects[i];

                if (subject->key == key)
                        return subject;
                if (!found && (subject->key == 0 || subject_is_free(subject, now)))
                        found = subject;
        }

        /* The last one: what the others are about is not said. */
        if (!found)
                return &limit.subjects[SUBJECTS - 1];

        *found = (Subject){ .key = key, .since = now };

        return found;
}

static LogLimitResult
subject_count(Subject *subject, GLogLevelFlags level, const GLogField *fields, size_t n_fields)
{
        static const GLogField various = { "MESSAGE", "various failures", -1 };

        if (subject->counted++ > 0)
                return LOG_LIMIT_COUNTED;

        subject->about = subject->key ? log_record_new(level, fields, n_fields)
                                      : log_record_new(level, &various, 1);
        limit.n_counting++;

        return LOG_LIMIT_BEGINS;
}

LogLimitResult
log_limit_take(GLogLevelFlags level, const GLogField *fields, size_t n_fields, gint64 now)
{
        uint64_t key = fields_get_key(fields, n_fields);
        LogLimitResult result = LOG_LIMIT_PASSES;
        Subject *subject;

        pthread_mutex_lock(&limit.lock);
        if (limit.burst > 0) {
                subject = limit_find(key, now);
                if (subject_is_free(subject, now)) {
                        subject->since = now;
                        subject->passed = 0;
                        subject->is_flood = false;
                }
                if (subject->passed < (subject->is_flood ? 1 : limit.burst))
                        subject->passed++;
                else
                        result = subject_count(subject, level, fields, n_fields);
        }
        pthread_mutex_unlock(&limit.lock);

        return result;
}

LogLimitResult
log_limit_take_event(GLogLevelFlags level, const GLogField *fields, size_t n_fields, gint64 now)
{
        const GLogField *id = log_field_find(fields, n_fields, "MESSAGE_ID");
        GLogField subject[8];
        size_t n = 0;

        if ((level & G_LOG_LEVEL_MASK) > G_LOG_LEVEL_MESSAGE)
                return LOG_LIMIT_PASSES;
        if (id && is_among(id->value, log_field_get_length(id), unlimited, G_N_ELEMENTS(unlimited)))
                return LOG_LIMIT_PASSES;

        for (size_t i = 0; i < n_fields && n < G_N_ELEMENTS(subject); i++) {
                const char *name = fields[i].key;

                if (strcmp(name, "MESSAGE") == 0 || strcmp(name, "MESSAGE_ID") == 0 ||
                    (g_str_has_prefix(name, "AGITATOR_") &&
                     !is_among(name, strlen(name), varying, G_N_ELEMENTS(varying))))
                        subject[n++] = fields[i];
        }

        return log_limit_take(level, subject, n, now);
}

gint64
log_limit_get_due(void)
{
        gint64 due = G_MAXINT64;

        pthread_mutex_lock(&limit.lock);
        for (size_t i = 0; i < SUBJECTS && limit.n_counting > 0; i++)
                if (limit.subjects[i].counted > 0)
                        due = MIN(due, limit.subjects[i].since + limit.interval);
        pthread_mutex_unlock(&limit.lock);

        return due;
}

/* What was counted, as a record: of the fields in @about those that tell of its subject. */
static LogRecord *
make_count(const LogRecord *about, unsigned count, gint64 span)
{
        const GLogField *what = log_field_find(about->fields, about->n_fields, "MESSAGE");
        g_autofree char *message = NULL, *number = g_strdup_printf("%u", count);
        GLogField fields[16] = {
                { "MESSAGE_ID", LOG_ID_REPEATED, -1 },
                { "GLIB_DOMAIN", G_LOG_DOMAIN, -1 },
                { "AGITATOR_REPEATED", number, -1 },
        };
        size_t n = 3;

        message = g_strdup_printf("%u more within %.1f s: %s", count, (double)span / G_USEC_PER_SEC,
                                  what ? (const char *)what->value : "the same");
        fields[n++] = (GLogField){ "MESSAGE", message, -1 };

        for (size_t i = 0; i < about->n_fields && n < G_N_ELEMENTS(fields); i++) {
                GLogField field = about->fields[i];

                if (strcmp(field.key, "MESSAGE_ID") == 0)
                        field.key = "AGITATOR_REPEATED_ID";
                else if (!g_str_has_prefix(field.key, "AGITATOR_"))
                        continue;
                fields[n++] = field;
        }

        return log_record_new(about->level, fields, n);
}

LogRecord *
log_limit_take_count(gint64 now, bool all)
{
        LogRecord *record = NULL;

        pthread_mutex_lock(&limit.lock);
        for (size_t i = 0; i < SUBJECTS && limit.n_counting > 0 && !record; i++) {
                Subject *subject = &limit.subjects[i];
                gint64 span = now - subject->since;

                if (subject->counted == 0 || (!all && span < limit.interval))
                        continue;

                if (subject->about)
                        record = make_count(subject->about, subject->counted, span);
                g_clear_pointer(&subject->about, g_free);
                *subject = (Subject){ .key = subject->key, .since = now, .is_flood = true };
                limit.n_counting--;
        }
        pthread_mutex_unlock(&limit.lock);

        return record;
}
