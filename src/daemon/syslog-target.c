/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A connection is begun when there is something to say. Records go from the queue, which all
 * threads fill, to the flight, which is this thread's, and from there as text into the stream; they
 * leave the flight when nobody could want them again. A break puts the flight back to where it has
 * to be sent from, and the queue goes on filling meanwhile.
 *
 * A connection counts as good, and its server as there, once it has lasted for a moment: one that
 * is taken and broken off at once, as by a server that refuses our certificate, is a failure.
 */

#include "daemon/syslog-target.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/backoff.h"
#include "daemon/syslog-flight.h"
#include "daemon/syslog-link.h"
#include "daemon/syslog-message.h"
#include "daemon/syslog-notice.h"
#include "daemon/syslog-queue.h"
#include "daemon/syslog-socket.h"

#define TICK          G_TIME_SPAN_SECOND              /* between two looks at a connection */
#define END_TICK      (50 * G_TIME_SPAN_MILLISECOND)  /* ... that is to end */
#define END_TICKS     4                               /* with nothing left to wait for */
#define END_RETRY     (100 * G_TIME_SPAN_MILLISECOND) /* to reach a server that has just gone */
#define RESET_LIMIT   (200 * G_TIME_SPAN_MILLISECOND)
#define REPORT        G_TIME_SPAN_MINUTE /* while records go on being dropped */
#define REPORT_PAUSE  G_TIME_SPAN_SECOND /* after a report, in any case */
#define BATCH_RECORDS 64
#define BATCH_SIZE    (32 * 1024)
#define TURN_SIZE     (8 * BATCH_SIZE)
#define BURST         64 /* datagrams, and how long after them, lest they overrun the server */
#define BURST_PAUSE   (2 * G_TIME_SPAN_MILLISECOND)
#define MAX_UDP       2048 /* RFC 5426, 3.2 */
#define MAX_STREAM    8192 /* RFC 5425, 4.3.1 */

typedef enum TargetState {
        TARGET_IDLE,   /* nothing to say */
        TARGET_TRYING, /* until some address takes the first bytes */
        TARGET_OPEN,
        TARGET_ENDED,   /* the server ended it, and a reset may follow */
        TARGET_RESTING, /* after a failure */
        TARGET_ENDING,  /* all is said, and the server has to hear it */
        TARGET_OVER,
} TargetState;

struct SyslogTarget {
        pthread_mutex_t *lock; /* of all that follows: */
        Settings *next_settings;
        const SyslogSettings *next;
        SyslogQueue queue;
        bool is_asleep;

        /* The loop's thread's own. */
        Loop *loop;
        Settings *settings; /* NULL until the first update */
        const SyslogSettings *own;

        TargetState state;
        SyslogLink link;
        bool is_settled; /* the connection has lasted for a moment */
        uint64_t window; /* the most that the server has ever had room for at once */
        Deadline tick;   /* of an open connection */
        Deadline rest, pause, limit;
        unsigned end_ticks;
        SyslogFlight flight;
        GString *out;
        size_t sent; /* of it */
        char *hostname;
        char procid[16];

        unsigned failures; /* in a row */
        bool was_there;    /* when last tried */
        bool is_down;      /* as was said */
        bool is_ending;
        guint64 reported; /* how many of the dropped */
        gint64 report_time;
};

static void target_begin(SyslogTarget *target);
static void target_run(void *data);
static void target_on_tick(void *data);

static void
target_note_down(SyslogTarget *target)
{
        if (!target->is_down)
                syslog_notice_down(target->own->name, target->link.reason);
        target->is_down = true;
}

static void
target_note_up(SyslogTarget *target)
{
        target->failures = 0;
        if (target->is_down)
                syslog_notice_up(target->own->name);
        target->is_down = false;
}

/* Says what is missing, once there is room for saying it. True when there is more to be said. */
static bool
target_report_dropped(SyslogTarget *target)
{
        gint64 since = loop_now(target->loop) - target->report_time;
        guint64 dropped;
        bool has_room;

        pthread_mutex_lock(target->lock);
        dropped = target->queue.dropped;
        has_room = syslog_queue_has_room(&target->queue);
        pthread_mutex_unlock(target->lock);

        if (dropped == target->reported)
                return false;
        if (!target->is_settled || since < (has_room ? REPORT_PAUSE : REPORT))
                return true;

        syslog_notice_dropped(target->own->name, dropped - target->reported, "its queue was full");
        target->reported = dropped;
        target->report_time = loop_now(target->loop);

        return false;
}

