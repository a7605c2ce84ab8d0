/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What waits for a log server, and what is on its way there. A record's time is its number here.
 */

#include "base/log-id.h"
#include "daemon/syslog-flight.h"
#include "daemon/syslog-queue.h"

static LogRecord *
make_record(gint64 number, size_t size)
{
        LogRecord *record = g_new0(LogRecord, 1);

        record->refs = 1;
        record->time = number;
        record->size = size;

        return record;
}

static bool
push(SyslogQueue *queue, gint64 number, size_t size)
{
        g_autoptr(LogRecord) record = make_record(number, size);

        return syslog_queue_push(queue, record);
}

static gint64
pop(SyslogQueue *queue)
{
        g_autoptr(LogRecord) record = syslog_queue_pop(queue);

        return record ? record->time : -1;
}

static void
test_queue_keeps_order(void)
{
        SyslogQueue queue;
        gint64 in = 0, out = 0;

        syslog_queue_init(&queue, 2000);
        g_assert_cmpint(pop(&queue), ==, -1);

        /* Around the ring, and through its growing and shrinking. */
        for (unsigned round = 1; round < 40; round++) {
                for (unsigned i = 0; i < round * 7; i++)
                        g_assert_true(push(&queue, in++, 100));
                for (unsigned i = 0; i < round * 6; i++)
                        g_assert_cmpint(pop(&queue), ==, out++);
        }
        while (out < in)
                g_assert_cmpint(pop(&queue), ==, out++);
        g_assert_cmpint(pop(&queue), ==, -1);
        g_assert_cmpuint(queue.bytes, ==, 0);
        g_assert_cmpuint(queue.dropped, ==, 0);
        syslog_queue_clear(&queue);
}

static void
test_queue_counts_what_it_drops(void)
{
        SyslogQueue queue;

        syslog_queue_init(&queue, 10);
        for (gint64 i = 0; i < 10; i++)
                g_assert_true(push(&queue, i, 100));
        g_assert_false(syslog_queue_has_room(&queue));
        for (gint64 i = 10; i < 25; i++)
                g_assert_false(push(&queue, i, 100));
        g_assert_cmpuint(queue.dropped, ==, 15);

        /* The oldest are kept. */
        for (gint64 i = 0; i < 5; i++)
                g_assert_cmpint(pop(&queue), ==, i);
        g_assert_true(syslog_queue_has_room(&queue));
        g_assert_true(push(&queue, 25, 100));
        g_assert_cmpuint(queue.dropped, ==, 15);
        syslog_queue_clear(&queue);
}

/* There is room for a few that say how many were dropped. */
static void
test_queue_spares_counts(void)
{
        const GLogField fields[] = { { "MESSAGE", "so many", -1 },
                                     { "MESSAGE_ID", LOG_ID_SYSLOG_DROPPED, -1 } };
        g_autoptr(LogRecord) count = log_record_new(G_LOG_LEVEL_WARNING, fields, 2);
        SyslogQueue queue;
        unsigned n = 0;

        syslog_queue_init(&queue, 10);
        for (gint64 i = 0; i < 12; i++)
                push(&queue, i, 100);
        g_assert_cmpuint(queue.dropped, ==, 2);
        g_assert_true(syslog_queue_push(&queue, count));
        g_assert_false(push(&queue, 12, 100));
        while (n < 100 && syslog_queue_push(&queue, count))
                n++;
        g_assert_cmpuint(n, ==, 15);
        g_assert_cmpuint(queue.dropped, ==, 4);
        syslog_queue_clear(&queue);
}

static void
test_queue_bounds_memory(void)
{
        SyslogQueue queue;
        const size_t size = SYSLOG_QUEUE_RECORD_SIZE * 5;

        syslog_queue_init(&queue, 10);
        g_assert_true(push(&queue, 0, size));
        g_assert_true(push(&queue, 1, size));
        g_assert_false(push(&queue, 2, 1));
        g_assert_cmpint(pop(&queue), ==, 0);
        g_assert_true(push(&queue, 3, size));
        g_assert_cmpint(pop(&queue), ==, 1);
        g_assert_cmpint(pop(&queue), ==, 3);

        /* One that is bigger than all may be alone. */
        g_assert_true(push(&queue, 4, size * 10));
        g_assert_false(push(&queue, 5, 1));
        syslog_queue_clear(&queue);
}

