/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What res_agi of Asterisk 22 does with a command, as far as a server can tell: words are found
 * whatever their case, the longest command that fits counts, too few or too many arguments give the
 * usage, and a channel that was hung up does only what its row says. Nothing is played or dialled:
 * the row says what a call would have answered in which the caller listens and presses no key.
 * Variables work, since servers build on them.
 */

#include "ctl/channel.h"

#include <stdarg.h>
#include <string.h>

#include <glib.h>

#include "agi/agi-dialogue.h"

#define REPLY_UNKNOWN "510 Invalid or unknown command\n"
#define REPLY_DEAD    "511 Command Not Permitted on a dead channel or intercept routine\n"
#define REPLY_OK      "200 result=0\n"
#define REPLY_DONE    "200 result=1\n"
#define REPLY_PLAYED  "200 result=0 endpos=8000\n"

/* Longer values are cut by GET VARIABLE, not by GET FULL VARIABLE. */
#define VARIABLE_MAX 1023

#define EXPRESSION_DEPTH 16

typedef struct EnvLine {
        char *name, *value;
} EnvLine;

struct Channel {
        GPtrArray *environment; /* of EnvLine */
        unsigned n_arguments;
        GHashTable *variables, *database;
        bool answered, hung_up, failed;
};

typedef char *(*CommandFunc)(Channel *channel, char **args);

typedef struct Command {
        const char *words;
        unsigned min, max; /* arguments after the words */
        bool when_dead;
        CommandFunc run; /* NULL: just the reply */
        const char *reply;
        const char *usage; /* the arguments, for people */
} Command;

static void
env_line_free(EnvLine *line)
{
        g_free(line->name);
        g_free(line->value);
        g_free(line);
}

static EnvLine *
channel_get_line(const Channel *channel, const char *name)
{
        for (size_t i = 0; i < channel->environment->len; i++) {
                EnvLine *line = g_ptr_array_index(channel->environment, i);

                if (strcmp(line->name, name) == 0)
                        return line;
        }

        return NULL;
}

void
channel_set_environment(Channel *channel, const char *name, const char *value)
{
        EnvLine *line = channel_get_line(channel, name);

        if (!line) {
                line = g_new0(EnvLine, 1);
                line->name = g_strdup(name);
                g_ptr_array_add(channel->environment, line);
        }
        g_free(line->value);
        line->value = g_strdup(value);
}

void
channel_add_argument(Channel *channel, const char *value)
{
        g_autofree char *name = g_strdup_printf("agi_arg_%u", ++channel->n_arguments);

        channel_set_environment(channel, name, value);
}

/* The text after the first '/' behind the authority, query and all. */
static const char *
url_get_script(const char *url)
{
        const char *authority = strstr(url, "://");
        const char *slash = authority ? strchr(authority + strlen("://"), '/') : NULL;

        return slash ? slash + 1 : "";
}

Channel *
channel_new(const char *url)
{
        static const char *const fixed[][2] = {
                { "agi_callerid", "5550100" }, { "agi_calleridname", "Alice Example" },
                { "agi_callingpres", "0" },    { "agi_callingani2", "0" },
                { "agi_callington", "0" },     { "agi_callingtns", "0" },
                { "agi_dnid", "unknown" },     { "agi_rdnis", "unknown" },
                { "agi_context", "default" },  { "agi_extension", "100" },
                { "agi_priority", "1" },       { "agi_enhanced", "0.0" },
                { "agi_accountcode", "" },     { "agi_threadid", "139637976524480" },
        };
        Channel *channel = g_new0(Channel, 1);
        g_autofree char *name = NULL, *uniqueid = NULL;
        guint32 number = g_random_int_range(1, 0x10000);

        channel->environment = g_ptr_array_new_with_free_func((GDestroyNotify)env_line_free);
        channel->variables = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        channel->database = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

        name = g_strdup_printf("PJSIP/agitatorctl-%08x", number);
        uniqueid = g_strdup_printf("%" G_GINT64_FORMAT ".%u", g_get_real_time() / G_USEC_PER_SEC,
                                   number);

        channel_set_environment(channel, "agi_network", "yes");
        if (*url_get_script(url))
                channel_set_environment(channel, "agi_network_script", url_get_script(url));
        channel_set_environment(channel, "agi_request", url);
        channel_set_environment(channel, "agi_channel", name);
        channel_set_environment(channel, "agi_language", "en");
        channel_set_environment(channel, "agi_type", "PJSIP");
        channel_set_environment(channel, "agi_uniqueid", uniqueid);
        channel_set_environment(channel, "agi_version", "22.10.1");
        for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++)
                channel_set_environment(channel, fixed[i][0], fixed[i][1]);

        return channel;
}

