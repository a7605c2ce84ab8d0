/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tap of the log is on the threads of the sessions. What it does there is to take a lock that
 * nobody holds for long, put a pointer into a queue, and if the thread sleeps, wake it, which it
 * then lets a moment pass before it looks: records that come one by one are sent together, and a
 * session costs no wake-up of its own.
 */

#include "daemon/syslog.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "daemon/syslog-target.h"

#define GATHER (10 * G_TIME_SPAN_MILLISECOND)

struct Syslog {
        pthread_mutex_t lock; /* of these: */
        GPtrArray *targets;   /* of SyslogTarget: those in force */
        GPtrArray *leaving;   /* ... and those that are to end */
        bool is_woken;
        bool is_stopping;

        Loop *loop;
        BufferPool *pool;
        Deadline gather;
        pthread_t thread;
        bool has_thread;
};

typedef void (*TargetFunc)(SyslogTarget *target);

/* A target never goes but in after_turn(), so a copy of the list does. */
static void
syslog_call(Syslog *syslog, TargetFunc func)
{
        g_autoptr(GPtrArray) targets = NULL;

        pthread_mutex_lock(&syslog->lock);
        targets = g_ptr_array_copy(syslog->targets, NULL, NULL);
        pthread_mutex_unlock(&syslog->lock);

        g_ptr_array_set_free_func(targets, NULL);
        for (unsigned i = 0; i < targets->len; i++)
                func(targets->pdata[i]);
}

static void
syslog_on_gathered(void *data)
{
        Syslog *syslog = data;

        pthread_mutex_lock(&syslog->lock);
        syslog->is_woken = false;
        pthread_mutex_unlock(&syslog->lock);

        syslog_call(syslog, syslog_target_wake);
}

static void
syslog_on_wake(void *data)
{
        Syslog *syslog = data;

        deadline_start(&syslog->gather, syslog->loop, GATHER, syslog_on_gathered, syslog);
}

static void
syslog_tap(void *data, LogRecord *record)
{
        Syslog *syslog = data;
        bool wake = false;

        pthread_mutex_lock(&syslog->lock);
        for (unsigned i = 0; i < syslog->targets->len; i++)
                wake |= syslog_target_offer(syslog->targets->pdata[i], record);
        wake = wake && !syslog->is_woken;
        syslog->is_woken |= wake;
        pthread_mutex_unlock(&syslog->lock);

        if (wake)
                loop_post(syslog->loop, syslog_on_wake, syslog);
}

/* Frees the targets that have come to their end. */
static void
syslog_after_turn(void *data)
{
        Syslog *syslog = data;
        bool is_done;

        pthread_mutex_lock(&syslog->lock);
        for (unsigned i = syslog->leaving->len; i-- > 0;)
                if (syslog_target_is_over(syslog->leaving->pdata[i]))
                        g_ptr_array_remove_index(syslog->leaving, i);
        is_done = syslog->is_stopping && syslog->leaving->len == 0;
        pthread_mutex_unlock(&syslog->lock);

        if (is_done)
                loop_quit(syslog->loop);
}

static void
syslog_on_configured(void *data)
{
        Syslog *syslog = data;
        g_autoptr(GPtrArray) leaving = NULL;

        pthread_mutex_lock(&syslog->lock);
        leaving = g_ptr_array_copy(syslog->leaving, NULL, NULL);
        pthread_mutex_unlock(&syslog->lock);
        g_ptr_array_set_free_func(leaving, NULL);

        for (unsigned i = 0; i < leaving->len; i++)
                syslog_target_end(leaving->pdata[i], SYSLOG_PATIENCE);
        syslog_call(syslog, syslog_target_update);
}

static void
target_destroy(void *data)
{
        syslog_target_free(data);
}

