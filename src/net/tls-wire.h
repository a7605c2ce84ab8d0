/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <glib.h>
#include <gnutls/gnutls.h>

#include "net/credentials.h"
#include "net/stream.h"

/*
 * What is below GnuTLS on a connection: for stream-tls.c alone, which tells the rest.
 */

#define TLS_WIRE_AHEAD_SIZE (32 * 1024)

typedef struct StreamTls {
        CredentialsVerdict verdict; /* first, as credentials.h asks */
        Credentials *credentials;
        Stream *stream;           /* whose verb runs */
        gnutls_session_t session; /* NULL until there is something to say or read */
        char *ahead; /* what came and GnuTLS did not ask for yet: on the stack, or kept */
        uint32_t ahead_head, ahead_tail;
        char *unsent; /* of the handshake, before all else; NULL: nothing */
        size_t n_unsent;
        char *buffer;    /* of the verb that runs */
        char *failure;   /* NULL: none, or the kernel's */
        int error;       /* the kernel's */
        int write_error; /* likewise; reading goes on all the same */
        uint8_t alert;   /* in the clear, during the handshake; 0: none */
        char early;      /* what stream_confirm() has read */
        bool has_early;
        bool is_greeted;   /* the peer's first byte has been looked at */
        bool has_spoken;   /* something was sent */
        bool is_plain;     /* that byte is not TLS's */
        bool is_shaken;    /* the handshake is over */
        bool is_gathering; /* what is said goes to unsent */
        bool is_deferred;  /* its handshake waits for the next turn */
        bool is_writing;   /* GnuTLS has a record that the kernel didn't take yet */
        bool is_finished;  /* close_notify is sent */
        bool starved;      /* the kernel has nothing to read */
        bool blocked;      /* the kernel takes nothing */
        bool saw_end;      /* of the connection, close_notify or not */
} StreamTls;

/* Around each verb: @buffer, of TLS_WIRE_AHEAD_SIZE, is there as long as it runs. Verbs that don't
 * read have none. */
StreamTls *tls_wire_enter(Stream *stream, char *buffer);
void tls_wire_leave(StreamTls *tls);

/* False when the peer doesn't speak TLS. */
bool tls_wire_check_first_byte(StreamTls *tls, uint8_t byte);

/* For GnuTLS; @data is the StreamTls. */
ssize_t tls_wire_pull(gnutls_transport_ptr_t data, void *into, size_t size);
ssize_t tls_wire_push(gnutls_transport_ptr_t data, const giovec_t *vectors, int n);

/* Sends what the handshake left. STREAM_BROKEN leaves the cause in tls->error. */
StreamResult tls_wire_flush(StreamTls *tls);
