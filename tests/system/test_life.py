#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start, stop and what goes wrong in between, as an operator does it and sees it."""

import socket
import threading

from harness.connection import is_refused, Stopwatch
from harness.frozen import frozen
from harness.service import ADDRESS, measure, SERVICE, ServiceTest, SOCKET
from harness.system_case import main
from harness.waiting import FACTOR, wait_until


class LifeTest(ServiceTest):
    def is_refused(self):
        return self.machine.in_network(is_refused, ADDRESS)

    def wait_refused(self):
        wait_until(self.is_refused, 'callers to be refused')


class Start(LifeTest):
    def test_as_installed(self):
        """The service alone opens its listener, and answers a first call."""
        self.assertTrue(self.is_refused())
        self.service.start()
        call = self.call()
        self.assert_success(call)
        self.assertEqual(call.agitator_status, 'UNCONFIGURED')
        self.assertRegex(self.service.status(), r'Active: active \(running\)')
        self.assertRegex(self.service.status(), r'Status: "\d sessions?, 0 of 0 servers up"')
        self.assertEqual(self.service.show('ActiveState', SOCKET), 'inactive')
        self.service.stop()
        self.assertTrue(self.is_refused())

    def test_first_call_starts_it(self):
        self.service.start(SOCKET)
        self.assertEqual(self.service.show('ActiveState'), 'inactive')
        self.assertEqual(self.machine.run('ps', '-C', 'agitator', '-o', 'pid=', check=False).stdout, '')
        self.assert_success(self.call())
        self.assertEqual(self.service.show('ActiveState'), 'active')

    def test_calls_that_wait_while_it_starts(self):
        server = self.make_server()
        self.service.drop_in('ExecStartPre=/bin/sh -c "exec 3</run/gate"')
        self.machine.run('mkfifo', '-m', '666', '/run/gate')
        self.start_one_server(server, SOCKET)
        calls = [self.call() for _ in range(50)]
        self.service.wait_show('ActiveState', '^activating$')
        with open(self.machine.inside('/run/gate'), 'w', encoding='ascii'):
            for call in calls:
                self.assert_success(call)
        self.assertEqual(len(server.sessions), 50)

    def test_status_tells_of_sessions_and_servers(self):
        server = self.make_server(None)
        self.start_one_server(server)
        client, session = self.hold(server)
        self.service.wait_show('StatusText', r'^1 session, 1 of 1 server up$')
        self.assert_ends(client, session)
        self.service.wait_show('StatusText', r'^0 sessions, 1 of 1 server up$')


class Wrong(LifeTest):
    def fail_to_start(self):
        run = self.machine.run('systemctl', 'start', SERVICE, check=False)
        self.assertNotEqual(run.returncode, 0)
        self.service.expected_result = 'exit-code'
        self.assertEqual(self.service.show('ActiveState'), 'failed')

    def test_mistake_in_the_configuration(self):
        """Told with its line, and not tried again: it would be the same."""
        self.service.write_config('[Rout x]\n')
        self.fail_to_start()
        self.assertEqual((self.service.show('ExecMainStatus'), self.service.show('NRestarts')),
                         ('78', '0'))
        self.assertRegex(self.service.status(), r"can't start: /etc/agitator/agitator\.conf:\d+: ")
        self.assertRegex(self.service.status(), r'Status: "Can\'t start: /etc/agitator/agitator\.conf:')

    def test_configuration_that_it_may_not_read(self):
        self.service.write_config()
        self.machine.run('chmod', '600', '/etc/agitator/agitator.conf')
        self.fail_to_start()
        self.assertEqual((self.service.show('ExecMainStatus'), self.service.show('NRestarts')),
                         ('78', '0'))
        self.assertRegex(self.service.status(),
                         r"can't start: /etc/agitator/agitator\.conf: .*Permission denied")

    def test_mistake_and_a_waiting_call(self):
        """The caller isn't left hanging for ever, nor is the start tried for ever."""
        self.service.write_config('[Rout x]\n')
        self.service.start(SOCKET)
        client = self.connect()
        client.send(b'agi_network: yes\n')
        client.read_to_end()
        self.wait_refused()
        self.assertEqual(self.service.show('ActiveState', SOCKET), 'failed')
        self.service.expected_result = self.service.show('Result')

    def test_address_in_use_is_waited_for(self):
        """It is tried again, until whoever has it lets it go."""
        other = self.keep(self.machine.in_network(socket.create_server, ADDRESS))
        self.machine.run('systemctl', 'start', '--no-block', SERVICE)
        wait_until(lambda: int(self.service.show('NRestarts')) > 1, 'another try')
        self.assertIn('in use', self.service.log_text())
        other.close()
        self.service.wait_show('ActiveState', '^active$')
        self.assert_success(self.call())

    def test_kill_9(self):
        """Back within a second; those who come meanwhile wait, and are served."""
        server = self.make_server()
        self.start_one_server(server, SOCKET)
        self.assert_success(self.call())
        old = self.service.pid()
        watch = Stopwatch()
        self.machine.run('systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', SERVICE)
        calls = [self.call() for _ in range(20)]
        for call in calls:
            self.assert_success(call)
        self.assertLess(watch.elapsed(), 1 * FACTOR)
        self.assertNotIn(self.service.pid(), (0, old))
        self.assertEqual(len(server.sessions), 21)

    def test_one_crash_after_the_other(self):
        """It is not given up for them."""
        self.service.start(SOCKET, SERVICE)
        for n in range(1, 9):
            self.machine.run('systemctl', 'kill', '--kill-whom=main', '-s', 'KILL', SERVICE)
            self.assert_success(self.call())
            self.assertEqual(self.service.show('NRestarts'), str(n))

    def test_hung_worker(self):
        """One thread that no longer turns: the watchdog finds out, and it is started anew."""
        server = self.make_server()
        self.service.drop_in('WatchdogSec=2s')
        self.start_one_server(server, SOCKET, proxy=['Threads=2'])
        self.assert_success(self.call())
        old = self.service.pid()
        with frozen(self.machine.outside(old), 'worker'):
            self.service.wait_for_log('Watchdog timeout')
            self.service.wait_show('MainPID', f'^(?!0$|{old}$)')
        self.service.wait_show('ActiveState', '^active$')
        self.assert_success(self.call())
        self.assertEqual(self.service.show('NRestarts'), '1')


