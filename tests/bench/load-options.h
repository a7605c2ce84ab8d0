/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>

/* What bench-load is to do; the head of bench-load.c tells what comes of it. */
typedef struct LoadOptions {
        struct sockaddr_in address;
        const char *authority, *path, *idle_path, *tls_version;
        unsigned sessions, concurrency, idle, idle_pause, rate, timeout;
        bool lines, wait, tls, resume;
} LoadOptions;

/* Changes those that the command line names. Ends the program when it makes no sense. */
void load_options_parse(LoadOptions *options, int argc, char **argv);
