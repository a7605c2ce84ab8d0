/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Few options on purpose: everything that can change while the daemon runs is in the configuration
 * file, where a reload finds it.
 */

#include "daemon/options.h"

#include <string.h>

#include <glib/gi18n.h>

static const char summary[] =
        N_("A reverse proxy and load balancer for FastAGI: reads the AGI environment that\n"
           "Asterisk sends, chooses a FastAGI server by the request's path, and relays.\n"
           "Without options it runs in the foreground, as a systemd service does.");

static const char description[] =
        N_("Signals:\n"
           "  HUP          Read the configuration again\n"
           "  USR2         Let the program that is installed by now take over, ending no call\n"
           "  TERM, INT    Stop when all sessions have ended, or after StopTimeout=;\n"
           "               the second one stops at once\n"
           "\n"
           "Files:\n"
           "  /etc/agitator/agitator.conf            Configuration; if it is not there a\n"
           "                                         built-in one, see --dump-config\n"
           "  /etc/agitator/agitator.conf.d/*.conf   Additions to it, later ones win\n"
           "\n"
           "See agitator(8) and agitator.conf(5).");

static bool set_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool
set_error(GError **error, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        g_propagate_error(error, g_error_new_valist(G_OPTION_ERROR, G_OPTION_ERROR_FAILED, format,
                                                    arguments));
        va_end(arguments);

        return false;
}

static bool
options_check(const Options *options, int argc, char **argv, unsigned n_actions, GError **error)
{
        /* GOption leaves a "--" in place. */
        if (argc > 1 && strcmp(argv[1], "--") == 0) {
                argc--;
                argv++;
        }

        if (argc > 1)
                return set_error(error, _("Unexpected argument '%s'"), argv[1]);
        if (n_actions > 1)
                return set_error(error,
                                 _("Only one of --check-config, --dump-config and --version can "
                                   "be given"));
        if (options->config && !*options->config)
                return set_error(error, _("The file name after --config is empty"));

        return true;
}

bool
options_parse(Options *options, int *argc, char ***argv, GError **error)
{
        gboolean check = FALSE, dump = FALSE, version = FALSE;
        g_autofree char *config = NULL;
        const GOptionEntry entries[] = {
                { "config", 'c', G_OPTION_FLAG_NONE, G_OPTION_ARG_FILENAME, &config,
                  N_("Read FILE, and FILE.d/*.conf, as configuration"), N_("FILE") },
                { "check-config", 0, G_OPTION_FLAG_NONE, G_OPTION_ARG_NONE, &check,
                  N_("Report every mistake in the configuration, and exit"), NULL },
                { "dump-config", 0, G_OPTION_FLAG_NONE, G_OPTION_ARG_NONE, &dump,
                  N_("Print every setting in force and where it is from, and exit"), NULL },
                { "version", 0, G_OPTION_FLAG_NONE, G_OPTION_ARG_NONE, &version,
                  N_("Print the version, and exit"), NULL },
                { NULL },
        };
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);

        *options = (Options){ .action = OPTIONS_RUN };

        g_option_context_set_translation_domain(context, GETTEXT_PACKAGE);
        g_option_context_set_summary(context, summary);
        g_option_context_set_description(context, description);
        g_option_context_add_main_entries(context, entries, GETTEXT_PACKAGE);
        if (!g_option_context_parse(context, argc, argv, error))
                return false;

        options->config = g_steal_pointer(&config);
        if (!options_check(options, *argc, *argv, (check > 0) + (dump > 0) + (version > 0),
                           error)) {
                options_clear(options);
                return false;
        }

        options->action = check     ? OPTIONS_CHECK_CONFIG
                          : dump    ? OPTIONS_DUMP_CONFIG
                          : version ? OPTIONS_VERSION
                                    : OPTIONS_RUN;
        return true;
}

void
options_clear(Options *options)
{
        g_clear_pointer(&options->config, g_free);
}
