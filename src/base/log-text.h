/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stddef.h>

#include <glib.h>

/*
 * What comes from a peer, made harmless for every sink: a record is one line of plain UTF-8,
 * whatever stands in it.
 */

/* Appends @n bytes to @text. Whatever could end the line, steer a terminal, turn the direction of
 * what follows or not be seen, and what is not UTF-8, becomes \xNN. */
void log_text_append(GString *text, const char *bytes, size_t n);
