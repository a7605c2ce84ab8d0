/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The options that an accepted connection needs are set here once, since Linux hands them on from
 * the listening socket: TCP_NODELAY, keepalive and the user timeout, none of which Asterisk sets.
 *
 * Closing a listening socket resets the connections in its queue, and Asterisk takes a reset right
 * after connecting for success. So a door is shut first: a socket filter drops new SYNs while
 * everything that has begun can still be accepted.
 */

#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gio.h>
#include <systemd/sd-daemon.h>

#include "base/fd.h"

struct Listener {
        int refs; /* atomic */
        int fd;
        Address address;
        char *passed_name;       /* NULL when bound by us */
        bool is_shared;          /* atomic */
        struct stat socket_file; /* of a Unix socket that we bound */
        char text[ADDRESS_TEXT_SIZE];
};

/* Takes @fd. */
static Listener *
listener_new(int fd, const char *passed_name)
{
        Listener *listener = g_new0(Listener, 1);

        listener->refs = 1;
        listener->fd = fd;
        listener->passed_name = g_strdup(passed_name);
        listener->address.length = sizeof(listener->address) - offsetof(Address, any);
        if (getsockname(fd, &listener->address.any, &listener->address.length) < 0)
                listener->address = (Address){ .length = 0 };
        address_print(&listener->address, listener->text);

        if (!passed_name && listener->address.any.sa_family == AF_UNIX &&
            lstat(listener->address.un.sun_path, &listener->socket_file) < 0)
                listener->socket_file.st_ino = 0;

        fd_set_nodelay(fd);
        fd_set_keepalive(fd);

        return listener;
}

static bool
set_error(GError **error, const char *what, const char *text)
{
        int saved = errno;

        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(saved), "can't %s %s: %s", what,
                    text, g_strerror(saved));

        return false;
}

/* Removes the socket file that a process left behind which is gone. */
static void
remove_stale_socket(const Address *address)
{
        fd_auto int fd = FD_NONE;
        struct stat status;

        if (address->un.sun_path[0] == '\0' || lstat(address->un.sun_path, &status) < 0 ||
            !S_ISSOCK(status.st_mode))
                return;

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, &address->any, address->length) < 0 && errno == ECONNREFUSED)
                unlink(address->un.sun_path);
}

Listener *
listener_bind(const Endpoint *endpoint, GError **error)
{
        fd_auto int fd = FD_NONE;
        char text[ADDRESS_TEXT_SIZE];
        int yes = 1;
        Address address;

        if (!endpoint_get_address(endpoint, &address)) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "can't listen on the name %s: give an address", endpoint->host);
                return NULL;
        }
        address_print(&address, text);

        fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
                set_error(error, "listen on", text);
                return NULL;
        }

        if (address.any.sa_family == AF_UNIX)
                remove_stale_socket(&address);
        else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0)
                g_debug("SO_REUSEADDR: %s", g_strerror(errno));

        /* [::] and 0.0.0.0 are two listeners, each in its own words. */
        if (address.any.sa_family == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));

        if (bind(fd, &address.any, address.length) < 0 || listen(fd, LISTENER_BACKLOG) < 0) {
                set_error(error, "listen on", text);
                return NULL;
        }

        return listener_new(fd_steal(&fd), NULL);
}

GPtrArray *
listener_take_passed(GError **error)
{
        g_autoptr(GPtrArray) listeners =
                g_ptr_array_new_with_free_func((GDestroyNotify)listener_unref);
        char **names = NULL;
        int n = sd_listen_fds_with_names(true, &names);
        bool good = true;

        if (n < 0) {
                errno = -n;
                set_error(error, "take the sockets in", "LISTEN_FDS");
                return NULL;
        }

        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;

                if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) > 0) {
                        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
                        g_ptr_array_add(listeners, listener_new(fd, names[i]));
                } else if (good) {
                        good = false;
                        g_set_error(
                                error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                                "descriptor %d (%s) is no listening stream socket: the socket unit "
                                "needs ListenStream= and Accept=no",
                                fd, names[i]);
                }
                free(names[i]);
        }
        free(names);

        return good ? g_steal_pointer(&listeners) : NULL;
}

