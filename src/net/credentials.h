/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>
#include <gnutls/gnutls.h>

#include "net/certificate.h"
#include "net/trust.h"

/*
 * What the TLS of one listener or one server goes by: certificates, keys, whom to believe, which
 * algorithms. Loaded as a whole, counted, not changed afterwards: a reload makes new ones, and each
 * stream keeps those it began with. All its streams share one of everything.
 */

typedef struct Credentials Credentials;

typedef enum CredentialsClient {
        CREDENTIALS_CLIENT_NONE, /* a client's certificate isn't asked for */
        CREDENTIALS_CLIENT_OPTIONAL,
        CREDENTIALS_CLIENT_REQUIRED,
} CredentialsClient;

/* As configured; all zero at first. A file is a path or the name of a credential of systemd's, a
 * certificate or key may be a pkcs11: URI too. */
typedef struct CredentialsOptions {
        GStrv certificates; /* NULL or empty: none */
        GStrv private_keys; /* one for each, or none at all: then they are in the same files */
        GStrv crls;         /* revocation lists */
        char *ca;           /* ClientCA= or CAFile=; NULL or empty: the system's */
        char *priority;     /* GnuTLS's words; NULL or empty: the default */
        bool fails_on_truncation; /* an end without close_notify is a failure */

        /* Of a listener. */
        GStrv ocsp_responses; /* as many as certificates, or none */
        CredentialsClient client;

        /* Of a server. */
        char *name;      /* in its certificate; NULL or empty: what it is dialed by */
        GStrv pins;      /* SHA-256 of its public key, in hex or base64 */
        bool trusts_all; /* its certificate isn't looked at */
} CredentialsOptions;

void credentials_options_clear(CredentialsOptions *options);

/* For @name's listener. NULL with a CREDENTIALS_ERROR that names the file. */
Credentials *credentials_new_listener(const CredentialsOptions *options,
                                      const char *name,
                                      GError **error);

/* For a server dialed as @host (NULL: a Unix socket), believing @trust (NULL: that of the options;
 * a reference is taken). NULL with a CREDENTIALS_ERROR. */
Credentials *credentials_new_server(const CredentialsOptions *options,
                                    const char *host,
                                    Trust *trust,
                                    GError **error);

Credentials *credentials_ref(Credentials *credentials);
void credentials_unref(Credentials *credentials); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Credentials, credentials_unref)

/* True when a server's certificate has to be of a CA's: not with TLSVerify=no, and not when a pin
 * is all there is. */
bool credentials_options_need_trust(const CredentialsOptions *options);

/* The @i-th certificate's place, and in *@expires when it ends (seconds since 1970); NULL when
 * there are no more. */
const char *credentials_get_certificate(const Credentials *credentials, size_t i, gint64 *expires);

/* The secret that the keys of all listeners' tickets are made from. It is random, unless the
 * process before this one has left its own, so that its tickets stay good; that is in time only
 * before the first credentials are made. Main thread. */
GBytes *credentials_get_ticket_secret(void);
void credentials_set_ticket_secret(GBytes *secret);

/* For stream-tls only; any thread. */

bool credentials_are_listeners(const Credentials *credentials);
bool credentials_fail_on_truncation(const Credentials *credentials);

/* Begins a session; 0 or what GnuTLS says. */
int credentials_open_session(Credentials *credentials, gnutls_session_t *session);

/* NULL when @session's peer is whom it should be, else why not. */
const char *credentials_check_peer(const Credentials *credentials, gnutls_session_t session);

/* Keeps what the server's next session can be resumed with. */
void credentials_save_session(Credentials *credentials, gnutls_session_t session);

/* Drops what was saved: a server that has failed a handshake may have failed at that. Any thread.
 */
void credentials_forget_session(Credentials *credentials);

/* What is odd about them, if not wrong; NULL: nothing. */
const char *credentials_get_warning(const Credentials *credentials);

/* What @session keeps in gnutls_session_set_ptr() begins with this. The first that is found wrong
 * with the peer's certificate is put there. */
typedef struct CredentialsVerdict {
        const Credentials *credentials;
        const char *fault;
} CredentialsVerdict;
