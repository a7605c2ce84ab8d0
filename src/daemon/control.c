/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * sd-bus plays the server's side on each connection. Unlike GDBusServer it has no threads, so
 * nobody who connects and says nothing holds one up, and the listening socket is ours: it is put in
 * place by a rename, and removed only where it still is what we put there.
 *
 * There is room for MAX_CONNECTIONS. When all are taken, whoever has had PATIENCE and asks for
 * nothing gives way to the next. Those who wait for an answer never do; the next one then waits in
 * the queue of the listening socket.
 */

#include "daemon/control.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib-unix.h>
#include <systemd/sd-bus.h>

#include "base/control-name.h"
#include "base/fd.h"

#define MAX_CONNECTIONS 64
#define MAX_CALLS       16 /* of one connection, not yet answered */
#define PATIENCE        (1 * G_TIME_SPAN_SECOND)
#define PAUSE           250 /* ms: in accepting, while there is no room or no descriptor */

struct Control {
        const ControlFuncs *funcs;
        void *data;
        char *path;
        struct stat stat; /* of the socket in the file system */
        int fd;
        bool has_left;            /* the path is another process's */
        bool is_missing;          /* as was said */
        guint accepting, pausing; /* ids of sources, one of them 0 */
        GPtrArray *connections;   /* of Connection, the oldest first */
};

/* A source of the main loop, so that its memory stays while it is dispatched. */
typedef struct Connection {
        GSource source;
        GPollFD poll;
        Control *control;
        sd_bus *bus;      /* NULL once closed */
        GPtrArray *calls; /* of ControlCall, not yet answered; not owned */
        bool again;       /* there may be more to process than the descriptor tells */
        gint64 idle_since;
} Connection;

struct ControlCall {
        Connection *connection; /* NULL when the caller has gone away */
        sd_bus_message *message;
};

static void control_resume(Control *control);

/* The call has no caller any more. */
static void
call_detach(ControlCall *call)
{
        call->connection = NULL;
        g_clear_pointer(&call->message, sd_bus_message_unref);
}

/* With @reason as an error, with none as success. A reply goes straight to the socket; that it has
 * to wait happens only to a caller who doesn't read, and is lost if the connection ends meanwhile.
 */
static int
call_reply(ControlCall *call, const char *reason)
{
        g_autofree char *text = NULL;

        if (!reason)
                return sd_bus_reply_method_return(call->message, NULL);

        text = g_utf8_make_valid(reason, -1);
        return sd_bus_reply_method_errorf(call->message, CONTROL_ERROR_FAILED, "%s", text);
}

static void
connection_close(Connection *connection)
{
        Control *control = connection->control;

        for (unsigned i = 0; i < connection->calls->len; i++)
                call_detach(connection->calls->pdata[i]);
        g_clear_pointer(&connection->calls, g_ptr_array_unref);
        connection->bus = sd_bus_close_unref(connection->bus);

        g_ptr_array_remove(control->connections, connection);
        g_source_destroy(&connection->source);
        g_source_unref(&connection->source);
        control_resume(control);
}

/* @result: a negative errno, or 0 for an ordinary end. */
static void
connection_fail(Connection *connection, int result)
{
        if (result < 0)
                g_debug("A connection to the control socket fails: %s", g_strerror(-result));
        connection_close(connection);
}

static void
call_end(ControlCall *call, const char *reason)
{
        Connection *connection = call->connection;

        if (connection) {
                int result = call_reply(call, reason);

                g_ptr_array_remove(connection->calls, call);
                connection->idle_since = g_get_monotonic_time();
                call_detach(call);
                if (result < 0) /* the end of the connection is an answer too */
                        connection_fail(connection, result);
        }
        g_free(call);
}

void
control_call_succeed(ControlCall *call)
{
        call_end(call, NULL);
}

void
control_call_fail(ControlCall *call, const char *reason)
{
        call_end(call, reason);
}

