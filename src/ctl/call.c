/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One blocking dialogue in one thread. The order of things is Asterisk's: two seconds for each
 * address, the environment a line at a time and without TCP_NODELAY, then one reply for each line,
 * what was sent before an end included, and HANGUP before the connection is closed.
 */

#include "ctl/call.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gio/gio.h>
#include <glib.h>
#include <glib/gi18n.h>

#include "agi/agi-request.h"
#include "ctl/channel.h"
#include "ctl/transcript.h"
#include "net/address.h"

#define EXIT_USAGE 2

#define AGI_SCHEME      "agi://"
#define AGI_PORT        4573
#define LINE_MAX_LENGTH 8191 /* of Asterisk 22, its LF included; more is executed in pieces */

#define CONNECT_TIMEOUT 2 /* seconds for each address */
#define RETRY_INTERVAL  (50 * G_TIME_SPAN_MILLISECOND)
#define DEFAULT_TIMEOUT 30.0
#define SECONDS_MAX     G_MAXINT
#define AFTER_HANGUP    (2 * G_TIME_SPAN_SECOND)

typedef struct CallOptions {
        char **arguments, **environment;
        double timeout, retry;
        gboolean quiet;
        char *url; /* borrowed from argv */
} CallOptions;

typedef struct Call {
        Channel *channel;
        GSocket *socket;
        GString *input;
        gint64 deadline;
        bool ended; /* the server's end, or its reset, has been read */
} Call;

/* False and a GError when @condition has not come about by the deadline. */
static bool
call_wait(Call *call, GIOCondition condition, GError **error)
{
        gint64 left = MAX(call->deadline - g_get_monotonic_time(), 0);

        return g_socket_condition_timed_wait(call->socket, condition, left, NULL, error);
}

