/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/*
 * Secrets in what is logged of a session: the values of variables whose names match one of
 * @patterns become "***". A pattern has '*' for any characters and '?' for one; case does not
 * matter. @patterns end with NULL, and NULL for all of them hides nothing.
 *
 * In a command each word can be such a name, that of a variable, an application, a file to be
 * played: all that follows it is hidden, and so is what the reply says.
 */

/* Appends the command in @line, without its LF; true when its reply has to be hidden too. */
bool agi_redact_command(const char *const *patterns,
                        GString *text,
                        const char *line,
                        size_t length);

/* Appends a line of the client while the last command had such a word. */
void agi_redact_reply(GString *text, const char *line, size_t length);

/* Appends a line of the environment. *@hides is whether the line before was hidden, false at first:
 * a value may have line ends in it. */
void agi_redact_environment(const char *const *patterns,
                            GString *text,
                            const char *line,
                            size_t length,
                            bool *hides);

/* Appends a value in which NAME=VALUE may stand, as a URL has it. */
void agi_redact_value(const char *const *patterns, GString *text, const char *value, size_t length);
