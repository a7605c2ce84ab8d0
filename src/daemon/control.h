/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

/*
 * The control socket: D-Bus between two, without a bus daemon, for whoever is root or this user.
 * The names on it are in base/control-name.h. Main thread.
 */

typedef struct Control Control;

/* A caller that waits for an answer. */
typedef struct ControlCall ControlCall;

/* Each takes the call, which is to be answered at once or later. NULL: callers are told that this
 * can't be done. */
typedef struct ControlFuncs {
        void (*reload)(ControlCall *call, void *data);
        void (*upgrade)(ControlCall *call, void *data);
} ControlFuncs;

/* $RUNTIME_DIRECTORY/control; NULL when there is no such directory. */
char *control_get_default_path(void);

/* Listens at @path, in one step instead of whatever socket was there: a dead one, or that of
 * another process, which loses its callers to this one from then on. So a successor makes its own
 * while its predecessor still has one, and callers always find either. @funcs must outlive the
 * control. */
Control *control_new(const char *path, const ControlFuncs *funcs, void *data, GError **error);

/* Fails the calls that are not yet answered; who holds one still answers it, which then only frees
 * it. The socket is removed unless another has been put in its place. */
void control_free(Control *control);

/* The answer, and the end of the call. Both may be called when the caller has gone away. */
void control_call_succeed(ControlCall *call);
void control_call_fail(ControlCall *call, const char *reason);

/* Answers the first @n of @calls and takes them out: with @error, or NULL for success. */
void control_calls_answer(GPtrArray *calls, unsigned n, const char *error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Control, control_free);