static bool
call_send_bytes(Call *call, const char *data, size_t size, GError **error)
{
        while (size > 0) {
                g_autoptr(GError) failure = NULL;
                gssize n = g_socket_send(call->socket, data, size, NULL, &failure);

                if (n > 0) {
                        data += n;
                        size -= n;
                } else if (!g_error_matches(failure, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
                        g_propagate_error(error, g_steal_pointer(&failure));
                        return false;
                } else if (!call_wait(call, G_IO_OUT, error)) {
                        return false;
                }
        }

        return true;
}

/* Sends @text, whole lines, a line at a time. A failure shows when the server is read from again.
 */
static bool
call_send(Call *call, const char *text, GError **error)
{
        while (*text) {
                size_t length = strcspn(text, "\n");

                transcript_line(TRANSCRIPT_SENT, text, length);
                if (!call_send_bytes(call, text, length + 1, error))
                        return false;
                text += length + 1;
        }

        return true;
}

static bool
call_send_environment(Call *call, GError **error)
{
        g_auto(GStrv) lines = channel_get_environment(call->channel);
        g_autoptr(GError) later = NULL;

        for (size_t i = 0; lines[i]; i++) {
                g_autofree char *line = g_strconcat(lines[i], "\n", NULL);

                /* Asterisk looks at the outcome of the first write only. */
                if (!call_send(call, line, i == 0 ? error : &later))
                        return i > 0;
        }

        g_clear_error(&later);
        call_send(call, "\n", &later);
        return true;
}

/* A whole line, its LF included, or what Asterisk's buffer holds, or the last piece before the end;
 * 0 when more must be read first. */
static size_t
call_get_line_length(const Call *call)
{
        const char *lf = memchr(call->input->str, '\n', MIN(call->input->len, LINE_MAX_LENGTH));

        if (lf)
                return lf - call->input->str + 1;
        if (call->input->len >= LINE_MAX_LENGTH)
                return LINE_MAX_LENGTH;

        return call->ended ? call->input->len : 0;
}

static void
call_execute(Call *call, size_t length)
{
        bool was_hung_up = channel_is_hung_up(call->channel);
        g_autofree char *reply = NULL;
        size_t text_length = length;

        if (call->input->str[length - 1] == '\n')
                text_length--;
        transcript_line(TRANSCRIPT_RECEIVED, call->input->str, text_length);
        reply = channel_execute(call->channel, call->input->str, text_length);
        g_string_erase(call->input, 0, (gssize)length);

        if (memchr(call->input->str, '\n', call->input->len) && !call->ended)
                transcript_note(_("the next command came before this one's reply; Asterisk "
                                  "would not look at it until further bytes or the end"));
        if (reply)
                call_send(call, reply, NULL);
        if (!was_hung_up && channel_is_hung_up(call->channel))
                call_send(call, "HANGUP\n", NULL);
}

/* Waits for more from the server, until the deadline. */
static void
call_read(Call *call)
{
        char data[8192];
        g_autoptr(GError) error = NULL;
        gssize n;

        if (!call_wait(call, G_IO_IN, NULL))
                return;

        n = g_socket_receive(call->socket, data, sizeof(data), NULL, &error);
        if (n > 0) {
                g_string_append_len(call->input, data, n);
        } else if (n == 0) {
                transcript_note(_("the server ended the session"));
                call->ended = true;
        } else if (!g_error_matches(error, G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) {
                transcript_note(_("the server broke the connection: %s"), error->message);
                call->ended = true;
        }
}

static void
call_hang_up(Call *call)
{
        transcript_note(_("the time is up: the caller hangs up"));
        call->deadline = g_get_monotonic_time() + AFTER_HANGUP;
        if (!channel_is_hung_up(call->channel))
                call_send(call, "HANGUP\n", NULL);
        channel_hang_up(call->channel);
}

/* From the end of the environment to the last HANGUP. The time is looked at in each turn, since a
 * server that sends without waiting never has us wait either. */
static void
call_talk(Call *call)
{
        bool impatient = false;

        while (!channel_has_failed(call->channel)) {
                bool is_late = !call->ended && g_get_monotonic_time() >= call->deadline;
                size_t length = call_get_line_length(call);

                if (is_late && impatient) {
                        transcript_note(_("the server goes on after the hang-up"));
                        break;
                }
                if (is_late) {
                        impatient = true;
                        call_hang_up(call);
                } else if (length > 0) {
                        call_execute(call, length);
                } else if (call->ended) {
                        break;
                } else {
                        call_read(call);
                }
        }

        call_send(call, "HANGUP\n", NULL);
}

static GSocketConnection *
call_connect(const Endpoint *endpoint, const CallOptions *options, GError **error)
{
        gint64 give_up = g_get_monotonic_time() + (gint64)(options->retry * G_TIME_SPAN_SECOND);
        g_autoptr(GSocketClient) client = g_socket_client_new();
        g_autoptr(GSocketConnectable) address =
                g_network_address_new(endpoint->host, endpoint->port);
        g_autoptr(GSocketConnection) connection = NULL;
        g_autoptr(GError) failure = NULL;

        g_socket_client_set_enable_proxy(client, FALSE);
        g_socket_client_set_timeout(client, CONNECT_TIMEOUT);

        while (!(connection = g_socket_client_connect(client, address, NULL, &failure))) {
                if (!g_error_matches(failure, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED) ||
                    g_get_monotonic_time() >= give_up) {
                        g_propagate_error(error, g_steal_pointer(&failure));
                        return NULL;
                }
                g_clear_error(&failure);
                g_usleep(RETRY_INTERVAL);
        }

        g_socket_set_timeout(g_socket_connection_get_socket(connection), 0);
        g_socket_set_blocking(g_socket_connection_get_socket(connection), FALSE);
        return g_steal_pointer(&connection);
}

static void
call_note_peer(GSocketConnection *connection)
{
        g_autoptr(GSocketAddress) address =
                g_socket_connection_get_remote_address(connection, NULL);
        g_autofree char *text = NULL;

        if (!address)
                return; /* reset already */

        text = g_socket_connectable_to_string(G_SOCKET_CONNECTABLE(address));
        transcript_note(_("connected to %s"), text);
}

/* The whole session. False and a GError when it could not begin: then AGISTATUS is FAILURE. */
static bool
call_perform(Channel *channel, const Endpoint *endpoint, const CallOptions *options, GError **error)
{
        g_autoptr(GSocketConnection) connection = call_connect(endpoint, options, error);
        g_autoptr(GString) input = g_string_new(NULL);
        Call call = { .channel = channel, .input = input };

        if (!connection)
                return false;

        call_note_peer(connection);
        call.socket = g_socket_connection_get_socket(connection);
        call.deadline = g_get_monotonic_time() + (gint64)(options->timeout * G_TIME_SPAN_SECOND);
        if (!call_send_environment(&call, error))
                return false;

        call_talk(&call);
        return true;
}

static int
call_report(const Channel *channel, bool began)
{
        const char *status = began ? channel_get_status(channel) : "FAILURE";
        const char *reason = channel_get_variable(channel, "AGITATOR_STATUS");

        if (reason) {
                g_autofree char *text = transcript_escape(reason, strlen(reason), false);

                printf("AGITATOR_STATUS=%s\n", text);
        }
        printf("AGISTATUS=%s\n", status);

        return strcmp(status, "SUCCESS") == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static Endpoint *
url_parse(const char *url, GError **error)
{
        AgiRequest request;
        g_autofree char *authority = NULL;
        g_autoptr(Endpoint) endpoint = NULL;
        char next;

        if (g_ascii_strncasecmp(url, AGI_SCHEME, strlen(AGI_SCHEME)) != 0 ||
            !agi_request_parse(&request, url, strlen(url))) {
                g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            _("it should be agi://HOST[:PORT][/PATH]"));
                return NULL;
        }

        next = url[request.authority + request.authority_length];
        if (next != '\0' && next != '/') {
                g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            _("Asterisk wants a '/' before '%c'"), next);
                return NULL;
        }

        authority = g_strndup(url + request.authority, request.authority_length);
        endpoint = endpoint_parse(authority, AGI_PORT, error);
        if (endpoint && !endpoint->host) {
                g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            _("a host is needed, not a socket's path"));
                return NULL;
        }

        return g_steal_pointer(&endpoint);
}

