/* SPDX-License-Identifier: GPL-3.0-or-later */

#include "base/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <glib.h>

static void
output_check(void)
{
        errno = 0;
        if (fflush(stdout) == 0 && !ferror(stdout))
                return;

        fprintf(stderr, "%s: %s\n", g_get_prgname(), g_strerror(errno ? errno : EIO));
        _exit(EXIT_FAILURE); /* the one way for what runs at exit to have a say in the status */
}

void
output_check_at_exit(void)
{
        (void)atexit(output_check); /* there is room for more than we have */
}
