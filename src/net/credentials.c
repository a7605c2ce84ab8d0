/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A session is resumed without looking at certificates, so what it is resumed with must not outlive
 * the settings it was checked against. A server's is kept here, and ends with its credentials. A
 * client's is in a ticket that only we can read: all tickets come from one master key, made at the
 * start, and each listener's from the master key, its name and what its clients are checked
 * against. So a reload keeps tickets good, unless it changes that. From a listener's key GnuTLS
 * makes a new one every few hours (TOTP), the same on every worker.
 */

#include "net/credentials.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include <gnutls/crypto.h>
#include <gnutls/x509.h>

#define TICKET_KEY_SIZE 64 /* of gnutls_session_ticket_key_generate() */
#define PIN_SIZE        32
#define RESUMPTION_TIME G_TIME_SPAN_DAY /* after that a server shows its certificate anew */

/* TLS 1.3 first, nothing without forward secrecy, and the cheapest curve first. AES-128 comes
 * before AES-256 since SHA-256 comes with it, which processors do in hardware: SHA-384 would be a
 * twentieth of a session's cost. */
#define FALLBACK                                                                                   \
        "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:"   \
        "+CHACHA20-POLY1305:+AES-128-CCM:+AES-256-CCM:-GROUP-ALL:+GROUP-X25519:"                   \
        "+GROUP-SECP256R1:+GROUP-SECP384R1:+GROUP-SECP521R1:+GROUP-FFDHE2048:+GROUP-FFDHE3072"

typedef struct Own {
        char *where;
        gint64 expires;
} Own;

struct Credentials {
        int refs; /* atomic */
        bool is_listener, fails_on_truncation, trusts_all;
        gnutls_certificate_credentials_t certificates;
        gnutls_priority_t priority;
        GArray *own;  /* of Own */
        Trust *trust; /* NULL: no CA is asked */

        CredentialsClient client;
        gnutls_datum_t ticket_key;

        char *name; /* NULL: none is looked for */
        bool has_sni;
        GArray *pins; /* of uint8_t[PIN_SIZE] */
        pthread_mutex_t lock;
        gnutls_datum_t resumption; /* behind the lock */
        gint64 saved;              /* when that was; behind the lock too */
        char *warning;             /* NULL: none */
};

void
credentials_options_clear(CredentialsOptions *options)
{
        g_strfreev(options->certificates);
        g_strfreev(options->private_keys);
        g_strfreev(options->crls);
        g_free(options->ca);
        g_free(options->priority);
        g_strfreev(options->ocsp_responses);
        g_free(options->name);
        g_strfreev(options->pins);
        *options = (CredentialsOptions){ .ca = NULL };
}

static size_t
count(GStrv list)
{
        return list ? g_strv_length(list) : 0;
}

static bool
is_set(const char *text)
{
        return text && *text;
}

bool
credentials_options_need_trust(const CredentialsOptions *options)
{
        return !options->trusts_all && (count(options->pins) == 0 || is_set(options->ca));
}

static void
own_clear(void *data)
{
        g_free(((Own *)data)->where);
}

/* Called by GnuTLS in the middle of a handshake, so that the peer is told. */
static int
credentials_verify(gnutls_session_t session)
{
        CredentialsVerdict *verdict = gnutls_session_get_ptr(session);

        verdict->fault = credentials_check_peer(verdict->credentials, session);

        return verdict->fault ? GNUTLS_E_CERTIFICATE_ERROR : 0;
}

static Credentials *
credentials_new(bool is_listener)
{
        Credentials *credentials = g_new0(Credentials, 1);

        credentials->refs = 1;
        credentials->is_listener = is_listener;
        credentials->own = g_array_new(FALSE, FALSE, sizeof(Own));
        credentials->pins = g_array_new(FALSE, FALSE, PIN_SIZE);
        g_array_set_clear_func(credentials->own, own_clear);
        pthread_mutex_init(&credentials->lock, NULL);
        if (gnutls_certificate_allocate_credentials(&credentials->certificates) < 0)
                g_error("Out of memory");
        gnutls_certificate_set_verify_function(credentials->certificates, credentials_verify);

        return credentials;
}

