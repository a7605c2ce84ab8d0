/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fake-resolver.h"

#include <stdbool.h>

#include <gio/gio.h>

typedef struct FakeResolver {
        GResolver parent;
        const char *const *answer; /* NULL: no such host */
        bool holds;
        GQueue held; /* of GTask */
} FakeResolver;

typedef struct FakeResolverClass {
        GResolverClass parent;
} FakeResolverClass;

GType fake_resolver_get_type(void);

G_DEFINE_TYPE(FakeResolver, fake_resolver, G_TYPE_RESOLVER)

static void
free_addresses(void *addresses)
{
        g_resolver_free_addresses(addresses);
}

/* Takes @task. */
static void
answer_task(GTask *task, const char *const *answer)
{
        GList *found = NULL;

        for (size_t i = 0; answer && answer[i]; i++)
                found = g_list_append(found, g_inet_address_new_from_string(answer[i]));
        if (found)
                g_task_return_pointer(task, found, free_addresses);
        else
                g_task_return_new_error(task, G_RESOLVER_ERROR, G_RESOLVER_ERROR_NOT_FOUND,
                                        "no such host");
        g_object_unref(task);
}

static void
fake_resolver_lookup_async(GResolver *resolver,
                           const char *host,
                           GCancellable *cancellable,
                           GAsyncReadyCallback callback,
                           void *data)
{
        FakeResolver *fake = (FakeResolver *)resolver;
        GTask *task = g_task_new(resolver, cancellable, callback, data);

        if (fake->holds)
                g_queue_push_tail(&fake->held, task);
        else
                answer_task(task, fake->answer);
}

static GList *
fake_resolver_lookup_finish(GResolver *resolver, GAsyncResult *result, GError **error)
{
        return g_task_propagate_pointer(G_TASK(result), error);
}

static void
fake_resolver_class_init(FakeResolverClass *class)
{
        class->parent.lookup_by_name_async = fake_resolver_lookup_async;
        class->parent.lookup_by_name_finish = fake_resolver_lookup_finish;
}

static void
fake_resolver_init(FakeResolver *resolver)
{
}

static FakeResolver *
fake_resolver_install(void)
{
        g_autoptr(GResolver) resolver = g_object_new(fake_resolver_get_type(), NULL);

        g_resolver_set_default(resolver);

        return (FakeResolver *)resolver; /* the default one keeps it */
}

void
fake_resolver_start(const char *const *answer)
{
        fake_resolver_install()->answer = answer;
}

void
fake_resolver_hold(void)
{
        fake_resolver_install()->holds = true;
}

void
fake_resolver_release(const char *const *answer)
{
        g_autoptr(GResolver) resolver = g_resolver_get_default();
        GTask *task = g_queue_pop_head(&((FakeResolver *)resolver)->held);

        g_assert_nonnull(task);
        answer_task(task, answer);
}