static int
connection_on_call(Connection *connection,
                   sd_bus_message *message,
                   void (*func)(ControlCall *call, void *data),
                   sd_bus_error *error)
{
        ControlCall *call;

        if (!func)
                return sd_bus_error_set_const(error, SD_BUS_ERROR_NOT_SUPPORTED,
                                              "this agitator can't do that");
        if (connection->calls->len >= MAX_CALLS)
                return sd_bus_error_set_const(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                              "too many calls at once");

        call = g_new(ControlCall, 1);
        call->connection = connection;
        call->message = sd_bus_message_ref(message);
        g_ptr_array_add(connection->calls, call);
        func(call, connection->control->data);

        return 1; /* the answer is the func's */
}

static int
connection_on_reload(sd_bus_message *message, void *data, sd_bus_error *error)
{
        Connection *connection = data;

        return connection_on_call(connection, message, connection->control->funcs->reload, error);
}

static int
connection_on_upgrade(sd_bus_message *message, void *data, sd_bus_error *error)
{
        Connection *connection = data;

        return connection_on_call(connection, message, connection->control->funcs->upgrade, error);
}

static int
connection_on_get_version(sd_bus *bus,
                          const char *path,
                          const char *interface,
                          const char *property,
                          sd_bus_message *reply,
                          void *data,
                          sd_bus_error *error)
{
        return sd_bus_message_append(reply, "s", PACKAGE_VERSION);
}

/* What a bus daemon would be asked first. busctl and gdbus ask it of whoever they are connected to.
 */
static int
connection_on_hello(sd_bus_message *message, void *data, sd_bus_error *error)
{
        return sd_bus_reply_method_return(message, "s", ":1.1");
}

static const sd_bus_vtable hello_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Hello", "", "s", connection_on_hello, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

/* Unprivileged: whoever is not welcome has been turned away before. */
static const sd_bus_vtable connection_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Reload", "", "", connection_on_reload, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Upgrade", "", "", connection_on_upgrade, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", connection_on_get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};

static gint64
connection_get_deadline(const Connection *connection)
{
        uint64_t until = UINT64_MAX;

        if (sd_bus_get_timeout(connection->bus, &until) < 0)
                return G_MAXINT64;

        return (gint64)MIN(until, (uint64_t)G_MAXINT64);
}

static gboolean
connection_prepare(GSource *source, int *timeout)
{
        Connection *connection = (Connection *)source;
        int events = sd_bus_get_events(connection->bus);
        gint64 left = connection_get_deadline(connection) - g_source_get_time(source);

        if (events < 0)
                return TRUE; /* it ended between two turns */

        connection->poll.events = (gushort)events;
        *timeout = (int)CLAMP(left / 1000 + 1, 0, G_MAXINT);
        return connection->again || left <= 0;
}

static gboolean
connection_check(GSource *source)
{
        Connection *connection = (Connection *)source;

        return connection->poll.revents != 0 ||
               connection_get_deadline(connection) <= g_source_get_time(source);
}

static gboolean
connection_dispatch(GSource *source, GSourceFunc func, void *data)
{
        Connection *connection = (Connection *)source;
        int result = sd_bus_process(connection->bus, NULL);

        if (!connection->bus) /* closed by what was called */
                return G_SOURCE_REMOVE;
        connection->again = result > 0;
        if (result >= 0 && sd_bus_is_open(connection->bus) > 0)
                return G_SOURCE_CONTINUE;

        connection_fail(connection, MIN(result, 0));
        return G_SOURCE_REMOVE;
}

static GSourceFuncs connection_funcs = {
        .prepare = connection_prepare,
        .check = connection_check,
        .dispatch = connection_dispatch,
};

