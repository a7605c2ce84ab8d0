/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "base/wheel.h"

/*
 * One thread's events: descriptors that became ready, deadlines, and calls from other threads.
 *
 * A turn waits on an epoll set and is one system call; it costs the same with ten descriptors or
 * ten thousand. While it runs, the thread's default GMainContext is one that the loop serves when
 * it is woken up, so that GLib's asynchronous calls can answer there: whoever makes one from the
 * loop's own thread calls g_main_context_wakeup(). Sources with a descriptor or a timeout can't be
 * in it. All functions belong to the loop's own thread except where they say otherwise.
 */

typedef struct Loop Loop;
typedef struct Watch Watch;
typedef struct Deadline Deadline;

typedef void (*LoopFunc)(void *data);

/* @events: EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR as epoll_wait() gave them; 0 when the
 * call was asked for by watch_again(). */
typedef void (*WatchFunc)(void *data, uint32_t events);

/* Edge-triggered, for a connection: an event comes once for each change, so its owner reads until
 * the kernel says "not now". Readiness to write is asked for only when a write has had to wait,
 * since every new connection would otherwise wake its loop once for nothing. */
#define WATCH_STREAM       (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define WATCH_STREAM_WRITE (WATCH_STREAM | EPOLLOUT)

/* Level-triggered, for a listening socket that several loops share: few of them wake up. */
#define WATCH_LISTENER (EPOLLIN | EPOLLEXCLUSIVE)

/* Embedded in its owner; all zero when stopped. */
struct Watch {
        Loop *loop; /* NULL when stopped */
        int fd;
        WatchFunc func;
        void *data;
        Watch *again; /* the next one that watch_again() was called for */
        Watch **again_link;
};

struct Deadline {
        WheelEntry entry;
        Loop *loop; /* NULL when stopped */
        LoopFunc func;
        void *data;
};

/* @after_turn is called with @data at the end of every turn: the place to free what was closed
 * during it. */
Loop *loop_new(LoopFunc after_turn, void *data);

/* NULL is fine. Calls that were posted and not yet made are dropped. */
void loop_free(Loop *loop);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Loop, loop_free)

/* Turns until loop_quit(). What was posted before that has been called when it returns. */
void loop_run(Loop *loop);

/* Ends loop_run() after the turn it is in. Any thread. */
void loop_quit(Loop *loop);

/* Calls @func with @data from the loop's thread, in the order posted. Any thread. */
void loop_post(Loop *loop, LoopFunc func, void *data);

/* How many events this turn has: a measure of how busy the loop is. */
unsigned loop_get_n_events(const Loop *loop);

/* How many watches are running. */
unsigned loop_get_n_watches(const Loop *loop);

/* While @shared, another process may have the descriptors too (a fork before its exec), so that a
 * close alone takes none out of the epoll set. */
void loop_share_descriptors(Loop *loop, bool shared);

/* g_get_monotonic_time() as it was when this turn began. */
gint64 loop_now(const Loop *loop);

/* Watches @fd for @events (one of WATCH_*). False, with errno set, when the kernel has no memory
 * for it (ENOMEM), or as many as its user may have are watched (ENOSPC; epoll(7),
 * /proc/sys/fs/epoll/max_user_watches). */
bool watch_start(Watch *watch, Loop *loop, int fd, uint32_t events, WatchFunc func, void *data);

/* Watches for other @events from now on; what is ready at this moment is reported anew. */
void watch_change(Watch *watch, uint32_t events);

/* Ends watching. After it @func is not called again, not for an event of the same turn either; a
 * watch that is started anew in that turn may be given what had come for it before. Nothing happens
 * when it is stopped already. */
void watch_stop(Watch *watch);

/* The same for a descriptor that is closed right afterwards, which takes it out of the epoll set
 * without a call of its own: only where this process alone has the descriptor, but for
 * loop_share_descriptors(). */
void watch_forget(Watch *watch);

/* Calls the watch's function once more in the next turn: for an owner that has spent its share of
 * this turn and has more to do. */
void watch_again(Watch *watch);

/* Calls @func once, @delay microseconds after the beginning of this turn. A deadline that runs is
 * moved. */
void deadline_start(Deadline *deadline, Loop *loop, gint64 delay, LoopFunc func, void *data);

/* Nothing happens when it is stopped already. */
void deadline_stop(Deadline *deadline);

/* What is left at @now of a @limit that counts from @since; G_MAXINT64 is for ever. */
static inline gint64
loop_time_left(gint64 limit, gint64 since, gint64 now)
{
        return limit == G_MAXINT64 ? G_MAXINT64 : MAX(limit - (now - since), 0);
}
