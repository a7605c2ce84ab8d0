/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* `agitatorctl reload` and `agitatorctl upgrade`: the running daemon is told to, and it is waited
 * until it has. */

#define RELOAD_SUMMARY  N_("have agitator take its changed configuration")
#define UPGRADE_SUMMARY N_("have agitator go on as the program that is installed now")

/* Each takes the command line from the verb on; returns the exit status. */
int manage_reload(int argc, char **argv);
int manage_upgrade(int argc, char **argv);
