/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

#include "proxy/settings.h"

/* How long a session may be quiet: IdleTimeout= of both sides, ThinkTimeout= of a server that owes
 * the next command. */

/* What is left at @now of @limit, which counts from @since; G_MAXINT64 is endless. */
gint64 quiet_get_left(gint64 limit, gint64 since, gint64 now);

/* How long it may go on being quiet when something last happened at @active, or until it is worth
 * asking again. */
gint64 quiet_get_limit(const RouteSettings *route, bool awaits_command, gint64 active, gint64 now);

/* The word for what has been overstepped by @now; NULL: nothing. */
const char *quiet_get_fault(const RouteSettings *route,
                            bool awaits_command,
                            gint64 active,
                            gint64 now);
