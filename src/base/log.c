/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GLib calls the writer with fields that live on the caller's stack. The writer copies them into
 * one block of memory, hangs that on a queue and goes; the log thread takes records off in batches
 * and waits for the sink as long as it likes. A record counts against the bounds until it is
 * written, so that a batch the sink does not take makes no room.
 *
 * A record remembers the sink that was in force when it was logged. Before the thread runs, after
 * it ended, and for a fatal record, whoever logs writes by itself: then nobody would come back to
 * it.
 *
 * Locks and counts that our threads share are of pthread and C, not GLib's, here and elsewhere:
 * ThreadSanitizer sees into the one and not into the other.
 */

#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "base/log-console.h"
#include "base/log-id.h"
#include "base/log-journal.h"
#include "base/log-limit.h"
#include "base/log-record.h"

#define LOG_MAX_RECORDS 8192
#define LOG_MAX_BYTES   (8 * 1024 * 1024)
#define LOG_BATCH       256
#define LOG_PATIENCE    (2 * G_TIME_SPAN_SECOND)
#define LOG_GATHER      (5 * G_TIME_SPAN_MILLISECOND)
#define LOG_TAP_PAUSE   G_TIME_SPAN_MINUTE

typedef enum LogSink {
        LOG_SINK_CONSOLE,
        LOG_SINK_JOURNAL,
} LogSink;

typedef struct LogQueue {
        LogRecord *first, **last;
        size_t n, size; /* with those that are being written */
} LogQueue;

typedef struct Log {
        int level;       /* atomic */
        int sink;        /* atomic */
        int sessions;    /* atomic */
        int tap_level;   /* atomic; 0 when there is no tap */
        guint64 dropped; /* atomic */

        /* On cache lines apart from what every session reads. */
        pthread_mutex_t tap_lock __attribute__((aligned(64))); /* of these four */
        LogTap tap;
        void *tap_data;
        guint64 tapped; /* how many of the dropped it was told of */
        gint64 tap_due; /* when it may be told again */

        pthread_mutex_t lock __attribute__((aligned(64))); /* of all that follows */
        pthread_cond_t wanted, drained;
        LogQueue queue;
        bool running;  /* the thread will come for what is queued; atomic too */
        bool sleeping; /* it waits to be woken */
        bool stopping;
        bool detached; /* the thread, which a stop has not waited for */

        pthread_t thread;
        guint64 reported; /* the thread's own: how many of the dropped it has written of */
} Log;

static Log logger = {
        .level = G_LOG_LEVEL_INFO,
        .sink = LOG_SINK_CONSOLE,
        .tap_lock = PTHREAD_MUTEX_INITIALIZER,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .wanted = PTHREAD_COND_INITIALIZER,
        .drained = PTHREAD_COND_INITIALIZER,
        .queue = { .last = &logger.queue.first },
};

void
log_count_dropped(size_t n)
{
        __atomic_fetch_add(&logger.dropped, n, __ATOMIC_RELAXED);
}

static bool
log_taps(GLogLevelFlags level)
{
        return (int)(level & G_LOG_LEVEL_MASK) <=
               __atomic_load_n(&logger.tap_level, __ATOMIC_RELAXED);
}

static void
log_tap(LogRecord *record)
{
        if (!log_taps(record->level))
                return;

        pthread_mutex_lock(&logger.tap_lock);
        if (logger.tap)
                logger.tap(logger.tap_data, record);
        pthread_mutex_unlock(&logger.tap_lock);
}

/* True when it is for the journal or stderr, too. */
static bool
log_is_wanted(const LogRecord *record)
{
        LogSessions sessions = (LogSessions)__atomic_load_n(&logger.sessions, __ATOMIC_RELAXED);

        return (int)(record->level & G_LOG_LEVEL_MASK) <=
                       __atomic_load_n(&logger.level, __ATOMIC_RELAXED) &&
               log_sessions_include(sessions, record->kind);
}

/* What waits in @text is written. Returns how many of its @n records went nowhere. */
static size_t
log_flush_text(GString *text, size_t *n, gint64 patience)
{
        bool written = text->len == 0 || log_console_write(text->str, text->len, patience);
        size_t lost = written ? 0 : *n;

        g_string_truncate(text, 0);
        *n = 0;

        return lost;
}