Syslog *
syslog_new(void)
{
        Syslog *syslog = g_new0(Syslog, 1);

        pthread_mutex_init(&syslog->lock, NULL);
        syslog->targets = g_ptr_array_new_with_free_func(target_destroy);
        syslog->leaving = g_ptr_array_new_with_free_func(target_destroy);
        syslog->loop = loop_new(syslog_after_turn, syslog);
        syslog->pool = buffer_pool_new();

        return syslog;
}

static void *
syslog_run(void *data)
{
        Syslog *syslog = data;

        loop_run(syslog->loop);

        return NULL;
}

/* False when there can be no thread. */
static bool
syslog_start(Syslog *syslog)
{
        sigset_t all, old;
        int result;

        if (syslog->has_thread)
                return true;

        /* Signals are for the threads that know what to do with them. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        result = pthread_create(&syslog->thread, NULL, syslog_run, syslog);
        pthread_sigmask(SIG_SETMASK, &old, NULL);

        if (result != 0) {
                g_warning("No log server is sent anything: %s", g_strerror(result));
                return false;
        }
        pthread_setname_np(syslog->thread, "syslog");
        syslog->has_thread = true;

        return true;
}

/* With the lock: takes the target of that name out of the list; NULL when there is none. */
static SyslogTarget *
syslog_steal(Syslog *syslog, const char *name)
{
        for (unsigned i = 0; i < syslog->targets->len; i++)
                if (strcmp(syslog_target_get_name(syslog->targets->pdata[i]), name) == 0)
                        return g_ptr_array_steal_index(syslog->targets, i);

        return NULL;
}

void
syslog_configure(Syslog *syslog, Settings *settings)
{
        g_autoptr(GPtrArray) targets = g_ptr_array_new_with_free_func(target_destroy);
        GLogLevelFlags level = 0;

        if (settings->syslogs->len > 0 && !syslog_start(syslog))
                return;
        if (!syslog->has_thread)
                return;

        pthread_mutex_lock(&syslog->lock);
        for (unsigned i = 0; i < settings->syslogs->len; i++) {
                const SyslogSettings *own = settings->syslogs->pdata[i];
                SyslogTarget *target = syslog_steal(syslog, own->name);

                if (target)
                        syslog_target_set(target, settings, own);
                else
                        target = syslog_target_new(&syslog->lock, syslog->loop, syslog->pool,
                                                   settings, own);
                g_ptr_array_add(targets, target);
                level = MAX(level, own->level);
        }
        g_ptr_array_extend_and_steal(syslog->leaving, g_steal_pointer(&syslog->targets));
        syslog->targets = g_steal_pointer(&targets);
        pthread_mutex_unlock(&syslog->lock);

        loop_post(syslog->loop, syslog_on_configured, syslog);
        log_set_tap(level ? syslog_tap : NULL, syslog, level);
}

static void
syslog_on_stop(void *data)
{
        Syslog *syslog = data;

        pthread_mutex_lock(&syslog->lock);
        syslog->is_stopping = true;
        pthread_mutex_unlock(&syslog->lock);
}

void
syslog_free(Syslog *syslog)
{
        if (!syslog)
                return;

        if (syslog->has_thread) {
                log_flush_counts();
                log_set_tap(NULL, NULL, 0);
                pthread_mutex_lock(&syslog->lock);
                g_ptr_array_extend_and_steal(syslog->leaving, g_steal_pointer(&syslog->targets));
                syslog->targets = g_ptr_array_new_with_free_func(target_destroy);
                pthread_mutex_unlock(&syslog->lock);
                loop_post(syslog->loop, syslog_on_configured, syslog);
                loop_post(syslog->loop, syslog_on_stop, syslog);
                pthread_join(syslog->thread, NULL);
        }

        deadline_stop(&syslog->gather);
        g_ptr_array_unref(syslog->targets);
        g_ptr_array_unref(syslog->leaving);
        loop_free(syslog->loop);
        buffer_pool_free(syslog->pool);
        pthread_mutex_destroy(&syslog->lock);
        g_free(syslog);
}
