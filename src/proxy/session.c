/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A state is a row of session_states: a name, a step, a time limit, and what happens at the end of
 * that time. A step tries to get on and returns the state to be in, its own to wait. Every event of
 * either connection calls session_advance(); only session_enter() changes the state and its
 * deadline.
 *
 * Up to dialing the client's bytes are in the inbox, so that the environment can be sent to one
 * server after the other; from relaying on the relay has them, and where agitator is the server,
 * the answer (proxy/phase.h). A place at a server is held from choosing on, until the connection to
 * that server is closed (proxy/target.h).
 */

#include "proxy/session.h"

#include <errno.h>
#include <string.h>

#include "net/stream.h"
#include "proxy/ending.h"
#include "proxy/greeting.h"
#include "proxy/phase.h"
#include "proxy/record.h"
#include "proxy/target.h"
#include "proxy/trace.h"

#define REPORT_TIMEOUT (1 * G_TIME_SPAN_SECOND) /* for the reply to AGITATOR_STATUS */
#define LINGER_TIMEOUT (2 * G_TIME_SPAN_SECOND) /* for the client's end after ours */
#define FOREVER        G_MAXINT64

typedef enum SessionState {
        SESSION_GREETING,
        SESSION_READING,
        SESSION_CHOOSING,
        SESSION_DIALING,
        SESSION_RELAYING,
        SESSION_ANSWERING,
        SESSION_REFUSING,
        SESSION_LINGERING,
        SESSION_CLOSED,
} SessionState;

/* What a relayed command needs stands together, at the end. */
struct Session {
        GList link;
        Record record;
        Deadline deadline;
        Settings *settings;
        RouteSettings *route;
        Trace *trace; /* of what is said; NULL when nobody wants to see it */
        Target target;
        Phase phase;
        Stream client, server;
        Worker *worker;
        uint8_t state;   /* SessionState */
        uint8_t refusal; /* from the first; NONE: it has a place of the proxy's */
        uint8_t told;    /* the refusal that the client is told of; NONE: just FAILURE */

        /* Of the client, only as long as it is; so the size ends here, without any padding. */
        char address[] __attribute__((aligned(G_ALIGNOF(Address))));
};

typedef struct SessionStateRow {
        const char *name;
        SessionState (*step)(Session *session);
        SessionState (*expire)(Session *session);    /* NULL: closes */
        gint64 limit;                                /* FOREVER: none */
        gint64 (*get_limit)(const Session *session); /* instead, where it depends */
} SessionStateRow;

static const SessionStateRow session_states[];
static void session_advance(void *data);
static void session_on_deadline(void *data);
static void session_set_deadline(Session *session);

static gint64
session_now(const Session *session)
{
        return loop_now(worker_get_loop(session->worker));
}

static BufferPool *
session_pool(const Session *session)
{
        return worker_get_pool(session->worker);
}

/* One step of this session, where Level=debug or Debug= asks for it. */
#define session_debug(session, ...)                                                                \
        (G_LIKELY(!(session)->trace)                                                               \
                 ? (void)0                                                                         \
                 : record_log_step(&(session)->record, session_states[(session)->state].name,      \
                                   __VA_ARGS__))

/* From now on what is said is logged, if Debug= @asks for it or the level does. */
static void
session_trace(Session *session, bool asks)
{
        session->record.is_debugged |= asks;
        if (G_UNLIKELY(asks || log_is_enabled(G_LOG_LEVEL_DEBUG)) && !session->trace) {
                session->trace = trace_new(&session->record, session->settings);
                trace_environment(session->trace, &session->phase.inbox);
        }
}

/* Agitator is the server now. */
static void
session_begin_answer(Session *session, const char *const *commands, bool failure)
{
        session->record.bytes_in += buffer_length(&session->phase.inbox.bytes);
        target_leave(&session->target);
        phase_begin_answer(&session->phase, &session->client, commands, session->told, failure,
                           session->trace, session_pool(session), session_now(session));
}

static SessionState
session_refuse(Session *session, Refusal refusal)
{
        const char *failure = stream_get_failure(&session->client);

        session->record.result = RECORD_REFUSED;
        session->record.reason = refusal_get_word(refusal);
        record_note_failure(&session->record, session->target.error,
                            failure ? failure : session->target.failure);
        session->told = session->settings->report_status ? (uint8_t)refusal : REFUSAL_NONE;

        return SESSION_REFUSING;
}

