/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A message quotes what it complains about, so whatever a file contains could reach a terminal or a
 * log line: control bytes are escaped once, here. Everything else is valid UTF-8 by then.
 */

#include "daemon/settings-problem.h"

#include "base/log-id.h"

static char *
escape(const char *text)
{
        GString *escaped;

        if (!text)
                return NULL;

        escaped = g_string_new(NULL);
        for (; *text; text++)
                if (g_ascii_iscntrl(*text))
                        g_string_append_printf(escaped, "\\x%02x", (unsigned char)*text);
                else
                        g_string_append_c(escaped, *text);

        return g_string_free(escaped, FALSE);
}

static void
problem_destroy(void *data)
{
        settings_problem_free(data);
}

GPtrArray *
settings_problems_new(void)
{
        return g_ptr_array_new_with_free_func(problem_destroy);
}

void
settings_problem_free(SettingsProblem *problem)
{
        if (!problem)
                return;

        g_free(problem->file);
        g_free(problem->group);
        g_free(problem->key);
        g_free(problem->message);
        g_free(problem);
}

static G_GNUC_PRINTF(4, 0) void problem_add(GPtrArray *problems,
                                            bool is_error,
                                            const SettingsPlace *place,
                                            const char *format,
                                            va_list arguments)
{
        SettingsProblem *problem = g_new0(SettingsProblem, 1);
        g_autofree char *message = g_strdup_vprintf(format, arguments);

        problem->is_error = is_error;
        problem->file = escape(place->file);
        problem->line = place->line;
        problem->group = escape(place->group);
        problem->key = escape(place->key);
        problem->message = escape(message);
        g_ptr_array_add(problems, problem);
}

void
settings_problem_error(GPtrArray *problems, const SettingsPlace *place, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        problem_add(problems, true, place, format, arguments);
        va_end(arguments);
}

void
settings_problem_warning(GPtrArray *problems, const SettingsPlace *place, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        problem_add(problems, false, place, format, arguments);
        va_end(arguments);
}

void
settings_problem_guess(GPtrArray *problems, const SettingsPlace *place, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        problem_add(problems, false, place, format, arguments);
        va_end(arguments);
        ((SettingsProblem *)problems->pdata[problems->len - 1])->is_guess = true;
}

void
settings_problem_expiry(GPtrArray *problems, const SettingsPlace *place, const char *format, ...)
{
        va_list arguments;

        va_start(arguments, format);
        problem_add(problems, false, place, format, arguments);
        va_end(arguments);
        ((SettingsProblem *)problems->pdata[problems->len - 1])->is_expiry = true;
}

char *
settings_problem_print(const SettingsProblem *problem)
{
        GString *text = g_string_new(problem->file);

        if (problem->line > 0)
                g_string_append_printf(text, ":%u", problem->line);
        if (problem->file)
                g_string_append(text, ": ");
        if (problem->group)
                g_string_append_printf(text, "[%s]%s", problem->group, problem->key ? " " : ": ");
        if (problem->key)
                g_string_append_printf(text, "%s=: ", problem->key);
        g_string_append(text, problem->message);

        return g_string_free(text, FALSE);
}

static const char *
problem_get_log_id(const SettingsProblem *problem)
{
        if (problem->is_error)
                return LOG_ID_RELOAD_FAILED;

        return problem->is_expiry ? LOG_ID_CERTIFICATE : LOG_ID_CONFIG_WARNING;
}

void
settings_problems_log(const GPtrArray *problems)
{
        for (unsigned i = 0; i < problems->len; i++) {
                const SettingsProblem *problem = problems->pdata[i];
                g_autofree char *text = settings_problem_print(problem);
                g_autofree char *line = g_strdup_printf("%u", problem->line);

                if (problem->is_guess)
                        continue;
                /* The fields that systemd has for a place in a configuration. */
                g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID",
                                 problem_get_log_id(problem), "CONFIG_FILE", problem->file,
                                 "CONFIG_LINE", line, "MESSAGE", "%s%s",
                                 problem->is_error ? "" : "warning: ", text);
        }
}

char *
settings_problems_summarise(const GPtrArray *problems)
{
        const SettingsProblem *first = NULL;
        g_autofree char *text = NULL;
        unsigned n = 0;

        for (unsigned i = 0; i < problems->len; i++) {
                const SettingsProblem *problem = problems->pdata[i];

                if (problem->is_error && n++ == 0)
                        first = problem;
        }
        if (!first)
                return g_strdup("the configuration could not be read");

        text = settings_problem_print(first);
        if (n == 1)
                return g_steal_pointer(&text);

        return g_strdup_printf("%s (and %u more)", text, n - 1);
}
