/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One row for each; the word is the end of the command.
 */

#include "proxy/refusal.h"

#include <stddef.h>
#include <string.h>

#define SET_STATUS "SET VARIABLE AGITATOR_STATUS "

static const char *const reports[] = {
        [REFUSAL_NONE] = NULL,
        [REFUSAL_NOROUTE] = SET_STATUS "NOROUTE",
        [REFUSAL_NOSERVER] = SET_STATUS "NOSERVER",
        [REFUSAL_FULL] = SET_STATUS "FULL",
        [REFUSAL_TIMEOUT] = SET_STATUS "TIMEOUT",
        [REFUSAL_BADREQUEST] = SET_STATUS "BADREQUEST",
        [REFUSAL_DENIED] = SET_STATUS "DENIED",
};

const char *
refusal_get_report(Refusal refusal)
{
        return reports[refusal];
}

const char *
refusal_get_word(Refusal refusal)
{
        return reports[refusal] ? reports[refusal] + strlen(SET_STATUS) : NULL;
}
