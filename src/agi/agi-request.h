/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/*
 * The request: the URL in agi_request, `scheme://authority[/path][?query][#fragment]`, as the
 * dialplan wrote it. It is never rewritten as a whole; routes are matched against a decoded copy of
 * the path.
 */

/* Where the parts stand in the value; lengths may be 0. */
typedef struct AgiRequest {
        size_t authority, authority_length;
        size_t path, path_length; /* without its leading '/', up to '?', '#' or the end */
} AgiRequest;

/* False when there is no `scheme://`: such a value never comes from Asterisk. */
bool agi_request_parse(AgiRequest *request, const char *value, size_t length);

/* The path as routes are matched against: percent-decoded once (what is no escape stays as it is),
 * in @path, which has room for @request->path_length + 1 bytes and is ended with NUL.
 * False when the path has something that could climb or merge if a server read it another way: an
 * empty, `.` or `..` segment that is not the last one's trailing slash, NUL, a control byte, an
 * encoded slash. Then it is to match nothing but the wildcard, and @path is the undecoded text. */
bool agi_request_get_path(const AgiRequest *request, const char *value, char *path);
