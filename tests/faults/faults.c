/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Faults on purpose: a library to be preloaded, whose functions stand before those of the system
 * and fail when they are told to. What fails, when and how, is in a file that the test and the
 * program share in memory ($AGITATOR_FAULTS), so that a rule takes effect at once, for one call
 * after the other, and the test can see how often it was applied. With no such file, or no rule in
 * it, everything passes.
 *
 * A rule names a site, a thread by the beginning of its name, and for sockets which side they are
 * connected to: accepted (the client's) or connected (the server's). Of the calls that fit, the
 * first `after` pass, and the next `times` fail with `error`, or if that is 0, are given no more
 * than `length` bytes. At EOWNERDEAD the process ends there.
 *
 * EAGAIN is a promise of the kernel that an event follows, and so is a read that brings less than
 * was asked for (epoll(7)). So whoever meets one of them here has his watch renewed, which brings
 * an event if the socket is ready, as it is.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <glib.h>

#define MAGIC   0x46415531 /* "FAU1": the test wrote its rules for this layout */
#define MAX_FDS 65536
#define NAME    "here.test"

/* Their order is tests/integration/harness/faults.py's. */
typedef enum Site {
        SITE_NONE,
        SITE_ACCEPT,
        SITE_SOCKET,
        SITE_CONNECT,
        SITE_SEND,
        SITE_SENDMSG,
        SITE_RECV,
        SITE_EPOLL_ADD,
        SITE_EPOLL_WAIT,
        SITE_SETSOCKOPT,
        SITE_SHUTDOWN,
        SITE_EVENTFD,
        SITE_THREAD,
        SITE_FORK,
        SITE_EXECVE,
        SITE_GETADDRINFO,
        SITE_MALLOC,
        SITE_TRY_MALLOC,
        SITE_RENAME,
} Site;

typedef enum Side {
        SIDE_ANY,
        SIDE_CLIENT,
        SIDE_SERVER,
} Side;

typedef struct Rule {
        uint32_t magic;
        uint32_t site; /* atomic; written last */
        uint32_t side;
        int32_t error;
        uint32_t length;
        uint32_t after;
        uint32_t times;
        uint32_t seen; /* atomic: calls that fit */
        uint32_t hits; /* atomic: those that failed */
        char thread[16];
} Rule;

static struct {
        Rule *rule;
        uint8_t sides[MAX_FDS];

        struct {
                int set;
                struct epoll_event event;
        } watches[MAX_FDS];
} faults;

