/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <string.h>

#include "daemon/options.h"

/* Splits @line at blanks and parses it; the caller clears @options. */
static bool
parse(Options *options, const char *line, GError **error)
{
        g_auto(GStrv) all = g_strsplit(line, " ", -1);
        /* Parsing moves the pointers about, and frees none. */
        g_autofree char **argv = g_memdup2(all, (g_strv_length(all) + 1) * sizeof(char *));
        char **arguments = argv;
        int argc = (int)g_strv_length(all);

        return options_parse(options, &argc, &arguments, error);
}

static void
assert_action(const char *line, OptionsAction action, const char *config)
{
        g_autoptr(GError) error = NULL;
        Options options;

        g_assert_true(parse(&options, line, &error));
        g_assert_no_error(error);
        g_assert_cmpint(options.action, ==, action);
        g_assert_cmpstr(options.config, ==, config);
        options_clear(&options);
        g_assert_null(options.config);
}

static void
assert_refused(const char *line, const char *message)
{
        g_autoptr(GError) error = NULL;
        Options options;

        g_assert_false(parse(&options, line, &error));
        g_assert_nonnull(error);
        g_assert_nonnull(strstr(error->message, message));
}

static void
test_nothing_runs(void)
{
        assert_action("agitator", OPTIONS_RUN, NULL);
        assert_action("agitator --", OPTIONS_RUN, NULL);
}

static void
test_config(void)
{
        assert_action("agitator --config=/a/b.conf", OPTIONS_RUN, "/a/b.conf");
        assert_action("agitator --config /a/b.conf", OPTIONS_RUN, "/a/b.conf");
        assert_action("agitator -c b.conf", OPTIONS_RUN, "b.conf");
        assert_action("agitator -c a.conf -c b.conf", OPTIONS_RUN, "b.conf");
}

static void
test_actions(void)
{
        assert_action("agitator --check-config", OPTIONS_CHECK_CONFIG, NULL);
        assert_action("agitator --dump-config -c x", OPTIONS_DUMP_CONFIG, "x");
        assert_action("agitator --version", OPTIONS_VERSION, NULL);
}

static void
test_one_action_only(void)
{
        assert_refused("agitator --check-config --dump-config", "Only one of");
        assert_refused("agitator --check-config --version", "Only one of");
}

static void
test_arguments_are_refused(void)
{
        assert_refused("agitator /etc/agitator.conf", "Unexpected argument '/etc/agitator.conf'");
        assert_refused("agitator -- --version", "Unexpected argument '--version'");
}

static void
test_unknown_option_is_refused(void)
{
        assert_refused("agitator --conf=x", "--conf=x");
        assert_refused("agitator -d", "-d");
}

static void
test_config_needs_a_name(void)
{
        assert_refused("agitator --config", "--config");
        assert_refused("agitator --config=", "empty");
}

/* --help ends the process, so it is asked of another one: this program, which main() sends there.
 */
static void
test_help(const void *program)
{
        char *arguments[] = { (char *)program, (char *)"--help", NULL };
        g_autofree char *output = NULL;
        g_autoptr(GError) error = NULL;
        int status = -1;

        g_spawn_sync(NULL, arguments, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, NULL, &status,
                     &error);
        g_assert_no_error(error);
        g_assert_cmpint(status, ==, 0);
        g_assert_true(g_pattern_match_simple(
                "*--config=FILE*--check-config*--dump-config*--version*", output));
        g_assert_true(g_pattern_match_simple("*HUP*TERM*agitator.conf*agitator(8)*", output));
}

int
main(int argc, char **argv)
{
        Options options;

        if (argc == 2 && strcmp(argv[1], "--help") == 0)
                return options_parse(&options, &argc, &argv, NULL) ? 1 : 2;

        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/options/nothing-runs", test_nothing_runs);
        g_test_add_func("/options/config", test_config);
        g_test_add_func("/options/actions", test_actions);
        g_test_add_func("/options/one-action-only", test_one_action_only);
        g_test_add_func("/options/arguments-are-refused", test_arguments_are_refused);
        g_test_add_func("/options/unknown-option-is-refused", test_unknown_option_is_refused);
        g_test_add_func("/options/config-needs-a-name", test_config_needs_a_name);
        g_test_add_data_func("/options/help", argv[0], test_help);

        return g_test_run();
}
