/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include "daemon/successor.h"
#include "proxy/ledger.h"
#include "proxy/proxy.h"

/*
 * Live upgrades from this process to the program that is installed by then: attempts to start a
 * successor, of which one at last succeeds. Main thread.
 */

typedef struct Upgrade Upgrade;

typedef struct UpgradeFuncs {
        void (*ready)(void *data);                       /* the successor accepts */
        void (*served)(const char *failure, void *data); /* ... and has the service; or doesn't */
        void (*failed)(const char *reason, void *data);  /* this attempt; another can be made */
        void (*told)(bool to_cut, void *data);           /* by the successor: to stop, or to cut */
        void (*bereft)(void *data); /* the successor, whose service it was, has died */
} UpgradeFuncs;

/* Why a successor doesn't have the service that it was given. */
#define UPGRADE_DIED "nobody has the service: the new process ended when it was to take over"

/* @config: the configuration file, NULL for the default. All it is given must outlive it. */
Upgrade *upgrade_new(const char *config,
                     Proxy *proxy,
                     Ledger *ledger,
                     const UpgradeFuncs *funcs,
                     void *data);

/* Begins an attempt; none may be going on. One of the first two functions is called later. */
void upgrade_start(Upgrade *upgrade);

/* True from upgrade_start() until one of these is called. */
bool upgrade_is_going_on(const Upgrade *upgrade);

/* Ends an attempt that is going on; its failed() is called later. */
void upgrade_cancel(Upgrade *upgrade, const char *reason);

/* The service is the successor's, which has been ready, from now on; the service manager is told,
 * and from then on nothing more by this process. Returns its number, and served() is called later;
 * 0 when it has died. */
pid_t upgrade_finish(Upgrade *upgrade);

/* True while a successor lives, whoever's the service is. */
bool upgrade_has_successor(const Upgrade *upgrade);

/* NULL is fine. */
void upgrade_free(Upgrade *upgrade);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Upgrade, upgrade_free)
