/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GMainContext looks at every source in every turn, so a loop has just one. Behind it are an epoll
 * set, a wheel of deadlines, a list of watches to be called again, and a queue of calls from other
 * threads. The context would poll() the epoll set and then have to ask it once more what happened;
 * the poll function installed here waits on the set itself and keeps what it said for the dispatch.
 *
 * A watch may be stopped, and its owner closed, by any function that a turn calls, also while
 * events for it are still to be handled: they are dropped because a stopped watch has no loop. Its
 * memory must stay until after_turn().
 */

#include "base/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"

#define MAX_EVENTS 128

typedef struct Post Post;

struct Post {
        Post *next;
        LoopFunc func;
        void *data;
};

struct Loop {
        GMainContext *context;
        GSource *source;
        void *source_tag;
        int epoll_fd;
        int wakeup_fd; /* the context's own; in the epoll set since the first turn */
        int n_events;
        gint64 now;
        Wheel wheel;
        Watch *again, **again_tail; /* in the order in which they asked */
        LoopFunc after_turn;
        void *data;
        Post *posts; /* atomic, newest first */
        bool quits;  /* atomic */
        bool shares_descriptors;
        struct epoll_event events[MAX_EVENTS];
};

typedef struct LoopSource {
        GSource source;
        Loop *loop;
} LoopSource;

/* A GPollFunc gets no data of its own; a thread runs one loop at a time. */
static GPrivate running_loop;

static void
loop_watch_wakeup(Loop *loop, int fd)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };

        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                g_error("Can't watch for wake-ups: %s", g_strerror(errno));
        loop->wakeup_fd = fd;
}

static int
loop_poll(GPollFD *fds, guint n_fds, int timeout)
{
        Loop *loop = g_private_get(&running_loop);
        GPollFD *own = NULL, *wakeup = NULL;

        for (guint i = 0; i < n_fds; i++) {
                fds[i].revents = 0;
                if (fds[i].fd == loop->epoll_fd)
                        own = &fds[i];
                else
                        wakeup = &fds[i];
        }

        g_assert(n_fds == 2 && own && wakeup);
        if (wakeup->fd != loop->wakeup_fd)
                loop_watch_wakeup(loop, wakeup->fd);

        loop->n_events = epoll_wait(loop->epoll_fd, loop->events, MAX_EVENTS, timeout);
        if (loop->n_events < 0) {
                g_assert(errno == EINTR);
                loop->n_events = 0;
        }

        /* A wake-up is GLib's to handle, and no event of the loop. */
        for (int i = 0; i < loop->n_events; i++) {
                if (!loop->events[i].data.ptr) {
                        wakeup->revents = G_IO_IN;
                        loop->events[i] = loop->events[--loop->n_events];
                        break;
                }
        }
        own->revents = loop->n_events > 0 ? G_IO_IN : 0;

        return (own->revents != 0) + (wakeup->revents != 0);
}

static bool
loop_has_posts(Loop *loop)
{
        return __atomic_load_n(&loop->posts, __ATOMIC_RELAXED) != NULL;
}

static gboolean
loop_prepare(GSource *source, int *timeout)
{
        Loop *loop = ((LoopSource *)source)->loop;
        gint64 next, delay;

        *timeout = 0;
        if (loop->again || loop_has_posts(loop))
                return FALSE;

        next = wheel_next(&loop->wheel);
        if (next == G_MAXINT64) {
                *timeout = -1;
                return FALSE;
        }

        delay = next - g_get_monotonic_time();
        if (delay > 0)
                *timeout = (int)MIN((delay + 999) / 1000, 60 * 1000);

        return FALSE;
}

static gboolean
loop_check(GSource *source)
{
        Loop *loop = ((LoopSource *)source)->loop;

        loop->now = g_get_monotonic_time();

        return loop->n_events > 0 || loop->again || wheel_next(&loop->wheel) <= loop->now ||
               loop_has_posts(loop);
}

static void
loop_call_watches(Loop *loop)
{
        Watch *again = loop->again;

        /* What asks again from now on is for the next turn. */
        loop->again = NULL;
        loop->again_tail = &loop->again;
        if (again)
                again->again_link = &again;

        for (int i = 0; i < loop->n_events; i++) {
                Watch *watch = loop->events[i].data.ptr;

                if (watch->loop)
                        watch->func(watch->data, loop->events[i].events);
        }

        while (again) {
                Watch *watch = again;

                again = watch->again;
                if (again)
                        again->again_link = &again;
                watch->again = NULL;
                watch->again_link = NULL;
                watch->func(watch->data, 0);
        }
}

static void
loop_call_deadlines(Loop *loop)
{
        WheelEntry *entry;

        while ((entry = wheel_expire(&loop->wheel, loop->now))) {
                Deadline *deadline =
                        (Deadline *)(void *)((char *)entry - G_STRUCT_OFFSET(Deadline, entry));

                deadline->loop = NULL;
                deadline->func(deadline->data);
        }
}

/* The posted calls, oldest first; the caller frees them. */
static Post *
loop_take_posts(Loop *loop)
{
        Post *newest = __atomic_exchange_n(&loop->posts, NULL, __ATOMIC_ACQUIRE);
        Post *oldest = NULL;

        while (newest) {
                Post *post = newest;

                newest = post->next;
                post->next = oldest;
                oldest = post;
        }

        return oldest;
}

static void
loop_call_posts(Loop *loop)
{
        Post *posts = loop_take_posts(loop);

        while (posts) {
                Post *post = posts;

                posts = post->next;
                post->func(post->data);
                g_free(post);
        }
}