static void
test_queue_keeps_what_is_too_much(void)
{
        SyslogQueue queue;

        syslog_queue_init(&queue, 100);
        for (gint64 i = 0; i < 100; i++)
                g_assert_true(push(&queue, i, 100));
        syslog_queue_set_max(&queue, 10);
        g_assert_false(push(&queue, 100, 100));
        for (gint64 i = 0; i < 100; i++)
                g_assert_cmpint(pop(&queue), ==, i);
        g_assert_true(push(&queue, 101, 100));
        syslog_queue_clear(&queue);
}

static void
add(SyslogFlight *flight, gint64 first, gint64 last)
{
        for (gint64 i = first; i <= last; i++)
                syslog_flight_add(flight, make_record(i, 100));
}

/* Writes @first to @last, which are the next ones and have those numbers as sequenceId. */
static void
expect(SyslogFlight *flight, gint64 first, gint64 last)
{
        for (gint64 i = first; i <= last; i++) {
                uint32_t sequence = 0;
                const LogRecord *record = syslog_flight_write(flight, &sequence);

                g_assert_nonnull(record);
                g_assert_cmpint(record->time, ==, i);
                g_assert_cmpuint(sequence, ==, i);
        }
}

static void
expect_no_more(SyslogFlight *flight)
{
        uint32_t sequence;

        g_assert_null(syslog_flight_write(flight, &sequence));
}

/* Ten are written, of which the server's kernel has six. */
static void
fly(SyslogFlight *flight)
{
        add(flight, 1, 10);
        expect(flight, 1, 4);
        syslog_flight_note_place(flight, 400);
        expect(flight, 5, 6);
        syslog_flight_note_place(flight, 600);
        expect(flight, 7, 10);
        expect_no_more(flight);
        syslog_flight_acknowledge(flight, 599, 0);
        g_assert_cmpuint(syslog_flight_get_unacked(flight), ==, 6);
        syslog_flight_acknowledge(flight, 700, 0);
        g_assert_cmpuint(syslog_flight_get_unacked(flight), ==, 4);
        g_assert_cmpuint(syslog_flight_get_n(flight), ==, 10);
}

static void
test_flight_after_our_end(void)
{
        SyslogFlight flight = { .items = NULL };

        fly(&flight);
        syslog_flight_rewind(&flight, SYSLOG_FLIGHT_CLOSED, 0);
        g_assert_cmpuint(syslog_flight_get_unwritten(&flight), ==, 4);
        expect(&flight, 7, 10);
        expect_no_more(&flight);

        /* Places begin anew. */
        syslog_flight_note_place(&flight, 50);
        syslog_flight_acknowledge(&flight, 50, 0);
        g_assert_cmpuint(syslog_flight_get_unacked(&flight), ==, 0);
        syslog_flight_clear(&flight);
}

/* What the server may have had in its hands is sent again, but not what is older or further back.
 */
static void
test_flight_after_the_servers_end(void)
{
        SyslogFlight flight = { .items = NULL };

        fly(&flight);
        syslog_flight_rewind(&flight, SYSLOG_FLIGHT_ENDED, SYSLOG_FLIGHT_HANDS - 1);
        expect(&flight, 1, 10);
        syslog_flight_note_place(&flight, 1);
        syslog_flight_acknowledge(&flight, 1, 0);
        syslog_flight_rewind(&flight, SYSLOG_FLIGHT_ENDED, SYSLOG_FLIGHT_HANDS);
        g_assert_cmpuint(syslog_flight_get_n(&flight), ==, 0);

        add(&flight, 11, 13);
        for (gint64 i = 0; i < 3; i++) {
                expect(&flight, 11 + i, 11 + i);
                syslog_flight_note_place(&flight, (uint64_t)i * SYSLOG_FLIGHT_HANDS_SIZE);
        }
        syslog_flight_acknowledge(&flight, 2 * SYSLOG_FLIGHT_HANDS_SIZE, 0);
        syslog_flight_rewind(&flight, SYSLOG_FLIGHT_ENDED, 0);
        expect(&flight, 12, 13);
        syslog_flight_clear(&flight);
}

static void
test_flight_after_a_reset(void)
{
        SyslogFlight flight = { .items = NULL };

        fly(&flight);
        syslog_flight_rewind(&flight, SYSLOG_FLIGHT_BROKEN, 0);
        expect(&flight, 1, 10);
        add(&flight, 11, 11);
        expect(&flight, 11, 11);
        syslog_flight_clear(&flight);
        g_assert_cmpuint(syslog_flight_get_n(&flight), ==, 0);
}