/* The system's function of that name. */
#define REAL(name)                                                                                 \
        ({                                                                                         \
                static __typeof__(&(name)) real;                                                   \
                if (!real)                                                                         \
                        *(void **)(&real) = dlsym(RTLD_NEXT, #name);                               \
                real;                                                                              \
        })

__attribute__((constructor)) static void
faults_open(void)
{
        const char *path =
                getenv("AGITATOR_FAULTS"); /* NOLINT(concurrency-mt-unsafe): no threads yet */
        int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
        void *memory;

        if (fd < 0)
                return;

        memory = mmap(NULL, sizeof(Rule), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (memory != MAP_FAILED && ((Rule *)memory)->magic == MAGIC)
                faults.rule = memory;
}

static bool
is_thread(const char *prefix)
{
        char name[16] = "";

        if (!*prefix)
                return true;
        prctl(PR_GET_NAME, name);

        return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* True when this call is one to fail. */
static bool
faults_hit(Site site, Side side)
{
        Rule *rule = faults.rule;
        uint32_t seen;

        if (!rule || __atomic_load_n(&rule->site, __ATOMIC_ACQUIRE) != site)
                return false;
        if (rule->side != SIDE_ANY && rule->side != side)
                return false;
        if (!is_thread(rule->thread))
                return false;

        seen = __atomic_fetch_add(&rule->seen, 1, __ATOMIC_RELAXED);
        if (seen < rule->after || seen - rule->after >= rule->times)
                return false;

        __atomic_add_fetch(&rule->hits, 1, __ATOMIC_RELAXED);

        return true;
}

static Side
side_of(int fd)
{
        return fd >= 0 && fd < MAX_FDS ? (Side)faults.sides[fd] : SIDE_ANY;
}

static void
set_side(int fd, Side side)
{
        if (fd >= 0 && fd < MAX_FDS) {
                faults.sides[fd] = (uint8_t)side;
                faults.watches[fd].set = 0;
        }
}

static void
renew_watch(int fd)
{
        __typeof__(&epoll_ctl) control = REAL(epoll_ctl);

        if (fd >= 0 && fd < MAX_FDS && faults.watches[fd].set > 0)
                control(faults.watches[fd].set, EPOLL_CTL_MOD, fd, &faults.watches[fd].event);
}

/* Makes a reset that was told of true, for both sides. */
static void
reset(int fd)
{
        const struct sockaddr nobody = { .sa_family = AF_UNSPEC };

        REAL(connect)(fd, &nobody, sizeof(nobody));
}

/* -1 with the rule's error. */
static int
fail(int fd)
{
        int error = faults.rule->error;

        if (error == EOWNERDEAD)
                _exit(9);
        if (error == EAGAIN)
                renew_watch(fd);
        if (fd >= 0 && (error == ECONNRESET || error == EPIPE))
                reset(fd);
        errno = error;

        return -1;
}

/* True when the call on @fd is to fail; a short one has *@size made smaller instead. */
static bool
faults_cut(Site site, int fd, size_t *size)
{
        if (!faults_hit(site, side_of(fd)))
                return false;
        if (faults.rule->error)
                return true;
        if (*size > faults.rule->length)
                *size = faults.rule->length;

        return false;
}

int
accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags)
{
        int result = faults_hit(SITE_ACCEPT, SIDE_ANY) ? fail(-1)
                                                       : REAL(accept4)(fd, address, length, flags);

        set_side(result, SIDE_CLIENT);

        return result;
}

int
socket(int domain, int type, int protocol)
{
        int result =
                faults_hit(SITE_SOCKET, SIDE_ANY) ? fail(-1) : REAL(socket)(domain, type, protocol);

        set_side(result, SIDE_ANY);

        return result;
}

int
connect(int fd, const struct sockaddr *address, socklen_t length)
{
        if (faults_hit(SITE_CONNECT, SIDE_ANY))
                return fail(-1);
        set_side(fd, SIDE_SERVER);

        return REAL(connect)(fd, address, length);
}

ssize_t
send(int fd, const void *data, size_t size, int flags)
{
        return faults_cut(SITE_SEND, fd, &size) ? fail(fd) : REAL(send)(fd, data, size, flags);
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
        size_t size = SIZE_MAX;

        if (faults_cut(SITE_SENDMSG, fd, &size))
                return fail(fd);
        if (size != SIZE_MAX && message->msg_iovlen > 0)
                return REAL(send)(fd, message->msg_iov[0].iov_base,
                                  MIN(size, message->msg_iov[0].iov_len), flags);

        return REAL(sendmsg)(fd, message, flags);
}

/* A look at what is there brings all of it, for each one begins anew: it is never cut. */
ssize_t
recv(int fd, void *data, size_t size, int flags)
{
        size_t wanted = size;
        ssize_t result;

        if (faults_cut(SITE_RECV, fd, &size))
                return fail(fd);
        if (flags & MSG_PEEK)
                size = wanted;

        result = REAL(recv)(fd, data, size, flags);
        if (size < wanted && result > 0)
                renew_watch(fd);

        return result;
}

int
epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
        int result;

        if (operation == EPOLL_CTL_ADD && faults_hit(SITE_EPOLL_ADD, side_of(fd)))
                return fail(-1);

        result = REAL(epoll_ctl)(set, operation, fd, event);
        if (result == 0 && fd >= 0 && fd < MAX_FDS) {
                faults.watches[fd].set = operation == EPOLL_CTL_DEL ? 0 : set;
                if (event && operation != EPOLL_CTL_DEL)
                        faults.watches[fd].event = *event;
        }

        return result;
}

int
epoll_wait(int set, struct epoll_event *events, int n, int timeout)
{
        return faults_hit(SITE_EPOLL_WAIT, SIDE_ANY) ? fail(-1)
                                                     : REAL(epoll_wait)(set, events, n, timeout);
}

int
setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
        return faults_hit(SITE_SETSOCKOPT, side_of(fd))
                       ? fail(-1)
                       : REAL(setsockopt)(fd, level, name, value, length);
}