/* How many of the records from this one on go to the journal. */
static size_t
log_count_for_journal(const LogRecord *record)
{
        size_t n = 0;

        for (; record && record->sink == LOG_SINK_JOURNAL; record = record->next)
                n++;

        return n;
}

/* Writes a list of records in their order, and what the journal does not take to the console.
 * Returns how many went nowhere. */
static size_t
log_try_to_write(const LogRecord *records, gint64 patience)
{
        g_autoptr(GString) text = g_string_new(NULL);
        bool colours = log_console_has_colours();
        const LogRecord *record = records;
        size_t n = 0, lost = 0;

        while (record) {
                size_t n_journal = log_count_for_journal(record);

                if (n_journal > 0) {
                        size_t sent;

                        lost += log_flush_text(text, &n, patience);
                        sent = log_journal_send(record, n_journal, patience);
                        for (size_t i = 0; i < sent; i++)
                                record = record->next;
                        if (sent == n_journal)
                                continue;
                }
                log_console_format(text, record->time, record->level, record->fields,
                                   record->n_fields, colours);
                n++;
                record = record->next;
        }

        return lost + log_flush_text(text, &n, patience);
}

static void
log_write(const LogRecord *records, gint64 patience)
{
        log_count_dropped(log_try_to_write(records, patience));
}

/* Under the lock. Returns up to LOG_BATCH records, which still count. */
static LogRecord *
queue_take(LogQueue *queue)
{
        LogRecord *first = queue->first, **link = &queue->first;

        for (size_t i = 0; i < LOG_BATCH && *link; i++)
                link = &(*link)->next;

        queue->first = *link;
        if (!queue->first)
                queue->last = &queue->first;
        *link = NULL;

        return first;
}

static void
queue_release(LogQueue *queue, const LogRecord *records)
{
        for (; records; records = records->next) {
                queue->n--;
                queue->size -= records->size;
        }
}

/* What says that @n records are missing; NULL without memory. */
static LogRecord *
log_make_report(guint64 n)
{
        g_autofree char *count = g_strdup_printf("%" G_GUINT64_FORMAT, n);
        g_autofree char *message = g_strdup_printf(
                "%s log %s dropped: there was no room for %s, or no way to write %s", count,
                n == 1 ? "record was" : "records were", n == 1 ? "it" : "them",
                n == 1 ? "it" : "them");
        const GLogField fields[] = {
                { "MESSAGE", message, -1 },
                { "MESSAGE_ID", LOG_ID_DROPPED, -1 },
                { "GLIB_DOMAIN", G_LOG_DOMAIN, -1 },
                { "AGITATOR_DROPPED", count, -1 },
        };

        return log_record_new(G_LOG_LEVEL_WARNING, fields, G_N_ELEMENTS(fields));
}

/* On the log thread: says how many records are missing, until that could be written. */
static void
log_report_dropped(void)
{
        guint64 dropped = log_get_dropped();
        g_autoptr(LogRecord) record = NULL;

        if (dropped == logger.reported)
                return;

        record = log_make_report(dropped - logger.reported);
        if (!record)
                return;

        record->sink = __atomic_load_n(&logger.sink, __ATOMIC_RELAXED);
        if (!log_is_wanted(record) || log_try_to_write(record, -1) == 0)
                logger.reported = dropped;
}

/* The same to the tap, to which there may be a way while there is none here: seldom, or with @all
 * at once. Any thread. */
static void
log_tap_dropped(bool all)
{
        gint64 now = g_get_monotonic_time();
        guint64 dropped = log_get_dropped();

        pthread_mutex_lock(&logger.tap_lock);
        if (dropped > logger.tapped && log_taps(G_LOG_LEVEL_WARNING) &&
            (all || now >= logger.tap_due)) {
                g_autoptr(LogRecord) record = log_make_report(dropped - logger.tapped);

                logger.tap_due = now + LOG_TAP_PAUSE;
                if (record) {
                        logger.tap(logger.tap_data, record);
                        logger.tapped = dropped;
                }
        }
        pthread_mutex_unlock(&logger.tap_lock);
}

/* When there will be something to tell the tap; G_MAXINT64: not yet. */
static gint64
log_get_tap_due(void)
{
        gint64 due = G_MAXINT64;

        pthread_mutex_lock(&logger.tap_lock);
        if (log_get_dropped() > logger.tapped && log_taps(G_LOG_LEVEL_WARNING))
                due = logger.tap_due;
        pthread_mutex_unlock(&logger.tap_lock);

        return due;
}