/* The server's side of D-Bus on @fd, which is taken. 0, or a negative errno. */
static int
connection_start(Connection *connection, int fd)
{
        sd_id128_t id;
        int result = sd_bus_new(&connection->bus);

        if (result >= 0)
                result = sd_bus_set_fd(connection->bus, fd, fd);
        if (result < 0) {
                close(fd);
                return result;
        }

        result = sd_id128_randomize(&id);
        if (result >= 0)
                result = sd_bus_set_server(connection->bus, true, id);
        if (result >= 0)
                result = sd_bus_negotiate_fds(connection->bus, false);
        if (result >= 0)
                result = sd_bus_add_object_vtable(connection->bus, NULL, CONTROL_OBJECT,
                                                  CONTROL_INTERFACE, connection_vtable, connection);
        if (result >= 0)
                result = sd_bus_add_object_vtable(connection->bus, NULL, "/org/freedesktop/DBus",
                                                  "org.freedesktop.DBus", hello_vtable, connection);
        if (result >= 0)
                result = sd_bus_start(connection->bus);

        return result;
}

/* Takes @fd. */
static void
connection_new(Control *control, int fd)
{
        GSource *source = g_source_new(&connection_funcs, sizeof(Connection));
        Connection *connection = (Connection *)source;
        int result;

        connection->control = control;
        connection->calls = g_ptr_array_new();
        connection->idle_since = g_get_monotonic_time();
        connection->poll.fd = fd;
        g_ptr_array_add(control->connections, connection);
        g_source_add_poll(source, &connection->poll);
        g_source_set_name(source, "control");
        g_source_attach(source, NULL);

        result = connection_start(connection, fd);
        if (result < 0)
                connection_fail(connection, result);
}

/* The socket's mode keeps others out already, unless somebody has changed it. */
static bool
peer_is_welcome(int fd)
{
        struct ucred peer;
        socklen_t size = sizeof(peer);

        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
               (peer.uid == 0 || peer.uid == geteuid());
}

/* Somebody waits; false when there is no room for him. */
static bool
control_make_room(Control *control)
{
        gint64 limit = g_get_monotonic_time() - PATIENCE;

        if (control->connections->len < MAX_CONNECTIONS)
                return true;

        for (unsigned i = 0; i < control->connections->len; i++) {
                Connection *connection = control->connections->pdata[i];

                if (connection->calls->len == 0 && connection->idle_since < limit) {
                        connection_close(connection);
                        return true;
                }
        }

        return false;
}

static gboolean
control_on_pause_end(void *data)
{
        Control *control = data;

        control->pausing = 0;
        control_resume(control);

        return G_SOURCE_REMOVE;
}

static gboolean
control_on_connection(int listener, GIOCondition condition, void *data)
{
        Control *control = data;
        int fd = FD_NONE;

        if (control_make_room(control)) {
                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
                        return G_SOURCE_CONTINUE;
        }
        if (fd < 0) {
                control->accepting = 0;
                control->pausing = g_timeout_add(PAUSE, control_on_pause_end, control);
                return G_SOURCE_REMOVE;
        }

        if (peer_is_welcome(fd)) {
                connection_new(control, fd);
        } else {
                g_debug("A connection to the control socket is refused");
                close(fd);
        }

        return G_SOURCE_CONTINUE;
}

static void
control_resume(Control *control)
{
        g_clear_handle_id(&control->pausing, g_source_remove);
        if (control->accepting == 0 && control->fd != FD_NONE)
                control->accepting =
                        g_unix_fd_add(control->fd, G_IO_IN, control_on_connection, control);
}

static bool
fail(GError **error, const char *what, const char *path)
{
        int code = errno;

        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(code), "%s %s: %s", what, path,
                    g_strerror(code));
        return false;
}

/* Listens at @path under another name first, so that whoever connects to @path finds it either way.
 */
