#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without a service manager, a journal, a runtime folder, an environment, and with standard input,
output and error as bad as they can be."""

import fcntl
import os
import re
import signal
import subprocess

from harness import tap
from harness.case import group, IntegrationTest, route_group, server_group
from harness.connection import is_refused
from harness.proxy import program
from harness.waiting import TIMEOUT, wait_until

# What the log says of a life without complaints, its times aside.
CALM = [r'notice +ready: 1 listener, 1 route, 1 server .*', r'info +session .*: served, .*',
        r'notice +stopping: 0 sessions to finish', r'notice +stopped: 0 sessions cut']


class Bare(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.process = None
        self.address = self.make_path('listener')
        self.server = self.make_server()
        self.config = self.make_path('agitator.conf')
        self.write(group('Listener', 'main', 'Listen=unix:' + self.address),
                   server_group('one', self.server.address), route_group('all', '*', 'one'))

    def tearDown(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        super().tearDown()

    def write(self, *groups):
        with open(self.config, 'w', encoding='utf-8') as file:
            file.write(''.join(groups))

    def start(self, shell='exec "$@"', environment=(), **options):
        """Nothing of our environment is passed on but what a sanitizer needs."""
        self.seen = b''
        kept = {name: value for name, value in os.environ.items() if name.endswith('SAN_OPTIONS')}
        options.setdefault('stdin', subprocess.DEVNULL)
        options.setdefault('stdout', subprocess.DEVNULL)
        self.process = subprocess.Popen(['/bin/sh', '-c', shell, 'sh', *program(),
                                         '--config=' + self.config],
                                        env={**kept, **dict(environment)}, **options)
        wait_until(lambda: self.process.poll() is not None or not is_refused(self.address),
                   'it to listen')

    def live(self):
        """A call, a reload and the end."""
        self.assert_success(self.call())
        self.write('[Nothing]\n')  # so that the reload is told
        self.process.send_signal(signal.SIGHUP)
        self.assert_success(self.call())
        self.end()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.process.wait(TIMEOUT), 0)

    def assert_calm(self, text):
        """The log has what it must have, and nothing else."""
        # One connection only asked whether it listens.
        lines = [re.sub(r'^\d\d:\d\d:\d\d\.\d{3} ', '', line) for line in text.splitlines()
                 if ': abandoned, ' not in line]
        self.assertEqual(len(lines), len(CALM), text)
        # A session may be over before all workers are known to listen.
        for pattern in CALM:
            self.assertTrue(any(re.fullmatch(pattern, line) for line in lines), f'{pattern}: {text}')

    # Nobody around

    def log_of_a_call(self, **options):
        self.start(stderr=subprocess.PIPE, **options)
        self.assert_success(self.call())
        self.server.wait_ended()
        wait_until(self.record_is_there, 'the record of the session')
        self.process.send_signal(signal.SIGTERM)
        rest = self.process.communicate(timeout=TIMEOUT)[1]
        self.assertEqual(self.process.returncode, 0)
        return (self.seen + rest).decode()

    def record_is_there(self):
        """Reads what is there of standard error."""
        os.set_blocking(self.process.stderr.fileno(), False)
        self.seen = self.seen + (self.process.stderr.read() or b'')
        os.set_blocking(self.process.stderr.fileno(), True)
        return b': served, ' in self.seen

    def test_no_environment(self):
        self.assert_calm(self.log_of_a_call())

    def test_service_manager_that_is_gone(self):
        """As a start-up script leaves it behind, or a container's runtime."""
        self.assert_calm(self.log_of_a_call(environment={
            'NOTIFY_SOCKET': self.make_path('nobody'), 'WATCHDOG_USEC': '100000'}))

    def test_odd_environment(self):
        self.assert_calm(self.log_of_a_call(environment={
            'LC_ALL': 'xx_XX', 'TZ': 'Nowhere/At:All', 'HOME': '/nowhere', 'TMPDIR': '/nowhere',
            'JOURNAL_STREAM': '1:1', 'DBUS_SESSION_BUS_ADDRESS': 'unix:path=/nowhere',
            'DBUS_SYSTEM_BUS_ADDRESS': 'unix:path=/nowhere', 'LISTEN_FDS': '3', 'LISTEN_PID': '1'}))

    def test_folder_that_is_gone(self):
        folder = self.make_path('gone')
        os.mkdir(folder)
        self.assert_calm(self.log_of_a_call(shell=f'cd {folder}; rmdir {folder}; exec "$@"'))

    # Standard input, output and error

    def test_all_closed(self):
        self.start('exec "$@" <&- >&- 2>&-')
        self.live()

    def test_each_closed(self):
        for what in ('<&-', '>&-', '2>&-'):
            self.start(f'exec "$@" {what}', stderr=subprocess.DEVNULL)
            self.write(group('Listener', 'main', 'Listen=unix:' + self.address),
                       server_group('one', self.server.address), route_group('all', '*', 'one'))
            self.assert_success(self.call())
            self.end()

    def test_log_goes_nowhere_else(self):
        """What would have been standard error is nothing that matters."""
        self.start('exec "$@" 2>&-')
        for fd in range(3):
            self.assertIn(os.readlink(f'/proc/{self.process.pid}/fd/{fd}'), ('/dev/null', '/'))
        self.live()

    def test_full_pipe_as_standard_error(self):
        ours, theirs = os.pipe()
        fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(theirs, False)
        try:
            while True:
                os.write(theirs, b'x' * 4096)
        except BlockingIOError:
            pass
        os.set_blocking(theirs, True)
        self.start(stderr=theirs)
        self.live()
        os.close(ours)
        os.close(theirs)

    def test_standard_error_that_nobody_reads(self):
        ours, theirs = os.pipe()
        self.start(stderr=theirs)
        os.close(ours)
        os.close(theirs)
        self.live()

    def test_full_disk_as_standard_error(self):
        with open('/dev/full', 'wb') as full:
            self.start(stderr=full)
        self.live()

    # agitatorctl's own

    def test_agitatorctl_with_nothing_open(self):
        """Its dialogue must not end up in the session."""
        sock = self.make_socket()
        server = self.make_server(None, sock=sock)
        call = subprocess.Popen(['/bin/sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh',
                                 os.environ['AGITATORCTL'], 'call', f'agi://{server.authority}/x'])
        session = server.accept()
        text = session.read_environment()
        self.assertEqual([line for line in text.splitlines() if line and not line.startswith(b'agi_')],
                         [])
        self.assertEqual(session.command(b'NOOP'), b'200 result=0')
        self.assertEqual(session.end(), b'HANGUP\n')
        self.assertEqual(call.wait(TIMEOUT), 0)


if __name__ == '__main__':
    tap.main()