void
channel_free(Channel *channel)
{
        if (!channel)
                return;

        g_ptr_array_unref(channel->environment);
        g_hash_table_unref(channel->variables);
        g_hash_table_unref(channel->database);
        g_free(channel);
}

GStrv
channel_get_environment(const Channel *channel)
{
        GPtrArray *lines = g_ptr_array_new();

        for (size_t i = 0; i < channel->environment->len; i++) {
                const EnvLine *line = g_ptr_array_index(channel->environment, i);

                g_ptr_array_add(lines, g_strdup_printf("%s: %s", line->name, line->value));
        }
        g_ptr_array_add(lines, NULL);

        return (GStrv)g_ptr_array_free(lines, FALSE);
}

const char *
channel_get_variable(const Channel *channel, const char *name)
{
        /* What Asterisk computes when asked, and the environment has too. */
        static const char *const built_in[][2] = {
                { "CALLERID(num)", "agi_callerid" },
                { "CALLERID(number)", "agi_callerid" },
                { "CALLERID(name)", "agi_calleridname" },
                { "CHANNEL", "agi_channel" },
                { "CHANNEL(name)", "agi_channel" },
                { "CHANNEL(language)", "agi_language" },
                { "CHANNEL(channeltype)", "agi_type" },
                { "CHANNEL(accountcode)", "agi_accountcode" },
                { "UNIQUEID", "agi_uniqueid" },
                { "CONTEXT", "agi_context" },
                { "EXTEN", "agi_extension" },
                { "PRIORITY", "agi_priority" },
        };
        const char *value = g_hash_table_lookup(channel->variables, name);

        for (size_t i = 0; i < G_N_ELEMENTS(built_in) && !value; i++) {
                if (strcmp(built_in[i][0], name) == 0) {
                        const EnvLine *line = channel_get_line(channel, built_in[i][1]);

                        value = line ? line->value : NULL;
                }
        }

        return value && *value ? value : NULL;
}

/* Where the '}' stands that ends what begins at @text; NULL when none does. */
static const char *
expression_find_end(const char *text)
{
        unsigned depth = 1;

        for (; *text; text++) {
                if (text[0] == '$' && text[1] == '{')
                        depth++;
                else if (text[0] == '}' && --depth == 0)
                        return text;
        }

        return NULL;
}

/* @text with each ${NAME} replaced by its value; NAME may itself be made of such. */
static char *
channel_expand(const Channel *channel, const char *text, unsigned depth)
{
        GString *out = g_string_new(NULL);

        while (*text) {
                const char *end = NULL;

                if (text[0] == '$' && text[1] == '{' && depth > 0)
                        end = expression_find_end(text + 2);
                if (end) {
                        g_autofree char *inner = g_strndup(text + 2, end - text - 2);
                        g_autofree char *name = channel_expand(channel, inner, depth - 1);
                        const char *value = channel_get_variable(channel, name);

                        g_string_append(out, value ? value : "");
                        text = end + 1;
                } else {
                        g_string_append_c(out, *text++);
                }
        }

        return g_string_free(out, FALSE);
}

static char *
run_answer(Channel *channel, char **args)
{
        channel->answered = true;
        return g_strdup(REPLY_OK);
}

