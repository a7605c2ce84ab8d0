/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon's end of the control socket; GDBus is at the other, in the same main loop. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib.h>
#include <glib/gstdio.h>

#include "base/control-name.h"
#include "base/fd.h"
#include "daemon/control.h"

#define ROOM 64 /* for connections */

/* The control under test, and the calls that it has passed on. */
typedef struct Daemon {
        char *folder, *path;
        Control *control;
        GPtrArray *calls;
        bool frees; /* the control, from within a call */
} Daemon;

/* A call as its caller sees it. */
typedef struct Caller {
        const char *method;
        GDBusConnection *connection;
        bool ended;
        GError *error;
} Caller;

static void
daemon_on_call(ControlCall *call, void *data)
{
        Daemon *daemon = data;

        g_ptr_array_add(daemon->calls, call);
        if (daemon->frees)
                g_clear_pointer(&daemon->control, control_free);
}

static const ControlFuncs funcs = { .reload = daemon_on_call };

static Control *
daemon_make_control(Daemon *daemon)
{
        g_autoptr(GError) error = NULL;
        Control *control = control_new(daemon->path, &funcs, daemon);

        g_assert_true(control_listen(control, &error));
        g_assert_no_error(error);
        return control;
}

static void
daemon_init(Daemon *daemon)
{
        g_autoptr(GError) error = NULL;

        *daemon = (Daemon){ .folder = g_dir_make_tmp(NULL, &error) };
        g_assert_no_error(error);
        daemon->path = g_build_filename(daemon->folder, "control", NULL);
        daemon->calls = g_ptr_array_new();
        daemon->control = daemon_make_control(daemon);
}

static void
daemon_clear(Daemon *daemon)
{
        control_free(daemon->control);
        g_assert_cmpuint(daemon->calls->len, ==, 0);
        g_ptr_array_unref(daemon->calls);
        g_assert_cmpint(g_rmdir(daemon->folder), ==, 0); /* nothing is left in it */
        g_free(daemon->path);
        g_free(daemon->folder);
}

/* Waits for @n calls to be there. */
static void
daemon_wait_calls(Daemon *daemon, unsigned n)
{
        while (daemon->calls->len < n)
                g_main_context_iteration(NULL, TRUE);
        g_assert_cmpuint(daemon->calls->len, ==, n);
}

static ControlCall *
daemon_take_call(Daemon *daemon)
{
        while (daemon->calls->len == 0)
                g_main_context_iteration(NULL, TRUE);

        return g_ptr_array_steal_index(daemon->calls, 0);
}

static void
caller_on_answer(GObject *object, GAsyncResult *result, void *data)
{
        Caller *caller = data;
        g_autoptr(GVariant) answer = NULL;

        answer = g_dbus_connection_call_finish(G_DBUS_CONNECTION(object), result, &caller->error);
        caller->ended = true;
}

static void
caller_call(Caller *caller)
{
        g_dbus_connection_call(caller->connection, NULL, CONTROL_OBJECT, CONTROL_INTERFACE,
                               caller->method, NULL, NULL, G_DBUS_CALL_FLAGS_NONE, G_MAXINT, NULL,
                               caller_on_answer, caller);
}

static void
caller_on_connected(GObject *object, GAsyncResult *result, void *data)
{
        Caller *caller = data;

        caller->connection = g_dbus_connection_new_for_address_finish(result, &caller->error);
        if (caller->connection)
                caller_call(caller);
        else
                caller->ended = true;
}

static void
caller_start(Caller *caller, const Daemon *daemon, const char *method)
{
        g_autofree char *address = g_strconcat("unix:path=", daemon->path, NULL);

        *caller = (Caller){ .method = method };
        g_dbus_connection_new_for_address(address, G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT,
                                          NULL, NULL, caller_on_connected, caller);
}

static void
caller_wait(Caller *caller)
{
        while (!caller->ended)
                g_main_context_iteration(NULL, TRUE);
}

static void
caller_clear(Caller *caller)
{
        g_clear_object(&caller->connection);
        g_clear_error(&caller->error);
}