Credentials *
credentials_ref(Credentials *credentials)
{
        __atomic_add_fetch(&credentials->refs, 1, __ATOMIC_RELAXED);

        return credentials;
}

void
credentials_unref(Credentials *credentials)
{
        if (!credentials || __atomic_sub_fetch(&credentials->refs, 1, __ATOMIC_ACQ_REL) > 0)
                return;

        gnutls_certificate_free_credentials(credentials->certificates);
        if (credentials->priority)
                gnutls_priority_deinit(credentials->priority);
        gnutls_memset(credentials->ticket_key.data, 0, credentials->ticket_key.size);
        gnutls_free(credentials->ticket_key.data);
        gnutls_free(credentials->resumption.data);
        g_free(credentials->warning);
        pthread_mutex_destroy(&credentials->lock);
        trust_unref(credentials->trust);
        g_array_unref(credentials->own);
        g_array_unref(credentials->pins);
        g_free(credentials->name);
        g_free(credentials);
}

/* @text, or the policy of this distribution, or what we think best. */
static bool
credentials_set_priority(Credentials *credentials, const char *text, GError **error)
{
        const char *fault = NULL;
        int result;

        if (is_set(text)) {
                result = gnutls_priority_init(&credentials->priority, text, &fault);
                if (result >= 0)
                        return true;
                g_set_error(error, CREDENTIALS_ERROR, CREDENTIALS_ERROR_PRIORITY,
                            "'%s' is no list of priorities: %s at '%s'", text,
                            gnutls_strerror(result), fault ? fault : text);
                return false;
        }

        if (gnutls_priority_init(&credentials->priority, "@SYSTEM", &fault) < 0) {
                result = gnutls_priority_init(
                        &credentials->priority,
                        credentials->is_listener ? FALLBACK ":%SERVER_PRECEDENCE" : FALLBACK,
                        &fault);
                g_assert(result >= 0);
        }

        return true;
}

static bool
credentials_load_own(Credentials *credentials, const CredentialsOptions *options, GError **error)
{
        size_t n = count(options->certificates), n_keys = count(options->private_keys);

        if (n_keys > 0 && n_keys != n) {
                g_set_error(error, CREDENTIALS_ERROR, CREDENTIALS_ERROR_PRIVATE_KEY,
                            "%zu keys don't go with %zu certificates: write one for each", n_keys,
                            n);
                return false;
        }

        for (size_t i = 0; i < n; i++) {
                const char *where = options->certificates[i];
                Own own = { .expires = 0 };

                if (!certificate_load(credentials->certificates, where,
                                      n_keys > 0 ? options->private_keys[i] : where, &own.expires,
                                      error))
                        return false;
                own.where = certificate_describe(where);
                g_array_append_val(credentials->own, own);
        }

        return true;
}

static bool
credentials_load_staples(Credentials *credentials, GStrv responses, GError **error)
{
        size_t n = count(responses);

        if (n > 0 && n != credentials->own->len) {
                g_set_error(error, CREDENTIALS_ERROR, CREDENTIALS_ERROR_OCSP,
                            "%zu responses don't go with %u certificates: write one for each", n,
                            credentials->own->len);
                return false;
        }

        for (size_t i = 0; i < n; i++) {
                g_autoptr(GBytes) bytes =
                        certificate_get_file(responses[i], CREDENTIALS_ERROR_OCSP, error);
                gnutls_datum_t datum;
                int result;

                if (!bytes)
                        return false;
                datum = certificate_get_datum(bytes);
                result = gnutls_certificate_set_ocsp_status_request_mem(
                        credentials->certificates, &datum, (unsigned)i,
                        datum.size > 0 && datum.data[0] == '-' ? GNUTLS_X509_FMT_PEM
                                                               : GNUTLS_X509_FMT_DER);
                if (result == GNUTLS_E_EXPIRED) {
                        g_free(credentials->warning);
                        credentials->warning = g_strdup_printf(
                                "The OCSP response %s has ended and is left out", responses[i]);
                } else if (result < 0) {
                        certificate_set_error(error, CREDENTIALS_ERROR_OCSP, responses[i],
                                              "is no OCSP response for the certificate", result);
                        return false;
                }
        }

        return true;
}

