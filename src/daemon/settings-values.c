/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Strict on purpose: a value that is only nearly right is refused, since what it would be taken for
 * shows at the first call that goes wrong, and the message here is read before.
 */

#include "daemon/settings-values.h"

#include <string.h>

#include "daemon/nearest.h"
#include "net/address.h"
#include "proxy/settings.h"

#define DEFAULT_PORT       4573
#define LIST_BLANKS        " \t"
#define LIST_SEPARATORS    ";" LIST_BLANKS
#define COMMAND_LENGTH_MAX 2046 /* with its LF what older Asterisk takes as one line */

#define HOSTNAME_MAX 255 /* of RFC 5424 */

/* RFC 5426, what is in use for RFC 6587, and RFC 5425. */
static const struct {
        const char *prefix;
        SyslogTransport transport;
        uint16_t port;
} transports[] = {
        { "udp:", SYSLOG_UDP, 514 },
        { "tcp:", SYSLOG_TCP, 514 },
        { "tls:", SYSLOG_TLS, 6514 },
};

static const struct {
        const char *name;
        int64_t length;
} units[] = {
        { "ms", G_TIME_SPAN_MILLISECOND }, { "s", G_TIME_SPAN_SECOND },
        { "min", G_TIME_SPAN_MINUTE },     { "h", G_TIME_SPAN_HOUR },
        { "d", G_TIME_SPAN_DAY },
};

const SettingsWord settings_value_yes_no[] = {
        { "yes", true },  { "no", false }, { "true", true }, { "false", false }, { "on", true },
        { "off", false }, { "1", true },   { "0", false },   { NULL },
};

static void refuse(const SettingsLine *line, GPtrArray *problems, const char *format, ...)
        G_GNUC_PRINTF(3, 4);

static void
refuse(const SettingsLine *line, GPtrArray *problems, const char *format, ...)
{
        SettingsPlace place = settings_line_get_place(line);
        g_autofree char *message = NULL;
        va_list arguments;

        va_start(arguments, format);
        message = g_strdup_vprintf(format, arguments);
        va_end(arguments);

        settings_problem_error(problems, &place, "%s%s", message,
                               strchr(line->value, '#') ? " (a comment needs a line of its own)"
                                                        : "");
}

/* The value with its escapes undone; NULL after a problem. */
static char *
get_text(const SettingsLine *line, GPtrArray *problems)
{
        g_autoptr(GError) error = NULL;
        g_autofree char *text =
                g_key_file_get_string(line->file->key_file, line->group, line->key, &error);

        if (!error)
                return g_steal_pointer(&text);

        /* There may be a text even so. */
        refuse(line, problems,
               "A backslash that escapes nothing: write \\\\ for one, or \\s, \\t, \\n, \\r");
        return NULL;
}

GStrv
settings_value_get_list(const SettingsLine *line, GPtrArray *problems)
{
        g_autofree char *text = get_text(line, problems);
        g_autoptr(GPtrArray) items = NULL;

        if (!text)
                return NULL;

        items = g_ptr_array_new();
        for (const char *from = text; *from;) {
                size_t length = strcspn(from, g_str_has_prefix(from, "pkcs11:") ? LIST_BLANKS
                                                                                : LIST_SEPARATORS);

                if (length > 0)
                        g_ptr_array_add(items, g_strndup(from, length));
                from += length + (from[length] != '\0');
        }
        g_ptr_array_add(items, NULL);

        return (GStrv)g_ptr_array_free(g_steal_pointer(&items), FALSE);
}

void
settings_value_read_text(const SettingsLine *line,
                         const void *none,
                         void *field,
                         GPtrArray *problems)
{
        char *text = get_text(line, problems);

        if (text)
                *(char **)field = text;
}

void
settings_value_read_list(const SettingsLine *line,
                         const void *none,
                         void *field,
                         GPtrArray *problems)
{
        GStrv list = settings_value_get_list(line, problems);

        if (list)
                *(GStrv *)field = list;
}

void
settings_value_read_patterns(const SettingsLine *line,
                             const void *none,
                             void *field,
                             GPtrArray *problems)
{
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                      "0123456789_-*?";
        g_auto(GStrv) items = settings_value_get_list(line, problems);

        if (!items)
                return;

        for (size_t i = 0; items[i]; i++)
                if (items[i][strspn(items[i], allowed)] != '\0')
                        refuse(line, problems,
                               "'%s' is no pattern for names: write letters, digits, '_' and '-', "
                               "with * for any of them and ? for one",
                               items[i]);

        g_strfreev(*(GStrv *)field);
        *(GStrv *)field = g_steal_pointer(&items);
}

