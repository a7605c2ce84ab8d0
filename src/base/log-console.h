/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

/* stderr as a sink: a readable line for each record. */

/* True when lines should have colours: stderr is a terminal and NO_COLOR is not set. */
bool log_console_has_colours(void);

/* Appends the line of a record that was logged at @time (g_get_real_time()): time of day, level,
 * session when the message does not name it, message. Whatever could end the line, steer a terminal
 * or is not UTF-8 becomes \xNN. */
void log_console_format(GString *text,
                        gint64 time,
                        GLogLevelFlags level,
                        const GLogField *fields,
                        size_t n_fields,
                        bool colours);

/* Writes @n bytes, in one piece if the kernel takes them so. Gives up after @patience microseconds
 * without room; a negative @patience is endless. False when not all was written. */
bool log_console_write(const char *text, size_t n, gint64 patience);