int
shutdown(int fd, int how)
{
        return faults_hit(SITE_SHUTDOWN, side_of(fd)) ? fail(-1) : REAL(shutdown)(fd, how);
}

int
rename(const char *from, const char *to)
{
        return faults_hit(SITE_RENAME, SIDE_ANY) ? fail(-1) : REAL(rename)(from, to);
}

int
eventfd(unsigned value, int flags)
{
        return faults_hit(SITE_EVENTFD, SIDE_ANY) ? fail(-1) : REAL(eventfd)(value, flags);
}

int
pthread_create(pthread_t *restrict thread,
               const pthread_attr_t *restrict attributes,
               void *(*func)(void *),
               void *restrict data)
{
        return faults_hit(SITE_THREAD, SIDE_ANY)
                       ? faults.rule->error
                       : REAL(pthread_create)(thread, attributes, func, data);
}

pid_t
fork(void)
{
        return faults_hit(SITE_FORK, SIDE_ANY) ? fail(-1) : REAL(fork)();
}

int
execve(const char *path, char *const arguments[], char *const environment[])
{
        return faults_hit(SITE_EXECVE, SIDE_ANY) ? fail(-1)
                                                 : REAL(execve)(path, arguments, environment);
}

/* NAME is this machine, whatever its files and the network say. */
int
getaddrinfo(const char *restrict node,
            const char *restrict service,
            const struct addrinfo *restrict hints,
            struct addrinfo **restrict result)
{
        return faults_hit(SITE_GETADDRINFO, SIDE_ANY)
                       ? EAI_MEMORY
                       : REAL(getaddrinfo)(node && strcmp(node, NAME) == 0 ? "127.0.0.1" : node,
                                           service, hints, result);
}

/* GLib's functions that may fail, for a program in which malloc() is a sanitizer's. */
gpointer
g_try_malloc(gsize size)
{
        return faults_hit(SITE_TRY_MALLOC, SIDE_ANY) ? NULL : REAL(g_try_malloc)(size);
}

gpointer
g_try_malloc0(gsize size)
{
        return faults_hit(SITE_TRY_MALLOC, SIDE_ANY) ? NULL : REAL(g_try_malloc0)(size);
}

gpointer
g_try_malloc0_n(gsize n, gsize size)
{
        return faults_hit(SITE_TRY_MALLOC, SIDE_ANY) ? NULL : REAL(g_try_malloc0_n)(n, size);
}

gpointer
g_try_realloc(gpointer memory, gsize size)
{
        return faults_hit(SITE_TRY_MALLOC, SIDE_ANY) ? NULL : REAL(g_try_realloc)(memory, size);
}

/* glibc's, under names that need no dlsym(), which allocates itself. A sanitizer in the program has
 * its own ahead of all these. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): that is what they are. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);

/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* GMP ends the process when it gets no memory, and GnuTLS 3.7 crashes at some of its own calls;
 * neither can be helped from outside. */
static bool
is_library_for_tls(const void *caller)
{
        static const char *const names[] = { "libgmp",     "libgnutls", "libnettle",
                                             "libhogweed", "libtasn1",  "libp11-kit" };
        Dl_info info;

        if (!dladdr(caller, &info) || !info.dli_fname)
                return false;
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
                if (strstr(info.dli_fname, names[i]))
                        return true;

        return false;
}

/* True when a call from @caller is one to fail. */
static bool
faults_hit_malloc(const void *caller)
{
        const Rule *rule = faults.rule;

        if (!rule || __atomic_load_n(&rule->site, __ATOMIC_ACQUIRE) != SITE_MALLOC)
                return false;

        return !is_library_for_tls(caller) && faults_hit(SITE_MALLOC, SIDE_ANY);
}

static void *
refuse(void)
{
        errno = ENOMEM;

        return NULL;
}

void *
malloc(size_t size)
{
        return faults_hit_malloc(__builtin_return_address(0)) ? refuse() : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
        return faults_hit_malloc(__builtin_return_address(0)) ? refuse() : __libc_calloc(n, size);
}

void *
realloc(void *memory, size_t size)
{
        return faults_hit_malloc(__builtin_return_address(0)) ? refuse()
                                                              : __libc_realloc(memory, size);
}
