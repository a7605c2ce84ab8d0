/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * agitator(8): start, run, exit status.
 */

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <glib/gi18n.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/output.h"
#include "daemon/daemon.h"
#include "daemon/options.h"
#include "daemon/settings-file.h"
#include "proxy/settings.h"

#define SERVICE_CREDENTIALS "/run/credentials/agitator.service"

/* Reads the configuration for a person to see: every problem to standard error, @text, if there is
 * any, to standard output. */
static int
report(const GPtrArray *problems, bool is_good, const char *text)
{
        for (unsigned i = 0; i < problems->len; i++) {
                const SettingsProblem *problem = problems->pdata[i];
                g_autofree char *line = settings_problem_print(problem);

                fprintf(stderr, "%s%s\n", problem->is_error ? "" : "warning: ", line);
        }
        if (!is_good)
                return DAEMON_EXIT_CONFIG;

        printf("%s", text);

        return EXIT_SUCCESS;
}

static int
check_config(const char *path)
{
        g_autoptr(GPtrArray) problems = settings_problems_new();
        g_autoptr(Settings) settings = settings_file_load(path, problems);

        return report(problems, settings != NULL, _("The configuration is good.\n"));
}

static int
dump_config(const char *path)
{
        g_autoptr(GPtrArray) problems = settings_problems_new();
        g_autofree char *text = settings_file_dump(path, problems);

        return report(problems, text != NULL, text);
}

/* Names without a '/' are systemd's credentials: a person means those that the service has. */
static void
find_credentials(void)
{
        if (access(SERVICE_CREDENTIALS, X_OK) == 0)
                g_setenv("CREDENTIALS_DIRECTORY", SERVICE_CREDENTIALS, false);
}

/* GLib keeps its words for each error once they were asked for, which takes memory the first time:
 * a shortage of that is no time to ask. */
static void
learn_errors(void)
{
        for (int error = 1; error <= EHWPOISON; error++)
                (void)g_strerror(error);
}

static int
run(const Options *options)
{
        int status = EXIT_FAILURE;

        switch (options->action) {
        case OPTIONS_RUN:
                /* The log is in English, also what the system says of errors. */
                /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is no other thread yet */
                setlocale(LC_MESSAGES, "C");
                learn_errors();
                log_start();
                status = daemon_run(options->config);
                log_stop();
                break;
        case OPTIONS_CHECK_CONFIG:
                find_credentials();
                status = check_config(options->config);
                break;
        case OPTIONS_DUMP_CONFIG:
                find_credentials();
                status = dump_config(options->config);
                break;
        case OPTIONS_VERSION:
                printf("agitator %s\n", PACKAGE_VERSION);
                status = EXIT_SUCCESS;
                break;
        }

        return status;
}

int
main(int argc, char **argv)
{
        Options options = { .action = OPTIONS_RUN };
        g_autoptr(GError) error = NULL;
        int status;

        fd_open_standard();
        output_check_at_exit();
        /* NOLINTBEGIN(concurrency-mt-unsafe): there is no other thread yet */
        setlocale(LC_ALL, "");
        setlocale(LC_NUMERIC, "C"); /* programs read the numbers, in the log too */
        /* NOLINTEND(concurrency-mt-unsafe) */
        bindtextdomain(GETTEXT_PACKAGE, LOCALEDIR);
        bind_textdomain_codeset(GETTEXT_PACKAGE, "UTF-8");
        textdomain(GETTEXT_PACKAGE);

        if (!options_parse(&options, &argc, &argv, &error)) {
                fprintf(stderr, "agitator: %s\n", error->message);
                return EXIT_FAILURE;
        }

        status = run(&options);
        options_clear(&options);

        return status;
}
