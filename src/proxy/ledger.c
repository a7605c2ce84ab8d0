/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The memory is a sparse file without a name: a column of totals, and a column for each process.
 * Where a server stands in all of them its name says, by a hash table with open addressing. Rows
 * are never given back; only a process that takes settings adds some, and of those there is one at
 * a time.
 *
 * Each process holds a lock on the byte of the file that has its number. The kernel drops it when
 * the process ends, however it ends, so whoever finds a number that is in use without a lock knows
 * that its column is nobody's any more. (Nobody may open and close the file a second time: that
 * drops the lock too, see fcntl(2).)
 */

#include "proxy/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gio/gio.h>

#include "base/fd.h"

#define MAGIC UINT64_C(0x31726567646c6761) /* agledgr1: changes with LedgerMemory */

/* The row of the process's own sessions. */
#define ROW_SESSIONS 0

typedef enum ProcessState {
        PROCESS_NONE,
        PROCESS_CLAIMED, /* is to come */
        PROCESS_ALIVE,   /* has a lock, or has died */
} ProcessState;

typedef struct LedgerMemory {
        uint64_t magic;
        unsigned processes[LEDGER_PROCESSES]; /* atomic, of ProcessState */
        uint64_t keys[LEDGER_ACCOUNTS];       /* of what has the row; 0: nothing has */
        Places totals[LEDGER_ACCOUNTS];
        Places parts[LEDGER_PROCESSES][LEDGER_ACCOUNTS];
} LedgerMemory;

struct Ledger {
        LedgerMemory *memory;
        int fd;
        unsigned process;
};

static void
set_error(GError **error, const char *what)
{
        int saved = errno;

        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(saved), "%s: %s", what,
                    g_strerror(saved));
}

static struct flock
lock_of(unsigned process, short type)
{
        return (struct flock){
                .l_type = type, .l_whence = SEEK_SET, .l_start = process, .l_len = 1
        };
}

/* Takes @fd. */
static Ledger *
ledger_map(int fd, unsigned process, GError **error)
{
        g_autoptr(Ledger) ledger = g_new0(Ledger, 1);
        struct flock lock = lock_of(process, F_WRLCK);
        void *memory = mmap(NULL, sizeof(LedgerMemory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        ledger->fd = fd;
        ledger->process = process;
        if (memory == MAP_FAILED) {
                set_error(error, "can't map the memory that counts sessions");
                return NULL;
        }
        ledger->memory = memory;
        if (TEMP_FAILURE_RETRY(fcntl(fd, F_SETLKW, &lock)) < 0) {
                set_error(error, "can't lock the memory that counts sessions");
                return NULL;
        }

        return g_steal_pointer(&ledger);
}

static void
ledger_set_state(Ledger *ledger, unsigned process, ProcessState state)
{
        __atomic_store_n(&ledger->memory->processes[process], state, __ATOMIC_RELEASE);
}

static ProcessState
ledger_get_state(const Ledger *ledger, unsigned process)
{
        return __atomic_load_n(&ledger->memory->processes[process], __ATOMIC_ACQUIRE);
}

Ledger *
ledger_new(GError **error)
{
        fd_auto int fd = memfd_create("agitator-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        Ledger *ledger;

        /* Sealed, so that nobody who shares it can cut it off under the others. */
        if (fd < 0 || ftruncate(fd, sizeof(LedgerMemory)) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
                set_error(error, "can't make the memory that counts sessions");
                return NULL;
        }

        ledger = ledger_map(fd_steal(&fd), 0, error);
        if (!ledger)
                return NULL;

        ledger->memory->magic = MAGIC;
        ledger->memory->keys[ROW_SESSIONS] = MAGIC;
        ledger_set_state(ledger, 0, PROCESS_ALIVE);

        return ledger;
}

Ledger *
ledger_open(int fd, unsigned process, GError **error)
{
        const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
        fd_auto int own = fd;
        struct stat status;
        Ledger *ledger;

        if (process >= LEDGER_PROCESSES || fstat(own, &status) < 0 ||
            status.st_size != sizeof(LedgerMemory) || fcntl(own, F_GET_SEALS) < 0 ||
            (fcntl(own, F_GET_SEALS) & seals) != seals) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "the memory that counts sessions is that of another version");
                return NULL;
        }

        ledger = ledger_map(fd_steal(&own), process, error);
        if (!ledger)
                return NULL;

        if (ledger->memory->magic != MAGIC ||
            ledger_get_state(ledger, process) != PROCESS_CLAIMED) {
                g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "the memory that counts sessions has no room for this process");
                ledger_free(ledger);
                return NULL;
        }
        ledger_set_state(ledger, process, PROCESS_ALIVE);

        return ledger;
}

