/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <unistd.h>

#include <glib/gstdio.h>

#include "certs.h"
#include "net/credentials.h"

/* A folder with an authority and what it has signed. */
typedef struct Fixture {
        Certs *certs;
        CredentialsOptions options;
} Fixture;

static void
fixture_set_up(Fixture *fixture, const void *data)
{
        fixture->certs = certs_new();
        certs_issue(fixture->certs, "one", "one.example", 365);
        certs_issue(fixture->certs, "two", "two.example", 365);
}

static void
fixture_tear_down(Fixture *fixture, const void *data)
{
        credentials_options_clear(&fixture->options);
        certs_free(fixture->certs);
}

static GStrv
list(char *first, char *second)
{
        char *items[] = { first, second, NULL };
        GStrv copy = g_strdupv(items);

        g_free(first);
        g_free(second);

        return copy;
}

static char *
path(Fixture *fixture, const char *name)
{
        return certs_get_path(fixture->certs, name);
}

static void
use_certificate(Fixture *fixture, const char *certificate, const char *key)
{
        credentials_options_clear(&fixture->options);
        fixture->options.certificates = list(path(fixture, certificate), NULL);
        if (key)
                fixture->options.private_keys = list(path(fixture, key), NULL);
}

static void
expect_error(Fixture *fixture, int code, const char *part)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Credentials) credentials =
                credentials_new_listener(&fixture->options, "main", &error);

        g_assert_null(credentials);
        g_assert_error(error, CREDENTIALS_ERROR, code);
        g_assert_nonnull(strstr(error->message, part));
}

static void
test_certificate_and_key(Fixture *fixture, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Credentials) credentials = NULL;
        gint64 expires = 0, now = g_get_real_time() / G_USEC_PER_SEC;

        use_certificate(fixture, "one.pem", "one.key");
        credentials = credentials_new_listener(&fixture->options, "main", &error);
        g_assert_no_error(error);
        g_assert_true(g_str_has_suffix(credentials_get_certificate(credentials, 0, &expires),
                                       "/one.pem"));
        g_assert_cmpint(expires, >, now + 364 * 24 * 60 * 60);
        g_assert_cmpint(expires, <, now + 366 * 24 * 60 * 60);
        g_assert_null(credentials_get_certificate(credentials, 1, &expires));
}

static void
test_key_in_the_same_file(Fixture *fixture, const void *data)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Credentials) credentials = NULL;

        certs_join(fixture->certs, "both.pem", "one.pem", "one.key");
        use_certificate(fixture, "both.pem", NULL);
        credentials = credentials_new_listener(&fixture->options, "main", &error);
        g_assert_no_error(error);
        g_assert_nonnull(credentials);
}

static void
test_key_of_another(Fixture *fixture, const void *data)
{
        use_certificate(fixture, "one.pem", "two.key");
        expect_error(fixture, CREDENTIALS_ERROR_PRIVATE_KEY, "two.key is not the key of the");
}

static void
test_no_such_file(Fixture *fixture, const void *data)
{
        use_certificate(fixture, "none.pem", "one.key");
        expect_error(fixture, CREDENTIALS_ERROR_CERTIFICATE,
                     "none.pem can't be read: there is no such file");
        use_certificate(fixture, "one.pem", "none.key");
        expect_error(fixture, CREDENTIALS_ERROR_PRIVATE_KEY,
                     "none.key can't be read: there is no such file");
}

static void
test_too_large(Fixture *fixture, const void *data)
{
        g_autofree char *file = path(fixture, "one.pem");

        use_certificate(fixture, "one.pem", "one.key");
        g_assert_cmpint(truncate(file, 4 * 1024 * 1024 + 1), ==, 0);
        expect_error(fixture, CREDENTIALS_ERROR_CERTIFICATE, "one.pem is too large");
}

static void
test_wrong_content(Fixture *fixture, const void *data)
{
        use_certificate(fixture, "one.key", "one.key");
        expect_error(fixture, CREDENTIALS_ERROR_CERTIFICATE, "one.key holds no certificate in PEM");
        use_certificate(fixture, "one.pem", "one.pem");
        expect_error(fixture, CREDENTIALS_ERROR_PRIVATE_KEY, "one.pem holds no private key in PEM");
}

static void
test_numbers_differ(Fixture *fixture, const void *data)
{
        use_certificate(fixture, "one.pem", "one.key");
        g_strfreev(fixture->options.certificates);
        fixture->options.certificates = list(path(fixture, "one.pem"), path(fixture, "two.pem"));
        expect_error(fixture, CREDENTIALS_ERROR_PRIVATE_KEY, "1 keys don't go with 2 certificates");
}

static void
test_numbers_of_responses_differ(Fixture *fixture, const void *data)
{
        use_certificate(fixture, "one.pem", "one.key");
        fixture->options.ocsp_responses =
                list(path(fixture, "one.ocsp"), path(fixture, "two.ocsp"));
        expect_error(fixture, CREDENTIALS_ERROR_OCSP, "2 responses don't go with 1 certificates");
}

