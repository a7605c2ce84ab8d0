/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The input is what a client sends. Compared are: feeding it in one piece and in several; the
 * outcome with a model that takes all lines apart first; what is written with what the model
 * writes, for every way to treat agi_x_fwd_for; and a block written with the same block read again.
 */
#include <stdint.h>
#include <string.h>

#include <glib.h>

#include "agi/agi-env.h"
#include "agi/agi-request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Model {
        GPtrArray *lines; /* GString each, without line end, the empty line left out */
        size_t size;      /* of the block */
        AgiEnvResult result;
} Model;

static void
line_free(void *line)
{
        g_string_free(line, TRUE);
}

static const char *const names[] = { "agi_request:", "agi_channel:", "agi_uniqueid:",
                                     "agi_callerid:" };

static AgiSpan
span_of(const AgiEnv *env, size_t i)
{
        const AgiSpan spans[] = { env->request, env->channel, env->uniqueid, env->callerid };

        return spans[i];
}

static AgiEnvResult
parse_piece(AgiEnv *env, const char *text, size_t size)
{
        g_autofree char *block = g_malloc(MAX(size, 1));

        memcpy(block, text, size);
        return agi_env_parse(env, block, size);
}

static AgiEnvResult
parse_pieces(AgiEnv *env, const char *text, size_t size, size_t piece)
{
        AgiEnvResult result = AGI_ENV_MORE;

        agi_env_init(env);
        for (size_t fed = 0; fed < size && result == AGI_ENV_MORE;) {
                fed = MIN(fed + piece, size);
                result = parse_piece(env, text, fed);
        }
        return result;
}

static AgiEnvResult
model_judge(const Model *model, const GString *line)
{
        if (line->len > AGI_ENV_MAX_LINE || model->size > AGI_ENV_MAX_SIZE)
                return AGI_ENV_TOO_LONG;
        if (line->len == 0)
                return AGI_ENV_COMPLETE;
        if (model->lines->len > AGI_ENV_MAX_LINES)
                return AGI_ENV_TOO_MANY;
        return AGI_ENV_MORE;
}

/* Byte by byte, as the rules say it. */
static void
model_parse(Model *model, const char *text, size_t size)
{
        g_autoptr(GString) line = g_string_new(NULL);
        bool crlf = false;

        model->lines = g_ptr_array_new_with_free_func(line_free);
        model->size = 0;

        while (model->size < size) {
                char c = text[model->size++];

                if (c != '\n') {
                        g_string_append_c(line, c);
                        continue;
                }
                if (model->lines->len == 0)
                        crlf = line->len > 0 && line->str[line->len - 1] == '\r';
                if (crlf && line->len > 0 && line->str[line->len - 1] == '\r')
                        g_string_truncate(line, line->len - 1);

                g_ptr_array_add(model->lines, g_string_new_len(line->str, (gssize)line->len));
                model->result = model_judge(model, line);
                if (model->result != AGI_ENV_MORE) {
                        g_ptr_array_set_size(model->lines, (gint)model->lines->len - 1);
                        return;
                }
                g_string_truncate(line, 0);
        }

        /* A CR may be the beginning of the line end. */
        if ((crlf || model->lines->len == 0) && line->len > 0 && line->str[line->len - 1] == '\r')
                g_string_truncate(line, line->len - 1);
        model->result = size >= AGI_ENV_MAX_SIZE || line->len > AGI_ENV_MAX_LINE ? AGI_ENV_TOO_LONG
                                                                                 : AGI_ENV_MORE;
}

static bool
line_has_name(const GString *line, const char *name)
{
        return line->len >= strlen(name) && memcmp(line->str, name, strlen(name)) == 0;
}

static const GString *
model_find(const Model *model, const char *name, bool last)
{
        const GString *found = NULL;

        for (guint i = 0; i < model->lines->len; i++) {
                const GString *line = g_ptr_array_index(model->lines, i);

                if (line_has_name(line, name) && (last || !found))
                        found = line;
        }
        return found;
}

static size_t
value_start(const GString *line, const char *name)
{
        return strlen(name) + (line->len > strlen(name) && line->str[strlen(name)] == ' ');
}

static void
model_append_request(GString *out, const GString *line, const char *authority)
{
        size_t start = value_start(line, names[0]);
        AgiRequest request;

        if (!agi_request_parse(&request, line->str + start, line->len - start)) {
                g_string_append_len(out, line->str, (gssize)line->len);
                return;
        }
        g_string_append_len(out, line->str, (gssize)(start + request.authority));
        g_string_append(out, authority);
        start += request.authority + request.authority_length;
        g_string_append_len(out, line->str + start, (gssize)(line->len - start));
}

