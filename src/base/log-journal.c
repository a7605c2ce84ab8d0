/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * GLib has a sink for the journal, but it lets a field have any bytes, and takes a system call and
 * a scatter list of five pieces a field for each record. Here a record is one piece of text, and a
 * batch of records one system call.
 *
 * The socket is connected, so that poll() can tell whether there is room. It outlives a restart of
 * the journal, which systemd keeps the other end for; when that is gone too it is connected again.
 */

#include "base/log-journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log-text.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define JOURNAL_BATCH  32

bool
log_journal_has_stderr(void)
{
        return g_log_writer_is_journald(STDERR_FILENO);
}

void
log_journal_format(GString *text, const LogRecord *record)
{
        for (size_t i = 0; i < record->n_fields; i++) {
                const GLogField *field = &record->fields[i];

                g_string_append(text, field->key);
                g_string_append_c(text, '=');
                log_text_append(text, field->value, log_field_get_length(field));
                g_string_append_c(text, '\n');
        }
}

static bool
journal_connect(int fd)
{
        const struct sockaddr_un journal = { AF_UNIX, JOURNAL_SOCKET };

        return connect(fd, (const struct sockaddr *)&journal, sizeof(journal)) == 0;
}

/* The socket, the same one for all threads; -1 when there is no journal. */
static int
journal_get_fd(void)
{
        static int shared = -1; /* atomic */
        int known = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
        fd_auto int fd = -1;

        if (known >= 0)
                return known;

        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || !journal_connect(fd))
                return -1;
        if (!__atomic_compare_exchange_n(&shared, &known, fd, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
                return known; /* another thread was quicker */

        return fd_steal(&fd);
}

/* False when there is no room by the end of @patience. */
static bool
journal_wait(int fd, gint64 patience)
{
        struct pollfd room = { .fd = fd, .events = POLLOUT };
        int timeout = patience < 0 ? -1 : (int)MIN((patience + 999) / 1000, INT_MAX);

        return TEMP_FAILURE_RETRY(poll(&room, 1, timeout)) > 0;
}

/* A record that is too long for a datagram goes as a file that nobody can change any more. */
static bool
journal_send_file(int fd, const char *text, size_t n, gint64 patience)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = { .header = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };

        const struct msghdr message = {
                .msg_control = control.bytes,
                .msg_controllen = sizeof(control.bytes),
        };
        fd_auto int file = memfd_create("journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (file < 0 || TEMP_FAILURE_RETRY(write(file, text, n)) != (ssize_t)n ||
            fcntl(file, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return false;

        memcpy(CMSG_DATA(&control.header), &file, sizeof(file));

        return journal_wait(fd, patience) &&
               TEMP_FAILURE_RETRY(sendmsg(fd, &message, MSG_NOSIGNAL)) >= 0;
}

/* After sending the first of @messages failed: true when it is sent now, or to be sent again. */
static bool
journal_mend(int fd, const struct mmsghdr *message, gint64 patience, unsigned *tries, bool *sent)
{
        const struct iovec *text = message->msg_hdr.msg_iov;

        *sent = false;
        switch (errno) {
        case EINTR:
                return true;
        case EAGAIN:
                return journal_wait(fd, patience);
        case EMSGSIZE:
        case ENOBUFS:
                *sent = journal_send_file(fd, text->iov_base, text->iov_len, patience);
                return *sent;
        case ECONNREFUSED:
        case ECONNRESET:
        case ENOTCONN:
        case EPIPE:
                return (*tries)++ == 0 && journal_connect(fd);
        }

        return false;
}

/* How many of the first @n were taken. */
static size_t
journal_send_all(int fd, struct mmsghdr *messages, size_t n, gint64 patience)
{
        size_t done = 0;
        unsigned tries = 0;

        while (done < n) {
                /* Waiting in the call is cheaper than poll(). */
                int result = sendmmsg(fd, messages + done, (unsigned)(n - done),
                                      MSG_NOSIGNAL | (patience < 0 ? 0 : MSG_DONTWAIT));
                bool sent;

                if (result > 0) {
                        done += (size_t)result;
                        tries = 0;
                        continue;
                }
                if (!journal_mend(fd, messages + done, patience, &tries, &sent))
                        break;
                done += sent;
        }

        return done;
}

/* The same for up to JOURNAL_BATCH records. */
static size_t
journal_send_batch(int fd, const LogRecord *records, size_t n, GString *text, gint64 patience)
{
        struct mmsghdr messages[JOURNAL_BATCH] = { 0 };
        struct iovec pieces[JOURNAL_BATCH];
        size_t from = 0;

        g_string_truncate(text, 0);
        for (size_t i = 0; i < n; i++, records = records->next) {
                log_journal_format(text, records);
                pieces[i].iov_len = text->len - from;
                from = text->len;
                messages[i].msg_hdr.msg_iov = &pieces[i];
                messages[i].msg_hdr.msg_iovlen = 1;
        }

        /* Where the text is for good is only known now. */
        from = 0;
        for (size_t i = 0; i < n; i++) {
                pieces[i].iov_base = text->str + from;
                from += pieces[i].iov_len;
        }

        return journal_send_all(fd, messages, n, patience);
}

size_t
log_journal_send(const LogRecord *records, size_t n, gint64 patience)
{
        g_autoptr(GString) text = NULL;
        int fd = journal_get_fd();
        size_t done = 0;

        if (fd < 0)
                return 0;

        text = g_string_sized_new(16 * 1024);
        while (done < n) {
                size_t batch = MIN(n - done, JOURNAL_BATCH);
                size_t sent = journal_send_batch(fd, records, batch, text, patience);

                done += sent;
                if (sent < batch)
                        break;
                for (; sent > 0; sent--)
                        records = records->next;
        }

        return done;
}
