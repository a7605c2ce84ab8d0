/* SPDX-License-Identifier: GPL-3.0-or-later */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <glib.h>

#include "daemon/settings-values.h"

/*
 * Every group and key there is, each in one row: what reading, hints about unknown names,
 * --dump-config and the test of the sample go by.
 */

typedef enum SettingsKindId {
        SETTINGS_PROXY,
        SETTINGS_LOG,
        SETTINGS_LISTENER,
        SETTINGS_SERVER,
        SETTINGS_ROUTE,
        SETTINGS_ANSWER,
        SETTINGS_SYSLOG,
} SettingsKindId;

#define SETTINGS_KINDS (SETTINGS_SYSLOG + 1)

typedef enum SettingsFallback {
        SETTINGS_OPTIONAL,  /* the row has the default */
        SETTINGS_REQUIRED,  /* there is none */
        SETTINGS_INHERITED, /* it is what [Proxy] has under the same name */
} SettingsFallback;

typedef struct SettingsKey {
        const char *name;
        SettingsReadFunc read; /* NULL: it names other groups, and settings-check reads it */
        const void *allowed;
        size_t offset; /* of the field, in the struct that its group is read into */
        const char *fallback_text;
        SettingsFallback fallback;
} SettingsKey;

/* The groups of one kind: [Proxy], or every [Server NAME]. */
typedef struct SettingsKind {
        SettingsKindId id;
        const char *name;
        bool is_named;
        size_t n_keys;
        const SettingsKey *keys;
} SettingsKind;

const SettingsKind *settings_kind_get(SettingsKindId id);

/* The index of the key of that name; n_keys when there is none. */
size_t settings_kind_find_key(const SettingsKind *kind, const char *name);

/* The default of a key as it would be written; "" for a required one. */
const char *settings_key_get_fallback(const SettingsKey *key);