static void
test_flight_forgets(void)
{
        SyslogFlight flight = { .items = NULL };

        fly(&flight);
        syslog_flight_expire(&flight, SYSLOG_FLIGHT_DOUBT - 1, G_MAXUINT64);
        g_assert_cmpuint(syslog_flight_get_n(&flight), ==, 10);
        syslog_flight_expire(&flight, SYSLOG_FLIGHT_DOUBT, G_MAXUINT64);
        g_assert_cmpuint(syslog_flight_get_n(&flight), ==, 4);
        syslog_flight_rewind(&flight, SYSLOG_FLIGHT_BROKEN, 0);
        expect(&flight, 7, 10);
        syslog_flight_clear(&flight);
}

/* A server has no more unread than it ever had room for, nor than there may be at all. */
static void
test_flight_bounds_memory(void)
{
        const uint64_t sizes[] = { 1000, G_MAXUINT64 };

        for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
                const uint64_t size = MIN(sizes[i], SYSLOG_FLIGHT_DOUBT_SIZE) / 10;
                SyslogFlight flight = { .items = NULL };

                for (gint64 j = 1; j <= 50; j++) {
                        syslog_flight_add(&flight, make_record(j, 100));
                        expect(&flight, j, j);
                        syslog_flight_note_place(&flight, (uint64_t)j * size);
                        syslog_flight_acknowledge(&flight, (uint64_t)j * size, 0);
                        syslog_flight_expire(&flight, 0, sizes[i]);
                        g_assert_cmpuint(syslog_flight_get_n(&flight), ==, MIN(j, 11));
                }
                syslog_flight_clear(&flight);
        }
}

static void
test_flight_of_datagrams(void)
{
        SyslogFlight flight = { .items = NULL };

        add(&flight, 1, 1000);
        for (gint64 i = 1; i <= 999; i++) {
                expect(&flight, i, i);
                syslog_flight_drop_written(&flight, 1);
        }
        g_assert_cmpuint(syslog_flight_get_n(&flight), ==, 2);

        /* The last one was refused. */
        syslog_flight_rewind(&flight, SYSLOG_FLIGHT_BROKEN, 0);
        expect(&flight, 999, 1000);
        syslog_flight_drop_last(&flight);
        syslog_flight_drop_written(&flight, 0);
        g_assert_cmpuint(syslog_flight_get_n(&flight), ==, 0);

        /* And what comes then goes on. */
        syslog_flight_add(&flight, make_record(1001, 100));
        expect(&flight, 1001, 1001);
        syslog_flight_drop_last(&flight);
        g_assert_cmpuint(syslog_flight_get_n(&flight), ==, 0);
}

static void
test_flight_sequence(void)
{
        SyslogFlight flight = { .sequence = G_MAXINT32 - 1 };
        uint32_t sequence = 0;

        add(&flight, 1, 2);
        syslog_flight_write(&flight, &sequence);
        g_assert_cmpuint(sequence, ==, G_MAXINT32);
        syslog_flight_write(&flight, &sequence);
        g_assert_cmpuint(sequence, ==, 1);
        syslog_flight_clear(&flight);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/syslog-queue/keeps-order", test_queue_keeps_order);
        g_test_add_func("/syslog-queue/counts-what-it-drops", test_queue_counts_what_it_drops);
        g_test_add_func("/syslog-queue/spares-counts", test_queue_spares_counts);
        g_test_add_func("/syslog-queue/bounds-memory", test_queue_bounds_memory);
        g_test_add_func("/syslog-queue/keeps-what-is-too-much", test_queue_keeps_what_is_too_much);
        g_test_add_func("/syslog-flight/after-our-end", test_flight_after_our_end);
        g_test_add_func("/syslog-flight/after-the-servers-end", test_flight_after_the_servers_end);
        g_test_add_func("/syslog-flight/after-a-reset", test_flight_after_a_reset);
        g_test_add_func("/syslog-flight/forgets", test_flight_forgets);
        g_test_add_func("/syslog-flight/bounds-memory", test_flight_bounds_memory);
        g_test_add_func("/syslog-flight/of-datagrams", test_flight_of_datagrams);
        g_test_add_func("/syslog-flight/sequence", test_flight_sequence);

        return g_test_run();
}
