/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GnuTLS judges a chain in status bits, several at once; the table below has them in the order in
 * which they tell most, and the first that is set is the answer.
 */

#include "net/trust.h"

#include <gnutls/x509.h>

#include "net/certificate.h"

#define CHAIN_MAX 16

struct Trust {
        int refs; /* atomic */
        gnutls_x509_trust_list_t list;
        char *warning; /* NULL: none */
};

static const struct {
        unsigned bit;
        const char *text;
} reasons[] = {
        { GNUTLS_CERT_REVOKED, "the certificate is revoked" },
        { GNUTLS_CERT_EXPIRED, "the certificate has expired" },
        { GNUTLS_CERT_NOT_ACTIVATED, "the certificate is not valid yet" },
        { GNUTLS_CERT_SIGNER_NOT_FOUND, "the certificate is of an unknown CA" },
        { GNUTLS_CERT_SIGNER_NOT_CA, "the certificate is signed by one that is no CA" },
        { GNUTLS_CERT_PURPOSE_MISMATCH, "the certificate is made for another purpose" },
        { GNUTLS_CERT_UNEXPECTED_OWNER, "the certificate is for another name" },
        { GNUTLS_CERT_INSECURE_ALGORITHM, "the certificate has a weak key or signature" },
        { GNUTLS_CERT_SIGNATURE_FAILURE, "the certificate's signature is wrong" },
        { GNUTLS_CERT_SIGNER_CONSTRAINTS_FAILURE, "the CA may not sign such a certificate" },
        { GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED, "the revocation list is out of date" },
        { GNUTLS_CERT_REVOCATION_DATA_ISSUED_IN_FUTURE, "the revocation list is of the future" },
        { ~0U, "the certificate is not valid" },
};

static bool
trust_add_cas(Trust *trust, const char *ca, GError **error)
{
        g_autoptr(GBytes) bytes = NULL;
        gnutls_datum_t datum;
        int n;

        if (!ca || !*ca) {
                n = gnutls_x509_trust_list_add_system_trust(trust->list, 0, 0);
                if (n > 0)
                        return true;
                g_set_error(error, CREDENTIALS_ERROR, CREDENTIALS_ERROR_CA,
                            "The system has no CAs (package ca-certificates): write CAFile=");
                return false;
        }

        bytes = certificate_get_file(ca, CREDENTIALS_ERROR_CA, error);
        if (!bytes)
                return false;

        datum = certificate_get_datum(bytes);
        n = gnutls_x509_trust_list_add_trust_mem(trust->list, &datum, NULL, GNUTLS_X509_FMT_PEM, 0,
                                                 0);
        if (n > 0)
                return true;

        certificate_set_error(error, CREDENTIALS_ERROR_CA, ca, "holds no CA certificate in PEM", n);
        return false;
}

/* True when @crl is signed by one of the authorities; *@has_ended: a newer one was due. */
static bool
trust_check_crl(const Trust *trust, gnutls_x509_crl_t crl, bool *has_ended)
{
        const unsigned ended = GNUTLS_CERT_REVOCATION_DATA_SUPERSEDED;
        gnutls_x509_trust_list_iter_t iter = NULL;
        gnutls_x509_crt_t ca;
        bool found = false;

        while (!found && gnutls_x509_trust_list_iter_get_ca(trust->list, &iter, &ca) == 0) {
                unsigned status = ~0U;

                if (gnutls_x509_crl_verify(crl, &ca, 1, 0, &status) == 0 &&
                    (status & ~(ended | GNUTLS_CERT_INVALID)) == 0 &&
                    (status == 0 || (status & ended))) {
                        found = true;
                        *has_ended |= status != 0;
                }
                gnutls_x509_crt_deinit(ca);
        }
        gnutls_x509_trust_list_iter_deinit(iter);

        return found;
}

/* GnuTLS can check lists as it adds them, but takes one that has ended for a wrong one. It still
 * says whom not to believe, and an outage would be worse. */
