/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What has no '/' in it is the name of a credential (systemd.exec(5), LoadCredential=), what begins
 * with "pkcs11:" an object in a token, all else a file.
 */

#include "net/certificate.h"

#include <errno.h>
#include <string.h>

#include <gio/gio.h>
#include <gnutls/pkcs11.h>
#include <gnutls/x509.h>

#define CHAIN_MAX     16
#define FILE_SIZE_MAX (4 * 1024 * 1024)

G_DEFINE_QUARK(agitator - credentials - error - quark, credentials_error)

/* Half of a certificate and its key on their way into GnuTLS's hands. */
typedef struct Pair {
        gnutls_pcert_st chain[CHAIN_MAX];
        unsigned n;
        gnutls_privkey_t key;
        gnutls_x509_crt_t leaf;
} Pair;

static void
pair_clear(Pair *pair)
{
        for (unsigned i = 0; i < pair->n; i++)
                gnutls_pcert_deinit(&pair->chain[i]);
        if (pair->key)
                gnutls_privkey_deinit(pair->key);
        if (pair->leaf)
                gnutls_x509_crt_deinit(pair->leaf);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pair, pair_clear)

static bool
is_in_token(const char *where)
{
        return g_str_has_prefix(where, "pkcs11:");
}

char *
certificate_describe(const char *where)
{
        /* What comes after '?' may be a PIN (RFC 7512 §2.4). */
        return is_in_token(where) ? g_strndup(where, strcspn(where, "?")) : g_strdup(where);
}

void
certificate_set_error(GError **error,
                      CredentialsError code,
                      const char *where,
                      const char *what,
                      int result)
{
        g_autofree char *name = certificate_describe(where);

        if (result < 0 && result != GNUTLS_E_NO_CERTIFICATE_FOUND)
                g_set_error(error, CREDENTIALS_ERROR, (int)code, "%s %s: %s", name, what,
                            gnutls_strerror(result));
        else
                g_set_error(error, CREDENTIALS_ERROR, (int)code, "%s %s", name, what);
}

GBytes *
certificate_get_file(const char *where, CredentialsError code, GError **error)
{
        const char *folder = g_getenv("CREDENTIALS_DIRECTORY");
        g_autofree char *path = NULL;
        g_autofree char *text = NULL;
        g_autoptr(GError) inner = NULL;
        size_t length = 0;

        if (!strchr(where, '/') && !folder) {
                g_set_error(error, CREDENTIALS_ERROR, (int)code,
                            "'%s' has no '/', so it names a credential, and systemd passes none "
                            "(LoadCredential=), or not to whoever checks this: root finds those of "
                            "the running service",
                            where);
                return NULL;
        }

        path = strchr(where, '/') ? g_strdup(where) : g_build_filename(folder, where, NULL);
        if (!g_file_get_contents(path, &text, &length, &inner)) {
                g_set_error(error, CREDENTIALS_ERROR, (int)code, "%s can't be read: %s", where,
                            inner->code == G_FILE_ERROR_NOENT   ? "there is no such file"
                            : inner->code == G_FILE_ERROR_ACCES ? "permission denied"
                                                                : inner->message);
                return NULL;
        }
        if (length > FILE_SIZE_MAX) {
                certificate_set_error(error, code, where, "is too large", 0);
                return NULL;
        }

        return g_bytes_new_take(g_steal_pointer(&text), length);
}

gnutls_datum_t
certificate_get_datum(GBytes *bytes)
{
        size_t length;
        const void *data = g_bytes_get_data(bytes, &length);

        return (gnutls_datum_t){ .data = (unsigned char *)data, .size = (unsigned)length };
}

static bool
pair_import_chain(Pair *pair, const char *where, GError **error)
{
        unsigned n = CHAIN_MAX;
        int result;

        if (is_in_token(where)) {
                result = gnutls_pcert_list_import_x509_file(pair->chain, &n, where,
                                                            GNUTLS_X509_FMT_PEM, NULL, NULL, 0);
        } else {
                g_autoptr(GBytes) bytes =
                        certificate_get_file(where, CREDENTIALS_ERROR_CERTIFICATE, error);
                gnutls_datum_t datum;

                if (!bytes)
                        return false;
                datum = certificate_get_datum(bytes);
                result = gnutls_pcert_list_import_x509_raw(
                        pair->chain, &n, &datum, GNUTLS_X509_FMT_PEM, GNUTLS_X509_CRT_LIST_SORT);
        }

        if (result >= 0)
                pair->n = n;
        if (result >= 0 && n > 0)
                result = gnutls_pcert_export_x509(&pair->chain[0], &pair->leaf);
        if (result >= 0 && n > 0)
                return true;

        certificate_set_error(error, CREDENTIALS_ERROR_CERTIFICATE, where,
                              is_in_token(where) ? "is no certificate that can be used"
                              : result == GNUTLS_E_SHORT_MEMORY_BUFFER
                                      ? "holds too long a chain of certificates"
                                      : "holds no certificate in PEM",
                              result);
        return false;
}

static bool
pair_import_key(Pair *pair, const char *where, GError **error)
{
        int result = gnutls_privkey_init(&pair->key);

        if (result >= 0 && is_in_token(where)) {
                result = gnutls_privkey_import_url(pair->key, where, 0);
        } else if (result >= 0) {
                g_autoptr(GBytes) bytes =
                        certificate_get_file(where, CREDENTIALS_ERROR_PRIVATE_KEY, error);
                gnutls_datum_t datum;

                if (!bytes)
                        return false;
                datum = certificate_get_datum(bytes);
                result = gnutls_privkey_import_x509_raw(pair->key, &datum, GNUTLS_X509_FMT_PEM,
                                                        NULL, 0);
        }

        if (result >= 0)
                return true;

        certificate_set_error(error, CREDENTIALS_ERROR_PRIVATE_KEY, where,
                              is_in_token(where) ? "is no private key that can be used"
                              : result == GNUTLS_E_DECRYPTION_FAILED
                                      ? "is protected by a password, which nobody is there to type"
                                      : "holds no private key in PEM",
                              result);
        return false;
}

bool
certificate_load(gnutls_certificate_credentials_t credentials,
                 const char *where,
                 const char *key_where,
                 gint64 *expires,
                 GError **error)
{
        g_auto(Pair) pair = { .n = 0 };
        int result;

        if (!pair_import_chain(&pair, where, error) || !pair_import_key(&pair, key_where, error))
                return false;

        *expires = (gint64)gnutls_x509_crt_get_expiration_time(pair.leaf);
        /* GnuTLS takes the names from the certificate, and goes by them when a client says whom it
         * means (SNI). What it takes it keeps. */
        result =
                gnutls_certificate_set_key(credentials, NULL, 0, pair.chain, (int)pair.n, pair.key);
        if (result >= 0) {
                pair.n = 0;
                pair.key = NULL;
                return true;
        }

        if (result == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
                certificate_set_error(error, CREDENTIALS_ERROR_PRIVATE_KEY, key_where,
                                      "is not the key of the certificate", 0);
        else
                certificate_set_error(error, CREDENTIALS_ERROR_CERTIFICATE, where, "can't be used",
                                      result);

        return false;
}