static char *
run_channel_status(Channel *channel, char **args)
{
        const char *own = channel_get_variable(channel, "CHANNEL");

        if (args[0] && g_strcmp0(args[0], own) != 0)
                return g_strdup("200 result=-1\n");

        return g_strdup(channel->answered ? "200 result=6\n" : "200 result=4\n");
}

static char *
database_key(char **args)
{
        return g_strdup_printf("/%s/%s", args[0], args[1] ? args[1] : "");
}

static char *
run_database_del(Channel *channel, char **args)
{
        g_autofree char *key = database_key(args);

        return g_strdup(g_hash_table_remove(channel->database, key) ? REPLY_DONE : REPLY_OK);
}

static gboolean
database_is_below(void *key, void *value, void *prefix)
{
        return g_str_has_prefix(key, prefix);
}

static char *
run_database_deltree(Channel *channel, char **args)
{
        g_autofree char *prefix = database_key(args);

        return g_strdup(g_hash_table_foreach_remove(channel->database, database_is_below, prefix) >
                                        0
                                ? REPLY_DONE
                                : REPLY_OK);
}

static char *
run_database_get(Channel *channel, char **args)
{
        g_autofree char *key = database_key(args);
        const char *value = g_hash_table_lookup(channel->database, key);

        return value ? g_strdup_printf("200 result=1 (%s)\n", value) : g_strdup(REPLY_OK);
}

static char *
run_database_put(Channel *channel, char **args)
{
        g_hash_table_replace(channel->database, database_key(args), g_strdup(args[2]));
        return g_strdup(REPLY_DONE);
}

static char *
run_get_variable(Channel *channel, char **args)
{
        const char *value = channel_get_variable(channel, args[0]);

        return value ? g_strdup_printf("200 result=1 (%.*s)\n", VARIABLE_MAX, value)
                     : g_strdup(REPLY_OK);
}

static char *
run_get_full_variable(Channel *channel, char **args)
{
        g_autofree char *value = channel_expand(channel, args[0], EXPRESSION_DEPTH);

        return *value ? g_strdup_printf("200 result=1 (%s)\n", value) : g_strdup(REPLY_OK);
}

static char *
run_hangup(Channel *channel, char **args)
{
        const char *own = channel_get_variable(channel, "CHANNEL");

        if (args[0] && g_strcmp0(args[0], own) != 0)
                return g_strdup("200 result=-1\n");

        channel->hung_up = true;
        return g_strdup(REPLY_DONE);
}

static char *
run_set_callerid(Channel *channel, char **args)
{
        channel_set_environment(channel, "agi_callerid", args[0]);
        return g_strdup(REPLY_DONE);
}

static char *
run_set_variable(Channel *channel, char **args)
{
        if (args[0] && args[1])
                g_hash_table_replace(channel->variables, g_strdup(args[0]), g_strdup(args[1]));

        return g_strdup(REPLY_DONE); /* no usage, whatever is missing: so does Asterisk */
}

#define MANY G_MAXUINT