/* Who speaks TLS where it should not, or doesn't where it should, is told FAILURE and no more. */
static SessionState
session_refuse_briefly(Session *session, const char *failure)
{
        session_refuse(session, REFUSAL_BADREQUEST);
        record_note_failure(&session->record, EPROTO, failure);
        session->told = REFUSAL_NONE;
        return SESSION_REFUSING;
}

/* The client went before it had been served. */
static SessionState
session_abandon(Session *session)
{
        session->record.result = RECORD_ABANDONED;
        record_note_break(&session->record, &session->client);
        return SESSION_CLOSED;
}

static SessionState
session_run_short(Session *session, int error)
{
        bool is_told;

        worker_note_short(session->worker, error);
        is_told = ending_run_short(&session->record, error, &session->phase, &session->client,
                                   &session->server);

        return is_told ? SESSION_LINGERING : SESSION_CLOSED;
}

static SessionState
greeting_step(Session *session)
{
        switch (greeting_run(&session->client, &session->record)) {
        case GREETING_WAIT:
                return SESSION_GREETING;
        case GREETING_DONE:
                return session->refusal ? session_refuse(session, session->refusal)
                                        : SESSION_READING;
        case GREETING_GONE:
                return session_abandon(session);
        case GREETING_PLAIN:
                return session_refuse_briefly(session, stream_get_failure(&session->client));
        case GREETING_FAILED:
                return SESSION_LINGERING;
        case GREETING_SHORT:
                return session_run_short(session, ENOMEM);
        }

        g_assert_not_reached();
}

static SessionState
reading_step(Session *session)
{
        const Inbox *inbox = &session->phase.inbox;
        InboxResult result =
                inbox_read(&session->phase.inbox, &session->client, session_pool(session));

        if (G_UNLIKELY(session->trace) && result != INBOX_WAIT)
                trace_environment(session->trace, inbox);

        switch (result) {
        case INBOX_WAIT:
                return SESSION_READING;
        case INBOX_COMPLETE:
                record_note_environment(&session->record, &inbox->env, buffer_data(&inbox->bytes));
                return SESSION_CHOOSING;
        case INBOX_BAD:
        case INBOX_CUT:
                session_debug(session, "the environment %s",
                              result == INBOX_BAD ? "is beyond the limits" : "was cut short");
                return session_refuse(session, REFUSAL_BADREQUEST);
        case INBOX_TLS:
                return session_refuse_briefly(session, "TLS on a listener without it");
        case INBOX_GONE:
                return session_abandon(session);
        case INBOX_SHORT:
                return session_run_short(session, ENOMEM);
        }

        g_assert_not_reached();
}

static gint64
reading_limit(const Session *session)
{
        return loop_time_left(session->refusal ? REPORT_TIMEOUT
                                               : session->settings->request_timeout,
                              session->record.started, session_now(session));
}

static SessionState
reading_expire(Session *session)
{
        return session_refuse(session, session->refusal ? session->refusal : REFUSAL_TIMEOUT);
}

static SessionState
session_play(Session *session, const AnswerSettings *answer)
{
        session->record.result = RECORD_ANSWERED;
        session_begin_answer(session, (const char *const *)answer->commands, answer->failure);

        return SESSION_ANSWERING;
}

/* No server of the route can take the session: its fallback, or a refusal. */
static SessionState
session_give_up(Session *session, Refusal refusal)
{
        target_leave(&session->target);
        if (session->route->answer) {
                session_debug(session, "%s: plays the fallback", refusal_get_word(refusal));
                session->record.reason = refusal_get_word(refusal);
                return session_play(session, session->route->answer);
        }

        return session_refuse(session, refusal);
}

/* What looking for a server has come to. */
static SessionState
session_follow(Session *session, TargetResult result)
{
        switch (result) {
        case TARGET_DIALING:
                session_trace(session, session->target.server->is_debugged);
                session_debug(session, "server %s", session->target.server->name);
                return SESSION_DIALING;
        case TARGET_NONE:
                return SESSION_CHOOSING;
        case TARGET_SHORT:
                worker_note_short(session->worker, session->target.error);
                return session_give_up(session, REFUSAL_FULL);
        }

        g_assert_not_reached();
}

