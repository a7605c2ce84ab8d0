#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A higher version of the Debian package, installed while the service runs."""

import functools
import json
import threading

from harness import debian
from harness.asterisk import environment, PretendAsterisk, SUCCESS
from harness.case import group, route_group, server_group
from harness.system_case import main
from harness.waiting import wait_until

HELD = 200  # sessions that are open all the time
CALLERS = 4  # at once, each one call after the other

NEXT = debian.version() + '+next1'

CONF = '/etc/agitator/agitator.conf'


@functools.lru_cache
def next_package():
    """The tree with a higher version, and with another configuration in it."""
    edits = debian.with_version(NEXT)
    edits['data/agitator.conf'] = lambda text: text + '# The next version has a line more.\n'
    return debian.package(debian.build(debian.SUITE, edits))


class Load:
    """Calls without a pause, until it is stopped."""

    def __init__(self, test, address):
        self.test, self.address = test, address
        self.done, self.bad = [], []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._call, daemon=True) for _ in range(CALLERS)]
        test.machine.in_network(lambda: [thread.start() for thread in self.threads])

    def _call(self):
        while not self.ended.is_set():
            try:
                client = PretendAsterisk(self.address, environment('agi://h/short')).start()
                if client.wait() == SUCCESS and client.variables.get('SERVED') == 'yes':
                    self.done.append(client)
                else:
                    self.bad.append(client.describe())
            except Exception as error:  # it is the test's to say
                self.bad.append(repr(error))

    def wait_for(self, n):
        """Until so many more calls are over."""
        mark = len(self.done)
        wait_until(lambda: len(self.done) >= mark + n or self.bad, f'{n} calls')

    def stop(self):
        """How many calls there were; all must have been served."""
        self.ended.set()
        for thread in self.threads:
            thread.join()
        self.test.assertEqual(self.bad, [])
        return len(self.done)


class UpgradeTest(debian.PackageTest):
    def upgrade(self, check=True):
        """Unattended: a conffile that both sides have changed stays as it is."""
        return self.install(next_package(), '-o', 'Dpkg::Options::=--force-confdef', '-o',
                            'Dpkg::Options::=--force-confold', check=check)


