/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GLib forks twice for a process whose end nobody waits for, and the one in between ends at once,
 * so process 1 is its parent: systemd would else not notice when it ends. That it is alive, the
 * channel says.
 */

#include "daemon/successor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <gio/gio.h>

#include "base/fd.h"
#include "net/credentials.h"
#include "net/listener.h"

/* What descriptors are called over there. */
#define FD_OFFER   3
#define FD_CHANNEL 4
#define FD_LEDGER  5
#define FD_SOCKETS 6

#define GRACE 5 /* seconds for one that is told to end, before it is killed */

struct Successor {
        GPid pid;
        int channel;
        guint source;
        Ledger *ledger;
        unsigned process; /* its number in the ledger */
        bool has_service;
        guint killer; /* of one that is told to end; 0: not yet */
        HandoverFunc func;
        void *data;
};

char *
successor_find_program(void)
{
        static const char deleted[] = " (deleted)";
        char *path = g_file_read_link("/proc/self/exe", NULL);

        /* What a package manager has just replaced; the new file has the old name. */
        if (path && g_str_has_suffix(path, deleted))
                path[strlen(path) - strlen(deleted)] = '\0';

        return path;
}

static void
set_error(GError **error, const char *what)
{
        int saved = errno;

        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(saved), "%s: %s", what,
                    g_strerror(saved));
}

/* GLib has a shell run what the kernel can't, and what a half-finished installation left there is
 * not for a shell. */
static bool
check_program(const char *program, GError **error)
{
        char head[4] = { 0 };
        fd_auto int fd = FD_NONE;

        if (!program) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                            "where this program is installed can't be told without /proc");
                return false;
        }

        fd = open(program, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || read(fd, head, sizeof(head)) < 0) {
                set_error(error, program);
                return false;
        }
        if (memcmp(head, "\177ELF", 4) != 0 && memcmp(head, "#!", 2) != 0) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s is no program",
                            program);
                return false;
        }

        return true;
}

/* A file in memory with the offer, to be read from its beginning. */
static int
make_offer(const Handover *handover, GError **error)
{
        fd_auto int fd = memfd_create("agitator-handover", MFD_CLOEXEC);
        g_autofree char *text = handover_print(handover);
        size_t length = strlen(text);

        if (fd < 0 || TEMP_FAILURE_RETRY(write(fd, text, length)) != (ssize_t)length ||
            lseek(fd, 0, SEEK_SET) < 0) {
                set_error(error, "can't write what is handed over");
                return FD_NONE;
        }

        return fd_steal(&fd);
}

/* The descriptors of @listeners and what they are called, here and over there. */
static void
list_sockets(const GPtrArray *listeners, Handover *handover, GArray *sources, GArray *targets)
{
        for (unsigned i = 0; i < listeners->len; i++) {
                const Listener *listener = listeners->pdata[i];
                int source = listener_get_fd(listener);
                int target = FD_SOCKETS + (int)i;

                handover_add_socket(handover, target, listener_get_passed_name(listener));
                g_array_append_val(sources, source);
                g_array_append_val(targets, target);
        }
}

/* This process's, but for what is about this process alone. */
static GStrv
make_environment(void)
{
        g_autofree char *offer = g_strdup_printf("%d", FD_OFFER);
        GStrv environment = g_get_environ();

        environment = g_environ_unsetenv(environment, "WATCHDOG_PID");

        return g_environ_setenv(environment, HANDOVER_VARIABLE, offer, TRUE);
}

