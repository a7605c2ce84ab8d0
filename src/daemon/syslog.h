/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

#include "proxy/settings.h"

/*
 * Remote log servers: each [Syslog] group gets the records it wants, whatever becomes of the others
 * and of the journal. Whoever logs puts a record into bounded queues and goes; a thread of its own
 * does the rest and waits for nobody. With no such group there is neither.
 */

typedef struct Syslog Syslog;

Syslog *syslog_new(void);

/* Sends what waits, for SYSLOG_PATIENCE at the most, and ends the thread. NULL is fine. */
#define SYSLOG_PATIENCE (2 * G_TIME_SPAN_SECOND)
void syslog_free(Syslog *syslog);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Syslog, syslog_free)

/* Puts the [Syslog] groups of @settings into force, a reference to which is kept. One that was
 * there before keeps its queue, and its connection unless that has to lead elsewhere; what waits
 * for one that is gone is sent, for the same time at the most. */
void syslog_configure(Syslog *syslog, Settings *settings);
