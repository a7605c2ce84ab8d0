/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GLib sends with MSG_NOSIGNAL, passes what is too long for a datagram as a sealed file, and waits
 * for as long as the journal does not read: a sink for the log thread and nobody else.
 */

#include "base/log-journal.h"

#include <unistd.h>

bool
log_journal_has_stderr(void)
{
        return g_log_writer_is_journald(STDERR_FILENO);
}

bool
log_journal_write(GLogLevelFlags level, const GLogField *fields, size_t n_fields)
{
        return g_log_writer_journald(level, fields, n_fields, NULL) == G_LOG_WRITER_HANDLED;
}
