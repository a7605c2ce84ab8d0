#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""agitator as the first process of a container: a user that nobody knows, nothing to write to, no
/run/agitator, no configuration, and no systemd anywhere."""

import re
import shutil
import signal
import subprocess
import threading

from harness.case import group, route_group, server_group
from harness.connection import is_refused
from harness.install import install_files
from harness.system_case import main, SystemTest
from harness.waiting import Recorder, TIMEOUT, wait_until

CONFIG = '/etc/agitator/agitator.conf'

# All that could be written to is read-only. In `bare` not even the kernel's file systems are there.
READ_ONLY = 'for m in / /run /tmp /dev /dev/shm; do mount -o remount,bind,ro $m; done\n'
BARE = ('for m in /dev /sys /run /tmp; do mount -t tmpfs -o ro none $m; done\n'
        'mount -o remount,bind,ro /\numount -l /proc\n')

USER = ['setpriv', '--reuid=12345', '--regid=12345', '--clear-groups', '--no-new-privs',
        '--inh-caps=-all', '--bounding-set=-all']


class ContainerTest(SystemTest):
    boot = False
    systemd = False

    @classmethod
    def prepare(cls, machine):
        install_files(machine)

    def setUp(self):
        super().setUp()
        self.address = ('127.0.0.1', 4573)
        self.container = None
        shutil.rmtree(self.machine.inside('/etc/agitator'), ignore_errors=True)

    def tearDown(self):
        if self.container and self.container.poll() is None:
            self.send(signal.SIGKILL)
            self.container.wait(TIMEOUT)
        super().tearDown()

    def start(self, preparation=READ_ONLY, user=tuple(USER), arguments=()):
        """As the first process of a process namespace."""
        script = preparation + 'exec "$@"'
        self.log = Recorder('the log')
        self.container = self.machine.spawn(
            'unshare', '--mount', '--pid', '--fork', '--mount-proc', 'sh', '-e', '-c', script, 'sh',
            *user, '/usr/sbin/agitator', *arguments, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        threading.Thread(target=self.read_log, args=[self.container.stderr], daemon=True).start()
        self.wait_for_log('ready: ')

    def read_log(self, stream):
        for line in stream:
            self.log.add(re.sub(r'^[\d:.]{12} ', '', line.decode('utf-8', 'backslashreplace').rstrip()))
        self.log.end()

    def wait_for_log(self, pattern, start=0):
        return self.log.wait(re.compile(pattern).search, f'/{pattern}/', start)

    def configure(self, server, *groups):
        self.machine.write(CONFIG, ''.join([group('Listener', 'main', 'Listen=127.0.0.1:4573'),
                                            server_group('one', server.address),
                                            route_group('all', '*', 'one'), *groups]))

    def send(self, number):
        self.machine.run('pkill', f'-{int(number)}', '-x', 'agitator')

    def assert_calm(self):
        """Nothing to complain of."""
        self.assertEqual([line for line in self.log.items if not re.match('(notice|info) ', line)], [])

    def call_by_agitatorctl(self):
        return self.machine.run('agitatorctl', 'call', '--quiet', 'agi://127.0.0.1/hello').stdout

    def end(self, number=signal.SIGTERM):
        self.send(number)
        self.assertEqual(self.container.wait(TIMEOUT), 0)
        self.assertTrue(self.machine.in_network(is_refused, self.address))

    def test_first_call_with_nothing_configured(self):
        self.start()
        self.assertEqual(self.machine.run('ps', '-o', 'uid=', '-C', 'agitator').stdout.split(),
                         ['12345'])
        self.assertEqual(self.call_by_agitatorctl(),
                         'AGITATOR_STATUS=UNCONFIGURED\nAGISTATUS=SUCCESS\n')
        self.end()
        self.assert_calm()

    def test_nothing_mounted(self):
        self.start(BARE)
        self.assertIn('AGISTATUS=SUCCESS', self.call_by_agitatorctl())
        self.end()
        self.assert_calm()

    def test_as_root(self):
        self.start(user=())
        self.assertIn('AGISTATUS=SUCCESS', self.call_by_agitatorctl())
        self.end(signal.SIGINT)
        self.assert_calm()

    def test_stop_waits_for_sessions(self):
        server = self.make_server(None)
        self.configure(server)
        self.start()
        client, session = self.open_session(server)
        self.send(signal.SIGTERM)
        self.wait_for_log('stopping: 1 session')
        self.assert_relayed(client, session)
        self.assert_ends(client, session)
        self.assertEqual(self.container.wait(TIMEOUT), 0)
        self.assert_calm()

    def test_second_signal_cuts(self):
        server = self.make_server(None)
        self.configure(server)
        self.start()
        client = self.call()
        server.accept().read_environment()
        self.send(signal.SIGTERM)
        self.wait_for_log('stopping: 1 session')
        self.send(signal.SIGTERM)
        self.assertEqual(client.wait(), 'FAILURE')
        self.assertEqual(self.container.wait(TIMEOUT), 0)

    def test_reload(self):
        server = self.make_server(None)
        self.configure(server)
        self.start()
        client, session = self.open_session(server)
        self.configure(server, group('Answer', 'new', 'Commands=SET VARIABLE ANSWERED yes'),
                       group('Route', 'new', 'Path=new', 'Answer=new'))
        self.send(signal.SIGHUP)
        self.wait_for_log('reloaded: ')
        call = self.call('agi://127.0.0.1/new')
        self.assert_success(call)
        self.assertEqual(call.variables, {'ANSWERED': 'yes'})
        self.assert_ends(client, session)
        self.end()
        self.assert_calm()

    def test_reload_with_a_mistake(self):
        server = self.make_server()
        self.configure(server)
        self.start()
        self.configure(server, '[Rout x]\n')
        self.send(signal.SIGHUP)
        self.wait_for_log(r'agitator\.conf:\d+: .*Rout')
        self.assert_success(self.call())
        self.end()

    def test_upgrade_is_refused(self):
        """With the first process its container would end."""
        self.start()
        self.send(signal.SIGUSR2)
        self.wait_for_log('upgrade failed, this process goes on: ')
        self.assertIn('AGISTATUS=SUCCESS', self.call_by_agitatorctl())
        self.end()

    def test_server_by_name_where_there_is_no_resolver(self):
        server = self.make_server()
        self.configure(server, server_group('named', 'ivr.invalid'),
                       route_group('named', 'named', 'named'))
        self.start()
        self.assert_refused(self.call('agi://h/named'), 'NOSERVER')
        self.assert_success(self.call())
        self.end()


if __name__ == '__main__':
    main()
