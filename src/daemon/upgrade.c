/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An attempt goes through its states one after the other. Workers know that their descriptors are
 * shared from before the fork until the successor itself has said something, so that its exec is
 * over, or until it has been gone for a while: the descriptors of a process that ends are closed
 * one by one, and its parent may hear of the end before the last of them.
 */

#include "daemon/upgrade.h"

#include <unistd.h>

#include "daemon/notify.h"

#define TIME_LIMIT  15   /* seconds until a successor must be ready */
#define SETTLE_TIME 1000 /* ms in which the last descriptors of one that failed are closed */
#define SERVE_TIME  5000 /* ms until one that has the service must have said so */

typedef enum UpgradeState {
        UPGRADE_IDLE,
        UPGRADE_SHARING,   /* workers learn that descriptors are about to be shared */
        UPGRADE_STARTING,  /* the successor has not said how it went */
        UPGRADE_SETTLING,  /* it has failed */
        UPGRADE_UNSHARING, /* it is over; workers learn that they are alone again */
        UPGRADE_READY,     /* this process leaves its sockets */
        UPGRADE_LEFT,      /* the successor has the service, and has not said so */
        UPGRADE_SERVED,    /* ... it has */
} UpgradeState;

struct Upgrade {
        const char *config;
        char *program; /* NULL when it can't be told */
        Proxy *proxy;
        Ledger *ledger;
        const UpgradeFuncs *funcs;
        void *data;
        UpgradeState state;
        Successor *successor;
        guint timer;
        char *failure; /* why this attempt will have failed; NULL: it has not, or nobody knows */
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

/* Workers have their descriptors for themselves again. */
static void
upgrade_on_unshared(void *data)
{
        Upgrade *upgrade = data;
        g_autofree char *failure = g_steal_pointer(&upgrade->failure);

        if (!failure) {
                upgrade->state = UPGRADE_READY;
                upgrade->funcs->ready(upgrade->data);
                return;
        }

        g_clear_pointer(&upgrade->successor, successor_free);
        upgrade->state = UPGRADE_IDLE;
        upgrade->funcs->failed(failure, upgrade->data);
}

static void
upgrade_unshare(Upgrade *upgrade)
{
        g_clear_handle_id(&upgrade->timer, g_source_remove);
        upgrade->state = UPGRADE_UNSHARING;
        proxy_share_descriptors(upgrade->proxy, false, upgrade_on_unshared, upgrade);
}

static gboolean
upgrade_on_settled(void *data)
{
        Upgrade *upgrade = data;

        upgrade->timer = 0;
        upgrade_unshare(upgrade);

        return G_SOURCE_REMOVE;
}

/* The attempt has failed for @reason, unless a better one is known; it is told when it is over. */
static void
upgrade_fail(Upgrade *upgrade, const char *reason)
{
        if (!upgrade->failure)
                upgrade->failure = g_strdup(reason);
        if (upgrade->state != UPGRADE_STARTING)
                return;

        g_clear_handle_id(&upgrade->timer, g_source_remove);
        g_clear_pointer(&upgrade->successor, successor_free);
        upgrade->state = UPGRADE_SETTLING;
        upgrade->timer = g_timeout_add(SETTLE_TIME, upgrade_on_settled, upgrade);
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

/* The successor has said that it serves; or it doesn't, for @failure. */
static void
upgrade_end(Upgrade *upgrade, const char *failure)
{
        g_clear_handle_id(&upgrade->timer, g_source_remove);
        upgrade->state = UPGRADE_SERVED;
        upgrade->funcs->served(failure, upgrade->data);
}

static gboolean
upgrade_on_serve_timeout(void *data)
{
        Upgrade *upgrade = data;

        upgrade->timer = 0;
        upgrade_end(upgrade, "the new process has not said that it serves: see whether it does");

        return G_SOURCE_REMOVE;
}

static void
upgrade_on_end(Upgrade *upgrade)
{
        g_clear_pointer(&upgrade->successor, successor_free);
        if (upgrade_is_going_on(upgrade)) {
                upgrade_fail(upgrade, "the new process ended before it was ready");
                return;
        }

        if (upgrade->state == UPGRADE_LEFT)
                upgrade_end(upgrade, UPGRADE_DIED);
        upgrade->funcs->bereft(upgrade->data);
}

static void
upgrade_on_message(HandoverMessage message, const char *text, void *data)
{
        Upgrade *upgrade = data;

        switch (message) {
        case HANDOVER_READY:
                if (upgrade->state == UPGRADE_STARTING)
                        upgrade_unshare(upgrade);
                break;
        case HANDOVER_SERVING:
                if (upgrade->state == UPGRADE_LEFT)
                        upgrade_end(upgrade, NULL);
                break;
        case HANDOVER_FAILED:
                g_free(upgrade->failure);
                upgrade->failure = g_strdup(text);
                break;
        case HANDOVER_STOP:
        case HANDOVER_CUT:
                if (!upgrade_is_going_on(upgrade))
                        upgrade->funcs->told(message == HANDOVER_CUT, upgrade->data);
                break;
        case HANDOVER_END:
                upgrade_on_end(upgrade);
                break;
        case HANDOVER_GO:
        case HANDOVER_NOTHING:
                break;
        }
}

/* Workers know that the descriptors are shared from now on. */
static void
upgrade_on_shared(void *data)
{
        Upgrade *upgrade = data;
        g_autoptr(GPtrArray) listeners = proxy_get_listeners(upgrade->proxy);
        g_autoptr(GError) error = NULL;

        if (upgrade->failure) {
                upgrade_unshare(upgrade);
                return;
        }

        upgrade->state = UPGRADE_STARTING;
        upgrade->successor = successor_start(upgrade->program, upgrade->config, listeners,
                                             upgrade->ledger, upgrade_on_message, upgrade, &error);
        if (upgrade->successor)
                upgrade->timer = g_timeout_add_seconds(TIME_LIMIT, upgrade_on_timeout, upgrade);
        else
                upgrade_fail(upgrade, error->message);
}

void
upgrade_start(Upgrade *upgrade)
{
        g_assert(upgrade->state == UPGRADE_IDLE);

        upgrade->state = UPGRADE_SHARING;
        if (getpid() == 1)
                upgrade_fail(upgrade,
                             "process 1 can't be followed by another: all would end with it");
        proxy_share_descriptors(upgrade->proxy, true, upgrade_on_shared, upgrade);
}

bool
upgrade_is_going_on(const Upgrade *upgrade)
{
        return upgrade->state != UPGRADE_IDLE && upgrade->state < UPGRADE_READY;
}

void
upgrade_cancel(Upgrade *upgrade, const char *reason)
{
        if (upgrade_is_going_on(upgrade))
                upgrade_fail(upgrade, reason);
}

pid_t
upgrade_finish(Upgrade *upgrade)
{
        pid_t pid;

        upgrade->state = UPGRADE_LEFT;
        if (!upgrade->successor)
                return 0;

        /* In this order, the service manager hears of it before the successor says a word. */
        pid = successor_get_pid(upgrade->successor);
        notify_watchdog();
        notify_main_pid(pid);
        notify_set_silent(true);
        successor_go(upgrade->successor);
        upgrade->timer = g_timeout_add(SERVE_TIME, upgrade_on_serve_timeout, upgrade);

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

        g_clear_handle_id(&upgrade->timer, g_source_remove);
        successor_free(upgrade->successor);
        g_free(upgrade->program);
        g_free(upgrade->failure);
        g_free(upgrade);
}
