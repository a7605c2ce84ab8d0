/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <glib.h>

#include "daemon/settings-problem.h"
#include "proxy/settings.h"

/*
 * The configuration files: agitator.conf and its drop-ins in agitator.conf.d, all that end in .conf
 * in file-name order, GKeyFile syntax, read strictly and reported completely.
 */

/* Reads @path and its drop-ins; NULL is the default place (/etc/agitator/agitator.conf), and when
 * nothing is there the embedded default, "(built in)", with the drop-ins of that place. Every
 * problem found goes to @problems (see settings_problems_new()), warnings too, in the order of
 * files and lines. NULL when one of them is an error. The result is complete but for
 * settings_finish(). */
Settings *settings_file_load(const char *path, GPtrArray *problems);

/* The same as text, a key file again: every group and key in force, each after a comment with where
 * it came from. NULL as above. */
char *settings_file_dump(const char *path, GPtrArray *problems);

/* Both as they are for NULL, with @place as the default place. */
Settings *settings_file_load_default(const char *place, GPtrArray *problems);
char *settings_file_dump_default(const char *place, GPtrArray *problems);
