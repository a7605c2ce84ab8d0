/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "proxy/places.h"

/*
 * How many sessions each server has, counted together by all processes that serve at a time: after
 * a live upgrade the old process still has sessions, and a server's MaxSessions= is for both. The
 * counts are in memory that the processes share, and beside them what each process has its part in
 * them, so that the part of one that died is taken out again.
 */

/* Servers and processes that a ledger has room for. */
#define LEDGER_ACCOUNTS  16384
#define LEDGER_PROCESSES 64

typedef struct Ledger Ledger;

/* One server's. */
typedef struct LedgerAccount {
        Places *total; /* of all processes */
        Places *own;   /* of this one */
} LedgerAccount;

/* The first process's. NULL with an error when the kernel has no memory for it. */
Ledger *ledger_new(GError **error);

/* That of the process before this one, for which it has claimed the number @process. Takes @fd.
 * NULL with an error when it is no ledger that this version can share. */
Ledger *ledger_open(int fd, unsigned process, GError **error);

/* What was counted in it must be at an end. NULL is fine. */
void ledger_free(Ledger *ledger);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Ledger, ledger_free)

/* For ledger_open() in another process; stays the ledger's. */
int ledger_get_fd(const Ledger *ledger);

/* Keeps a number for a process that is to follow, in *@process; false when LEDGER_PROCESSES are
 * alive. */
bool ledger_claim(Ledger *ledger, unsigned *process);

/* Gives up the number of a process that didn't come to be, or is gone. */
void ledger_unclaim(Ledger *ledger, unsigned process);

/* The account of the server called @name, for as long as the ledger lives; false when there is no
 * room for another. Only one process may ask at a time: that which takes settings. */
bool ledger_get_account(Ledger *ledger, const char *name, LedgerAccount *account);

/* This process's sessions, whichever server they have. */
Places *ledger_get_sessions(const Ledger *ledger);

/* Takes out what processes have left behind that are gone without having ended their sessions. */
void ledger_settle(Ledger *ledger);

/* How many other processes are alive, and in *@sessions how many sessions they have. */
unsigned ledger_count_others(const Ledger *ledger, unsigned *sessions);
