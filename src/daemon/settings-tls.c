/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Servers that believe the same authorities share them, by the text of their CAFile= and CRL=.
 */

#include "daemon/settings-tls.h"

#include <string.h>

#include "proxy/settings.h"

#define DAY (24 * 60 * 60)

/* The keys that mean nothing without TLS=yes. */
static const char *const tls_keys[] = {
        "Certificate", "PrivateKey", "OCSPResponse", "ClientCertificate",
        "ClientCA",    "CRL",        "TLSName",      "CAFile",
        "TLSPin",      "TLSVerify",  "OnTruncation", "TLSPriority",
};

/* True when the key says something other than it would if it were left out. */
static bool
is_changed(const SettingsGroup *group, const char *key)
{
        size_t i = settings_kind_find_key(group->kind, key);

        return i < group->kind->n_keys && group->values[i] &&
               strcmp(group->values[i]->value, settings_key_get_fallback(&group->kind->keys[i])) !=
                       0;
}

static const char *
get_key_to_blame(const SettingsGroup *group, int code)
{
        switch ((CredentialsError)code) {
        case CREDENTIALS_ERROR_CERTIFICATE:
                return "Certificate";
        case CREDENTIALS_ERROR_PRIVATE_KEY:
                /* Left out, it is in the certificate's file. */
                return is_changed(group, "PrivateKey") ? "PrivateKey" : "Certificate";
        case CREDENTIALS_ERROR_CA:
                return group->kind->id == SETTINGS_LISTENER ? "ClientCA" : "CAFile";
        case CREDENTIALS_ERROR_CRL:
                return "CRL";
        case CREDENTIALS_ERROR_OCSP:
                return "OCSPResponse";
        case CREDENTIALS_ERROR_PRIORITY:
                return "TLSPriority";
        case CREDENTIALS_ERROR_PIN:
                return "TLSPin";
        }

        g_assert_not_reached();
}

static void
blame(const SettingsGroup *group, const char *key, const char *message, GPtrArray *problems)
{
        SettingsPlace place = settings_group_get_place(group, key);

        settings_problem_error(problems, &place, "%s", message);
}

static void
warn(const SettingsGroup *group, const char *key, const char *message, GPtrArray *problems)
{
        SettingsPlace place = settings_group_get_place(group, key);

        settings_problem_warning(problems, &place, "%s", message);
}

char *
settings_tls_describe_end(gint64 expires, gint64 now, gint64 *days)
{
        gint64 left = expires - now;

        *days = left / DAY;
        if (left < 0)
                return g_strdup_printf("has ended %" G_GINT64_FORMAT " day%s ago", -*days,
                                       *days == -1 ? "" : "s");
        if (*days < SETTINGS_TLS_DAYS)
                return g_strdup_printf("ends in %" G_GINT64_FORMAT " day%s", *days,
                                       *days == 1 ? "" : "s");

        return NULL;
}

static void
check_ends(const SettingsGroup *group, const Credentials *credentials, GPtrArray *problems)
{
        SettingsPlace place = settings_group_get_place(group, "Certificate");
        const char *where;
        gint64 expires, days, now = g_get_real_time() / G_USEC_PER_SEC;

        for (size_t i = 0; (where = credentials_get_certificate(credentials, i, &expires)); i++) {
                g_autofree char *end = settings_tls_describe_end(expires, now, &days);

                if (end)
                        settings_problem_expiry(problems, &place, "The certificate %s %s", where,
                                                end);
        }

        if (credentials_get_warning(credentials))
                warn(group, NULL, credentials_get_warning(credentials), problems);
}

static void
check_useless(const SettingsGroup *group, GPtrArray *problems)
{
        const char *message = group->kind->id == SETTINGS_SYSLOG
                                      ? "Without Address=tls: this has no effect"
                                      : "Without TLS=yes this has no effect";

        for (size_t i = 0; i < G_N_ELEMENTS(tls_keys); i++) {
                if (is_changed(group, tls_keys[i]))
                        warn(group, tls_keys[i], message, problems);
        }
}

/* True when there is nothing that would make loading pointless. */
static bool
check_listener(const SettingsGroup *group, GPtrArray *problems)
{
        const ListenerSettings *listener = group->object;
        const CredentialsOptions *options = &listener->tls_options;
        bool good = true;

        if (!options->certificates || !options->certificates[0]) {
                good = false;
                blame(group, "TLS",
                      "TLS=yes needs Certificate=, and PrivateKey= unless the key is in the same "
                      "file",
                      problems);
        }
        if (options->client != CREDENTIALS_CLIENT_NONE && (!options->ca || !*options->ca)) {
                good = false;
                blame(group, "ClientCertificate",
                      "It can't be checked: write ClientCA=, the authority that clients' "
                      "certificates are of",
                      problems);
        }
        if (options->client == CREDENTIALS_CLIENT_NONE && is_changed(group, "CRL"))
                warn(group, "CRL", "No client is asked for a certificate, so it has no effect",
                     problems);
        if (options->client == CREDENTIALS_CLIENT_NONE && is_changed(group, "ClientCA"))
                warn(group, "ClientCA",
                     "No client is asked for a certificate: write ClientCertificate=required or "
                     "optional",
                     problems);

        return good;
}

