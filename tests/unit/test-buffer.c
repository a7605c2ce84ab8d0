/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <string.h>

#include <glib.h>

#include "base/buffer.h"

static void
test_holds_nothing_while_empty(void)
{
        g_autoptr(BufferPool) pool = buffer_pool_new();
        Buffer buffer = { 0 };

        buffer_reserve(&buffer, pool, 100);
        g_assert_cmpuint(buffer_pool_get_used(pool), ==, 1);
        buffer_commit(&buffer, pool, 0);
        g_assert_cmpuint(buffer_pool_get_used(pool), ==, 0);

        buffer_append(&buffer, pool, "abc", 3);
        buffer_consume(&buffer, pool, 3);
        g_assert_cmpuint(buffer_pool_get_used(pool), ==, 0);
        g_assert_null(buffer.block);

        buffer_append(&buffer, pool, "abc", 3);
        buffer_truncate(&buffer, pool, 3);
        g_assert_cmpuint(buffer_pool_get_used(pool), ==, 0);

        buffer_append(&buffer, pool, "abc", 3);
        buffer_clear(&buffer, pool);
        buffer_clear(&buffer, pool);
        g_assert_cmpuint(buffer_pool_get_used(pool), ==, 0);
}

static void
test_memory_is_used_again(void)
{
        g_autoptr(BufferPool) pool = buffer_pool_new();
        Buffer buffer = { 0 };
        char *block;

        block = buffer_reserve(&buffer, pool, 1);
        buffer_commit(&buffer, pool, 0);
        g_assert_true(buffer_reserve(&buffer, pool, 4096) == block);
        buffer_clear(&buffer, pool);
}

static void
test_both_ends(void)
{
        g_autoptr(BufferPool) pool = buffer_pool_new();
        Buffer buffer = { 0 };

        buffer_append(&buffer, pool, "0123456789", 10);
        buffer_consume(&buffer, pool, 2);
        buffer_truncate(&buffer, pool, 3);
        buffer_append(&buffer, pool, "x", 1);
        g_assert_cmpmem(buffer_data(&buffer), buffer_length(&buffer), "23456x", 6);
        buffer_clear(&buffer, pool);
}

/* Against a GByteArray: pieces of all sizes in at the tail and out at the head. */
static void
test_agrees_with_a_byte_array(void)
{
        g_autoptr(BufferPool) pool = buffer_pool_new();
        g_autoptr(GByteArray) model = g_byte_array_new();
        g_autofree guint8 *bytes = g_malloc(20000);
        Buffer buffer = { 0 };

        for (unsigned i = 0; i < 20000; i++)
                bytes[i] = (guint8)(i * 7);

        for (unsigned round = 0; round < 3000; round++) {
                unsigned n = (unsigned)g_test_rand_int_range(0, 20000);

                if (model->len < 300 * 1000 && g_test_rand_bit()) {
                        buffer_append(&buffer, pool, bytes, n);
                        g_byte_array_append(model, bytes, n);
                } else if (model->len > 0) {
                        n = MIN(n, model->len);
                        buffer_consume(&buffer, pool, n);
                        g_byte_array_remove_range(model, 0, n);
                }
                g_assert_cmpmem(buffer_data(&buffer), buffer_length(&buffer), model->data,
                                model->len);
        }
        buffer_clear(&buffer, pool);
        g_assert_cmpuint(buffer_pool_get_used(pool), ==, 0);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/buffer/holds-nothing-while-empty", test_holds_nothing_while_empty);
        g_test_add_func("/buffer/memory-is-used-again", test_memory_is_used_again);
        g_test_add_func("/buffer/both-ends", test_both_ends);
        g_test_add_func("/buffer/agrees-with-a-byte-array", test_agrees_with_a_byte_array);

        return g_test_run();
}