static SessionState
choosing_step(Session *session)
{
        gint64 now = session_now(session);
        TargetResult result;
        bool is_odd;

        if (!session->route) {
                if (!inbox_find_route(&session->phase.inbox, session->settings,
                                      session_pool(session), &session->route, &is_odd))
                        return session_refuse(session, REFUSAL_BADREQUEST);
                if (is_odd)
                        record_log_odd_path(&session->record, session->settings);
                if (!session->route)
                        return session_refuse(session, REFUSAL_NOROUTE);

                session->record.route = session->route->name;
                session_trace(session, session->route->is_debugged);
                session->phase.setup_end =
                        now + MIN(session->route->setup_timeout, G_TIME_SPAN_DAY);
        }

        if (session->route->servers->len == 0)
                return session_play(session, session->route->answer);
        if (now >= session->phase.setup_end)
                return session_give_up(session, REFUSAL_TIMEOUT);

        result = target_find(&session->target, session->route, now);
        if (result != TARGET_NONE)
                return session_follow(session, result);

        return session_give_up(session,
                               session->target.was_unreached ? REFUSAL_NOSERVER : REFUSAL_FULL);
}

/* The target has taken the environment, or the beginning of it; @held is what it was made to. */
static SessionState
session_begin_relay(Session *session, const Buffer *held)
{
        BufferPool *pool = session_pool(session);
        Relay *relay = &session->phase.relay;
        Inbox inbox = phase_begin_relay(&session->phase);
        const char *ahead;
        size_t n;

        target_settle(&session->target);
        session->record.result = RECORD_SERVED;
        session->record.server = session->target.server->name;
        session->record.set_up = session_now(session);

        relay->to_server.held = *held;
        buffer_consume(&relay->to_server.held, pool, session->target.sent);
        relay->to_server.passed = (uint32_t)buffer_length(&relay->to_server.held);
        relay_start(relay, &session->client, &session->server, session->route, session->trace,
                    session_now(session));
        ahead = inbox_get_ahead(&inbox, &n);
        relay_note_client(relay, ahead, n);
        session->record.bytes_in += buffer_length(&inbox.bytes);
        inbox_clear(&inbox, pool);

        return SESSION_RELAYING;
}

static bool
session_watch(Session *session, Stream *stream)
{
        return stream_watch(stream, worker_get_loop(session->worker), session_advance, session);
}

/* What is dialed can't be reached for @error: its next address, or another server. */
static SessionState
session_redial(Session *session, int error)
{
        session_debug(session, "server %s: %s", session->target.server->name, g_strerror(error));

        return session_follow(session,
                              target_redial(&session->target, error, session_now(session)));
}

static SessionState
dialing_step(Session *session)
{
        SessionState next = SESSION_DIALING;
        Buffer out = { 0 };
        InboxResult ahead =
                inbox_read_ahead(&session->phase.inbox, &session->client, session_pool(session));

        if (ahead != INBOX_WAIT) {
                target_leave(&session->target);
                return ahead == INBOX_SHORT ? session_run_short(session, ENOMEM)
                                            : session_abandon(session);
        }

        while (next == SESSION_DIALING && stream_is_open(&session->server)) {
                StreamResult result = target_greet(&session->target, &session->phase.inbox,
                                                   session->settings, session->record.client,
                                                   session->route, &out, session_pool(session));
                int error =
                        result == STREAM_BROKEN ? stream_get_error(&session->server) : ECONNRESET;

                if (result == STREAM_OK || result == STREAM_WAIT) {
                        if (session_watch(session, &session->server))
                                return result == STREAM_OK ? session_begin_relay(session, &out)
                                                           : SESSION_DIALING;
                        session->target.error = errno;
                        buffer_clear(&out, session_pool(session));
                        target_leave(&session->target);
                        return session_follow(session, TARGET_SHORT);
                }

                next = session_redial(session, error);
                if (next == SESSION_DIALING)
                        session_set_deadline(session);
        }

        return next;
}

static gint64
dialing_limit(const Session *session)
{
        gint64 now = session_now(session);

        return MIN(target_get_limit(&session->target, now), MAX(session->phase.setup_end - now, 0));
}

/* The address that is being dialed has had its time. When that was the session's, it says nothing
 * about the server, and choosing will tell the client. */
static SessionState
dialing_expire(Session *session)
{
        /* Whoever took everything and has not refused it yet won't refuse it any more. */
        if (session->target.sent > 0) {
                session->target.is_sure = true;
                return dialing_step(session);
        }

        if (session_now(session) < session->phase.setup_end)
                return session_redial(session,
                                      stream_is_open(&session->server) ? ETIMEDOUT : EAGAIN);

        target_leave(&session->target);
        session->target.error = ETIMEDOUT;
        g_clear_pointer(&session->target.failure, g_free);

        return SESSION_CHOOSING;
}