static const SettingsWord *
get_word(const SettingsLine *line, const SettingsWord *words, GPtrArray *problems)
{
        g_autofree char *text = get_text(line, problems);
        g_autoptr(GString) allowed = g_string_new(NULL);
        Nearest nearest;

        if (!text)
                return NULL;

        nearest_init(&nearest, text);
        for (const SettingsWord *word = words; word->text; word++) {
                if (strcmp(word->text, text) == 0)
                        return word;
                nearest_offer(&nearest, word->text);
                if (word > words)
                        g_string_append(allowed, word[1].text ? ", " : " or ");
                g_string_append(allowed, word->text);
        }

        if (nearest.best)
                refuse(line, problems, "'%s' is not allowed; did you mean %s? Allowed: %s", text,
                       nearest.best, allowed->str);
        else
                refuse(line, problems, "'%s' is not allowed. Allowed: %s", text, allowed->str);

        return NULL;
}

void
settings_value_read_choice(const SettingsLine *line,
                           const void *words,
                           void *field,
                           GPtrArray *problems)
{
        const SettingsWord *word = get_word(line, words, problems);

        if (word)
                *(int *)field = word->value;
}

void
settings_value_read_claim(const SettingsLine *line,
                          const void *words,
                          void *field,
                          GPtrArray *problems)
{
        const SettingsWord *word = get_word(line, words, problems);

        if (word)
                *(bool *)field = word->value;
}

void
settings_value_read_count(const SettingsLine *line,
                          const void *allowed,
                          void *field,
                          GPtrArray *problems)
{
        const SettingsCount *count = allowed;
        g_autofree char *text = get_text(line, problems);
        guint64 number;

        if (!text)
                return;

        if (count->zero && strcmp(text, count->zero) == 0)
                *(unsigned *)field = 0;
        else if (g_ascii_string_to_unsigned(text, 10, count->min, count->max, &number, NULL))
                *(unsigned *)field = (unsigned)number;
        else
                refuse(line, problems, "'%s' is not allowed. Allowed: a number from %u to %u%s%s",
                       text, count->min, count->max, count->zero ? ", or " : "",
                       count->zero ? count->zero : "");
}

/* Takes one term, as "5min", off *@text. */
static bool
take_term(const char **text, int64_t *sum)
{
        size_t digits = strspn(*text, "0123456789"), letters;
        int64_t number = 0;

        if (digits == 0)
                return false;
        for (size_t i = 0; i < digits; i++)
                if (__builtin_mul_overflow(number, 10, &number) ||
                    __builtin_add_overflow(number, (*text)[i] - '0', &number))
                        return false;

        *text += digits;
        *text += strspn(*text, " ");
        letters = strspn(*text, "abcdefghijklmnopqrstuvwxyz");
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
                if (strlen(units[i].name) != letters || strncmp(units[i].name, *text, letters) != 0)
                        continue;

                *text += letters;
                *text += strspn(*text, " ");
                return !__builtin_mul_overflow(number, units[i].length, &number) &&
                       !__builtin_add_overflow(*sum, number, sum);
        }

        return false;
}

static bool
parse_time(const char *text, int64_t *time)
{
        g_autofree char *seconds = NULL;

        /* A bare number is one of seconds. */
        if (*text && !text[strspn(text, "0123456789")])
                text = seconds = g_strconcat(text, "s", NULL);

        *time = 0;
        do {
                if (!take_term(&text, time))
                        return false;
        } while (*text);

        return true;
}

static char *
print_time(int64_t time)
{
        size_t i = G_N_ELEMENTS(units) - 1;

        while (i > 0 && time % units[i].length != 0)
                i--;

        return g_strdup_printf("%" G_GINT64_FORMAT "%s", time / units[i].length, units[i].name);
}

