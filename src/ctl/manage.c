/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One call on the control socket, and no limit of our own to how long its answer takes: that is for
 * whoever runs us, such as the service manager. If the daemon ends meanwhile, so does the
 * connection.
 */

#include "ctl/manage.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib.h>
#include <glib/gi18n.h>

#include "base/control-name.h"

#define EXIT_USAGE 2

#define DEFAULT_SOCKET "/run/agitator/control"

/* The path of the socket; NULL and an error when the command line is wrong. */
static char *
parse_socket(int *argc, char ***argv, const char *summary, GError **error)
{
        g_autofree char *path = NULL;
        const GOptionEntry entries[] = {
                { "socket", 0, 0, G_OPTION_ARG_FILENAME, &path,
                  N_("The daemon's control socket (/run/agitator/control)"), N_("PATH") },
                { 0 },
        };
        g_autoptr(GOptionContext) context = g_option_context_new(NULL);

        g_option_context_set_summary(context, summary);
        g_option_context_add_main_entries(context, entries, GETTEXT_PACKAGE);
        if (!g_option_context_parse(context, argc, argv, error))
                return NULL;

        if (*argc > 1) {
                g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                            _("Unexpected argument '%s'"), (*argv)[1]);
                return NULL;
        }

        return path ? g_steal_pointer(&path) : g_strdup(DEFAULT_SOCKET);
}

/* What GLib says of a missing socket, or of one that turns us away, is right and helps nobody. */
static void
explain_connect_error(GError **error, const char *path)
{
        bool is_closed = g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_BROKEN_PIPE) ||
                         g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_CLOSED);
        struct stat socket;

        if (g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND) ||
            g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_CONNECTION_REFUSED)) {
                g_prefix_error(error, _("agitator is not running, or not with this socket: %s: "),
                               path);
        } else if (is_closed && geteuid() != 0 && stat(path, &socket) == 0 &&
                   socket.st_uid != geteuid()) {
                g_clear_error(error);
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                            _("%s: agitator closed the connection: only root and the user that it "
                              "runs as may do this"),
                            path);
        } else if (is_closed) {
                g_prefix_error(error, _("agitator ended, or closed the connection: "));
        } else {
                g_prefix_error(error, "%s: ", path);
        }
}

static bool
call(const char *path, const char *method, GError **error)
{
        g_autofree char *escaped = g_dbus_address_escape_value(path);
        g_autofree char *address = g_strconcat("unix:path=", escaped, NULL);
        g_autoptr(GVariant) answer = NULL;
        g_autoptr(GDBusConnection) connection = g_dbus_connection_new_for_address_sync(
                address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, error);

        if (!connection) {
                explain_connect_error(error, path);
                return false;
        }

        answer = g_dbus_connection_call_sync(connection, NULL, CONTROL_OBJECT, CONTROL_INTERFACE,
                                             method, NULL, NULL, G_DBUS_CALL_FLAGS_NONE, G_MAXINT,
                                             NULL, error);
        if (answer)
                return true;

        if (g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_CLOSED))
                g_prefix_error(error, _("agitator ended, or closed the connection: "));
        g_dbus_error_strip_remote_error(*error);
        return false;
}

static int
manage_run(int argc, char **argv, const char *name, const char *summary, const char *method)
{
        g_autoptr(GError) error = NULL;
        g_autofree char *path = parse_socket(&argc, &argv, summary, &error);

        if (!path) {
                fprintf(stderr, "agitatorctl %s: %s\n", name, error->message);
                return EXIT_USAGE;
        }
        if (!call(path, method, &error)) {
                fprintf(stderr, "agitatorctl %s: %s\n", name, error->message);
                return EXIT_FAILURE;
        }

        return EXIT_SUCCESS;
}

int
manage_reload(int argc, char **argv)
{
        return manage_run(
                argc, argv, "reload",
                _("Has the running agitator read its configuration again, and waits until "
                  "that is in\n"
                  "force. If it has errors, the old one stays in force."),
                "Reload");
}

int
manage_upgrade(int argc, char **argv)
{
        return manage_run(
                argc, argv, "upgrade",
                _("Has the running agitator start the program that is installed now, and "
                  "waits until\n"
                  "that has taken over. If it can't, the old one goes on. No session ends."),
                "Upgrade");
}