static GBytes *
make_ticket_secret(void)
{
        gnutls_datum_t key;
        GBytes *secret;

        if (gnutls_session_ticket_key_generate(&key) < 0)
                g_error("No random numbers for the key of session tickets");
        secret = g_bytes_new(key.data, key.size);
        gnutls_memset(key.data, 0, key.size);
        gnutls_free(key.data);

        return secret;
}

/* It stays until the process ends. @new: what it is to be from now on, NULL to leave it. */
static GBytes *
ticket_secret(GBytes *new)
{
        static GBytes *secret;

        if (new) {
                g_bytes_unref(secret);
                secret = g_bytes_ref(new);
        }
        if (!secret)
                secret = make_ticket_secret();

        return secret;
}

GBytes *
credentials_get_ticket_secret(void)
{
        return ticket_secret(NULL);
}

void
credentials_set_ticket_secret(GBytes *secret)
{
        ticket_secret(secret);
}

/* Adds a file's content to what the key is made of; that it can be read is known already. */
static void
hash_file(gnutls_hmac_hd_t hash, const char *where)
{
        g_autoptr(GBytes) bytes = certificate_get_file(where, CREDENTIALS_ERROR_CA, NULL);

        if (bytes)
                gnutls_hmac(hash, g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
}

static void
credentials_make_ticket_key(Credentials *credentials,
                            const CredentialsOptions *options,
                            const char *name)
{
        gsize size;
        const void *secret = g_bytes_get_data(ticket_secret(NULL), &size);
        uint8_t digest[64];
        gnutls_hmac_hd_t hash;

        if (gnutls_hmac_init(&hash, GNUTLS_MAC_SHA512, secret, size) < 0)
                g_error("Out of memory");
        gnutls_hmac(hash, name, strlen(name) + 1);
        gnutls_hmac(hash, &options->client, sizeof(options->client));
        if (options->client != CREDENTIALS_CLIENT_NONE) {
                if (is_set(options->ca))
                        hash_file(hash, options->ca);
                for (size_t i = 0; i < count(options->crls); i++)
                        hash_file(hash, options->crls[i]);
        }
        gnutls_hmac_deinit(hash, digest);

        /* gnutls_session_ticket_enable_server() wants TICKET_KEY_SIZE bytes. */
        credentials->ticket_key.data = gnutls_malloc(TICKET_KEY_SIZE);
        credentials->ticket_key.size = TICKET_KEY_SIZE;
        memcpy(credentials->ticket_key.data, digest, TICKET_KEY_SIZE);
        gnutls_memset(digest, 0, sizeof(digest));
}

Credentials *
credentials_new_listener(const CredentialsOptions *options, const char *name, GError **error)
{
        g_autoptr(Credentials) credentials = credentials_new(true);

        credentials->fails_on_truncation = options->fails_on_truncation;
        credentials->client = options->client;
        if (!credentials_set_priority(credentials, options->priority, error) ||
            !credentials_load_own(credentials, options, error) ||
            !credentials_load_staples(credentials, options->ocsp_responses, error))
                return NULL;

        if (options->client != CREDENTIALS_CLIENT_NONE) {
                credentials->trust =
                        trust_new(options->ca, (const char *const *)options->crls, error);
                if (!credentials->trust)
                        return NULL;
        }
        credentials_make_ticket_key(credentials, options, name);

        return g_steal_pointer(&credentials);
}

/* 64 digits, with or without colons, or base64, with or without "sha256/" or "sha256//" as other
 * programs write it. */
static bool
parse_pin(const char *text, uint8_t pin[PIN_SIZE])
{
        g_autofree char *digits = g_strdup(text);
        g_autofree guchar *bytes = NULL;
        size_t n = 0;

        for (const char *from = text; *from; from++)
                if (*from != ':')
                        digits[n++] = *from;
        digits[n] = '\0';

        if (n == 2 * PIN_SIZE && strspn(digits, "0123456789abcdefABCDEF") == n) {
                for (size_t i = 0; i < PIN_SIZE; i++)
                        pin[i] = (uint8_t)(g_ascii_xdigit_value(digits[2 * i]) << 4 |
                                           g_ascii_xdigit_value(digits[2 * i + 1]));
                return true;
        }

        if (g_str_has_prefix(text, "sha256/"))
                text += strlen("sha256/");
        if (*text == '/' && strlen(text) == 45)
                text++;
        if (strlen(text) != 44 || text[43] != '=')
                return false;

        bytes = g_base64_decode(text, &n);
        if (n != PIN_SIZE)
                return false;
        memcpy(pin, bytes, PIN_SIZE);

        return true;
}

static bool
credentials_add_pins(Credentials *credentials, GStrv pins, GError **error)
{
        for (size_t i = 0; i < count(pins); i++) {
                uint8_t pin[PIN_SIZE];

                if (!parse_pin(pins[i], pin)) {
                        g_set_error(error, CREDENTIALS_ERROR, CREDENTIALS_ERROR_PIN,
                                    "'%s' is no SHA-256 of a public key: write 64 hexadecimal "
                                    "digits or base64",
                                    pins[i]);
                        return false;
                }
                g_array_append_vals(credentials->pins, pin, 1);
        }

        return true;
}

Credentials *
credentials_new_server(const CredentialsOptions *options,
                       const char *host,
                       Trust *trust,
                       GError **error)
{
        g_autoptr(Credentials) credentials = credentials_new(false);
        const char *name = is_set(options->name) ? options->name : host;

        credentials->fails_on_truncation = options->fails_on_truncation;
        credentials->trusts_all = options->trusts_all;
        credentials->name = g_strdup(name);
        credentials->has_sni = name && !g_hostname_is_ip_address(name);
        if (!credentials_set_priority(credentials, options->priority, error) ||
            !credentials_load_own(credentials, options, error) ||
            !credentials_add_pins(credentials, options->pins, error))
                return NULL;

        if (credentials_options_need_trust(options)) {
                credentials->trust =
                        trust ? trust_ref(trust)
                              : trust_new(options->ca, (const char *const *)options->crls, error);
                if (!credentials->trust)
                        return NULL;
        }

        return g_steal_pointer(&credentials);
}

const char *
credentials_get_certificate(const Credentials *credentials, size_t i, gint64 *expires)
{
        const Own *own;

        if (i >= credentials->own->len)
                return NULL;

        own = &g_array_index(credentials->own, Own, i);
        *expires = own->expires;

        return own->where;
}

const char *
credentials_get_warning(const Credentials *credentials)
{
        if (credentials->warning || !credentials->trust)
                return credentials->warning;

        return trust_get_warning(credentials->trust);
}

bool
credentials_are_listeners(const Credentials *credentials)
{
        return credentials->is_listener;
}

bool
credentials_fail_on_truncation(const Credentials *credentials)
{
        return credentials->fails_on_truncation;
}

static int
credentials_set_up_client(Credentials *credentials, gnutls_session_t session)
{
        int result = 0;

        if (credentials->has_sni)
                result = gnutls_server_name_set(session, GNUTLS_NAME_DNS, credentials->name,
                                                strlen(credentials->name));

        pthread_mutex_lock(&credentials->lock);
        if (credentials->resumption.size > 0 &&
            g_get_monotonic_time() - credentials->saved < RESUMPTION_TIME)
                gnutls_session_set_data(session, credentials->resumption.data,
                                        credentials->resumption.size);
        pthread_mutex_unlock(&credentials->lock);

        return result;
}

static int
credentials_set_up_server(Credentials *credentials, gnutls_session_t session)
{
        static const gnutls_certificate_request_t requests[] = {
                [CREDENTIALS_CLIENT_NONE] = GNUTLS_CERT_IGNORE,
                [CREDENTIALS_CLIENT_OPTIONAL] = GNUTLS_CERT_REQUEST,
                [CREDENTIALS_CLIENT_REQUIRED] = GNUTLS_CERT_REQUIRE,
        };

        gnutls_certificate_server_set_request(session, requests[credentials->client]);

        /* Whoever it is may make us hold so much of a message; certificates need some room. */
        gnutls_handshake_set_max_packet_length(
                session, credentials->client == CREDENTIALS_CLIENT_NONE ? 16 * 1024 : 64 * 1024);

        return gnutls_session_ticket_enable_server(session, &credentials->ticket_key);
}

int
credentials_open_session(Credentials *credentials, gnutls_session_t *session)
{
        unsigned flags =
                GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL |
                (credentials->is_listener ? GNUTLS_SERVER : GNUTLS_CLIENT | GNUTLS_KEY_SHARE_TOP);
        int result = gnutls_init(session, flags);

        if (result < 0)
                return result;

        result = gnutls_priority_set(*session, credentials->priority);
        if (result >= 0)
                result = gnutls_credentials_set(*session, GNUTLS_CRD_CERTIFICATE,
                                                credentials->certificates);
        if (result >= 0)
                result = credentials->is_listener
                                 ? credentials_set_up_server(credentials, *session)
                                 : credentials_set_up_client(credentials, *session);
        if (result < 0) {
                gnutls_deinit(*session);
                *session = NULL;
        }

        return result;
}

static bool
credentials_match_pin(const Credentials *credentials, gnutls_session_t session)
{
        unsigned n = 0;
        const gnutls_datum_t *peers = gnutls_certificate_get_peers(session, &n);
        uint8_t digest[PIN_SIZE];
        size_t size = sizeof(digest);
        gnutls_x509_crt_t leaf;
        bool found = false;

        if (n == 0 || gnutls_x509_crt_init(&leaf) < 0)
                return false;

        if (gnutls_x509_crt_import(leaf, &peers[0], GNUTLS_X509_FMT_DER) >= 0 &&
            gnutls_x509_crt_get_key_id(leaf, GNUTLS_KEYID_USE_SHA256, digest, &size) >= 0)
                for (unsigned i = 0; i < credentials->pins->len; i++)
                        found |= memcmp(credentials->pins->data + i * PIN_SIZE, digest, PIN_SIZE) ==
                                 0;
        gnutls_x509_crt_deinit(leaf);

        return found;
}

const char *
credentials_check_peer(const Credentials *credentials, gnutls_session_t session)
{
        unsigned n = 0;

        gnutls_certificate_get_peers(session, &n);
        if (credentials->is_listener && (n == 0 || credentials->client == CREDENTIALS_CLIENT_NONE))
                return credentials->client == CREDENTIALS_CLIENT_REQUIRED
                               ? "the client certificate is missing"
                               : NULL;
        if (credentials->pins->len > 0 && !credentials_match_pin(credentials, session))
                return "the public key is not the one of TLSPin=";
        if (!credentials->trust)
                return NULL;

        return trust_check(credentials->trust, session,
                           credentials->is_listener ? TRUST_CLIENT : TRUST_SERVER,
                           credentials->name);
}

void
credentials_save_session(Credentials *credentials, gnutls_session_t session)
{
        gnutls_datum_t data = { .size = 0 }, old;

        if (gnutls_session_get_data2(session, &data) < 0)
                return;

        pthread_mutex_lock(&credentials->lock);
        old = credentials->resumption;
        credentials->resumption = data;
        credentials->saved = g_get_monotonic_time();
        pthread_mutex_unlock(&credentials->lock);

        gnutls_free(old.data);
}

void
credentials_forget_session(Credentials *credentials)
{
        pthread_mutex_lock(&credentials->lock);
        gnutls_free(credentials->resumption.data);
        credentials->resumption = (gnutls_datum_t){ .size = 0 };
        pthread_mutex_unlock(&credentials->lock);
}
