#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Live upgrades inside the service's sandbox, and what systemd makes of them."""

import os

from harness.connection import Stopwatch
from harness.service import SERVICE, ServiceTest, SOCKET
from harness.system_case import main
from harness.waiting import FACTOR, wait_until

PROGRAM = '/usr/sbin/agitator'


class Upgrade(ServiceTest):
    def setUp(self):
        super().setUp()
        self.kept = self.machine.inside('/var/tmp/agitator-program')
        if not os.path.exists(self.kept):
            self.install_program(self.read_program(), '/var/tmp/agitator-program')
        self.install_program(self.read_program('/var/tmp/agitator-program'))

    def read_program(self, path=PROGRAM):
        with open(self.machine.inside(path), 'rb') as file:
            return file.read()

    def install_program(self, content, path=PROGRAM):
        """As a package does: another file takes the name."""
        self.machine.write(path, content, mode=0o755)

    def upgrade(self):
        return self.machine.run('agitatorctl', 'upgrade', check=False)

    def processes(self):
        """Of the service, as systemd counts them."""
        return {int(pid) for pid in
                self.machine.run('cat', '/sys/fs/cgroup/system.slice/agitator.service/cgroup.procs')
                .stdout.split()}

    def wait_processes(self, n):
        wait_until(lambda: len(self.processes()) == n, f'{n} processes, now {self.processes()}')

    def assert_upgraded(self):
        old = self.service.pid()
        run = self.upgrade()
        self.assertEqual((run.returncode, run.stderr), (0, ''), self.service.log_text())
        self.assertNotIn(self.service.wait_show('MainPID', f'^(?!{old}$)'), ('0', str(old)))
        self.assertEqual(self.service.show('ActiveState'), 'active')
        return old

    def check_upgrades(self, *units):
        """Each process keeps its session, the newest takes new calls."""
        held_by = self.make_server(None)
        self.start_one_server(held_by, *units)
        held = [self.hold(held_by)]
        for n in range(2, 5):
            old = self.assert_upgraded()
            self.assertIn(old, self.processes())
            held.append(self.hold(held_by))
            self.assertEqual(len(self.processes()), n)
            for client, session in held:
                self.assert_relayed(client, session)
        self.service.wait_show('StatusText', '^1 session, .*; 3 sessions in 3 older processes$')
        self.assertEqual(self.service.reload().returncode, 0)
        for client, session in held[:-1]:
            self.assert_ends(client, session)
        self.wait_processes(1)
        self.assertEqual(self.processes(), {self.service.pid()})
        self.assert_relayed(*held[-1])
        self.assert_ends(*held[-1])
        self.assertEqual(self.service.show('NRestarts'), '0')

    def test_new_process_is_in_the_sandbox(self):
        self.service.start()
        self.assert_upgraded()
        status = self.machine.read(f'/proc/{self.service.pid()}/status')
        for line in ('NoNewPrivs:\t1', 'Seccomp:\t2', 'CapBnd:\t0000000000000000',
                     'CapEff:\t0000000000000000'):
            self.assertIn(line + '\n', status)

    def test_own_listeners(self):
        self.check_upgrades()

    def test_sockets_of_systemd(self):
        self.check_upgrades(SOCKET, SERVICE)
        # They still are: the socket unit keeps callers waiting, and starts it anew.
        self.machine.run('systemctl', 'stop', SERVICE)
        call = self.connect()
        self.service.wait_show('ActiveState', '^active$')
        call.close()

    def test_watchdog_watches_the_new_one(self):
        """It is fed, for longer than it would wait."""
        self.service.drop_in('WatchdogSec=1s')
        self.service.start()
        self.assert_upgraded()
        first = self.service.show('WatchdogTimestampMonotonic')
        for _ in range(3):
            first = self.service.wait_show('WatchdogTimestampMonotonic', f'^(?!{first}$)')
        self.assert_success(self.call())
        self.assertEqual(self.service.show('NRestarts'), '0')

    def test_bad_program(self):
        """The old one goes on, and who asked for it is told."""
        self.service.start()
        pid = self.service.pid()
        for content in (b'#!/bin/sh\nexit 3\n', b'no program', b''):
            self.install_program(content)
            run = self.upgrade()
            self.assertNotEqual(run.returncode, 0, content)
            self.assertNotEqual(run.stderr, '')
            self.assert_success(self.call())
            self.assertEqual(self.service.pid(), pid)
            self.assertRegex(self.service.status(), r'Status: ".*upgrade')

    def test_bad_configuration(self):
        self.service.start()
        pid = self.service.pid()
        self.service.write_config('[Rout x]\n')
        run = self.upgrade()
        self.assertNotEqual(run.returncode, 0)
        self.assertRegex(run.stderr, r'/etc/agitator/agitator\.conf:\d+: ')
        self.assert_success(self.call())
        self.assertEqual(self.service.pid(), pid)

    def test_stop_ends_all_of_them(self):
        server = self.make_server(None)
        self.start_one_server(server, proxy=['StopTimeout=3s'])
        for _ in range(3):
            self.hold(server)
            self.assert_upgraded()
        self.hold(server)
        watch = Stopwatch()
        self.machine.run('systemctl', 'stop', SERVICE)
        self.assertLess(watch.elapsed(), 3 + 4 * FACTOR)
        self.assertEqual(self.service.show('Result'), 'success')
        self.assertEqual(self.service.log_text().count('stopped: 1 session cut'), 4)

    def test_restart_is_an_ordinary_one(self):
        """As needrestart and its like ask for it: all processes end, in their time, and one starts."""
        server = self.make_server(None)
        self.start_one_server(server, SOCKET, SERVICE, proxy=['StopTimeout=2s'])
        held = []
        for _ in range(2):
            held.append(self.hold(server))
            self.assert_upgraded()
        before = self.processes()
        self.assertEqual(len(before), 3)
        self.machine.run('systemctl', 'try-restart', SERVICE)
        self.assertEqual(self.processes() & before, set())
        self.assertEqual(self.processes(), {self.service.pid()})
        for client, _ in held:
            self.assertEqual(client.read_to_end(), b'FAILURE\n')
        self.assert_ends(*self.hold(server))

    def test_crash_while_an_older_one_drains(self):
        """Nobody waits for its sessions: it is started again at once."""
        server = self.make_server(None)
        self.start_one_server(server, SOCKET, SERVICE)
        client, _ = self.hold(server)
        self.assert_upgraded()
        pid = self.service.pid()
        watch = Stopwatch()
        self.machine.run('systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', SERVICE)
        self.service.wait_show('MainPID', f'^(?!0$|{pid}$)')
        self.hold(server)
        self.assertLess(watch.elapsed(), 3 * FACTOR)
        self.assertEqual(client.read_to_end(), b'FAILURE\n')

    def test_credentials_stay(self):
        """Keys that only the service manager could read are there for the new one, too."""
        ca = self.make_authority()
        self.give_key(ca.issue('server'), mode=0o600)
        server = self.make_server()
        self.service.drop_in('LoadCredential=key.pem:/etc/agitator/tls/key.pem')
        self.service.write_config(*self.to_one(server), self.tls_listener(
            'Listen=127.0.0.1:4574', 'Certificate=/etc/agitator/tls/cert.pem',
            'PrivateKey=key.pem'))
        self.service.start()
        self.assert_upgraded()
        self.assert_success(self.call_tls(ca))
        self.assertEqual(self.service.reload().returncode, 0)
        self.assert_success(self.call_tls(ca))


if __name__ == '__main__':
    main()
