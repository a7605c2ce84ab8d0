/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The dialogue: when a command is replied to, and which lines of the client are no replies. */
#include <string.h>

#include <glib.h>

#include "agi/agi-dialogue.h"

static void
command(AgiDialogue *dialogue, const char *line)
{
        g_autofree char *exact = g_memdup2(line, strlen(line));

        agi_dialogue_command(dialogue, exact, strlen(line));
}

static void
reply_bytes(AgiDialogue *dialogue, const char *text, size_t size)
{
        g_autofree char *exact = g_memdup2(text, size);

        agi_dialogue_reply(dialogue, exact, size);
}

static void
reply(AgiDialogue *dialogue, const char *text)
{
        reply_bytes(dialogue, text, strlen(text));
}

static void
assert_same(const AgiDialogue *a, const AgiDialogue *b)
{
        g_assert_true(a->outstanding == b->outstanding);
        g_assert_true(a->hung_up == b->hung_up);
        g_assert_true(a->failed == b->failed);
        g_assert_true(a->in_usage == b->in_usage);
        g_assert_cmpuint(a->commands, ==, b->commands);
        g_assert_cmpuint(a->replies, ==, b->replies);
        g_assert_cmpmem(a->head, a->n_head, b->head, b->n_head);
}

/* A dialogue with one command passed on. */
static AgiDialogue
asked(void)
{
        AgiDialogue dialogue;

        agi_dialogue_init(&dialogue);
        command(&dialogue, "ANSWER\n");
        g_assert_true(dialogue.outstanding);
        g_assert_cmpuint(dialogue.commands, ==, 1);
        return dialogue;
}

static AgiLine
classify(const char *line, size_t length)
{
        g_autofree char *exact = g_memdup2(line, length);

        return agi_dialogue_classify(exact, length);
}

static void
test_any_line_is_a_command(void)
{
        static const char *const lines[] = {
                "ANSWER\n",           "\n",    "\r\n", "FAIL\n", " FAILURE\n", "failur",
                "GET / HTTP/1.1\r\n", "\xff\n"
        };

        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
                g_assert_cmpint(classify(lines[i], strlen(lines[i])), ==, AGI_LINE_COMMAND);
        g_assert_cmpint(classify("", 0), ==, AGI_LINE_COMMAND);
        g_assert_cmpint(classify("A\0\n", 3), ==, AGI_LINE_COMMAND);
}

static void
test_failure_in_any_case(void)
{
        static const char *const lines[] = { "FAILURE\n", "failure\n", "Failure",
                                             "failures happen\n", "FAILURE\r\n" };

        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
                g_assert_cmpint(classify(lines[i], strlen(lines[i])), ==, AGI_LINE_FAILURE);
}

static void
test_nul_is_swallowed(void)
{
        AgiDialogue dialogue;

        g_assert_cmpint(classify("\0ANSWER\n", 8), ==, AGI_LINE_SWALLOWED);

        agi_dialogue_init(&dialogue);
        agi_dialogue_command(&dialogue, "\0ANSWER\n", 8);
        g_assert_false(dialogue.outstanding);
        g_assert_cmpuint(dialogue.commands, ==, 0);
}

static void
test_nothing_is_outstanding_after_failure(void)
{
        AgiDialogue dialogue;

        agi_dialogue_init(&dialogue);
        command(&dialogue, "FAILURE\n");
        g_assert_true(dialogue.failed);
        g_assert_false(dialogue.outstanding);

        command(&dialogue, "ANSWER\n");
        g_assert_false(dialogue.outstanding);
        g_assert_cmpuint(dialogue.commands, ==, 0);

        /* Which is what the client says to that, and no hang-up of the caller's. */
        reply(&dialogue, "HANGUP\n");
        g_assert_false(dialogue.hung_up);
}