static SessionState
relaying_step(Session *session)
{
        RelayResult result =
                relay_run(&session->phase.relay, session_pool(session), session_now(session));

        if (session->phase.relay.server_failed && session->target.server) {
                session->record.result = RECORD_BROKEN;
                record_note_failure(&session->record, session->phase.relay.server_error,
                                    session->phase.relay.server_failure);
                target_leave(&session->target);
        }

        switch (result) {
        case RELAY_RUNNING:
                if (relay_is_half_ended(&session->phase.relay))
                        session_set_deadline(session);
                return SESSION_RELAYING;
        case RELAY_ENDED:
                return SESSION_CLOSED;
        case RELAY_FAILED:
                return SESSION_LINGERING;
        case RELAY_SHORT:
                return session_run_short(session, ENOMEM);
        }

        g_assert_not_reached();
}

/* The deadline isn't moved at each event; when it comes too early, it is set anew. */
static gint64
relaying_limit(const Session *session)
{
        return relay_get_limit(&session->phase.relay, session_now(session));
}

static SessionState
relaying_expire(Session *session)
{
        RelayTimeout timeout = relay_check_time(&session->phase.relay, session_now(session));
        SessionState next;

        if (timeout == RELAY_IN_TIME)
                return SESSION_RELAYING;
        if (timeout == RELAY_UNENDED)
                return SESSION_CLOSED;
        session->record.reason = timeout == RELAY_IDLE ? "IDLE" : "THINK";

        /* After that nobody waits for what the client is still executing. */
        relay_fail_server(&session->phase.relay, session_pool(session), ETIMEDOUT,
                          RELAY_END_AGITATOR);
        next = relaying_step(session);

        return next == SESSION_RELAYING ? SESSION_LINGERING : next;
}

static SessionState
answering_step(Session *session)
{
        switch (answer_run(&session->phase.answer, session_pool(session), session_now(session))) {
        case ANSWER_RUNNING:
                return (SessionState)session->state;
        case ANSWER_SAID:
                return SESSION_LINGERING;
        case ANSWER_ENDED:
                return SESSION_CLOSED;
        case ANSWER_SHORT:
                return session_run_short(session, ENOMEM);
        }

        g_assert_not_reached();
}

static gint64
answering_limit(const Session *session)
{
        return loop_time_left(session->route->idle_timeout, session->phase.answer.active,
                              session_now(session));
}

static SessionState
answering_expire(Session *session)
{
        if (session->state == SESSION_ANSWERING) {
                if (answering_limit(session) > 0)
                        return SESSION_ANSWERING; /* as for relaying */
                session->record.reason = "IDLE";
        }
        answer_skip(&session->phase.answer);

        return answering_step(session);
}

static SessionState
lingering_step(Session *session)
{
        return stream_discard(&session->client, session_pool(session)) == STREAM_WAIT
                       ? SESSION_LINGERING
                       : SESSION_CLOSED;
}

static const SessionStateRow session_states[] = {
        [SESSION_GREETING] = { "greeting", greeting_step, reading_expire, 0, reading_limit },
        [SESSION_READING] = { "reading", reading_step, reading_expire, 0, reading_limit },
        [SESSION_CHOOSING] = { "choosing", choosing_step, NULL, FOREVER },
        [SESSION_DIALING] = { "dialing", dialing_step, dialing_expire, 0, dialing_limit },
        [SESSION_RELAYING] = { "relaying", relaying_step, relaying_expire, 0, relaying_limit },
        [SESSION_ANSWERING] = { "answering", answering_step, answering_expire, 0, answering_limit },
        [SESSION_REFUSING] = { "refusing", answering_step, answering_expire, REPORT_TIMEOUT },
        [SESSION_LINGERING] = { "lingering", lingering_step, NULL, LINGER_TIMEOUT },
        [SESSION_CLOSED] = { "closed", NULL, NULL, FOREVER },
};

static void
session_close(Session *session)
{
        Record *record = &session->record;

        /* Who is told of the end, by a close or by the log, finds the places free. */
        record_note_ends(record, &session->client, &session->server);
        deadline_stop(&session->deadline);
        target_clear(&session->target);
        worker_bury(session->worker, session, session->refusal == REFUSAL_NONE);
        stream_close(&session->client);

        trace_free(session->trace);
        ending_log(record, &session->phase, session->settings, session_now(session));
        phase_clear(&session->phase, session_pool(session));
}

