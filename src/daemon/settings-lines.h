/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <stddef.h>

#include <glib.h>

#include "daemon/settings-problem.h"

/* One key file, and which line each of its groups and keys stands on. */

typedef struct SettingsLines SettingsLines;

/* A group's header or a key. Valid as long as its file. */
typedef struct SettingsLine {
        const SettingsLines *file;
        unsigned number;
        const char *group; /* what stands in the brackets */
        const char *key;   /* NULL: the group's header */
        const char *value; /* as written, escapes and all */
} SettingsLine;

struct SettingsLines {
        char *name;
        GKeyFile *key_file; /* reads the values */
        GArray *lines;      /* of SettingsLine, in the order written */
        GStringChunk *texts;
};

/* Reads the @length bytes of @text; @name is for messages. What is no key file, and what GKeyFile
 * would merge in silence, goes to @problems; the rest is in the result. */
SettingsLines *settings_lines_new(const char *name,
                                  const char *text,
                                  size_t length,
                                  GPtrArray *problems);
void settings_lines_free(SettingsLines *lines); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SettingsLines, settings_lines_free)

SettingsPlace settings_line_get_place(const SettingsLine *line);