/* Notes what the server's kernel has by now, and with @is_written that nothing is left of what was
 * to be written. */
static void
target_note_places(SyslogTarget *target, bool is_written)
{
        gint64 now = loop_now(target->loop);
        SyslogPlaces places;

        if (!syslog_link_has_places(&target->link) ||
            !syslog_socket_get_places(target->link.stream.fd, &places))
                return;

        if (is_written)
                syslog_flight_note_place(&target->flight, places.given);
        syslog_flight_acknowledge(&target->flight, places.acked, now);
        /* What it has ever had room for at once it may have unread; it may have grown since. */
        target->window = MAX(target->window, places.window);
        syslog_flight_expire(&target->flight, now, SYSLOG_FLIGHT_HANDS_SIZE + 2 * target->window);
}

/* The connection is over: has what it may have lost sent again. */
static void
target_rewind(SyslogTarget *target, SyslogFlightEnd end)
{
        target_note_places(target, false);
        if (target->link.is_datagram && end == SYSLOG_FLIGHT_CLOSED)
                syslog_flight_drop_written(&target->flight, 0);
        syslog_flight_rewind(&target->flight, end, loop_now(target->loop));

        g_string_truncate(target->out, 0);
        target->sent = 0;
        target->is_settled = false;
        deadline_stop(&target->tick);
        deadline_stop(&target->pause);
}

static void
target_disconnect(SyslogTarget *target, SyslogFlightEnd end)
{
        target_rewind(target, end);
        syslog_link_close(&target->link);
}

static void
target_on_rested(void *data)
{
        target_begin(data);
}

static void
target_finish_ending(SyslogTarget *target)
{
        guint64 left;

        target_disconnect(target, SYSLOG_FLIGHT_CLOSED);
        deadline_stop(&target->rest);
        deadline_stop(&target->limit);
        target->state = TARGET_OVER;
        left = syslog_flight_get_n(&target->flight);

        pthread_mutex_lock(target->lock);
        left += target->queue.n + (target->queue.dropped - target->reported);
        target->reported = target->queue.dropped;
        pthread_mutex_unlock(target->lock);

        if (left > 0)
                syslog_notice_dropped(target->own->name, left,
                                      "it did not take them before the end");
}

/* No address of the server's leads anywhere, as the link says why. */
static void
target_fail(SyslogTarget *target)
{
        target_note_down(target);
        target_disconnect(target, SYSLOG_FLIGHT_BROKEN);

        /* At the end one that was there before may be about to be there again, as a server that is
         * restarted is; there is a limit to that. Nobody waits for one that was not. */
        if (target->is_ending && !target->was_there) {
                target_finish_ending(target);
                return;
        }

        target->failures++;
        target->state = TARGET_RESTING;
        deadline_start(&target->rest, target->loop,
                       target->is_ending ? END_RETRY
                                         : backoff_get_delay(target->failures, g_random_double()),
                       target_on_rested, target);
}

/* This address leads nowhere. */
static void
target_on_failure(void *data)
{
        SyslogTarget *target = data;

        target_rewind(target, SYSLOG_FLIGHT_BROKEN);
        target->state = TARGET_TRYING;
        if (syslog_link_next(&target->link)) {
                target_run(target);
                return;
        }

        target->was_there &= target->is_ending;
        target_fail(target);
}

/* There is nothing to say; false when there is after all. */
static bool
target_sleep(SyslogTarget *target)
{
        bool is_empty = syslog_flight_get_unwritten(&target->flight) == 0;

        pthread_mutex_lock(target->lock);
        is_empty = is_empty && target->queue.n == 0;
        target->is_asleep = is_empty;
        pthread_mutex_unlock(target->lock);

        return is_empty;
}

/* There is no connection, for no fault of anybody's. */
static void
target_go_on(SyslogTarget *target)
{
        target->state = TARGET_IDLE;
        if (!target_sleep(target))
                target_begin(target);
        else if (target->is_ending)
                target_finish_ending(target);
}

