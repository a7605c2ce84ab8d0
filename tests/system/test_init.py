#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts of data/init for other inits than systemd, in a Debian where there is none."""

import os
import pathlib
import re
import socket
import subprocess
import threading

from harness import roots
from harness.case import group, route_group, server_group
from harness.connection import is_refused
from harness.install import install_files
from harness.system_case import main, PACKAGES, SystemTest
from harness.waiting import Recorder, wait_until

TOP = pathlib.Path(__file__).resolve().parents[2]
CONFIG = '/etc/agitator/other.conf'
PORT = 4573

# What OpenRC makes when it boots a machine.
OPENRC_FOLDERS = ('daemons', 'exclusive', 'failed', 'hotplugged', 'inactive', 'options', 'scheduled',
                  'started', 'starting', 'stopping', 'tmp', 'wasinactive')

# In place of Red Hat's file: what the script takes from it.
REDHAT_FUNCTIONS = '''
success() { printf '[ good ]'; }
failure() { printf '[ bad ]'; }
'''


class Init:
    """The tests; a test case for each script."""

    boot = False
    systemd = False
    script = None  # its name in data/init
    command = ('/etc/init.d/agitator',)
    defaults = None  # where the options are set
    defaults_text = f"DAEMON_ARGS='--config={CONFIG}'\nDAEMON_LIMIT=4321\n"
    status_dead = 1
    not_running = 7

    @classmethod
    def prepare(cls, machine):
        install_files(machine)
        roots.run_in(machine.path, 'useradd', '--system', '--no-create-home', 'agitator')
        machine.write(cls.command[0] if len(cls.command) == 1 else '/etc/init.d/agitator',
                      (TOP / 'data' / 'init' / cls.script).read_text(encoding='utf-8'), mode=0o755)
        machine.write(cls.defaults, cls.defaults_text)

    def setUp(self):
        super().setUp()
        self.server = self.make_server(None)
        self.address = ('127.0.0.1', PORT)
        self.configure()

    def tearDown(self):
        try:
            self.ask('stop')
            self.assertEqual(self.processes(), [])
        finally:
            super().tearDown()

    # What a test does

    def configure(self, *groups, listen=f'127.0.0.1:{PORT}'):
        text = ''.join([group('Listener', 'main', f'Listen={listen}'),
                        server_group('one', self.server.address), route_group('all', '*', 'one'),
                        *groups])
        self.machine.write(CONFIG, text)

    def ask(self, verb):
        return self.machine.run(*self.command, verb, check=False)

    def tell(self, verb):
        result = self.ask(verb)
        self.assertEqual(result.returncode, 0, result)
        return result

    def status(self):
        return self.ask('status').returncode

    def processes(self):
        run = self.machine.run('pgrep', '-x', 'agitator', check=False)
        return [int(pid) for pid in run.stdout.split()]

    def refused(self):
        return self.machine.in_network(is_refused, self.address)

    # Tests

    def test_start_and_stop(self):
        self.assertEqual(self.status(), 3)
        self.tell('start')
        self.assertEqual(self.status(), 0)
        owner = self.machine.run('ps', '-o', 'user=', '-p', str(self.processes()[0])).stdout.strip()
        self.assertEqual(owner, 'agitator')
        client, session = self.open_session(self.server)
        self.assert_ends(client, session)
        self.tell('stop')
        self.assertEqual(self.status(), 3)
        self.assertTrue(self.refused())

    def test_limit_of_descriptors(self):
        self.tell('start')
        limits = self.machine.read(f'/proc/{self.processes()[0]}/limits')
        self.assertRegex(limits, r'Max open files +4321 +4321 ')

    def test_second_start_and_second_stop_change_nothing(self):
        self.tell('start')
        before = self.processes()
        self.tell('start')
        self.assertEqual(self.processes(), before)
        self.tell('stop')
        self.tell('stop')

    def test_restart(self):
        self.tell('start')
        before = self.processes()
        self.tell('restart')
        self.assertEqual(len(self.processes()), 1)
        self.assertNotEqual(self.processes(), before)
        self.assertEqual(self.status(), 0)

    def test_start_with_a_mistake(self):
        self.configure('[Rout x]\n')
        result = self.ask('start')
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stdout + result.stderr, r'other\.conf:\d+:.*Rout')
        self.assertEqual(self.status(), 3)

    def test_start_where_somebody_else_listens(self):
        other = self.keep(self.machine.in_network(occupy, PORT))
        result = self.ask('start')
        self.assertNotEqual(result.returncode, 0)
        self.assertEqual(self.processes(), [])
        other.close()
        self.tell('start')
        self.assertEqual(self.status(), 0)

    def test_status_of_a_killed_one(self):
        self.tell('start')
        self.machine.run('pkill', '-KILL', '-x', 'agitator')
        wait_until(lambda: self.processes() == [], 'its end')
        self.assertEqual(self.status(), self.status_dead)

    def test_reload(self):
        self.tell('start')
        client, session = self.open_session(self.server)
        self.configure(group('Answer', 'no', 'Commands=SET VARIABLE ANSWERED yes'),
                       group('Route', 'new', 'Path=new', 'Answer=no'))
        self.tell('reload')
        call = self.call('agi://127.0.0.1/new')
        self.assert_success(call)
        self.assertEqual(call.variables, {'ANSWERED': 'yes'})
        self.assert_ends(client, session)

    def test_reload_with_a_mistake(self):
        self.tell('start')
        self.configure('[Rout x]\n')
        result = self.ask('reload')
        self.assertNotEqual(result.returncode, 0)
        self.assertRegex(result.stderr, r'other\.conf:\d+:.*Rout')
        client, session = self.open_session(self.server)
        self.assert_ends(client, session)
        self.assertEqual(self.status(), 0)

    def test_reload_of_nothing(self):
        result = self.ask('reload')
        self.assertEqual(result.returncode, self.not_running, result)

    def test_stop_cuts(self):
        self.tell('start')
        client = self.call()
        session = self.server.accept()
        session.read_environment()
        self.tell('stop')
        self.assertEqual(client.wait(), 'FAILURE')
        self.assertEqual(self.status(), 3)

    def test_stopgracefully_waits(self):
        self.tell('start')
        client, session = self.open_session(self.server)
        stop = self.machine.spawn(*self.command, 'stopgracefully', stdout=subprocess.DEVNULL)
        wait_until(self.refused, 'calls to be refused')
        self.assert_relayed(client, session)
        self.assertIsNone(stop.poll())
        self.assert_ends(client, session)
        self.assertEqual(stop.wait(60), 0)
        self.assertEqual(self.status(), 3)
        self.tell('start')
        self.assertEqual(self.status(), 0)

    def test_upgrade(self):
        self.tell('start')
        before = self.processes()
        client, session = self.open_session(self.server)
        self.tell('upgrade')
        self.assertEqual(len(self.processes()), 2)
        self.assertEqual(self.status(), 0)
        self.assert_relayed(client, session)
        self.assert_ends(*self.open_session(self.server))
        self.tell('reload')
        self.assert_ends(client, session)
        wait_until(lambda: len(self.processes()) == 1, 'the old process to end')
        self.assertNotEqual(self.processes(), before)
        self.assertEqual(self.status(), 0)

    def test_stop_after_upgrades_ends_all(self):
        self.tell('start')
        clients = []
        for _ in range(3):
            clients.append(self.call())
            self.server.accept().read_environment()
            self.tell('upgrade')
        self.assertEqual(len(self.processes()), 4)
        self.tell('stop')
        self.assertEqual([client.wait() for client in clients], ['FAILURE'] * 3)
        self.assertEqual(self.processes(), [])

    def test_log_goes_to_syslog(self):
        lines = Recorder('the syslog')
        path = self.machine.inside('/dev/log')
        log = self.keep(open_syslog(path, lines))
        self.tell('start')
        lines.wait(re.compile(r'agitator(\[\d+\])?: .*ready: 1 listener').search, 'the log of the start')
        log.sendto(b'the end', path)
        os.unlink(path)