static bool
control_open(Control *control, GError **error)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        struct stat old;
        g_autofree char *name = g_strconcat(control->path, ".new", NULL);

        if (strlen(name) >= sizeof(address.sun_path)) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG,
                            "%s: this is too long for the name of a socket", control->path);
                return false;
        }
        if (lstat(control->path, &old) == 0 && !S_ISSOCK(old.st_mode)) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                            "%s: there is something else that is no socket", control->path);
                return false;
        }

        control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (control->fd < 0)
                return fail(error, "can't make", control->path);

        g_strlcpy(address.sun_path, name, sizeof(address.sun_path));
        unlink(name); /* of one that was killed just here */
        if (fchmod(control->fd, 0600) < 0 ||
            bind(control->fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                return fail(error, "can't make", name);
        if (listen(control->fd, SOMAXCONN) < 0 || lstat(name, &control->stat) < 0 ||
            rename(name, control->path) < 0) {
                fail(error, "can't make", control->path);
                unlink(name);
                return false;
        }

        return true;
}

/* Our socket's inode is in use while it is open, so nothing else has its number. */
static bool
control_has_path(const Control *control)
{
        struct stat now;

        return lstat(control->path, &now) == 0 && now.st_ino == control->stat.st_ino &&
               now.st_dev == control->stat.st_dev;
}

char *
control_get_default_path(void)
{
        g_auto(GStrv) folders = g_strsplit(g_getenv("RUNTIME_DIRECTORY") ?: "", ":", 2);

        if (!folders[0] || folders[0][0] == '\0')
                return NULL;

        return g_build_filename(folders[0], "control", NULL);
}

Control *
control_new(const char *path, const ControlFuncs *funcs, void *data)
{
        Control *control = g_new0(Control, 1);

        control->funcs = funcs;
        control->data = data;
        control->path = g_strdup(path);
        control->fd = FD_NONE;
        control->connections = g_ptr_array_new();

        return control;
}

bool
control_listen(Control *control, GError **error)
{
        struct stat any;

        if (control->has_left ||
            (control->fd != FD_NONE && (lstat(control->path, &any) == 0 || errno != ENOENT)))
                return true;

        g_clear_handle_id(&control->accepting, g_source_remove);
        fd_clear(&control->fd);
        if (!control_open(control, error)) {
                fd_clear(&control->fd);
                return false;
        }

        control_resume(control);

        return true;
}

void
control_keep(Control *control)
{
        g_autoptr(GError) error = NULL;

        if (!control)
                return;

        if (!control_listen(control, &error) && !control->is_missing)
                g_warning("no control socket: %s", error->message);
        control->is_missing = error != NULL;
}

void
control_free(Control *control)
{
        if (!control)
                return;

        g_clear_handle_id(&control->accepting, g_source_remove);
        g_clear_handle_id(&control->pausing, g_source_remove);
        if (control->fd != FD_NONE && !control->has_left && control_has_path(control))
                unlink(control->path);
        fd_clear(&control->fd); /* from here on nothing makes it accept again */

        while (control->connections->len > 0) {
                Connection *connection = control->connections->pdata[0];

                for (unsigned i = 0; i < connection->calls->len; i++)
                        call_reply(connection->calls->pdata[i], "agitator has ended");
                connection_close(connection);
        }

        g_ptr_array_unref(control->connections);
        g_free(control->path);
        g_free(control);
}

void
control_leave(Control *control)
{
        control->has_left = true;
}

void
control_queue_init(ControlQueue *queue)
{
        *queue = (ControlQueue){ .calls = g_ptr_array_new() };
}

void
control_queue_clear(ControlQueue *queue)
{
        g_clear_pointer(&queue->calls, g_ptr_array_unref);
}

bool
control_queue_is_empty(const ControlQueue *queue)
{
        return queue->calls->len == 0;
}

void
control_queue_add(ControlQueue *queue, ControlCall *call)
{
        g_ptr_array_add(queue->calls, call);
}

void
control_queue_begin(ControlQueue *queue)
{
        queue->n_served = queue->calls->len;
}

void
control_queue_end(ControlQueue *queue, const char *error)
{
        for (unsigned i = 0; i < queue->n_served; i++) {
                if (error)
                        control_call_fail(queue->calls->pdata[i], error);
                else
                        control_call_succeed(queue->calls->pdata[i]);
        }
        if (queue->n_served > 0)
                g_ptr_array_remove_range(queue->calls, 0, queue->n_served);
        queue->n_served = 0;
}

void
control_queue_fail(ControlQueue *queue, const char *reason)
{
        control_queue_begin(queue);
        control_queue_end(queue, reason);
}
