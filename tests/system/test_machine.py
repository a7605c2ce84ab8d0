#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines that the other system tests run on do what these rely on."""

import glob
import os
import signal
import subprocess

from harness import roots
from harness.connection import listen_tcp
from harness.machine import cgroup_mounts, Machine
from harness.system_case import main, SUITE, SystemTest


def leftovers(machine):
    """What there would be of a machine that was not cleared away."""
    with open('/proc/self/mounts', encoding='utf-8') as file:
        yield from (line for line in file if machine.folder in line)
    for place in [*cgroup_mounts(), roots.cache('machines')]:
        yield from glob.glob(os.path.join(place, machine.name + '*'))


class MachineTest(SystemTest):
    def test_systemd_of_the_suite_runs(self):
        self.assertEqual(self.machine.run('systemctl', 'is-system-running').stdout, 'running\n')
        self.assertIn(f'VERSION_CODENAME={SUITE}\n', self.machine.read('/etc/os-release'))

    def test_files_and_journal(self):
        self.machine.write('/run/somewhere/file', 'text\n', mode=0o600)
        self.assertEqual(self.machine.run('stat', '-c', '%a %s', '/run/somewhere/file').stdout,
                         '600 5\n')
        self.machine.run('systemd-run', '--unit=word', 'echo', 'a word from inside')
        self.assertIn('a word', self.machine.wait_journal('a word from inside', '-u', 'word'))
        self.assertEqual(self.machine.wait_show('word.service', 'ActiveState', '^inactive$'),
                         'inactive')

    def test_network_is_its_own(self):
        sock = self.machine.in_network(listen_tcp)
        self.keep(sock)
        self.keep(self.machine.connect(sock.getsockname()[1]))
        with self.assertRaises(ConnectionRefusedError):
            listener = listen_tcp()
            self.keep(listener)
            self.machine.connect(listener.getsockname()[1])

    def test_failing_command_is_told(self):
        with self.assertRaisesRegex(AssertionError, 'ended with 1:\nwhy'):
            self.machine.run('sh', '-c', 'echo why; exit 1')

    def test_two_at_once_and_nothing_left(self):
        with Machine(roots.get(SUITE, self.packages)) as one:
            self.machine.write('/etc/mark', 'first')
            self.assertFalse(os.path.exists(one.inside('/etc/mark')))
            child = one.spawn('sh', '-c', 'echo up; exec sleep infinity', stdout=subprocess.PIPE)
            self.assertEqual(child.stdout.readline(), b'up\n')
            self.assertTrue(list(leftovers(one)))
        self.assertEqual(child.wait(), -signal.SIGKILL)
        child.stdout.close()
        self.assertEqual(list(leftovers(one)), [])
        self.assertEqual(self.machine.run('cat', '/etc/mark').stdout, 'first')

    def test_nothing_left_after_a_failure(self):
        machine = Machine(roots.get(SUITE, self.packages))
        with self.assertRaises(ZeroDivisionError), machine:
            raise ZeroDivisionError
        self.assertEqual(list(leftovers(machine)), [])

        def fail(_):
            raise ZeroDivisionError

        machine = Machine(roots.get(SUITE, self.packages), before=fail)
        with self.assertRaises(ZeroDivisionError):
            machine.start()
        self.assertEqual(list(leftovers(machine)), [])

    def test_without_systemd(self):
        with Machine(roots.get(SUITE, self.packages), boot=False) as machine:
            self.assertEqual(machine.run('ps', '-C', 'systemd', '-o', 'comm=', check=False).stdout, '')
            self.assertIn('127.0.0.1', machine.run('ip', 'address').stdout)


if __name__ == '__main__':
    main()
