/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

/* A resolver that stands in for GLib's, so that no name is looked up for real. */

/* From now on look-ups are answered with the addresses in @answer (ended by NULL; it must stay
 * where it is), or if it is NULL, with an error. */
void fake_resolver_start(const char *const *answer);

/* From now on they wait. */
void fake_resolver_hold(void);

/* Answers the one that has waited longest, in the same way; its caller is told by the main loop. */
void fake_resolver_release(const char *const *answer);
