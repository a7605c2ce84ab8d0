/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The defaults are here as text and in settings_new() and its like as values; a test holds them
 * together.
 */

#include "daemon/settings-keys.h"

#include <string.h>

#include "proxy/settings.h"

#define OPTIONAL(text) .fallback_text = (text), .fallback = SETTINGS_OPTIONAL
#define REQUIRED       .fallback_text = "", .fallback = SETTINGS_REQUIRED
#define INHERITED      .fallback = SETTINGS_INHERITED

#define CHOICE(words) .read = settings_value_read_choice, .allowed = (words)
#define CLAIM(words)  .read = settings_value_read_claim, .allowed = (words)
#define COUNT(count)  .read = settings_value_read_count, .allowed = (count)
#define TIME(span)    .read = settings_value_read_time, .allowed = (span)
#define TEXT          .read = settings_value_read_text
#define LIST          .read = settings_value_read_list

/* A choice is stored as an int. */
G_STATIC_ASSERT(sizeof(BalanceMode) == sizeof(int));
G_STATIC_ASSERT(sizeof(CredentialsClient) == sizeof(int));
G_STATIC_ASSERT(sizeof(OnServerFailure) == sizeof(int));
G_STATIC_ASSERT(sizeof(LogSessions) == sizeof(int));
G_STATIC_ASSERT(sizeof(LogTarget) == sizeof(int));
G_STATIC_ASSERT(sizeof(GLogLevelFlags) == sizeof(int));

static const SettingsWord on_server_failure_words[] = {
        { "failure", ON_SERVER_FAILURE_FAILURE },
        { "reset", ON_SERVER_FAILURE_RESET },
        { "close", ON_SERVER_FAILURE_CLOSE },
        { NULL },
};

static const SettingsWord target_words[] = {
        { "auto", LOG_TARGET_AUTO },
        { "journal", LOG_TARGET_JOURNAL },
        { "console", LOG_TARGET_CONSOLE },
        { NULL },
};

static const SettingsWord level_words[] = {
        { "error", G_LOG_LEVEL_CRITICAL }, { "warning", G_LOG_LEVEL_WARNING },
        { "notice", G_LOG_LEVEL_MESSAGE }, { "info", G_LOG_LEVEL_INFO },
        { "debug", G_LOG_LEVEL_DEBUG },    { NULL },
};

static const SettingsWord sessions_words[] = {
        { "all", LOG_SESSIONS_ALL },
        { "failed", LOG_SESSIONS_FAILED },
        { "none", LOG_SESSIONS_NONE },
        { NULL },
};

static const SettingsWord facility_words[] = {
        { "kern", 0 },      { "user", 1 },    { "mail", 2 },    { "daemon", 3 },  { "auth", 4 },
        { "syslog", 5 },    { "lpr", 6 },     { "news", 7 },    { "uucp", 8 },    { "cron", 9 },
        { "authpriv", 10 }, { "ftp", 11 },    { "local0", 16 }, { "local1", 17 }, { "local2", 18 },
        { "local3", 19 },   { "local4", 20 }, { "local5", 21 }, { "local6", 22 }, { "local7", 23 },
        { NULL },
};

static const SettingsWord mode_words[] = {
        { "failover", BALANCE_FAILOVER },
        { "balance", BALANCE_LEAST },
        { "round-robin", BALANCE_ROUND_ROBIN },
        { NULL },
};

static const SettingsWord client_words[] = {
        { "none", CREDENTIALS_CLIENT_NONE },
        { "optional", CREDENTIALS_CLIENT_OPTIONAL },
        { "required", CREDENTIALS_CLIENT_REQUIRED },
        { NULL },
};

static const SettingsWord truncation_words[] = { { "accept", false }, { "fail", true }, { NULL } };

static const SettingsWord verify_words[] = {
        { "yes", false }, { "no", true }, { "true", false }, { "false", true }, { "on", false },
        { "off", true },  { "1", false }, { "0", true },     { NULL },
};