static gboolean
loop_dispatch(GSource *source, GSourceFunc func, void *data)
{
        Loop *loop = ((LoopSource *)source)->loop;

        loop_call_watches(loop);
        loop->n_events = 0;
        loop_call_deadlines(loop);
        loop_call_posts(loop);

        if (loop->after_turn)
                loop->after_turn(loop->data);

        return G_SOURCE_CONTINUE;
}

Loop *
loop_new(LoopFunc after_turn, void *data)
{
        static GSourceFuncs funcs = {
                .prepare = loop_prepare,
                .check = loop_check,
                .dispatch = loop_dispatch,
        };
        Loop *loop = g_new0(Loop, 1);

        loop->after_turn = after_turn;
        loop->data = data;
        loop->wakeup_fd = FD_NONE;
        loop->again_tail = &loop->again;
        loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (loop->epoll_fd < 0)
                g_error("Can't make an epoll set: %s", g_strerror(errno));

        loop->now = g_get_monotonic_time();
        wheel_init(&loop->wheel, loop->now);

        loop->context = g_main_context_new();
        g_main_context_set_poll_func(loop->context, loop_poll);
        loop->source = g_source_new(&funcs, sizeof(LoopSource));
        ((LoopSource *)loop->source)->loop = loop;
        loop->source_tag = g_source_add_unix_fd(loop->source, loop->epoll_fd, G_IO_IN);

        /* While it dispatches a source that may not recurse, GLib takes its descriptors out of the
         * context and puts them back, and wakes the context up for each. Nothing here recurses. */
        g_source_set_can_recurse(loop->source, TRUE);
        g_source_attach(loop->source, loop->context);

        return loop;
}

void
loop_free(Loop *loop)
{
        Post *posts;

        if (!loop)
                return;

        posts = loop_take_posts(loop);
        while (posts) {
                Post *post = posts;

                posts = post->next;
                g_free(post);
        }

        g_source_destroy(loop->source);
        g_source_unref(loop->source);
        g_main_context_unref(loop->context);
        close(loop->epoll_fd);
        g_free(loop);
}

void
loop_run(Loop *loop)
{
        g_private_set(&running_loop, loop);
        g_main_context_push_thread_default(loop->context);

        while (!__atomic_load_n(&loop->quits, __ATOMIC_RELAXED))
                g_main_context_iteration(loop->context, TRUE);
        loop_call_posts(loop);

        g_main_context_pop_thread_default(loop->context);
        g_private_set(&running_loop, NULL);
        __atomic_store_n(&loop->quits, false, __ATOMIC_RELAXED);
}

void
loop_quit(Loop *loop)
{
        __atomic_store_n(&loop->quits, true, __ATOMIC_RELAXED);
        g_main_context_wakeup(loop->context);
}

void
loop_post(Loop *loop, LoopFunc func, void *data)
{
        Post *post = g_new(Post, 1);

        *post = (Post){ __atomic_load_n(&loop->posts, __ATOMIC_RELAXED), func, data };
        while (!__atomic_compare_exchange_n(&loop->posts, &post->next, post, true, __ATOMIC_RELEASE,
                                            __ATOMIC_RELAXED))
                ;

        g_main_context_wakeup(loop->context);
}

unsigned
loop_get_n_events(const Loop *loop)
{
        return (unsigned)loop->n_events;
}

void
loop_share_descriptors(Loop *loop, bool shared)
{
        loop->shares_descriptors = shared;
}

gint64
loop_now(const Loop *loop)
{
        return loop->now;
}

bool
watch_start(Watch *watch, Loop *loop, int fd, uint32_t events, WatchFunc func, void *data)
{
        struct epoll_event event = { .events = events, .data.ptr = watch };

        g_assert(!watch->loop);

        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                return false;

        *watch = (Watch){ .loop = loop, .fd = fd, .func = func, .data = data };

        return true;
}

void
watch_change(Watch *watch, uint32_t events)
{
        struct epoll_event event = { .events = events, .data.ptr = watch };

        if (epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0)
                g_error("Can't change a watch: %s", g_strerror(errno));
}

static void
watch_clear(Watch *watch)
{
        if (watch->again_link) {
                *watch->again_link = watch->again;
                if (watch->again)
                        watch->again->again_link = watch->again_link;
                else if (watch->loop->again_tail == &watch->again)
                        watch->loop->again_tail = watch->again_link;
        }
        *watch = (Watch){ .loop = NULL };
}

void
watch_stop(Watch *watch)
{
        if (!watch->loop)
                return;

        epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
        watch_clear(watch);
}

void
watch_forget(Watch *watch)
{
        if (watch->loop && watch->loop->shares_descriptors)
                watch_stop(watch);
        else
                watch_clear(watch);
}

void
watch_again(Watch *watch)
{
        Loop *loop = watch->loop;

        if (watch->again_link)
                return;

        watch->again_link = loop->again_tail;
        *loop->again_tail = watch;
        loop->again_tail = &watch->again;
}

void
deadline_start(Deadline *deadline, Loop *loop, gint64 delay, LoopFunc func, void *data)
{
        deadline_stop(deadline);

        deadline->loop = loop;
        deadline->func = func;
        deadline->data = data;
        wheel_add(&loop->wheel, &deadline->entry, loop->now + delay);
}

void
deadline_stop(Deadline *deadline)
{
        if (!deadline->loop)
                return;

        wheel_remove(&deadline->loop->wheel, &deadline->entry);
        deadline->loop = NULL;
}