static void
test_reply_ends_the_command(void)
{
        static const char *const replies[] = {
                "200 result=0\n",
                "200 result=1 (15551234567)\n",
                "200 result=-1 endpos=0\n",
                "510 Invalid or unknown command\n",
                "511 Command Not Permitted on a dead channel or intercept routine\n",
                "520 Invalid command syntax.  Proper usage not available.\n",
                "200 result=0\r\n",
                "200 \n",
                "503-x\n",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
                AgiDialogue dialogue = asked();

                reply(&dialogue, replies[i]);
                g_assert_false(dialogue.outstanding);
                g_assert_false(dialogue.hung_up);
                g_assert_cmpuint(dialogue.replies, ==, 1);
        }
}

static void
test_reply_without_its_end_does_not_count(void)
{
        AgiDialogue dialogue = asked();

        reply(&dialogue, "200 result=0");
        g_assert_true(dialogue.outstanding);
        reply(&dialogue, "\n");
        g_assert_false(dialogue.outstanding);
}

static void
test_other_lines_are_no_reply(void)
{
        static const char *const lines[] = { "\n",       "200\n",
                                             "20 x\n",   "2000 x\n",
                                             " 200 x\n", "abc def\n",
                                             "200\r\n",  "rest of a value)\n" };

        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                AgiDialogue dialogue = asked();

                reply(&dialogue, lines[i]);
                g_assert_true(dialogue.outstanding);
                g_assert_cmpuint(dialogue.replies, ==, 0);
        }
}

static void
test_reply_without_command_counts_nothing(void)
{
        AgiDialogue dialogue;

        agi_dialogue_init(&dialogue);
        reply(&dialogue, "200 result=0\n520-Invalid\n");
        g_assert_cmpuint(dialogue.replies, ==, 0);
        g_assert_false(dialogue.in_usage);
}

static void
test_provisional_does_not_end_the_command(void)
{
        AgiDialogue dialogue = asked();

        reply(&dialogue, "100 result=0 Trying...\n");
        g_assert_true(dialogue.outstanding);
        reply(&dialogue, "200 result=0 Gosub complete\n");
        g_assert_false(dialogue.outstanding);
        g_assert_cmpuint(dialogue.replies, ==, 1);
}

static void
test_usage_ends_with_its_last_line(void)
{
        static const char *const lines[] = { "520-Invalid command syntax.  Proper usage follows:\n",
                                             " Usage: STREAM FILE FILENAME ESCAPE DIGITS\n",
                                             "\n",
                                             "100 of these are no reply\n",
                                             "HANGUP\n",
                                             "520\n",
                                             "520-again\n" };
        AgiDialogue dialogue = asked();

        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                reply(&dialogue, lines[i]);
                g_assert_true(dialogue.in_usage);
                g_assert_true(dialogue.outstanding);
        }
        reply(&dialogue, "520 End of proper usage.\n");
        g_assert_false(dialogue.in_usage);
        g_assert_false(dialogue.outstanding);
        g_assert_false(dialogue.hung_up);
        g_assert_cmpuint(dialogue.replies, ==, 1);
}

/* A caller's name that has LF and then `520-` must not hold up the commands after it. */
static void
test_usage_ends_at_any_reply(void)
{
        AgiDialogue dialogue = asked();

        reply(&dialogue, "200 result=1 (Alice\n");
        command(&dialogue, "NOOP\n");
        reply(&dialogue, "520-Example)\n");
        g_assert_true(dialogue.outstanding);
        reply(&dialogue, "200 result=0\n");
        g_assert_false(dialogue.outstanding);
        g_assert_false(dialogue.in_usage);
        g_assert_cmpuint(dialogue.replies, ==, 2);
}

static void
test_hangup_is_no_reply(void)
{
        AgiDialogue dialogue = asked();

        /* The caller hangs up while the command is on its way. */
        reply(&dialogue, "HANGUP\n");
        g_assert_true(dialogue.hung_up);
        g_assert_true(dialogue.outstanding);
        reply(&dialogue, "511 Command Not Permitted on a dead channel or intercept routine\n");
        g_assert_false(dialogue.outstanding);

        /* And between commands, twice. */
        agi_dialogue_init(&dialogue);
        reply(&dialogue, "HANGUP\nHANGUP\n");
        g_assert_true(dialogue.hung_up);
        g_assert_false(dialogue.outstanding);
        command(&dialogue, "GET VARIABLE X\n");
        g_assert_true(dialogue.outstanding);
        reply(&dialogue, "200 result=0\n");
        g_assert_false(dialogue.outstanding);
}

