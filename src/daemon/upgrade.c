/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An attempt: workers learn that their descriptors are about to be shared, the successor is
 * started, workers learn that they are alone again, and the successor says how it went, or ends, or
 * takes too long. Steps don't overlap, neither with those that follow a success nor with those of
 * another attempt: how it went is told only when workers are through.
 */

#include "daemon/upgrade.h"

#include <unistd.h>

#include "daemon/notify.h"

#define TIME_LIMIT 15 /* seconds until a successor must be ready */

struct Upgrade {
        const char *config;
        char *program;
        Proxy *proxy;
        Ledger *ledger;
        const UpgradeFuncs *funcs;
        void *data;
        Successor *successor;
        guint timer;
        char *failure; /* why this attempt will have failed; NULL: it has not, or nobody knows */
        bool is_going_on;
        bool is_ready;   /* the successor */
        bool is_sharing; /* workers are on their way into it, or out of it */
};

Upgrade *
upgrade_new(const char *config, Proxy *proxy, Ledger *ledger, const UpgradeFuncs *funcs, void *data)
{
        Upgrade *upgrade = g_new0(Upgrade, 1);

        *upgrade = (Upgrade){
                .config = config,
                .program = successor_find_program(),
                .proxy = proxy,
                .ledger = ledger,
                .funcs = funcs,
                .data = data,
        };

        return upgrade;
}

/* For @reason, unless a better one is known. */
static void
upgrade_fail(Upgrade *upgrade, const char *reason)
{
        g_autofree char *why = NULL;

        g_clear_handle_id(&upgrade->timer, g_source_remove);
        g_clear_pointer(&upgrade->successor, successor_free);
        if (!upgrade->failure)
                upgrade->failure = g_strdup(reason);
        if (upgrade->is_sharing)
                return;

        why = g_steal_pointer(&upgrade->failure);
        upgrade->is_going_on = false;
        upgrade->funcs->failed(why, upgrade->data);
}

static void
upgrade_succeed(Upgrade *upgrade)
{
        g_clear_handle_id(&upgrade->timer, g_source_remove);
        upgrade->is_ready = true;
        if (upgrade->is_sharing)
                return;

        upgrade->is_going_on = false;
        upgrade->funcs->ready(upgrade->data);
}

static gboolean
upgrade_on_timeout(void *data)
{
        Upgrade *upgrade = data;
        g_autofree char *reason =
                g_strdup_printf("the new process was not ready within %d s", TIME_LIMIT);

        upgrade->timer = 0;
        upgrade_fail(upgrade, reason);

        return G_SOURCE_REMOVE;
}

static void
upgrade_on_message(HandoverMessage message, const char *text, void *data)
{
        Upgrade *upgrade = data;

        switch (message) {
        case HANDOVER_READY:
                if (upgrade->is_going_on)
                        upgrade_succeed(upgrade);
                break;
        case HANDOVER_FAILED:
                g_free(upgrade->failure);
                upgrade->failure = g_strdup(text);
                break;
        case HANDOVER_STOP:
        case HANDOVER_CUT:
                if (!upgrade->is_going_on)
                        upgrade->funcs->told(message == HANDOVER_CUT, upgrade->data);
                break;
        case HANDOVER_END:
                if (upgrade->is_going_on) {
                        upgrade_fail(upgrade, "the new process ended before it was ready");
                } else {
                        g_clear_pointer(&upgrade->successor, successor_free);
                        upgrade->funcs->bereft(upgrade->data);
                }
                break;
        case HANDOVER_GO:
        case HANDOVER_NOTHING:
                break;
        }
}

/* Workers have their descriptors for themselves again. */
static void
upgrade_on_unshared(void *data)
{
        Upgrade *upgrade = data;

        upgrade->is_sharing = false;
        if (!upgrade->is_going_on)
                return;

        if (!upgrade->successor)
                upgrade_fail(upgrade, NULL);
        else if (upgrade->is_ready)
                upgrade_succeed(upgrade);
}

/* Workers know that the descriptors are shared for a moment. */
static void
upgrade_on_shared(void *data)
{
        Upgrade *upgrade = data;
        g_autoptr(GPtrArray) listeners = proxy_get_listeners(upgrade->proxy);
        g_autoptr(GError) error = NULL;

        if (!upgrade->failure)
                upgrade->successor =
                        successor_start(upgrade->program, upgrade->config, listeners,
                                        upgrade->ledger, upgrade_on_message, upgrade, &error);
        if (upgrade->successor)
                upgrade->timer = g_timeout_add_seconds(TIME_LIMIT, upgrade_on_timeout, upgrade);
        else if (error)
                upgrade->failure = g_strdup(error->message);

        proxy_share_descriptors(upgrade->proxy, false, upgrade_on_unshared, upgrade);
}

static gboolean
upgrade_refuse_for_process_1(void *data)
{
        upgrade_fail(data, "process 1 can't be followed by another: all would end with it");

        return G_SOURCE_REMOVE;
}

void
upgrade_start(Upgrade *upgrade)
{
        g_assert(!upgrade->is_going_on && !upgrade->successor);

        upgrade->is_going_on = true;
        upgrade->is_ready = false;
        if (getpid() == 1) {
                g_idle_add(upgrade_refuse_for_process_1, upgrade);
                return;
        }

        upgrade->is_sharing = true;
        proxy_share_descriptors(upgrade->proxy, true, upgrade_on_shared, upgrade);
}

bool
upgrade_is_going_on(const Upgrade *upgrade)
{
        return upgrade->is_going_on;
}

void
upgrade_cancel(Upgrade *upgrade, const char *reason)
{
        if (upgrade->is_going_on)
                upgrade_fail(upgrade, reason);
}

pid_t
upgrade_finish(Upgrade *upgrade)
{
        pid_t pid;

        if (!upgrade->successor)
                return 0;

        /* In this order, the service manager hears of it before the successor says a word. */
        pid = successor_get_pid(upgrade->successor);
        notify_main_pid(pid);
        notify_set_silent(true);
        successor_go(upgrade->successor);

        return pid;
}

bool
upgrade_has_successor(const Upgrade *upgrade)
{
        return upgrade->successor != NULL;
}

void
upgrade_free(Upgrade *upgrade)
{
        if (!upgrade)
                return;

        g_idle_remove_by_data(upgrade);
        g_clear_handle_id(&upgrade->timer, g_source_remove);
        successor_free(upgrade->successor);
        g_free(upgrade->program);
        g_free(upgrade->failure);
        g_free(upgrade);
}
