/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <glib.h>

#include "daemon/settings-groups.h"

/* A certificate is worth a warning when it ends within so many days. */
#define SETTINGS_TLS_DAYS 30

/* Loads the credentials of every listener and server with TLS=yes into its settings: files are read
 * once and anew with each load. What is wrong with them goes to @problems, and so does a
 * certificate near or past its end, as a warning. */
void settings_tls_load(const SettingsGroups *groups, GPtrArray *problems);

/* "ends in 7 days", "has ended 2 days ago"; NULL when @now isn't near @expires. Both are in seconds
 * since 1970. */
char *settings_tls_describe_end(gint64 expires, gint64 now, gint64 *days);
