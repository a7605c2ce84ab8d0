/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/*
 * What comes from a peer, made harmless for every sink: a record is one line of plain UTF-8,
 * whatever stands in it.
 */

/* Appends @n bytes to @text. Whatever could end the line, steer a terminal, turn the direction of
 * what follows or not be seen, and what is not UTF-8, becomes \xNN. */
void log_text_append(GString *text, const char *bytes, size_t n);

/* True for a byte that is a harmless character all by itself. */
static inline bool
log_text_is_plain(char c)
{
        return c >= ' ' && c <= '~';
}

/* The length of the character that @bytes, of which there are @n > 0, begin with; *@is_harmless
 * tells whether it may stand as it is. What is no character has the length 1. */
size_t log_text_measure(const char *bytes, size_t n, bool *is_harmless);
