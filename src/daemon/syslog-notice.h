/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdint.h>

/* What the log says of a log server: events like any other, for all places where the log goes. */

void syslog_notice_down(const char *name, const char *reason);
void syslog_notice_up(const char *name);

/* @n records, which is not 0, did not get there. */
void syslog_notice_dropped(const char *name, uint64_t n, const char *why);
