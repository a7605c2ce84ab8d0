/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Stands in for libFuzzer where there is none: runs a fuzz target once over every file of the
 * directories given, and speaks TAP. A target says what is wrong by an assertion.
 */
#include <stdint.h>
#include <string.h>

#include <glib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
compare_names(const void *a, const void *b)
{
        return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
add_files(GPtrArray *paths, const char *directory)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(GDir) dir = g_dir_open(directory, 0, &error);
        const char *name;

        g_assert_no_error(error);
        while ((name = g_dir_read_name(dir)))
                g_ptr_array_add(paths, g_build_filename(directory, name, NULL));
}

static void
replay(const char *path)
{
        g_autoptr(GError) error = NULL;
        g_autofree char *text = NULL;
        g_autofree uint8_t *data = NULL;
        gsize size;

        g_file_get_contents(path, &text, &size, &error);
        g_assert_no_error(error);

        /* Of exactly that size, so that a sanitizer or valgrind sees a read beyond it. */
        data = size > 0 ? g_memdup2(text, size) : g_malloc(1);
        LLVMFuzzerTestOneInput(data, size);
}

int
main(int argc, char **argv)
{
        g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);

        for (int i = 1; i < argc; i++)
                add_files(paths, argv[i]);
        g_ptr_array_sort(paths, compare_names);

        if (paths->len == 0) {
                g_print("Bail out! no files to replay\n");
                return 1;
        }

        g_print("1..%u\n", paths->len);
        for (guint i = 0; i < paths->len; i++) {
                const char *path = g_ptr_array_index(paths, i);
                g_autofree char *name = g_path_get_basename(path);

                replay(path);
                g_print("ok %u - %s\n", i + 1, name);
        }
        return 0;
}
