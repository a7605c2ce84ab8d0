/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Routes are found by hashing: the request path is looked up whole, then without its last segment,
 * and so on. A path that is deeper than the deepest route is cut to that depth first, so that a
 * caller can't make a look-up expensive by sending a path of thousands of segments.
 *
 * Once settings_finish() has run nothing here changes but the count of references and the routes'
 * turns, both atomic, and the rankings and the servers' addresses, which have locks; any thread may
 * read the rest without one. The locks are pthread ones because ThreadSanitizer doesn't know
 * GLib's.
 */

#include "proxy/settings.h"

#include <stdlib.h>
#include <string.h>

#include "base/log-limit.h"

static void
listener_settings_free(void *data)
{
        ListenerSettings *listener = data;

        g_free(listener->name);
        g_ptr_array_unref(listener->listen);
        g_array_unref(listener->allow);
        credentials_options_clear(&listener->tls_options);
        credentials_unref(listener->credentials);
        g_free(listener);
}

static void
server_settings_free(void *data)
{
        ServerSettings *server = data;

        g_free(server->name);
        g_clear_pointer(&server->endpoint, endpoint_free);
        credentials_options_clear(&server->tls_options);
        credentials_unref(server->credentials);
        server_unref(server->server);
        pthread_mutex_destroy(&server->lock);
        address_list_unref(server->addresses);
        free(server);
}

static void
answer_settings_free(void *data)
{
        AnswerSettings *answer = data;

        g_free(answer->name);
        g_strfreev(answer->commands);
        g_free(answer);
}

static void
route_settings_free(void *data)
{
        RouteSettings *route = data;

        g_free(route->name);
        g_free(route->path);
        g_ptr_array_unref(route->servers);
        free(route);
}

static void
syslog_settings_free(void *data)
{
        SyslogSettings *syslog = data;

        g_free(syslog->name);
        endpoint_free(syslog->address.endpoint);
        g_free(syslog->hostname);
        credentials_options_clear(&syslog->tls_options);
        credentials_unref(syslog->credentials);
        g_free(syslog);
}

static void
endpoint_destroy(void *data)
{
        endpoint_free(data);
}

static GArray *
address_ranges_new(void)
{
        return g_array_new(FALSE, FALSE, sizeof(AddressRange));
}

/* Memory for what has something SETTINGS_APART, all zero; for free(). */
static void *
new_apart(size_t size)
{
        void *memory;

        if (posix_memalign(&memory, G_ALIGNOF(Settings), size) != 0)
                g_error("Out of memory");

        return memset(memory, 0, size);
}

Settings *
settings_new(void)
{
        Settings *settings = new_apart(sizeof(*settings));

        settings->refs = 1;
        settings->trust = address_ranges_new();
        settings->report_status = true;
        settings->request_timeout = 10 * G_TIME_SPAN_SECOND;
        settings->stop_timeout = 30 * G_TIME_SPAN_SECOND;
        settings->resolve_interval = 30 * G_TIME_SPAN_SECOND;

        settings->rewrite_host = true;
        settings->on_server_failure = ON_SERVER_FAILURE_FAILURE;
        settings->connect_timeout = 3 * G_TIME_SPAN_SECOND;
        settings->setup_timeout = 10 * G_TIME_SPAN_SECOND;
        settings->idle_timeout = G_MAXINT64;
        settings->think_timeout = G_MAXINT64;

        settings->log_target = LOG_TARGET_AUTO;
        settings->log_level = G_LOG_LEVEL_INFO;
        settings->log_sessions = LOG_SESSIONS_ALL;
        settings->log_burst = LOG_LIMIT_BURST;
        settings->log_interval = LOG_LIMIT_INTERVAL;
        settings->log_redact = g_strsplit(SETTINGS_REDACT, ";", -1);
        settings->log_debugged = address_ranges_new();

        settings->listeners = g_ptr_array_new_with_free_func(listener_settings_free);
        settings->servers = g_ptr_array_new_with_free_func(server_settings_free);
        settings->answers = g_ptr_array_new_with_free_func(answer_settings_free);
        settings->routes = g_ptr_array_new_with_free_func(route_settings_free);
        settings->syslogs = g_ptr_array_new_with_free_func(syslog_settings_free);
        settings->listeners_by_name = g_hash_table_new(g_str_hash, g_str_equal);
        settings->servers_by_name = g_hash_table_new(g_str_hash, g_str_equal);
        settings->answers_by_name = g_hash_table_new(g_str_hash, g_str_equal);

        return settings;
}

Settings *
settings_ref(Settings *settings)
{
        __atomic_add_fetch(&settings->refs, 1, __ATOMIC_RELAXED);
        return settings;
}

/* Before the servers go. */
static void
settings_drop_rankings(Settings *settings)
{
        GHashTableIter each;
        void *list, *ranking;

        if (!settings->rankings)
                return;

        g_hash_table_iter_init(&each, settings->rankings);
        while (g_hash_table_iter_next(&each, &list, &ranking)) {
                const GPtrArray *servers = list;

                for (unsigned i = 0; i < servers->len; i++)
                        server_unrank(((ServerSettings *)servers->pdata[i])->server, ranking);
        }
        g_hash_table_unref(settings->rankings);
}

