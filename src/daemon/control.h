/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

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

/* One that is to listen at @path. @funcs must outlive it. */
Control *control_new(const char *path, const ControlFuncs *funcs, void *data);

/* Listens from now on, in one step instead of whatever socket was there: a dead one, or that of
 * another process, which loses its callers to this one from then on. So a successor makes its own
 * while its predecessor still has one, and callers always find either. Nothing happens when it
 * listens already and its name is there, or after control_leave(). */
bool control_listen(Control *control, GError **error);

/* The same, to be tried again and again: warns when it can't, once until it can. NULL is fine. */
void control_keep(Control *control);

/* Fails the calls that are not yet answered; who holds one still answers it, which then only frees
 * it. The socket is removed unless another has been put in its place. NULL is fine. */
void control_free(Control *control);

/* The socket's name is another process's from now on: control_free() leaves it alone. */
void control_leave(Control *control);

/* The answer, and the end of the call. Both may be called when the caller has gone away. */
void control_call_succeed(ControlCall *call);
void control_call_fail(ControlCall *call, const char *reason);

/* Callers that wait for the same thing; embedded. What is done for those who are there when it
 * begins is not for those who come later. */
typedef struct ControlQueue {
        GPtrArray *calls;  /* of ControlCall */
        unsigned n_served; /* so many of them have what they wait for begun */
} ControlQueue;

void control_queue_init(ControlQueue *queue);
void control_queue_clear(ControlQueue *queue); /* all must have been answered */
bool control_queue_is_empty(const ControlQueue *queue);
void control_queue_add(ControlQueue *queue, ControlCall *call);
void control_queue_begin(ControlQueue *queue);

/* It is over: answers those for whom it began, with @error, or NULL for success. */
void control_queue_end(ControlQueue *queue, const char *error);

/* Answers all of them. */
void control_queue_fail(ControlQueue *queue, const char *reason);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Control, control_free);
