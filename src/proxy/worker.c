/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Other threads only post calls to a worker's loop. Everything else here, sessions, doors and
 * memory, is touched by its own thread alone, but for what WorkerShared has for all.
 *
 * When the process has no descriptor left, a spare one is given up to accept the next connection
 * and tell it FAILURE, since Asterisk waits for ever in the queue of a listening socket and takes a
 * bare close for success.
 */

#include "proxy/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log-id.h"
#include "base/log.h"
#include "proxy/session.h"

#define PAUSE (G_TIME_SPAN_SECOND / 10) /* of accepting, when there is no memory for more */

/* Where new connections come from; the owner of a watch on a listener. */
typedef struct Door {
        Worker *worker;
        Listener *listener;
        Settings *settings;
        const ListenerSettings *listener_settings; /* belongs to settings */
        Watch watch;
} Door;

/* How busy a worker's thread is, measured at the ends of turns, at least so long apart. */
#define LOAD_INTERVAL (20 * G_TIME_SPAN_MILLISECOND)
#define LOAD_FULL     96 /* percent: more than that, and another worker is called */
#define LOAD_FAIR     80 /* percent: to this a worker that leaves off may bring the others */
#define LOAD_CALLS    10 /* in as many intervals in a row */
#define LOAD_LEAVES   25

typedef struct Load {
        gint64 since;         /* of the interval */
        gint64 used;          /* processor time of the thread by then */
        unsigned full, spare; /* intervals in a row */
} Load;

struct Worker {
        Loop *loop;
        GThread *thread;
        unsigned index;
        WorkerShared *shared;
        BufferPool *pool;
        GPtrArray *doors;  /* of Door */
        GQueue live;       /* of Session */
        GQueue closed;     /* of Session: freed at the end of the turn */
        unsigned n_placed; /* of the live ones: with a place of the proxy's */
        Deadline pause;
        Load load;
        gint64 clock_offset; /* from the monotonic to the real time */
        uint64_t last_id;
        bool drains;
        LoopFunc drained; /* called once, when the last session is over */
        void *data;
        bool answered; /* atomic: a ping has been */
};

/* With the lock held; false when there is none to be had. */
static bool
shared_open_spare(WorkerShared *shared)
{
        if (shared->spare_fd < 0)
                shared->spare_fd = eventfd(0, EFD_CLOEXEC); /* needs no file system */
        __atomic_store_n(&shared->lacks_spare, shared->spare_fd < 0, __ATOMIC_RELAXED);

        return shared->spare_fd >= 0;
}

static void
worker_open_spare(Worker *worker)
{
        pthread_mutex_lock(&worker->shared->spare_lock);
        shared_open_spare(worker->shared);
        pthread_mutex_unlock(&worker->shared->spare_lock);
}

/* What is told when a shortage of any kind is over. */
static unsigned
worker_take_turned_away(Worker *worker)
{
        return __atomic_exchange_n(&worker->shared->turned_away, 0, __ATOMIC_RELAXED);
}

static void
worker_note_full(Worker *worker, bool is_full)
{
        WorkerShared *shared = worker->shared;
        unsigned max = __atomic_load_n(&shared->max_sessions, __ATOMIC_RELAXED);
        gint64 now = loop_now(worker->loop);

        if (is_full && notice_raise(&shared->full, now))
                log_event(G_LOG_LEVEL_WARNING, LOG_ID_LIMIT, NULL, NULL,
                          "all of MaxSessions=%u are taken: new sessions are refused", max);
        else if (!is_full && notice_lower(&shared->full, now))
                log_event(G_LOG_LEVEL_MESSAGE, LOG_ID_LIMIT, NULL, NULL,
                          "fewer than MaxSessions=%u sessions: new ones are taken again; %u "
                          "were refused without a record",
                          max, worker_take_turned_away(worker));
}

