/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* `agitatorctl call URL`: one FastAGI session, as Asterisk would have it, shown as it goes. */

#define CALL_SUMMARY N_("call a FastAGI server, or agitator, as Asterisk would")

/* Takes the command line from the verb on; returns the exit status. */
int call_run(int argc, char **argv);
