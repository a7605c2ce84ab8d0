/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The environment block. Every rule is shown with a block written for it, and everything with the
 * recorded blocks: in one piece, byte by byte, and cut at every position.
 */
#include <string.h>

#include <glib.h>

#include "agi/agi-env.h"
#include "agi/agi-request.h"

#define AUTHORITY "[2001:db8::1]:4573"

static const AgiForward keep = { NULL, true };
static const AgiForward drop = { NULL, false };
static const AgiForward replace = { "192.0.2.1:40000", false };
static const AgiForward append = { "192.0.2.1:40000", true };

static const char *const samples[] = {
        "env-127-args.txt",
        "env-asterisk16.txt",
        "env-asterisk22.txt",
        "env-hagi.txt",
        "env-injected-blank-line.txt",
        "env-injected-request.txt",
        "env-ipv6-special-chars.txt",
        "env-no-path.txt",
        "session-hangup.a2s",
        "session-normal.a2s",
};

/* Feeds a copy of exactly the first bytes, so that a sanitizer sees a read beyond them. */
static AgiEnvResult
parse_bytes(AgiEnv *env, const char *text, size_t size)
{
        g_autofree char *block = g_malloc(MAX(size, 1));

        memcpy(block, text, size);
        return agi_env_parse(env, block, size);
}

static AgiEnvResult
parse_all(AgiEnv *env, const char *text)
{
        agi_env_init(env);
        return parse_bytes(env, text, strlen(text));
}

/* All in pieces of this size; stops where the outcome is known. */
static AgiEnvResult
parse_pieces(AgiEnv *env, const char *text, size_t size, size_t piece)
{
        AgiEnvResult result = AGI_ENV_MORE;

        agi_env_init(env);
        for (size_t fed = 0; fed < size && result == AGI_ENV_MORE;) {
                fed = MIN(fed + piece, size);
                result = parse_bytes(env, text, fed);
        }
        return result;
}

static AgiEnv
complete(const char *text)
{
        AgiEnv env;

        g_assert_cmpint(parse_all(&env, text), ==, AGI_ENV_COMPLETE);
        return env;
}

static char *
value_of(const char *text, AgiSpan span)
{
        return g_strndup(text + span.offset, span.length);
}

static char *
write_env(const AgiEnv *env, const char *text, const char *authority, const AgiForward *forward)
{
        size_t max = agi_env_get_written_max(env, authority, forward);
        g_autofree char *out = g_malloc(max);
        size_t n = agi_env_write(env, text, authority, forward, out);

        g_assert_cmpuint(n, <=, max);
        return g_strndup(out, n);
}

static void
assert_written(const char *text,
               const char *authority,
               const AgiForward *forward,
               const char *expected)
{
        AgiEnv env = complete(text);
        g_autofree char *written = write_env(&env, text, authority, forward);

        g_assert_cmpstr(written, ==, expected);
}

static void
assert_value(const char *text, AgiSpan span, const char *expected)
{
        g_autofree char *value = value_of(text, span);

        g_assert_cmpstr(value, ==, expected);
}

static void
assert_same(const AgiEnv *a, const AgiEnv *b)
{
        g_assert_cmpuint(a->scanned, ==, b->scanned);
        g_assert_cmpuint(a->line_start, ==, b->line_start);
        g_assert_cmpuint(a->forwarded, ==, b->forwarded);
        g_assert_cmpuint(a->n_lines, ==, b->n_lines);
        g_assert_true(a->crlf == b->crlf);
        g_assert_true(a->has_request == b->has_request);
        g_assert_true(a->has_forwarded == b->has_forwarded);
        g_assert_cmpmem(&a->request, sizeof(AgiSpan), &b->request, sizeof(AgiSpan));
        g_assert_cmpmem(&a->uniqueid, sizeof(AgiSpan), &b->uniqueid, sizeof(AgiSpan));
        g_assert_cmpmem(&a->channel, sizeof(AgiSpan), &b->channel, sizeof(AgiSpan));
        g_assert_cmpmem(&a->callerid, sizeof(AgiSpan), &b->callerid, sizeof(AgiSpan));
}