typedef enum PushResult {
        PUSH_DONE,
        PUSH_FULL,
        PUSH_ALONE, /* nobody would come for it */
} PushResult;

/* Debug records have half of the queue: they come in crowds, and the others are to find room. */
static PushResult
log_push(LogRecord *record)
{
        LogQueue *queue = &logger.queue;
        unsigned share = record->level & G_LOG_LEVEL_DEBUG ? 2 : 1;
        PushResult result = PUSH_DONE;
        bool wake = false;

        pthread_mutex_lock(&logger.lock);
        if (!logger.running) {
                result = PUSH_ALONE;
        } else if (queue->n >= LOG_MAX_RECORDS / share ||
                   queue->size + record->size > LOG_MAX_BYTES / share) {
                result = PUSH_FULL;
        } else {
                *queue->last = record;
                queue->last = &record->next;
                queue->n++;
                queue->size += record->size;
                /* A wake-up is a system call: one is enough until the thread sleeps again. */
                wake = logger.sleeping || queue->n == LOG_BATCH;
                logger.sleeping = false;
        }
        pthread_mutex_unlock(&logger.lock);

        if (wake)
                pthread_cond_signal(&logger.wanted);

        return result;
}

/* Takes @record: to the queue, or where there is no thread, out at once. One that is not @wanted
 * there goes to the tap only. */
static void
log_take(LogRecord *record, bool wanted)
{
        g_autoptr(LogRecord) own = record;

        log_tap(own);
        if (!wanted)
                return;

        own->sink = __atomic_load_n(&logger.sink, __ATOMIC_RELAXED);
        switch (log_push(own)) {
        case PUSH_DONE:
                own = NULL; /* the thread's */
                break;
        case PUSH_FULL:
                log_count_dropped(1);
                break;
        case PUSH_ALONE:
                log_write(own, LOG_PATIENCE);
                break;
        }
}

/* Under the lock, on its thread: sleeps until there is something to do. */
static void
log_sleep(void)
{
        gint64 due = MIN(log_limit_get_due(), log_get_tap_due());
        const struct timespec until = {
                .tv_sec = due / G_USEC_PER_SEC,
                .tv_nsec = due % G_USEC_PER_SEC * 1000,
        };

        logger.sleeping = true;
        if (due == G_MAXINT64)
                pthread_cond_wait(&logger.wanted, &logger.lock);
        else
                pthread_cond_clockwait(&logger.wanted, &logger.lock, CLOCK_MONOTONIC, &until);
        logger.sleeping = false;
}

/* Under the lock, on its thread: lets a batch come together. A record alone costs two changes of
 * threads, here and at the journal, which is more than all else about it. */
static void
log_gather(void)
{
        gint64 due = g_get_monotonic_time() + LOG_GATHER;
        const struct timespec until = {
                .tv_sec = due / G_USEC_PER_SEC,
                .tv_nsec = due % G_USEC_PER_SEC * 1000,
        };
        int result = 0;

        while (result == 0 && !logger.stopping && logger.queue.n < LOG_BATCH)
                result = pthread_cond_clockwait(&logger.wanted, &logger.lock, CLOCK_MONOTONIC,
                                                &until);
}

/* Logs how many records were one too many of their subjects, where the time for that has come, or
 * with @all in any case. */
static void
log_push_counts(bool all)
{
        LogRecord *record;

        while ((record = log_limit_take_count(g_get_monotonic_time(), all)))
                log_take(record, log_is_wanted(record));
}

void
log_flush_counts(void)
{
        log_push_counts(true);
        log_tap_dropped(true);
}

