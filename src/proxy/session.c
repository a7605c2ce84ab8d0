/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A state is a row of session_states: a name, a step, a time limit, and what happens at the end of
 * that time. A step tries to get on and returns the state to be in, its own to wait. Every event of
 * either connection calls session_advance(); only session_enter() changes the state and its
 * deadline.
 *
 * Up to dialing the client's bytes are in the inbox, so that the environment can be sent to one
 * server after the other; from relaying on the relay has them. A place at a server is held from
 * choosing on, until the connection to that server is closed (proxy/target.h).
 */

#include "proxy/session.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "net/stream.h"
#include "proxy/answer.h"
#include "proxy/inbox.h"
#include "proxy/quiet.h"
#include "proxy/record.h"
#include "proxy/relay.h"
#include "proxy/target.h"

#define REPORT_TIMEOUT  (1 * G_TIME_SPAN_SECOND) /* for the reply to AGITATOR_STATUS */
#define LINGER_TIMEOUT  (2 * G_TIME_SPAN_SECOND) /* for the client's end after ours */
#define KEEPALIVE_AFTER (5 * G_TIME_SPAN_SECOND) /* a session that lasts so long needs it */
#define FOREVER         G_MAXINT64

#define INBOX_FIRST 4096 /* holds the usual environment whole */
#define INBOX_MAX   (AGI_ENV_MAX_SIZE + RELAY_SERVER_ROOM)

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

struct Session {
        Worker *worker;
        Settings *settings;
        GList link;
        SessionState state;
        Refusal refusal;    /* from the first; NONE: it has a place of the proxy's */
        bool has_keepalive; /* the server's connection */

        Stream client, server;
        Deadline deadline;
        gint64 active; /* when something last happened while relaying */
        gint64 setup_end;

        Inbox inbox;
        RouteSettings *route;
        Target target;
        Relay relay;
        Answer answer;
        const char *report[2]; /* what a refusal says, NULL at its end */
        Record record;
};

typedef struct SessionStateRow {
        const char *name;
        SessionState (*step)(Session *session);
        gint64 (*get_limit)(const Session *session); /* NULL: none */
        SessionState (*expire)(Session *session);
} SessionStateRow;

static const SessionStateRow session_states[];

static void session_advance(void *data);

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

