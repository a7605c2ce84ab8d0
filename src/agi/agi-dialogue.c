/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a line from the client is, its first eight bytes tell; so they are all that is kept of a
 * line that comes in pieces, and a value of any length costs one memchr().
 *
 * A line can only be a reply when a command is outstanding, and usage ends at any reply. Without
 * that, the rest of a value that has `520-` after an LF would hold up the session for ever.
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

void
agi_dialogue_command(AgiDialogue *dialogue, const char *line, size_t length)
{
        if (dialogue->failed)
                return;

        switch (agi_dialogue_classify(line, length)) {
        case AGI_LINE_COMMAND:
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

/* A line has ended, its LF not counted; of a longer one @head is the beginning. */
static void
agi_dialogue_line(AgiDialogue *dialogue, const char *head, size_t n)
{
        if (!head_is_code(head, n)) {
                if (!dialogue->in_usage && head_is(head, n, "HANGUP") &&
                    (n == 6 || (n == 7 && head[6] == '\r')))
                        dialogue->hung_up = true;
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
