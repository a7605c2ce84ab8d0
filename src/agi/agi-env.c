/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One pass with memchr() finds the line ends; each line is looked at once more only as far as its
 * name. Nothing is copied before agi_env_write(), which for the common block (LF, no
 * agi_x_fwd_for) is three copies around the authority.
 *
 * All answers are the same however the block is cut into pieces. So a limit is checked on the line
 * without its end, and a CR that may yet turn out to belong to a line end isn't counted.
 */
#include "agi/agi-env.h"

#include <string.h>

#include "agi/agi-request.h"

#define FORWARDED "agi_x_fwd_for:"

/* What agi_env_write() puts in place of what. */
typedef struct Edit {
        const char *text; /* NULL changes nothing */
        size_t offset, length;
} Edit;

static inline bool
line_is(const char *block, size_t start, size_t end, const char *name)
{
        return end - start >= strlen(name) && memcmp(block + start, name, strlen(name)) == 0;
}

/* True when the line has this name and is the first one: a value never stands at offset 0. */
static inline bool
span_take(AgiSpan *span, const char *block, size_t start, size_t end, const char *name)
{
        if (span->offset || !line_is(block, start, end, name))
                return false;

        start += strlen(name);
        if (start < end && block[start] == ' ')
                start++;
        span->offset = start;
        span->length = end - start;
        return true;
}

static void
agi_env_take_line(AgiEnv *env, const char *block, size_t start, size_t end)
{
        if (end - start <= strlen("agi_") || memcmp(block + start, "agi_", strlen("agi_")) != 0)
                return;

        switch (block[start + strlen("agi_")]) {
        case 'c':
                if (!span_take(&env->channel, block, start, end, "agi_channel:"))
                        span_take(&env->callerid, block, start, end, "agi_callerid:");
                break;
        case 'r':
                if (span_take(&env->request, block, start, end, "agi_request:"))
                        env->has_request = true;
                break;
        case 'u':
                span_take(&env->uniqueid, block, start, end, "agi_uniqueid:");
                break;
        case 'x':
                if (line_is(block, start, end, FORWARDED)) {
                        env->has_forwarded = true;
                        env->forwarded = start;
                }
                break;
        }
}

void
agi_env_init(AgiEnv *env)
{
        *env = (AgiEnv){ 0 };
}

/* Whether the line that has no LF yet is too long, whatever comes. */
static bool
agi_env_tail_is_long(const AgiEnv *env, const char *block, size_t limit)
{
        bool may_be_crlf = env->crlf || env->n_lines == 0;
        size_t length = limit - env->line_start;

        if (length > 0 && may_be_crlf && block[limit - 1] == '\r')
                length--;
        return length > AGI_ENV_MAX_LINE;
}

AgiEnvResult
agi_env_parse(AgiEnv *env, const char *block, size_t size)
{
        size_t limit = MIN(size, AGI_ENV_MAX_SIZE);
        const char *lf;

        while (limit > env->scanned &&
               (lf = memchr(block + env->scanned, '\n', limit - env->scanned))) {
                size_t start = env->line_start, end = lf - block;

                env->scanned = end + 1;

                if (end > start && block[end - 1] == '\r') {
                        if (env->n_lines == 0)
                                env->crlf = true;
                        if (env->crlf)
                                end--;
                }
                if (end - start > AGI_ENV_MAX_LINE)
                        return AGI_ENV_TOO_LONG;
                /* A bare LF among CRLF lines is empty too: it would be to the server. */
                if (end == start)
                        return AGI_ENV_COMPLETE;
                if (env->n_lines == AGI_ENV_MAX_LINES)
                        return AGI_ENV_TOO_MANY;

                agi_env_take_line(env, block, start, end);
                env->n_lines++;
                env->line_start = env->scanned;
        }
        env->scanned = limit;

        /* When the limit is reached without an empty line, the block is beyond it. */
        if (limit == AGI_ENV_MAX_SIZE || agi_env_tail_is_long(env, block, limit))
                return AGI_ENV_TOO_LONG;
        return AGI_ENV_MORE;
}

size_t
agi_env_get_size(const AgiEnv *env)
{
        return env->scanned;
}

size_t
agi_env_get_written_max(const AgiEnv *env, const char *authority, const AgiForward *forward)
{
        size_t max = env->scanned;

        if (authority)
                max += strlen(authority);
        if (forward && forward->client)
                max += strlen(FORWARDED ", \n") + strlen(forward->client);
        return max;
}

static Edit
agi_env_get_edit(const AgiEnv *env, const char *block, const char *authority)
{
        AgiRequest request;

        if (!authority || !env->has_request ||
            !agi_request_parse(&request, block + env->request.offset, env->request.length))
                return (Edit){ NULL };

        return (Edit){ authority, env->request.offset + request.authority,
                       request.authority_length };
}

/* Copies the bytes of @block from @start to @end with the edit made if it lies there; whole lines
 * or one line, whose end may be left out. */
static char *
edit_copy(const Edit *edit, const char *block, size_t start, size_t end, char *out)
{
        if (edit->text && edit->offset > start && edit->offset <= end) {
                out = mempcpy(out, block + start, edit->offset - start);
                out = mempcpy(out, edit->text, strlen(edit->text));
                start = edit->offset + edit->length;
        }
        return mempcpy(out, block + start, end - start);
}

static char *
agi_env_write_lines(const AgiEnv *env,
                    const char *block,
                    const Edit *edit,
                    const AgiForward *forward,
                    char *out)
{
        size_t next;

        for (size_t start = 0; start < env->line_start; start = next) {
                const char *lf = memchr(block + start, '\n', env->line_start - start);
                size_t end = lf - block;
                bool is_forwarded;

                next = end + 1;
                if (env->crlf && end > start && block[end - 1] == '\r')
                        end--;

                is_forwarded = line_is(block, start, end, FORWARDED);
                if (is_forwarded && !forward->trusted)
                        continue;
                if (is_forwarded && forward->client && start != env->forwarded)
                        continue;

                out = edit_copy(edit, block, start, end, out);
                if (is_forwarded && forward->client) {
                        out = stpcpy(out, ", ");
                        out = stpcpy(out, forward->client);
                }
                *out++ = '\n';
        }
        return out;
}

size_t
agi_env_write(const AgiEnv *env,
              const char *block,
              const char *authority,
              const AgiForward *forward,
              char *out)
{
        static const AgiForward unchanged = { .client = NULL, .trusted = true };
        Edit edit = agi_env_get_edit(env, block, authority);
        char *p = out;

        if (!forward)
                forward = &unchanged;

        if (!env->crlf && (!env->has_forwarded || (forward->trusted && !forward->client)))
                p = edit_copy(&edit, block, 0, env->line_start, p);
        else
                p = agi_env_write_lines(env, block, &edit, forward, p);

        if (forward->client && !(forward->trusted && env->has_forwarded)) {
                p = stpcpy(p, FORWARDED " ");
                p = stpcpy(p, forward->client);
                *p++ = '\n';
        }
        *p++ = '\n';
        return p - out;
}