/* Waits for the answer: @name and @message of the error, NULL for success. */
static void
caller_expect(Caller *caller, const char *name, const char *message)
{
        caller_wait(caller);
        if (name) {
                g_autofree char *remote = NULL;

                g_assert_nonnull(caller->error);
                remote = g_dbus_error_get_remote_error(caller->error);
                g_dbus_error_strip_remote_error(caller->error);
                g_assert_cmpstr(remote, ==, name);
                g_assert_cmpstr(caller->error->message, ==, message);
        } else {
                g_assert_no_error(caller->error);
        }
        caller_clear(caller);
}

/* That a call is taken, answered and received. */
static void
assert_serves(Daemon *daemon)
{
        Caller caller;

        caller_start(&caller, daemon, "Reload");
        control_call_succeed(daemon_take_call(daemon));
        caller_expect(&caller, NULL, NULL);
}

/* A bare connection. */
static int
connect_to(const char *path)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        g_assert_cmpint(fd, >=, 0);
        g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
        g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);

        return fd;
}

static void
assert_new_fails(const Daemon *daemon, const char *path, int code, const char *part)
{
        g_autoptr(GError) error = NULL;
        Control *control = control_new(path, &funcs, NULL);

        g_assert_false(control_listen(control, &error));
        control_free(control);
        g_assert_error(error, G_IO_ERROR, code);
        g_assert_nonnull(strstr(error->message, path));
        g_assert_nonnull(strstr(error->message, part));
}

static void
test_default_path(void)
{
        g_autofree char *one = NULL, *several = NULL;

        g_unsetenv("RUNTIME_DIRECTORY");
        g_assert_null(control_get_default_path());
        g_setenv("RUNTIME_DIRECTORY", "", TRUE);
        g_assert_null(control_get_default_path());
        g_setenv("RUNTIME_DIRECTORY", "/run/one", TRUE);
        one = control_get_default_path();
        g_assert_cmpstr(one, ==, "/run/one/control");
        g_setenv("RUNTIME_DIRECTORY", "/run/two:/run/one", TRUE);
        several = control_get_default_path();
        g_assert_cmpstr(several, ==, "/run/two/control");
        g_unsetenv("RUNTIME_DIRECTORY");
}

static void
test_answers(void)
{
        Daemon daemon;
        Caller caller;

        daemon_init(&daemon);

        caller_start(&caller, &daemon, "Reload");
        control_call_succeed(daemon_take_call(&daemon));
        caller_expect(&caller, NULL, NULL);

        caller_start(&caller, &daemon, "Reload");
        control_call_fail(daemon_take_call(&daemon), "a.conf:7: no");
        caller_expect(&caller, CONTROL_ERROR_FAILED, "a.conf:7: no");

        /* A file's name is bytes, D-Bus has text. */
        caller_start(&caller, &daemon, "Reload");
        control_call_fail(daemon_take_call(&daemon), "\xff.conf:7: no");
        caller_expect(&caller, CONTROL_ERROR_FAILED, "\xef\xbf\xbd.conf:7: no");

        caller_start(&caller, &daemon, "Upgrade"); /* without a func */
        caller_expect(&caller, "org.freedesktop.DBus.Error.NotSupported",
                      "this agitator can't do that");
        caller_start(&caller, &daemon, "Dance");
        caller_wait(&caller);
        g_assert_error(caller.error, G_DBUS_ERROR, G_DBUS_ERROR_UNKNOWN_METHOD);
        caller_clear(&caller);

        daemon_clear(&daemon);
}

static void
test_several_calls(void)
{
        Daemon daemon;
        Caller first, second, third;

        daemon_init(&daemon);
        caller_start(&first, &daemon, "Reload");
        daemon_wait_calls(&daemon, 1);
        caller_start(&second, &daemon, "Reload");
        daemon_wait_calls(&daemon, 2);

        /* One that calls again before it is answered. */
        third = (Caller){ .method = "Reload", .connection = g_object_ref(first.connection) };
        caller_call(&third);
        daemon_wait_calls(&daemon, 3);

        control_call_succeed(g_ptr_array_steal_index(daemon.calls, 2));
        caller_expect(&third, NULL, NULL);
        control_call_fail(g_ptr_array_steal_index(daemon.calls, 1), "second");
        caller_expect(&second, CONTROL_ERROR_FAILED, "second");
        g_assert_false(first.ended);
        control_call_fail(daemon_take_call(&daemon), "first");
        caller_expect(&first, CONTROL_ERROR_FAILED, "first");

        daemon_clear(&daemon);
}

