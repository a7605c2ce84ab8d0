/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENVIRONMENT_SIZE 560
#define AUTHORITY_SIZE   15
#define REQUEST          "agi_request: "
#define SCHEME           "agi://"

static bool
parse_number(const char *text, size_t length, size_t max, size_t *number)
{
        *number = 0;
        for (size_t i = 0; i < length; i++) {
                if (text[i] < '0' || text[i] > '9' || *number > max)
                        return false;
                *number = *number * 10 + (size_t)(text[i] - '0');
        }

        return length > 0 && *number <= max;
}

static bool
parse_segment(Script *script, const char *segment, size_t length)
{
        size_t number;

        if (length == 4 && memcmp(segment, "hold", 4) == 0)
                script->hold = true;
        else if (length == 4 && memcmp(segment, "shut", 4) == 0)
                script->shut = true;
        else if (length < 2 || segment[1] < '0' || segment[1] > '9')
                return true;
        else if (segment[0] == 'k') {
                if (!parse_number(segment + 1, length - 1, 999999, &number))
                        return false;
                script->commands = (unsigned)number;
        } else if (segment[0] == 'c')
                return parse_number(segment + 1, length - 1, SCRIPT_MAX_COMMAND,
                                    &script->command_size);
        else if (segment[0] == 'b')
                return parse_number(segment + 1, length - 1, SCRIPT_MAX_REPLY, &script->reply_size);

        return true;
}

bool
script_parse(Script *script, const char *path, size_t length)
{
        const char *end = memchr(path, '?', length) ?: path + length;

        *script = (Script){ 0 };
        while (path < end) {
                const char *slash = memchr(path, '/', (size_t)(end - path)) ?: end;

                if (!parse_segment(script, path, (size_t)(slash - path)))
                        return false;
                path = slash + 1;
        }

        return true;
}

/* The lines before the request, and those after it; a session's number is in both. */
static size_t
write_head(char *buffer, const char *path, size_t path_length, unsigned id)
{
        return (size_t)snprintf(buffer, SCRIPT_MAX_ENVIRONMENT,
                                "agi_network: yes\nagi_network_script: %.*s?id=%08u\n",
                                (int)path_length, path, id);
}

static size_t
write_tail(char *buffer, size_t length, size_t path_length, unsigned id)
{
        size_t others = (size_t)snprintf(
                buffer, SCRIPT_MAX_ENVIRONMENT,
                "agi_channel: PJSIP/trunk-%08u\nagi_language: en\nagi_type: PJSIP\n"
                "agi_uniqueid: 1795408228.%08u\nagi_version: 22.10.1\n"
                "agi_callerid: 15551234567\nagi_calleridname: Alice Example\n"
                "agi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\n"
                "agi_dnid: unknown\nagi_rdnis: unknown\nagi_context: from-trunk\n"
                "agi_extension: 100\nagi_priority: 2\nagi_enhanced: 0.0\nagi_accountcode: \n"
                "agi_threadid: 140259014751936\nagi_arg_1: ",
                id, id);
        size_t before = length + strlen(REQUEST SCHEME "/?id=00000000\n") + AUTHORITY_SIZE +
                        path_length + others;
        size_t filler = before + 2 < ENVIRONMENT_SIZE ? ENVIRONMENT_SIZE - before - 2 : 0;

        memset(buffer + others, 'a', filler);
        memcpy(buffer + others + filler, "\n\n", 2);

        return others + filler + 2;
}

size_t
script_environment(char *buffer, const char *authority, const char *path, unsigned id)
{
        size_t path_length = strlen(path);
        size_t head = write_head(buffer, path, path_length, id);
        size_t request = (size_t)sprintf(buffer + head, REQUEST SCHEME "%s/%s?id=%08u\n", authority,
                                         path, id);

        return head + request + write_tail(buffer + head + request, head, path_length, id);
}

static bool
find_request(ScriptRequest *request, const char *line, const char *end)
{
        const size_t prefix = strlen(REQUEST SCHEME);
        const char *slash, *query;
        size_t id;

        if ((size_t)(end - line) < prefix || memcmp(line, REQUEST SCHEME, prefix) != 0)
                return false;
        slash = memchr(line + prefix, '/', (size_t)(end - line) - prefix);
        query = slash ? memchr(slash, '?', (size_t)(end - slash)) : NULL;
        if (!query || end - query != (ptrdiff_t)strlen("?id=00000000") ||
            memcmp(query, "?id=", 4) != 0 || !parse_number(query + 4, 8, 99999999, &id))
                return false;

        *request = (ScriptRequest){
                .path = slash + 1,
                .path_length = (size_t)(query - slash - 1),
                .id = (unsigned)id,
        };

        return true;
}

bool
script_check_environment(ScriptRequest *request, const char *environment, size_t length)
{
        char expected[2 * SCRIPT_MAX_ENVIRONMENT];
        const char *end = environment + length, *line = memmem(environment, length, REQUEST, 13);
        const char *line_end = line ? memchr(line, '\n', (size_t)(end - line)) : NULL;
        size_t head, others, before, after;

        if (!line_end || !find_request(request, line, line_end) ||
            request->path_length > SCRIPT_MAX_ENVIRONMENT / 4)
                return false;

        head = write_head(expected, request->path, request->path_length, request->id);
        others = head + write_tail(expected + head, head, request->path_length, request->id);
        before = (size_t)(line - environment);
        after = (size_t)(end - line_end - 1);

        return (before == head || after == strlen("\n")) && before + after == others &&
               memcmp(environment, expected, before) == 0 &&
               memcmp(line_end + 1, expected + before, after) == 0;
}

const char *
script_command(const Script *script, unsigned id, unsigned n, size_t *length)
{
        static char command[SCRIPT_MAX_COMMAND + 64];
        size_t used = (size_t)sprintf(command, "SET VARIABLE BENCH %08u-%06u", id, n);

        if (script->command_size > used + 1) {
                memset(command + used, 'c', script->command_size - used - 1);
                used = script->command_size - 1;
        }
        command[used++] = '\n';
        *length = used;

        return command;
}

const char *
script_reply(const Script *script, size_t *length)
{
        static char *reply; /* a run has one size of reply, so it is made once */
        static size_t size;
        const size_t least = strlen("200 result=1 ()\n");

        if (script->reply_size <= least) {
                *length = strlen("200 result=1\n");
                return "200 result=1\n";
        }
        if (size != script->reply_size) {
                free(reply);
                size = script->reply_size;
                reply = malloc(size);
                if (!reply)
                        abort();
                memset(reply, 'b', size);
                memcpy(reply, "200 result=1 (", 14);
                memcpy(reply + size - 2, ")\n", 2);
        }
        *length = size;

        return reply;
}
