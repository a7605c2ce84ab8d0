/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <gio/gio.h>

#include "base/fd.h"
#include "base/loop.h"

typedef struct Fixture {
        Loop *loop;
        int fds[2]; /* of eventfd() */
        Watch watches[2];
        Deadline deadlines[2];
        unsigned calls, turns;
        gint64 at;
} Fixture;

static void
count_turn(void *data)
{
        ((Fixture *)data)->turns++;
}

static void
fixture_set_up(Fixture *fixture, const void *data)
{
        fixture->loop = loop_new(count_turn, fixture);
        for (unsigned i = 0; i < G_N_ELEMENTS(fixture->fds); i++)
                fixture->fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static void
fixture_tear_down(Fixture *fixture, const void *data)
{
        for (unsigned i = 0; i < G_N_ELEMENTS(fixture->fds); i++) {
                watch_stop(&fixture->watches[i]);
                deadline_stop(&fixture->deadlines[i]);
                close(fixture->fds[i]);
        }
        loop_free(fixture->loop);
}

static void
set_ready(int fd)
{
        g_assert_cmpint(eventfd_write(fd, 1), ==, 0);
}

static void
quit(void *data)
{
        Fixture *fixture = data;

        fixture->calls++;
        fixture->at = loop_now(fixture->loop);
        loop_quit(fixture->loop);
}

static void
watch_quit(void *data, uint32_t events)
{
        g_assert_cmpuint(events, ==, EPOLLIN);
        quit(data);
}

static void
test_watch_tells_of_events(Fixture *fixture, const void *data)
{
        g_assert_true(watch_start(&fixture->watches[0], fixture->loop, fixture->fds[0],
                                  WATCH_STREAM, watch_quit, fixture));
        set_ready(fixture->fds[0]);
        loop_run(fixture->loop);
        g_assert_cmpuint(fixture->calls, ==, 1);
        g_assert_cmpuint(fixture->turns, ==, 1);
}

/* Both are ready in one turn; whoever comes first stops the other. */
static void
watch_stop_both(void *data, uint32_t events)
{
        Fixture *fixture = data;

        watch_stop(&fixture->watches[0]);
        watch_stop(&fixture->watches[1]);
        quit(fixture);
}

static void
test_stopped_watch_is_not_called(Fixture *fixture, const void *data)
{
        for (unsigned i = 0; i < 2; i++) {
                g_assert_true(watch_start(&fixture->watches[i], fixture->loop, fixture->fds[i],
                                          WATCH_STREAM, watch_stop_both, fixture));
                set_ready(fixture->fds[i]);
        }
        loop_run(fixture->loop);
        g_assert_cmpuint(fixture->calls, ==, 1);
}

static void
watch_ask_again(void *data, uint32_t events)
{
        Fixture *fixture = data;

        g_assert_cmpuint(events, ==, fixture->calls == 0 ? EPOLLIN : 0);
        g_assert_cmpuint(fixture->turns, ==, fixture->calls);
        if (++fixture->calls == 3)
                loop_quit(fixture->loop);
        else
                watch_again(&fixture->watches[0]);
}

static void
test_again_comes_in_the_next_turn(Fixture *fixture, const void *data)
{
        g_assert_true(watch_start(&fixture->watches[0], fixture->loop, fixture->fds[0],
                                  WATCH_STREAM, watch_ask_again, fixture));
        set_ready(fixture->fds[0]);
        loop_run(fixture->loop);
        g_assert_cmpuint(fixture->calls, ==, 3);
}

static void
watch_ignore(void *data, uint32_t events)
{
}

static void
watch_never(void *data, uint32_t events)
{
        g_assert_not_reached();
}

static void
test_stopped_watch_does_not_come_again(Fixture *fixture, const void *data)
{
        for (unsigned i = 0; i < 2; i++) {
                g_assert_true(watch_start(&fixture->watches[i], fixture->loop, fixture->fds[i],
                                          WATCH_STREAM, watch_never, fixture));
                watch_again(&fixture->watches[i]);
                watch_again(&fixture->watches[i]);
        }
        watch_stop(&fixture->watches[0]);
        watch_stop(&fixture->watches[1]);
        loop_post(fixture->loop, quit, fixture);
        loop_run(fixture->loop);
}

static void
test_changed_watch_tells_what_is_ready(Fixture *fixture, const void *data)
{
        set_ready(fixture->fds[0]);
        g_assert_true(watch_start(&fixture->watches[0], fixture->loop, fixture->fds[0],
                                  WATCH_STREAM, watch_quit, fixture));
        loop_run(fixture->loop);

        /* The edge is spent; a change shows what is there once more, now to write too. */
        fixture->watches[0].func = watch_stop_both;
        watch_change(&fixture->watches[0], WATCH_STREAM_WRITE);
        loop_run(fixture->loop);
        g_assert_cmpuint(fixture->calls, ==, 2);
}

static void
test_deadline_comes_in_time(Fixture *fixture, const void *data)
{
        gint64 before = loop_now(fixture->loop);

        deadline_start(&fixture->deadlines[0], fixture->loop, 20 * 1000, quit, fixture);
        loop_run(fixture->loop);
        g_assert_cmpuint(fixture->calls, ==, 1);
        g_assert_cmpint(fixture->at, >=, before + 20 * 1000);
}

static void
call_never(void *data)
{
        g_assert_not_reached();
}

static void
test_deadline_moves_and_stops(Fixture *fixture, const void *data)
{
        deadline_start(&fixture->deadlines[0], fixture->loop, 0, call_never, fixture);
        deadline_stop(&fixture->deadlines[0]);
        deadline_start(&fixture->deadlines[1], fixture->loop, 0, call_never, fixture);
        deadline_start(&fixture->deadlines[1], fixture->loop, 1000, quit, fixture);
        loop_run(fixture->loop);
        g_assert_cmpuint(fixture->calls, ==, 1);
}

static void
expect_order(void *data)
{
        Fixture *fixture = data;

        fixture->calls++;
        if (fixture->calls == 1000 * 4)
                loop_quit(fixture->loop);
}

static void *
post_many(void *data)
{
        Fixture *fixture = data;

        for (unsigned i = 0; i < 1000; i++)
                loop_post(fixture->loop, expect_order, fixture);

        return NULL;
}

static void
test_posts_from_many_threads_all_come(Fixture *fixture, const void *data)
{
        GThread *threads[4];

        for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
                threads[i] = g_thread_new("poster", post_many, fixture);
        loop_run(fixture->loop);
        for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
                g_thread_join(threads[i]);
        g_assert_cmpuint(fixture->calls, ==, 4000);
}

static void
append_a(void *data)
{
        g_string_append_c(data, 'a');
}

static void
append_b(void *data)
{
        g_string_append_c(data, 'b');
}

static void
test_posts_keep_their_order(Fixture *fixture, const void *data)
{
        g_autoptr(GString) order = g_string_new(NULL);

        loop_post(fixture->loop, append_a, order);
        loop_post(fixture->loop, append_b, order);
        loop_post(fixture->loop, append_b, order);
        loop_post(fixture->loop, quit, fixture);
        loop_run(fixture->loop);
        g_assert_cmpstr(order->str, ==, "abb");
}

/* A GTask: answered at once by the loop's own thread, or later by another one. */
static void
quit_on_answer(GObject *object, GAsyncResult *result, void *data)
{
        g_assert_true(g_task_propagate_boolean(G_TASK(result), NULL));
        quit(data);
}

static void
answer_later(GTask *task, void *object, void *data, GCancellable *cancellable)
{
        g_task_return_boolean(task, TRUE);
}

static void
ask_at_once(void *data)
{
        g_autoptr(GTask) task = g_task_new(NULL, NULL, quit_on_answer, data);

        g_task_return_boolean(task, TRUE);
        g_main_context_wakeup(g_main_context_get_thread_default());
}

static void
ask_another_thread(void *data)
{
        g_autoptr(GTask) task = g_task_new(NULL, NULL, quit_on_answer, data);

        g_task_run_in_thread(task, answer_later);
}

static void
test_asynchronous_calls_answer(Fixture *fixture, const void *data)
{
        const LoopFunc ask[] = { ask_at_once, ask_another_thread };

        for (unsigned i = 0; i < G_N_ELEMENTS(ask); i++) {
                loop_post(fixture->loop, ask[i], fixture);
                loop_run(fixture->loop);
                g_assert_cmpuint(fixture->calls, ==, i + 1);
        }
}

/* A turn must not be the cause of the next one: then the thread would never sleep. The event has
 * one, the deadline one for each level that it moves down: how many depends on the time of day. */
static void
test_idle_loop_sleeps(Fixture *fixture, const void *data)
{
        g_assert_true(watch_start(&fixture->watches[0], fixture->loop, fixture->fds[0],
                                  WATCH_STREAM, watch_ignore, fixture));
        set_ready(fixture->fds[0]);
        deadline_start(&fixture->deadlines[0], fixture->loop, 100 * 1000, quit, fixture);
        loop_run(fixture->loop);
        g_assert_cmpuint(fixture->turns, <=, 1 + WHEEL_LEVELS);
}

static void
test_dropped_posts_are_freed(Fixture *fixture, const void *data)
{
        loop_post(fixture->loop, call_never, fixture);
        loop_post(fixture->loop, call_never, fixture);
}

#define ADD(name, func)                                                                            \
        g_test_add("/loop/" name, Fixture, NULL, fixture_set_up, func, fixture_tear_down)

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        ADD("watch-tells-of-events", test_watch_tells_of_events);
        ADD("stopped-watch-is-not-called", test_stopped_watch_is_not_called);
        ADD("again-comes-in-the-next-turn", test_again_comes_in_the_next_turn);
        ADD("stopped-watch-does-not-come-again", test_stopped_watch_does_not_come_again);
        ADD("changed-watch-tells-what-is-ready", test_changed_watch_tells_what_is_ready);
        ADD("deadline-comes-in-time", test_deadline_comes_in_time);
        ADD("deadline-moves-and-stops", test_deadline_moves_and_stops);
        ADD("posts-from-many-threads-all-come", test_posts_from_many_threads_all_come);
        ADD("posts-keep-their-order", test_posts_keep_their_order);
        ADD("asynchronous-calls-answer", test_asynchronous_calls_answer);
        ADD("idle-loop-sleeps", test_idle_loop_sleeps);
        ADD("dropped-posts-are-freed", test_dropped_posts_are_freed);

        return g_test_run();
}
