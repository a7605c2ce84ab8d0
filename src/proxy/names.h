/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

#include "proxy/settings.h"

/*
 * Keeps the addresses of all servers of one snapshot of the settings up to date: the literal ones,
 * and names by looking them up at the start and every ResolveInterval=. When a look-up fails, the
 * last good answer stays. Main thread; nothing here waits.
 */

typedef struct Names Names;

typedef void (*NamesFunc)(void *data);

/* Begins to look names up. @first_done is called once, from the main loop, when every name has been
 * looked up once, or after @limit microseconds, whichever comes first. @settings have been
 * finished; refs them. @old: those in force until now, whose addresses a server of the same name
 * and host begins with; NULL when there are none. */
Names *names_new(Settings *settings,
                 const Settings *old,
                 gint64 limit,
                 NamesFunc first_done,
                 void *data);

/* Ends it; @first_done is not called any more. NULL is fine. */
void names_free(Names *names);
