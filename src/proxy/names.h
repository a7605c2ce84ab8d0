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
 * finished; refs them. */
Names *names_new(Settings *settings, gint64 limit, NamesFunc first_done, void *data);

/* Right before the settings come into force: a server that has no good answer of its own goes on
 * with what one of the same name and host has in @old, those in force until now; NULL: none. */
void names_inherit(Names *names, const Settings *old);

/* Ends it; @first_done is not called any more. NULL is fine. */
void names_free(Names *names);