static const SettingsWord relay_words[] = { { "lines", false }, { "bytes", true }, { NULL } };

static const SettingsWord result_words[] = { { "success", false }, { "failure", true }, { NULL } };

static const SettingsCount threads_count = { 1, 256, "auto" };
static const SettingsCount proxy_sessions_count = { 1, 10 * 1000 * 1000, "auto" };
static const SettingsCount server_sessions_count = { 1, 10 * 1000 * 1000, "infinity" };
static const SettingsCount burst_count = { 1, 10 * 1000 * 1000, "infinity" };
static const SettingsCount weight_count = { 1, 1000, NULL };
static const SettingsCount queue_count = { 1, 1000 * 1000, NULL };
static const SettingsCount message_count = { 512, 65000, "auto" };

static const SettingsSpan short_span = { G_TIME_SPAN_MILLISECOND, G_TIME_SPAN_HOUR, false };
static const SettingsSpan long_span = { G_TIME_SPAN_MILLISECOND, 365 * G_TIME_SPAN_DAY, true };
static const SettingsSpan interval_span = { G_TIME_SPAN_SECOND, G_TIME_SPAN_DAY, false };

#define FIELD(field) .offset = offsetof(Settings, field)
static const SettingsKey proxy_keys[] = {
        { "Threads", COUNT(&threads_count), FIELD(threads), OPTIONAL("auto") },
        { "MaxSessions", COUNT(&proxy_sessions_count), FIELD(max_sessions), OPTIONAL("auto") },
        { "ForwardedFor", CLAIM(settings_value_yes_no), FIELD(forwarded_for), OPTIONAL("no") },
        { "TrustForwardedFor", settings_value_read_ranges, NULL, FIELD(trust), OPTIONAL("") },
        { "RewriteHost", CLAIM(settings_value_yes_no), FIELD(rewrite_host), OPTIONAL("yes") },
        { "ReportStatus", CLAIM(settings_value_yes_no), FIELD(report_status), OPTIONAL("yes") },
        { "OnServerFailure", CHOICE(on_server_failure_words), FIELD(on_server_failure),
          OPTIONAL("failure") },
        { "RequestTimeout", TIME(&short_span), FIELD(request_timeout), OPTIONAL("10s") },
        { "ConnectTimeout", TIME(&short_span), FIELD(connect_timeout), OPTIONAL("3s") },
        { "SetupTimeout", TIME(&short_span), FIELD(setup_timeout), OPTIONAL("10s") },
        { "IdleTimeout", TIME(&long_span), FIELD(idle_timeout), OPTIONAL("infinity") },
        { "ThinkTimeout", TIME(&long_span), FIELD(think_timeout), OPTIONAL("infinity") },
        { "StopTimeout", TIME(&long_span), FIELD(stop_timeout), OPTIONAL("30s") },
        { "ResolveInterval", TIME(&interval_span), FIELD(resolve_interval), OPTIONAL("30s") },
};

static const SettingsKey log_keys[] = {
        { "Target", CHOICE(target_words), FIELD(log_target), OPTIONAL("auto") },
        { "Level", CHOICE(level_words), FIELD(log_level), OPTIONAL("info") },
        { "Sessions", CHOICE(sessions_words), FIELD(log_sessions), OPTIONAL("all") },
        { "Debug", .read = NULL, OPTIONAL("") },
        { "Redact", settings_value_read_patterns, NULL, FIELD(log_redact),
          OPTIONAL(SETTINGS_REDACT) },
        { "RateLimitBurst", COUNT(&burst_count), FIELD(log_burst), OPTIONAL("20") },
        { "RateLimitInterval", TIME(&interval_span), FIELD(log_interval), OPTIONAL("10s") },
};
#undef FIELD

