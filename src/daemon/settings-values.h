/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <glib.h>

#include "daemon/settings-lines.h"

/*
 * One function for each type of value: reads what @line sets into @field. @allowed narrows it down;
 * both are of the types each function names. A value that won't do goes to @problems, each bad item
 * of a list by itself, with what would be right, and leaves the rest of the field as it was.
 */

typedef void (*SettingsReadFunc)(const SettingsLine *line,
                                 const void *allowed,
                                 void *field,
                                 GPtrArray *problems);

/* One of several words; a list of them ends with a NULL text. */
typedef struct SettingsWord {
        const char *text;
        int value;
} SettingsWord;

/* A number, or a word that stands for 0. */
typedef struct SettingsCount {
        unsigned min, max;
        const char *zero; /* NULL: no such word */
} SettingsCount;

/* A time, in microseconds. */
typedef struct SettingsSpan {
        int64_t min, max;
        bool may_be_infinite; /* G_MAXINT64 */
} SettingsSpan;

extern const SettingsWord settings_value_yes_no[];

void settings_value_read_choice(const SettingsLine *line,
                                const void *words, /* SettingsWord[] */
                                void *field,       /* int */
                                GPtrArray *problems);

void settings_value_read_claim(const SettingsLine *line,
                               const void *words, /* SettingsWord[] */
                               void *field,       /* bool */
                               GPtrArray *problems);

void settings_value_read_count(const SettingsLine *line,
                               const void *count, /* SettingsCount */
                               void *field,       /* unsigned */
                               GPtrArray *problems);

void settings_value_read_time(const SettingsLine *line,
                              const void *span, /* SettingsSpan */
                              void *field,      /* gint64 */
                              GPtrArray *problems);

void settings_value_read_ranges(const SettingsLine *line,
                                const void *none,
                                void *field, /* GArray of AddressRange */
                                GPtrArray *problems);

/* Addresses to listen on: no names. */
void settings_value_read_listen(const SettingsLine *line,
                                const void *none,
                                void *field, /* GPtrArray of Endpoint */
                                GPtrArray *problems);

void settings_value_read_text(const SettingsLine *line,
                              const void *none,
                              void *field, /* char * */
                              GPtrArray *problems);

void settings_value_read_list(const SettingsLine *line,
                              const void *none,
                              void *field, /* GStrv */
                              GPtrArray *problems);

/* Names with * and ? in them. */
void settings_value_read_patterns(const SettingsLine *line,
                                  const void *none,
                                  void *field, /* GStrv */
                                  GPtrArray *problems);

void settings_value_read_endpoint(const SettingsLine *line,
                                  const void *none,
                                  void *field, /* Endpoint * */
                                  GPtrArray *problems);

/* "udp:HOST:PORT", "unix:/PATH" and so on. */
void settings_value_read_syslog(const SettingsLine *line,
                                const void *none,
                                void *field, /* SyslogAddress */
                                GPtrArray *problems);

/* What this host calls itself in the log. */
void settings_value_read_hostname(const SettingsLine *line,
                                  const void *none,
                                  void *field, /* char * */
                                  GPtrArray *problems);

/* A route's path: "*", or segments as they are after decoding. */
void settings_value_read_path(const SettingsLine *line,
                              const void *none,
                              void *field, /* char * */
                              GPtrArray *problems);

void settings_value_read_commands(const SettingsLine *line,
                                  const void *none,
                                  void *field, /* GStrv */
                                  GPtrArray *problems);

/* The items of a list; NULL after a problem. The ';' in a pkcs11: URI are its own. */
GStrv settings_value_get_list(const SettingsLine *line, GPtrArray *problems);
