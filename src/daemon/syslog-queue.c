/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The newest is what is dropped, so that what a log server gets after an outage begins where it had
 * ended, goes on without a hole, and then says how many are missing.
 */

#include "daemon/syslog-queue.h"

#include <string.h>

#include "base/log-id.h"

#define SIZE_MIN 64
#define SPARE    16 /* records that tell of the dropped, beyond those that may wait */

void
syslog_queue_init(SyslogQueue *queue, size_t max_records)
{
        *queue = (SyslogQueue){ .records = NULL };
        syslog_queue_set_max(queue, max_records);
}

void
syslog_queue_set_max(SyslogQueue *queue, size_t max_records)
{
        queue->max_records = max_records;
        queue->max_bytes = max_records * SYSLOG_QUEUE_RECORD_SIZE;
}

/* To as much as is needed at most times; a burst's memory goes with its last record. */
static void
queue_resize(SyslogQueue *queue, size_t size)
{
        LogRecord **records = g_new(LogRecord *, size);

        for (size_t i = 0; i < queue->n; i++)
                records[i] = queue->records[(queue->first + i) % queue->size];

        g_free(queue->records);
        queue->records = records;
        queue->size = size;
        queue->first = 0;
}

/* What tells of the dropped would itself be dropped just when there is something to tell. */
static bool
queue_spares(const SyslogQueue *queue, const LogRecord *record)
{
        const GLogField *id = log_field_find(record->fields, record->n_fields, "MESSAGE_ID");

        return queue->n < queue->max_records + SPARE && id &&
               strcmp(id->value, LOG_ID_SYSLOG_DROPPED) == 0;
}

bool
syslog_queue_push(SyslogQueue *queue, LogRecord *record)
{
        /* A record that is bigger than all may be alone. */
        if ((queue->n >= queue->max_records ||
             (queue->n > 0 && queue->bytes + record->size > queue->max_bytes)) &&
            (record->kind != LOG_KIND_EVENT || !queue_spares(queue, record))) {
                queue->dropped++;
                return false;
        }

        if (queue->n == queue->size)
                queue_resize(queue, MAX(SIZE_MIN, queue->size * 2));
        queue->records[(queue->first + queue->n) % queue->size] = log_record_ref(record);
        queue->n++;
        queue->bytes += record->size;

        return true;
}

LogRecord *
syslog_queue_pop(SyslogQueue *queue)
{
        LogRecord *record;

        if (queue->n == 0)
                return NULL;

        record = queue->records[queue->first];
        queue->first = (queue->first + 1) % queue->size;
        queue->n--;
        queue->bytes -= record->size;
        if (queue->n == 0 && queue->size > SIZE_MIN)
                queue_resize(queue, SIZE_MIN);

        return record;
}

bool
syslog_queue_has_room(const SyslogQueue *queue)
{
        return queue->n <= queue->max_records / 2 && queue->bytes <= queue->max_bytes / 2;
}

void
syslog_queue_clear(SyslogQueue *queue)
{
        LogRecord *record;

        while ((record = syslog_queue_pop(queue)))
                log_record_unref(record);
        g_free(queue->records);
        queue->records = NULL;
        queue->size = 0;
}
