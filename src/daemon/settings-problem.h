/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <stdbool.h>

#include <glib.h>

/* One mistake in the configuration, or one oddity. Control bytes in its texts are escaped. */
typedef struct SettingsProblem {
        bool is_error;  /* else a warning */
        bool is_guess;  /* a warning of what only the running process can know: it isn't logged */
        bool is_expiry; /* a warning of a certificate's end: a kind of record of its own */
        char *file; /* as opened; "(built in)" for the embedded default; NULL when none is to blame
                     */
        unsigned line;     /* 0 when no line is to blame */
        char *group, *key; /* NULL when none is to blame */
        char *message;     /* what is wrong, and what would be right */
} SettingsProblem;

/* Where in the files something stands; borrows all. */
typedef struct SettingsPlace {
        const char *file;
        unsigned line;
        const char *group, *key;
} SettingsPlace;

/* A list of them. */
GPtrArray *settings_problems_new(void);

/* Each of them as a record of its own, but for guesses. */
void settings_problems_log(const GPtrArray *problems);

/* What they have against the settings, in a line: the first error, and how many there are. Freed by
 * the caller. */
char *settings_problems_summarise(const GPtrArray *problems);

void settings_problem_free(SettingsProblem *problem);

/* Adds an error (or a warning, or a warning that is a guess, or one of a certificate's end) about
 * @place to @problems. */
void settings_problem_error(GPtrArray *problems,
                            const SettingsPlace *place,
                            const char *format,
                            ...) G_GNUC_PRINTF(3, 4);
void settings_problem_warning(GPtrArray *problems,
                              const SettingsPlace *place,
                              const char *format,
                              ...) G_GNUC_PRINTF(3, 4);

void settings_problem_guess(GPtrArray *problems,
                            const SettingsPlace *place,
                            const char *format,
                            ...) G_GNUC_PRINTF(3, 4);
void settings_problem_expiry(GPtrArray *problems,
                             const SettingsPlace *place,
                             const char *format,
                             ...) G_GNUC_PRINTF(3, 4);

/* "FILE:LINE: [GROUP] KEY=: MESSAGE", as far as they are known. */
char *settings_problem_print(const SettingsProblem *problem);
