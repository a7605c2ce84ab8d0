/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/*
 * What was printed in part only, as on a full disk, is no success.
 */

/* Has the process look at standard output when it exits, wherever it does so (GLib's --help exits
 * by itself): if that could not be written the reason is told, and the exit status is EXIT_FAILURE.
 * To be called once, early in main(). */
void output_check_at_exit(void);
