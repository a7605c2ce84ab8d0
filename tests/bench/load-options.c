/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "load-options.h"

#include <err.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "endpoint.h"

static unsigned
number(const char *text)
{
        char *end;
        unsigned long value = strtoul(text, &end, 10);

        if (end == text || *end || value > 100000000)
                errx(2, "'%s' is not a number", text);

        return (unsigned)value;
}

static const struct option longs[] = {
        { "path", required_argument, NULL, 'p' },
        { "sessions", required_argument, NULL, 'n' },
        { "concurrency", required_argument, NULL, 'c' },
        { "rate", required_argument, NULL, 'r' },
        { "idle", required_argument, NULL, 'i' },
        { "idle-path", required_argument, NULL, 'I' },
        { "idle-pause", required_argument, NULL, 'P' },
        { "timeout", required_argument, NULL, 't' },
        { "tls", required_argument, NULL, 's' },
        { "tls-version", required_argument, NULL, 'v' },
        { "lines", no_argument, NULL, 'l' },
        { "wait", no_argument, NULL, 'w' },
        { NULL, 0, NULL, 0 },
};

void
load_options_parse(LoadOptions *options, int argc, char **argv)
{
        int option;

        while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
                switch (option) {
                case 'p':
                        options->path = optarg;
                        break;
                case 'n':
                        options->sessions = number(optarg);
                        break;
                case 'c':
                        options->concurrency = number(optarg);
                        break;
                case 'r':
                        options->rate = number(optarg);
                        break;
                case 'i':
                        options->idle = number(optarg);
                        break;
                case 'I':
                        options->idle_path = optarg;
                        break;
                case 'P':
                        options->idle_pause = number(optarg);
                        break;
                case 't':
                        options->timeout = number(optarg);
                        break;
                case 's':
                        options->tls = true;
                        options->resume = strcmp(optarg, "resumed") == 0;
                        break;
                case 'v':
                        options->tls_version = optarg;
                        break;
                case 'l':
                        options->lines = true;
                        break;
                case 'w':
                        options->wait = true;
                        break;
                default:
                        exit(2);
                }
        }
        if (optind != argc - 1)
                errx(2, "usage: %s [OPTION...] ADDRESS:PORT", argv[0]);
        options->authority = argv[optind];
        options->address = endpoint_parse(argv[optind]);
}
