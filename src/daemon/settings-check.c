/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An error is what can't be meant, a warning what may be: a server that no route uses yet, or a
 * listener that only a systemd socket opens. One mistake is reported once: a key that has a bad
 * value counts as set here.
 */

#include "daemon/settings-check.h"

#include <string.h>

#define HINTS_MAX 100 /* each is a walk over all names; a broken generator writes thousands */

static void check_error(GPtrArray *problems,
                        const SettingsGroup *group,
                        const char *key,
                        const char *format,
                        ...) G_GNUC_PRINTF(4, 5);

static void
check_error(GPtrArray *problems,
            const SettingsGroup *group,
            const char *key,
            const char *format,
            ...)
{
        SettingsPlace place = settings_group_get_place(group, key);
        g_autofree char *message = NULL;
        va_list arguments;

        va_start(arguments, format);
        message = g_strdup_vprintf(format, arguments);
        va_end(arguments);

        settings_problem_error(problems, &place, "%s", message);
}

/* What to write for a key of @kind that may not be left out. */
static const char *
get_advice(SettingsKindId kind)
{
        switch (kind) {
        case SETTINGS_SERVER:
                return "write the server's HOST:PORT or unix:/PATH";
        case SETTINGS_SYSLOG:
                return "write tls:HOST:PORT, tcp:HOST:PORT, udp:HOST:PORT or unix:/dev/log";
        case SETTINGS_ROUTE:
                return "write a path as ivr/menu, or * for all other requests";
        case SETTINGS_PROXY:
        case SETTINGS_LOG:
        case SETTINGS_LISTENER:
        case SETTINGS_ANSWER:
                break;
        }

        g_assert_not_reached();
}

static void
check_required(const SettingsGroup *group, GPtrArray *problems)
{
        for (size_t i = 0; i < group->kind->n_keys; i++) {
                const SettingsKey *key = &group->kind->keys[i];

                if (key->fallback == SETTINGS_REQUIRED && !group->values[i])
                        check_error(problems, group, key->name, "The key is missing: %s",
                                    get_advice(group->kind->id));
        }
}

/* The group of @kind that @group's @key names; NULL after a problem. */
static SettingsGroup *
find(const SettingsGroups *groups,
     const SettingsGroup *group,
     const char *key,
     SettingsKindId kind,
     const char *name,
     GPtrArray *problems)
{
        SettingsGroup *found = settings_groups_find(groups, kind, name);
        const char *nearest = NULL, *kind_name = settings_kind_get(kind)->name;

        if (found)
                return found;

        if (problems->len < HINTS_MAX)
                nearest = settings_groups_find_nearest(groups, kind, name);
        if (nearest)
                check_error(problems, group, key, "There is no group [%s %s]; did you mean %s?",
                            kind_name, name, nearest);
        else
                check_error(problems, group, key, "There is no group [%s %s]", kind_name, name);

        return NULL;
}

/* The same for one that is used thereby. */
static SettingsGroup *
refer(const SettingsGroups *groups,
      const SettingsGroup *group,
      const char *key,
      SettingsKindId kind,
      const char *name,
      GPtrArray *problems)
{
        SettingsGroup *found = find(groups, group, key, kind, name, problems);

        if (found)
                found->is_used = true;

        return found;
}

static GStrv
get_names(const SettingsGroup *group, const char *key, GPtrArray *problems)
{
        const SettingsLine *line = settings_group_get_value(group, key);

        return line ? settings_value_get_list(line, problems) : g_new0(char *, 1);
}

static void
tie_servers(const SettingsGroups *groups,
            const SettingsGroup *group,
            GStrv names,
            GPtrArray *problems)
{
        RouteSettings *route = group->object;
        g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

        for (size_t i = 0; names[i]; i++) {
                const SettingsGroup *server;

                if (!g_hash_table_add(seen, names[i])) {
                        check_error(problems, group, "Servers",
                                    "'%s' is named twice: to give it more sessions set its Weight=",
                                    names[i]);
                        continue;
                }

                server = refer(groups, group, "Servers", SETTINGS_SERVER, names[i], problems);
                if (server)
                        g_ptr_array_add(route->servers, server->object);
        }
}

/* Takes Answer= or Fallback=, whichever @key is. */
static void
tie_answer(const SettingsGroups *groups,
           const SettingsGroup *group,
           const char *key,
           GStrv names,
           GPtrArray *problems)
{
        RouteSettings *route = group->object;
        const SettingsGroup *answer;

        if (names[0] && names[1]) {
                check_error(problems, group, key, "Only one answer can be named here");
                return;
        }
        if (!names[0])
                return;

        answer = refer(groups, group, key, SETTINGS_ANSWER, names[0], problems);
        if (answer)
                route->answer = answer->object;
}