#define FIELD(field) .offset = offsetof(ListenerSettings, field)
static const SettingsKey listener_keys[] = {
        { "Listen", settings_value_read_listen, NULL, FIELD(listen), OPTIONAL("") },
        { "Allow", settings_value_read_ranges, NULL, FIELD(allow), OPTIONAL("") },
        { "TLS", CLAIM(settings_value_yes_no), FIELD(tls), OPTIONAL("no") },
        { "Certificate", LIST, FIELD(tls_options.certificates), OPTIONAL("") },
        { "PrivateKey", LIST, FIELD(tls_options.private_keys), OPTIONAL("") },
        { "OCSPResponse", LIST, FIELD(tls_options.ocsp_responses), OPTIONAL("") },
        { "ClientCertificate", CHOICE(client_words), FIELD(tls_options.client), OPTIONAL("none") },
        { "ClientCA", TEXT, FIELD(tls_options.ca), OPTIONAL("") },
        { "CRL", LIST, FIELD(tls_options.crls), OPTIONAL("") },
        { "TLSPriority", TEXT, FIELD(tls_options.priority), OPTIONAL("") },
        { "OnTruncation", CLAIM(truncation_words), FIELD(tls_options.fails_on_truncation),
          OPTIONAL("accept") },
};
#undef FIELD

#define FIELD(field) .offset = offsetof(ServerSettings, field)
static const SettingsKey server_keys[] = {
        { "Address", settings_value_read_endpoint, NULL, FIELD(endpoint), REQUIRED },
        { "MaxSessions", COUNT(&server_sessions_count), FIELD(max_sessions), OPTIONAL("infinity") },
        { "Weight", COUNT(&weight_count), FIELD(weight), OPTIONAL("1") },
        { "ConnectTimeout", TIME(&short_span), FIELD(connect_timeout), INHERITED },
        { "TLS", CLAIM(settings_value_yes_no), FIELD(tls), OPTIONAL("no") },
        { "TLSName", TEXT, FIELD(tls_options.name), OPTIONAL("") },
        { "CAFile", TEXT, FIELD(tls_options.ca), OPTIONAL("") },
        { "CRL", LIST, FIELD(tls_options.crls), OPTIONAL("") },
        { "TLSPin", LIST, FIELD(tls_options.pins), OPTIONAL("") },
        { "TLSVerify", CLAIM(verify_words), FIELD(tls_options.trusts_all), OPTIONAL("yes") },
        { "Certificate", LIST, FIELD(tls_options.certificates), OPTIONAL("") },
        { "PrivateKey", LIST, FIELD(tls_options.private_keys), OPTIONAL("") },
        { "TLSPriority", TEXT, FIELD(tls_options.priority), OPTIONAL("") },
        { "OnTruncation", CLAIM(truncation_words), FIELD(tls_options.fails_on_truncation),
          OPTIONAL("accept") },
};
#undef FIELD

#define FIELD(field) .offset = offsetof(RouteSettings, field)
static const SettingsKey route_keys[] = {
        { "Path", settings_value_read_path, NULL, FIELD(path), REQUIRED },
        { "Mode", CHOICE(mode_words), FIELD(mode), OPTIONAL("failover") },
        { "Servers", .read = NULL, OPTIONAL("") },
        { "Answer", .read = NULL, OPTIONAL("") },
        { "Fallback", .read = NULL, OPTIONAL("") },
        { "Relay", CLAIM(relay_words), FIELD(relay_bytes), OPTIONAL("lines") },
        { "RewriteHost", CLAIM(settings_value_yes_no), FIELD(rewrite_host), INHERITED },
        { "OnServerFailure", CHOICE(on_server_failure_words), FIELD(on_server_failure), INHERITED },
        { "SetupTimeout", TIME(&short_span), FIELD(setup_timeout), INHERITED },
        { "IdleTimeout", TIME(&long_span), FIELD(idle_timeout), INHERITED },
        { "ThinkTimeout", TIME(&long_span), FIELD(think_timeout), INHERITED },
};
#undef FIELD