static GString *
model_write(const Model *model, const char *authority, const AgiForward *forward)
{
        const GString *request = model_find(model, names[0], false);
        const GString *last = model_find(model, "agi_x_fwd_for:", true);
        const char *client = forward ? forward->client : NULL;
        bool trusted = !forward || forward->trusted;
        GString *out = g_string_new(NULL);

        for (guint i = 0; i < model->lines->len; i++) {
                const GString *line = g_ptr_array_index(model->lines, i);

                if (line_has_name(line, "agi_x_fwd_for:") && (!trusted || (client && line != last)))
                        continue;
                if (line == request && authority)
                        model_append_request(out, line, authority);
                else
                        g_string_append_len(out, line->str, (gssize)line->len);
                if (line == last && client)
                        g_string_append_printf(out, ", %s", client);
                g_string_append_c(out, '\n');
        }
        if (client && (!last || !trusted))
                g_string_append_printf(out, "agi_x_fwd_for: %s\n", client);
        g_string_append_c(out, '\n');
        return out;
}

/* The block written is read as the same lines by whoever comes next. */
static void
check_reread(const GString *written)
{
        Model model;
        AgiEnv env;
        AgiEnvResult result;

        model_parse(&model, written->str, written->len);
        agi_env_init(&env);
        result = parse_piece(&env, written->str, written->len);
        g_assert_cmpint(result, ==, model.result);

        /* An added line or a longer authority may go beyond a limit, and if the first line kept
         * one of two CRs the block looks like one of CRLF lines. */
        if (result == AGI_ENV_COMPLETE && !env.crlf) {
                g_autoptr(GString) again = model_write(&model, NULL, NULL);

                g_assert_cmpuint(agi_env_get_size(&env), ==, written->len);
                g_assert_cmpmem(again->str, again->len, written->str, written->len);
        } else if (result != AGI_ENV_COMPLETE) {
                g_assert_true(written->len > AGI_ENV_MAX_LINE ||
                              model.lines->len == AGI_ENV_MAX_LINES);
        }
        g_ptr_array_unref(model.lines);
}

static void
check_written(const Model *model, const AgiEnv *env, const char *text)
{
        static const AgiForward forwards[] = {
                { NULL, false }, { NULL, true }, { "192.0.2.1:9", false }, { "192.0.2.1:9", true }
        };
        static const char *const authorities[] = { NULL, "", "[2001:db8::1]:4573" };

        for (size_t i = 0; i <= G_N_ELEMENTS(forwards); i++) {
                const AgiForward *forward = i ? &forwards[i - 1] : NULL;

                for (size_t j = 0; j < G_N_ELEMENTS(authorities); j++) {
                        size_t max = agi_env_get_written_max(env, authorities[j], forward);
                        g_autofree char *out = g_malloc(max);
                        size_t n = agi_env_write(env, text, authorities[j], forward, out);
                        g_autoptr(GString) expected = model_write(model, authorities[j], forward);

                        g_assert_cmpuint(n, <=, max);
                        g_assert_cmpmem(out, n, expected->str, expected->len);
                        check_reread(expected);
                }
        }
}

static void
check_outcome(const Model *model, const AgiEnv *env, const char *text)
{
        g_assert_cmpuint(env->n_lines, ==, model->lines->len);

        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                const GString *line = model_find(model, names[i], false);
                AgiSpan span = span_of(env, i);

                if (line) {
                        size_t start = value_start(line, names[i]);

                        g_assert_cmpmem(text + span.offset, span.length, line->str + start,
                                        line->len - start);
                } else {
                        g_assert_cmpuint(span.length, ==, 0);
                }
        }
        g_assert_true(env->has_request == (model_find(model, names[0], false) != NULL));
        g_assert_true(env->has_forwarded == (model_find(model, "agi_x_fwd_for:", true) != NULL));
}

static void
check_same(const AgiEnv *a, const AgiEnv *b)
{
        g_assert_cmpuint(a->scanned, ==, b->scanned);
        g_assert_cmpuint(a->line_start, ==, b->line_start);
        g_assert_cmpuint(a->n_lines, ==, b->n_lines);
        g_assert_true(a->crlf == b->crlf);
        g_assert_true(a->has_request == b->has_request);
        g_assert_true(a->has_forwarded == b->has_forwarded);
        g_assert_cmpuint(a->forwarded, ==, b->forwarded);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                AgiSpan x = span_of(a, i), y = span_of(b, i);

                g_assert_cmpmem(&x, sizeof(x), &y, sizeof(y));
        }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const char *text = (const char *)data;
        /* Byte by byte where that is cheap, else some 60 pieces. */
        size_t small = size < 600 ? 1 : size / 60 + 1;
        const size_t pieces[] = { small, size / 3 + 1, size / 2 + 1 };
        AgiEnvResult result;
        AgiEnv env, other;
        Model model;

        if (size == 0)
                return 0;

        agi_env_init(&env);
        result = parse_piece(&env, text, size);

        for (size_t i = 0; i < G_N_ELEMENTS(pieces); i++) {
                g_assert_cmpint(parse_pieces(&other, text, size, pieces[i]), ==, result);
                if (result == AGI_ENV_COMPLETE || result == AGI_ENV_MORE)
                        check_same(&other, &env);
        }

        model_parse(&model, text, size);
        g_assert_cmpint(result, ==, model.result);
        if (result == AGI_ENV_COMPLETE) {
                g_assert_cmpuint(agi_env_get_size(&env), ==, model.size);
                check_outcome(&model, &env, text);
                check_written(&model, &env, text);
        }
        g_ptr_array_unref(model.lines);
        return 0;
}
