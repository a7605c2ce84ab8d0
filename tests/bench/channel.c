/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "channel.h"

#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct ChannelSetup {
        bool is_server, resume;
        gnutls_certificate_credentials_t credentials;
        gnutls_priority_t priority;
        gnutls_datum_t ticket; /* server: the key of tickets; client: what to resume with */
};

static void
check(int result, const char *what)
{
        if (result < 0)
                errx(1, "%s: %s", what, gnutls_strerror(result));
}

/* X25519 for the key, as OpenSSL has it too, and P-256 for the certificate (TLS 1.2 asks); all else
 * is as GnuTLS has it. */
static ChannelSetup *
make_setup(bool is_server, const char *versions)
{
        ChannelSetup *setup = calloc(1, sizeof(*setup));
        char priority[120];

        if (!setup)
                err(1, "memory");
        setup->is_server = is_server;
        snprintf(priority, sizeof(priority),
                 "NORMAL:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:"
                 "-VERS-ALL:%s",
                 versions);
        check(gnutls_priority_init(&setup->priority, priority, NULL), priority);
        check(gnutls_certificate_allocate_credentials(&setup->credentials), "memory");

        return setup;
}

ChannelSetup *
channel_setup_client(const char *version, bool resume)
{
        char versions[20];
        ChannelSetup *setup;

        snprintf(versions, sizeof(versions), "+VERS-TLS%.8s", version);
        setup = make_setup(false, versions);
        setup->resume = resume;

        return setup;
}

ChannelSetup *
channel_setup_server(const char *certificate, bool resume)
{
        ChannelSetup *setup = make_setup(true, "+VERS-TLS1.3:+VERS-TLS1.2");

        check(gnutls_certificate_set_x509_key_file(setup->credentials, certificate, certificate,
                                                   GNUTLS_X509_FMT_PEM),
              certificate);
        if (resume)
                check(gnutls_session_ticket_key_generate(&setup->ticket), "tickets");

        return setup;
}

void
channel_open(Channel *channel, const ChannelSetup *setup, int fd)
{
        *channel = (Channel){ .fd = fd };
        if (!setup)
                return;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
        check(gnutls_init(&channel->tls,
                          GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_KEY_SHARE_TOP |
                                  (setup->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT)),
              "memory");
        check(gnutls_priority_set(channel->tls, setup->priority), "priority");
        check(gnutls_credentials_set(channel->tls, GNUTLS_CRD_CERTIFICATE, setup->credentials),
              "credentials");
        if (setup->ticket.size == 0)
                ; /* a full handshake */
        else if (setup->is_server)
                check(gnutls_session_ticket_enable_server(channel->tls, &setup->ticket), "tickets");
        else
                check(gnutls_session_set_data(channel->tls, setup->ticket.data, setup->ticket.size),
                      "resumption");
        gnutls_transport_set_int(channel->tls, fd);
        gnutls_handshake_set_timeout(channel->tls, 0); /* the whole run has a limit */
}

/* GnuTLS also says "again" after a message that carries no data, where the kernel has more. */
static bool
has_more(const Channel *channel)
{
        char byte;

        return recv(channel->fd, &byte, 1, MSG_PEEK) >= 0;
}

int
channel_handshake(Channel *channel)
{
        int result;

        do
                result = gnutls_handshake(channel->tls);
        while (result < 0 && !gnutls_error_is_fatal(result) &&
               (result != GNUTLS_E_AGAIN ||
                (gnutls_record_get_direction(channel->tls) == 0 && has_more(channel))));
        if (result == GNUTLS_E_AGAIN)
                return 0;
        if (result < 0)
                fprintf(stderr, "handshake: %s\n", gnutls_strerror(result));

        return result < 0 ? -1 : 1;
}

ssize_t
channel_recv(Channel *channel, void *buffer, size_t size)
{
        ssize_t n;

        if (!channel->tls)
                return recv(channel->fd, buffer, size, 0);

        do
                n = gnutls_record_recv(channel->tls, buffer, size);
        while (n == GNUTLS_E_INTERRUPTED || (n == GNUTLS_E_AGAIN && has_more(channel)));
        if (n == GNUTLS_E_PREMATURE_TERMINATION)
                return 0; /* an end without close_notify is one too */
        if (n < 0) {
                errno = n == GNUTLS_E_AGAIN ? EAGAIN : EIO;
                return -1;
        }

        return n;
}

ssize_t
channel_send(Channel *channel, const void *data, size_t size)
{
        ssize_t n;

        if (!channel->tls)
                return send(channel->fd, data, size, MSG_NOSIGNAL);

        do
                n = gnutls_record_send(channel->tls, data, size);
        while (n == GNUTLS_E_INTERRUPTED);
        if (n < 0) {
                errno = n == GNUTLS_E_AGAIN ? EAGAIN : EIO;
                return -1;
        }

        return n;
}

bool
channel_can_resume(const ChannelSetup *setup)
{
        return setup->ticket.size > 0;
}

bool
channel_is_resumed(const Channel *channel)
{
        return channel->tls && gnutls_session_is_resumed(channel->tls);
}

void
channel_keep(const Channel *channel, ChannelSetup *setup)
{
        if (!channel->tls || !setup->resume)
                return;

        /* With TLS 1.3 GnuTLS would wait for a ticket that isn't there. */
        if (gnutls_protocol_get_version(channel->tls) == GNUTLS_TLS1_3 &&
            !(gnutls_session_get_flags(channel->tls) & GNUTLS_SFLAGS_SESSION_TICKET))
                return;

        gnutls_free(setup->ticket.data);
        check(gnutls_session_get_data2(channel->tls, &setup->ticket), "resumption");
}

void
channel_shut(Channel *channel)
{
        if (channel->tls)
                gnutls_bye(channel->tls, GNUTLS_SHUT_WR);
        shutdown(channel->fd, SHUT_WR);
}

void
channel_close(Channel *channel)
{
        if (channel->tls) {
                gnutls_bye(channel->tls, GNUTLS_SHUT_WR);
                gnutls_deinit(channel->tls);
        }
        close(channel->fd);
}