static char *
read_sample(const char *name)
{
        g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "samples", name, NULL);
        char *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return text;
}

/* The end of lines as a CRLF client has them. */
static char *
with_crlf(const char *text)
{
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        return g_strjoinv("\r\n", lines);
}

static char *
repeat(const char *line, size_t n)
{
        GString *text = g_string_new(NULL);

        for (size_t i = 0; i < n; i++)
                g_string_append(text, line);
        return g_string_free(text, FALSE);
}

static void
test_values_are_found(void)
{
        g_autofree char *text = read_sample("env-asterisk22.txt");
        AgiEnv env = complete(text);

        g_assert_cmpuint(agi_env_get_size(&env), ==, strlen(text));
        g_assert_cmpuint(env.n_lines, ==, 24);
        g_assert_true(env.has_request);
        g_assert_false(env.has_forwarded);
        g_assert_false(env.crlf);
        assert_value(text, env.request, "agi://127.0.0.1:4573/path?x=y");
        assert_value(text, env.channel, "Local/100@from-internal-00000000;2");
        assert_value(text, env.uniqueid, "1795408228.1");
        assert_value(text, env.callerid, "15551234567");
}

static void
test_absent_and_empty_values(void)
{
        const char *text = "agi_channel: \nagi_channel: second\nagi_callerid:\n\n";
        AgiEnv env = complete(text);

        g_assert_false(env.has_request);
        g_assert_cmpuint(env.request.length, ==, 0);
        g_assert_cmpuint(env.channel.length, ==, 0);
        g_assert_cmpuint(env.callerid.length, ==, 0);

        env = complete("agi_request:\n\n");
        g_assert_true(env.has_request);
        g_assert_cmpuint(env.request.length, ==, 0);
}

static void
test_names_are_exact(void)
{
        const char *text = "AGI_REQUEST: agi://a/x\n"
                           " agi_request: agi://b/x\n"
                           "agi_request : agi://c/x\n"
                           "agi_requests: agi://d/x\n"
                           "agi_request\n"
                           "agi_\n"
                           "x: agi_request: agi://e/x\n"
                           "agi_calleridname: name\n"
                           "Agi_X_Fwd_For: x\n"
                           "agi_x_fwd_for\n"
                           "\n";
        AgiEnv env = complete(text);

        g_assert_false(env.has_request);
        g_assert_false(env.has_forwarded);
        g_assert_cmpuint(env.callerid.length, ==, 0);
        assert_written(text, AUTHORITY, &drop, text);
}

static void
test_first_request_counts(void)
{
        g_autofree char *text = read_sample("env-injected-request.txt");
        AgiEnv env = complete(text);
        g_autofree char *written = write_env(&env, text, AUTHORITY, &drop);

        assert_value(text, env.request, "agi://127.0.0.1:4573/path?x=y");
        g_assert_nonnull(strstr(written, "\nagi_request: agi://" AUTHORITY "/path?x=y\n"));
        g_assert_nonnull(strstr(written, "\nagi_request: agi://evil/evil\n"));
}

static void
test_first_of_each_name_counts(void)
{
        const char *text = "agi_uniqueid: 1\nagi_channel: a\nagi_callerid: x\n"
                           "agi_uniqueid: 2\nagi_channel: b\nagi_callerid: y\n\n";
        AgiEnv env = complete(text);

        assert_value(text, env.uniqueid, "1");
        assert_value(text, env.channel, "a");
        assert_value(text, env.callerid, "x");
}

static void
test_request_with_or_without_blank(void)
{
        const char *const text[] = { "agi_request:agi://h/x\n\n", "agi_request: agi://h/x\n\n",
                                     "agi_request:  agi://h/x\n\n" };
        const char *const value[] = { "agi://h/x", "agi://h/x", " agi://h/x" };

        for (size_t i = 0; i < G_N_ELEMENTS(text); i++) {
                AgiEnv env = complete(text[i]);

                assert_value(text[i], env.request, value[i]);
        }
        assert_written("agi_request:agi://h/x\n\n", "s:1", &drop, "agi_request:agi://s:1/x\n\n");
}