static void
test_only_the_whole_line_is_a_hangup(void)
{
        static const char *const lines[] = { "HANGUP",   "HANGU\n",   "HANGUPS\n",  "HANGUP me\n",
                                             "hangup\n", " HANGUP\n", "HANGUP\rx\n" };
        AgiDialogue dialogue;

        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                agi_dialogue_init(&dialogue);
                reply(&dialogue, lines[i]);
                g_assert_false(dialogue.hung_up);
        }

        agi_dialogue_init(&dialogue);
        reply(&dialogue, "HANGUP\r\n");
        g_assert_true(dialogue.hung_up);
}

static void
test_value_with_lf_is_one_reply(void)
{
        AgiDialogue dialogue = asked();

        reply(&dialogue, "200 result=1 (first\nsecond\n\n200 third\n520-fourth\nlast)\n");
        g_assert_false(dialogue.outstanding);
        g_assert_false(dialogue.in_usage);
        g_assert_cmpuint(dialogue.replies, ==, 1);

        command(&dialogue, "NOOP\n");
        reply(&dialogue, "200 result=0\n");
        g_assert_false(dialogue.outstanding);
        g_assert_cmpuint(dialogue.replies, ==, 2);
}

static void
test_rest_of_a_value_does_not_end_the_next_command(void)
{
        AgiDialogue dialogue = asked();

        reply(&dialogue, "200 result=1 (first\nsec");
        command(&dialogue, "NOOP\n");
        reply(&dialogue, "ond)\n");
        g_assert_true(dialogue.outstanding);
        reply(&dialogue, "200 result=0\n");
        g_assert_false(dialogue.outstanding);
}

static void
test_value_of_any_length(void)
{
        AgiDialogue dialogue = asked();
        g_autofree char *value = g_strnfill(64 * 1024, '2');

        reply(&dialogue, "200 result=1 (");
        for (size_t i = 0; i < 64; i++)
                reply(&dialogue, value);
        g_assert_true(dialogue.outstanding);
        reply(&dialogue, ")\n");
        g_assert_false(dialogue.outstanding);
}

static const char *const streams[] = {
        "HANGUP\n200 result=1 (a\nb)\n100 result=0\n200 "
        "result=0\n520-Invalid\nHANGUP\r\n2\n20\nHANG",
        "100 result=0 Trying...\n520-Invalid\n200 usage\nHANGUP\n\n520 End\nHANGUP\n510 "
        "Invalid\n200",
        "2\n20\n200\n2000\nHANGUPS\nHANGUP me\n 200 x\n511 Command Not Permitted\nx\n",
};

static AgiDialogue
feed(const char *stream, size_t piece, size_t cut)
{
        AgiDialogue dialogue = asked();
        const size_t size = strlen(stream);

        for (size_t at = 0, n; at < size; at += n) {
                n = MIN(piece, size - at);
                if (at < cut)
                        n = MIN(n, cut - at);
                reply_bytes(&dialogue, stream + at, n);
        }
        return dialogue;
}

static void
test_pieces_agree_with_the_whole(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(streams); i++) {
                const size_t size = strlen(streams[i]);
                AgiDialogue whole = feed(streams[i], size, 0);

                g_assert_false(whole.outstanding);

                for (size_t piece = 1; piece <= size; piece++) {
                        AgiDialogue pieces = feed(streams[i], piece, 0);

                        assert_same(&pieces, &whole);
                }
                for (size_t cut = 1; cut < size; cut++) {
                        AgiDialogue halves = feed(streams[i], size, cut);

                        assert_same(&halves, &whole);
                }
        }
}

/* As the relay does it: the next command is passed on as soon as none is outstanding. */
static AgiDialogue
play(const char *commands, const char *replies, size_t size, size_t piece)
{
        AgiDialogue dialogue;

        agi_dialogue_init(&dialogue);
        for (size_t at = 0;; at += piece) {
                const char *lf;

                while (!dialogue.outstanding && (lf = strchr(commands, '\n'))) {
                        agi_dialogue_command(&dialogue, commands, lf + 1 - commands);
                        commands = lf + 1;
                }
                if (at >= size)
                        break;
                reply_bytes(&dialogue, replies + at, MIN(piece, size - at));
        }
        g_assert_cmpstr(commands, ==, "");
        return dialogue;
}

