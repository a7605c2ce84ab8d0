/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>

#include <glib.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

/*
 * A certificate of our own with its chain and its private key, as they come from PEM files, from
 * systemd's credentials or from a PKCS #11 token, and the errors that reading such things has.
 */

#define CREDENTIALS_ERROR credentials_error_quark()
GQuark credentials_error_quark(void);

/* Which setting is to blame. */
typedef enum CredentialsError {
        CREDENTIALS_ERROR_CERTIFICATE,
        CREDENTIALS_ERROR_PRIVATE_KEY,
        CREDENTIALS_ERROR_CA,
        CREDENTIALS_ERROR_CRL,
        CREDENTIALS_ERROR_OCSP,
        CREDENTIALS_ERROR_PRIORITY,
        CREDENTIALS_ERROR_PIN,
} CredentialsError;

/* Reads @where (a path, or the name of a credential that systemd passed) and the key in @key_where,
 * which are the same when both are in one file, and puts them into @credentials. *@expires is when
 * the certificate ends. */
bool certificate_load(gnutls_certificate_credentials_t credentials,
                      const char *where,
                      const char *key_where,
                      gint64 *expires,
                      GError **error);

/* What may be shown of @where, to be freed: a token's PIN may be in it. */
char *certificate_describe(const char *where);

/* The bytes of a path or a credential; @code says what to blame. */
GBytes *certificate_get_file(const char *where, CredentialsError code, GError **error);

/* The same bytes as GnuTLS wants them; valid as long as @bytes. */
gnutls_datum_t certificate_get_datum(GBytes *bytes);

/* Sets the error "@where @what: WHY", with what GnuTLS says to @result as the reason, if that is
 * negative. */
void certificate_set_error(GError **error,
                           CredentialsError code,
                           const char *where,
                           const char *what,
                           int result);
