/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>
#include <gnutls/gnutls.h>

/*
 * Whose certificates are believed: authorities and their revocation lists. Counted and immutable,
 * so that all servers with the same CAFile= share one, which for the system's is a megabyte.
 */

typedef struct Trust Trust;

/* What a certificate is to be good for. */
typedef enum TrustPurpose {
        TRUST_SERVER,
        TRUST_CLIENT,
} TrustPurpose;

/* Reads the authorities in the PEM file @ca, those of the system when it is NULL or empty, and the
 * revocation lists in the files @crls (NULL: none). NULL with a CREDENTIALS_ERROR. */
Trust *trust_new(const char *ca, const char *const *crls, GError **error);
Trust *trust_ref(Trust *trust);
void trust_unref(Trust *trust); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Trust, trust_unref)

/* What is odd about it, if not wrong; NULL: nothing. */
const char *trust_get_warning(const Trust *trust);

/* NULL when the peer's certificate of @session is good for @purpose and, unless it is NULL, for the
 * host @name; else why it isn't, in a few words. Keys and hashes below 112 bits of security (RSA
 * with less than 2048, SHA-1) are good for nothing. Any thread. */
const char *trust_check(const Trust *trust,
                        gnutls_session_t session,
                        TrustPurpose purpose,
                        const char *name);
