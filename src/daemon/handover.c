/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 *     [Handover]                      [Socket 7]
 *     Channel=4                       Name=plain
 *     Ledger=5
 *     Process=2                       [Socket 8]
 *     TicketSecret=base64
 */

#include "daemon/handover.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include <gio/gio.h>
#include <glib-unix.h>

#define GROUP        "Handover"
#define GROUP_SOCKET "Socket "
#define MAX_TEXT     4096

static const char *const words[] = {
        [HANDOVER_READY] = "READY", [HANDOVER_SERVING] = "SERVING", [HANDOVER_FAILED] = "FAILED",
        [HANDOVER_STOP] = "STOP",   [HANDOVER_CUT] = "CUT",         [HANDOVER_GO] = "GO",
};

static void
socket_clear(void *data)
{
        g_free(((HandoverSocket *)data)->name);
}

Handover *
handover_new(void)
{
        Handover *handover = g_new0(Handover, 1);

        handover->sockets = g_array_new(FALSE, FALSE, sizeof(HandoverSocket));
        g_array_set_clear_func(handover->sockets, socket_clear);

        return handover;
}

void
handover_free(Handover *handover)
{
        if (!handover)
                return;

        g_bytes_unref(handover->ticket_secret);
        g_array_unref(handover->sockets);
        g_free(handover);
}

void
handover_add_socket(Handover *handover, int fd, const char *name)
{
        HandoverSocket socket = { fd, g_strdup(name) };

        g_array_append_val(handover->sockets, socket);
}

char *
handover_print(const Handover *handover)
{
        g_autoptr(GKeyFile) file = g_key_file_new();
        gsize size;
        const guchar *secret = g_bytes_get_data(handover->ticket_secret, &size);
        g_autofree char *base64 = g_base64_encode(secret, size);

        g_key_file_set_integer(file, GROUP, "Channel", handover->channel);
        g_key_file_set_integer(file, GROUP, "Ledger", handover->ledger);
        g_key_file_set_integer(file, GROUP, "Process", (int)handover->process);
        g_key_file_set_string(file, GROUP, "TicketSecret", base64);

        for (unsigned i = 0; i < handover->sockets->len; i++) {
                const HandoverSocket *socket = &g_array_index(handover->sockets, HandoverSocket, i);
                g_autofree char *group = g_strdup_printf(GROUP_SOCKET "%d", socket->fd);

                g_key_file_set_boolean(file, group, "Passed", socket->name != NULL);
                if (socket->name)
                        g_key_file_set_string(file, group, "Name", socket->name);
        }

        return g_key_file_to_data(file, NULL, NULL);
}

static bool
set_error(GError **error, const char *what)
{
        g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_INVALID_VALUE, "%s", what);

        return false;
}

/* A descriptor, not yet among those @seen. */
static bool
check_descriptor(GHashTable *seen, int fd, GError **error)
{
        if (fd <= 2)
                return set_error(error, "a descriptor's number is too small");
        if (!g_hash_table_add(seen, GINT_TO_POINTER(fd)))
                return set_error(error, "a descriptor is named twice");

        return true;
}

static bool
read_descriptor(GKeyFile *file, const char *key, GHashTable *seen, int *fd, GError **error)
{
        g_autoptr(GError) own = NULL;

        *fd = g_key_file_get_integer(file, GROUP, key, &own);
        if (own) {
                g_propagate_error(error, g_steal_pointer(&own));
                return false;
        }

        return check_descriptor(seen, *fd, error);
}

/* NULL with @error set. What ends in a backslash GLib gives with an error. */
static char *
read_text(GKeyFile *file, const char *group, const char *key, GError **error)
{
        g_autoptr(GError) own = NULL;
        g_autofree char *text = g_key_file_get_string(file, group, key, &own);

        if (own) {
                g_propagate_error(error, g_steal_pointer(&own));
                return NULL;
        }

        return g_steal_pointer(&text);
}