/* So many of one caller, no more. */
static void
test_too_many_calls(void)
{
        Daemon daemon;
        Caller callers[18];
        unsigned n = G_N_ELEMENTS(callers), refused = 0;

        daemon_init(&daemon);
        caller_start(&callers[0], &daemon, "Reload");
        daemon_wait_calls(&daemon, 1);
        for (unsigned i = 1; i < n; i++) {
                callers[i] = (Caller){ .method = "Reload",
                                       .connection = g_object_ref(callers[0].connection) };
                caller_call(&callers[i]);
        }
        caller_wait(&callers[n - 1]);
        daemon_wait_calls(&daemon, 16);
        while (daemon.calls->len > 0)
                control_call_succeed(daemon_take_call(&daemon));

        for (unsigned i = 0; i < n; i++) {
                caller_wait(&callers[i]);
                refused += g_error_matches(callers[i].error, G_DBUS_ERROR,
                                           G_DBUS_ERROR_LIMITS_EXCEEDED);
                caller_clear(&callers[i]);
        }
        g_assert_cmpuint(refused, ==, 2);
        daemon_clear(&daemon);
}

static void
test_caller_goes_away(void)
{
        Daemon daemon;
        Caller caller;
        ControlCall *calls[2];

        daemon_init(&daemon);
        for (unsigned i = 0; i < 2; i++) {
                caller_start(&caller, &daemon, "Reload");
                calls[i] = daemon_take_call(&daemon);
                g_dbus_connection_close_sync(caller.connection, NULL, NULL);
                caller_wait(&caller);
                g_assert_error(caller.error, G_IO_ERROR, G_IO_ERROR_CLOSED);
                caller_clear(&caller);

                /* The first end is seen before the answer, the second is not. */
                if (i == 0)
                        assert_serves(&daemon);
        }
        control_call_fail(calls[0], "nobody hears it");
        control_call_succeed(calls[1]);
        assert_serves(&daemon);

        daemon_clear(&daemon);
}

static void
test_free_fails_calls(void)
{
        Daemon daemon;
        Caller answered, waiting;

        daemon_init(&daemon);
        caller_start(&answered, &daemon, "Reload");
        daemon_wait_calls(&daemon, 1);
        caller_start(&waiting, &daemon, "Reload");
        daemon_wait_calls(&daemon, 2);
        control_call_fail(daemon_take_call(&daemon), "answered");
        g_clear_pointer(&daemon.control, control_free);

        caller_expect(&answered, CONTROL_ERROR_FAILED, "answered");
        caller_expect(&waiting, CONTROL_ERROR_FAILED, "agitator has ended");
        control_call_succeed(daemon_take_call(&daemon));

        daemon_clear(&daemon);
}

static void
test_free_in_a_call(void)
{
        Daemon daemon;
        Caller caller;

        daemon_init(&daemon);
        daemon.frees = true;
        caller_start(&caller, &daemon, "Reload");
        caller_expect(&caller, CONTROL_ERROR_FAILED, "agitator has ended");
        control_call_fail(daemon_take_call(&daemon), "too late");

        daemon_clear(&daemon);
}

static void
test_socket(void)
{
        Daemon daemon;
        struct stat info;

        daemon_init(&daemon);
        g_assert_cmpint(lstat(daemon.path, &info), ==, 0);
        g_assert_cmphex(info.st_mode, ==, S_IFSOCK | 0600);
        g_clear_pointer(&daemon.control, control_free);
        g_assert_cmpint(lstat(daemon.path, &info), <, 0);
        g_assert_cmpint(errno, ==, ENOENT);

        daemon_clear(&daemon);
}

