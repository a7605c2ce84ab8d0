/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include "daemon/settings-groups.h"
#include "proxy/settings.h"

/* What no key shows by itself: ties the routes in @settings to their servers and answers, and puts
 * into @problems what is missing, contradicts itself, leads nowhere or is of no use. Every group's
 * object has been read into @settings. @main_file is to blame for what is missing altogether. */
void settings_check(Settings *settings,
                    const SettingsGroups *groups,
                    const char *main_file,
                    GPtrArray *problems);
