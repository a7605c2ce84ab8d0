/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/status.h"

#include "base/log-id.h"

const char *
status_plural(unsigned n)
{
        return n == 1 ? "" : "s";
}

static unsigned
count_servers_up(const GPtrArray *servers)
{
        unsigned up = 0;

        for (unsigned i = 0; i < servers->len; i++)
                up += server_is_up(((ServerSettings *)servers->pdata[i])->server);

        return up;
}

char *
status_print(const Proxy *proxy,
             const Ledger *ledger,
             bool is_stopping,
             const char *reload_error,
             const char *upgrade_error)
{
        const GPtrArray *servers = proxy_get_settings(proxy)->servers;
        unsigned sessions = proxy_get_sessions(proxy);
        GString *text = g_string_new(NULL);
        unsigned others, theirs;

        if (is_stopping)
                g_string_printf(text, "Draining: %u session%s left", sessions,
                                status_plural(sessions));
        else
                g_string_printf(text, "%u session%s, %u of %u server%s up", sessions,
                                status_plural(sessions), count_servers_up(servers), servers->len,
                                status_plural(servers->len));

        others = ledger_count_others(ledger, &theirs);
        if (others > 0)
                g_string_append_printf(text, "; %u session%s in %u older process%s", theirs,
                                       status_plural(theirs), others, others == 1 ? "" : "es");
        if (reload_error && !is_stopping)
                g_string_append_printf(text, "; the last reload failed: %s", reload_error);
        if (upgrade_error && !is_stopping)
                g_string_append_printf(text, "; the last upgrade failed: %s", upgrade_error);

        return g_string_free(text, FALSE);
}

void
status_log_in_force(const Settings *settings, bool by_reload)
{
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID",
                         by_reload ? LOG_ID_RELOADED : LOG_ID_READY, "MESSAGE",
                         "%s: %u listener%s, %u route%s, %u server%s%s",
                         by_reload ? "reloaded" : "ready", settings->listeners->len,
                         status_plural(settings->listeners->len), settings->routes->len,
                         status_plural(settings->routes->len), settings->servers->len,
                         status_plural(settings->servers->len),
                         by_reload ? "" : " (agitator " PACKAGE_VERSION ")");
}
