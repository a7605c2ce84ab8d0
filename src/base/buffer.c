/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Blocks of powers of two, from 4 KiB up. The pool keeps some of each size that came back, so that
 * the next buffer needs no allocation: as many as make KEEP bytes. The first word of a kept block
 * links it to the next.
 */

#include "base/buffer.h"

#include <string.h>

#define SMALLEST_SHIFT 12
#define N_CLASSES      12 /* 4 KiB to 8 MiB */
#define KEEP           (256 * 1024)

struct BufferPool {
        void *kept[N_CLASSES];
        unsigned n_kept[N_CLASSES];
        size_t used;
        char scratch[BUFFER_SCRATCH_SIZE];
};

static unsigned
class_of(size_t size)
{
        unsigned class = 0;

        while (((size_t)1 << (SMALLEST_SHIFT + class)) < size)
                class ++;
        g_assert(class < N_CLASSES);

        return class;
}

/* NULL when there is no memory. */
static char *
pool_take(BufferPool *pool, unsigned class)
{
        void *block = pool->kept[class];

        if (!block) {
                block = g_try_malloc((size_t)1 << (SMALLEST_SHIFT + class));
                pool->used += block != NULL;
                return block;
        }

        pool->used++;
        pool->kept[class] = *(void **)block;
        pool->n_kept[class]--;

        return block;
}

static void
pool_give(BufferPool *pool, void *block, unsigned class)
{
        pool->used--;
        if (((size_t)(pool->n_kept[class] + 1) << (SMALLEST_SHIFT + class)) > KEEP) {
                g_free(block);
                return;
        }

        *(void **)block = pool->kept[class];
        pool->kept[class] = block;
        pool->n_kept[class]++;
}

BufferPool *
buffer_pool_new(void)
{
        return g_new0(BufferPool, 1);
}

void
buffer_pool_free(BufferPool *pool)
{
        if (!pool)
                return;

        g_assert(pool->used == 0);
        for (unsigned class = 0; class < N_CLASSES; class ++) {
                while (pool->kept[class]) {
                        void *block = pool->kept[class];

                        pool->kept[class] = *(void **)block;
                        g_free(block);
                }
        }
        g_free(pool);
}

char *
buffer_pool_get_scratch(BufferPool *pool)
{
        return pool->scratch;
}

size_t
buffer_pool_get_used(const BufferPool *pool)
{
        return pool->used;
}

char *
buffer_reserve(Buffer *buffer, BufferPool *pool, size_t room)
{
        size_t length = buffer_length(buffer);
        unsigned class;
        char *block;

        if (buffer->size - buffer->tail >= room && buffer->block)
                return buffer->block + buffer->tail;

        if (buffer->block && buffer->size >= length + room && buffer->head >= buffer->size / 2) {
                memmove(buffer->block, buffer->block + buffer->head, length);
        } else {
                class = class_of(length + room);
                block = pool_take(pool, class);
                if (!block)
                        return NULL;
                if (buffer->block) {
                        memcpy(block, buffer_data(buffer), length);
                        pool_give(pool, buffer->block, class_of(buffer->size));
                }
                buffer->block = block;
                buffer->size = 1u << (SMALLEST_SHIFT + class);
        }
        buffer->head = 0;
        buffer->tail = length;

        return buffer->block + length;
}

void
buffer_commit(Buffer *buffer, BufferPool *pool, size_t n)
{
        g_assert(n <= buffer->size - buffer->tail);

        buffer->tail += n;
        if (buffer->head == buffer->tail)
                buffer_clear(buffer, pool);
}

bool
buffer_append(Buffer *buffer, BufferPool *pool, const void *data, size_t n)
{
        char *tail;

        if (n == 0)
                return true;

        tail = buffer_reserve(buffer, pool, n);
        if (!tail)
                return false;

        memcpy(tail, data, n);
        buffer_commit(buffer, pool, n);

        return true;
}

void
buffer_consume(Buffer *buffer, BufferPool *pool, size_t n)
{
        g_assert(n <= buffer_length(buffer));

        buffer->head += n;
        if (buffer->head == buffer->tail)
                buffer_clear(buffer, pool);
}

void
buffer_truncate(Buffer *buffer, BufferPool *pool, size_t n)
{
        g_assert(n <= buffer_length(buffer));

        buffer->tail -= n;
        if (buffer->head == buffer->tail)
                buffer_clear(buffer, pool);
}

void
buffer_clear(Buffer *buffer, BufferPool *pool)
{
        if (buffer->block)
                pool_give(pool, buffer->block, class_of(buffer->size));
        *buffer = (Buffer){ .block = NULL };
}