static void *
log_run(void *unused)
{
        LogQueue *queue = &logger.queue;
        bool ends = false;

        pthread_mutex_lock(&logger.lock);
        while (!ends) {
                LogRecord *records;
                bool has_room;

                if (!queue->first && !logger.stopping)
                        log_sleep();
                if (queue->first)
                        log_gather();
                ends = !queue->first && logger.stopping;
                records = queue_take(queue);
                pthread_mutex_unlock(&logger.lock);

                log_write(records, -1);

                pthread_mutex_lock(&logger.lock);
                queue_release(queue, records);
                has_room = queue->n <= LOG_MAX_RECORDS / 2;
                pthread_mutex_unlock(&logger.lock);

                log_record_unref_all(records);
                log_push_counts(ends);
                if (has_room)
                        log_report_dropped();
                log_tap_dropped(false);

                pthread_mutex_lock(&logger.lock);
                if (queue->n == 0)
                        pthread_cond_broadcast(&logger.drained);
                else
                        ends = false; /* some came while there was no lock */
        }
        __atomic_store_n(&logger.running, false, __ATOMIC_RELAXED);
        pthread_cond_broadcast(&logger.drained);
        pthread_mutex_unlock(&logger.lock);

        return NULL;
}

/* Under the lock: waits until all is written, or with @stopping until the thread has ended. */
static void
log_wait(bool stopping)
{
        gint64 due = g_get_monotonic_time() + LOG_PATIENCE;
        const struct timespec until = {
                .tv_sec = due / G_USEC_PER_SEC,
                .tv_nsec = due % G_USEC_PER_SEC * 1000,
        };
        int result = 0;

        while (result == 0 && logger.running && (stopping || logger.queue.n > 0))
                result = pthread_cond_clockwait(&logger.drained, &logger.lock, CLOCK_MONOTONIC,
                                                &until);
}

/* The process is about to abort: what led to this goes out first, and then the reason, on stderr
 * in any case. */
static void
log_write_fatal(LogRecord *record)
{
        g_autoptr(LogRecord) own = record;

        pthread_mutex_lock(&logger.lock);
        if (logger.running && !pthread_equal(pthread_self(), logger.thread))
                log_wait(false);
        pthread_mutex_unlock(&logger.lock);

        own->sink = __atomic_load_n(&logger.sink, __ATOMIC_RELAXED);
        if (own->sink == LOG_SINK_JOURNAL && log_journal_send(own, 1, LOG_PATIENCE) == 1 &&
            log_journal_has_stderr())
                return;

        own->sink = LOG_SINK_CONSOLE;
        log_write(own, LOG_PATIENCE);
}

/* True for one record too many of its subject. */
static bool
log_note_limit(LogLimitResult result)
{
        switch (result) {
        case LOG_LIMIT_PASSES:
                return false;
        case LOG_LIMIT_COUNTED:
                return true;
        case LOG_LIMIT_BEGINS:
                break;
        }

        /* The thread may sleep longer than until the end of that interval. */
        pthread_mutex_lock(&logger.lock);
        if (logger.sleeping) {
                logger.sleeping = false;
                pthread_cond_signal(&logger.wanted);
        }
        pthread_mutex_unlock(&logger.lock);

        return true;
}

/* Only the thread can tell of a count. */
static bool
log_has_thread(void)
{
        return __atomic_load_n(&logger.running, __ATOMIC_RELAXED);
}

static GLogWriterOutput
log_writer(GLogLevelFlags level, const GLogField *fields, gsize n_fields, void *unused)
{
        bool is_fatal = level & (G_LOG_FLAG_FATAL | G_LOG_FLAG_RECURSION | G_LOG_LEVEL_ERROR);
        LogRecord *record;

        if (!is_fatal && !log_is_enabled(level))
                return G_LOG_WRITER_HANDLED;
        if (!is_fatal && log_has_thread() &&
            log_note_limit(log_limit_take_event(level, fields, n_fields, g_get_monotonic_time())))
                return G_LOG_WRITER_HANDLED;

        record = log_record_new(level, fields, n_fields);
        if (!record)
                log_count_dropped(1);
        else if (is_fatal)
                log_write_fatal(record);
        else
                log_take(record, log_is_wanted(record));

        return G_LOG_WRITER_HANDLED;
}

bool
log_is_repeated(GLogLevelFlags level, const GLogField *fields, size_t n_fields)
{
        return log_has_thread() &&
               log_note_limit(log_limit_take(level, fields, n_fields, g_get_monotonic_time()));
}

static void G_GNUC_PRINTF(4, 0) log_fields_list(GLogLevelFlags level,
                                                const GLogField *fields,
                                                size_t n_fields,
                                                const char *format,
                                                va_list arguments)
{
        GLogField all[16];
        char message[1024];
        size_t n = MIN(n_fields, G_N_ELEMENTS(all) - 2);

        g_vsnprintf(message, sizeof(message), format, arguments);
        memcpy(all, fields, n * sizeof(GLogField));
        all[n++] = (GLogField){ "GLIB_DOMAIN", G_LOG_DOMAIN, -1 };
        all[n++] = (GLogField){ "MESSAGE", message, -1 };
        g_log_structured_array(level, all, n);
}

