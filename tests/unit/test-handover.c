/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib.h>

#include "daemon/handover.h"

static Handover *
make_handover(void)
{
        Handover *handover = handover_new();

        handover->channel = 4;
        handover->ledger = 5;
        handover->process = 63;
        handover->ticket_secret = g_bytes_new("\0\1\2=\n", 5);
        handover_add_socket(handover, 6, NULL);
        handover_add_socket(handover, 7, "plain");
        handover_add_socket(handover, 8, " [odd]=\n;\\ ");
        handover_add_socket(handover, 9, "");

        return handover;
}

static void
test_what_is_printed_is_read(void)
{
        g_autoptr(Handover) handover = make_handover();
        g_autofree char *text = handover_print(handover);
        g_autoptr(GError) error = NULL;
        g_autoptr(Handover) read = handover_parse(text, strlen(text), &error);

        g_assert_no_error(error);
        g_assert_cmpint(read->channel, ==, 4);
        g_assert_cmpint(read->ledger, ==, 5);
        g_assert_cmpuint(read->process, ==, 63);
        g_assert_true(g_bytes_equal(read->ticket_secret, handover->ticket_secret));
        g_assert_cmpuint(read->sockets->len, ==, 4);
        for (unsigned i = 0; i < 4; i++) {
                HandoverSocket *a = &g_array_index(handover->sockets, HandoverSocket, i);
                HandoverSocket *b = &g_array_index(read->sockets, HandoverSocket, i);

                g_assert_cmpint(a->fd, ==, b->fd);
                g_assert_cmpstr(a->name, ==, b->name);
        }
}

static void
test_unknown_keys_are_left_alone(void)
{
        g_autoptr(Handover) handover = make_handover();
        g_autofree char *text = handover_print(handover);
        g_autofree char *more = g_strconcat(text, "\n[Handover]\nNew=1\n[Other x]\nKey=2\n", NULL);
        g_autoptr(Handover) read = handover_parse(more, strlen(more), NULL);

        g_assert_nonnull(read);
        g_assert_cmpuint(read->sockets->len, ==, 4);
}

static void
test_junk_is_refused(void)
{
        static const char *const texts[] = {
                "",
                "junk",
                "[Handover]\nChannel=4\nLedger=5\nProcess=1\n",
                "[Handover]\nChannel=4\nLedger=5\nProcess=1\nTicketSecret=\n",
                "[Handover]\nChannel=x\nLedger=5\nProcess=1\nTicketSecret=QUJD\n",
                "[Handover]\nChannel=2\nLedger=5\nProcess=1\nTicketSecret=QUJD\n",
                "[Handover]\nChannel=5\nLedger=5\nProcess=1\nTicketSecret=QUJD\n",
                "[Handover]\nChannel=4\nLedger=5\nTicketSecret=QUJD\n",
                "[Handover]\nChannel=4\nLedger=5\nProcess=1\nTicketSecret=QUJD\n[Socket 5]\n",
                "[Handover]\nChannel=4\nLedger=5\nProcess=1\nTicketSecret=QUJD\n[Socket -1]\n",
                "[Handover]\nChannel=4\nLedger=5\nProcess=1\nTicketSecret=QUJD\n[Socket x]\n",
                ("[Handover]\nChannel=4\nLedger=5\nProcess=1\nTicketSecret=QUJD\n[Socket 7]\n"
                 "Passed=true\n"),
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autoptr(GError) error = NULL;

                g_assert_null(handover_parse(texts[i], strlen(texts[i]), &error));
                g_assert_nonnull(error);
        }
}

static void
assert_receives(int channel, HandoverMessage message, const char *text)
{
        g_autofree char *got = NULL;

        g_assert_cmpint(handover_receive(channel, &got), ==, message);
        g_assert_cmpstr(got, ==, text);
}

static void
test_messages(void)
{
        g_autofree char *text = NULL;
        char long_text[8192];
        int channel[2];

        memset(long_text, 'x', sizeof(long_text));
        long_text[sizeof(long_text) - 1] = '\0';
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), ==, 0);

        assert_receives(channel[0], HANDOVER_NOTHING, NULL);
        g_assert_true(handover_send(channel[1], HANDOVER_FAILED, "one\ntwo \xff"));
        g_assert_true(handover_send(channel[1], HANDOVER_READY, NULL));
        g_assert_true(handover_send(channel[1], HANDOVER_FAILED, long_text));
        g_assert_cmpint(send(channel[1], "LATER x", 7, 0), ==, 7);
        g_assert_cmpint(send(channel[1], "junk", 4, 0), ==, 4);

        assert_receives(channel[0], HANDOVER_FAILED, "one two \xef\xbf\xbd");
        assert_receives(channel[0], HANDOVER_READY, "");
        g_assert_cmpint(handover_receive(channel[0], &text), ==, HANDOVER_FAILED);
        g_assert_true(g_str_has_prefix(long_text, text));
        assert_receives(channel[0], HANDOVER_NOTHING, NULL);
        assert_receives(channel[0], HANDOVER_NOTHING, NULL);

        close(channel[1]);
        assert_receives(channel[0], HANDOVER_END, NULL);
        g_assert_false(handover_send(channel[0], HANDOVER_GO, NULL));
        close(channel[0]);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/handover/what-is-printed-is-read", test_what_is_printed_is_read);
        g_test_add_func("/handover/unknown-keys-are-left-alone", test_unknown_keys_are_left_alone);
        g_test_add_func("/handover/junk-is-refused", test_junk_is_refused);
        g_test_add_func("/handover/messages", test_messages);

        return g_test_run();
}
