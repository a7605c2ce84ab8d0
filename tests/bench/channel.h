/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <gnutls/gnutls.h>

/*
 * A connection of a benchmark program: plain, or TLS. It is watched edge-triggered, and what says
 * EAGAIN here was said EAGAIN by the kernel, so that another edge will come.
 */
typedef struct Channel {
        int fd;
        gnutls_session_t tls; /* NULL: plain */
} Channel;

/* What all connections of a program have in common. */
typedef struct ChannelSetup ChannelSetup;

/* @version: "1.2" or "1.3". With @resume each session is resumed with what the one before it left
 * behind. Ends the program when TLS can't be set up. */
ChannelSetup *channel_setup_client(const char *version, bool resume);

/* @certificate: a file with the certificate and its key. @resume: lets clients resume sessions. */
ChannelSetup *channel_setup_server(const char *certificate, bool resume);

/* Takes @fd. Plain when @setup is NULL. */
void channel_open(Channel *channel, const ChannelSetup *setup, int fd);

/* 1 when it is done, 0 when it has to wait, -1 when it failed. */
int channel_handshake(Channel *channel);

/* As recv() and send() do. */
ssize_t channel_recv(Channel *channel, void *buffer, size_t size);
ssize_t channel_send(Channel *channel, const void *data, size_t size);

/* Whether the next session of a client will be resumed. */
bool channel_can_resume(const ChannelSetup *setup);
bool channel_is_resumed(const Channel *channel);

/* Keeps what a client's next session can be resumed with. To be called when the server has sent
 * data, and before its end, since one without close_notify makes the session useless. */
void channel_keep(const Channel *channel, ChannelSetup *setup);

/* An end of one direction, and of both. */
void channel_shut(Channel *channel);
void channel_close(Channel *channel);