void
log_fields(GLogLevelFlags level, const GLogField *fields, size_t n_fields, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        log_fields_list(level, fields, n_fields, format, arguments);
        va_end(arguments);
}

void
log_event(GLogLevelFlags level,
          const char *id,
          const char *key,
          const char *value,
          const char *format,
          ...)
{
        const GLogField fields[] = { { "MESSAGE_ID", id, -1 }, { key, value, -1 } };
        va_list arguments;

        va_start(arguments, format);
        log_fields_list(level, fields, key ? 2 : 1, format, arguments);
        va_end(arguments);
}

void
log_debug_always(const GLogField *fields, size_t n_fields)
{
        LogRecord *record = log_record_new(G_LOG_LEVEL_DEBUG, fields, n_fields);

        if (record)
                log_take(record, true);
        else
                log_count_dropped(1);
}

void
log_start(void)
{
        sigset_t all, old;
        int result;

        /* localtime_r() need not. */
        tzset();
        log_configure(LOG_TARGET_AUTO, G_LOG_LEVEL_INFO);

        /* Signals are for the threads that know what to do with them. The lock: a fatal record may
         * ask who the thread is before pthread_create() has said so. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        pthread_mutex_lock(&logger.lock);
        result = pthread_create(&logger.thread, NULL, log_run, NULL);
        __atomic_store_n(&logger.running, result == 0, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&logger.lock);
        pthread_sigmask(SIG_SETMASK, &old, NULL);

        g_log_set_writer_func(log_writer, NULL, NULL);
        if (result == 0)
                pthread_setname_np(logger.thread, "log");
        else
                g_warning("The log goes without a thread of its own: %s", g_strerror(result));
}

void
log_configure(LogTarget target, GLogLevelFlags level)
{
        LogSink sink = LOG_SINK_CONSOLE;

        switch (target) {
        case LOG_TARGET_AUTO:
                sink = log_journal_has_stderr() ? LOG_SINK_JOURNAL : LOG_SINK_CONSOLE;
                break;
        case LOG_TARGET_JOURNAL:
                sink = LOG_SINK_JOURNAL;
                break;
        case LOG_TARGET_CONSOLE:
                break;
        }

        __atomic_store_n(&logger.sink, (int)sink, __ATOMIC_RELAXED);
        __atomic_store_n(&logger.level, (int)level, __ATOMIC_RELAXED);
}

void
log_set_sessions(LogSessions sessions)
{
        __atomic_store_n(&logger.sessions, (int)sessions, __ATOMIC_RELAXED);
}

void
log_set_tap(LogTap func, void *data, GLogLevelFlags level)
{
        pthread_mutex_lock(&logger.tap_lock);
        if (!logger.tap)
                logger.tapped = log_get_dropped(); /* what it wasn't there for */
        logger.tap = func;
        logger.tap_data = data;
        __atomic_store_n(&logger.tap_level, func ? (int)level : 0, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&logger.tap_lock);
}

void
log_stop(void)
{
        bool is_first;

        pthread_mutex_lock(&logger.lock);
        if (!logger.running) {
                pthread_mutex_unlock(&logger.lock);
                return;
        }
        logger.stopping = true;
        logger.sleeping = false;
        pthread_cond_signal(&logger.wanted);
        log_wait(true);
        is_first = !logger.detached;
        logger.detached |= logger.running;
        pthread_mutex_unlock(&logger.lock);

        /* A thread that still waits for its sink is left to it until the process ends. */
        if (is_first && !logger.detached)
                pthread_join(logger.thread, NULL);
        else if (is_first)
                pthread_detach(logger.thread);
}

bool
log_is_enabled(GLogLevelFlags level)
{
        return (int)(level & G_LOG_LEVEL_MASK) <=
                       __atomic_load_n(&logger.level, __ATOMIC_RELAXED) ||
               log_taps(level);
}

guint64
log_get_dropped(void)
{
        return __atomic_load_n(&logger.dropped, __ATOMIC_RELAXED);
}