static char *
read_sample(const char *name)
{
        g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "samples", name, NULL);
        char *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return text;
}

/* Of a dialogue in which '>' begins a command, '!' is the server's end, '.' the client's, and all
 * else comes from the client. */
static const struct {
        const char *status;
        const char *lines[6];
} statuses[] = {
        { "SUCCESS", { ">NOOP\n", "200 result=0\n", "!" } },
        { "SUCCESS", { ">NOOP\n", "200 result=0\n", "!", "HANGUP\n" } },
        { "SUCCESS", { ">NOOP\n", "!", "200 result=0\n", "HANGUP\n" } },
        { "SUCCESS", { "!" } },
        /* The caller hangs up, in the middle of a command or not. */
        { "HANGUP", { ">NOOP\n", "200 result=0\n", "HANGUP\n", "!", "HANGUP\n" } },
        { "HANGUP", { ">STREAM FILE x \"\"\n", "200 result=-1 endpos=0\n", "HANGUP\n", "!" } },
        { "HANGUP", { ">NOOP\n", "." } },
        { "HANGUP",
          { ">STREAM FILE x \"\"\n", "200 result=-1 endpos=7\n", ">NOOP\n", "HANGUP\n",
            "200 result=0\n", "!" } },
        /* The server hangs up, and may have ended before HANGUP comes. */
        { "HANGUP", { ">HANGUP\n", "200 result=1\n", "!", "HANGUP\n" } },
        { "HANGUP", { ">EXEC Hangup\n", "200 result=-1\n", "HANGUP\n", "!" } },
        /* What the server says, or what fails. */
        { "FAILURE", { ">FAILURE\n", "HANGUP\n", "!" } },
        { "FAILURE", { "HANGUP\n", ">failure\n", "." } },
        { "FAILURE", { ">STREAM FILE x \"\"\n", "200 result=-1 endpos=0\n", "!", "HANGUP\n" } },
        { "FAILURE", { ">STREAM FILE x \"\"\n", "!", "200 result=-1\n", "HANGUP\n" } },
        { "FAILURE",
          { ">STREAM FILE x \"\"\n", "200 result=-1\n", ">NOOP\n", "200 result=0\n", "HANGUP\n",
            "!" } },
        /* What only looks like it. */
        { "SUCCESS", { ">GET DATA x\n", "200 result=-12\n", "!" } },
        { "SUCCESS", { ">GET DATA x\n", "200 result=-1x\n", "!" } },
        { "SUCCESS", { ">EXEC Wait 1\n", "200 result=-1\n", "!" } },
        { "SUCCESS", { ">  exec Wait 1\n", "200 result=-1\n", "!" } },
        { "SUCCESS", { ">CHANNEL STATUS SIP/x\n", "200 result=-1\n", "!" } },
        { "SUCCESS", { ">HANGUP SIP/x\n", "200 result=-1\n", "!" } },
        { "SUCCESS", { ">GET DATA x\n", "200 result=-1\n", "!" } },
        { "SUCCESS", { ">RECEIVE TEXT 9\n", "200 result=-1\n", "!" } },
        { "SUCCESS", { ">NOOP\n", "510 Invalid or unknown command\n", "!" } },
        { "FAILURE", { ">EXECUTE\n", "200 result=-1\n", "!" } },
};

static void
test_status(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(statuses); i++) {
                bool is_clients = false;
                AgiDialogue dialogue;

                agi_dialogue_init(&dialogue);
                for (size_t j = 0; j < 6 && statuses[i].lines[j]; j++) {
                        const char *line = statuses[i].lines[j];

                        if (*line == '>')
                                command(&dialogue, line + 1);
                        else if (*line == '!')
                                agi_dialogue_end(&dialogue);
                        else if (*line == '.')
                                is_clients = true;
                        else
                                reply(&dialogue, line);
                }
                g_test_message("%zu: %s", i, statuses[i].lines[0]);
                g_assert_cmpstr(agi_dialogue_get_status(&dialogue, is_clients), ==,
                                statuses[i].status);
        }
}

