/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/*
 * Bytes in at the tail, out at the head, always in one piece. The memory comes from a pool, which
 * one thread's buffers share, and goes back as soon as a buffer is empty: an idle session holds
 * none.
 */

typedef struct BufferPool BufferPool;

/* Embedded in its owner; all zero when empty. */
typedef struct Buffer {
        char *block;
        uint32_t head, tail, size;
} Buffer;

BufferPool *buffer_pool_new(void);

/* Every buffer must be empty. NULL is fine. */
void buffer_pool_free(BufferPool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BufferPool, buffer_pool_free)

/* BUFFER_SCRATCH_SIZE bytes for whoever runs on the pool's thread, until it returns to the loop. */
#define BUFFER_SCRATCH_SIZE (64 * 1024)
char *buffer_pool_get_scratch(BufferPool *pool);

/* How many blocks are out, for tests and for the end: 0 when every buffer is empty. */
size_t buffer_pool_get_used(const BufferPool *pool);

static inline const char *
buffer_data(const Buffer *buffer)
{
        return buffer->block ? buffer->block + buffer->head : NULL;
}

static inline size_t
buffer_length(const Buffer *buffer)
{
        return buffer->tail - buffer->head;
}

/* Room for @room more bytes at the tail. To be followed by buffer_commit(), which may say 0. NULL,
 * and nothing changed, when there is no memory. */
char *buffer_reserve(Buffer *buffer, BufferPool *pool, size_t room);

/* Says how much of what was reserved has been filled. */
void buffer_commit(Buffer *buffer, BufferPool *pool, size_t n);

/* False, and nothing changed, when there is no memory. */
bool buffer_append(Buffer *buffer, BufferPool *pool, const void *data, size_t n);

/* Takes @n bytes off the head. */
void buffer_consume(Buffer *buffer, BufferPool *pool, size_t n);

/* Takes @n bytes off the tail. */
void buffer_truncate(Buffer *buffer, BufferPool *pool, size_t n);

/* Drops everything. */
void buffer_clear(Buffer *buffer, BufferPool *pool);
