/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include <glib.h>

#include "base/buffer.h"
#include "base/log-record.h"
#include "base/loop.h"
#include "proxy/settings.h"

/*
 * One log server: what waits for it, and the way there.
 */

typedef struct SyslogTarget SyslogTarget;

/* For @own of @settings, a reference to which is taken. @lock is held by whoever calls what says so
 * below. All the rest happens on @loop's thread, from syslog_target_update() on. */
SyslogTarget *syslog_target_new(pthread_mutex_t *lock,
                                Loop *loop,
                                BufferPool *pool,
                                Settings *settings,
                                const SyslogSettings *own);

/* With its loop's thread gone, or on it. Whoever waits is dropped without a word. */
void syslog_target_free(SyslogTarget *target);

/* With the lock. */

const char *syslog_target_get_name(const SyslogTarget *target);

/* Other settings for the same server; what waits goes on waiting. To be followed by
 * syslog_target_update() on the loop's thread. */
void syslog_target_set(SyslogTarget *target, Settings *settings, const SyslogSettings *own);

/* Has @record wait, if it is wanted and there is room. True when the target is asleep, and is to be
 * woken by syslog_target_wake() on the loop's thread. */
bool syslog_target_offer(SyslogTarget *target, LogRecord *record);

/* On the loop's thread, without the lock. */

/* The settings are new. */
void syslog_target_update(SyslogTarget *target);

/* Something waits. */
void syslog_target_wake(SyslogTarget *target);

/* Sends what waits, for @patience at the most, and ends the connection. */
void syslog_target_end(SyslogTarget *target, gint64 patience);

/* True when that is done, well or not. */
bool syslog_target_is_over(const SyslogTarget *target);