static void
check_route(const SettingsGroups *groups, const SettingsGroup *group, GPtrArray *problems)
{
        g_auto(GStrv) servers = get_names(group, "Servers", problems);
        g_auto(GStrv) answer = get_names(group, "Answer", problems);
        g_auto(GStrv) fallback = get_names(group, "Fallback", problems);

        if (!servers || !answer || !fallback)
                return;

        tie_servers(groups, group, servers, problems);
        tie_answer(groups, group, "Answer", answer, problems);
        tie_answer(groups, group, "Fallback", fallback, problems);

        if (servers[0] && answer[0])
                check_error(problems, group, "Answer",
                            "A route has Servers= or Answer=, not both. For what to do when no "
                            "server can take the session write Fallback=%s",
                            answer[0]);
        else if (!servers[0] && fallback[0])
                check_error(problems, group, "Fallback",
                            "There are no Servers= that it could stand in for. To answer every "
                            "request write Answer=%s",
                            fallback[0]);
        else if (!servers[0] && !answer[0])
                check_error(problems, group, NULL,
                            "The route leads nowhere: write Servers= or Answer=");
}

static void
check_paths(const SettingsGroup *group, GHashTable *paths, GPtrArray *problems)
{
        const RouteSettings *route = group->object;
        const SettingsGroup *other;
        SettingsPlace place;

        if (!route->path)
                return;

        other = g_hash_table_lookup(paths, route->path);
        if (!other) {
                g_hash_table_insert(paths, route->path, (void *)group);
                return;
        }

        place = settings_group_get_place(other, "Path");
        check_error(problems, group, "Path", "'%s' is the path of [%s] already (%s:%u)",
                    route->path, other->title, place.file, place.line);
}

/* One item of Debug=. */
static void
tie_debug(Settings *settings,
          const SettingsGroups *groups,
          const SettingsGroup *group,
          const char *item,
          GPtrArray *problems)
{
        static const struct {
                const char *prefix;
                SettingsKindId kind;
        } kinds[] = {
                { "route:", SETTINGS_ROUTE },
                { "server:", SETTINGS_SERVER },
                { "listener:", SETTINGS_LISTENER },
        };

        g_autoptr(GError) error = NULL;
        AddressRange range;

        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
                const SettingsGroup *found;

                if (!g_str_has_prefix(item, kinds[i].prefix))
                        continue;
                found = find(groups, group, "Debug", kinds[i].kind, item + strlen(kinds[i].prefix),
                             problems);
                if (found && kinds[i].kind == SETTINGS_ROUTE)
                        ((RouteSettings *)found->object)->is_debugged = true;
                else if (found && kinds[i].kind == SETTINGS_SERVER)
                        ((ServerSettings *)found->object)->is_debugged = true;
                else if (found)
                        ((ListenerSettings *)found->object)->is_debugged = true;
                return;
        }

        if (!g_str_has_prefix(item, "client:"))
                check_error(problems, group, "Debug",
                            "'%s' is not allowed. Write route:NAME, server:NAME, listener:NAME or "
                            "client:ADDRESS",
                            item);
        else if (address_range_parse(&range, item + strlen("client:"), &error))
                g_array_append_val(settings->log_debugged, range);
        else
                check_error(problems, group, "Debug", "%s", error->message);
}

static void
check_log(Settings *settings,
          const SettingsGroups *groups,
          const SettingsGroup *group,
          GPtrArray *problems)
{
        g_auto(GStrv) items = get_names(group, "Debug", problems);

        for (size_t i = 0; items && items[i]; i++)
                tie_debug(settings, groups, group, items[i], problems);
}

static bool
is_unspecified(const Address *address)
{
        return address->any.sa_family == AF_INET ? address->in.sin_addr.s_addr == INADDR_ANY
                                                 : IN6_IS_ADDR_UNSPECIFIED(&address->in6.sin6_addr);
}

/* True when the kernel would not let both be listened on. */
static bool
addresses_collide(const Address *a, const Address *b)
{
        if (address_equal(a, b))
                return true;
        if (a->any.sa_family != b->any.sa_family || a->any.sa_family == AF_UNIX)
                return false;

        /* The port is at the same place in both families. */
        return a->in.sin_port == b->in.sin_port && (is_unspecified(a) || is_unspecified(b));
}