/* Whatever goes on is ended, to be begun anew. */
static void
target_restart(SyslogTarget *target)
{
        deadline_stop(&target->rest);
        target_disconnect(target, SYSLOG_FLIGHT_CLOSED);
        target->failures = 0;
        target_go_on(target);
}

/* The connection that was open is not any more. */
static void
target_lose(SyslogTarget *target, SyslogFlightEnd end)
{
        if (target->is_settled) {
                target_disconnect(target, end);
                target_go_on(target);
        } else {
                target_rewind(target, end);
                target_fail(target);
        }
}

static void
target_on_end_seen(void *data)
{
        SyslogTarget *target = data;

        target_lose(target, syslog_socket_is_reset(target->link.stream.fd) ? SYSLOG_FLIGHT_BROKEN
                                                                           : SYSLOG_FLIGHT_ENDED);
}

/* The server has ended its side, which a reset follows if it left something unread. */
static void
target_await_reset(SyslogTarget *target)
{
        if (syslog_socket_is_reset(target->link.stream.fd)) {
                deadline_stop(&target->rest);
                target_lose(target, SYSLOG_FLIGHT_BROKEN);
        } else if (target->state != TARGET_ENDED) {
                target->state = TARGET_ENDED;
                deadline_stop(&target->tick);
                deadline_start(&target->rest, target->loop, RESET_LIMIT, target_on_end_seen,
                               target);
        }
}

/* The stream broke, or ended. */
static void
target_break(SyslogTarget *target, StreamResult result)
{
        syslog_link_note_break(&target->link, result);
        if (target->state == TARGET_ENDING && result == STREAM_END)
                target_finish_ending(target);
        else if (target->state == TARGET_TRYING ||
                 (target->link.is_datagram && !target->is_settled))
                target_on_failure(target);
        else if (result == STREAM_END && syslog_link_has_places(&target->link))
                target_await_reset(target);
        else
                target_lose(target, SYSLOG_FLIGHT_BROKEN);
}

static void
target_begin(SyslogTarget *target)
{
        /* Who we are may change; a new connection is a good time to look. */
        g_free(target->hostname);
        target->hostname = syslog_socket_get_hostname(target->own->hostname);
        target->state = TARGET_TRYING;
        syslog_link_begin(&target->link, target->own);
}

/* Moves some records from the queue to the flight; false when none wait. */
static bool
target_take(SyslogTarget *target)
{
        size_t wanted = target->link.is_datagram ? 1 : BATCH_RECORDS, n = 0;
        LogRecord *record;

        pthread_mutex_lock(target->lock);
        for (; n < wanted && (record = syslog_queue_pop(&target->queue)); n++)
                syslog_flight_add(&target->flight, record);
        pthread_mutex_unlock(target->lock);

        return n > 0;
}

/* Makes the next text to be written; false when there is nothing to say. */
static bool
target_fill(SyslogTarget *target)
{
        const SyslogSettings *own = target->own;
        size_t size = target->link.is_datagram ? 1 : BATCH_SIZE;
        const SyslogOrigin origin = {
                .facility = own->facility,
                .hostname = target->hostname,
                .procid = target->procid,
                .max = own->max_message > 0                   ? own->max_message
                       : own->address.transport == SYSLOG_UDP ? MAX_UDP
                                                              : MAX_STREAM,
        };
        const LogRecord *record;
        uint32_t sequence;

        /* That nobody took a datagram of UDP is said when the next one is sent. */
        if (target->out->len > 0 && syslog_link_has_places(&target->link))
                target_note_places(target, true);
        else if (target->out->len > 0)
                syslog_flight_drop_written(&target->flight, own->address.transport == SYSLOG_UDP);
        g_string_truncate(target->out, 0);
        target->sent = 0;

        do {
                while (target->out->len < size &&
                       (record = syslog_flight_write(&target->flight, &sequence)))
                        syslog_message_append_framed(target->out,
                                                     syslog_link_get_frame(&target->link), &origin,
                                                     record, sequence);
        } while (target->out->len < size && target_take(target));

        return target->out->len > 0;
}

static void
target_start_tick(SyslogTarget *target)
{
        if (!target->tick.loop)
                deadline_start(&target->tick, target->loop, TICK, target_on_tick, target);
}

