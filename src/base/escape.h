/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * What may stand in a line of text as it is. Bytes come from anywhere: those that could end the
 * line, steer a terminal, turn the direction of what follows, or are not UTF-8 are to be written as
 * \xNN each.
 */

/* True for a byte that is a harmless character all by itself. */
static inline bool
escape_is_plain(char c)
{
        return c >= ' ' && c <= '~';
}

/* The length of the character that @bytes, of which there are @n > 0, begin with; *@is_harmless
 * tells whether it may stand as it is. What is no character has the length 1. */
size_t escape_measure(const char *bytes, size_t n, bool *is_harmless);
