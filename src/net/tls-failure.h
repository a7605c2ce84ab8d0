/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stddef.h>

#include <gnutls/gnutls.h>

/* What went wrong with TLS, in words. */

#define TLS_FAILURE_ALERT 21 /* the type of a record that is an alert */

/* What GnuTLS's error @result means to an operator. */
const char *tls_failure_explain(int result);

/* "the peer says: CA is unknown"; to be freed. */
char *tls_failure_name_alert(gnutls_alert_description_t alert);

/* The alert among the records in @bytes that came in the clear; 0: none. OpenSSL's clients don't
 * encrypt the one that says what they have against a server's certificate, so that GnuTLS can't
 * make anything of it. */
int tls_failure_find_alert(const char *bytes, size_t n);