Listener *
listener_take_over(int fd, const char *passed_name, GError **error)
{
        fd_auto int own = fd;
        Listener *listener;

        if (sd_is_socket(own, AF_UNSPEC, SOCK_STREAM, 1) <= 0) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "descriptor %d is no listening stream socket", fd);
                return NULL;
        }

        listener = listener_new(fd_steal(&own), passed_name);
        listener->is_shared = true;

        return listener;
}

Listener *
listener_ref(Listener *listener)
{
        __atomic_add_fetch(&listener->refs, 1, __ATOMIC_RELAXED);

        return listener;
}

void
listener_set_shared(Listener *listener, bool is_shared)
{
        __atomic_store_n(&listener->is_shared, is_shared, __ATOMIC_RELAXED);
}

bool
listener_is_shared(const Listener *listener)
{
        return __atomic_load_n(&listener->is_shared, __ATOMIC_RELAXED);
}

/* The socket's file, unless somebody else has put his own there meanwhile. */
static void
listener_remove_file(const Listener *listener)
{
        const char *path = listener->address.un.sun_path;
        struct stat status;

        if (!listener_is_shared(listener) && listener->socket_file.st_ino != 0 &&
            lstat(path, &status) == 0 && status.st_ino == listener->socket_file.st_ino &&
            status.st_dev == listener->socket_file.st_dev)
                unlink(path);
}

void
listener_unref(Listener *listener)
{
        if (!listener || __atomic_sub_fetch(&listener->refs, 1, __ATOMIC_ACQ_REL) > 0)
                return;

        listener_remove_file(listener);
        fd_clear(&listener->fd);
        g_free(listener->passed_name);
        g_free(listener);
}

int
listener_get_fd(const Listener *listener)
{
        return listener->fd;
}

const char *
listener_get_text(const Listener *listener)
{
        return listener->text;
}

const char *
listener_get_passed_name(const Listener *listener)
{
        return listener->passed_name;
}

bool
listener_is_in_the_way(const Listener *listener, const Endpoint *endpoint)
{
        const Address *address = &listener->address;
        unsigned port = 0;

        if (address->any.sa_family == AF_INET)
                port = ntohs(address->in.sin_port);
        else if (address->any.sa_family == AF_INET6)
                port = ntohs(address->in6.sin6_port);

        return port != 0 && port == endpoint->port;
}

bool
listener_is_bound_to(const Listener *listener, const Endpoint *endpoint)
{
        Address address;

        return !listener->passed_name && endpoint_get_address(endpoint, &address) &&
               address_equal(&listener->address, &address);
}

ListenerAccept
listener_accept(Listener *listener, int *fd, Address *client)
{
        client->length = sizeof(*client) - offsetof(Address, any);
        *fd = accept4(listener->fd, &client->any, &client->length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (*fd >= 0) {
                address_normalise(client);
                return LISTENER_ACCEPTED;
        }

        /* Everything else is about a connection that failed before it was accepted (accept(2)). */
        if (fd_is_shortage(errno))
                return LISTENER_NO_RESOURCES;

        return LISTENER_EMPTY;
}

bool
listener_shut_door(Listener *listener)
{
        /* The filter sees a segment from its TCP header on: flags are the 14th byte, SYN is 0x02,
         * ACK 0x10. */
        static struct sock_filter drop_syn[] = {
                BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
                BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, 0),
                BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
        };
        const struct sock_fprog program = { G_N_ELEMENTS(drop_syn), drop_syn };

        if (listener->passed_name || listener_is_shared(listener))
                return false;
        if (listener->address.any.sa_family == AF_UNIX)
                return true;

        if (setsockopt(listener->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
                g_debug("SO_ATTACH_FILTER on %s: %s", listener->text, g_strerror(errno));

        return true;
}
