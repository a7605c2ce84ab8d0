/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * From files to Settings in four steps, each of which goes on after a problem so that all of them
 * are seen at once: files to lines (settings-lines), lines to groups (settings-groups), values to
 * fields (settings-keys and settings-values), and what only shows in the whole (settings-check).
 */

#include "daemon/settings-file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <gio/gio.h>

#include "base/fd.h"
#include "daemon/settings-check.h"
#include "daemon/settings-groups.h"
#include "daemon/settings-keys.h"
#include "daemon/settings-lines.h"
#include "daemon/settings-tls.h"

#define DEFAULT_PLACE     SYSCONFDIR "/agitator/agitator.conf"
#define BUILT_IN_NAME     "(built in)"
#define BUILT_IN_RESOURCE "/org/agitator1/agitator.conf"
#define FILE_SIZE_MAX     (16 * 1024 * 1024)

/* In the source that is made from data/agitator.gresource.xml. */
extern GResource *agitator_get_resource(void);

/* All that reading takes; the settings borrow nothing from it. */
typedef struct Reading {
        GPtrArray *files; /* of SettingsLines: the main one and its drop-ins */
        GPtrArray *problems;
        SettingsGroups *groups;
        Settings *settings;
} Reading;

static void
lines_destroy(void *data)
{
        settings_lines_free(data);
}

static void
reading_init(Reading *reading)
{
        reading->files = g_ptr_array_new_with_free_func(lines_destroy);
        reading->problems = settings_problems_new();
        reading->groups = NULL;
        reading->settings = NULL;
}

static void
reading_clear(Reading *reading)
{
        settings_unref(reading->settings);
        settings_groups_free(reading->groups);
        g_ptr_array_unref(reading->problems);
        g_ptr_array_unref(reading->files);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Reading, reading_clear)

/* The bytes of a file; NULL with errno set. */
static GString *
file_get_bytes(const char *name)
{
        g_autoptr(GString) bytes = g_string_new(NULL);
        fd_auto int fd = open(name, O_RDONLY | O_CLOEXEC);
        char block[16 * 1024];
        ssize_t n;

        if (fd < 0)
                return NULL;

        while ((n = TEMP_FAILURE_RETRY(read(fd, block, sizeof(block)))) > 0) {
                if (bytes->len + (size_t)n > FILE_SIZE_MAX) {
                        errno = EFBIG;
                        return NULL;
                }
                g_string_append_len(bytes, block, n);
        }

        return n < 0 ? NULL : g_steal_pointer(&bytes);
}

static void
reading_add_text(Reading *reading, const char *name, const char *text, size_t length)
{
        g_ptr_array_add(reading->files, settings_lines_new(name, text, length, reading->problems));
}

static void
reading_add_built_in(Reading *reading)
{
        g_autoptr(GBytes) bytes = g_resource_lookup_data(agitator_get_resource(), BUILT_IN_RESOURCE,
                                                         G_RESOURCE_LOOKUP_FLAGS_NONE, NULL);
        size_t length;
        const char *text;

        g_assert(bytes);
        text = g_bytes_get_data(bytes, &length);
        reading_add_text(reading, BUILT_IN_NAME, text, length);
}

static void
reading_add_file(Reading *reading, const char *name, bool may_be_built_in)
{
        g_autoptr(GString) bytes = file_get_bytes(name);
        const SettingsPlace place = { .file = name };

        if (bytes)
                reading_add_text(reading, name, bytes->str, bytes->len);
        else if (may_be_built_in && errno == ENOENT)
                reading_add_built_in(reading);
        else
                settings_problem_error(reading->problems, &place, "The file can't be read: %s",
                                       g_strerror(errno));
}

