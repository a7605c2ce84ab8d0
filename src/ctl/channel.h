/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/*
 * The channel of a call that isn't there: what Asterisk would tell a FastAGI server about it, and
 * what it would answer to the server's commands. Bytes only, no connection.
 */

typedef struct Channel Channel;

/* For a call to @url, which is agi://authority[/path]. */
Channel *channel_new(const char *url);

/* NULL is fine. */
void channel_free(Channel *channel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Channel, channel_free)

/* Gives the environment's line @name another value, or adds the line. */
void channel_set_environment(Channel *channel, const char *name, const char *value);

/* Adds agi_arg_N. */
void channel_add_argument(Channel *channel, const char *value);

/* The lines of the environment in Asterisk's order, without their LF and without the empty one. */
GStrv channel_get_environment(const Channel *channel);

/* Executes a line of the server's, without its LF, and returns the reply: one or more lines, each
 * with its LF. NULL when Asterisk says nothing to it: FAILURE, and a line that begins with NUL. */
char *channel_execute(Channel *channel, const char *line, size_t length);

/* The caller hangs up: few commands work after that. */
void channel_hang_up(Channel *channel);
bool channel_is_hung_up(const Channel *channel);

/* True once the server has said FAILURE: Asterisk ends the session then. */
bool channel_has_failed(const Channel *channel);

/* What the dialplan finds in AGISTATUS once the session is over. */
const char *channel_get_status(const Channel *channel);

/* A variable of the channel as GET VARIABLE sees it; NULL when it has no value. */
const char *channel_get_variable(const Channel *channel, const char *name);
