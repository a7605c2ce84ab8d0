/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/buffer.h"
#include "base/loop.h"
#include "net/listener.h"
#include "proxy/notice.h"
#include "proxy/places.h"
#include "proxy/settings.h"

/*
 * One thread, its loop, its sessions. It accepts by itself from the listening sockets that all
 * workers share, and a session never leaves it.
 */

typedef struct Worker Worker;
typedef struct Session Session;

/* What all workers of a proxy share. */
typedef struct WorkerShared {
        Places places;         /* one for each session */
        unsigned max_sessions; /* atomic: how many of them */
        Notice full;           /* all are taken */
        Notice short_of;       /* descriptors or memory */
} WorkerShared;

/* A listening socket and what is configured about it, which belongs to the settings it comes with.
 */
typedef struct WorkerDoor {
        Listener *listener;
        const ListenerSettings *settings;
} WorkerDoor;

/* @shared must outlive it. */
Worker *worker_new(unsigned index, WorkerShared *shared);

/* Starts its thread. */
void worker_start(Worker *worker);

/* Accepts from these @doors (of WorkerDoor), under these @settings, from now on; from doors that
 * are gone what waits in the queue is accepted first. Then @taken is called with @data, on the
 * worker's thread. Refs what it keeps. Any thread. */
void worker_take_settings(Worker *worker,
                          Settings *settings,
                          const GArray *doors,
                          LoopFunc taken,
                          void *data);

/* Accepts what waits in the queues and then no more; @drained is called with @data, on the worker's
 * thread, as soon as it has no session. Once. Any thread. */
void worker_drain(Worker *worker, LoopFunc drained, void *data);

/* Ends every session. Any thread. */
void worker_cut(Worker *worker);

/* When its loop last turned: to be compared with an earlier worker_ping(). Any thread. */
void worker_ping(Worker *worker);
bool worker_has_answered(const Worker *worker);

/* Ends the thread, and with it what sessions are left, and frees it. */
void worker_free(Worker *worker);

/* For its sessions, on its thread. */
Loop *worker_get_loop(Worker *worker);
BufferPool *worker_get_pool(Worker *worker);
uint64_t worker_make_session_id(Worker *worker);
void worker_bury(Worker *worker, Session *session);