void
settings_unref(Settings *settings)
{
        if (!settings || __atomic_sub_fetch(&settings->refs, 1, __ATOMIC_ACQ_REL) > 0)
                return;

        g_array_unref(settings->trust);
        g_array_unref(settings->log_debugged);
        g_strfreev(settings->log_redact);
        settings_drop_rankings(settings);
        g_clear_pointer(&settings->routes_by_path, g_hash_table_unref);
        g_hash_table_unref(settings->listeners_by_name);
        g_hash_table_unref(settings->servers_by_name);
        g_hash_table_unref(settings->answers_by_name);
        g_ptr_array_unref(settings->syslogs);
        g_ptr_array_unref(settings->routes);
        g_ptr_array_unref(settings->answers);
        g_ptr_array_unref(settings->servers);
        g_ptr_array_unref(settings->listeners);
        free(settings);
}

ListenerSettings *
settings_add_listener(Settings *settings, const char *name)
{
        ListenerSettings *listener = g_new0(ListenerSettings, 1);

        g_assert(!settings_get_listener(settings, name));

        listener->name = g_strdup(name);
        listener->listen = g_ptr_array_new_with_free_func(endpoint_destroy);
        listener->allow = address_ranges_new();
        g_ptr_array_add(settings->listeners, listener);
        g_hash_table_insert(settings->listeners_by_name, listener->name, listener);

        return listener;
}

ServerSettings *
settings_add_server(Settings *settings, const char *name)
{
        ServerSettings *server = new_apart(sizeof(*server));

        g_assert(!settings_get_server(settings, name));

        server->name = g_strdup(name);
        server->weight = 1;
        server->connect_timeout = settings->connect_timeout;
        pthread_mutex_init(&server->lock, NULL);
        g_ptr_array_add(settings->servers, server);
        g_hash_table_insert(settings->servers_by_name, server->name, server);

        return server;
}

AnswerSettings *
settings_add_answer(Settings *settings, const char *name)
{
        AnswerSettings *answer = g_new0(AnswerSettings, 1);

        g_assert(!settings_get_answer(settings, name));

        answer->name = g_strdup(name);
        answer->commands = g_new0(char *, 1);
        g_ptr_array_add(settings->answers, answer);
        g_hash_table_insert(settings->answers_by_name, answer->name, answer);

        return answer;
}

RouteSettings *
settings_add_route(Settings *settings, const char *name)
{
        RouteSettings *route = new_apart(sizeof(*route));

        route->name = g_strdup(name);
        route->mode = BALANCE_FAILOVER;
        route->servers = g_ptr_array_new();
        route->rewrite_host = settings->rewrite_host;
        route->on_server_failure = settings->on_server_failure;
        route->setup_timeout = settings->setup_timeout;
        route->idle_timeout = settings->idle_timeout;
        route->think_timeout = settings->think_timeout;
        g_ptr_array_add(settings->routes, route);

        return route;
}

SyslogSettings *
settings_add_syslog(Settings *settings, const char *name)
{
        SyslogSettings *syslog = g_new0(SyslogSettings, 1);

        syslog->name = g_strdup(name);
        syslog->level = G_LOG_LEVEL_INFO;
        syslog->facility = 3; /* daemon */
        syslog->sessions = LOG_SESSIONS_ALL;
        syslog->takes_events = true;
        syslog->max_records = 10000;
        g_ptr_array_add(settings->syslogs, syslog);

        return syslog;
}

AddressList *
server_settings_get_addresses(ServerSettings *server)
{
        AddressList *addresses;

        pthread_mutex_lock(&server->lock);
        addresses = server->addresses ? address_list_ref(server->addresses) : NULL;
        pthread_mutex_unlock(&server->lock);

        return addresses;
}

void
server_settings_set_addresses(ServerSettings *server, AddressList *addresses)
{
        AddressList *old;

        if (addresses)
                address_list_ref(addresses);

        pthread_mutex_lock(&server->lock);
        old = server->addresses;
        server->addresses = addresses;
        pthread_mutex_unlock(&server->lock);

        address_list_unref(old);
}

static bool
is_same_text(const char *a, const char *b)
{
        return strcmp(a ? a : "", b ? b : "") == 0;
}

static bool
is_same_list(GStrv a, GStrv b)
{
        static char *none[] = { NULL };

        return g_strv_equal((const char *const *)(a ? a : none),
                            (const char *const *)(b ? b : none));
}

bool
syslog_settings_lead_to_the_same(const SyslogSettings *a, const SyslogSettings *b)
{
        const CredentialsOptions *x = &a->tls_options, *y = &b->tls_options;

        return a->address.transport == b->address.transport &&
               is_same_text(a->address.endpoint->authority, b->address.endpoint->authority) &&
               is_same_text(a->address.endpoint->path, b->address.endpoint->path) &&
               is_same_text(x->name, y->name) && is_same_text(x->ca, y->ca) &&
               is_same_text(x->priority, y->priority) && is_same_list(x->crls, y->crls) &&
               is_same_list(x->pins, y->pins) && is_same_list(x->certificates, y->certificates) &&
               is_same_list(x->private_keys, y->private_keys) && x->trusts_all == y->trusts_all;
}

