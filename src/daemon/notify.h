/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include <glib.h>

/*
 * What the service manager is told (sd_notify(3)). Every function does nothing when there is none.
 */

/* Tells nothing from now on, or again: only the service's main process is listened to. */
void notify_set_silent(bool is_silent);

/* MAINPID=: @pid is the service's main process from now on, and this one is not. */
void notify_main_pid(pid_t pid);

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

/* STATUS=, printf style; sent only when it differs from the last one. Main thread. */
void notify_status(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Asks for @extension more microseconds before a stop or start is called failed. */
void notify_extend_timeout(gint64 extension);

/* WATCHDOG=1. */
void notify_watchdog(void);

/* How often notify_watchdog() should be called, in microseconds: half the time that the service
 * manager allows; 0 when it expects no call. */
gint64 notify_get_watchdog_interval(void);
