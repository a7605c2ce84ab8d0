/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keys are of P-256, which takes no time to make.
 */

#include "certs.h"

#include <string.h>
#include <time.h>

#include <glib/gstdio.h>
#include <gnutls/x509.h>

struct Certs {
        char *folder;
        gnutls_x509_crt_t ca;
        gnutls_x509_privkey_t ca_key;
        unsigned char serial;
};

static void
must(int result)
{
        if (result < 0)
                g_error("%s", gnutls_strerror(result));
}

char *
certs_get_path(const Certs *certs, const char *name)
{
        return g_build_filename(certs->folder, name, NULL);
}

static void
certs_write(Certs *certs, const char *name, const char *end, const gnutls_datum_t *text)
{
        g_autofree char *file = g_strconcat(certs->folder, "/", name, end, NULL);

        g_assert_true(g_file_set_contents(file, (const char *)text->data, text->size, NULL));
}

/* Begins a certificate with a key of its own. */
static gnutls_x509_crt_t
certs_begin(Certs *certs, const char *host, int days, gnutls_x509_privkey_t *key)
{
        gnutls_x509_crt_t cert;
        time_t now = time(NULL);

        must(gnutls_x509_privkey_init(key));
        must(gnutls_x509_privkey_generate(*key, GNUTLS_PK_ECDSA,
                                          GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
        must(gnutls_x509_crt_init(&cert));
        must(gnutls_x509_crt_set_version(cert, 3));
        certs->serial++;
        must(gnutls_x509_crt_set_serial(cert, &certs->serial, 1));
        must(gnutls_x509_crt_set_activation_time(cert, now - 3600 + MIN(days, 0) * 2 * 86400));
        must(gnutls_x509_crt_set_expiration_time(cert, now + days * 86400));
        must(gnutls_x509_crt_set_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, host,
                                           (unsigned)strlen(host)));
        must(gnutls_x509_crt_set_key(cert, *key));

        return cert;
}

Certs *
certs_new(void)
{
        Certs *certs = g_new0(Certs, 1);
        gnutls_datum_t text;

        certs->folder = g_dir_make_tmp(NULL, NULL);
        certs->ca = certs_begin(certs, "Test CA", 365, &certs->ca_key);
        must(gnutls_x509_crt_set_basic_constraints(certs->ca, 1, -1));
        must(gnutls_x509_crt_set_key_usage(certs->ca, GNUTLS_KEY_KEY_CERT_SIGN));
        must(gnutls_x509_crt_sign2(certs->ca, certs->ca, certs->ca_key, GNUTLS_DIG_SHA256, 0));
        must(gnutls_x509_crt_export2(certs->ca, GNUTLS_X509_FMT_PEM, &text));
        certs_write(certs, "ca", ".pem", &text);
        gnutls_free(text.data);

        return certs;
}

void
certs_issue(Certs *certs, const char *name, const char *host, int days)
{
        gnutls_x509_privkey_t key;
        gnutls_x509_crt_t cert = certs_begin(certs, host, days, &key);
        gnutls_datum_t text;

        must(gnutls_x509_crt_set_subject_alt_name(cert, GNUTLS_SAN_DNSNAME, host,
                                                  (unsigned)strlen(host), GNUTLS_FSAN_SET));
        must(gnutls_x509_crt_set_key_usage(cert, GNUTLS_KEY_DIGITAL_SIGNATURE));
        must(gnutls_x509_crt_sign2(cert, certs->ca, certs->ca_key, GNUTLS_DIG_SHA256, 0));
        must(gnutls_x509_crt_export2(cert, GNUTLS_X509_FMT_PEM, &text));
        certs_write(certs, name, ".pem", &text);
        gnutls_free(text.data);
        must(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN,
                                               &text));
        certs_write(certs, name, ".key", &text);
        gnutls_free(text.data);
        gnutls_x509_crt_deinit(cert);
        gnutls_x509_privkey_deinit(key);
}

static char *
certs_read(const Certs *certs, const char *name)
{
        g_autofree char *file = certs_get_path(certs, name);
        char *text;

        g_assert_true(g_file_get_contents(file, &text, NULL, NULL));

        return text;
}

void
certs_join(Certs *certs, const char *name, const char *first, const char *second)
{
        g_autofree char *file = certs_get_path(certs, name);
        g_autofree char *one = certs_read(certs, first), *two = certs_read(certs, second);
        g_autofree char *both = g_strconcat(one, two, NULL);

        g_assert_true(g_file_set_contents(file, both, -1, NULL));
}

void
certs_free(Certs *certs)
{
        g_autoptr(GDir) dir = g_dir_open(certs->folder, 0, NULL);
        const char *name;

        while (dir && (name = g_dir_read_name(dir))) {
                g_autofree char *file = certs_get_path(certs, name);

                g_unlink(file);
        }
        g_rmdir(certs->folder);
        gnutls_x509_crt_deinit(certs->ca);
        gnutls_x509_privkey_deinit(certs->ca_key);
        g_free(certs->folder);
        g_free(certs);
}