static void
target_on_tick(void *data)
{
        SyslogTarget *target = data;

        if (syslog_link_has_places(&target->link) &&
            syslog_socket_is_dead(target->link.stream.fd)) {
                target_disconnect(target, SYSLOG_FLIGHT_BROKEN);
                target_go_on(target);
                return;
        }

        target_note_places(target, false);
        target->is_settled = true;
        target_note_up(target);
        if (target_report_dropped(target) || target->sent < target->out->len ||
            (!target->link.is_datagram && syslog_flight_get_n(&target->flight) > 0))
                target_start_tick(target);
}

static void
target_on_end_tick(void *data)
{
        SyslogTarget *target = data;
        SyslogPlaces places;

        if (!syslog_link_has_places(&target->link) ||
            !syslog_socket_get_places(target->link.stream.fd, &places) ||
            places.acked == places.given)
                target->end_ticks++;
        if (target->end_ticks < END_TICKS)
                deadline_start(&target->tick, target->loop, END_TICK, target_on_end_tick, target);
        else
                target_finish_ending(target);
}

/* All is written: says so. */
static void
target_finish(SyslogTarget *target)
{
        StreamResult result = STREAM_OK;

        if (target->link.is_datagram) {
                target_finish_ending(target);
                return;
        }

        if (target->state != TARGET_ENDING) {
                result = stream_finish(&target->link.stream);
                if (result == STREAM_WAIT)
                        return;
                if (result != STREAM_OK) {
                        target_break(target, result);
                        return;
                }
                target->state = TARGET_ENDING;
                target->end_ticks = 0;
                deadline_start(&target->tick, target->loop, END_TICK, target_on_end_tick, target);
        }
}

static void
target_note_taken(SyslogTarget *target)
{
        syslog_link_note_taken(&target->link);
        target->was_there = true;
        target->state = TARGET_OPEN;
        target_start_tick(target);
}

/* The datagram will never fit. */
static void
target_drop_written(SyslogTarget *target)
{
        pthread_mutex_lock(target->lock);
        target->queue.dropped++;
        pthread_mutex_unlock(target->lock);

        syslog_flight_drop_last(&target->flight);
        g_string_truncate(target->out, 0);
        target->sent = 0;
}

/* Writes until the kernel takes no more, nothing is left, or its share of the turn is spent. */
static StreamResult
target_write(SyslogTarget *target)
{
        size_t turn = 0;
        unsigned burst = 0;

        while (turn < TURN_SIZE && burst < BURST) {
                StreamResult result;
                size_t n;

                if (target->sent == target->out->len && !target_fill(target))
                        return STREAM_OK;

                result = stream_write(&target->link.stream, target->out->str + target->sent,
                                      target->out->len - target->sent, &n);
                if (result == STREAM_BROKEN && target->link.is_datagram &&
                    stream_get_error(&target->link.stream) == EMSGSIZE) {
                        target_drop_written(target);
                        continue;
                }
                if (result != STREAM_OK)
                        return result;

                target_note_taken(target);
                target->sent += n;
                turn += n;
                burst += target->own->address.transport == SYSLOG_UDP;
        }

        if (burst < BURST)
                stream_again(&target->link.stream);
        else
                deadline_start(&target->pause, target->loop, BURST_PAUSE, target_run, target);

        return STREAM_WAIT;
}

/* At every event of the connection. */
static void
target_run(void *data)
{
        SyslogTarget *target = data;
        StreamResult result;

        if (target->state == TARGET_ENDED) {
                target_await_reset(target);
                return;
        }

        result = syslog_link_greet(&target->link);
        if (result == STREAM_WAIT)
                return;
        if (result == STREAM_OK)
                result = stream_discard(&target->link.stream, target->link.pool);
        /* An empty datagram is no end. */
        if (target->link.is_datagram && result == STREAM_END)
                result = STREAM_WAIT;
        if (result == STREAM_WAIT && target->state == TARGET_ENDING)
                return;
        if (result == STREAM_WAIT && !target->pause.loop) {
                do
                        result = target_write(target);
                while (result == STREAM_OK && !target_sleep(target));
                if (result == STREAM_OK) {
                        /* All that there was to say was too long for a datagram. */
                        if (target->state == TARGET_TRYING)
                                target_restart(target);
                        else if (target->is_ending)
                                target_finish(target);
                        else if (target_report_dropped(target))
                                target_start_tick(target);
                        return;
                }
                if (result == STREAM_WAIT && target->state == TARGET_OPEN)
                        target_start_tick(target);
        }

        if (result != STREAM_WAIT)
                target_break(target, result);
}

