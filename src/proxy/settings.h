/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/log.h"
#include "net/address.h"
#include "net/credentials.h"
#include "proxy/ranking.h"
#include "proxy/server.h"

/*
 * Everything that was configured, as an immutable, counted snapshot: a reload makes a new one and
 * swaps it in whole, and a session keeps the one it began with. Times are microseconds; G_MAXINT64
 * is `infinity`. Built by the settings file reader (or a test) with the *_new() functions and plain
 * assignment, then sealed by settings_finish(), and not changed afterwards.
 */

typedef enum BalanceMode {
        BALANCE_FAILOVER,    /* in the order written */
        BALANCE_LEAST,       /* `balance`: fewest active sessions over weight, ties in turn */
        BALANCE_ROUND_ROBIN, /* the next after the last */
} BalanceMode;

typedef enum OnServerFailure {
        ON_SERVER_FAILURE_FAILURE, /* the line FAILURE, so that AGISTATUS says so */
        ON_SERVER_FAILURE_RESET,   /* as a direct connection would: AGISTATUS is SUCCESS */
        ON_SERVER_FAILURE_CLOSE,
} OnServerFailure;

/* What sessions of all threads write to is on a cache line apart from what they only read. */
#define SETTINGS_APART __attribute__((aligned(64)))

/* Names of variables whose values are secrets, by default. */
#define SETTINGS_REDACT "*pin*;*pass*;*pwd*;*secret*;*authenticate*"

typedef struct ListenerSettings {
        char *name;
        GPtrArray *listen; /* of Endpoint; may be empty when a systemd socket has the listener's
                              name */
        GArray *allow;     /* of AddressRange; empty allows everyone */
        bool tls;
        bool is_debugged; /* its sessions are logged in full */
        CredentialsOptions tls_options;
        Credentials *credentials; /* NULL without TLS */
} ListenerSettings;

typedef struct ServerSettings {
        char *name;
        Endpoint *endpoint;
        unsigned max_sessions; /* 0: no limit */
        unsigned weight;       /* 1 to 1000 */
        gint64 connect_timeout;
        bool tls;
        CredentialsOptions tls_options;
        Credentials *credentials;            /* NULL without TLS */
        bool is_debugged;                    /* its sessions are logged in full */
        Server *server;                      /* the live one; set by settings_finish() */
        pthread_mutex_t lock SETTINGS_APART; /* held for a few instructions, once a session */
        AddressList *addresses;              /* behind the lock, the one thing that changes */
} ServerSettings;

typedef struct AnswerSettings {
        char *name;
        GStrv commands; /* without LF */
        bool failure;   /* ends with FAILURE instead of a plain end */
} AnswerSettings;

typedef struct RouteSettings {
        char *name;
        char *path; /* without leading or trailing '/'; "*" is the wildcard */
        BalanceMode mode;
        GPtrArray
                *servers; /* of ServerSettings, borrowed from the Settings; empty with an answer */
        AnswerSettings
                *answer;  /* Answer= without servers, Fallback= with them; borrowed; may be NULL */
        bool relay_bytes; /* Relay=bytes */
        bool is_debugged; /* its sessions are logged in full */
        bool rewrite_host;
        OnServerFailure on_server_failure;
        gint64 setup_timeout, idle_timeout, think_timeout;
        Ranking *ranking; /* of the servers, where it pays; borrowed from the Settings; may be NULL
                           */
        unsigned turn SETTINGS_APART; /* atomic: whose turn it is, the one thing that changes */
} RouteSettings;

typedef enum SyslogTransport {
        SYSLOG_UDP,
        SYSLOG_TCP,
        SYSLOG_TLS,
        SYSLOG_UNIX, /* a syslog daemon of this host */
} SyslogTransport;

/* How a log server is reached. */
typedef struct SyslogAddress {
        SyslogTransport transport;
        Endpoint *endpoint;
} SyslogAddress;