static void
test_bytes_after_the_empty_line_are_the_sessions(void)
{
        const char *block = "agi_network: yes\nagi_request: agi://h/x\n\n";
        g_autofree char *text = g_strconcat(block, "HANGUP\nHANGUP\n\n", NULL);
        AgiEnv env = complete(text);

        g_assert_cmpuint(agi_env_get_size(&env), ==, strlen(block));
        assert_written(text, NULL, &drop, block);
}

static void
test_early_empty_line_ends_the_block(void)
{
        g_autofree char *text = read_sample("env-injected-blank-line.txt");
        AgiEnv env = complete(text);

        g_assert_true(g_str_has_prefix(text + agi_env_get_size(&env), "late: 1\n"));
}

static void
test_odd_lines_do_not_end_the_block(void)
{
        const char *text = "a\nxy\nno colon here\n:\n \n\r\nagi_request: agi://h/x\n\n";
        AgiEnv env = complete(text);

        g_assert_cmpuint(env.n_lines, ==, 7);
        g_assert_true(env.has_request);
        g_assert_cmpuint(agi_env_get_size(&env), ==, strlen(text));
        assert_written(text, NULL, &drop, text);
}

static void
test_only_an_empty_line(void)
{
        AgiEnv env = complete("\nx\n\n");

        g_assert_cmpuint(agi_env_get_size(&env), ==, 1);
        g_assert_cmpuint(env.n_lines, ==, 0);
        assert_written("\n", AUTHORITY, &drop, "\n");
        assert_written("\r\n", AUTHORITY, &drop, "\n");
}

static void
test_nul_is_data(void)
{
        static const char text[] = "a: \0b\nagi_request: agi://h/x\n\n";
        AgiEnv env;
        char out[sizeof(text) + 8];

        agi_env_init(&env);
        g_assert_cmpint(parse_bytes(&env, text, sizeof(text) - 1), ==, AGI_ENV_COMPLETE);
        g_assert_true(env.has_request);
        g_assert_cmpmem(out, agi_env_write(&env, text, NULL, &drop, out), text, sizeof(text) - 1);
}

static void
test_cut_short_is_never_complete(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
                g_autofree char *text = read_sample(samples[i]);
                AgiEnv whole = complete(text);

                for (size_t size = 0; size < agi_env_get_size(&whole); size++) {
                        AgiEnv env;

                        agi_env_init(&env);
                        g_assert_cmpint(parse_bytes(&env, text, size), ==, AGI_ENV_MORE);
                        g_assert_cmpuint(env.scanned, ==, size); /* not to be looked at again */
                }
        }
}

static void
test_512_lines_are_kept(void)
{
        g_autofree char *lines = repeat("agi_arg_1: x\n", AGI_ENV_MAX_LINES - 1);
        g_autofree char *text = g_strconcat(lines, "agi_request: agi://h/x\n\nrest", NULL);
        g_autofree char *block = g_strndup(text, strlen(text) - strlen("rest"));
        AgiEnv env = complete(text);

        g_assert_cmpuint(env.n_lines, ==, AGI_ENV_MAX_LINES);
        g_assert_true(env.has_request);
        assert_written(text, NULL, &drop, block);
}

static void
test_too_many_lines(void)
{
        g_autofree char *lines = repeat("a\n", AGI_ENV_MAX_LINES);
        g_autofree char *text = g_strconcat(lines, "b\n\n", NULL);
        AgiEnv env;

        g_assert_cmpint(parse_all(&env, lines), ==, AGI_ENV_MORE);
        g_assert_cmpint(parse_all(&env, text), ==, AGI_ENV_TOO_MANY);
        g_assert_cmpint(parse_pieces(&env, text, strlen(text), 1), ==, AGI_ENV_TOO_MANY);
}