ListenerSettings *
settings_get_listener(const Settings *settings, const char *name)
{
        return g_hash_table_lookup(settings->listeners_by_name, name);
}

ServerSettings *
settings_get_server(const Settings *settings, const char *name)
{
        return g_hash_table_lookup(settings->servers_by_name, name);
}

AnswerSettings *
settings_get_answer(const Settings *settings, const char *name)
{
        return g_hash_table_lookup(settings->answers_by_name, name);
}

static RouteSettings *
settings_find_route(const Settings *settings, const char *path)
{
        if (strcmp(path, "*") == 0)
                return settings->wildcard;

        return g_hash_table_lookup(settings->routes_by_path, path);
}

static unsigned
count_segments(const char *path)
{
        unsigned n = 1;

        while ((path = strchr(path, '/'))) {
                path++;
                n++;
        }

        return n;
}

static void
settings_finish_servers(Settings *settings, const Settings *old, Ledger *ledger)
{
        for (unsigned i = 0; i < settings->servers->len; i++) {
                ServerSettings *server = settings->servers->pdata[i];
                ServerSettings *before = old ? settings_get_server(old, server->name) : NULL;

                server->server =
                        before ? server_ref(before->server) : server_new(server->name, ledger);
        }
}

static unsigned
hash_of_list(const void *list)
{
        const GPtrArray *servers = list;
        unsigned hash = servers->len;

        for (unsigned i = 0; i < servers->len; i++)
                hash = hash * 31 + g_direct_hash(servers->pdata[i]);

        return hash;
}

static gboolean
is_equal_list(const void *a, const void *b)
{
        const GPtrArray *x = a, *y = b;

        return x->len == y->len && memcmp(x->pdata, y->pdata, x->len * sizeof(void *)) == 0;
}

static void
ranking_destroy(void *data)
{
        ranking_free(data);
}

/* Routes with the same list of servers share a ranking, so that a session tells but one of it. */
static void
settings_rank(Settings *settings, RouteSettings *route)
{
        const GPtrArray *servers = route->servers;

        if (route->mode != BALANCE_LEAST || servers->len < RANKING_MIN_SERVERS)
                return;

        route->ranking = g_hash_table_lookup(settings->rankings, servers);
        if (route->ranking)
                return;

        route->ranking = ranking_new(servers->len);
        for (unsigned i = 0; i < servers->len; i++) {
                const ServerSettings *server = servers->pdata[i];

                server_rank(server->server, route->ranking, i, server->weight,
                            server->max_sessions);
        }
        g_hash_table_insert(settings->rankings, route->servers, route->ranking);
}

/* The words stand from the most to the least. */
static LogSessions
settings_find_any_sessions(const Settings *settings)
{
        LogSessions any = settings->log_sessions;

        for (unsigned i = 0; i < settings->syslogs->len; i++)
                any = MIN(any, ((SyslogSettings *)settings->syslogs->pdata[i])->sessions);

        return any;
}

void
settings_finish(Settings *settings, const Settings *old, Ledger *ledger)
{
        g_assert(!settings->routes_by_path);

        settings_finish_servers(settings, old, ledger);
        settings->any_sessions = settings_find_any_sessions(settings);

        settings->routes_by_path = g_hash_table_new(g_str_hash, g_str_equal);
        settings->rankings =
                g_hash_table_new_full(hash_of_list, is_equal_list, NULL, ranking_destroy);
        for (unsigned i = 0; i < settings->routes->len; i++) {
                RouteSettings *route = settings->routes->pdata[i];
                RouteSettings *before = old ? settings_find_route(old, route->path) : NULL;

                settings_rank(settings, route);
                if (before)
                        route->turn = __atomic_load_n(&before->turn, __ATOMIC_RELAXED);

                if (strcmp(route->path, "*") == 0) {
                        settings->wildcard = route;
                        continue;
                }

                g_hash_table_insert(settings->routes_by_path, route->path, route);
                settings->deepest_route = MAX(settings->deepest_route, count_segments(route->path));
        }
}

/* Where the first @n segments of @path end. */
static char *
path_cut(char *path, unsigned n)
{
        char *end = path;

        while (n-- > 0) {
                end = strchrnul(end, '/');
                if (!*end)
                        return end;
                end++;
        }

        return end > path ? end - 1 : path;
}

RouteSettings *
settings_get_route(const Settings *settings, char *path)
{
        char *end = path_cut(path, settings->deepest_route);

        while (end && end > path) {
                char saved = *end;
                RouteSettings *route;

                *end = '\0';
                route = g_hash_table_lookup(settings->routes_by_path, path);
                *end = saved;
                if (route)
                        return route;

                end = memrchr(path, '/', end - path);
        }

        return settings->wildcard;
}
