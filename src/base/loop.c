/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A turn waits on an epoll set itself: behind a GMainContext it would ask the clock twice, lock
 * five times and look at the context's sources, which is 3 % of what a session costs at some
 * hundred a second. The context is there for GLib's asynchronous calls, which answer through it. It
 * has its turn when somebody wakes it up, and so it is what wakes the loop up too.
 *
 * A watch may be stopped, and its owner closed, by any function that a turn calls, also while
 * events for it are still to be handled: they are dropped because a stopped watch has no loop. Its
 * memory must stay until after_turn().
 */

#include "base/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MAX_EVENTS 128

typedef struct Post Post;

struct Post {
        Post *next;
        LoopFunc func;
        void *data;
};

struct Loop {
        GMainContext *context;
        int epoll_fd;
        int n_events;
        gint64 now;
        Wheel wheel;
        Watch *again, **again_tail; /* in the order in which they asked */
        LoopFunc after_turn;
        void *data;
        Post *posts; /* atomic, newest first */
        bool quits;  /* atomic */
        bool shares_descriptors;
        unsigned n_watches; /* in the epoll set, but for the one that wakes it up */
        struct epoll_event events[MAX_EVENTS];
};

/* What wakes the context up is in the epoll set, as the one watch that is NULL. */
static void
loop_watch_context(Loop *loop)
{
        struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
        GPollFD wakeup;
        int priority, timeout;

        if (!g_main_context_acquire(loop->context))
                g_assert_not_reached();
        g_main_context_prepare(loop->context, &priority);
        if (g_main_context_query(loop->context, priority, &timeout, &wakeup, 1) != 1)
                g_assert_not_reached();
        g_main_context_release(loop->context);

        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, wakeup.fd, &event) < 0)
                g_error("Can't watch for wake-ups: %s", g_strerror(errno));
}

static bool
loop_has_posts(Loop *loop)
{
        return __atomic_load_n(&loop->posts, __ATOMIC_RELAXED) != NULL;
}

/* In milliseconds, for epoll_wait(), counted from the beginning of the last turn: to look at the
 * clock once more would make little difference. */
static int
loop_get_timeout(Loop *loop)
{
        gint64 next;

        if (loop->again || loop_has_posts(loop))
                return 0;

        next = wheel_next(&loop->wheel);
        if (next == G_MAXINT64)
                return -1;

        return (int)CLAMP((next - loop->now + 999) / 1000, 0, 60 * 1000);
}

static void
loop_wait(Loop *loop)
{
        loop->n_events =
                epoll_wait(loop->epoll_fd, loop->events, MAX_EVENTS, loop_get_timeout(loop));
        if (loop->n_events < 0) {
                g_assert(errno == EINTR);
                loop->n_events = 0;
        }
        loop->now = g_get_monotonic_time();
}

/* What it calls may give it more to do, of which nobody is told. */
static void
loop_serve_context(Loop *loop)
{
        while (g_main_context_iteration(loop->context, FALSE))
                ;
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

                if (!watch)
                        loop_serve_context(loop);
                else if (watch->loop)
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

static void
loop_turn(Loop *loop)
{
        loop_wait(loop);
        loop_call_watches(loop);
        loop->n_events = 0;
        loop_call_deadlines(loop);
        loop_call_posts(loop);

        if (loop->after_turn)
                loop->after_turn(loop->data);
}

Loop *
loop_new(LoopFunc after_turn, void *data)
{
        Loop *loop = g_new0(Loop, 1);

        loop->after_turn = after_turn;
        loop->data = data;
        loop->again_tail = &loop->again;
        loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (loop->epoll_fd < 0)
                g_error("Can't make an epoll set: %s", g_strerror(errno));

        loop->now = g_get_monotonic_time();
        wheel_init(&loop->wheel, loop->now);

        loop->context = g_main_context_new();
        loop_watch_context(loop);

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

        g_main_context_unref(loop->context);
        close(loop->epoll_fd);
        g_free(loop);
}

void
loop_run(Loop *loop)
{
        /* An owner is what others wake up when they give the context something to do. */
        if (!g_main_context_acquire(loop->context))
                g_assert_not_reached();
        g_main_context_push_thread_default(loop->context);

        while (!__atomic_load_n(&loop->quits, __ATOMIC_RELAXED))
                loop_turn(loop);
        loop_call_posts(loop);

        g_main_context_pop_thread_default(loop->context);
        g_main_context_release(loop->context);
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

unsigned
loop_get_n_watches(const Loop *loop)
{
        return loop->n_watches;
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
        loop->n_watches++;

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
                g_assert(watch->loop);
                *watch->again_link = watch->again;
                if (watch->again)
                        watch->again->again_link = watch->again_link;
                else if (watch->loop->again_tail == &watch->again)
                        watch->loop->again_tail = watch->again_link;
        }
        if (watch->loop)
                watch->loop->n_watches--;
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
