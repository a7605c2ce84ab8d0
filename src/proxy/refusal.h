/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

/* Why a session is refused. */
typedef enum Refusal {
        REFUSAL_NONE, /* it is welcome */
        REFUSAL_NOROUTE,
        REFUSAL_NOSERVER,
        REFUSAL_FULL,
        REFUSAL_TIMEOUT,
        REFUSAL_BADREQUEST,
        REFUSAL_DENIED,
} Refusal;

/* The word for it, which the dialplan finds in AGITATOR_STATUS; NULL for REFUSAL_NONE. */
const char *refusal_get_word(Refusal refusal);

/* The AGI command that puts it there; NULL for REFUSAL_NONE. */
const char *refusal_get_report(Refusal refusal);