static bool
channel_apply_options(Channel *channel, const CallOptions *options, GError **error)
{
        for (char **set = options->environment; set && *set; set++) {
                size_t length = strcspn(*set, "=:\n");
                g_autofree char *name = g_strndup(*set, length);

                if (length == 0 || (*set)[length] != '=') {
                        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                                    _("--set %s: it should be NAME=VALUE"), *set);
                        return false;
                }
                channel_set_environment(channel, name, *set + length + 1);
        }

        for (char **argument = options->arguments; argument && *argument; argument++)
                channel_add_argument(channel, *argument);

        return true;
}

static bool
seconds_are_sane(double seconds)
{
        return seconds >= 0 && seconds <= SECONDS_MAX; /* false for what is no number, too */
}

static bool
call_options_parse(CallOptions *options, int *argc, char ***argv, GError **error)
{
        /* File names are taken as bytes, whatever the locale: so should these be. */
        const GOptionEntry entries[] = {
                { "arg", 'a', 0, G_OPTION_ARG_FILENAME_ARRAY, &options->arguments,
                  N_("Pass an argument, as agi_arg_1, agi_arg_2 and so on"), N_("TEXT") },
                { "set", 's', 0, G_OPTION_ARG_FILENAME_ARRAY, &options->environment,
                  N_("Give a line of the environment another value, or add it"), N_("NAME=VALUE") },
                { "timeout", 't', 0, G_OPTION_ARG_DOUBLE, &options->timeout,
                  N_("Hang up after that time (30)"), N_("SECONDS") },
                { "retry", 'r', 0, G_OPTION_ARG_DOUBLE, &options->retry,
                  N_("Go on trying that long while nobody listens yet"), N_("SECONDS") },
                { "quiet", 'q', 0, G_OPTION_ARG_NONE, &options->quiet,
                  N_("Print how it ended, not the dialogue"), NULL },
                { 0 },
        };
        g_autoptr(GOptionContext) context = g_option_context_new(_("URL"));

        g_option_context_set_summary(context,
                                     _("Calls the FastAGI server at agi://HOST[:PORT][/PATH] as "
                                       "Asterisk 22 would, answers\n"
                                       "its commands as a call would in which the caller listens "
                                       "and presses no key, and\n"
                                       "shows the dialogue: '>' sent, '<' received, '*' remarks."));
        g_option_context_set_description(
                context,
                _("Exit status: 0 when AGISTATUS is SUCCESS, 1 when it is not, 2 when the command\n"
                  "line is wrong."));
        g_option_context_add_main_entries(context, entries, GETTEXT_PACKAGE);
        if (!g_option_context_parse(context, argc, argv, error))
                return false;

        if (*argc != 2) {
                g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED,
                            _("one URL is needed; see --help"));
                return false;
        }
        if (!seconds_are_sane(options->timeout) || !seconds_are_sane(options->retry)) {
                g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            _("SECONDS should be from 0 to %d"), SECONDS_MAX);
                return false;
        }

        options->url = (*argv)[1];
        return true;
}

static void
call_options_clear(CallOptions *options)
{
        g_strfreev(options->arguments);
        g_strfreev(options->environment);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(CallOptions, call_options_clear)

int
call_run(int argc, char **argv)
{
        g_auto(CallOptions) options = { .timeout = DEFAULT_TIMEOUT };
        g_autoptr(GError) error = NULL;
        g_autoptr(Channel) channel = NULL;
        g_autoptr(Endpoint) endpoint = NULL;
        bool began;

        if (!call_options_parse(&options, &argc, &argv, &error)) {
                fprintf(stderr, "agitatorctl call: %s\n", error->message);
                return EXIT_USAGE;
        }

        endpoint = url_parse(options.url, &error);
        channel = channel_new(options.url);
        if (!endpoint || !channel_apply_options(channel, &options, &error)) {
                fprintf(stderr, "agitatorctl call: %s: %s\n", options.url, error->message);
                return EXIT_USAGE;
        }

        transcript_start(options.quiet);
        began = call_perform(channel, endpoint, &options, &error);
        if (!began)
                fprintf(stderr, "agitatorctl call: %s\n", error->message);

        return call_report(channel, began);
}