typedef struct Bound {
        Address address;
        const SettingsGroup *group;
} Bound;

static void
check_listen(const SettingsGroup *group, GArray *bound, GPtrArray *problems)
{
        const ListenerSettings *listener = group->object;

        for (unsigned i = 0; i < listener->listen->len; i++) {
                Bound new = { .group = group };
                char text[2][ADDRESS_TEXT_SIZE];

                endpoint_get_address(listener->listen->pdata[i], &new.address);
                for (unsigned j = 0; j < bound->len; j++) {
                        const Bound *other = &g_array_index(bound, Bound, j);
                        SettingsPlace place = settings_group_get_place(other->group, "Listen");

                        if (!addresses_collide(&new.address, &other->address))
                                continue;
                        check_error(problems, group, "Listen",
                                    "%s can't be listened on: [%s] has %s already (%s:%u)",
                                    address_print(&new.address, text[0]), other->group->title,
                                    address_print(&other->address, text[1]), place.file,
                                    place.line);
                        break;
                }
                g_array_append_val(bound, new);
        }
}

/* True when a client of @family can come in through one of the listener's addresses. */
static bool
can_be_reached(const ListenerSettings *listener, sa_family_t family)
{
        for (unsigned i = 0; i < listener->listen->len; i++) {
                Address address;

                endpoint_get_address(listener->listen->pdata[i], &address);
                if (address.any.sa_family == family)
                        return true;
        }

        return false;
}

static void
check_reach(const SettingsGroup *group, GPtrArray *problems)
{
        static const struct {
                sa_family_t family;
                const char *name;
        } families[] = { { AF_INET, "IPv4" }, { AF_INET6, "IPv6" }, { AF_UNIX, "Unix" } };

        const ListenerSettings *listener = group->object;
        const SettingsLine *line = settings_group_get_value(group, "Listen");
        SettingsPlace place;

        if (listener->listen->len == 0) {
                place = settings_group_get_place(group, NULL);
                /* After a bad address there is nothing to say about reach. */
                if (!line || !*line->value)
                        settings_problem_guess(
                                problems, &place,
                                "Nobody can reach it without Listen=, unless a systemd socket "
                                "with FileDescriptorName=%s does it",
                                group->name);
                return;
        }

        place = settings_group_get_place(group, "Allow");
        for (size_t i = 0; i < G_N_ELEMENTS(families); i++) {
                bool is_allowed = false;

                for (unsigned j = 0; j < listener->allow->len; j++)
                        is_allowed |= g_array_index(listener->allow, AddressRange, j).family ==
                                      families[i].family;

                if (is_allowed && !can_be_reached(listener, families[i].family))
                        settings_problem_warning(
                                problems, &place,
                                "No %s address is listened on, so no %s client can come",
                                families[i].name, families[i].name);
        }
}

static void
check_use(const SettingsGroup *group, GPtrArray *problems)
{
        bool can_be_used = group->kind->id == SETTINGS_SERVER || group->kind->id == SETTINGS_ANSWER;

        if (can_be_used && !group->is_used)
                settings_problem_warning(problems, &group->place, "No route uses it");
}

void
settings_check(Settings *settings,
               const SettingsGroups *groups,
               const char *main_file,
               GPtrArray *problems)
{
        g_autoptr(GHashTable) paths = g_hash_table_new(g_str_hash, g_str_equal);
        g_autoptr(GArray) bound = g_array_new(FALSE, FALSE, sizeof(Bound));
        const SettingsPlace nowhere = { .file = main_file };

        for (unsigned i = 0; i < groups->all->len; i++) {
                const SettingsGroup *group = groups->all->pdata[i];

                check_required(group, problems);
                if (group->kind->id == SETTINGS_ROUTE) {
                        check_route(groups, group, problems);
                        check_paths(group, paths, problems);
                } else if (group->kind->id == SETTINGS_LOG) {
                        check_log(settings, groups, group, problems);
                } else if (group->kind->id == SETTINGS_LISTENER) {
                        check_listen(group, bound, problems);
                        check_reach(group, problems);
                }
        }

        /* What a route uses is known now. */
        for (unsigned i = 0; i < groups->all->len; i++)
                check_use(groups->all->pdata[i], problems);

        if (settings->listeners->len == 0)
                settings_problem_error(problems, &nowhere,
                                       "There is no listener: write a group [Listener NAME]");
        if (settings->routes->len == 0)
                settings_problem_warning(problems, &nowhere,
                                         "There is no route, so every request will be refused: "
                                         "write a group [Route NAME]");
}
