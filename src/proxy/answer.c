/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the client sends is only looked at for the reply to the command that is out; the rest of an
 * environment that was refused half-way is thus discarded as it comes.
 */

#include "proxy/answer.h"

#include <string.h>

#include "base/fd.h"
#include "proxy/trace.h"

#define READS_PER_TURN 4

void
answer_start(Answer *answer,
             Stream *client,
             const char *const *commands,
             bool failure,
             Trace *trace,
             bool hides_client,
             gint64 now)
{
        *answer = (Answer){ client,
                            commands,
                            .failure = failure,
                            .trace = trace,
                            .hides_client = hides_client,
                            .active = now };
        agi_dialogue_init(&answer->dialogue);
}

void
answer_skip(Answer *answer)
{
        answer->skips = true;
}

void
answer_note_client(Answer *answer, const char *data, size_t size)
{
        if (G_UNLIKELY(answer->trace) && !answer->hides_client)
                trace_bytes(answer->trace, TRACE_FROM_CLIENT, data, size);
        agi_dialogue_reply(&answer->dialogue, data, size);
}

/* True when the client has broken. */
static bool
answer_read(Answer *answer, BufferPool *pool)
{
        char *scratch = buffer_pool_get_scratch(pool);
        size_t n;

        for (unsigned reads = 0; reads < READS_PER_TURN && !answer->ended; reads++) {
                switch (stream_read(answer->client, scratch, BUFFER_SCRATCH_SIZE, &n)) {
                case STREAM_OK:
                        answer->bytes_in += n;
                        answer_note_client(answer, scratch, n);
                        break;
                case STREAM_WAIT:
                        return false;
                case STREAM_END:
                        answer->ended = true;
                        answer->skips = true;
                        answer->was_left = !answer->finished;
                        return false;
                case STREAM_BROKEN:
                        answer->is_broken = true;
                        answer->is_short = fd_is_shortage(stream_get_error(answer->client));
                        answer->was_left = !answer->finished && !answer->is_short;
                        return true;
                }
        }
        if (!answer->ended)
                stream_again(answer->client);

        return false;
}

/* True when all that was said has left. */
static bool
answer_flush(Answer *answer, BufferPool *pool)
{
        size_t n;

        while (buffer_length(&answer->out) > 0) {
                StreamResult result = stream_write(answer->client, buffer_data(&answer->out),
                                                   buffer_length(&answer->out), &n);

                if (result == STREAM_WAIT)
                        return false;
                if (result == STREAM_BROKEN) {
                        answer->is_short = fd_is_shortage(stream_get_error(answer->client));
                        buffer_clear(&answer->out, pool);
                        return true; /* reading will tell */
                }
                buffer_consume(&answer->out, pool, n);
                answer->bytes_out += n;
        }

        return true;
}

/* False when there is no memory for it. */
static bool
answer_say(Answer *answer, const char *line, BufferPool *pool)
{
        if (!buffer_append(&answer->out, pool, line, strlen(line)) ||
            !buffer_append(&answer->out, pool, "\n", 1)) {
                buffer_clear(&answer->out, pool);
                return false;
        }
        agi_dialogue_command(&answer->dialogue, buffer_data(&answer->out),
                             buffer_length(&answer->out));
        if (G_UNLIKELY(answer->trace))
                trace_bytes(answer->trace, TRACE_FROM_AGITATOR, buffer_data(&answer->out),
                            buffer_length(&answer->out));

        return true;
}

static AnswerResult
answer_go_on(Answer *answer, BufferPool *pool)
{
        if (answer_read(answer, pool))
                return answer->is_short && !answer->finished ? ANSWER_SHORT : ANSWER_ENDED;

        while (answer_flush(answer, pool) && !answer->finished) {
                if (answer->is_short)
                        return ANSWER_SHORT;
                if (answer->dialogue.outstanding && !answer->skips)
                        break;

                if (*answer->commands && !answer->skips) {
                        if (!answer_say(answer, *answer->commands, pool))
                                return ANSWER_SHORT;
                        answer->commands++;
                } else if (answer->failure) {
                        if (!answer_say(answer, "FAILURE", pool))
                                return ANSWER_SHORT;
                        answer->failure = false;
                } else {
                        agi_dialogue_end(&answer->dialogue);
                        answer->finished = stream_finish(answer->client) != STREAM_WAIT;
                        if (!answer->finished)
                                break;
                }
        }

        if (!answer->finished)
                return ANSWER_RUNNING;

        return answer->ended ? ANSWER_ENDED : ANSWER_SAID;
}

AnswerResult
answer_run(Answer *answer, BufferPool *pool, gint64 now)
{
        uint64_t before = answer->bytes_in + answer->bytes_out;
        AnswerResult result = answer_go_on(answer, pool);

        if (answer->bytes_in + answer->bytes_out != before)
                answer->active = now;

        return result;
}

const char *
answer_get_status(const Answer *answer)
{
        if (answer->was_left)
                return answer->dialogue.hung_up || !answer->is_broken ? "HANGUP" : NULL;

        return agi_dialogue_get_status(&answer->dialogue, false);
}

const char *
answer_get_last_command(const Answer *answer)
{
        return answer->dialogue.commands > 0 ? answer->commands[-1] : NULL;
}

void
answer_clear(Answer *answer, BufferPool *pool)
{
        buffer_clear(&answer->out, pool);
        *answer = (Answer){ .client = NULL };
}
