/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The marks are curl's: '>' for what we send, '<' for what we get, '*' for a remark. What a server
 * says is shown, never obeyed: nothing it sends can move the cursor or make a line that looks like
 * another one.
 */

#include "ctl/transcript.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <glib.h>

typedef struct TranscriptStyle {
        char mark;
        const char *colour;
} TranscriptStyle;

static const TranscriptStyle transcript_styles[] = {
        [TRANSCRIPT_SENT] = { '>', "\033[36m" },
        [TRANSCRIPT_RECEIVED] = { '<', "\033[32m" },
        [TRANSCRIPT_NOTE] = { '*', "\033[2m" },
};

/* One dialogue for a process; it is the one thing here that changes. */
static struct {
        gint64 start;
        bool quiet, coloured, utf8;
} transcript;

void
transcript_start(bool quiet)
{
        transcript.start = g_get_monotonic_time();
        transcript.quiet = quiet;
        transcript.coloured = isatty(STDOUT_FILENO) && !g_getenv("NO_COLOR");
        transcript.utf8 = g_get_charset(NULL);
}

static void
transcript_escape_byte(GString *out, unsigned char c)
{
        switch (c) {
        case '\n':
                g_string_append(out, "\\n");
                break;
        case '\r':
                g_string_append(out, "\\r");
                break;
        case '\t':
                g_string_append(out, "\\t");
                break;
        default:
                g_string_append_printf(out, "\\x%02x", c);
        }
}

char *
transcript_escape(const char *text, size_t length, bool utf8)
{
        GString *out = g_string_sized_new(length + 16);

        for (size_t i = 0; i < length;) {
                gunichar c = g_utf8_get_char_validated(text + i, (gssize)(length - i));
                bool valid = c != (gunichar)-1 && c != (gunichar)-2 && c != 0;
                size_t n = valid ? g_utf8_next_char(text + i) - (text + i) : 1;

                if (valid && g_unichar_isprint(c) && (utf8 || c < 0x80)) {
                        g_string_append_len(out, text + i, (gssize)n);
                } else {
                        for (size_t k = 0; k < n; k++)
                                transcript_escape_byte(out, text[i + k]);
                }
                i += n;
        }

        return g_string_free(out, FALSE);
}

void
transcript_line(TranscriptKind kind, const char *text, size_t length)
{
        gint64 ms = (g_get_monotonic_time() - transcript.start) / G_TIME_SPAN_MILLISECOND;
        const TranscriptStyle *style = &transcript_styles[kind];
        g_autofree char *escaped = NULL;

        if (transcript.quiet)
                return;

        escaped = transcript_escape(text, length, transcript.utf8);
        printf("%s%4" G_GINT64_FORMAT ".%03d %c %s%s\n", transcript.coloured ? style->colour : "",
               ms / 1000, (int)(ms % 1000), style->mark, escaped,
               transcript.coloured ? "\033[0m" : "");
        fflush(stdout); /* whoever reads a pipe wants to see it as it happens */
}

void
transcript_note(const char *format, ...)
{
        g_autofree char *text = NULL;
        va_list args;

        va_start(args, format);
        text = g_strdup_vprintf(format, args);
        va_end(args);

        transcript_line(TRANSCRIPT_NOTE, text, strlen(text));
}
