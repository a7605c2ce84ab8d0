/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GKeyFile stops at the first line it does not understand, knows no line numbers, and merges groups
 * and keys that stand twice. So every file is walked line by line first. What is wrong is reported
 * with its line and left out; GKeyFile then gets the rest, line for line, and gives the values with
 * their escapes undone.
 */

#include "daemon/settings-lines.h"

#include <stdbool.h>
#include <string.h>

#define BYTE_ORDER_MARK "\xef\xbb\xbf"

typedef struct Walk {
        SettingsLines *lines;
        GPtrArray *problems;
        GHashTable *seen; /* "GROUP" and "GROUP\nKEY" to the number of its line */
        GString *clean;   /* for GKeyFile */
        unsigned number;
        bool is_in_group;  /* a header came, be it a bad one */
        const char *group; /* NULL: none, or its header is bad */
} Walk;

static void walk_error(Walk *walk, const char *key, const char *format, ...) G_GNUC_PRINTF(3, 4);

static void
walk_error(Walk *walk, const char *key, const char *format, ...)
{
        SettingsPlace place = { walk->lines->name, walk->number, walk->group, key };
        g_autofree char *message = NULL;
        va_list arguments;

        va_start(arguments, format);
        message = g_strdup_vprintf(format, arguments);
        va_end(arguments);

        settings_problem_error(walk->problems, &place, "%s", message);
}

/* The line on which @id stood before; 0 when this is the first time. */
static unsigned
walk_see(Walk *walk, const char *id)
{
        unsigned before = GPOINTER_TO_UINT(g_hash_table_lookup(walk->seen, id));

        if (before == 0)
                g_hash_table_insert(walk->seen, g_strdup(id), GUINT_TO_POINTER(walk->number));

        return before;
}

static void
walk_add(Walk *walk, const char *key, const char *value)
{
        SettingsLine line = {
                .file = walk->lines,
                .number = walk->number,
                .group = walk->group,
                .key = key,
                .value = value,
        };

        g_array_append_val(walk->lines->lines, line);
}

static void
walk_header(Walk *walk, const char *text)
{
        size_t length = strlen(text);
        g_autofree char *title = NULL;
        unsigned before;

        walk->is_in_group = true;
        walk->group = NULL;

        if (text[length - 1] != ']') {
                walk_error(walk, NULL, "The group's name '%s' does not end with ']'", text);
                return;
        }

        title = g_strndup(text + 1, length - 2);
        for (const char *p = title; *p; p++) {
                if (*p == '[' || *p == ']' || g_ascii_iscntrl(*p)) {
                        walk_error(walk, NULL, "A bracket or control byte in the name '%s'", title);
                        return;
                }
        }
        if (!*title) {
                walk_error(walk, NULL, "A group without a name");
                return;
        }

        walk->group = g_string_chunk_insert(walk->lines->texts, title);
        before = walk_see(walk, title);
        if (before > 0)
                walk_error(walk, NULL, "The group stands twice in this file: it begins in line %u",
                           before);

        walk_add(walk, NULL, NULL);
        g_string_append(walk->clean, text);
}

static bool
is_key_name(const char *text)
{
        while (g_ascii_isalnum(*text) || *text == '-')
                text++;

        return !*text;
}

static void
walk_key(Walk *walk, const char *text)
{
        const char *equals = strchr(text, '=');
        g_autofree char *key = NULL, *id = NULL;
        unsigned before;

        if (*text == ';') {
                walk_error(walk, NULL, "A comment begins with '#', not with ';'");
                return;
        }
        if (!equals) {
                walk_error(walk, NULL, "'%s' is neither KEY=VALUE nor [GROUP] nor a comment", text);
                return;
        }

        key = g_strchomp(g_strndup(text, (size_t)(equals - text)));
        if (!*key || !is_key_name(key)) {
                walk_error(walk, NULL, "'%s' before the '=' is not the name of a key", key);
                return;
        }
        if (!walk->is_in_group) {
                walk_error(walk, key,
                           "A key before any group: [Proxy] or another has to come first");
                return;
        }
        if (!walk->group)
                return; /* its header has been complained about */

        id = g_strdup_printf("%s\n%s", walk->group, key);
        before = walk_see(walk, id);
        if (before > 0)
                walk_error(walk, key, "The key stands twice in this group: line %u has it too",
                           before);

        walk_add(walk, g_string_chunk_insert(walk->lines->texts, key),
                 g_string_chunk_insert(walk->lines->texts,
                                       equals + 1 + strspn(equals + 1, " \t\v\f\r")));
        g_string_append(walk->clean, text);
}

static void
walk_line(Walk *walk, const char *text, size_t length)
{
        g_autofree char *line = NULL;

        if (memchr(text, '\0', length)) {
                walk_error(walk, NULL, "The line has a NUL byte in it");
                return;
        }
        if (!g_utf8_validate(text, (gssize)length, NULL)) {
                walk_error(walk, NULL, "The line is not valid UTF-8");
                return;
        }

        line = g_strstrip(g_strndup(text, length));
        if (walk->number == 1 && g_str_has_prefix(line, BYTE_ORDER_MARK)) {
                walk_error(walk, NULL, "The file begins with a byte order mark: save it without");
                return;
        }

        if (!*line || *line == '#')
                return;
        if (*line == '[')
                walk_header(walk, line);
        else
                walk_key(walk, line);
}

SettingsLines *
settings_lines_new(const char *name, const char *text, size_t length, GPtrArray *problems)
{
        SettingsLines *lines = g_new0(SettingsLines, 1);
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GString) clean = g_string_new(NULL);
        Walk walk = { .lines = lines, .problems = problems, .seen = seen, .clean = clean };
        g_autoptr(GError) error = NULL;

        lines->name = g_strdup(name);
        lines->key_file = g_key_file_new();
        lines->lines = g_array_new(FALSE, FALSE, sizeof(SettingsLine));
        lines->texts = g_string_chunk_new(4096);

        while (length > 0) {
                const char *end = memchr(text, '\n', length);
                size_t n = end ? (size_t)(end - text) : length;

                walk.number++;
                walk_line(&walk, text, n);
                g_string_append_c(clean, '\n');

                n += end ? 1 : 0;
                text += n;
                length -= n;
        }

        if (!g_key_file_load_from_data(lines->key_file, clean->str, clean->len, G_KEY_FILE_NONE,
                                       &error)) {
                walk.number = 0;
                walk.group = NULL;
                walk_error(&walk, NULL, "%s", error->message);
        }

        return lines;
}

void
settings_lines_free(SettingsLines *lines)
{
        if (!lines)
                return;

        g_free(lines->name);
        g_key_file_unref(lines->key_file);
        g_array_unref(lines->lines);
        g_string_chunk_free(lines->texts);
        g_free(lines);
}

SettingsPlace
settings_line_get_place(const SettingsLine *line)
{
        return (SettingsPlace){ line->file->name, line->number, line->group, line->key };
}