static void
assert_line_limit(const char *before, const char *line_end)
{
        g_autofree char *longest = g_strnfill(AGI_ENV_MAX_LINE, 'x');
        g_autofree char *fits = g_strconcat(before, longest, line_end, line_end, NULL);
        g_autofree char *beyond = g_strconcat(before, "x", longest, line_end, line_end, NULL);
        AgiEnv env;

        for (size_t piece = strlen(fits); piece > 1; piece /= 2)
                g_assert_cmpint(parse_pieces(&env, fits, strlen(fits), piece), ==,
                                AGI_ENV_COMPLETE);
        g_assert_cmpuint(agi_env_get_size(&env), ==, strlen(fits));

        for (size_t piece = strlen(beyond); piece > 1; piece /= 2)
                g_assert_cmpint(parse_pieces(&env, beyond, strlen(beyond), piece), ==,
                                AGI_ENV_TOO_LONG);

        /* Byte by byte around the end of the line, where a CR may or may not be part of it. */
        agi_env_init(&env);
        for (size_t size = strlen(before) + AGI_ENV_MAX_LINE - 1; size < strlen(fits); size++)
                g_assert_cmpint(parse_bytes(&env, fits, size), ==, AGI_ENV_MORE);
        g_assert_cmpint(parse_bytes(&env, fits, strlen(fits)), ==, AGI_ENV_COMPLETE);
}

static void
test_line_at_the_limit(void)
{
        assert_line_limit("", "\n");
        assert_line_limit("", "\r\n");
        assert_line_limit("a\n", "\n");
        assert_line_limit("a\r\n", "\r\n");
}

static void
test_long_line_is_refused_before_its_end(void)
{
        g_autofree char *line = g_strnfill(1024 * 1024, 'x');
        AgiEnv env;

        agi_env_init(&env);
        g_assert_cmpint(parse_bytes(&env, line, AGI_ENV_MAX_LINE), ==, AGI_ENV_MORE);
        g_assert_cmpint(parse_bytes(&env, line, AGI_ENV_MAX_LINE + 1), ==, AGI_ENV_TOO_LONG);
        g_assert_cmpint(parse_all(&env, line), ==, AGI_ENV_TOO_LONG);

        /* A CR at the end may belong to the line end, but not in a block of LF lines. */
        line[AGI_ENV_MAX_LINE] = '\r';
        agi_env_init(&env);
        g_assert_cmpint(parse_bytes(&env, line, AGI_ENV_MAX_LINE + 1), ==, AGI_ENV_MORE);
        g_assert_cmpint(parse_bytes(&env, line, AGI_ENV_MAX_LINE + 2), ==, AGI_ENV_TOO_LONG);

        memcpy(line, "a\n", 2);
        line[AGI_ENV_MAX_LINE + 2] = '\r';
        agi_env_init(&env);
        g_assert_cmpint(parse_bytes(&env, line, AGI_ENV_MAX_LINE + 2), ==, AGI_ENV_MORE);
        g_assert_cmpint(parse_bytes(&env, line, AGI_ENV_MAX_LINE + 3), ==, AGI_ENV_TOO_LONG);
}

static void
test_block_at_the_limit(void)
{
        g_autofree char *lines = g_strnfill(AGI_ENV_MAX_SIZE + 16, 'x');
        AgiEnv env;

        for (size_t i = 255; i < AGI_ENV_MAX_SIZE; i += 256)
                lines[i] = '\n';
        memcpy(lines + AGI_ENV_MAX_SIZE - 2, "\n\nx\n\n", 6);

        agi_env_init(&env);
        g_assert_cmpint(parse_bytes(&env, lines, AGI_ENV_MAX_SIZE - 1), ==, AGI_ENV_MORE);
        g_assert_cmpint(parse_bytes(&env, lines, AGI_ENV_MAX_SIZE), ==, AGI_ENV_COMPLETE);
        g_assert_cmpuint(agi_env_get_size(&env), ==, AGI_ENV_MAX_SIZE);
        agi_env_init(&env);
        g_assert_cmpint(parse_bytes(&env, lines, AGI_ENV_MAX_SIZE + 4), ==, AGI_ENV_COMPLETE);
        g_assert_cmpuint(agi_env_get_size(&env), ==, AGI_ENV_MAX_SIZE);

        /* One byte more, and it is refused as soon as nothing can make it fit. */
        memcpy(lines + AGI_ENV_MAX_SIZE - 2, "x\n\n", 3);
        for (size_t size = AGI_ENV_MAX_SIZE; size <= AGI_ENV_MAX_SIZE + 1; size++) {
                agi_env_init(&env);
                g_assert_cmpint(parse_bytes(&env, lines, AGI_ENV_MAX_SIZE - 1), ==, AGI_ENV_MORE);
                g_assert_cmpint(parse_bytes(&env, lines, size), ==, AGI_ENV_TOO_LONG);
        }
}