static int
compare_names(const void *a, const void *b)
{
        return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
reading_add_drop_ins(Reading *reading, const char *main_name)
{
        g_autofree char *folder = g_strconcat(main_name, ".d", NULL);
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GError) error = NULL;
        g_autoptr(GDir) dir = g_dir_open(folder, 0, &error);
        const SettingsPlace place = { .file = folder };
        const char *name;

        if (!dir) {
                if (!g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
                        settings_problem_error(reading->problems, &place, "%s", error->message);
                return;
        }

        while ((name = g_dir_read_name(dir)))
                if (*name != '.' && g_str_has_suffix(name, ".conf"))
                        g_ptr_array_add(names, g_build_filename(folder, name, NULL));
        g_ptr_array_sort(names, compare_names);

        for (unsigned i = 0; i < names->len; i++)
                reading_add_file(reading, names->pdata[i], false);
}

/* Adds what the group is read into to the settings. */
static void *
reading_add_object(Reading *reading, const SettingsGroup *group)
{
        switch (group->kind->id) {
        case SETTINGS_PROXY:
        case SETTINGS_LOG:
                return reading->settings;
        case SETTINGS_LISTENER:
                return settings_add_listener(reading->settings, group->name);
        case SETTINGS_SERVER:
                return settings_add_server(reading->settings, group->name);
        case SETTINGS_ROUTE:
                return settings_add_route(reading->settings, group->name);
        case SETTINGS_ANSWER:
                return settings_add_answer(reading->settings, group->name);
        case SETTINGS_SYSLOG:
                return settings_add_syslog(reading->settings, group->name);
        }

        g_assert_not_reached();
}

/* [Proxy] is the first of all groups, so that the others can begin with what it says. */
static void
reading_read_groups(Reading *reading)
{
        for (unsigned i = 0; i < reading->groups->all->len; i++) {
                SettingsGroup *group = reading->groups->all->pdata[i];

                group->object = reading_add_object(reading, group);
                for (size_t j = 0; j < group->kind->n_keys; j++) {
                        const SettingsKey *key = &group->kind->keys[j];

                        if (group->values[j] && key->read)
                                key->read(group->values[j], key->allowed,
                                          (char *)group->object + key->offset, reading->problems);
                }
        }
}

/* In which order @name was read; what is no file of ours (a folder) comes last. */
static unsigned
reading_get_rank(const Reading *reading, const char *name)
{
        unsigned i = 0;

        while (i < reading->files->len &&
               strcmp(((SettingsLines *)reading->files->pdata[i])->name, name) != 0)
                i++;

        return i;
}

static int
compare_problems(const void *a, const void *b, void *data)
{
        const SettingsProblem *p = *(SettingsProblem *const *)a, *q = *(SettingsProblem *const *)b;
        unsigned rank_p = reading_get_rank(data, p->file), rank_q = reading_get_rank(data, q->file);

        if (rank_p != rank_q)
                return rank_p < rank_q ? -1 : 1;

        /* What no line is to blame for comes after the lines. */
        return p->line - 1 == q->line - 1 ? 0 : p->line - 1 < q->line - 1 ? -1 : 1;
}

/* True when no error was found. */
static bool
reading_hand_over_problems(Reading *reading, GPtrArray *problems)
{
        bool good = true;

        g_ptr_array_sort_with_data(reading->problems, compare_problems, reading);
        for (unsigned i = 0; i < reading->problems->len; i++)
                good &= !((SettingsProblem *)reading->problems->pdata[i])->is_error;

        g_ptr_array_extend_and_steal(problems, g_ptr_array_ref(reading->problems));
        return good;
}

/* Reads everything; false when there are errors among @problems. */
static bool
reading_run(Reading *reading, const char *name, bool may_be_built_in, GPtrArray *problems)
{
        const char *main_name;

        reading_add_file(reading, name, may_be_built_in);
        if (reading->files->len == 0)
                return reading_hand_over_problems(reading, problems);

        main_name = ((SettingsLines *)reading->files->pdata[0])->name;
        reading_add_drop_ins(reading, name);

        reading->settings = settings_new();
        reading->groups = settings_groups_new(reading->files, reading->problems);
        reading_read_groups(reading);
        settings_check(reading->settings, reading->groups, main_name, reading->problems);
        settings_tls_load(reading->groups, reading->problems);

        return reading_hand_over_problems(reading, problems);
}

/* Where the key's value comes from, and which it is. */
static void
dump_key(GString *text, const SettingsGroup *proxy, const SettingsGroup *group, size_t i)
{
        const SettingsKey *key = &group->kind->keys[i];
        const SettingsLine *line = group->values[i];

        if (!line && key->fallback == SETTINGS_INHERITED)
                line = settings_group_get_value(proxy, key->name);

        if (line)
                g_string_append_printf(text, "# %s:%u\n", line->file->name, line->number);
        else
                g_string_append(text, "# default\n");
        g_string_append_printf(text, "%s=%s\n", key->name,
                               line ? line->value : settings_key_get_fallback(key));
}

static char *
reading_dump(const Reading *reading)
{
        GString *text = g_string_new(NULL);
        const SettingsGroup *proxy = reading->groups->all->pdata[0];

        for (unsigned i = 0; i < reading->groups->all->len; i++) {
                const SettingsGroup *group = reading->groups->all->pdata[i];

                g_string_append_printf(text, "%s[%s]\n", i > 0 ? "\n" : "", group->title);
                for (size_t j = 0; j < group->kind->n_keys; j++)
                        dump_key(text, proxy, group, j);
        }

        return g_string_free(text, FALSE);
}

static Settings *
load(const char *name, bool may_be_built_in, GPtrArray *problems)
{
        g_auto(Reading) reading;

        reading_init(&reading);
        if (!reading_run(&reading, name, may_be_built_in, problems))
                return NULL;

        return g_steal_pointer(&reading.settings);
}

static char *
dump(const char *name, bool may_be_built_in, GPtrArray *problems)
{
        g_auto(Reading) reading;

        reading_init(&reading);
        if (!reading_run(&reading, name, may_be_built_in, problems))
                return NULL;

        return reading_dump(&reading);
}

Settings *
settings_file_load(const char *path, GPtrArray *problems)
{
        return load(path ? path : DEFAULT_PLACE, !path, problems);
}

Settings *
settings_file_load_default(const char *place, GPtrArray *problems)
{
        return load(place, true, problems);
}

char *
settings_file_dump(const char *path, GPtrArray *problems)
{
        return dump(path ? path : DEFAULT_PLACE, !path, problems);
}

char *
settings_file_dump_default(const char *place, GPtrArray *problems)
{
        return dump(place, true, problems);
}
