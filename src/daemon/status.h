/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include "proxy/ledger.h"
#include "proxy/proxy.h"

/* What `systemctl status` shows of a process with settings in force, in a line: its sessions, those
 * of older processes in @ledger, which servers are up, and why the last reload or upgrade failed
 * (NULL: it didn't). Freed by the caller. Main thread. */
char *status_print(const Proxy *proxy,
                   const Ledger *ledger,
                   bool is_stopping,
                   const char *reload_error,
                   const char *upgrade_error);

/* Logs that @settings are in force: by a reload, or by the start. */
void status_log_in_force(const Settings *settings, bool by_reload);

/* "s" after all numbers but 1. */
const char *status_plural(unsigned n);
