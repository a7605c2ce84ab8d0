/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Neither a warning nor an ended certificate keeps the proxy from running: an outage is worse, and
 * the peers have their own opinion.
 */

#include "daemon/expiry.h"

#include "base/log-id.h"
#include "daemon/settings-tls.h"

GLogLevelFlags
expiry_get_level(gint64 days)
{
        if (days < 1)
                return G_LOG_LEVEL_CRITICAL;
        if (days < 7)
                return G_LOG_LEVEL_WARNING;

        return days < SETTINGS_TLS_DAYS ? G_LOG_LEVEL_MESSAGE : 0;
}

static void
expiry_log_one(const char *field,
               const char *kind,
               const char *name,
               const Credentials *credentials,
               gint64 now)
{
        const char *where;
        gint64 expires, days;

        if (!credentials)
                return;

        for (size_t i = 0; (where = credentials_get_certificate(credentials, i, &expires)); i++) {
                g_autofree char *end = settings_tls_describe_end(expires, now, &days);

                if (end)
                        g_log_structured(G_LOG_DOMAIN, expiry_get_level(days), "MESSAGE_ID",
                                         LOG_ID_CERTIFICATE, field, name, "MESSAGE",
                                         "the certificate %s of [%s %s] %s", where, kind, name,
                                         end);
        }
}

void
expiry_log(const Settings *settings, gint64 now)
{
        for (unsigned i = 0; i < settings->listeners->len; i++) {
                const ListenerSettings *listener = settings->listeners->pdata[i];

                expiry_log_one("AGITATOR_LISTENER", "Listener", listener->name,
                               listener->credentials, now);
        }
        for (unsigned i = 0; i < settings->servers->len; i++) {
                const ServerSettings *server = settings->servers->pdata[i];

                expiry_log_one("AGITATOR_SERVER", "Server", server->name, server->credentials, now);
        }
        for (unsigned i = 0; i < settings->syslogs->len; i++) {
                const SyslogSettings *syslog = settings->syslogs->pdata[i];

                expiry_log_one("AGITATOR_SYSLOG", "Syslog", syslog->name, syslog->credentials, now);
        }
}
