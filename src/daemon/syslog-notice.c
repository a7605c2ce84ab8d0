/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "daemon/syslog-notice.h"

#include <glib.h>

#include "base/log-id.h"

void
syslog_notice_down(const char *name, const char *reason)
{
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID", LOG_ID_SYSLOG_DOWN,
                         "AGITATOR_SYSLOG", name, "MESSAGE", "log server %s can't be reached: %s",
                         name, reason);
}

void
syslog_notice_up(const char *name)
{
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "MESSAGE_ID", LOG_ID_SYSLOG_UP,
                         "AGITATOR_SYSLOG", name, "MESSAGE", "log server %s is back: connected",
                         name);
}

void
syslog_notice_dropped(const char *name, uint64_t n, const char *why)
{
        char count[24];

        g_snprintf(count, sizeof(count), "%" G_GUINT64_FORMAT, n);
        g_log_structured(G_LOG_DOMAIN, G_LOG_LEVEL_WARNING, "MESSAGE_ID", LOG_ID_SYSLOG_DROPPED,
                         "AGITATOR_SYSLOG", name, "AGITATOR_DROPPED", count, "MESSAGE",
                         "%s log record%s for log server %s %s dropped: %s", count,
                         n == 1 ? "" : "s", name, n == 1 ? "was" : "were", why);
}
