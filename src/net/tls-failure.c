/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GnuTLS's own words are for programmers; those that an operator meets are put otherwise.
 */

#include "net/tls-failure.h"

#include <stdint.h>

#include <glib.h>

#include "base/text.h"

#define RECORD_HEAD 5

const char *
tls_failure_explain(int result)
{
        switch (result) {
        case GNUTLS_E_NO_CIPHER_SUITES:
        case GNUTLS_E_UNKNOWN_CIPHER_SUITE:
        case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
        case GNUTLS_E_NO_COMMON_KEY_SHARE:
        case GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM:
                return "no cipher suite in common";
        case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
                return "no TLS version in common";
        case GNUTLS_E_CERTIFICATE_REQUIRED:
        case GNUTLS_E_NO_CERTIFICATE_FOUND:
                return "the client certificate is missing";
        case GNUTLS_E_REHANDSHAKE:
                return "renegotiation, which is refused";
        case GNUTLS_E_PREMATURE_TERMINATION:
                return "the peer ended in the middle of the handshake";
        default:
                return gnutls_strerror(result);
        }
}

char *
tls_failure_name_alert(gnutls_alert_description_t alert)
{
        const char *name = gnutls_alert_get_name(alert);

        return text_print("the peer says: %s", name ? name : "something unknown");
}

int
tls_failure_find_alert(const char *bytes, size_t n)
{
        const uint8_t *data = (const uint8_t *)bytes;
        size_t at = 0;
        int alert = 0;

        while (at + RECORD_HEAD + 2 <= n) {
                size_t length = (size_t)data[at + 3] << 8 | data[at + 4];

                if (data[at] == TLS_FAILURE_ALERT && length == 2)
                        alert = data[at + RECORD_HEAD + 1];
                at += RECORD_HEAD + length;
        }

        return alert;
}
