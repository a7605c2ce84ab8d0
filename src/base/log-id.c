/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The style suite sees to it that each kind of record has a name.
 */

#include "base/log-id.h"

#include <string.h>

#include <glib.h>

static const struct {
        const char *id;
        const char *name;
} names[] = {
        { LOG_ID_SESSION, "session" },
        { LOG_ID_SESSION_FAILED, "session-failed" },
        { LOG_ID_READY, "ready" },
        { LOG_ID_RELOADED, "reloaded" },
        { LOG_ID_RELOAD_FAILED, "reload-failed" },
        { LOG_ID_CONFIG_WARNING, "config-warning" },
        { LOG_ID_SERVER_DOWN, "server-down" },
        { LOG_ID_SERVER_UP, "server-up" },
        { LOG_ID_SERVER_FULL, "server-full" },
        { LOG_ID_LIMIT, "limit" },
        { LOG_ID_RESOURCES, "resources" },
        { LOG_ID_RESOLVE_FAILED, "resolve-failed" },
        { LOG_ID_ODD_PATH, "odd-path" },
        { LOG_ID_STOPPING, "stopping" },
        { LOG_ID_STOPPED, "stopped" },
        { LOG_ID_CERTIFICATE, "certificate" },
        { LOG_ID_UPGRADED, "upgraded" },
        { LOG_ID_UPGRADE_FAILED, "upgrade-failed" },
        { LOG_ID_DROPPED, "dropped" },
        { LOG_ID_REPEATED, "repeated" },
        { LOG_ID_STEP, "step" },
        { LOG_ID_DIALOGUE, "dialogue" },
        { LOG_ID_OTHER, "other" },
        { LOG_ID_SYSLOG_DOWN, "syslog-down" },
        { LOG_ID_SYSLOG_UP, "syslog-up" },
        { LOG_ID_SYSLOG_DROPPED, "syslog-dropped" },
};

const char *
log_id_get_name(const char *id)
{
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                if (strcmp(names[i].id, id) == 0)
                        return names[i].name;

        return NULL;
}
