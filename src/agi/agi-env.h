/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <glib.h>

/*
 * The environment block: `name: value` lines up to an empty one, as a client sends them at the
 * start of a session. The bytes stay in the caller's buffer; this only remembers where things stand
 * in it, so that a block may come in pieces of any size and costs one look at each byte.
 *
 * Values are never escaped, so whatever a caller could put into his name stands there as is: lines
 * without a colon, further agi_request lines, an early empty line. The first line of a name counts.
 */

#define AGI_ENV_MAX_LINE  (16 * 1024) /* without its line end */
#define AGI_ENV_MAX_SIZE  (64 * 1024) /* with the empty line */
#define AGI_ENV_MAX_LINES 512         /* without the empty line */

/* A piece of the block; length 0 when the line was absent or empty, and then offset may be 0. */
typedef struct AgiSpan {
        uint32_t offset, length;
} AgiSpan;

typedef enum AgiEnvResult {
        AGI_ENV_MORE,     /* no empty line yet */
        AGI_ENV_COMPLETE, /* agi_env_get_size() bytes are the block, what follows is the session's
                           */
        AGI_ENV_TOO_LONG, /* a line, or the whole, is beyond the limits */
        AGI_ENV_TOO_MANY, /* more lines than the limit */
} AgiEnvResult;

/* Embedded in its owner; agi_env_init() before use, nothing to clear. */
typedef struct AgiEnv {
        uint32_t scanned;    /* no LF before here but those already seen */
        uint32_t line_start; /* of the line that is incomplete, at last of the empty one */
        uint32_t forwarded;  /* where the last agi_x_fwd_for line starts */
        uint16_t n_lines;    /* complete, the empty one not counted */
        bool crlf;           /* the client ends its lines with CRLF: its first line does */
        bool has_request;
        bool has_forwarded;                  /* at least one agi_x_fwd_for line */
        AgiSpan request;                     /* value of the first agi_request */
        AgiSpan uniqueid, channel, callerid; /* values of the first such lines */
} AgiEnv;

/* How agi_x_fwd_for is treated. */
typedef struct AgiForward {
        const char *client; /* "IP:PORT" to add; NULL adds nothing */
        bool trusted;       /* the client's own line stays (and @client is appended to it) */
} AgiForward;

void agi_env_init(AgiEnv *env);

/* Looks at what is new in @block, which holds all @size bytes received so far (the same ones as
 * before first). To be called again with more after AGI_ENV_MORE only. */
AgiEnvResult agi_env_parse(AgiEnv *env, const char *block, size_t size);

/* After AGI_ENV_COMPLETE: how many bytes the block has, its empty line included. */
size_t agi_env_get_size(const AgiEnv *env);

/* The most bytes that agi_env_write() can make of this block. */
size_t agi_env_get_written_max(const AgiEnv *env, const char *authority, const AgiForward *forward);

/* Writes the block to @out as the server is to get it and returns its size: every line in its order
 * and with its bytes, but CRLF line ends become LF, the authority of the first agi_request becomes
 * @authority (NULL keeps it), and agi_x_fwd_for is treated as @forward says: without trust the
 * client's lines of that name are left out; with trust the last of them stays in its place, with
 * ", client" appended when there is a client to add; a line that isn't there yet is added at the
 * end. No @forward changes nothing. */
size_t agi_env_write(const AgiEnv *env,
                     const char *block,
                     const char *authority,
                     const AgiForward *forward,
                     char *out);
