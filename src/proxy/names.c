/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One Name for each server that has to be looked up. Look-ups of all names are begun together, and
 * again ResolveInterval= after the last of them has come back. One may stay away for good: GLib
 * needs a thread for it, and when there is none says nothing and waits for the next look-up to
 * bring one. So after that time those are begun once more, ever less often since it may be just a
 * slow answer.
 */

#include "proxy/names.h"

#include <gio/gio.h>

#include "base/log-id.h"
#include "net/resolver.h"

#define MAX_DOUBLINGS 6

typedef struct Name {
        Names *names;
        ServerSettings *server;
        bool failed; /* the last time; so that only a change is logged */
        bool is_awaited;
} Name;

struct Names {
        Settings *settings;
        GPtrArray *items; /* of Name */
        unsigned pending; /* how many are awaited */
        unsigned repeats; /* how often those were begun once more */
        GCancellable *cancellable;
        guint timer, limit;
        NamesFunc first_done; /* NULL once called */
        void *data;
};

static void names_start_timer(Names *names);

static void
names_finish_first(Names *names)
{
        NamesFunc first_done = names->first_done;

        g_clear_handle_id(&names->limit, g_source_remove);
        names->first_done = NULL;
        if (first_done)
                first_done(names->data);
}

static gboolean
names_on_limit(void *data)
{
        Names *names = data;

        names->limit = 0;
        names_finish_first(names);

        return G_SOURCE_REMOVE;
}

static void
name_note_result(Name *name, const GError *error)
{
        bool failed = error != NULL;

        if (name->failed == failed)
                return;

        name->failed = failed;
        g_log_structured(G_LOG_DOMAIN, failed ? G_LOG_LEVEL_WARNING : G_LOG_LEVEL_MESSAGE,
                         "MESSAGE_ID", LOG_ID_RESOLVE_FAILED, "AGITATOR_SERVER", name->server->name,
                         "MESSAGE", "server %s: %s: %s", name->server->name,
                         name->server->endpoint->host,
                         failed ? error->message : "the name has an address again");
}

static void
name_on_result(AddressList *addresses, const GError *error, void *data)
{
        Name *name = data;
        Names *names = name->names;

        if (!name->is_awaited)
                return; /* it was begun more than once */
        name->is_awaited = false;

        if (addresses)
                server_settings_set_addresses(name->server, addresses);
        /* Only now, for who reads it expects the next call to get there. */
        name_note_result(name, error);

        if (--names->pending > 0)
                return;

        names->repeats = 0;
        names_start_timer(names);
        names_finish_first(names);
}

/* Those that are awaited. */
static void
names_begin(Names *names)
{
        for (unsigned i = 0; i < names->items->len; i++) {
                Name *name = names->items->pdata[i];
                const Endpoint *endpoint = name->server->endpoint;

                if (name->is_awaited)
                        resolver_lookup(endpoint->host, endpoint->port, names->cancellable,
                                        name_on_result, name);
        }
        names_start_timer(names);
}

static void
names_look_up(Names *names)
{
        names->pending = names->items->len;
        for (unsigned i = 0; i < names->items->len; i++)
                ((Name *)names->items->pdata[i])->is_awaited = true;
        names_begin(names);
}

static gboolean
names_on_timer(void *data)
{
        Names *names = data;

        names->timer = 0;
        if (names->pending > 0) {
                names->repeats = MIN(names->repeats + 1, MAX_DOUBLINGS);
                names_begin(names);
        } else {
                names_look_up(names);
        }

        return G_SOURCE_REMOVE;
}

static void
names_start_timer(Names *names)
{
        gint64 interval = names->settings->resolve_interval;

        g_clear_handle_id(&names->timer, g_source_remove);
        if (interval == G_MAXINT64 || names->items->len == 0)
                return;

        interval = MIN((interval / 1000) << names->repeats, G_MAXINT);
        names->timer = g_timeout_add((guint)interval, names_on_timer, names);
}

static void
names_add(Names *names, ServerSettings *server)
{
        Address address;
        Name *name;

        if (endpoint_get_address(server->endpoint, &address)) {
                g_autoptr(AddressList) addresses = address_list_new(&address, 1);

                server_settings_set_addresses(server, addresses);
                return;
        }

        name = g_new0(Name, 1);
        name->names = names;
        name->server = server;
        g_ptr_array_add(names->items, name);
}

Names *
names_new(Settings *settings, gint64 limit, NamesFunc first_done, void *data)
{
        Names *names = g_new0(Names, 1);

        names->settings = settings_ref(settings);
        names->items = g_ptr_array_new_with_free_func(g_free);
        names->cancellable = g_cancellable_new();
        names->first_done = first_done;
        names->data = data;

        for (unsigned i = 0; i < settings->servers->len; i++)
                names_add(names, settings->servers->pdata[i]);

        names->limit = g_timeout_add(names->items->len > 0 ? (guint)(limit / 1000) : 0,
                                     names_on_limit, names);
        names_look_up(names);

        return names;
}

/* A server whose host is another one now has nothing from its old one. */
static void
server_inherit(ServerSettings *server, const Settings *old)
{
        ServerSettings *before = old ? settings_get_server(old, server->name) : NULL;
        g_autoptr(AddressList) addresses = NULL;

        if (!before || g_strcmp0(before->endpoint->authority, server->endpoint->authority) != 0)
                return;

        addresses = server_settings_get_addresses(before);
        server_settings_set_addresses(server, addresses);
}

void
names_inherit(Names *names, const Settings *old)
{
        for (unsigned i = 0; i < names->items->len; i++) {
                const Name *name = names->items->pdata[i];

                if (name->is_awaited || name->failed)
                        server_inherit(name->server, old);
        }
}

void
names_free(Names *names)
{
        if (!names)
                return;

        g_cancellable_cancel(names->cancellable);
        g_object_unref(names->cancellable);
        g_clear_handle_id(&names->timer, g_source_remove);
        g_clear_handle_id(&names->limit, g_source_remove);
        g_ptr_array_unref(names->items);
        settings_unref(names->settings);
        g_free(names);
}
