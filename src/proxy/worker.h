/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <pthread.h>
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
 *
 * With Threads=auto not all of them accept at all times. As long as one thread can do the work, two
 * of them do it for an eighth more: they wake up more often, for less each time. So the first
 * accepts alone until it is busy all the time for a fifth of a second, then it calls the second,
 * and so on; and the last one leaves off when the others could do without it for half a second.
 */

typedef struct Worker Worker;
typedef struct Session Session;

/* Sessions that only tell their client why it is refused, and so have no place, that there may be
 * at a time; beyond these a client is told just FAILURE. Each has one descriptor. */
#define WORKER_MAX_REFUSALS 64

/* Descriptors that a worker has of its own: its epoll set and its wake-up. */
#define WORKER_DESCRIPTORS 2

/* What all workers of a proxy share. */
typedef struct WorkerShared {
        Places *places;        /* one for each session */
        unsigned max_sessions; /* atomic: how many of them */
        Places refusals;       /* sessions that only tell why they are refused */
        unsigned turned_away;  /* atomic: connections that were told FAILURE and no more */
        Notice full;           /* all are taken */
        Notice short_of;       /* descriptors or memory */
        pthread_mutex_t spare_lock;
        int spare_fd;     /* behind the lock: one for all, so that whoever is woken up can use it */
        bool lacks_spare; /* atomic: it is given up at this moment, or could not be had back */
        GPtrArray *workers;   /* of Worker, all of them; not changed once the first has started */
        unsigned n_accepting; /* atomic: so many of them accept, beginning with the first */
        bool adapts;          /* that number goes by how busy they are; likewise not changed */
} WorkerShared;

/* A listening socket and what is configured about it, which belongs to the settings it comes with;
 * NULL for one that systemd handed over and no listener wants: whoever comes there is denied. */
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

/* Accepts what waits in the queues (but for those that systemd keeps for whoever it hands them to
 * next) and then no more; @drained is called with @data, on the worker's
 * thread, as soon as it has no session. Once. Any thread. */
void worker_drain(Worker *worker, LoopFunc drained, void *data);

/* While @shared, another process may have its descriptors too; @done is called with @data, on the
 * worker's thread, as soon as it knows. Any thread. */
void worker_share_descriptors(Worker *worker, bool shared, LoopFunc done, void *data);

/* Ends every session. Any thread. */
void worker_cut(Worker *worker);

/* Asks whether its loop still turns: has_answered() says so once it has turned since the last
 * worker_ping(). Any thread. */
void worker_ping(Worker *worker);
bool worker_has_answered(const Worker *worker);

/* Ends the thread, and with it what sessions are left, and frees it. */
void worker_free(Worker *worker);

/* For its sessions, on its thread. */
Loop *worker_get_loop(Worker *worker);
BufferPool *worker_get_pool(Worker *worker);
uint64_t worker_make_session_id(Worker *worker);

/* Takes a session that is over; @has_place: it had a place of the proxy's, not being refused from
 * the first. */
void worker_bury(Worker *worker, Session *session, bool has_place);

/* For a session that could not get a descriptor or memory: @error says which. */
void worker_note_short(Worker *worker, int error);