typedef struct SyslogSettings {
        char *name;
        SyslogAddress address;
        GLogLevelFlags level;
        int facility; /* 0 to 23 */
        LogSessions sessions;
        bool takes_events;
        unsigned max_records; /* that wait */
        unsigned max_message; /* bytes; 0: what the transport is known to take */
        char *hostname;       /* NULL or empty: the system's */
        CredentialsOptions tls_options;
        Credentials *credentials; /* NULL without TLS */
} SyslogSettings;

typedef struct Settings {
        unsigned threads;      /* 0: one for each usable CPU */
        unsigned max_sessions; /* 0: what the descriptor limit allows */
        bool forwarded_for;
        GArray *trust; /* of AddressRange */
        bool report_status;
        gint64 request_timeout, stop_timeout, resolve_interval;

        /* What a server or a route begins with. */
        bool rewrite_host;
        OnServerFailure on_server_failure;
        gint64 connect_timeout, setup_timeout, idle_timeout, think_timeout;

        LogTarget log_target;
        GLogLevelFlags log_level;
        LogSessions log_sessions;
        unsigned log_burst; /* 0: no limit */
        gint64 log_interval;
        GStrv log_redact;     /* of patterns (agi/agi-redact.h) */
        GArray *log_debugged; /* of AddressRange: clients whose sessions are logged in full */

        GPtrArray *listeners; /* of ListenerSettings, in the order written */
        GPtrArray *servers;   /* of ServerSettings */
        GPtrArray *answers;   /* of AnswerSettings */
        GPtrArray *routes;    /* of RouteSettings */
        GPtrArray *syslogs;   /* of SyslogSettings */

        /* The same by name, for settings_get_*(). */
        GHashTable *listeners_by_name, *servers_by_name, *answers_by_name;

        /* Made by settings_finish(). */
        GHashTable *routes_by_path; /* of RouteSettings, all but the wildcard */
        RouteSettings *wildcard;    /* NULL when there is none */
        unsigned deepest_route;     /* segments of the longest path */
        GHashTable *rankings;       /* of Ranking, by the list of servers that routes have */
        LogSessions any_sessions;   /* those that the log or a log server wants */

        int refs SETTINGS_APART; /* atomic */
} Settings;

/* Empty, with every key's default. */
Settings *settings_new(void);
Settings *settings_ref(Settings *settings);
void settings_unref(Settings *settings); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Settings, settings_unref)

/* Each adds one to @settings, which owns it, and returns it with the defaults of its group; a route
 * and a server begin with what @settings says by then. A listener, server or answer of that name
 * must not be there yet. */
ListenerSettings *settings_add_listener(Settings *settings, const char *name);
ServerSettings *settings_add_server(Settings *settings, const char *name);
AnswerSettings *settings_add_answer(Settings *settings, const char *name);
RouteSettings *settings_add_route(Settings *settings, const char *name);
SyslogSettings *settings_add_syslog(Settings *settings, const char *name);

/* Where the server is, for who has these settings: with the address that a reload gives it comes
 * the TLS that is spoken there. NULL while its name has not been resolved. The caller gets a
 * reference. Any thread. */
AddressList *server_settings_get_addresses(ServerSettings *server);
void server_settings_set_addresses(ServerSettings *server, AddressList *addresses);

/* True when what leads to @a leads to @b: the same address, and the same words on its TLS. */
bool syslog_settings_lead_to_the_same(const SyslogSettings *a, const SyslogSettings *b);

/* NULL when there is none of that name. */
ListenerSettings *settings_get_listener(const Settings *settings, const char *name);
ServerSettings *settings_get_server(const Settings *settings, const char *name);
AnswerSettings *settings_get_answer(const Settings *settings, const char *name);

/* Builds the look-up tables and gives every server its live half: that of the server of the same
 * name in @old (NULL: none), so that what is known of it survives a reload, else a new one, which
 * counts in @ledger (see server_new()). A route's turn goes on from that of the route with the same
 * path. Call once. */
void settings_finish(Settings *settings, const Settings *old, Ledger *ledger);

/* The route for a request path (decoded, without leading '/'): the longest route path that is @path
 * or a parent of it by whole segments, else the wildcard; NULL when there is neither. @path is
 * written to and left as it was. Cost: the depth of the deepest route, not their number. */
RouteSettings *settings_get_route(const Settings *settings, char *path);
