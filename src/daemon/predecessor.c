/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Descriptors that were handed over lose nothing by an error: the other process has them too, and
 * goes on when this one ends.
 */

#include "daemon/predecessor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gio.h>

#include "base/fd.h"
#include "base/log-id.h"
#include "net/credentials.h"
#include "net/listener.h"

#define MAX_OFFER (4 * 1024 * 1024)

struct Predecessor {
        Handover *handover;
        int channel;
        guint source;
        HandoverFunc func;
        void *data;
};

/* All of the file that HANDOVER_VARIABLE names, which is closed. */
static char *
read_offer(const char *variable, gsize *length, GError **error)
{
        fd_auto int fd = FD_NONE;
        g_autofree char *text = NULL;
        struct stat status;
        gint64 number;

        if (!g_ascii_string_to_signed(variable, 10, 3, G_MAXINT, &number, error))
                return NULL;

        fd = (int)number;
        if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > MAX_OFFER) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "descriptor %d is no offer of another process", fd);
                fd_steal(&fd); /* whoever's it is */
                return NULL;
        }

        *length = (gsize)status.st_size;
        text = g_malloc(*length + 1);
        if (TEMP_FAILURE_RETRY(pread(fd, text, *length, 0)) != (ssize_t)*length) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "the offer is cut short");
                return NULL;
        }
        text[*length] = '\0';

        return g_steal_pointer(&text);
}

static bool
keep_descriptor(int fd, GError **error)
{
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "descriptor %d was not handed over", fd);
                return false;
        }

        return true;
}

/* NULL without an error when there is none. */
static Predecessor *
predecessor_take(GError **error)
{
        g_autofree char *variable = g_strdup(g_getenv(HANDOVER_VARIABLE));
        g_autoptr(Handover) handover = NULL;
        g_autofree char *text = NULL;
        Predecessor *predecessor;
        gsize length;

        if (!variable)
                return NULL;
        g_unsetenv(HANDOVER_VARIABLE);

        text = read_offer(variable, &length, error);
        if (text)
                handover = handover_parse(text, length, error);
        if (!handover || !keep_descriptor(handover->channel, error) ||
            !keep_descriptor(handover->ledger, error)) {
                g_prefix_error(error, "what the process before this one handed over is wrong: ");
                return NULL;
        }

        predecessor = g_new0(Predecessor, 1);
        predecessor->channel = handover->channel;
        credentials_set_ticket_secret(handover->ticket_secret);
        predecessor->handover = g_steal_pointer(&handover);

        return predecessor;
}

static GPtrArray *
predecessor_take_listeners(Predecessor *predecessor, GError **error)
{
        g_autoptr(GPtrArray) listeners =
                g_ptr_array_new_with_free_func((GDestroyNotify)listener_unref);

        for (unsigned i = 0; i < predecessor->handover->sockets->len; i++) {
                const HandoverSocket *socket =
                        &g_array_index(predecessor->handover->sockets, HandoverSocket, i);
                Listener *listener = NULL;

                if (keep_descriptor(socket->fd, error))
                        listener = listener_take_over(socket->fd, socket->name, error);
                if (!listener)
                        return NULL;
                g_ptr_array_add(listeners, listener);
        }

        return g_steal_pointer(&listeners);
}

/* Its ledger, or a new one. */
static Ledger *
predecessor_take_ledger(Predecessor *predecessor, GError **error)
{
        g_autoptr(GError) why = NULL;
        Ledger *ledger =
                ledger_open(predecessor->handover->ledger, predecessor->handover->process, &why);

        if (ledger)
                return ledger;

        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID", LOG_ID_UPGRADED,
                         "MESSAGE",
                         "servers' MaxSessions= leave out what older processes still have: %s",
                         why->message);

        return ledger_new(error);
}

bool
predecessor_inherit(Inheritance *inheritance, GError **error)
{
        g_autoptr(GError) why = NULL;
        Predecessor *predecessor = predecessor_take(&why);

        *inheritance = (Inheritance){ .predecessor = predecessor };
        if (why) {
                g_propagate_error(error, g_steal_pointer(&why));
                return false;
        }

        inheritance->sockets = predecessor ? predecessor_take_listeners(predecessor, error)
                                           : listener_take_passed(error);
        if (inheritance->sockets)
                inheritance->ledger = predecessor ? predecessor_take_ledger(predecessor, error)
                                                  : ledger_new(error);

        return inheritance->ledger != NULL;
}

static void
predecessor_on_message(HandoverMessage message, const char *text, void *data)
{
        Predecessor *predecessor = data;

        if (message == HANDOVER_END)
                predecessor->source = 0;
        predecessor->func(message, text, predecessor->data);
}

void
predecessor_watch(Predecessor *predecessor, HandoverFunc func, void *data)
{
        predecessor->func = func;
        predecessor->data = data;
        predecessor->source =
                handover_watch(predecessor->channel, predecessor_on_message, predecessor);
}

void
predecessor_send(Predecessor *predecessor, HandoverMessage message, const char *text)
{
        handover_send(predecessor->channel, message, text);
}

void
predecessor_free(Predecessor *predecessor)
{
        if (!predecessor)
                return;

        if (predecessor->source != 0)
                g_source_remove(predecessor->source);
        fd_clear(&predecessor->channel);
        handover_free(predecessor->handover);
        g_free(predecessor);
}