static void
load_listener(const SettingsGroup *group, GPtrArray *problems)
{
        ListenerSettings *listener = group->object;
        g_autoptr(GError) error = NULL;

        if (!check_listener(group, problems))
                return;

        listener->credentials =
                credentials_new_listener(&listener->tls_options, listener->name, &error);
        if (listener->credentials)
                check_ends(group, listener->credentials, problems);
        else
                blame(group, get_key_to_blame(group, error->code), error->message, problems);
}

static bool
check_server(const SettingsGroup *group,
             const CredentialsOptions *options,
             const Endpoint *endpoint,
             GPtrArray *problems)
{
        if (options->trusts_all)
                warn(group, "TLSVerify",
                     options->pins && options->pins[0]
                             ? "The server's certificate is not checked, but for its TLSPin="
                             : "The server's certificate is not checked: whoever is in between can "
                               "read and change everything",
                     problems);
        if (!credentials_options_need_trust(options) && is_changed(group, "CRL"))
                warn(group, "CRL", "Without CAFile= only TLSPin= counts, so it has no effect",
                     problems);
        if (credentials_options_need_trust(options) && !endpoint->host &&
            (!options->name || !*options->name)) {
                blame(group, "TLS",
                      "A Unix socket has no name that could stand in a certificate: write TLSName=",
                      problems);
                return false;
        }
        if ((!options->certificates || !options->certificates[0]) &&
            is_changed(group, "PrivateKey")) {
                blame(group, "PrivateKey", "The key of no certificate: write Certificate= too",
                      problems);
                return false;
        }

        return true;
}

/* What the server believes, from @trusts if another one believes the same. */
static Trust *
find_trust(const CredentialsOptions *options, GHashTable *trusts, GError **error)
{
        g_autofree char *crls = options->crls ? g_strjoinv("\n", options->crls) : NULL;
        g_autofree char *id =
                g_strconcat(options->ca ? options->ca : "", "\n", crls ? crls : "", NULL);
        Trust *trust = g_hash_table_lookup(trusts, id);

        if (!trust) {
                trust = trust_new(options->ca, (const char *const *)options->crls, error);
                if (trust)
                        g_hash_table_insert(trusts, g_steal_pointer(&id), trust);
        }

        return trust;
}

/* What we go by with the one at @endpoint, a server or a log server; NULL after a problem. */
static Credentials *
load_server(const SettingsGroup *group,
            const CredentialsOptions *options,
            const Endpoint *endpoint,
            GHashTable *trusts,
            GPtrArray *problems)
{
        Credentials *credentials = NULL;
        g_autoptr(GError) error = NULL;
        Trust *trust = NULL;

        if (!endpoint || !check_server(group, options, endpoint, problems))
                return NULL;

        if (credentials_options_need_trust(options))
                trust = find_trust(options, trusts, &error);
        if (!error)
                credentials = credentials_new_server(options, endpoint->host, trust, &error);

        if (credentials)
                check_ends(group, credentials, problems);
        else
                blame(group, get_key_to_blame(group, error->code), error->message, problems);

        return credentials;
}

static void
load_group(const SettingsGroup *group, GHashTable *trusts, GPtrArray *problems)
{
        ListenerSettings *listener = group->object;
        ServerSettings *server = group->object;
        SyslogSettings *syslog = group->object;
        bool has_tls = true;

        switch (group->kind->id) {
        case SETTINGS_LISTENER:
                has_tls = listener->tls;
                if (has_tls)
                        load_listener(group, problems);
                break;
        case SETTINGS_SERVER:
                has_tls = server->tls;
                if (has_tls)
                        server->credentials = load_server(group, &server->tls_options,
                                                          server->endpoint, trusts, problems);
                break;
        case SETTINGS_SYSLOG:
                /* After a bad address nobody knows. */
                has_tls = !syslog->address.endpoint || syslog->address.transport == SYSLOG_TLS;
                if (has_tls)
                        syslog->credentials =
                                load_server(group, &syslog->tls_options, syslog->address.endpoint,
                                            trusts, problems);
                break;
        case SETTINGS_PROXY:
        case SETTINGS_LOG:
        case SETTINGS_ROUTE:
        case SETTINGS_ANSWER:
                break;
        }

        if (!has_tls)
                check_useless(group, problems);
}

void
settings_tls_load(const SettingsGroups *groups, GPtrArray *problems)
{
        g_autoptr(GHashTable) trusts =
                g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)trust_unref);

        for (unsigned i = 0; i < groups->all->len; i++)
                load_group(groups->all->pdata[i], trusts, problems);
}