void
settings_value_read_time(const SettingsLine *line,
                         const void *allowed,
                         void *field,
                         GPtrArray *problems)
{
        const SettingsSpan *span = allowed;
        g_autofree char *text = get_text(line, problems), *min = NULL, *max = NULL;
        const char *infinity = span->may_be_infinite ? ", or infinity" : "";
        int64_t time = 0;

        if (!text)
                return;

        if (span->may_be_infinite && strcmp(text, "infinity") == 0) {
                *(gint64 *)field = G_MAXINT64;
                return;
        }

        min = print_time(span->min);
        max = print_time(span->max);
        if (strcmp(text, "infinity") != 0 && !parse_time(text, &time))
                refuse(line, problems,
                       "'%s' is not a time. Write it as 500ms, 3s, 5min, 1h, 1d or 1h30min, from "
                       "%s to %s%s",
                       text, min, max, infinity);
        else if (strcmp(text, "infinity") == 0 || time < span->min || time > span->max)
                refuse(line, problems, "'%s' is not allowed. Allowed: from %s to %s%s", text, min,
                       max, infinity);
        else
                *(gint64 *)field = time;
}

void
settings_value_read_ranges(const SettingsLine *line,
                           const void *none,
                           void *field,
                           GPtrArray *problems)
{
        GArray *ranges = *(GArray **)field;
        g_auto(GStrv) items = settings_value_get_list(line, problems);

        for (size_t i = 0; items && items[i]; i++) {
                g_autoptr(GError) error = NULL;
                AddressRange range;

                if (address_range_parse(&range, items[i], &error))
                        g_array_append_val(ranges, range);
                else
                        refuse(line, problems, "%s", error->message);
        }
}

void
settings_value_read_listen(const SettingsLine *line,
                           const void *none,
                           void *field,
                           GPtrArray *problems)
{
        GPtrArray *endpoints = *(GPtrArray **)field;
        g_auto(GStrv) items = settings_value_get_list(line, problems);

        for (size_t i = 0; items && items[i]; i++) {
                g_autoptr(GError) error = NULL;
                g_autoptr(Endpoint) endpoint = endpoint_parse(items[i], DEFAULT_PORT, &error);
                Address address;

                if (!endpoint)
                        refuse(line, problems, "%s", error->message);
                else if (!endpoint_get_address(endpoint, &address))
                        refuse(line, problems,
                               "'%s' is a name. Write an address to listen on, as 127.0.0.1:%u, "
                               "[::1]:%u, 0.0.0.0 or [::] for all, or unix:/PATH",
                               items[i], endpoint->port, endpoint->port);
                else
                        g_ptr_array_add(endpoints, g_steal_pointer(&endpoint));
        }
}

void
settings_value_read_endpoint(const SettingsLine *line,
                             const void *none,
                             void *field,
                             GPtrArray *problems)
{
        g_autofree char *text = get_text(line, problems);
        g_autoptr(GError) error = NULL;
        Endpoint *endpoint;

        if (!text)
                return;

        endpoint = endpoint_parse(text, DEFAULT_PORT, &error);
        if (endpoint)
                *(Endpoint **)field = endpoint;
        else
                refuse(line, problems, "%s", error->message);
}

void
settings_value_read_syslog(const SettingsLine *line,
                           const void *none,
                           void *field,
                           GPtrArray *problems)
{
        g_autofree char *text = get_text(line, problems);
        g_autoptr(GError) error = NULL;
        SyslogAddress address = { .transport = SYSLOG_UNIX };

        if (!text)
                return;

        if (g_str_has_prefix(text, "unix:"))
                address.endpoint = endpoint_parse(text, 0, &error);
        for (size_t i = 0; i < G_N_ELEMENTS(transports); i++) {
                if (!g_str_has_prefix(text, transports[i].prefix))
                        continue;
                address.transport = transports[i].transport;
                address.endpoint = endpoint_parse(text + strlen(transports[i].prefix),
                                                  transports[i].port, &error);
        }

        if (address.endpoint && address.endpoint->path && address.transport != SYSLOG_UNIX) {
                g_clear_pointer(&address.endpoint, endpoint_free);
                refuse(line, problems, "For a Unix socket write unix:/PATH and nothing before it");
        } else if (error) {
                refuse(line, problems, "%s", error->message);
        } else if (!address.endpoint) {
                refuse(line, problems,
                       "'%s' does not say how. Write tls:HOST:PORT, tcp:HOST:PORT, udp:HOST:PORT "
                       "or unix:/dev/log",
                       text);
        } else {
                *(SyslogAddress *)field = address;
        }
}

