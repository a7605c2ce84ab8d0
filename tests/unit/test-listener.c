/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gio/gio.h>
#include <glib.h>
#include <glib/gstdio.h>

#include "base/fd.h"
#include "net/address.h"
#include "net/listener.h"

/* A folder of the test's own, for sockets. */
typedef struct Fixture {
        char *folder;
        char *path;
        Endpoint *endpoint;
} Fixture;

static void
fixture_set_up(Fixture *fixture, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;

        fixture->folder = g_dir_make_tmp("agitator-XXXXXX", &error);
        g_assert_no_error(error);
        fixture->path = g_build_filename(fixture->folder, "socket", NULL);
        text = g_strdup_printf("unix:%s", fixture->path);
        fixture->endpoint = endpoint_parse(text, 4573, &error);
        g_assert_no_error(error);
}

static void
fixture_tear_down(Fixture *fixture, const void *data)
{
        endpoint_free(fixture->endpoint);
        g_unlink(fixture->path);
        g_assert_cmpint(g_rmdir(fixture->folder), ==, 0);
        g_free(fixture->path);
        g_free(fixture->folder);
}

/* A socket that listens at the fixture's path, as any other process would make it. */
static int
make_socket(const Fixture *fixture)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_strlcpy(address.sun_path, fixture->path, sizeof(address.sun_path));
        g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
        g_assert_cmpint(listen(fd, 1), ==, 0);

        return fd;
}

static void
test_left_behind_is_replaced(Fixture *fixture, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Listener) listener = NULL;
        G_GNUC_UNUSED fd_auto int old = make_socket(fixture);

        /* As when a process is killed: the file is there, and nobody behind it. */
        fd_clear(&old);
        g_assert_true(g_file_test(fixture->path, G_FILE_TEST_EXISTS));

        listener = listener_bind(fixture->endpoint, &error);
        g_assert_no_error(error);
        g_assert_true(listener_is_bound_to(listener, fixture->endpoint));
        g_clear_pointer(&listener, listener_unref);
        g_assert_false(g_file_test(fixture->path, G_FILE_TEST_EXISTS));
}

static void
test_in_use_is_left(Fixture *fixture, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Listener) listener = NULL;
        G_GNUC_UNUSED fd_auto int old = make_socket(fixture);

        listener = listener_bind(fixture->endpoint, &error);
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
        g_assert_nonnull(strstr(error->message, fixture->path));
        g_assert_null(listener);
        g_assert_true(g_file_test(fixture->path, G_FILE_TEST_EXISTS));
}

static void
test_file_is_left(Fixture *fixture, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Listener) listener = NULL;
        g_autofree char *text = NULL;

        g_assert_true(g_file_set_contents(fixture->path, "precious", -1, NULL));
        listener = listener_bind(fixture->endpoint, &error);
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
        g_assert_null(listener);
        g_assert_true(g_file_get_contents(fixture->path, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "precious");
}

static void
test_name_is_refused(void)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Endpoint) endpoint = endpoint_parse("ivr.example.com", 4573, &error);
        g_autoptr(Listener) listener = NULL;

        g_assert_no_error(error);
        listener = listener_bind(endpoint, &error);
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
        g_assert_nonnull(strstr(error->message, "ivr.example.com"));
        g_assert_null(listener);
}

/* What is handed over and is no listening stream socket is refused, and closed. */
static void
test_taken_over(Fixture *fixture, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Listener) good = listener_take_over(make_socket(fixture), "plain", &error);
        int idle = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_no_error(error);
        g_assert_cmpstr(listener_get_passed_name(good), ==, "plain");
        g_assert_true(listener_is_shared(good));
        g_assert_false(listener_shut_door(good));

        g_assert_null(listener_take_over(idle, NULL, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
        g_assert_cmpint(fcntl(idle, F_GETFD), <, 0);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

#define ADD(name, func)                                                                            \
        g_test_add("/listener/" name, Fixture, NULL, fixture_set_up, func, fixture_tear_down)
        ADD("left-behind-is-replaced", test_left_behind_is_replaced);
        ADD("in-use-is-left", test_in_use_is_left);
        ADD("file-is-left", test_file_is_left);
        ADD("taken-over", test_taken_over);
        g_test_add_func("/listener/name-is-refused", test_name_is_refused);

        return g_test_run();
}
