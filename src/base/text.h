/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/*
 * Texts where a lack of memory must not end the process, which is what GLib's own functions do
 * about it: those of a session.
 */

/* A copy, to be freed with g_free(); NULL when @text is, or when there is no memory. */
char *text_copy(const char *text);

/* Printed, to be freed likewise; NULL when there is no memory. */
char *text_print(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* An empty string with room for @room bytes, in @text of the caller's, which is all zero at first:
 * as long as it gets no more, GLib needs no memory for it. False when there is none. */
bool text_open(GString *text, size_t room);

/* Appends as much as there is room for. */
void text_add(GString *text, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* All zero is fine. */
void text_close(GString *text);

/* A GString that is closed by itself. */
#define text_auto __attribute__((cleanup(text_close)))
