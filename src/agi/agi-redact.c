/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which argument of which command has the secret is not known here, and applications have arguments
 * of their own; so it hides too much rather than too little.
 */

#include "agi/agi-redact.h"

#include <string.h>

#define HIDDEN "***"

static bool
is_word(char c)
{
        return g_ascii_isalnum(c) || c == '_' || c == '-';
}

/* Unlike strchr() it knows of no end but that of @set. */
static bool
is_one_of(char c, const char *set)
{
        return c && strchr(set, c);
}

/* True when all of @name matches @pattern. */
static bool
pattern_matches(const char *pattern, const char *name, size_t length)
{
        const char *end = name + length, *star = NULL, *star_name = NULL;

        while (name < end) {
                if (*pattern == '*') {
                        star = ++pattern;
                        star_name = name;
                } else if (*pattern == '?' ||
                           (*pattern && g_ascii_tolower(*pattern) == g_ascii_tolower(*name))) {
                        pattern++;
                        name++;
                } else if (star) {
                        /* The last '*' is for one character more. */
                        pattern = star;
                        name = ++star_name;
                } else {
                        return false;
                }
        }

        return pattern[strspn(pattern, "*")] == '\0';
}

static bool
is_secret(const char *const *patterns, const char *name, size_t length)
{
        for (size_t i = 0; patterns && patterns[i]; i++)
                if (pattern_matches(patterns[i], name, length))
                        return true;

        return false;
}

/* The end of the word at @from. */
static const char *
word_get_end(const char *from, const char *end)
{
        while (from < end && is_word(*from))
                from++;

        return from;
}

/* True when there is nothing in it but what closes something. */
static bool
is_empty(const char *text, const char *end)
{
        while (text < end && is_one_of(*text, " \"')}]\r"))
                text++;

        return text == end;
}

bool
agi_redact_command(const char *const *patterns, GString *text, const char *line, size_t length)
{
        const char *end = length > 0 ? line + length : line; /* nothing may be NULL */

        for (const char *at = line; at < end;) {
                const char *word_end = word_get_end(at, end);

                if (word_end > at && is_secret(patterns, at, (size_t)(word_end - at))) {
                        g_string_append_len(text, line, word_end - line);
                        if (is_empty(word_end, end)) {
                                g_string_append_len(text, word_end, end - word_end);
                        } else {
                                g_string_append_c(text, *word_end);
                                g_string_append(text, HIDDEN);
                        }
                        return true;
                }
                at = MAX(word_end, at + 1);
        }
        g_string_append_len(text, line, (gssize)length);

        return false;
}

static bool
begins_with_code(const char *line, size_t length)
{
        return length >= 3 && g_ascii_isdigit(line[0]) && g_ascii_isdigit(line[1]) &&
               g_ascii_isdigit(line[2]);
}

void
agi_redact_reply(GString *text, const char *line, size_t length)
{
        static const char result[] = "200 result=";
        size_t n = strlen(result), digits;

        if (length <= n || memcmp(line, result, n) != 0) {
                /* Other codes have no value; what has no code may be the rest of one. */
                bool is_plain = (begins_with_code(line, length) && line[0] != '2') ||
                                (length >= 6 && length <= 7 && memcmp(line, "HANGUP", 6) == 0);

                if (is_plain)
                        g_string_append_len(text, line, (gssize)length);
                else
                        g_string_append(text, HIDDEN);
                return;
        }

        /* Numbers that only say whether there is a value are no secret. */
        g_string_append(text, result);
        digits = line[n] == '-' ? 2 : 1;
        if (n + digits <= length && is_one_of(line[n + digits - 1], "01") &&
            (n + digits == length || line[n + digits] == ' ')) {
                g_string_append_len(text, line + n, (gssize)digits);
                n += digits;
                if (n < length)
                        g_string_append(text, " (" HIDDEN ")");
        } else {
                g_string_append(text, HIDDEN);
        }
}

void
agi_redact_value(const char *const *patterns, GString *text, const char *value, size_t length)
{
        const char *end = length > 0 ? value + length : value, *written = value;

        for (const char *at = value; at < end;) {
                const char *word_end = word_get_end(at, end);

                if (word_end > at && word_end < end && *word_end == '=' &&
                    is_secret(patterns, at, (size_t)(word_end - at))) {
                        const char *rest = word_end + 1;

                        while (rest < end && !is_one_of(*rest, "&;,#|\" "))
                                rest++;
                        g_string_append_len(text, written, word_end + 1 - written);
                        g_string_append(text, HIDDEN);
                        written = rest;
                        at = rest;
                } else {
                        at = MAX(word_end, at + 1);
                }
        }
        g_string_append_len(text, written, end - written);
}

void
agi_redact_environment(const char *const *patterns,
                       GString *text,
                       const char *line,
                       size_t length,
                       bool *hides)
{
        const char *colon = memchr(line, ':', length);

        /* "agi_arg_1: 1234" */
        if (colon) {
                size_t name = (size_t)(colon - line);

                *hides = is_secret(patterns, line, name);
                if (*hides && length > name + 1) {
                        g_string_append_len(text, line, (gssize)name);
                        g_string_append(text, ": " HIDDEN);
                        return;
                }
        } else if (*hides) {
                g_string_append(text, HIDDEN);
                return;
        }

        agi_redact_value(patterns, text, line, length);
}