static void
session_set_deadline(Session *session)
{
        const SessionStateRow *row = &session_states[session->state];
        gint64 limit = row->get_limit ? row->get_limit(session) : row->limit;

        if (limit == FOREVER)
                deadline_stop(&session->deadline);
        else
                deadline_start(&session->deadline, worker_get_loop(session->worker), limit,
                               session_on_deadline, session);
}

static void
session_enter(Session *session, SessionState state)
{
        session_debug(session, "→ %s", session_states[state].name);
        if (state >= SESSION_REFUSING)
                record_note_state(&session->record, session_states[session->state].name);
        session->state = (uint8_t)state;

        if (state == SESSION_CLOSED) {
                session_close(session);
                return;
        }
        if (state == SESSION_REFUSING)
                session_begin_answer(session, NULL, true);
        else if (state == SESSION_LINGERING)
                target_leave(&session->target);

        session_set_deadline(session);
}

static void
session_advance(void *data)
{
        Session *session = data;

        while (session->state != SESSION_CLOSED) {
                SessionState next = session_states[session->state].step(session);

                if (next == session->state)
                        break;
                session_enter(session, next);
        }
}

static void
session_on_deadline(void *data)
{
        Session *session = data;
        const SessionStateRow *row = &session_states[session->state];
        SessionState next = row->expire ? row->expire(session) : SESSION_CLOSED;

        if (next == session->state)
                session_set_deadline(session);
        else
                session_enter(session, next);
        session_advance(session);
}

Session *
session_new(Worker *worker,
            int fd,
            const Address *client,
            Settings *settings,
            const ListenerSettings *listener)
{
        size_t size = address_get_size(client);
        size_t room = G_STRUCT_OFFSET(Session, address) + size;
        Session *session = g_try_malloc0(MAX(room, sizeof(Session)));

        if (!session)
                return NULL;

        session->worker = worker;
        session->settings = settings_ref(settings);
        phase_init(&session->phase);
        session->link.data = session;
        session->target.stream = &session->server;
        memcpy(session->address, client, size);
        record_start(&session->record, worker_make_session_id(worker),
                     (const Address *)(const void *)session->address,
                     listener ? listener->name : NULL, session_now(session));
        if (!stream_open(&session->client, fd, listener ? listener->credentials : NULL)) {
                session_free(session);
                return NULL;
        }
        session_trace(session, trace_is_asked_for(settings, listener, client));

        return session;
}

void
session_start(Session *session, Refusal refusal)
{
        session->refusal = (uint8_t)refusal;
        session_enter(session, SESSION_GREETING);
        session_advance(session);

        /* The first bytes have usually been there before; what comes from now on is an event. */
        if (session->state != SESSION_CLOSED && !session_watch(session, &session->client))
                session_enter(session, session_run_short(session, errno));
}

void
session_cut(Session *session)
{
        BufferPool *pool = session_pool(session);

        switch ((SessionState)session->state) {
        case SESSION_RELAYING:
                session->phase.relay.on_server_failure = ON_SERVER_FAILURE_FAILURE;
                relay_fail_server(&session->phase.relay, pool, ECANCELED, RELAY_END_AGITATOR);
                if (relay_run(&session->phase.relay, pool, session_now(session)) == RELAY_SHORT)
                        session_run_short(session, ENOMEM);
                break;
        case SESSION_GREETING:
        case SESSION_READING:
        case SESSION_CHOOSING:
        case SESSION_DIALING:
                session_enter(session, session_refuse(session, REFUSAL_NOSERVER));
                G_GNUC_FALLTHROUGH;
        case SESSION_ANSWERING:
        case SESSION_REFUSING:
                session->phase.answer.failure = true;
                answer_skip(&session->phase.answer);
                if (answer_run(&session->phase.answer, pool, session_now(session)) == ANSWER_SHORT)
                        session_run_short(session, ENOMEM);
                break;
        case SESSION_LINGERING:
        case SESSION_CLOSED:
                break;
        }

        session->record.result = RECORD_CUT;
        session_enter(session, SESSION_CLOSED);
}

void
session_free(Session *session)
{
        record_clear(&session->record);
        settings_unref(session->settings);
        g_free(session);
}

GList *
session_get_link(Session *session)
{
        return &session->link;
}