static void
test_credential_of_systemd(Fixture *fixture, const void *data)
{
        char *names[] = { (char *)"one.pem", NULL }, *keys[] = { (char *)"one.key", NULL };
        g_autoptr(GError) error = NULL;
        g_autoptr(Credentials) credentials = NULL;
        g_autofree char *folder = path(fixture, ".");

        g_unsetenv("CREDENTIALS_DIRECTORY");
        fixture->options.certificates = g_strdupv(names);
        fixture->options.private_keys = g_strdupv(keys);
        expect_error(fixture, CREDENTIALS_ERROR_CERTIFICATE, "systemd passes none");

        g_setenv("CREDENTIALS_DIRECTORY", folder, TRUE);
        credentials = credentials_new_listener(&fixture->options, "main", &error);
        g_unsetenv("CREDENTIALS_DIRECTORY");
        g_assert_no_error(error);
        g_assert_nonnull(credentials);
}

static void
test_token_missing(Fixture *fixture, const void *data)
{
        char *names[] = { (char *)"pkcs11:token=none;object=none", NULL };

        fixture->options.certificates = g_strdupv(names);
        expect_error(fixture, CREDENTIALS_ERROR_CERTIFICATE, "is no certificate that can be used");
}

static void
test_priority(Fixture *fixture, const void *data)
{
        use_certificate(fixture, "one.pem", "one.key");
        fixture->options.priority = g_strdup("NORMAL:+NONSENSE");
        expect_error(fixture, CREDENTIALS_ERROR_PRIORITY, "at '+NONSENSE'");
}

static void
test_client_authority(Fixture *fixture, const void *data)
{
        g_autofree char *ca = path(fixture, "ca.pem");
        g_autoptr(GError) error = NULL;
        g_autoptr(Credentials) credentials = NULL;

        use_certificate(fixture, "one.pem", "one.key");
        fixture->options.client = CREDENTIALS_CLIENT_REQUIRED;
        fixture->options.ca = path(fixture, "one.key");
        expect_error(fixture, CREDENTIALS_ERROR_CA, "one.key holds no CA certificate");

        g_free(fixture->options.ca);
        fixture->options.ca = g_strdup(ca);
        fixture->options.crls = list(path(fixture, "one.pem"), NULL);
        expect_error(fixture, CREDENTIALS_ERROR_CRL, "one.pem holds no revocation list");

        g_clear_pointer(&fixture->options.crls, g_strfreev);
        credentials = credentials_new_listener(&fixture->options, "main", &error);
        g_assert_no_error(error);
        g_assert_nonnull(credentials);
}

static void
check_pin(Fixture *fixture, const char *pin, bool good)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Credentials) credentials = NULL;

        credentials_options_clear(&fixture->options);
        fixture->options.pins = list(g_strdup(pin), NULL);
        g_assert_false(credentials_options_need_trust(&fixture->options));
        credentials = credentials_new_server(&fixture->options, "h", NULL, &error);
        g_assert_true((credentials != NULL) == good);
        if (!good)
                g_assert_error(error, CREDENTIALS_ERROR, CREDENTIALS_ERROR_PIN);
}

static void
test_pins(Fixture *fixture, const void *data)
{
        check_pin(fixture, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                  true);
        check_pin(fixture,
                  "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:"
                  "99:1B:78:52:B8:55",
                  true);
        check_pin(fixture, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", true);
        check_pin(fixture, "sha256//47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", true);
        check_pin(fixture, "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", true);
        check_pin(fixture, "e3b0c442", false);
        check_pin(fixture, "47DEQpj8HBSa", false);
        check_pin(fixture, "", false);
}

static void
test_who_needs_an_authority(void)
{
        CredentialsOptions options = { .ca = NULL };

        g_assert_true(credentials_options_need_trust(&options));
        options.trusts_all = true;
        g_assert_false(credentials_options_need_trust(&options));
        options.trusts_all = false;
        options.pins = list(g_strdup("x"), NULL);
        g_assert_false(credentials_options_need_trust(&options));
        options.ca = g_strdup("/ca");
        g_assert_true(credentials_options_need_trust(&options));
        credentials_options_clear(&options);
}

int
main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*test)(Fixture *fixture, const void *data);
        } tests[] = {
                { "/credentials/certificate-and-key", test_certificate_and_key },
                { "/credentials/key-in-the-same-file", test_key_in_the_same_file },
                { "/credentials/key-of-another", test_key_of_another },
                { "/credentials/no-such-file", test_no_such_file },
                { "/credentials/too-large-a-file", test_too_large },
                { "/credentials/wrong-content", test_wrong_content },
                { "/credentials/numbers-differ", test_numbers_differ },
                { "/credentials/numbers-of-responses-differ", test_numbers_of_responses_differ },
                { "/credentials/credential-of-systemd", test_credential_of_systemd },
                { "/credentials/token-missing", test_token_missing },
                { "/credentials/priority", test_priority },
                { "/credentials/client-authority", test_client_authority },
                { "/credentials/pins", test_pins },
        };

        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/credentials/who-needs-an-authority", test_who_needs_an_authority);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Fixture, NULL, fixture_set_up, tests[i].test,
                           fixture_tear_down);

        return g_test_run();
}