/* clang-format off */
static const Command commands[] = {
        { "ANSWER", 0, MANY, false, run_answer, NULL, "" },
        { "ASYNCAGI BREAK", 0, 0, true, NULL, REPLY_OK, "" },
        { "CHANNEL STATUS", 0, 1, false, run_channel_status, NULL, "[CHANNEL]" },
        { "CONTROL STREAM FILE", 2, 7, false, NULL, REPLY_PLAYED, "FILE DIGITS [SKIP-MS [FFCHAR [REWCHAR [PAUSECHAR [OFFSET-MS]]]]]" },
        { "DATABASE DEL", 2, 2, true, run_database_del, NULL, "FAMILY KEY" },
        { "DATABASE DELTREE", 1, 2, true, run_database_deltree, NULL, "FAMILY [KEYTREE]" },
        { "DATABASE GET", 2, 2, true, run_database_get, NULL, "FAMILY KEY" },
        { "DATABASE PUT", 3, 3, true, run_database_put, NULL, "FAMILY KEY VALUE" },
        { "EXEC", 1, MANY, true, NULL, REPLY_OK, "APPLICATION [OPTIONS]" },
        { "GET DATA", 1, MANY, false, NULL, "200 result= (timeout)\n", "FILE [TIMEOUT-MS [DIGITS]]" },
        { "GET FULL VARIABLE", 1, 2, true, run_get_full_variable, NULL, "EXPRESSION [CHANNEL]" },
        { "GET OPTION", 2, 3, false, NULL, REPLY_PLAYED, "FILE DIGITS [TIMEOUT-MS]" },
        { "GET VARIABLE", 1, 1, true, run_get_variable, NULL, "NAME" },
        { "GOSUB", 3, 4, false, NULL, "100 result=0 Trying...\n200 result=0 Gosub complete\n", "CONTEXT EXTENSION PRIORITY [ARGUMENTS]" },
        { "HANGUP", 0, 1, false, run_hangup, NULL, "[CHANNEL]" },
        { "NOOP", 0, MANY, true, NULL, REPLY_OK, "[TEXT]" },
        { "RECEIVE CHAR", 1, 1, false, NULL, "200 result=0 (timeout)\n", "TIMEOUT-MS" },
        { "RECEIVE TEXT", 1, 1, false, NULL, "200 result=-1\n", "TIMEOUT-MS" },
        { "RECORD FILE", 4, 7, false, NULL, "200 result=0 (timeout) endpos=8000\n", "FILE FORMAT DIGITS TIMEOUT-MS [OFFSET] [BEEP] [s=SILENCE]" },
        { "SAY ALPHA", 2, 3, false, NULL, REPLY_OK, "TEXT DIGITS [CASE]" },
        { "SAY DATE", 2, 2, false, NULL, REPLY_OK, "TIME DIGITS" },
        { "SAY DATETIME", 2, 4, false, NULL, REPLY_OK, "TIME DIGITS [FORMAT [ZONE]]" },
        { "SAY DIGITS", 2, 2, false, NULL, REPLY_OK, "NUMBER DIGITS" },
        { "SAY NUMBER", 2, 3, false, NULL, REPLY_OK, "NUMBER DIGITS [GENDER]" },
        { "SAY PHONETIC", 2, 2, false, NULL, REPLY_OK, "TEXT DIGITS" },
        { "SAY TIME", 2, 2, false, NULL, REPLY_OK, "TIME DIGITS" },
        { "SEND IMAGE", 1, 1, false, NULL, REPLY_OK, "IMAGE" },
        { "SEND TEXT", 1, 1, false, NULL, REPLY_OK, "TEXT" },
        { "SET AUTOHANGUP", 1, 1, false, NULL, REPLY_OK, "SECONDS" },
        { "SET CALLERID", 1, 1, false, run_set_callerid, NULL, "NUMBER" },
        { "SET CONTEXT", 1, 1, false, NULL, REPLY_OK, "CONTEXT" },
        { "SET EXTENSION", 1, 1, false, NULL, REPLY_OK, "EXTENSION" },
        { "SET MUSIC", 1, 2, false, NULL, REPLY_OK, "on|off [CLASS]" },
        { "SET PRIORITY", 1, 1, false, NULL, REPLY_OK, "PRIORITY" },
        { "SET VARIABLE", 0, MANY, true, run_set_variable, NULL, "NAME VALUE" },
        { "SPEECH ACTIVATE GRAMMAR", 1, 1, false, NULL, REPLY_OK, "GRAMMAR" },
        { "SPEECH CREATE", 1, 1, false, NULL, REPLY_OK, "ENGINE" },
        { "SPEECH DEACTIVATE GRAMMAR", 1, 1, true, NULL, REPLY_OK, "GRAMMAR" },
        { "SPEECH DESTROY", 0, 0, true, NULL, REPLY_OK, "" },
        { "SPEECH LOAD GRAMMAR", 2, 2, false, NULL, REPLY_OK, "GRAMMAR PATH" },
        { "SPEECH RECOGNIZE", 2, 3, false, NULL, REPLY_OK, "PROMPT TIMEOUT-MS [OFFSET]" },
        { "SPEECH SET", 2, 2, false, NULL, REPLY_OK, "NAME VALUE" },
        { "SPEECH UNLOAD GRAMMAR", 1, 1, true, NULL, REPLY_OK, "GRAMMAR" },
        { "STREAM FILE", 2, 3, false, NULL, REPLY_PLAYED, "FILE DIGITS [OFFSET]" },
        { "TDD MODE", 1, 1, false, NULL, REPLY_OK, "on|off" },
        { "VERBOSE", 1, MANY, true, NULL, REPLY_DONE, "TEXT [LEVEL]" },
        { "WAIT FOR DIGIT", 1, 1, false, NULL, REPLY_OK, "TIMEOUT-MS" },
};

