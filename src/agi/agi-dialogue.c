/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a line from the client is, its first bytes tell; so they are all that is kept of a line that
 * comes in pieces, and a value of any length costs one memchr().
 *
 * A line can only be a reply when a command is outstanding, and usage ends at any reply. Without
 * that, the rest of a value that has `520-` after an LF would hold up the session for ever.
 *
 * Asterisk's AGISTATUS is FAILURE after the line of that name, or after a command that it takes for
 * failed; these reply with a result of -1. But so does a command that is ended by the caller's
 * hanging up, and then HANGUP follows before any other reply. And some commands may say -1 and mean
 * nothing by it. (Tried with Asterisk 16, each command with something that isn't there.)
 */
#include "agi/agi-dialogue.h"

#include <string.h>

void
agi_dialogue_init(AgiDialogue *dialogue)
{
        *dialogue = (AgiDialogue){ 0 };
}

AgiLine
agi_dialogue_classify(const char *line, size_t length)
{
        if (length > 0 && line[0] == '\0')
                return AGI_LINE_SWALLOWED;
        if (length >= strlen("failure") &&
            g_ascii_strncasecmp(line, "failure", strlen("failure")) == 0)
                return AGI_LINE_FAILURE;
        return AGI_LINE_COMMAND;
}

/* True when @line begins with the words of @command, whatever their case. */
static bool
line_is(const char *line, size_t length, const char *command)
{
        size_t n;

        /* Most differ in the first. */
        if (length == 0 || (line[0] | 0x20) != (command[0] | 0x20))
                return false;
        n = strlen(command);

        return length > n && g_ascii_strncasecmp(line, command, n) == 0 &&
               (line[n] == ' ' || line[n] == '\n');
}

/* What is to be known of a command when its reply comes. */
static void
agi_dialogue_note_command(AgiDialogue *dialogue, const char *line, size_t length)
{
        static const char *const harmless[] = {
                "EXEC", "CHANNEL STATUS", "HANGUP", "GET DATA", "RECEIVE TEXT",
        };

        while (length > 0 && *line == ' ') {
                line++;
                length--;
        }

        dialogue->can_err = true;
        for (size_t i = 0; i < G_N_ELEMENTS(harmless); i++)
                dialogue->can_err &= !line_is(line, length, harmless[i]);
        dialogue->hangs_up = line_is(line, length, "EXEC Hangup") ||
                             (line_is(line, length, "HANGUP") && line[strlen("HANGUP")] == '\n');
}

void
agi_dialogue_command(AgiDialogue *dialogue, const char *line, size_t length)
{
        if (dialogue->failed)
                return;

        switch (agi_dialogue_classify(line, length)) {
        case AGI_LINE_COMMAND:
                agi_dialogue_note_command(dialogue, line, length);
                dialogue->outstanding = true;
                dialogue->commands++;
                break;
        case AGI_LINE_FAILURE:
                dialogue->failed = true;
                break;
        case AGI_LINE_SWALLOWED:
                break;
        }
}

static bool
head_is(const char *head, size_t n, const char *text)
{
        return n >= strlen(text) && memcmp(head, text, strlen(text)) == 0;
}

static bool
head_is_code(const char *head, size_t n)
{
        return n >= 4 && g_ascii_isdigit(head[0]) && g_ascii_isdigit(head[1]) &&
               g_ascii_isdigit(head[2]) && (head[3] == ' ' || head[3] == '-');
}

bool
agi_dialogue_is_reply(const char *line, size_t length)
{
        return head_is_code(line, length) && line[0] != '1' && !head_is(line, length, "520-");
}

/* The client has said that it is hung up. */
static void
agi_dialogue_hang_up(AgiDialogue *dialogue)
{
        if (dialogue->failed || dialogue->ends || dialogue->hung_up)
                return;

        dialogue->hung_up = true;
        dialogue->errs = false;
}

/* A line has ended, its LF not counted; of a longer one @head is the beginning. */
static void
agi_dialogue_line(AgiDialogue *dialogue, const char *head, size_t n)
{
        if (!head_is_code(head, n)) {
                if (!dialogue->in_usage && head_is(head, n, "HANGUP") &&
                    (n == 6 || (n == 7 && head[6] == '\r')))
                        agi_dialogue_hang_up(dialogue);
                return;
        } else if (!dialogue->outstanding || head[0] == '1') {
                return;
        } else if (head_is(head, n, "520-")) {
                dialogue->in_usage = true;
                return;
        }

        dialogue->in_usage = false;
        dialogue->outstanding = false;
        dialogue->replies++;
        dialogue->has_erred |= dialogue->errs;
        dialogue->errs = dialogue->can_err && head_is(head, n, "200 result=-1") &&
                         (n == strlen("200 result=-1") || head[n - 1] == ' ');
        /* Its HANGUP may come after the server's end. */
        if (dialogue->hangs_up)
                agi_dialogue_hang_up(dialogue);
}

void
agi_dialogue_reply(AgiDialogue *dialogue, const char *data, size_t size)
{
        const char *end = data + size;

        while (data < end) {
                const char *lf = memchr(data, '\n', end - data);
                size_t length = (lf ? lf : end) - data;

                if (lf && dialogue->n_head == 0) {
                        agi_dialogue_line(dialogue, data, MIN(length, sizeof(dialogue->head)));
                } else {
                        size_t n = MIN(length, sizeof(dialogue->head) - dialogue->n_head);

                        memcpy(dialogue->head + dialogue->n_head, data, n);
                        dialogue->n_head += n;
                        if (lf) {
                                agi_dialogue_line(dialogue, dialogue->head, dialogue->n_head);
                                dialogue->n_head = 0;
                        }
                }
                if (!lf)
                        break;
                data = lf + 1;
        }
}

void
agi_dialogue_end(AgiDialogue *dialogue)
{
        dialogue->ends = true;
}

const char *
agi_dialogue_get_status(const AgiDialogue *dialogue, bool is_clients)
{
        if (dialogue->failed || dialogue->has_erred || dialogue->errs)
                return "FAILURE";

        return dialogue->hung_up || is_clients ? "HANGUP" : "SUCCESS";
}