def occupy(port):
    """Somebody else who listens there."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(('127.0.0.1', port))
    sock.listen()
    return sock


def open_syslog(path, lines):
    """/dev/log of the machine; each message becomes a line."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(path)
    os.chmod(path, 0o666)

    def read():
        for message in iter(lambda: sock.recv(4096), b'the end'):
            lines.add(re.sub(r'^<\d+>', '', message.decode('utf-8', 'backslashreplace')))

    threading.Thread(target=read, daemon=True).start()
    return sock


class DebianTest(Init, SystemTest):
    script = 'agitator.debian'
    defaults = '/etc/default/agitator'

    def test_at_boot_and_halt(self):
        """What init runs then."""
        self.machine.run('update-rc.d', 'agitator', 'defaults')
        self.machine.run('sh', '-c', '/etc/rc2.d/S??agitator start')
        self.assertEqual(self.status(), 0)
        self.machine.run('sh', '-c', '/etc/rc0.d/K??agitator stop')
        self.assertEqual(self.status(), 3)


class RedHatTest(Init, SystemTest):
    """With a stand-in for Red Hat's functions."""

    script = 'agitator.redhat'
    command = ('/etc/rc.d/init.d/agitator',)
    defaults = '/etc/sysconfig/agitator'

    @classmethod
    def prepare(cls, machine):
        super().prepare(machine)
        machine.write('/etc/rc.d/init.d/functions', REDHAT_FUNCTIONS)

    def test_says_so_in_the_way_of_the_distribution(self):
        self.assertEqual(self.tell('start').stdout, 'Starting agitator: [ good ]\n')
        self.configure('[Rout x]\n')
        self.assertEqual(self.ask('reload').stdout, 'Reloading agitator: [ bad ]\n')


class RedHatAloneTest(Init, SystemTest):
    """Without them."""

    script = 'agitator.redhat'
    command = ('/etc/rc.d/init.d/agitator',)
    defaults = '/etc/sysconfig/agitator'


class OpenRCTest(Init, SystemTest):
    packages = (*PACKAGES, 'openrc')
    script = 'agitator.openrc'
    command = ('rc-service', 'agitator')
    defaults = '/etc/conf.d/agitator'
    defaults_text = f"command_args='--config={CONFIG}'\nrc_ulimit='-n 4321'\n"
    status_dead = 32
    not_running = 1

    def setUp(self):
        super().setUp()
        # So it is after a boot.
        self.machine.run('mkdir', '-p', *('/run/openrc/' + name for name in OPENRC_FOLDERS))
        self.machine.run('touch', '/run/openrc/softlevel')

    def test_at_boot_and_halt(self):
        """With the runlevel that it is in."""
        self.machine.run('rc-update', 'add', 'agitator', 'default')
        self.machine.run('openrc', 'default')
        self.assertEqual(self.status(), 0)
        self.machine.run('openrc', 'single')
        self.assertEqual(self.status(), 3)


if __name__ == '__main__':
    main()
