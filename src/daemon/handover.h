/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>

/*
 * What a process leaves to the one that follows it in a live upgrade, and what the two of them say
 * meanwhile. The offer is a key file in memory without a name, with the numbers that the
 * descriptors have in the new process; the variable HANDOVER_VARIABLE of its environment says where
 * to read it. So keys can be added: a version that doesn't know them goes on without.
 */

#define HANDOVER_VARIABLE "AGITATOR_HANDOVER"

/* A listening socket. */
typedef struct HandoverSocket {
        int fd;
        char *name; /* that systemd passed it under; NULL: the process bound it */
} HandoverSocket;

typedef struct Handover {
        int channel;      /* to the process before */
        int ledger;       /* of counts */
        unsigned process; /* the number in the ledger */
        GBytes *ticket_secret;
        GArray *sockets; /* of HandoverSocket */
} Handover;

Handover *handover_new(void);
void handover_free(Handover *handover); /* closes nothing; NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Handover, handover_free)

/* @name is copied. */
void handover_add_socket(Handover *handover, int fd, const char *name);

char *handover_print(const Handover *handover);

/* NULL with an error when @text is no offer. A descriptor is a number above 2, and no two are the
 * same; whether it is open, and what it is, nobody has looked at. */
Handover *handover_parse(const char *text, gsize length, GError **error);

/* One message on the channel, each of which comes whole or not at all. */
typedef enum HandoverMessage {
        /* From the new process. */
        HANDOVER_READY,   /* its settings are in force, it accepts */
        HANDOVER_SERVING, /* it has the service, and its control socket is there */
        HANDOVER_FAILED,  /* it ends; why is the text */
        HANDOVER_STOP,    /* it was told to stop */
        HANDOVER_CUT,     /* ... and not to wait for sessions */
        /* From the old one. */
        HANDOVER_GO, /* the service is the new one's */
        /* Not sent. */
        HANDOVER_NOTHING, /* none is waiting, or one that this version doesn't know */
        HANDOVER_END,     /* the other process is gone */
} HandoverMessage;

/* False when the other one is gone. @text: NULL for none. */
bool handover_send(int channel, HandoverMessage message, const char *text);

/* @text: what came with it, as one valid line; freed by the caller. Never waits. */
HandoverMessage handover_receive(int channel, char **text);

typedef void (*HandoverFunc)(HandoverMessage message, const char *text, void *data);

/* Calls @func with @data for each message, from the main loop, and once with HANDOVER_END. Returns
 * what g_source_remove() takes until then. */
guint handover_watch(int channel, HandoverFunc func, void *data);
