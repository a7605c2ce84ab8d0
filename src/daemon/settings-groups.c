/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A group is named by its kind and, unless there is only one of that kind, a blank and a name. It
 * may be spread over several files; each key is taken from the last of them that has it.
 */

#include "daemon/settings-groups.h"

#include <string.h>

#include "daemon/nearest.h"

#define NAME_LENGTH_MAX 64

static SettingsGroup *
group_new(const SettingsKind *kind, const char *title)
{
        SettingsGroup *group = g_new0(SettingsGroup, 1);

        group->kind = kind;
        group->title = g_strdup(title);
        group->name = kind->is_named ? group->title + strlen(kind->name) + 1 : "";
        group->place.group = group->title;
        group->values = g_new0(const SettingsLine *, kind->n_keys);

        return group;
}

static void
group_free(void *data)
{
        SettingsGroup *group = data;

        g_free(group->title);
        g_free(group->values);
        g_free(group);
}

static SettingsGroup *
groups_add(SettingsGroups *groups, const SettingsKind *kind, const char *title)
{
        SettingsGroup *group = group_new(kind, title);

        g_ptr_array_add(groups->all, group);
        g_hash_table_insert(groups->by_title, group->title, group);

        return group;
}

/* The kind whose name @title begins with; NULL: none. */
static const SettingsKind *
find_kind(const char *title)
{
        size_t length = strspn(title, G_CSET_a_2_z G_CSET_A_2_Z);

        for (SettingsKindId id = 0; id < SETTINGS_KINDS; id++) {
                const SettingsKind *kind = settings_kind_get(id);

                if (strlen(kind->name) == length && strncmp(kind->name, title, length) == 0)
                        return kind;
        }

        return NULL;
}

static void
report_unknown_group(const SettingsPlace *place, GPtrArray *problems)
{
        size_t length = strcspn(place->group, " \t");
        g_autofree char *word = g_strndup(place->group, length);
        const char *rest = place->group + length;
        const SettingsKind *kind;
        Nearest nearest;

        nearest_init(&nearest, word);
        for (SettingsKindId id = 0; id < SETTINGS_KINDS; id++)
                nearest_offer(&nearest, settings_kind_get(id)->name);

        if (!nearest.best) {
                settings_problem_error(problems, place,
                                       "Unknown group. There are [Proxy], [Log], [Listener NAME], "
                                       "[Server NAME], [Route NAME], [Answer NAME] and "
                                       "[Syslog NAME]");
                return;
        }

        kind = find_kind(nearest.best);
        g_assert(kind);
        settings_problem_error(problems, place, "Unknown group; did you mean [%s%s]?", nearest.best,
                               !kind->is_named ? ""
                               : *rest         ? rest
                                               : " NAME");
}

static bool
is_group_name(const char *name)
{
        size_t length = strspn(name, G_CSET_a_2_z G_CSET_A_2_Z G_CSET_DIGITS "._-");

        return length > 0 && length <= NAME_LENGTH_MAX && !name[length];
}

/* True when what follows the kind's name in @title is as it has to be. */
static bool
check_title(const SettingsKind *kind, const SettingsPlace *place, GPtrArray *problems)
{
        const char *rest = place->group + strlen(kind->name);

        if (!kind->is_named && *rest)
                settings_problem_error(problems, place, "This group has no name: write [%s]",
                                       kind->name);
        else if (kind->is_named && !*rest)
                settings_problem_error(problems, place, "The name is missing: write [%s NAME]",
                                       kind->name);
        else if (kind->is_named && (*rest != ' ' || !is_group_name(rest + 1)))
                settings_problem_error(problems, place,
                                       "Write [%s NAME]: one blank, and a name of letters, digits, "
                                       "'.', '_' and '-', at most %d of them",
                                       kind->name, NAME_LENGTH_MAX);
        else
                return true;

        return false;
}

/* The group that begins, or goes on, in @line; NULL after a problem. */
static SettingsGroup *
groups_take_header(SettingsGroups *groups, const SettingsLine *line, GPtrArray *problems)
{
        SettingsPlace place = settings_line_get_place(line);
        SettingsGroup *group = g_hash_table_lookup(groups->by_title, line->group);
        const SettingsKind *kind;

        if (!group) {
                kind = find_kind(line->group);
                if (!kind) {
                        report_unknown_group(&place, problems);
                        return NULL;
                }
                if (!check_title(kind, &place, problems))
                        return NULL;
                group = groups_add(groups, kind, line->group);
        }

        if (!group->place.file)
                group->place = place;

        return group;
}