static bool
trust_add_crl(Trust *trust, const char *crl, GError **error)
{
        g_autoptr(GBytes) bytes = certificate_get_file(crl, CREDENTIALS_ERROR_CRL, error);
        gnutls_x509_crl_t *lists = NULL;
        bool good, has_ended = false;
        gnutls_datum_t datum;
        unsigned n = 0;
        int result;

        if (!bytes)
                return false;

        datum = certificate_get_datum(bytes);
        result = gnutls_x509_crl_list_import2(&lists, &n, &datum, GNUTLS_X509_FMT_PEM, 0);
        good = result >= 0 && n > 0;
        for (unsigned i = 0; i < n; i++)
                good = good && trust_check_crl(trust, lists[i], &has_ended);

        if (good && gnutls_x509_trust_list_add_crls(trust->list, lists, n, 0, 0) == (int)n) {
                gnutls_free(lists);
                if (has_ended) {
                        g_free(trust->warning);
                        trust->warning = g_strdup_printf("The revocation list %s has ended", crl);
                }
                return true;
        }

        for (unsigned i = 0; i < n; i++)
                gnutls_x509_crl_deinit(lists[i]);
        gnutls_free(lists);
        certificate_set_error(error, CREDENTIALS_ERROR_CRL, crl,
                              "holds no revocation list of these CAs in PEM", MIN(result, 0));
        return false;
}

Trust *
trust_new(const char *ca, const char *const *crls, GError **error)
{
        g_autoptr(Trust) trust = g_new0(Trust, 1);

        trust->refs = 1;
        if (gnutls_x509_trust_list_init(&trust->list, 0) < 0)
                g_error("Out of memory");

        if (!trust_add_cas(trust, ca, error))
                return NULL;
        for (size_t i = 0; crls && crls[i]; i++)
                if (!trust_add_crl(trust, crls[i], error))
                        return NULL;

        return g_steal_pointer(&trust);
}

Trust *
trust_ref(Trust *trust)
{
        __atomic_add_fetch(&trust->refs, 1, __ATOMIC_RELAXED);

        return trust;
}

void
trust_unref(Trust *trust)
{
        if (!trust || __atomic_sub_fetch(&trust->refs, 1, __ATOMIC_ACQ_REL) > 0)
                return;

        gnutls_x509_trust_list_deinit(trust->list, 1);
        g_free(trust->warning);
        g_free(trust);
}

const char *
trust_get_warning(const Trust *trust)
{
        return trust->warning;
}

static const char *
find_reason(unsigned status)
{
        size_t i = 0;

        if (status == 0)
                return NULL;
        status &= ~(unsigned)GNUTLS_CERT_INVALID;
        while (!(status & reasons[i].bit) && i < G_N_ELEMENTS(reasons) - 1)
                i++;

        return reasons[i].text;
}

/* Signed by itself is a case that an operator wants to be told from an unknown CA. */
static const char *
find_reason_in_chain(unsigned status, gnutls_x509_crt_t *chain, unsigned n)
{
        if ((status & GNUTLS_CERT_SIGNER_NOT_FOUND) && n == 1 &&
            gnutls_x509_crt_check_issuer(chain[0], chain[0]))
                return "the certificate is signed by itself";

        return find_reason(status);
}

const char *
trust_check(const Trust *trust, gnutls_session_t session, TrustPurpose purpose, const char *name)
{
        const char *oid =
                purpose == TRUST_SERVER ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
        gnutls_typed_vdata_st data[2] = {
                { .type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (void *)oid },
                { .type = GNUTLS_DT_DNS_HOSTNAME, .data = (void *)name },
        };
        gnutls_x509_crt_t chain[CHAIN_MAX];
        unsigned n_peers = 0, n = 0, status = ~0U;
        const gnutls_datum_t *peers = gnutls_certificate_get_peers(session, &n_peers);
        const char *reason = "the certificate can't be read";

        while (n < MIN(n_peers, CHAIN_MAX)) {
                if (gnutls_x509_crt_init(&chain[n]) < 0)
                        break;
                if (gnutls_x509_crt_import(chain[n], &peers[n], GNUTLS_X509_FMT_DER) < 0) {
                        gnutls_x509_crt_deinit(chain[n]);
                        break;
                }
                n++;
        }

        if (n > 0 && n == n_peers &&
            gnutls_x509_trust_list_verify_crt2(trust->list, chain, n, data, name ? 2 : 1,
                                               GNUTLS_PROFILE_TO_VFLAGS(GNUTLS_PROFILE_MEDIUM),
                                               &status, NULL) == 0)
                reason = find_reason_in_chain(status, chain, n);

        while (n > 0)
                gnutls_x509_crt_deinit(chain[--n]);

        return reason;
}