static void
test_both_url_lines_at_their_longest(void)
{
        g_autofree char *path = g_strnfill(8170, 'p');
        g_autofree char *text = g_strdup_printf("agi_network: yes\nagi_network_script: %s\n"
                                                "agi_request: agi://127.0.0.1:4573/%s\n\n",
                                                path, path);
        AgiEnv env = complete(text);

        g_assert_cmpuint(env.request.length, ==, strlen("agi://127.0.0.1:4573/") + 8170);
}

static void
test_authority_is_replaced_in_place(void)
{
        static const char *const forms[][2] = {
                { "agi://127.0.0.1:4573", "agi://s:1" },
                { "agi://h/a b/caf\xc3\xa9%20c?q=%41&r=s t",
                  "agi://s:1/a b/caf\xc3\xa9%20c?q=%41&r=s t" },
                { "AGI://h//x/../y", "AGI://s:1//x/../y" },
                { "hagi://[::1]:4573/p", "hagi://s:1/p" },
                { "agi://h?x", "agi://s:1?x" },
                { "agi://h#x", "agi://s:1#x" },
                { "agi:///x", "agi://s:1/x" },
                { "agi://", "agi://s:1" },
                { "h/x", "h/x" },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
                g_autofree char *text =
                        g_strdup_printf("a: b\nagi_request: %s\nc: agi://h/\n\n", forms[i][0]);
                g_autofree char *expected =
                        g_strdup_printf("a: b\nagi_request: %s\nc: agi://h/\n\n", forms[i][1]);
                g_autofree char *crlf = with_crlf(text);

                assert_written(text, NULL, &drop, text);
                assert_written(text, "s:1", &drop, expected);
                assert_written(crlf, NULL, &drop, text);
                assert_written(crlf, "s:1", &drop, expected);
        }
}

static void
test_crlf_block_is_understood(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
                g_autofree char *text = read_sample(samples[i]);
                g_autofree char *crlf = with_crlf(text);
                AgiEnv lf_env = complete(text), env = complete(crlf);
                g_autofree char *lf_written = write_env(&lf_env, text, AUTHORITY, &append);
                g_autofree char *written = write_env(&env, crlf, AUTHORITY, &append);
                g_autofree char *request = value_of(text, lf_env.request);

                g_assert_true(env.crlf);
                g_assert_cmpuint(env.n_lines, ==, lf_env.n_lines);
                assert_value(crlf, env.request, request);
                g_assert_cmpstr(written, ==, lf_written);
        }
}

static void
test_one_cr_is_stripped_from_crlf_lines(void)
{
        assert_written("a: 1\r\nb: 2\r\r\nc: 3\nd: \r4\r\n\r\n", NULL, &drop,
                       "a: 1\nb: 2\r\nc: 3\nd: \r4\n\n");
}

static void
test_first_line_decides_what_cr_is(void)
{
        const char *text = "a: 1\nb: 2\r\n\r\nagi_request: agi://h/x\r\n\n";
        AgiEnv env = complete(text);

        g_assert_false(env.crlf);
        assert_value(text, env.request, "agi://h/x\r");
        assert_written(text, NULL, &drop, text);

        /* Among CRLF lines a bare LF ends the block: it would be an empty line to the server. */
        assert_written("a: 1\r\n\nb: 2\r\n\r\n", NULL, &drop, "a: 1\n\n");
}

