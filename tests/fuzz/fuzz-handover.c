/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is an offer as a successor reads it, and a message on the channel. An offer that is
 * understood must be printed so that it is understood as the same again; a message must be one
 * valid line, or nothing.
 */
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "daemon/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
assert_same(const Handover *a, const Handover *b)
{
        g_assert_cmpint(a->channel, ==, b->channel);
        g_assert_cmpint(a->ledger, ==, b->ledger);
        g_assert_cmpuint(a->process, ==, b->process);
        g_assert_true(g_bytes_equal(a->ticket_secret, b->ticket_secret));
        g_assert_cmpuint(a->sockets->len, ==, b->sockets->len);
        for (unsigned i = 0; i < a->sockets->len; i++) {
                const HandoverSocket *one = &g_array_index(a->sockets, HandoverSocket, i);
                const HandoverSocket *two = &g_array_index(b->sockets, HandoverSocket, i);

                g_assert_cmpint(one->fd, ==, two->fd);
                g_assert_cmpstr(one->name, ==, two->name);
        }
}

static void
check_offer(const char *text, size_t size)
{
        g_autoptr(GError) error = NULL;
        g_autoptr(Handover) handover = handover_parse(text, size, &error);
        g_autoptr(Handover) again = NULL;
        g_autofree char *printed = NULL;

        g_assert_true(!handover == (error != NULL));
        if (!handover)
                return;

        printed = handover_print(handover);
        again = handover_parse(printed, strlen(printed), NULL);
        g_assert_nonnull(again);
        assert_same(handover, again);
}

static void
check_message(const char *text, size_t size)
{
        g_autofree char *got = NULL;
        int channel[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), ==, 0);
        if (size > 0 && send(channel[0], text, size, MSG_DONTWAIT) == (ssize_t)size &&
            handover_receive(channel[1], &got) != HANDOVER_NOTHING) {
                g_assert_true(g_utf8_validate(got, -1, NULL));
                g_assert_null(strpbrk(got, "\r\n"));
        } else {
                g_assert_null(got);
        }
        close(channel[0]);
        close(channel[1]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        g_autofree char *text = g_malloc(size + 1);

        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        check_offer(text, size);
        check_message(text, size);

        return 0;
}
