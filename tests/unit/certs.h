/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <glib.h>

/* Certificates for tests: a folder with an authority in it, ca.pem, and what it signs. */

typedef struct Certs Certs;

Certs *certs_new(void);
void certs_free(Certs *certs); /* with the folder */

/* Makes NAME.pem and NAME.key for @host, good for @days from an hour ago; a negative number has
 * ended. */
void certs_issue(Certs *certs, const char *name, const char *host, int days);

/* Puts two files into one. */
void certs_join(Certs *certs, const char *name, const char *first, const char *second);

/* Where a file is, to be freed. */
char *certs_get_path(const Certs *certs, const char *name);