static void
test_forged_forwarded_line_is_dropped(void)
{
        const char *text = "agi_x_fwd_for: 10.0.0.1\na: b\nagi_x_fwd_for:10.0.0.2\n"
                           "agi_request: agi://h/x\nagi_x_fwd_for:\n\n";
        g_autofree char *crlf = with_crlf(text);

        assert_written(text, NULL, &drop, "a: b\nagi_request: agi://h/x\n\n");
        assert_written(crlf, "s:1", &drop, "a: b\nagi_request: agi://s:1/x\n\n");
}

static void
test_forged_forwarded_line_is_replaced(void)
{
        const char *text = "agi_x_fwd_for: 10.0.0.1\na: b\nagi_request: agi://h/x\n\n";

        assert_written(text, "s:1", &replace,
                       "a: b\nagi_request: agi://s:1/x\nagi_x_fwd_for: 192.0.2.1:40000\n\n");
}

static void
test_forwarded_line_is_added_at_the_end(void)
{
        const char *text = "agi_request: agi://h/x\na: b\n\n";
        const char *expected = "agi_request: agi://h/x\na: b\nagi_x_fwd_for: 192.0.2.1:40000\n\n";
        g_autofree char *crlf = with_crlf(text);

        assert_written(text, NULL, &replace, expected);
        assert_written(text, NULL, &append, expected);
        assert_written(crlf, NULL, &replace, expected);
        assert_written(crlf, NULL, &append, expected);
        assert_written("\n", NULL, &append, "agi_x_fwd_for: 192.0.2.1:40000\n\n");
}

static void
test_trusted_forwarded_line_is_appended_to(void)
{
        const char *text = "agi_x_fwd_for: 1\nagi_x_fwd_for: 10.0.0.1:5, 10.0.0.2:6\n"
                           "agi_request: agi://h/x\n\n";
        const char *expected = "agi_x_fwd_for: 10.0.0.1:5, 10.0.0.2:6, 192.0.2.1:40000\n"
                               "agi_request: agi://s:1/x\n\n";
        g_autofree char *crlf = with_crlf(text);

        assert_written(text, "s:1", &append, expected);
        assert_written(crlf, "s:1", &append, expected);
}

static void
test_trusted_forwarded_lines_pass_unchanged(void)
{
        const char *text = "agi_x_fwd_for: 1\nagi_request: agi://h/x\nagi_x_fwd_for: 2\n\n";
        const char *expected = "agi_x_fwd_for: 1\nagi_request: agi://s:1/x\nagi_x_fwd_for: 2\n\n";
        g_autofree char *crlf = with_crlf(text);

        assert_written(text, NULL, &keep, text);
        assert_written(text, NULL, NULL, text);
        assert_written(text, "s:1", &keep, expected);
        assert_written(crlf, "s:1", &keep, expected);
}

/* What is written is the block as received but for the authority in one place. */
static void
assert_only_authority_differs(const char *text, const AgiEnv *env)
{
        g_autofree char *same = write_env(env, text, NULL, &drop);
        g_autofree char *written = write_env(env, text, AUTHORITY, &drop);
        AgiRequest request;
        size_t at, size = agi_env_get_size(env);

        g_assert_cmpmem(same, strlen(same), text, size);

        g_assert_true(agi_request_parse(&request, text + env->request.offset, env->request.length));
        at = env->request.offset + request.authority;
        g_assert_cmpmem(written, at, text, at);
        g_assert_true(g_str_has_prefix(written + at, AUTHORITY));
        g_assert_cmpmem(written + at + strlen(AUTHORITY), strlen(written) - at - strlen(AUTHORITY),
                        text + at + request.authority_length, size - at - request.authority_length);
}

static void
test_samples_however_they_are_cut(void)
{
        for (size_t i = 0; i < G_N_ELEMENTS(samples); i++) {
                g_autofree char *text = read_sample(samples[i]);
                const size_t size = strlen(text);
                AgiEnv whole = complete(text), env;

                assert_only_authority_differs(text, &whole);

                g_assert_cmpint(parse_pieces(&env, text, size, 1), ==, AGI_ENV_COMPLETE);
                assert_same(&env, &whole);
                assert_only_authority_differs(text, &env);

                for (size_t cut = 1; cut < size; cut++) {
                        agi_env_init(&env);
                        if (parse_bytes(&env, text, cut) == AGI_ENV_MORE)
                                g_assert_cmpint(parse_bytes(&env, text, size), ==,
                                                AGI_ENV_COMPLETE);
                        assert_same(&env, &whole);
                        assert_only_authority_differs(text, &env);
                }
        }
}

