/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdint.h>

#include <gio/gio.h>

#include "net/address.h"

/*
 * Names to addresses, without blocking the thread that asks (GResolver, so nsswitch, hosts file and
 * all). The addresses come in the order in which they should be tried.
 */

/* Called once for each resolver_lookup(), from the thread's default GMainContext, unless cancelled:
 * either @addresses, which is borrowed and not empty, or @error. */
typedef void (*ResolverFunc)(AddressList *addresses, const GError *error, void *data);

/* Looks up @host; every address gets @port. After g_cancellable_cancel() @func is not called. */
void resolver_lookup(const char *host,
                     uint16_t port,
                     GCancellable *cancellable,
                     ResolverFunc func,
                     void *data);