class Upgrade(UpgradeTest):
    def configure(self):
        """Two servers of the test's: `held` keeps its sessions, the other serves them at once."""
        self.held, self.short = self.make_server(None), self.make_server()
        self.address = ('127.0.0.1', 4573)
        text = ''.join([
            group('Listener', 'plain', 'Listen=127.0.0.1:4573'),
            server_group('held', self.held.address), server_group('short', self.short.address),
            route_group('held', 'held', 'held'), route_group('rest', '*', 'short')])
        self.machine.write(CONF, text)
        self.machine.run('systemctl', 'reload', 'agitator')
        return text

    def is_running(self, pid):
        return self.machine.run('test', '-d', f'/proc/{pid}', check=False).returncode == 0

    def open_held(self, name):
        """A session that stays, known by this name."""
        return self.open_session(self.held, environment('agi://h/held', uniqueid=name))

    def pid_that_served(self, name):
        """By the record of a session that is over."""
        text = self.machine.wait_journal('_PID', 'AGITATOR_UNIQUEID=' + name, '-o', 'json')
        record, = text.splitlines()
        return int(json.loads(record)['_PID'])

    def test_no_call_is_refused_and_none_cut(self):
        self.install()
        text = self.configure()
        old = self.main_pid()
        sessions = [self.open_held(f'early-{i}') for i in range(HELD)]
        load = Load(self, self.address)
        load.wait_for(50)

        said = self.upgrade()
        self.assertNotRegex(said, r'(?i)warning|error|fail')
        new = self.main_pid()
        self.assertNotEqual(new, old)
        self.assertEqual(self.version_of(new), f'agitator {NEXT}')
        self.assertNotEqual(self.version_of(old), f'agitator {NEXT}')
        load.wait_for(50)
        print(f'{load.stop()} calls during the upgrade')

        for client, session in sessions:
            self.assert_relayed(client, session)
        fresh = self.open_held('late')
        for client, session in sessions[1:]:
            self.assert_ends(client, session)
        self.assertTrue(self.is_running(old))
        self.assert_ends(*sessions[0])
        self.assertEqual(self.pid_that_served('early-0'), old)
        wait_until(lambda: not self.is_running(old), 'the old process to leave', pause=0.05)
        self.assert_relayed(*fresh)
        self.assert_ends(*fresh)
        self.assertEqual(self.pid_that_served('late'), new)
        self.assertEqual(self.main_pid(), new)
        self.assertEqual(self.machine.show('agitator.service', 'NRestarts'), '0')
        self.assertEqual(self.states('is-active')[0], 'active')

        # What the operator wrote is in force still, what the package has lies beside it.
        self.assertEqual(self.machine.read(CONF), text)
        self.assertIn('a line more', self.machine.read(CONF + '.dpkg-dist'))

    def test_configuration_nobody_changed_is_replaced(self):
        self.install()
        said = self.upgrade()
        self.assertNotRegex(said, r'(?i)warning|error|fail')
        self.assertIn('a line more', self.machine.read(CONF))
        self.assertEqual(self.version_of(self.main_pid()), f'agitator {NEXT}')
        self.assert_success(self.call(address=('127.0.0.1', 4573)))

    def test_new_process_that_cannot_start(self):
        self.install()
        text = self.configure()
        old = self.main_pid()
        client, session = self.open_held('early')
        self.machine.write(CONF, text.replace('Listen=', 'Listne='))

        said = self.upgrade()
        self.assertIn('WARNING', said)
        self.assertRegex(said, r'agitator\.conf:\d+')
        self.assertEqual(self.machine.run('dpkg-query', '-W', '-f', '${db:Status-Abbrev}${Version}',
                                          'agitator').stdout, f'ii {NEXT}')
        self.assertEqual(self.main_pid(), old)
        self.assert_success(self.call('agi://h/short'))
        self.assert_relayed(client, session)

        self.machine.write(CONF, text)
        self.machine.run('agitatorctl', 'upgrade')
        self.assertEqual(self.version_of(self.main_pid()), f'agitator {NEXT}')
        self.assert_relayed(client, session)
        self.assert_ends(client, session)
        wait_until(lambda: not self.is_running(old), 'the old process to leave', pause=0.05)

    def test_what_the_operator_switched_off_stays_off(self):
        self.install()
        self.machine.run('systemctl', 'disable', '--now', 'agitator.service')
        self.upgrade()
        self.assertEqual(self.states('is-active'), ['inactive'] * 3)
        self.assertEqual(self.states('is-enabled'), ['disabled'] * 3)

    def test_socket_stays_in_charge(self):
        self.install()
        self.machine.run('systemctl', 'disable', '--now', 'agitator.service')
        self.machine.run('systemctl', 'enable', '--now', 'agitator.socket')
        self.assert_success(self.call(address=('127.0.0.1', 4573)))
        old = self.main_pid()
        self.upgrade()
        self.assertEqual(self.states('is-active'), ['active', 'active', 'inactive'])
        self.assertEqual(self.version_of(self.main_pid()), f'agitator {NEXT}')
        wait_until(lambda: not self.is_running(old), 'the old process to leave', pause=0.05)
        self.assert_success(self.call(address=('127.0.0.1', 4573)))
        self.machine.run('systemctl', 'stop', 'agitator.service')
        self.assert_success(self.call(address=('127.0.0.1', 4573)))

    def test_administrators_policy_is_asked(self):
        """Who has told packages not to touch services upgrades by hand."""
        self.install()
        old = self.main_pid()
        self.machine.write('/usr/sbin/policy-rc.d', '#!/bin/sh\nexit 101\n', mode=0o755)
        self.upgrade()
        self.assertEqual(self.main_pid(), old)
        self.machine.run('agitatorctl', 'upgrade')
        self.assertEqual(self.version_of(self.main_pid()), f'agitator {NEXT}')


if debian.SUITE != 'bookworm':  # there has been no package for an older release
    class FromTheReleaseBefore(UpgradeTest):
        def test_units_have_moved(self):
            """They were in /lib there, which has become another name of /usr/lib."""
            self.install(debian.package(debian.build('bookworm')))
            self.assert_success(self.call(address=('127.0.0.1', 4573)))
            old = self.main_pid()
            self.upgrade()
            self.assertNotEqual(self.main_pid(), old)
            self.assertEqual(self.version_of(self.main_pid()), f'agitator {NEXT}')
            self.assertEqual(self.states('is-enabled'), ['enabled', 'disabled', 'disabled'])
            self.machine.run('systemctl', 'restart', 'agitator')
            self.assert_success(self.call(address=('127.0.0.1', 4573)))


if __name__ == '__main__':
    main()
