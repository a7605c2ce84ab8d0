/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <stdbool.h>

#include <glib.h>

#include "daemon/settings-keys.h"
#include "daemon/settings-lines.h"

/* The groups of all key files together, each with the line that sets each of its keys. */

typedef struct SettingsGroup {
        const SettingsKind *kind;
        char *title;                 /* "Server ivr-1" */
        const char *name;            /* "ivr-1"; "" for [Proxy] and [Log] */
        SettingsPlace place;         /* where it begins; no file when it stands nowhere */
        const SettingsLine **values; /* for each key of its kind; NULL: not set */
        void *object;                /* the struct it was read into; set by settings-file */
        bool is_used;                /* another group refers to it; set by settings-check */
} SettingsGroup;

typedef struct SettingsGroups {
        GPtrArray *all; /* of SettingsGroup: [Proxy], [Log], the others in the order written */
        GHashTable *by_title; /* the same */
} SettingsGroups;

/* Puts @files (of SettingsLines, borrowed, later ones win) together. What there is no such group or
 * key for goes to @problems. */
SettingsGroups *settings_groups_new(const GPtrArray *files, GPtrArray *problems);
void settings_groups_free(SettingsGroups *groups); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SettingsGroups, settings_groups_free)

/* NULL when there is none of that name. */
SettingsGroup *settings_groups_find(const SettingsGroups *groups,
                                    SettingsKindId kind,
                                    const char *name);

/* The name of that kind that comes nearest to @name; NULL when none is near. */
const char *settings_groups_find_nearest(const SettingsGroups *groups,
                                         SettingsKindId kind,
                                         const char *name);

/* The line that sets the key; NULL when none does. @key is one of the group's kind. */
const SettingsLine *settings_group_get_value(const SettingsGroup *group, const char *key);

/* Where the key is set, else (and when @key is NULL) where the group begins. */
SettingsPlace settings_group_get_place(const SettingsGroup *group, const char *key);