void
ledger_free(Ledger *ledger)
{
        if (!ledger)
                return;

        if (ledger->memory)
                munmap(ledger->memory, sizeof(LedgerMemory));
        fd_clear(&ledger->fd);
        g_free(ledger);
}

int
ledger_get_fd(const Ledger *ledger)
{
        return ledger->fd;
}

bool
ledger_claim(Ledger *ledger, unsigned *process)
{
        ledger_settle(ledger);

        for (unsigned i = 0; i < LEDGER_PROCESSES; i++) {
                if (ledger_get_state(ledger, i) != PROCESS_NONE)
                        continue;

                ledger_set_state(ledger, i, PROCESS_CLAIMED);
                *process = i;
                return true;
        }

        return false;
}

void
ledger_unclaim(Ledger *ledger, unsigned process)
{
        if (ledger_get_state(ledger, process) == PROCESS_CLAIMED)
                ledger_set_state(ledger, process, PROCESS_NONE);
        else
                ledger_settle(ledger);
}

static uint64_t
key_of(const char *name)
{
        g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
        uint8_t digest[32];
        gsize size = sizeof(digest);
        uint64_t key;

        g_checksum_update(checksum, (const guchar *)name, -1);
        g_checksum_get_digest(checksum, digest, &size);
        memcpy(&key, digest, sizeof(key));

        return MAX(key, 1);
}

bool
ledger_get_account(Ledger *ledger, const char *name, LedgerAccount *account)
{
        LedgerMemory *memory = ledger->memory;
        uint64_t key = key_of(name);

        for (unsigned i = 0; i < LEDGER_ACCOUNTS; i++) {
                unsigned row = (key + i) % LEDGER_ACCOUNTS;

                uint64_t found = 0;

                /* One that is about to end may still be at it. */
                if (!__atomic_compare_exchange_n(&memory->keys[row], &found, key, false,
                                                 __ATOMIC_RELAXED, __ATOMIC_RELAXED) &&
                    found != key)
                        continue;

                account->total = &memory->totals[row];
                account->own = &memory->parts[ledger->process][row];
                return true;
        }

        return false;
}

Places *
ledger_get_sessions(const Ledger *ledger)
{
        return &ledger->memory->parts[ledger->process][ROW_SESSIONS];
}

static bool
ledger_is_alive(const Ledger *ledger, unsigned process)
{
        struct flock lock = lock_of(process, F_WRLCK);

        return fcntl(ledger->fd, F_GETLK, &lock) < 0 || lock.l_type != F_UNLCK;
}

/* Takes the part of @process out of everything, unless it is alive or somebody else is at it: the
 * lock is that of the process, which can't begin before this is done. */
static void
ledger_write_off(Ledger *ledger, unsigned process)
{
        struct flock lock = lock_of(process, F_WRLCK), unlock = lock_of(process, F_UNLCK);
        LedgerMemory *memory = ledger->memory;

        if (fcntl(ledger->fd, F_SETLK, &lock) < 0)
                return;
        if (ledger_get_state(ledger, process) != PROCESS_ALIVE) {
                fcntl(ledger->fd, F_SETLK, &unlock);
                return;
        }

        for (unsigned row = 0; row < LEDGER_ACCOUNTS; row++) {
                unsigned n;

                if (__atomic_load_n(&memory->keys[row], __ATOMIC_RELAXED) == 0)
                        continue;

                n = __atomic_exchange_n(&memory->parts[process][row].taken, 0, __ATOMIC_RELAXED);
                if (row != ROW_SESSIONS)
                        __atomic_fetch_sub(&memory->totals[row].taken, n, __ATOMIC_RELAXED);
        }
        ledger_set_state(ledger, process, PROCESS_NONE);
        fcntl(ledger->fd, F_SETLK, &unlock);
}

void
ledger_settle(Ledger *ledger)
{
        for (unsigned i = 0; i < LEDGER_PROCESSES; i++) {
                if (i != ledger->process && ledger_get_state(ledger, i) == PROCESS_ALIVE)
                        ledger_write_off(ledger, i);
        }
}

unsigned
ledger_count_others(const Ledger *ledger, unsigned *sessions)
{
        unsigned n = 0;

        *sessions = 0;
        for (unsigned i = 0; i < LEDGER_PROCESSES; i++) {
                if (i == ledger->process || ledger_get_state(ledger, i) != PROCESS_ALIVE ||
                    !ledger_is_alive(ledger, i))
                        continue;

                *sessions += places_get_taken(&ledger->memory->parts[i][ROW_SESSIONS]);
                n++;
        }

        return n;
}