static void
test_bad_paths(void)
{
        Daemon daemon;
        g_autofree char *name = g_strnfill(120, 'x');
        g_autofree char *path = NULL, *missing = NULL, *text = NULL;

        daemon_init(&daemon);
        path = g_build_filename(daemon.folder, name, NULL);
        assert_new_fails(&daemon, path, G_IO_ERROR_FILENAME_TOO_LONG, "too long");
        missing = g_build_filename(daemon.folder, "none", "control", NULL);
        assert_new_fails(&daemon, missing, G_IO_ERROR_NOT_FOUND, g_strerror(ENOENT));
        assert_new_fails(&daemon, daemon.folder, G_IO_ERROR_EXISTS, "no socket");

        /* What is no socket stays as it is. */
        g_clear_pointer(&daemon.control, control_free);
        g_assert_true(g_file_set_contents(daemon.path, "precious", -1, NULL));
        assert_new_fails(&daemon, daemon.path, G_IO_ERROR_EXISTS, "no socket");
        g_assert_true(g_file_get_contents(daemon.path, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "precious");
        g_unlink(daemon.path);

        daemon_clear(&daemon);
}

/* What a killed daemon leaves behind: a socket that refuses, even under the other name. */
static void
test_stale_socket(void)
{
        Daemon daemon;
        g_autofree char *other = NULL;

        daemon_init(&daemon);
        other = g_strconcat(daemon.path, ".new", NULL);
        g_clear_pointer(&daemon.control, control_free);
        for (unsigned i = 0; i < 2; i++) {
                struct sockaddr_un address = { .sun_family = AF_UNIX };
                fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

                g_strlcpy(address.sun_path, i == 0 ? daemon.path : other, sizeof(address.sun_path));
                g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
        }
        daemon.control = daemon_make_control(&daemon);
        assert_serves(&daemon);

        daemon_clear(&daemon);
}

/* The predecessor answers whom it has, and leaves its successor's socket alone. */
static void
test_successor(void)
{
        Daemon daemon;
        Control *predecessor;
        Caller caller;

        daemon_init(&daemon);
        caller_start(&caller, &daemon, "Reload");
        daemon_wait_calls(&daemon, 1);

        predecessor = daemon.control;
        daemon.control = daemon_make_control(&daemon);
        control_call_succeed(daemon_take_call(&daemon));
        caller_expect(&caller, NULL, NULL);
        assert_serves(&daemon);
        control_free(predecessor);
        assert_serves(&daemon);

        daemon_clear(&daemon);
}

/* Until the other side closes. */
static void
wait_end(int fd)
{
        char byte;
        ssize_t n;

        while ((n = recv(fd, &byte, 1, 0)) > 0 || (n < 0 && errno == EAGAIN)) {
                if (n < 0)
                        g_main_context_iteration(NULL, TRUE);
        }
        g_assert_true(n == 0 || errno == ECONNRESET);
}

static void
test_junk(void)
{
        static const char *const junk[] = {
                "GET / HTTP/1.0\r\n\r\n",
                "\xff\xff\xff\xff\xff\xff\xff\xff",
                "AUTH EXTERNAL 30\r\n", /* without the byte in front */
                "\1AUTH ANONYMOUS\r\n", /* \1 stands for it below */
                "\1AUTH EXTERNAL\r\nBEGIN\r\nYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYYY",
        };
        Daemon daemon;

        daemon_init(&daemon);
        for (size_t i = 0; i < G_N_ELEMENTS(junk); i++) {
                fd_auto int fd = connect_to(daemon.path);
                g_autofree char *text = g_strdup(junk[i]);
                size_t length = strlen(text);

                if (text[0] == '\1')
                        text[0] = '\0';
                g_assert_cmpint(send(fd, text, length, MSG_NOSIGNAL), ==, (ssize_t)length);
                /* A mechanism that is refused may be followed by another; an end can't. */
                shutdown(fd, SHUT_WR);
                wait_end(fd);
        }
        assert_serves(&daemon);

        daemon_clear(&daemon);
}

/* Two calls in the very packet that ends the authentication: no event tells of them any more. */
static void
test_one_packet(void)
{
        /* Little endian, no body; the serial number is at 8. In the fields 'o' is the path, 's' the
         * interface, then the method. */
        static const char call[] = "l\1\0\1\0\0\0\0\1\0\0\0\x47\0\0\0"
                                   "\1\1o\0\x0e\0\0\0/org/agitator1\0\0"
                                   "\2\1s\0\x15\0\0\0org.agitator1.Manager\0\0\0"
                                   "\3\1s\0\6\0\0\0Reload\0"; /* and one more to fill up */
        g_autofree char *uid = g_strdup_printf("%u", (unsigned)getuid());
        g_autoptr(GString) packet = g_string_new_len("\0AUTH EXTERNAL ", 15);
        Daemon daemon;
        fd_auto int fd = FD_NONE;

        for (const char *digit = uid; *digit; digit++)
                g_string_append_printf(packet, "%02x", (unsigned)*digit);
        g_string_append(packet, "\r\nBEGIN\r\n");
        for (unsigned i = 0; i < 2; i++)
                g_string_append_len(packet, call, sizeof(call));

        daemon_init(&daemon);
        fd = connect_to(daemon.path);
        g_assert_cmpint(send(fd, packet->str, packet->len, MSG_NOSIGNAL), ==, (ssize_t)packet->len);
        daemon_wait_calls(&daemon, 2);
        control_call_succeed(daemon_take_call(&daemon));
        control_call_succeed(daemon_take_call(&daemon));

        daemon_clear(&daemon);
}

/* Who says nothing doesn't keep others out. */
static void
test_silent_connections(void)
{
        Daemon daemon;
        int fds[ROOM + 10];

        daemon_init(&daemon);
        for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
                fds[i] = connect_to(daemon.path);
        assert_serves(&daemon);
        wait_end(fds[0]); /* who came first gave way */
        for (size_t i = 0; i < G_N_ELEMENTS(fds); i++)
                fd_clear(&fds[i]);
        assert_serves(&daemon);

        daemon_clear(&daemon);
}

static gboolean
on_timeout(void *data)
{
        *(bool *)data = true;

        return G_SOURCE_REMOVE;
}

/* Who waits for an answer never gives way, and who comes after them gets his turn. */
static void
test_no_room(void)
{
        Daemon daemon;
        Caller callers[ROOM + 10];
        unsigned n = G_N_ELEMENTS(callers);
        bool is_over = false;

        daemon_init(&daemon);
        for (unsigned i = 0; i < n; i++)
                caller_start(&callers[i], &daemon, "Reload");
        daemon_wait_calls(&daemon, ROOM);

        /* Longer than the silent are let alone: those stay, and nobody comes in. */
        g_timeout_add(1500, on_timeout, &is_over);
        while (!is_over)
                g_main_context_iteration(NULL, TRUE);
        g_assert_cmpuint(daemon.calls->len, ==, ROOM);

        for (unsigned i = 0; i < n; i++)
                control_call_succeed(daemon_take_call(&daemon));
        for (unsigned i = 0; i < n; i++)
                caller_expect(&callers[i], NULL, NULL);

        daemon_clear(&daemon);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/control/default-path", test_default_path);
        g_test_add_func("/control/answers", test_answers);
        g_test_add_func("/control/several-calls", test_several_calls);
        g_test_add_func("/control/too-many-calls", test_too_many_calls);
        g_test_add_func("/control/caller-goes-away", test_caller_goes_away);
        g_test_add_func("/control/free-fails-calls", test_free_fails_calls);
        g_test_add_func("/control/free-in-a-call", test_free_in_a_call);
        g_test_add_func("/control/socket", test_socket);
        g_test_add_func("/control/bad-paths", test_bad_paths);
        g_test_add_func("/control/stale-socket", test_stale_socket);
        g_test_add_func("/control/successor", test_successor);
        g_test_add_func("/control/junk", test_junk);
        g_test_add_func("/control/one-packet", test_one_packet);
        g_test_add_func("/control/silent-connections", test_silent_connections);
        g_test_add_func("/control/no-room", test_no_room);

        return g_test_run();
}