static bool
read_secret(Handover *handover, GKeyFile *file, GError **error)
{
        g_autofree char *base64 = read_text(file, GROUP, "TicketSecret", error);
        guchar *secret;
        gsize size = 0;

        if (!base64)
                return false;

        secret = g_base64_decode(base64, &size);
        handover->ticket_secret = g_bytes_new_take(secret, size);

        return size > 0 || set_error(error, "TicketSecret= is empty");
}

static bool
read_socket(Handover *handover, GKeyFile *file, const char *group, GHashTable *seen, GError **error)
{
        g_autofree char *name = NULL;
        gint64 fd;

        if (!g_ascii_string_to_signed(group + strlen(GROUP_SOCKET), 10, 0, G_MAXINT, &fd, error) ||
            !check_descriptor(seen, (int)fd, error))
                return false;

        if (g_key_file_get_boolean(file, group, "Passed", NULL)) {
                name = read_text(file, group, "Name", error);
                if (!name)
                        return false;
        }
        handover_add_socket(handover, (int)fd, name);

        return true;
}

Handover *
handover_parse(const char *text, gsize length, GError **error)
{
        g_autoptr(Handover) handover = handover_new();
        g_autoptr(GKeyFile) file = g_key_file_new();
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        g_autoptr(GError) own = NULL;
        g_auto(GStrv) groups = NULL;

        if (!g_key_file_load_from_data(file, text, length, G_KEY_FILE_NONE, error) ||
            !read_descriptor(file, "Channel", seen, &handover->channel, error) ||
            !read_descriptor(file, "Ledger", seen, &handover->ledger, error) ||
            !read_secret(handover, file, error))
                return NULL;

        handover->process = (unsigned)g_key_file_get_integer(file, GROUP, "Process", &own);
        if (own) {
                g_propagate_error(error, g_steal_pointer(&own));
                return NULL;
        }

        groups = g_key_file_get_groups(file, NULL);
        for (size_t i = 0; groups[i]; i++) {
                if (g_str_has_prefix(groups[i], GROUP_SOCKET) &&
                    !read_socket(handover, file, groups[i], seen, error))
                        return NULL;
        }

        return g_steal_pointer(&handover);
}

bool
handover_send(int channel, HandoverMessage message, const char *text)
{
        g_autofree char *line =
                g_strdup_printf("%s %.*s", words[message], MAX_TEXT / 2, text ? text : "");

        return TEMP_FAILURE_RETRY(send(channel, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT)) >=
               0;
}

HandoverMessage
handover_receive(int channel, char **text)
{
        char line[MAX_TEXT];
        ssize_t n = TEMP_FAILURE_RETRY(recv(channel, line, sizeof(line) - 1, MSG_DONTWAIT));
        char *rest;

        *text = NULL;
        if (n <= 0)
                return n < 0 && errno == EAGAIN ? HANDOVER_NOTHING : HANDOVER_END;

        line[n] = '\0';
        rest = strchr(line, ' ');
        if (!rest)
                return HANDOVER_NOTHING;
        *rest++ = '\0';

        for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
                if (strcmp(line, words[i]) == 0) {
                        *text = g_strdelimit(g_utf8_make_valid(rest, -1), "\r\n", ' ');
                        return (HandoverMessage)i;
                }
        }

        return HANDOVER_NOTHING;
}

typedef struct HandoverWatch {
        HandoverFunc func;
        void *data;
} HandoverWatch;

static gboolean
handover_on_message(int channel, GIOCondition condition, void *data)
{
        HandoverWatch watch = *(HandoverWatch *)data; /* the function may remove this source */
        g_autofree char *text = NULL;
        HandoverMessage message = handover_receive(channel, &text);

        if (message != HANDOVER_NOTHING)
                watch.func(message, text, watch.data);

        return message == HANDOVER_END ? G_SOURCE_REMOVE : G_SOURCE_CONTINUE;
}

guint
handover_watch(int channel, HandoverFunc func, void *data)
{
        HandoverWatch *watch = g_new(HandoverWatch, 1);

        *watch = (HandoverWatch){ func, data };

        return g_unix_fd_add_full(G_PRIORITY_DEFAULT, channel, G_IO_IN | G_IO_HUP,
                                  handover_on_message, watch, g_free);
}