static void
test_largest_regular_block(void)
{
        g_autofree char *text = read_sample("env-127-args.txt");
        AgiEnv env = complete(text);

        g_assert_cmpuint(env.n_lines, ==, 149);
        g_assert_cmpuint(agi_env_get_size(&env), ==, strlen(text));
}

static void
add_parse_tests(void)
{
        g_test_add_func("/agi-env/values-are-found", test_values_are_found);
        g_test_add_func("/agi-env/absent-and-empty-values", test_absent_and_empty_values);
        g_test_add_func("/agi-env/names-are-exact", test_names_are_exact);
        g_test_add_func("/agi-env/first-request-counts", test_first_request_counts);
        g_test_add_func("/agi-env/first-of-each-name-counts", test_first_of_each_name_counts);
        g_test_add_func("/agi-env/request-with-or-without-blank",
                        test_request_with_or_without_blank);
        g_test_add_func("/agi-env/bytes-after-the-empty-line-are-the-sessions",
                        test_bytes_after_the_empty_line_are_the_sessions);
        g_test_add_func("/agi-env/early-empty-line-ends-the-block",
                        test_early_empty_line_ends_the_block);
        g_test_add_func("/agi-env/odd-lines-do-not-end-the-block",
                        test_odd_lines_do_not_end_the_block);
        g_test_add_func("/agi-env/only-an-empty-line", test_only_an_empty_line);
        g_test_add_func("/agi-env/nul-is-data", test_nul_is_data);
        g_test_add_func("/agi-env/cut-short-is-never-complete", test_cut_short_is_never_complete);
        g_test_add_func("/agi-env/512-lines-are-kept", test_512_lines_are_kept);
        g_test_add_func("/agi-env/too-many-lines", test_too_many_lines);
        g_test_add_func("/agi-env/line-at-the-limit", test_line_at_the_limit);
        g_test_add_func("/agi-env/long-line-is-refused-before-its-end",
                        test_long_line_is_refused_before_its_end);
        g_test_add_func("/agi-env/block-at-the-limit", test_block_at_the_limit);
        g_test_add_func("/agi-env/both-url-lines-at-their-longest",
                        test_both_url_lines_at_their_longest);
        g_test_add_func("/agi-env/samples-however-they-are-cut", test_samples_however_they_are_cut);
        g_test_add_func("/agi-env/largest-regular-block", test_largest_regular_block);
}

static void
add_write_tests(void)
{
        g_test_add_func("/agi-env/authority-is-replaced-in-place",
                        test_authority_is_replaced_in_place);
        g_test_add_func("/agi-env/crlf-block-is-understood", test_crlf_block_is_understood);
        g_test_add_func("/agi-env/one-cr-is-stripped-from-crlf-lines",
                        test_one_cr_is_stripped_from_crlf_lines);
        g_test_add_func("/agi-env/first-line-decides-what-cr-is",
                        test_first_line_decides_what_cr_is);
        g_test_add_func("/agi-env/forged-forwarded-line-is-dropped",
                        test_forged_forwarded_line_is_dropped);
        g_test_add_func("/agi-env/forged-forwarded-line-is-replaced",
                        test_forged_forwarded_line_is_replaced);
        g_test_add_func("/agi-env/forwarded-line-is-added-at-the-end",
                        test_forwarded_line_is_added_at_the_end);
        g_test_add_func("/agi-env/trusted-forwarded-line-is-appended-to",
                        test_trusted_forwarded_line_is_appended_to);
        g_test_add_func("/agi-env/trusted-forwarded-lines-pass-unchanged",
                        test_trusted_forwarded_lines_pass_unchanged);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        add_parse_tests();
        add_write_tests();

        return g_test_run();
}