#define FIELD(field) .offset = offsetof(AnswerSettings, field)
static const SettingsKey answer_keys[] = {
        { "Commands", settings_value_read_commands, NULL, FIELD(commands), OPTIONAL("") },
        { "Result", CLAIM(result_words), FIELD(failure), OPTIONAL("success") },
};
#undef FIELD

#define FIELD(field) .offset = offsetof(SyslogSettings, field)
static const SettingsKey syslog_keys[] = {
        { "Address", settings_value_read_syslog, NULL, FIELD(address), REQUIRED },
        { "Level", CHOICE(level_words), FIELD(level), OPTIONAL("info") },
        { "Sessions", CHOICE(sessions_words), FIELD(sessions), OPTIONAL("all") },
        { "Events", CLAIM(settings_value_yes_no), FIELD(takes_events), OPTIONAL("yes") },
        { "Facility", CHOICE(facility_words), FIELD(facility), OPTIONAL("daemon") },
        { "Hostname", settings_value_read_hostname, NULL, FIELD(hostname), OPTIONAL("") },
        { "MaxMessage", COUNT(&message_count), FIELD(max_message), OPTIONAL("auto") },
        { "Queue", COUNT(&queue_count), FIELD(max_records), OPTIONAL("10000") },
        { "TLSName", TEXT, FIELD(tls_options.name), OPTIONAL("") },
        { "CAFile", TEXT, FIELD(tls_options.ca), OPTIONAL("") },
        { "CRL", LIST, FIELD(tls_options.crls), OPTIONAL("") },
        { "TLSPin", LIST, FIELD(tls_options.pins), OPTIONAL("") },
        { "TLSVerify", CLAIM(verify_words), FIELD(tls_options.trusts_all), OPTIONAL("yes") },
        { "Certificate", LIST, FIELD(tls_options.certificates), OPTIONAL("") },
        { "PrivateKey", LIST, FIELD(tls_options.private_keys), OPTIONAL("") },
        { "TLSPriority", TEXT, FIELD(tls_options.priority), OPTIONAL("") },
};
#undef FIELD

#define KEYS(keys) G_N_ELEMENTS(keys), keys
static const SettingsKind kinds[] = {
        [SETTINGS_PROXY] = { SETTINGS_PROXY, "Proxy", false, KEYS(proxy_keys) },
        [SETTINGS_LOG] = { SETTINGS_LOG, "Log", false, KEYS(log_keys) },
        [SETTINGS_LISTENER] = { SETTINGS_LISTENER, "Listener", true, KEYS(listener_keys) },
        [SETTINGS_SERVER] = { SETTINGS_SERVER, "Server", true, KEYS(server_keys) },
        [SETTINGS_ROUTE] = { SETTINGS_ROUTE, "Route", true, KEYS(route_keys) },
        [SETTINGS_ANSWER] = { SETTINGS_ANSWER, "Answer", true, KEYS(answer_keys) },
        [SETTINGS_SYSLOG] = { SETTINGS_SYSLOG, "Syslog", true, KEYS(syslog_keys) },
};

G_STATIC_ASSERT(G_N_ELEMENTS(kinds) == SETTINGS_KINDS);

const SettingsKind *
settings_kind_get(SettingsKindId id)
{
        return &kinds[id];
}

size_t
settings_kind_find_key(const SettingsKind *kind, const char *name)
{
        size_t i = 0;

        while (i < kind->n_keys && strcmp(kind->keys[i].name, name) != 0)
                i++;

        return i;
}

const char *
settings_key_get_fallback(const SettingsKey *key)
{
        const SettingsKind *proxy = settings_kind_get(SETTINGS_PROXY);

        if (key->fallback == SETTINGS_INHERITED)
                key = &proxy->keys[settings_kind_find_key(proxy, key->name)];

        return key->fallback_text;
}
