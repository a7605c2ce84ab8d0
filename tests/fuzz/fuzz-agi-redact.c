/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is a line. What is shown of it is compared with a model that looks at each byte for
 * itself; and what stands after a secret name is not to be found in what is shown.
 */
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include "agi/agi-redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const patterns[] = { "*pin*", "c?de", NULL };

static bool
is_word_byte(uint8_t c)
{
        return g_ascii_isalnum((char)c) || c == '_' || c == '-';
}

/* As the patterns above have it. */
static bool
is_secret_name(const char *name)
{
        g_autofree char *lower = g_ascii_strdown(name, -1);

        return strstr(lower, "pin") ||
               (strlen(lower) == 4 && lower[0] == 'c' && g_str_has_suffix(lower, "de"));
}

/* Where the first such word of the line ends; 0 when it has none. */
static size_t
find_secret(const uint8_t *line, size_t size)
{
        for (size_t from = 0, to; from < size; from = to + 1) {
                g_autofree char *word = NULL;

                for (to = from; to < size && is_word_byte(line[to]);)
                        to++;
                word = g_strndup((const char *)line + from, to - from);
                if (to > from && is_secret_name(word))
                        return to;
        }

        return 0;
}

static void
check_command(const char *line, size_t size)
{
        g_autoptr(GString) shown = g_string_new(NULL);
        size_t end = find_secret((const uint8_t *)line, size);
        bool hides = agi_redact_command(patterns, shown, line, size);

        g_assert_true(hides == (end > 0));
        if (!hides) {
                g_assert_cmpmem(shown->str, shown->len, line, size);
                return;
        }

        g_assert_cmpuint(shown->len, >=, end);
        g_assert_cmpmem(shown->str, end, line, end);
        if (shown->len != size)
                g_assert_cmpmem(shown->str + shown->len - 3, 3, "***", 3);
        for (size_t i = end + 1; i < shown->len; i++)
                g_assert_false(is_word_byte((uint8_t)shown->str[i]));
}

static void
check_others(const char *line, size_t size)
{
        g_autoptr(GString) reply = g_string_new(NULL), value = g_string_new(NULL),
                           whole = g_string_new(NULL), named = g_string_new(NULL);
        bool hides = false;

        agi_redact_reply(reply, line, size);
        agi_redact_value(NULL, whole, line, size);
        g_assert_cmpmem(whole->str, whole->len, line, size);
        agi_redact_value(patterns, value, line, size);
        agi_redact_environment(patterns, named, line, size, &hides);

        /* What it hides once, it finds no more of. */
        g_string_truncate(whole, 0);
        agi_redact_value(patterns, whole, value->str, value->len);
        g_assert_cmpmem(whole->str, whole->len, value->str, value->len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *exact = g_malloc(MAX(size, 1));

        memcpy(exact, data, size);
        check_command(exact, size);
        check_others(exact, size);

        return 0;
}