void
syslog_target_wake(SyslogTarget *target)
{
        if (target->state == TARGET_OPEN && syslog_link_is_stale(&target->link)) {
                target_disconnect(target, SYSLOG_FLIGHT_CLOSED);
                target->state = TARGET_IDLE;
        }

        if (target->state == TARGET_IDLE)
                target_go_on(target);
        else if (target->state == TARGET_OPEN)
                target_run(target);
}

void
syslog_target_update(SyslogTarget *target)
{
        G_GNUC_UNUSED g_autoptr(Settings) old = target->settings;
        const SyslogSettings *before = target->own;

        pthread_mutex_lock(target->lock);
        target->settings = settings_ref(target->next_settings);
        target->own = target->next;
        pthread_mutex_unlock(target->lock);

        target->link.own = target->own;
        g_free(target->hostname);
        target->hostname = syslog_socket_get_hostname(target->own->hostname);
        if (!before)
                target_go_on(target);
        else if (!syslog_settings_lead_to_the_same(before, target->own) ||
                 target->state == TARGET_RESTING)
                target_restart(target);
}

static void
target_on_end_limit(void *data)
{
        target_finish_ending(data);
}

void
syslog_target_end(SyslogTarget *target, gint64 patience)
{
        if (target->is_ending)
                return;

        if (!target->own)
                syslog_target_update(target);
        target->is_ending = true;
        deadline_start(&target->limit, target->loop, patience, target_on_end_limit, target);
        switch (target->state) {
        case TARGET_IDLE:
        case TARGET_RESTING: /* perhaps it is there by now */
                target_restart(target);
                break;
        case TARGET_OPEN:
                target_run(target);
                break;
        case TARGET_TRYING:
        case TARGET_ENDED:
        case TARGET_ENDING:
        case TARGET_OVER:
                break;
        }
}

bool
syslog_target_is_over(const SyslogTarget *target)
{
        return target->state == TARGET_OVER;
}

const char *
syslog_target_get_name(const SyslogTarget *target)
{
        return target->next->name;
}

void
syslog_target_set(SyslogTarget *target, Settings *settings, const SyslogSettings *own)
{
        settings_unref(target->next_settings);
        target->next_settings = settings_ref(settings);
        target->next = own;
        syslog_queue_set_max(&target->queue, own->max_records);
}

bool
syslog_target_offer(SyslogTarget *target, LogRecord *record)
{
        const SyslogSettings *own = target->next;
        bool was_asleep = target->is_asleep;

        if ((record->level & G_LOG_LEVEL_MASK) > own->level ||
            !log_sessions_include(own->sessions, record->kind) ||
            (record->kind == LOG_KIND_EVENT && !own->takes_events) ||
            !syslog_queue_push(&target->queue, record))
                return false;

        target->is_asleep = false;

        return was_asleep;
}

SyslogTarget *
syslog_target_new(pthread_mutex_t *lock,
                  Loop *loop,
                  BufferPool *pool,
                  Settings *settings,
                  const SyslogSettings *own)
{
        SyslogTarget *target = g_new0(SyslogTarget, 1);

        target->lock = lock;
        target->loop = loop;
        target->out = g_string_new(NULL);
        syslog_link_init(&target->link, loop, pool, target_run, target_on_failure, target);
        g_snprintf(target->procid, sizeof(target->procid), "%d", getpid());
        syslog_queue_init(&target->queue, own->max_records);
        syslog_target_set(target, settings, own);

        return target;
}

void
syslog_target_free(SyslogTarget *target)
{
        deadline_stop(&target->tick);
        deadline_stop(&target->rest);
        deadline_stop(&target->pause);
        deadline_stop(&target->limit);
        syslog_link_clear(&target->link);
        syslog_flight_clear(&target->flight);
        syslog_queue_clear(&target->queue);
        g_string_free(target->out, TRUE);
        g_free(target->hostname);
        settings_unref(target->settings);
        settings_unref(target->next_settings);
        g_free(target);
}