class Stop(LifeTest):
    def stop(self):
        """Begins to stop, and returns once new calls are no longer taken."""
        self.machine.run('systemctl', 'stop', '--no-block', SERVICE)
        self.service.wait_show('StatusText', '^Draining: ')

    def wait_stopped(self):
        self.service.wait_show('ActiveState', '^(inactive|failed)$')
        self.assertEqual(self.service.show('Result'), 'success')

    def test_waits_for_sessions(self):
        server = self.make_server(None)
        self.start_one_server(server)
        client, session = self.hold(server)
        self.stop()
        self.assertRegex(self.service.status(), 'Draining: 1 session left')
        self.wait_refused()
        self.assert_relayed(client, session)
        self.assert_ends(client, session)
        self.wait_stopped()
        self.service.wait_for_log('stopped: 0 sessions cut')

    def test_for_longer_than_systemd_would(self):
        """StopTimeout= counts: systemd is asked for more time. Then the rest is cut, and counted."""
        server = self.make_server(None)
        self.service.drop_in('TimeoutStopSec=3s')
        self.start_one_server(server, proxy=['StopTimeout=6s'])
        held = [self.hold(server) for _ in range(3)]
        watch = Stopwatch()
        self.stop()
        self.wait_stopped()
        self.assertGreater(watch.elapsed(), 5.5)
        self.service.wait_for_log('stopped: 3 sessions cut')
        self.assertIn('stopped: 3 sessions cut', self.service.status())
        for client, _ in held:
            self.assertEqual(client.read_to_end(), b'FAILURE\n')

    def test_second_signal_hurries_it(self):
        server = self.make_server(None)
        self.start_one_server(server, proxy=['StopTimeout=infinity'])
        self.hold(server)
        self.stop()
        self.machine.run('systemctl', 'kill', SERVICE)
        self.wait_stopped()
        self.service.wait_for_log('stopped: 1 session cut')

    def test_calls_during_restarts(self):
        """With the socket unit none is refused, none is cut, all are served."""
        server = self.make_server()
        self.start_one_server(server, SOCKET)
        self.service.start(SERVICE)
        restarts = threading.Thread(target=self.restart, args=(3,))
        calls = []
        restarts.start()
        while restarts.is_alive() or len(calls) < 200:
            calls += [self.call() for _ in range(10)]
            for call in calls[-10:]:
                self.assert_success(call)
        restarts.join()
        self.assertEqual(len(server.sessions), len(calls))
        self.assertEqual(self.service.log_text().count('stopped: 0 sessions cut'), 3)

    def restart(self, times):
        for _ in range(times):
            self.machine.run('systemctl', 'restart', SERVICE)

    def test_idle_stop_is_quick(self):
        self.service.start()
        self.assertLess(measure(self.machine.run, 'systemctl', 'stop', SERVICE), 2 * FACTOR)


if __name__ == '__main__':
    main()
