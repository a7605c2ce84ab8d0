/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <stdbool.h>

#include <glib.h>

/* The command line of agitator(8). */

typedef enum OptionsAction {
        OPTIONS_RUN,
        OPTIONS_CHECK_CONFIG,
        OPTIONS_DUMP_CONFIG,
        OPTIONS_VERSION,
} OptionsAction;

typedef struct Options {
        OptionsAction action;
        char *config; /* NULL: the default place, or the embedded default when nothing is there */
} Options;

/* False and a GError on a mistake; --help prints and exits. */
bool options_parse(Options *options, int *argc, char ***argv, GError **error);
void options_clear(Options *options);