static void
offer_keys(Nearest *nearest, const SettingsKind *kind)
{
        for (size_t i = 0; i < kind->n_keys; i++)
                nearest_offer(nearest, kind->keys[i].name);
}

static char *
list_keys(const SettingsKind *kind)
{
        GString *list = g_string_new(NULL);

        for (size_t i = 0; i < kind->n_keys; i++)
                g_string_append_printf(list, "%s%s=",
                                       i == 0                  ? ""
                                       : i == kind->n_keys - 1 ? " and "
                                                               : ", ",
                                       kind->keys[i].name);

        return g_string_free(list, FALSE);
}

static void
report_unknown_key(const SettingsGroup *group, const SettingsLine *line, GPtrArray *problems)
{
        SettingsPlace place = settings_line_get_place(line);
        const SettingsKind *owner = NULL;
        g_autofree char *keys = NULL;
        Nearest nearest;

        nearest_init(&nearest, line->key);
        offer_keys(&nearest, group->kind);
        if (nearest.best) {
                settings_problem_error(problems, &place, "Unknown key; did you mean %s=?",
                                       nearest.best);
                return;
        }

        for (SettingsKindId id = 0; id < SETTINGS_KINDS; id++) {
                const char *before = nearest.best;

                offer_keys(&nearest, settings_kind_get(id));
                if (nearest.best != before)
                        owner = settings_kind_get(id);
        }
        if (owner) {
                settings_problem_error(problems, &place, "Unknown key here: %s= belongs in [%s%s]",
                                       nearest.best, owner->name, owner->is_named ? " NAME" : "");
                return;
        }

        keys = list_keys(group->kind);
        settings_problem_error(problems, &place, "Unknown key. [%s] can have %s", group->title,
                               keys);
}

static void
groups_take_file(SettingsGroups *groups, const SettingsLines *file, GPtrArray *problems)
{
        SettingsGroup *group = NULL;

        for (unsigned i = 0; i < file->lines->len; i++) {
                const SettingsLine *line = &g_array_index(file->lines, SettingsLine, i);
                size_t key;

                if (!line->key) {
                        group = groups_take_header(groups, line, problems);
                        continue;
                }
                if (!group)
                        continue; /* its header has been complained about */

                key = settings_kind_find_key(group->kind, line->key);
                if (key < group->kind->n_keys)
                        group->values[key] = line;
                else
                        report_unknown_key(group, line, problems);
        }
}

SettingsGroups *
settings_groups_new(const GPtrArray *files, GPtrArray *problems)
{
        SettingsGroups *groups = g_new0(SettingsGroups, 1);

        groups->all = g_ptr_array_new_with_free_func(group_free);
        groups->by_title = g_hash_table_new(g_str_hash, g_str_equal);

        for (SettingsKindId id = 0; id < SETTINGS_KINDS; id++) {
                const SettingsKind *kind = settings_kind_get(id);

                if (!kind->is_named)
                        groups_add(groups, kind, kind->name);
        }

        for (unsigned i = 0; i < files->len; i++)
                groups_take_file(groups, files->pdata[i], problems);

        return groups;
}

void
settings_groups_free(SettingsGroups *groups)
{
        if (!groups)
                return;

        g_hash_table_unref(groups->by_title);
        g_ptr_array_unref(groups->all);
        g_free(groups);
}

SettingsGroup *
settings_groups_find(const SettingsGroups *groups, SettingsKindId kind, const char *name)
{
        g_autofree char *title = g_strdup_printf("%s %s", settings_kind_get(kind)->name, name);

        return g_hash_table_lookup(groups->by_title, title);
}

const char *
settings_groups_find_nearest(const SettingsGroups *groups, SettingsKindId kind, const char *name)
{
        Nearest nearest;

        nearest_init(&nearest, name);
        for (unsigned i = 0; i < groups->all->len; i++) {
                const SettingsGroup *group = groups->all->pdata[i];

                if (group->kind->id == kind)
                        nearest_offer(&nearest, group->name);
        }

        return nearest.best;
}

const SettingsLine *
settings_group_get_value(const SettingsGroup *group, const char *key)
{
        size_t i = settings_kind_find_key(group->kind, key);

        g_assert(i < group->kind->n_keys);
        return group->values[i];
}

SettingsPlace
settings_group_get_place(const SettingsGroup *group, const char *key)
{
        const SettingsLine *line = key ? settings_group_get_value(group, key) : NULL;
        SettingsPlace place = group->place;

        if (line)
                return settings_line_get_place(line);

        place.key = key;
        return place;
}
