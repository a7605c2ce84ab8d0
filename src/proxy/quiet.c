/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A deadline isn't moved at each event; when it comes too early, it is set anew.
 */

#include "proxy/quiet.h"

gint64
quiet_get_left(gint64 limit, gint64 since, gint64 now)
{
        return limit == G_MAXINT64 ? G_MAXINT64 : MAX(limit - (now - since), 0);
}

gint64
quiet_get_limit(const RouteSettings *route, bool awaits_command, gint64 active, gint64 now)
{
        gint64 think = route->think_timeout;

        if (awaits_command)
                think = quiet_get_left(think, active, now);

        return MIN(quiet_get_left(route->idle_timeout, active, now), think);
}

const char *
quiet_get_fault(const RouteSettings *route, bool awaits_command, gint64 active, gint64 now)
{
        if (quiet_get_left(route->idle_timeout, active, now) == 0)
                return "IDLE";
        if (awaits_command && quiet_get_left(route->think_timeout, active, now) == 0)
                return "THINK";

        return NULL;
}
