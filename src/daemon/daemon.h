/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * The process around the proxy: signals, start, reload, stop, and what the service manager is told.
 */

/* The status of a process that can't start for its configuration (EX_CONFIG of sysexits.h). */
#define DAEMON_EXIT_CONFIG 78

/* Runs until it is told to stop and returns the exit status. @config: the configuration file, NULL
 * for the default. */
int daemon_run(const char *config);