void
worker_note_short(Worker *worker, int error)
{
        WorkerShared *shared = worker->shared;
        gint64 now = loop_now(worker->loop);

        if (error && notice_raise(&shared->short_of, now))
                log_event(G_LOG_LEVEL_WARNING, LOG_ID_RESOURCES, NULL, NULL,
                          "%s: sessions that need more are refused, or end; raise %s or lower "
                          "MaxSessions=",
                          g_strerror(error), fd_get_remedy(error));
        else if (!error && notice_lower(&shared->short_of, now))
                log_event(G_LOG_LEVEL_MESSAGE, LOG_ID_RESOURCES, NULL, NULL,
                          "there is enough for sessions again; %u were refused without a record",
                          worker_take_turned_away(worker));
}

/* The least that a client can be told. Takes @fd. */
static void
worker_turn_away(Worker *worker, int fd)
{
        static const char failure[] = "FAILURE\n";
        fd_auto int own = fd;

        if (send(own, failure, strlen(failure), MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
                shutdown(own, SHUT_WR);
        __atomic_add_fetch(&worker->shared->turned_away, 1, __ATOMIC_RELAXED);
}

/* Whether @client may come in by this door. */
static bool
door_is_open_to(const Door *door, const Address *client)
{
        const GArray *allow = door->listener_settings ? door->listener_settings->allow : NULL;

        return allow && (allow->len == 0 ||
                         address_range_match((const void *)allow->data, allow->len, client));
}

static void
worker_admit(Worker *worker, Door *door, int fd, const Address *client)
{
        WorkerShared *shared = worker->shared;
        unsigned max = __atomic_load_n(&shared->max_sessions, __ATOMIC_RELAXED);
        Refusal refusal = REFUSAL_NONE;
        Session *session;

        if (!door_is_open_to(door, client)) {
                refusal = REFUSAL_DENIED;
        } else {
                if (!places_reserve(shared->places, max))
                        refusal = REFUSAL_FULL;
                worker_note_full(worker, refusal == REFUSAL_FULL);
        }

        /* Strangers don't use up what is kept for telling callers that it is full. */
        if (refusal != REFUSAL_NONE &&
            !places_reserve(&shared->refusals, refusal == REFUSAL_DENIED ? WORKER_MAX_REFUSALS / 4
                                                                         : WORKER_MAX_REFUSALS)) {
                worker_turn_away(worker, fd);
                return;
        }

        session = session_new(worker, fd, client, door->settings, door->listener_settings);
        if (!session) {
                worker_note_short(worker, ENOMEM);
                places_release(refusal == REFUSAL_NONE ? shared->places : &shared->refusals);
                worker_turn_away(worker, fd);
                return;
        }

        g_queue_push_tail_link(&worker->live, session_get_link(session));
        worker->n_placed += refusal == REFUSAL_NONE;
        session_start(session, refusal);
}

static void worker_watch_doors(void *data);
static void door_accept(Door *door, unsigned n);

static void
worker_unwatch_doors(Worker *worker)
{
        for (unsigned i = 0; i < worker->doors->len; i++)
                watch_stop(&((Door *)worker->doors->pdata[i])->watch);
}

/* Accepts from them no more, and takes whoever waits there by now: the kernel may have woken this
 * worker alone for him, and then nobody else comes for him. */
static void
worker_leave_doors(GPtrArray *doors)
{
        for (unsigned i = 0; i < doors->len; i++) {
                Door *door = doors->pdata[i];

                watch_stop(&door->watch);
                door_accept(door, LISTENER_BACKLOG);
        }
}

static unsigned
worker_get_n_accepting(const Worker *worker)
{
        return __atomic_load_n(&worker->shared->n_accepting, __ATOMIC_RELAXED);
}

/* No descriptor or no memory: whoever is next is refused with the spare descriptor. False when even
 * that can't be: then accepting pauses. */
static bool
worker_accept_short(Worker *worker, Door *door, int error)
{
        WorkerShared *shared = worker->shared;
        bool has_spare, any = false;
        Address client;
        int fd;

        worker_note_short(worker, error);

        pthread_mutex_lock(&shared->spare_lock);
        if ((error == EMFILE || error == ENFILE) && shared->spare_fd >= 0) {
                __atomic_store_n(&shared->lacks_spare, true, __ATOMIC_RELAXED);
                fd_clear(&shared->spare_fd);
                any = listener_accept(door->listener, &fd, &client) == LISTENER_ACCEPTED;
                if (any)
                        worker_turn_away(worker, fd);
        }
        has_spare = shared_open_spare(shared);
        pthread_mutex_unlock(&shared->spare_lock);
        if (has_spare && (error == EMFILE || error == ENFILE))
                return any;

        worker_unwatch_doors(worker);
        deadline_start(&worker->pause, worker->loop, PAUSE, worker_watch_doors, worker);

        return false;
}

/* True when the connection @fd got the descriptor that another worker had just given up to refuse
 * somebody: then it is refused instead, and the spare one taken back. Without one those in the
 * queue could not even be told. */
static bool
worker_took_spare(Worker *worker, int fd)
{
        WorkerShared *shared = worker->shared;
        bool took;

        if (G_LIKELY(!__atomic_load_n(&shared->lacks_spare, __ATOMIC_RELAXED)))
                return false;

        pthread_mutex_lock(&shared->spare_lock);
        took = !shared_open_spare(shared);
        if (took) {
                worker_turn_away(worker, fd);
                shared_open_spare(shared);
        }
        pthread_mutex_unlock(&shared->spare_lock);

        return took;
}

/* Accepts up to @n connections. */
static void
door_accept(Door *door, unsigned n)
{
        Worker *worker = door->worker;
        Address client;
        int fd;

        for (unsigned i = 0; i < n; i++) {
                switch (listener_accept(door->listener, &fd, &client)) {
                case LISTENER_ACCEPTED:
                        if (worker_took_spare(worker, fd))
                                break;
                        worker_note_short(worker, 0);
                        worker_admit(worker, door, fd, &client);
                        break;
                case LISTENER_EMPTY:
                        return;
                case LISTENER_NO_RESOURCES:
                        if (!worker_accept_short(worker, door, errno))
                                return;
                        break;
                }
        }
}

static void
door_on_event(void *data, uint32_t events)
{
        Door *door = data;

        /* A second accept() is mostly a system call for nothing, and the event stays as long as
         * somebody waits; but in a turn with much else to do it would be long until the next. */
        door_accept(door, 1 + loop_get_n_events(door->worker->loop) / 16);
}

static void
worker_watch_doors(void *data)
{
        Worker *worker = data;

        worker_open_spare(worker);
        if (worker->drains || worker->index >= worker_get_n_accepting(worker))
                return;

        for (unsigned i = 0; i < worker->doors->len; i++) {
                Door *door = worker->doors->pdata[i];

                if (!door->watch.loop &&
                    !watch_start(&door->watch, worker->loop, listener_get_fd(door->listener),
                                 WATCH_LISTENER, door_on_event, door))
                        deadline_start(&worker->pause, worker->loop, PAUSE, worker_watch_doors,
                                       worker);
        }
}

static void
door_free(Door *door)
{
        watch_stop(&door->watch);
        listener_unref(door->listener);
        settings_unref(door->settings);
        g_free(door);
}

static Door *
worker_take_door(Worker *worker, GPtrArray *from, const Listener *listener)
{
        for (unsigned i = 0; i < from->len; i++) {
                if (((Door *)from->pdata[i])->listener == listener)
                        return g_ptr_array_steal_index(from, i);
        }

        return NULL;
}

typedef struct NewSettings {
        Worker *worker;
        Settings *settings;
        GArray *doors; /* of WorkerDoor, each with a reference to its listener */
        LoopFunc taken;
        void *data;
} NewSettings;

static void
worker_on_settings(void *data)
{
        g_autofree NewSettings *new = data;
        Worker *worker = new->worker;
        g_autoptr(GPtrArray) old = worker->doors;

        worker->doors = g_ptr_array_new_with_free_func((GDestroyNotify)door_free);
        for (unsigned i = 0; i < new->doors->len; i++) {
                WorkerDoor *wanted = &g_array_index(new->doors, WorkerDoor, i);
                Door *door = worker_take_door(worker, old, wanted->listener);

                if (!door) {
                        door = g_new0(Door, 1);
                        door->worker = worker;
                        door->listener = listener_ref(wanted->listener);
                }
                settings_unref(door->settings);
                door->settings = settings_ref(new->settings);
                door->listener_settings = wanted->settings;
                g_ptr_array_add(worker->doors, door);
                listener_unref(wanted->listener);
        }
        worker_leave_doors(old);
        worker_watch_doors(worker);

        settings_unref(new->settings);
        g_array_unref(new->doors);
        new->taken(new->data);
}

void
worker_take_settings(Worker *worker,
                     Settings *settings,
                     const GArray *doors,
                     LoopFunc taken,
                     void *data)
{
        NewSettings *new = g_new(NewSettings, 1);

        *new = (NewSettings){ worker, settings_ref(settings),
                              g_array_sized_new(false, false, sizeof(WorkerDoor), doors->len),
                              taken, data };
        for (unsigned i = 0; i < doors->len; i++) {
                WorkerDoor door = g_array_index(doors, WorkerDoor, i);

                listener_ref(door.listener);
                g_array_append_val(new->doors, door);
        }

        loop_post(worker->loop, worker_on_settings, new);
}

static void
worker_on_drain(void *data)
{
        Worker *worker = data;

        worker->drains = true;

        /* A socket that systemd keeps is left to whoever has it next. */
        for (unsigned i = worker->doors->len; i-- > 0;) {
                const Listener *listener = ((Door *)worker->doors->pdata[i])->listener;

                if (listener_get_passed_name(listener) && !listener_is_shared(listener))
                        g_ptr_array_remove_index_fast(worker->doors, i);
        }
        worker_leave_doors(worker->doors);
        g_ptr_array_set_size(worker->doors, 0);
}

void
worker_drain(Worker *worker, LoopFunc drained, void *data)
{
        /* The post makes them visible to the worker, which looks at them only when it drains. */
        worker->drained = drained;
        worker->data = data;
        loop_post(worker->loop, worker_on_drain, worker);
}

typedef struct Sharing {
        Worker *worker;
        bool shared;
        LoopFunc done;
        void *data;
} Sharing;

static void
worker_on_share(void *data)
{
        g_autofree Sharing *sharing = data;

        loop_share_descriptors(sharing->worker->loop, sharing->shared);

        /* A process that accepted as well, and is gone, may have been woken alone for somebody. */
        if (!sharing->shared && sharing->worker->doors->len > 0) {
                worker_unwatch_doors(sharing->worker);
                worker_watch_doors(sharing->worker);
        }
        sharing->done(sharing->data);
}

void
worker_share_descriptors(Worker *worker, bool shared, LoopFunc done, void *data)
{
        Sharing *sharing = g_new(Sharing, 1);

        *sharing = (Sharing){ worker, shared, done, data };
        loop_post(worker->loop, worker_on_share, sharing);
}

static void
worker_on_cut(void *data)
{
        Worker *worker = data;

        while (worker->live.head)
                session_cut(worker->live.head->data);
}

void
worker_cut(Worker *worker)
{
        loop_post(worker->loop, worker_on_cut, worker);
}

static void
worker_on_ping(void *data)
{
        Worker *worker = data;

        __atomic_store_n(&worker->answered, true, __ATOMIC_RELAXED);
}

void
worker_ping(Worker *worker)
{
        __atomic_store_n(&worker->answered, false, __ATOMIC_RELAXED);
        loop_post(worker->loop, worker_on_ping, worker);
}

bool
worker_has_answered(const Worker *worker)
{
        return __atomic_load_n(&worker->answered, __ATOMIC_RELAXED);
}

void
worker_bury(Worker *worker, Session *session, bool has_place)
{
        GList *link = session_get_link(session);

        g_queue_unlink(&worker->live, link);
        g_queue_push_tail_link(&worker->closed, link);
        worker->n_placed -= has_place;
        places_release(has_place ? worker->shared->places : &worker->shared->refusals);
}

/* With -Dinvariants=true, after each turn: what sessions hold is bounded by their number, and
 * nothing is left of those that are over. */
static void
worker_check(const Worker *worker)
{
        unsigned live = worker->live.length;

        if (!INVARIANTS)
                return;

        g_assert(!worker->closed.head);
        g_assert(worker->n_placed <= live);
        g_assert(worker->n_placed <= places_get_taken(worker->shared->places));
        g_assert(live - worker->n_placed <= places_get_taken(&worker->shared->refusals));
        g_assert(buffer_pool_get_used(worker->pool) <= (size_t)SESSION_BUFFERS * live);
        g_assert(loop_get_n_watches(worker->loop) <=
                 SESSION_DESCRIPTORS * live + worker->doors->len);
}

static gint64
get_thread_time(void)
{
        struct timespec used;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);

        return used.tv_sec * G_USEC_PER_SEC + used.tv_nsec / 1000;
}

/* Changes how many workers accept from @n to @to, unless another one was quicker. */
static bool
worker_set_n_accepting(Worker *worker, unsigned n, unsigned to)
{
        return __atomic_compare_exchange_n(&worker->shared->n_accepting, &n, to, false,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* The last of the workers that accept calls the next one, or leaves off. */
static void
worker_adapt(Worker *worker, unsigned percent)
{
        unsigned n = worker_get_n_accepting(worker);
        Load *load = &worker->load;

        load->full = percent >= LOAD_FULL ? load->full + 1 : 0;
        load->spare = percent * n < LOAD_FAIR * (n - 1) ? load->spare + 1 : 0;
        if (worker->index + 1 != n)
                return;

        if (load->full >= LOAD_CALLS && n < worker->shared->workers->len) {
                Worker *next = worker->shared->workers->pdata[n];

                load->full = 0;
                if (worker_set_n_accepting(worker, n, n + 1))
                        loop_post(next->loop, worker_watch_doors, next);
        } else if (load->spare >= LOAD_LEAVES && n > 1) {
                load->spare = 0;
                if (worker_set_n_accepting(worker, n, n - 1))
                        worker_leave_doors(worker->doors);
        }
}

static void
worker_measure(Worker *worker)
{
        Load *load = &worker->load;
        gint64 span = loop_now(worker->loop) - load->since;
        gint64 used;

        if (span < LOAD_INTERVAL || !worker->shared->adapts)
                return;

        used = get_thread_time();
        worker_adapt(worker, (unsigned)((used - load->used) * 100 / span));
        load->since += span;
        load->used = used;
}

static void
worker_after_turn(void *data)
{
        Worker *worker = data;
        GList *link;

        while ((link = g_queue_pop_head_link(&worker->closed)))
                session_free(link->data);

        worker_check(worker);
        worker_measure(worker);
        if (worker->drains && worker->drained && !worker->live.head) {
                LoopFunc drained = worker->drained;

                worker->drained = NULL;
                drained(worker->data);
        }
}

Worker *
worker_new(unsigned index, WorkerShared *shared)
{
        Worker *worker = g_new0(Worker, 1);

        worker->index = index;
        worker->shared = shared;
        worker->loop = loop_new(worker_after_turn, worker);
        worker->pool = buffer_pool_new();
        worker->doors = g_ptr_array_new_with_free_func((GDestroyNotify)door_free);
        worker->clock_offset = g_get_real_time() - g_get_monotonic_time();
        worker->answered = true;
        worker_open_spare(worker);

        return worker;
}

static void *
worker_run(void *data)
{
        Worker *worker = data;

        loop_run(worker->loop);

        worker_on_cut(worker);
        worker_after_turn(worker);

        return NULL;
}

void
worker_start(Worker *worker)
{
        g_autofree char *name = g_strdup_printf("worker-%u", worker->index);

        worker->thread = g_thread_new(name, worker_run, worker);
}

void
worker_free(Worker *worker)
{
        loop_quit(worker->loop);
        if (worker->thread)
                g_thread_join(worker->thread);

        deadline_stop(&worker->pause);
        g_ptr_array_unref(worker->doors);
        buffer_pool_free(worker->pool);
        loop_free(worker->loop);
        g_free(worker);
}

Loop *
worker_get_loop(Worker *worker)
{
        return worker->loop;
}

BufferPool *
worker_get_pool(Worker *worker)
{
        return worker->pool;
}

uint64_t
worker_make_session_id(Worker *worker)
{
        uint64_t id = (uint64_t)(loop_now(worker->loop) + worker->clock_offset);

        /* The time in microseconds, but never the same one twice, and never that of another worker.
         */
        worker->last_id = MAX(id, worker->last_id + 1);

        return worker->last_id << 8 | (worker->index & 0xff);
}
