/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

#include "proxy/settings.h"

/* Certificates near their end, which an outage follows if nobody notices. */

/* How urgent it is that a certificate has @days left: 0 while it isn't, else a level of the log. */
GLogLevelFlags expiry_get_level(gint64 days);

/* Logs each certificate of @settings that is near or past its end at @now, in seconds since 1970.
 * Meant for once a day; each load of the settings warns by itself. */
void expiry_log(const Settings *settings, gint64 now);
