/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * What is said in one session. It follows from the request path and the session's number alone, so
 * that each side knows every byte that the other has to send, and a byte lost, added, changed or
 * given to the wrong session shows at once.
 */

#define SCRIPT_MAX_ENVIRONMENT 1024
#define SCRIPT_MAX_COMMAND     8192
#define SCRIPT_MAX_REPLY       (1024 * 1024)

#define SCRIPT_HANGUP "HANGUP\n"

/* The reply to a command in which the caller has hung up: to whichever it is, the server sends no
 * more of them and ends as it would after the last. What both replies begin with is one. */
#define SCRIPT_LAST_REPLY  "200 result=-1\n"
#define SCRIPT_REPLY_BEGIN "200 result="

typedef struct Script {
        unsigned commands;   /* `k3`: commands the server sends */
        size_t command_size; /* `c2000`: bytes of each of them; 0: as short as it comes */
        size_t reply_size;   /* `b65536`: bytes of each reply; 0: as short as it comes */
        bool hold;           /* `hold`: after the commands the session stays open */
        bool shut; /* `shut`: the server ends by shutdown() and reads on, not by close() */
} Script;

/* Reads the segments of @path ("ivr/k3/shut"), up to a '?'; those it does not know are left to
 * whoever routes by them. False when a number makes no sense. */
bool script_parse(Script *script, const char *path, size_t length);

/* The environment of session @id as a client sends it: 560 bytes when @authority has the 15 of
 * 127.0.0.1:40000. Returns its length; @buffer has room for SCRIPT_MAX_ENVIRONMENT. */
size_t script_environment(char *buffer, const char *authority, const char *path, unsigned id);

/* Finds the request in the environment that a server got, and its path and id in that. */
typedef struct ScriptRequest {
        const char *path; /* without leading '/' and without the query */
        size_t path_length;
        unsigned id;
} ScriptRequest;

/* False unless @environment is, but for the request's authority, what script_environment() makes.
 * (The Go program moves the request to the end.) */
bool script_check_environment(ScriptRequest *request, const char *environment, size_t length);

/* Command @n (from 1) of session @id. Valid until the next call. */
const char *script_command(const Script *script, unsigned id, unsigned n, size_t *length);

/* The reply to any command; one and the same memory for every session of a size. */
const char *script_reply(const Script *script, size_t *length);
