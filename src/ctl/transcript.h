/* SPDX-License-Identifier: GPL-3.0-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

/* A dialogue on standard output: when, in which direction, and what, one line for a line. */

typedef enum TranscriptKind {
        TRANSCRIPT_SENT,
        TRANSCRIPT_RECEIVED,
        TRANSCRIPT_NOTE, /* what happened, in words */
} TranscriptKind;

/* Times are counted from here. With @quiet nothing is printed. */
void transcript_start(bool quiet);

/* Control bytes, and what this terminal's character set can't show, are escaped. */
void transcript_line(TranscriptKind kind, const char *text, size_t length);
void transcript_note(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* @text with those bytes escaped; @utf8: other than ASCII can be shown. */
char *transcript_escape(const char *text, size_t length, bool utf8);
