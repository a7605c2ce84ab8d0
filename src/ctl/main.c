/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * agitatorctl: a table of verbs, a file for each. What stands before the verb is for the program,
 * what follows it for the verb.
 */

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <glib.h>
#include <glib/gi18n.h>

#include "base/fd.h"
#include "base/output.h"
#include "ctl/call.h"
#include "ctl/manage.h"

#define EXIT_USAGE 2

typedef struct Verb {
        const char *name;
        const char *summary;
        int (*run)(int argc, char **argv);
} Verb;

static int help_run(int argc, char **argv);

static const Verb verbs[] = {
        { "call", CALL_SUMMARY, call_run },
        { "reload", RELOAD_SUMMARY, manage_reload },
        { "upgrade", UPGRADE_SUMMARY, manage_upgrade },
        { "help", N_("explain a verb"), help_run },
};

static const Verb *
verb_find(const char *name)
{
        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++) {
                if (strcmp(verbs[i].name, name) == 0)
                        return &verbs[i];
        }

        return NULL;
}

static int
verb_run(const Verb *verb, int argc, char **argv)
{
        g_autofree char *name = g_strdup_printf("agitatorctl %s", verb->name);

        g_set_prgname(name); /* so that the verb's --help shows how it is called */
        return verb->run(argc, argv);
}

static int
verb_unknown(const char *name)
{
        fprintf(stderr, _("agitatorctl: there is no verb '%s'; see agitatorctl --help\n"), name);
        return EXIT_USAGE;
}

static GOptionContext *
main_context_new(gboolean *version)
{
        GOptionContext *context = g_option_context_new(_("VERB ..."));
        GString *summary = g_string_new(_("Verbs:"));
        const GOptionEntry entries[] = {
                { "version", 0, 0, G_OPTION_ARG_NONE, version, N_("Print the version"), NULL },
                { 0 },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(verbs); i++)
                g_string_append_printf(summary, "\n  %-8s %s", verbs[i].name, _(verbs[i].summary));

        g_option_context_set_summary(context, summary->str);
        g_option_context_set_description(context, _("'agitatorctl help VERB' explains a verb."));
        g_option_context_set_strict_posix(context, TRUE);
        g_option_context_add_main_entries(context, entries, GETTEXT_PACKAGE);
        g_string_free(summary, TRUE);
        return context;
}

static void
help_print(void)
{
        gboolean version = FALSE;
        g_autoptr(GOptionContext) context = NULL;
        g_autofree char *text = NULL;

        g_set_prgname("agitatorctl");
        context = main_context_new(&version);
        text = g_option_context_get_help(context, TRUE, NULL);
        fputs(text, stdout);
}

static int
help_run(int argc, char **argv)
{
        g_autofree char *option = g_strdup("--help");
        char *name = argc > 1 ? argv[1] : argv[0]; /* help itself when none is named */
        char *verb_argv[] = { name, option, NULL };
        const Verb *verb = verb_find(name);

        if (!verb)
                return verb_unknown(name);
        if (verb->run != help_run)
                return verb_run(verb, 2, verb_argv);

        help_print();
        return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
        g_autoptr(GOptionContext) context = NULL;
        g_autoptr(GError) error = NULL;
        gboolean version = FALSE;
        const Verb *verb;

        fd_open_standard();
        output_check_at_exit();
        setlocale(LC_ALL, ""); /* NOLINT(concurrency-mt-unsafe): there is no other thread yet */
        bindtextdomain(GETTEXT_PACKAGE, LOCALEDIR);
        bind_textdomain_codeset(GETTEXT_PACKAGE, "UTF-8");
        textdomain(GETTEXT_PACKAGE);
        g_set_prgname("agitatorctl");

        context = main_context_new(&version);
        if (!g_option_context_parse(context, &argc, &argv, &error)) {
                fprintf(stderr, "agitatorctl: %s\n", error->message);
                return EXIT_USAGE;
        }
        if (version) {
                printf("agitatorctl %s\n", PACKAGE_VERSION);
                return EXIT_SUCCESS;
        }
        if (argc < 2) {
                fprintf(stderr, _("agitatorctl: a verb is missing; see agitatorctl --help\n"));
                return EXIT_USAGE;
        }

        verb = verb_find(argv[1]);
        return verb ? verb_run(verb, argc - 1, argv + 1) : verb_unknown(argv[1]);
}