static bool
successor_spawn(Successor *successor,
                const char *program,
                const char *config,
                const GPtrArray *listeners,
                int channel,
                GError **error)
{
        const char *arguments[] = { program, config ? "--config" : NULL, config, NULL };
        const int first[] = { FD_OFFER, FD_CHANNEL, FD_LEDGER };
        g_autoptr(Handover) handover = handover_new();
        g_autoptr(GArray) sources = g_array_new(FALSE, TRUE, sizeof(int));
        g_autoptr(GArray) targets = g_array_new(FALSE, TRUE, sizeof(int));
        g_auto(GStrv) environment = make_environment();
        fd_auto int offer = FD_NONE;

        handover->channel = FD_CHANNEL;
        handover->ledger = FD_LEDGER;
        handover->process = successor->process;
        handover->ticket_secret = g_bytes_ref(credentials_get_ticket_secret());
        g_array_set_size(sources, G_N_ELEMENTS(first));
        g_array_append_vals(targets, first, G_N_ELEMENTS(first));
        list_sockets(listeners, handover, sources, targets);

        offer = make_offer(handover, error);
        if (offer < 0)
                return false;
        g_array_index(sources, int, 0) = offer;
        g_array_index(sources, int, 1) = channel;
        g_array_index(sources, int, 2) = ledger_get_fd(successor->ledger);

        return g_spawn_async_with_pipes_and_fds(
                NULL, arguments, (const char *const *)environment, G_SPAWN_CHILD_INHERITS_STDIN,
                NULL, NULL, -1, -1, -1, (const int *)(const void *)sources->data,
                (const int *)(const void *)targets->data, sources->len, &successor->pid, NULL, NULL,
                NULL, error);
}

static void
successor_destroy(Successor *successor)
{
        if (successor->source != 0)
                g_source_remove(successor->source);
        g_clear_handle_id(&successor->killer, g_source_remove);
        fd_clear(&successor->channel);
        g_free(successor);
}

static void
successor_on_message(HandoverMessage message, const char *text, void *data)
{
        Successor *successor = data;

        if (message == HANDOVER_END) {
                successor->source = 0;
                ledger_unclaim(successor->ledger, successor->process);
        }
        if (successor->killer == 0)
                successor->func(message, text, successor->data);
        else if (message == HANDOVER_END)
                successor_destroy(successor);
}

static gboolean
successor_on_grace_end(void *data)
{
        Successor *successor = data;

        /* It has the channel, so the number is its own. */
        kill(successor->pid, SIGKILL);

        return G_SOURCE_CONTINUE;
}

Successor *
successor_start(const char *program,
                const char *config,
                const GPtrArray *listeners,
                Ledger *ledger,
                HandoverFunc func,
                void *data,
                GError **error)
{
        g_autoptr(Successor) successor = NULL;
        fd_auto int theirs = FD_NONE;
        int channel[2];

        if (!check_program(program, error))
                return NULL;

        successor = g_new0(Successor, 1);
        *successor =
                (Successor){ .channel = FD_NONE, .ledger = ledger, .func = func, .data = data };
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, channel) < 0) {
                set_error(error, "can't make a channel to it");
                return NULL;
        }
        successor->channel = channel[0];
        theirs = channel[1];

        if (!ledger_claim(ledger, &successor->process)) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_TOO_MANY_OPEN_FILES,
                            "%d older processes have not ended yet", LEDGER_PROCESSES - 1);
                return NULL;
        }
        if (!successor_spawn(successor, program, config, listeners, theirs, error)) {
                ledger_unclaim(ledger, successor->process);
                return NULL;
        }
        successor->source = handover_watch(successor->channel, successor_on_message, successor);

        return g_steal_pointer(&successor);
}

pid_t
successor_get_pid(const Successor *successor)
{
        return successor->pid;
}

void
successor_go(Successor *successor)
{
        successor->has_service = true;
        handover_send(successor->channel, HANDOVER_GO, NULL);
}

void
successor_free(Successor *successor)
{
        if (!successor)
                return;

        if (successor->source == 0 || successor->has_service) {
                successor_destroy(successor);
                return;
        }

        /* Until it is gone it has its number in the ledger, and may be hung. */
        kill(successor->pid, SIGTERM);
        successor->killer = g_timeout_add_seconds(GRACE, successor_on_grace_end, successor);
}
