/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is a dialogue: pieces, each ended by a byte 0xff. One that begins with '>' is a line
 * from the server, any other is bytes from the client. After each piece the dialogue is compared
 * with a model that keeps whole lines, and with dialogues that got the piece in smaller ones.
 */
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include "agi/agi-dialogue.h"

#define PIECE_END 0xff

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Model {
        GString *line; /* of the client, so far */
        bool outstanding, hung_up, failed, in_usage, hangs_up;
        uint32_t commands, replies;
} Model;

/* Three digits, then a blank or '-'. */
static bool
begins_with_code(const char *line)
{
        return strspn(line, "0123456789") == 3 && (line[3] == ' ' || line[3] == '-');
}

static bool
is_hangup(const GString *line)
{
        return (line->len == 6 && g_str_equal(line->str, "HANGUP")) ||
               (line->len == 7 && g_str_equal(line->str, "HANGUP\r"));
}

static bool
begins_with(const char *line, const char *text)
{
        return g_ascii_strncasecmp(line, text, strlen(text)) == 0;
}

/* A command by which the server hangs up. */
static bool
asks_for_hangup(const char *line)
{
        line += strspn(line, " ");

        return begins_with(line, "HANGUP\n") || begins_with(line, "EXEC HANGUP\n") ||
               begins_with(line, "EXEC HANGUP ");
}

static void
model_reply_is_whole(Model *model)
{
        model->outstanding = false;
        model->replies++;
        model->hung_up |= model->hangs_up && !model->failed;
}

static void
model_command(Model *model, const GString *line)
{
        if (model->failed || (line->len > 0 && line->str[0] == '\0'))
                return;

        if (g_ascii_strncasecmp(line->str, "failure", 7) == 0) {
                model->failed = true;
        } else {
                model->outstanding = true;
                model->commands++;
                model->hangs_up = asks_for_hangup(line->str);
        }
}

static void
model_line(Model *model)
{
        const char *line = model->line->str;

        if (model->in_usage) {
                if (!begins_with_code(line) || line[0] == '1' || g_str_has_prefix(line, "520-"))
                        return;
                model->in_usage = false;
                model_reply_is_whole(model);
        } else if (is_hangup(model->line)) {
                model->hung_up |= !model->failed;
        } else if (model->outstanding && g_str_has_prefix(line, "520-")) {
                model->in_usage = true;
        } else if (model->outstanding && begins_with_code(line) && line[0] != '1') {
                model_reply_is_whole(model);
        }
}

static void
model_reply(Model *model, const char *bytes, size_t size)
{
        for (size_t i = 0; i < size; i++) {
                if (bytes[i] == '\n') {
                        model_line(model);
                        g_string_truncate(model->line, 0);
                } else {
                        g_string_append_c(model->line, bytes[i]);
                }
        }
}

static void
check(const AgiDialogue *dialogue, const Model *model)
{
        g_assert_true(dialogue->outstanding == model->outstanding);
        g_assert_true(dialogue->hung_up == model->hung_up);
        g_assert_true(dialogue->failed == model->failed);
        g_assert_true(dialogue->in_usage == model->in_usage);
        g_assert_cmpuint(dialogue->commands, ==, model->commands);
        g_assert_cmpuint(dialogue->replies, ==, model->replies);
        g_assert_cmpmem(dialogue->head, dialogue->n_head, model->line->str,
                        MIN(model->line->len, sizeof(dialogue->head)));
}

static void
reply_in_pieces(AgiDialogue *dialogue, const char *bytes, size_t size, size_t piece)
{
        for (size_t at = 0; at < size; at += piece) {
                size_t n = MIN(piece, size - at);
                g_autofree char *exact = g_memdup2(bytes + at, n);

                agi_dialogue_reply(dialogue, exact, n);
        }
}

static void
play(AgiDialogue *dialogues, size_t n, Model *model, const char *bytes, size_t size)
{
        if (size > 0 && bytes[0] == '>') {
                g_autoptr(GString) line = g_string_new_len(bytes + 1, (gssize)(size - 1));

                model_command(model, line);
                for (size_t i = 0; i < n; i++) {
                        g_autofree char *exact = g_malloc(MAX(line->len, 1));

                        memcpy(exact, line->str, line->len);
                        agi_dialogue_command(&dialogues[i], exact, line->len);
                }
        } else {
                model_reply(model, bytes, size);
                for (size_t i = 0; i < n; i++)
                        reply_in_pieces(&dialogues[i], bytes, size, i ? i * i : size);
        }

        for (size_t i = 0; i < n; i++)
                check(&dialogues[i], model);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        AgiDialogue dialogues[5];
        Model model = { .line = g_string_new(NULL) };

        for (size_t i = 0; i < G_N_ELEMENTS(dialogues); i++)
                agi_dialogue_init(&dialogues[i]);

        for (size_t at = 0; at < size;) {
                const uint8_t *end = memchr(data + at, PIECE_END, size - at);
                size_t n = end ? (size_t)(end - data) - at : size - at;

                play(dialogues, G_N_ELEMENTS(dialogues), &model, (const char *)data + at, n);
                at += n + 1;
        }

        g_string_free(model.line, TRUE);
        return 0;
}