/* clang-format on */

/* How many of @args the command's words take; 0 when they differ. */
static unsigned
command_match(const Command *command, char **args)
{
        g_auto(GStrv) words = g_strsplit(command->words, " ", -1);
        unsigned n = 0;

        for (; words[n]; n++) {
                if (!args[n] || g_ascii_strcasecmp(words[n], args[n]) != 0)
                        return 0;
        }

        return n;
}

static const Command *
command_find(char **args, unsigned *n_words)
{
        const Command *found = NULL;

        *n_words = 0;
        for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
                unsigned n = command_match(&commands[i], args);

                if (n > *n_words) {
                        found = &commands[i];
                        *n_words = n;
                }
        }

        return found;
}

/* Cut at blanks; "..." keeps them, and a backslash the byte after it. */
static GStrv
command_split(const char *line)
{
        GPtrArray *args = g_ptr_array_new();
        g_autoptr(GString) word = g_string_new(NULL);
        bool quoted = false, begun = false;

        for (;; line++) {
                if (*line == '\0' || (!quoted && (*line == ' ' || *line == '\t'))) {
                        if (begun)
                                g_ptr_array_add(args, g_strdup(word->str));
                        g_string_truncate(word, 0);
                        begun = false;
                        if (*line == '\0')
                                break;
                } else if (*line == '"') {
                        quoted = !quoted;
                        begun = true; /* "" is an argument */
                } else {
                        if (*line == '\\' && line[1] != '\0')
                                line++;
                        g_string_append_c(word, *line);
                        begun = true;
                }
        }
        g_ptr_array_add(args, NULL);

        return (GStrv)g_ptr_array_free(args, FALSE);
}

char *
channel_execute(Channel *channel, const char *line, size_t length)
{
        g_autofree char *text = g_strndup(line, length);
        g_auto(GStrv) args = command_split(text);
        const Command *command;
        unsigned n_words, n_args;

        switch (agi_dialogue_classify(line, length)) {
        case AGI_LINE_FAILURE:
                channel->failed = true;
                return NULL;
        case AGI_LINE_SWALLOWED:
                return NULL;
        case AGI_LINE_COMMAND:
                break;
        }

        command = command_find(args, &n_words);
        if (!command)
                return g_strdup(REPLY_UNKNOWN);
        if (channel->hung_up && !command->when_dead)
                return g_strdup(REPLY_DEAD);

        n_args = g_strv_length(args) - n_words;
        if (n_args < command->min || n_args > command->max)
                return g_strdup_printf("520-Invalid command syntax.  Proper usage follows:\n"
                                       "Usage: %s %s\n"
                                       "520 End of proper usage.\n",
                                       command->words, command->usage);

        return command->run ? command->run(channel, args + n_words) : g_strdup(command->reply);
}

void
channel_hang_up(Channel *channel)
{
        channel->hung_up = true;
}

bool
channel_is_hung_up(const Channel *channel)
{
        return channel->hung_up;
}

bool
channel_has_failed(const Channel *channel)
{
        return channel->failed;
}

const char *
channel_get_status(const Channel *channel)
{
        if (channel->failed)
                return "FAILURE";

        return channel->hung_up ? "HANGUP" : "SUCCESS";
}
