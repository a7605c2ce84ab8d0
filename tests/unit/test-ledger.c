/* SPDX-License-Identifier: GPL-3.0-or-later */

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gio/gio.h>

#include "proxy/ledger.h"
#include "proxy/server.h"

static Ledger *
make_ledger(void)
{
        g_autoptr(GError) error = NULL;
        Ledger *ledger = ledger_new(&error);

        g_assert_no_error(error);

        return ledger;
}

/* As a process does that crashes: nothing is put in order. */
static void
die(void)
{
        kill(getpid(), SIGKILL);
}

/* Has @work done by another process that shares the ledger, under the number it returns, and waits
 * for its end. */
static unsigned
run_process(Ledger *ledger, void (*work)(Ledger *theirs))
{
        unsigned process;
        int status;
        pid_t pid;

        g_assert_true(ledger_claim(ledger, &process));
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                Ledger *theirs = ledger_open(dup(ledger_get_fd(ledger)), process, NULL);

                g_assert_nonnull(theirs);
                work(theirs);
                die();
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, SIGKILL);

        return process;
}

static void
test_same_name_same_account(void)
{
        g_autoptr(Ledger) ledger = make_ledger();
        g_autoptr(Server) one = server_new("one", ledger);
        g_autoptr(Server) again = server_new("one", ledger);
        g_autoptr(Server) two = server_new("two", ledger);

        g_assert_true(server_reserve(one, 2));
        g_assert_true(server_reserve(again, 2));
        g_assert_false(server_reserve(one, 2));
        g_assert_true(server_reserve(two, 2));
        g_assert_cmpuint(server_get_active(again), ==, 2);
        server_release(one);
        g_assert_cmpuint(server_get_active(again), ==, 1);
        server_release(again);
        server_release(two);
}

static void
test_more_servers_than_accounts(void)
{
        g_autoptr(Ledger) ledger = make_ledger();
        LedgerAccount account;
        unsigned n = 0;

        /* One row is that of the sessions. */
        for (unsigned i = 0; i < LEDGER_ACCOUNTS; i++) {
                g_autofree char *name = g_strdup_printf("server-%u", i);

                n += ledger_get_account(ledger, name, &account);
        }
        g_assert_cmpuint(n, ==, LEDGER_ACCOUNTS - 1);

        /* Whoever has none counts alone. */
        g_autoptr(Server) server = server_new("one more", ledger);

        g_assert_true(server_reserve(server, 1));
        g_assert_false(server_reserve(server, 1));
        server_release(server);
}

static void
take_three_places(Ledger *ledger)
{
        Server *server = server_new("one", ledger);

        for (unsigned i = 0; i < 3; i++)
                g_assert_true(server_reserve(server, 0));
        places_add(ledger_get_sessions(ledger));
}

static void
test_a_dead_process_is_written_off(void)
{
        g_autoptr(Ledger) ledger = make_ledger();
        g_autoptr(Server) server = server_new("one", ledger);
        unsigned process, sessions;

        g_assert_true(server_reserve(server, 0));
        run_process(ledger, take_three_places);
        g_assert_cmpuint(server_get_active(server), ==, 4);
        g_assert_cmpuint(ledger_count_others(ledger, &sessions), ==, 0);

        ledger_settle(ledger);
        g_assert_cmpuint(server_get_active(server), ==, 1);
        ledger_settle(ledger);
        g_assert_cmpuint(server_get_active(server), ==, 1);
        g_assert_true(ledger_claim(ledger, &process));
        g_assert_cmpuint(process, ==, 1);
        server_release(server);
}

static void
wait_for_end_of_input(Ledger *ledger)
{
        char byte;

        take_three_places(ledger);
        g_assert_cmpint(write(1, "x", 1), ==, 1);
        g_assert_cmpint(read(0, &byte, 1), ==, 0);
}

static void
test_a_living_process_counts(void)
{
        g_autoptr(Ledger) ledger = make_ledger();
        g_autoptr(Server) server = server_new("one", ledger);
        int to[2], from[2], status;
        unsigned process, sessions;
        char byte;
        pid_t pid;

        g_assert_cmpint(pipe2(to, O_CLOEXEC), ==, 0);
        g_assert_cmpint(pipe2(from, O_CLOEXEC), ==, 0);
        g_assert_true(ledger_claim(ledger, &process));
        pid = fork();
        if (pid == 0) {
                dup2(to[0], 0);
                dup2(from[1], 1);
                close(to[1]);
                wait_for_end_of_input(ledger_open(dup(ledger_get_fd(ledger)), process, NULL));
                die();
        }
        g_assert_cmpint(read(from[0], &byte, 1), ==, 1);
        ledger_settle(ledger);
        g_assert_cmpuint(server_get_active(server), ==, 3);
        g_assert_false(server_reserve(server, 3));
        g_assert_cmpuint(ledger_count_others(ledger, &sessions), ==, 1);
        g_assert_cmpuint(sessions, ==, 1);

        close(to[1]);
        waitpid(pid, &status, 0);
        g_assert_cmpint(status, ==, SIGKILL);
        ledger_unclaim(ledger, process);
        g_assert_cmpuint(server_get_active(server), ==, 0);
        close(to[0]);
        close(from[0]);
        close(from[1]);
}

static void
test_numbers_are_used_again(void)
{
        g_autoptr(Ledger) ledger = make_ledger();
        unsigned process = 0;

        for (unsigned i = 1; i < LEDGER_PROCESSES; i++)
                g_assert_true(ledger_claim(ledger, &process));
        g_assert_false(ledger_claim(ledger, &process));
        ledger_unclaim(ledger, 7);
        g_assert_true(ledger_claim(ledger, &process));
        g_assert_cmpuint(process, ==, 7);
}

static void
test_another_version_is_refused(void)
{
        g_autoptr(Ledger) ledger = make_ledger();
        g_autoptr(GError) error = NULL;

        g_assert_null(ledger_open(open("/dev/null", O_RDWR), 1, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
        g_clear_error(&error);

        /* A number that nobody has claimed. */
        g_assert_null(ledger_open(dup(ledger_get_fd(ledger)), 1, &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
        g_assert_null(ledger_open(dup(ledger_get_fd(ledger)), LEDGER_PROCESSES, &error));
        g_assert_nonnull(error);
}

int
main(int argc, char **argv)
{
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/ledger/same-name-same-account", test_same_name_same_account);
        g_test_add_func("/ledger/more-servers-than-accounts", test_more_servers_than_accounts);
        g_test_add_func("/ledger/a-dead-process-is-written-off",
                        test_a_dead_process_is_written_off);
        g_test_add_func("/ledger/a-living-process-counts", test_a_living_process_counts);
        g_test_add_func("/ledger/numbers-are-used-again", test_numbers_are_used_again);
        g_test_add_func("/ledger/another-version-is-refused", test_another_version_is_refused);

        return g_test_run();
}