static void
test_own_hangup(void)
{
        AgiDialogue dialogue = asked();

        command(&dialogue, "HANGUP\n");
        g_assert_true(dialogue.hangs_up);
        command(&dialogue, "HANGUP SIP/x\n");
        g_assert_false(dialogue.hangs_up);
        command(&dialogue, "exec hangup\n");
        g_assert_true(dialogue.hangs_up);
        command(&dialogue, "EXEC HangupCause x\n");
        g_assert_false(dialogue.hangs_up);
}

static void
assert_sample_is_replied_to(const char *name)
{
        g_autofree char *a2s_name = g_strconcat(name, ".a2s", NULL);
        g_autofree char *s2a_name = g_strconcat(name, ".s2a", NULL);
        g_autofree char *a2s = read_sample(a2s_name);
        g_autofree char *s2a = read_sample(s2a_name);
        const char *replies = strstr(a2s, "\n\n") + 2;
        guint n = 0;

        for (const char *c = s2a; *c; c++)
                n += *c == '\n';

        /* In one piece there is nothing between two replies for the second command. */
        for (size_t piece = 1; piece <= strlen("200 result=0\n"); piece++) {
                AgiDialogue dialogue = play(s2a, replies, strlen(replies), piece);

                g_assert_cmpuint(dialogue.commands, ==, n);
                g_assert_cmpuint(dialogue.replies, ==, n);
                g_assert_true(dialogue.hung_up);
                g_assert_false(dialogue.outstanding);
        }
}

static void
test_recorded_sessions(void)
{
        assert_sample_is_replied_to("session-normal");
        assert_sample_is_replied_to("session-hangup");
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/agi-dialogue/any-line-is-a-command", test_any_line_is_a_command);
        g_test_add_func("/agi-dialogue/failure-in-any-case", test_failure_in_any_case);
        g_test_add_func("/agi-dialogue/nul-is-swallowed", test_nul_is_swallowed);
        g_test_add_func("/agi-dialogue/nothing-is-outstanding-after-failure",
                        test_nothing_is_outstanding_after_failure);
        g_test_add_func("/agi-dialogue/reply-ends-the-command", test_reply_ends_the_command);
        g_test_add_func("/agi-dialogue/reply-without-its-end-does-not-count",
                        test_reply_without_its_end_does_not_count);
        g_test_add_func("/agi-dialogue/other-lines-are-no-reply", test_other_lines_are_no_reply);
        g_test_add_func("/agi-dialogue/reply-without-command-counts-nothing",
                        test_reply_without_command_counts_nothing);
        g_test_add_func("/agi-dialogue/provisional-does-not-end-the-command",
                        test_provisional_does_not_end_the_command);
        g_test_add_func("/agi-dialogue/usage-ends-at-any-reply", test_usage_ends_at_any_reply);
        g_test_add_func("/agi-dialogue/usage-ends-with-its-last-line",
                        test_usage_ends_with_its_last_line);
        g_test_add_func("/agi-dialogue/hangup-is-no-reply", test_hangup_is_no_reply);
        g_test_add_func("/agi-dialogue/only-the-whole-line-is-a-hangup",
                        test_only_the_whole_line_is_a_hangup);
        g_test_add_func("/agi-dialogue/value-with-lf-is-one-reply",
                        test_value_with_lf_is_one_reply);
        g_test_add_func("/agi-dialogue/rest-of-a-value-does-not-end-the-next-command",
                        test_rest_of_a_value_does_not_end_the_next_command);
        g_test_add_func("/agi-dialogue/value-of-any-length", test_value_of_any_length);
        g_test_add_func("/agi-dialogue/pieces-agree-with-the-whole",
                        test_pieces_agree_with_the_whole);
        g_test_add_func("/agi-dialogue/recorded-sessions", test_recorded_sessions);
        g_test_add_func("/agi-dialogue/status", test_status);
        g_test_add_func("/agi-dialogue/server-hangs-up", test_own_hangup);

        return g_test_run();
}