void
settings_value_read_hostname(const SettingsLine *line,
                             const void *none,
                             void *field,
                             GPtrArray *problems)
{
        g_autofree char *text = get_text(line, problems);
        size_t length = 0;

        if (!text)
                return;

        while (g_ascii_isgraph(text[length]))
                length++;
        if (text[length] || length > HOSTNAME_MAX)
                refuse(line, problems,
                       "'%s' is not allowed. Allowed: up to %d letters, digits and signs of ASCII, "
                       "without blanks",
                       text, HOSTNAME_MAX);
        else
                *(char **)field = g_steal_pointer(&text);
}

static bool
has_control_byte(const char *text)
{
        while (*text && !g_ascii_iscntrl(*text))
                text++;

        return *text;
}

/* What keeps @path from ever being matched; NULL: nothing. */
static const char *
find_path_fault(const char *path)
{
        g_auto(GStrv) segments = NULL;

        if (strstr(path, "://"))
                return "is a URL. Write its path alone, as ivr/menu";
        if (strchr(path, '?'))
                return "has a query. Routes are chosen by the path alone, as ivr/menu";
        if (has_control_byte(path))
                return "has a control byte";

        segments = g_strsplit(path, "/", -1);
        for (size_t i = 0; segments[i]; i++) {
                if (!*segments[i])
                        return "has an empty segment. Write it as ivr/menu";
                if (strcmp(segments[i], ".") == 0 || strcmp(segments[i], "..") == 0)
                        return "has a segment '.' or '..', which matches nothing but *";
                if (strcmp(segments[i], "*") == 0)
                        return "has a '*' in it. It stands alone, for all other requests; a path "
                               "matches everything below it anyway";
        }

        return NULL;
}

/* True when @text has a %XX in it. */
static bool
has_escape(const char *text)
{
        while ((text = strchr(text, '%'))) {
                text++;
                if (g_ascii_isxdigit(text[0]) && g_ascii_isxdigit(text[1]))
                        return true;
        }

        return false;
}

void
settings_value_read_path(const SettingsLine *line,
                         const void *none,
                         void *field,
                         GPtrArray *problems)
{
        g_autofree char *text = get_text(line, problems);
        const char *fault;
        char *path = text;
        size_t length;

        if (!text)
                return;

        if (*path == '/')
                path++;
        length = strlen(path);
        if (length > 0 && path[length - 1] == '/')
                path[length - 1] = '\0';

        if (!*path) {
                refuse(line, problems,
                       "'%s' is empty. Write a path as ivr/menu, or * for all other requests",
                       line->value);
                return;
        }

        fault = strcmp(path, "*") == 0 ? NULL : find_path_fault(path);
        if (fault) {
                refuse(line, problems, "'%s' %s", line->value, fault);
                return;
        }

        if (has_escape(path)) {
                SettingsPlace place = settings_line_get_place(line);

                settings_problem_warning(problems, &place,
                                         "'%s' has an escape in it. Paths are compared decoded: "
                                         "write the character itself",
                                         line->value);
        }

        *(char **)field = g_strdup(path);
}

/* What is wrong with @command; NULL: nothing. */
static const char *
find_command_fault(const char *command)
{
        if (!*command)
                return "is empty";
        if (has_control_byte(command))
                return "has a control byte";
        if (strlen(command) > COMMAND_LENGTH_MAX)
                return "is too long: at most " G_STRINGIFY(COMMAND_LENGTH_MAX) " bytes";
        if (g_ascii_strncasecmp(command, "failure", strlen("failure")) == 0)
                return "would end the session. Write Result=failure";

        return NULL;
}

void
settings_value_read_commands(const SettingsLine *line,
                             const void *none,
                             void *field,
                             GPtrArray *problems)
{
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) commands = g_key_file_get_string_list(line->file->key_file, line->group,
                                                            line->key, NULL, &error);

        if (error) {
                refuse(line, problems,
                       "A backslash that escapes nothing: write \\\\ for one, \\; for a "
                       "semicolon, or \\s");
                return;
        }

        for (size_t i = 0; commands[i]; i++) {
                const char *fault = find_command_fault(g_strstrip(commands[i]));

                if (fault)
                        refuse(line, problems, "Command %zu %s", i + 1, fault);
        }

        g_strfreev(*(GStrv *)field);
        *(GStrv *)field = g_steal_pointer(&commands);
}