/* One step of this session, where Level=debug asks for it. */
#define session_debug(session, format, ...)                                                        \
        record_debug(&(session)->record, session_states[(session)->state].name, format,            \
                     ##__VA_ARGS__)

static SessionState
session_refuse(Session *session, Refusal refusal)
{
        session->record.result = RECORD_REFUSED;
        session->record.reason = refusal_get_word(refusal);
        record_note_failure(&session->record, session->target.error, session->target.failure);
        session->report[0] = session->settings->report_status ? refusal_get_report(refusal) : NULL;

        return SESSION_REFUSING;
}

/* Who speaks TLS where it should not, or doesn't where it should, is told FAILURE and no more. */
static SessionState
session_refuse_briefly(Session *session, const char *failure)
{
        SessionState next = session_refuse(session, REFUSAL_BADREQUEST);

        record_note_failure(&session->record, EPROTO, failure);
        session->report[0] = NULL;

        return next;
}

/* The client went before it had been served. */
static SessionState
session_abandon(Session *session)
{
        session->record.result = RECORD_ABANDONED;
        record_note_failure(&session->record, session->client.error,
                            stream_get_failure(&session->client));

        return SESSION_CLOSED;
}

/* greeting */

static SessionState
greeting_fail(Session *session)
{
        const char *failure = stream_get_failure(&session->client);

        if (stream_is_plain_after_all(&session->client))
                return session_refuse_briefly(session, failure);
        if (!failure)
                return session_abandon(session);

        /* The alert that says why is on its way: a close at once could overtake it. */
        session->record.result = RECORD_REFUSED;
        session->record.reason = "TLS";
        record_note_failure(&session->record, EPROTO, failure);
        stream_finish(&session->client);

        return SESSION_LINGERING;
}

static SessionState
greeting_step(Session *session)
{
        switch (stream_handshake(&session->client)) {
        case STREAM_OK:
                session->record.tls = stream_get_protocol(&session->client);
                session->record.tls_peer = stream_get_peer(&session->client);
                return session->refusal == REFUSAL_NONE ? SESSION_READING
                                                        : session_refuse(session, session->refusal);
        case STREAM_WAIT:
                return SESSION_GREETING;
        case STREAM_END:
        case STREAM_BROKEN:
                return greeting_fail(session);
        }

        g_assert_not_reached();
}

/* reading */

static SessionState
reading_step(Session *session)
{
        const Inbox *inbox = &session->inbox;

        switch (inbox_read(&session->inbox, &session->client, session_pool(session))) {
        case INBOX_WAIT:
                return SESSION_READING;
        case INBOX_COMPLETE:
                record_note_environment(&session->record, &inbox->env, buffer_data(&inbox->bytes));
                return SESSION_CHOOSING;
        case INBOX_BAD:
                session_debug(session, "the environment is beyond the limits");
                return session_refuse(session, REFUSAL_BADREQUEST);
        case INBOX_CUT:
                session_debug(session, "the environment was cut short");
                return session_refuse(session, REFUSAL_BADREQUEST);
        case INBOX_TLS:
                return session_refuse_briefly(session, "TLS on a listener without it");
        case INBOX_GONE:
                return session_abandon(session);
        }

        g_assert_not_reached();
}

static gint64
reading_get_limit(const Session *session)
{
        gint64 limit = session->settings->request_timeout;

        return limit == FOREVER ? FOREVER : session->record.started + limit - session_now(session);
}

static SessionState
reading_expire(Session *session)
{
        SessionState next = session_refuse(session, REFUSAL_TIMEOUT);

        record_note_failure(&session->record, 0, stream_get_failure(&session->client));

        return next;
}

/* choosing */

static SessionState
session_play(Session *session, const AnswerSettings *answer)
{
        session->record.result = RECORD_ANSWERED;
        target_leave(&session->target);
        answer_start(&session->answer, &session->client, (const char *const *)answer->commands,
                     answer->failure);

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

static SessionState
choosing_step(Session *session)
{
        gint64 now = session_now(session);

        if (!session->route) {
                switch (inbox_find_route(&session->inbox, session->settings, session_pool(session),
                                         &session->route)) {
                case INBOX_ROUTE_BAD:
                        return session_refuse(session, REFUSAL_BADREQUEST);
                case INBOX_ROUTE_ODD:
                        record_log_odd_path(&session->record);
                        break;
                case INBOX_ROUTE_GOOD:
                        break;
                }
                if (!session->route)
                        return session_refuse(session, REFUSAL_NOROUTE);

                session->record.route = session->route->name;
                session->setup_end = now + MIN(session->route->setup_timeout, G_TIME_SPAN_DAY);
        }

        if (session->route->servers->len == 0)
                return session_play(session, session->route->answer);
        if (now >= session->setup_end)
                return session_give_up(session, REFUSAL_TIMEOUT);
        if (target_find(&session->target, session->route, now)) {
                session_debug(session, "server %s", session->target.server->name);
                return SESSION_DIALING;
        }

        return session_give_up(session,
                               session->target.was_unreached ? REFUSAL_NOSERVER : REFUSAL_FULL);
}

/* dialing */

/* The target has taken the environment, or the beginning of it. */
static SessionState
session_begin_relay(Session *session, size_t sent)
{
        BufferPool *pool = session_pool(session);
        Relay *relay = &session->relay;
        const char *ahead;
        size_t n;

        target_settle(&session->target);
        session->record.result = RECORD_SERVED;
        session->record.server = session->target.server->name;
        session->record.set_up = session->active = session_now(session);

        buffer_consume(&relay->to_server.held, pool, sent);
        relay->to_server.passed = (uint32_t)buffer_length(&relay->to_server.held);
        relay_start(relay, &session->client, &session->server, session->route);
        ahead = inbox_get_ahead(&session->inbox, &n);
        agi_dialogue_reply(&relay->dialogue, ahead, n);
        session->record.bytes_in = buffer_length(&session->inbox.bytes);
        inbox_clear(&session->inbox, pool);

        return SESSION_RELAYING;
}

static bool
session_watch(Session *session, Stream *stream)
{
        return stream_watch(stream, worker_get_loop(session->worker), session_advance, session);
}

static SessionState
session_redial(Session *session, int error)
{
        session_debug(session, "server %s: %s", session->target.server->name, g_strerror(error));

        return target_redial(&session->target, error, session_now(session)) ? SESSION_DIALING
                                                                            : SESSION_CHOOSING;
}

static void session_set_deadline(Session *session);

static SessionState
dialing_step(Session *session)
{
        Buffer *out = &session->relay.to_server.held;
        SessionState next = SESSION_DIALING;

        if (!inbox_read_ahead(&session->inbox, &session->client, session_pool(session))) {
                target_leave(&session->target);
                return session_abandon(session);
        }

        while (next == SESSION_DIALING) {
                const Endpoint *endpoint = session->target.server->endpoint;
                StreamResult result = stream_handshake(&session->server);
                size_t sent = 0;

                if (result == STREAM_OK) {
                        inbox_write(&session->inbox, session->settings, &session->record.client,
                                    session->route->rewrite_host ? endpoint->authority : NULL, out,
                                    session_pool(session));
                        result = stream_write(&session->server, buffer_data(out),
                                              buffer_length(out), &sent);
                        if (result == STREAM_OK && session_watch(session, &session->server))
                                return session_begin_relay(session, sent);
                        buffer_clear(out, session_pool(session));
                }
                if (result == STREAM_WAIT && session_watch(session, &session->server))
                        break;

                next = session_redial(session, result == STREAM_BROKEN
                                                       ? stream_get_error(&session->server)
                                                       : ENOMEM);
                if (next == SESSION_DIALING)
                        session_set_deadline(session);
        }

        return next;
}

static gint64
dialing_get_limit(const Session *session)
{
        gint64 now = session_now(session);

        return MIN(target_get_limit(&session->target, now), MAX(session->setup_end - now, 0));
}

/* The address that is being dialed has had its time. When that was the session's, choosing will say
 * so. */
static SessionState
dialing_expire(Session *session)
{
        return session_redial(session, ETIMEDOUT);
}

/* relaying */

static SessionState
relaying_step(Session *session)
{
        RelayResult result = relay_run(&session->relay, session_pool(session));

        session->active = session_now(session);
        if (session->relay.server_failed && session->target.server) {
                session->record.result = RECORD_BROKEN;
                record_note_failure(&session->record, session->relay.server_error,
                                    session->relay.server_failure);
                target_leave(&session->target);
        }

        switch (result) {
        case RELAY_RUNNING:
                return SESSION_RELAYING;
        case RELAY_ENDED:
                return SESSION_CLOSED;
        case RELAY_FAILED:
                return SESSION_LINGERING;
        }

        g_assert_not_reached();
}

static gint64
relaying_get_limit(const Session *session)
{
        gint64 now = session_now(session);
        gint64 limit = quiet_get_limit(session->route, relay_awaits_command(&session->relay),
                                       session->active, now);

        if (!session->has_keepalive)
                limit = MIN(limit, quiet_get_left(KEEPALIVE_AFTER, session->record.set_up, now));

        return limit;
}

static SessionState
relaying_expire(Session *session)
{
        gint64 now = session_now(session);

        if (!session->has_keepalive &&
            quiet_get_left(KEEPALIVE_AFTER, session->record.set_up, now) == 0) {
                session->has_keepalive = true;
                if (stream_is_open(&session->server))
                        fd_set_keepalive(session->server.fd);
        }

        session->record.reason = quiet_get_fault(
                session->route, relay_awaits_command(&session->relay), session->active, now);
        if (!session->record.reason)
                return SESSION_RELAYING;

        relay_fail_server(&session->relay, session_pool(session), ETIMEDOUT);

        return relaying_step(session);
}

/* answering and refusing */

static SessionState
answering_step(Session *session)
{
        session->active = session_now(session);

        switch (answer_run(&session->answer, session_pool(session))) {
        case ANSWER_RUNNING:
                return session->state;
        case ANSWER_SAID:
                return SESSION_LINGERING;
        case ANSWER_ENDED:
                return SESSION_CLOSED;
        }

        g_assert_not_reached();
}

static gint64
answering_get_limit(const Session *session)
{
        return quiet_get_left(session->route->idle_timeout, session->active, session_now(session));
}

static gint64
refusing_get_limit(const Session *session)
{
        return REPORT_TIMEOUT;
}

static SessionState
answering_expire(Session *session)
{
        answer_skip(&session->answer);

        return answering_step(session);
}

/* lingering */

static SessionState
lingering_step(Session *session)
{
        return stream_discard(&session->client, session_pool(session)) == STREAM_WAIT
                       ? SESSION_LINGERING
                       : SESSION_CLOSED;
}

static gint64
lingering_get_limit(const Session *session)
{
        return LINGER_TIMEOUT;
}

static SessionState
lingering_expire(Session *session)
{
        return SESSION_CLOSED;
}

static const SessionStateRow session_states[] = {
        [SESSION_GREETING] = { "greeting", greeting_step, reading_get_limit, reading_expire },
        [SESSION_READING] = { "reading", reading_step, reading_get_limit, reading_expire },
        [SESSION_CHOOSING] = { "choosing", choosing_step, NULL, NULL },
        [SESSION_DIALING] = { "dialing", dialing_step, dialing_get_limit, dialing_expire },
        [SESSION_RELAYING] = { "relaying", relaying_step, relaying_get_limit, relaying_expire },
        [SESSION_ANSWERING] = { "answering", answering_step, answering_get_limit,
                                answering_expire },
        [SESSION_REFUSING] = { "refusing", answering_step, refusing_get_limit, answering_expire },
        [SESSION_LINGERING] = { "lingering", lingering_step, lingering_get_limit,
                                lingering_expire },
        [SESSION_CLOSED] = { "closed", NULL, NULL, NULL },
};

static void
session_close(Session *session)
{
        Record *record = &session->record;
        BufferPool *pool = session_pool(session);

        record->truncated = session->client.truncated   ? "client"
                            : session->server.truncated ? "server"
                                                        : NULL;
        deadline_stop(&session->deadline);
        target_leave(&session->target);
        stream_close(&session->client);

        record->commands = session->relay.dialogue.commands + session->answer.dialogue.commands;
        record->bytes_in += buffer_length(&session->inbox.bytes) + session->relay.to_server.bytes +
                            session->answer.bytes_in;
        record->bytes_out = session->relay.to_client.bytes + session->answer.bytes_out;
        record_log(record, session->settings->log_sessions, session_now(session));

        inbox_clear(&session->inbox, pool);
        relay_clear(&session->relay, pool);
        answer_clear(&session->answer, pool);
        target_clear(&session->target);
        worker_bury(session->worker, session);
}

static void session_on_deadline(void *data);

static void
session_set_deadline(Session *session)
{
        const SessionStateRow *row = &session_states[session->state];
        gint64 limit = row->get_limit ? row->get_limit(session) : FOREVER;

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
        session->state = state;

        switch (state) {
        case SESSION_REFUSING:
                target_leave(&session->target);
                inbox_clear(&session->inbox, session_pool(session));
                answer_start(&session->answer, &session->client, session->report, true);
                break;
        case SESSION_CLOSED:
                session_close(session);
                return;
        case SESSION_GREETING:
        case SESSION_READING:
        case SESSION_CHOOSING:
        case SESSION_DIALING:
        case SESSION_RELAYING:
        case SESSION_ANSWERING:
        case SESSION_LINGERING:
                break;
        }

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
        SessionState next = session_states[session->state].expire(session);

        if (next == session->state) {
                session_set_deadline(session);
                return;
        }
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
        Session *session = g_new0(Session, 1);

        session->worker = worker;
        session->settings = settings_ref(settings);
        session->link.data = session;
        session->target.stream = &session->server;
        session->record.id = worker_make_session_id(worker);
        session->record.client = *client;
        session->record.listener = listener->name;
        session->record.started = session_now(session);
        agi_env_init(&session->inbox.env);
        stream_open(&session->client, fd, listener->credentials);

        return session;
}

void
session_start(Session *session, Refusal refusal)
{
        session->refusal = refusal;
        session_enter(session, SESSION_GREETING);
        session_advance(session);

        /* The first bytes have usually been there before; what comes from now on is an event. */
        if (session->state != SESSION_CLOSED && !session_watch(session, &session->client)) {
                session->record.result = RECORD_REFUSED;
                session->record.error = errno;
                session_enter(session, SESSION_CLOSED);
        }
}

void
session_cut(Session *session)
{
        BufferPool *pool = session_pool(session);

        switch (session->state) {
        case SESSION_RELAYING:
                relay_fail_server(&session->relay, pool, ECANCELED);
                relay_run(&session->relay, pool);
                break;
        case SESSION_GREETING:
        case SESSION_READING:
        case SESSION_CHOOSING:
        case SESSION_DIALING:
                session_enter(session, session_refuse(session, REFUSAL_NOSERVER));
                G_GNUC_FALLTHROUGH;
        case SESSION_ANSWERING:
        case SESSION_REFUSING:
                session->answer.failure = true;
                answer_skip(&session->answer);
                answer_run(&session->answer, pool);
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

bool
session_has_place(const Session *session)
{
        return session->refusal == REFUSAL_NONE;
}

GList *
session_get_link(Session *session)
{
        return &session->link;
}
