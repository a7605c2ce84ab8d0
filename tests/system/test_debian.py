#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian package: installed, removed and purged."""

import re
import socket

from harness import debian
from harness.system_case import main
from harness.waiting import TIMEOUT

CONF = '/etc/agitator/agitator.conf'

PARTS = [
    '/usr/sbin/agitator', '/usr/bin/agitatorctl', '/usr/bin/agitator-import', CONF,
    '/usr/share/man/man8/agitator.8.gz', '/usr/share/man/man5/agitator.conf.5.gz',
    '/usr/share/man/man1/agitatorctl.1.gz', '/usr/share/man/man1/agitator-import.1.gz',
    '/usr/lib/sysusers.d/agitator.conf', '/usr/lib/systemd/catalog/agitator.catalog',
    '/usr/lib/firewalld/services/agitator.xml', '/etc/ufw/applications.d/agitator',
    '/usr/share/bash-completion/completions/agitatorctl',
    '/usr/share/zsh/vendor-completions/_agitatorctl',
    '/usr/share/fish/vendor_completions.d/agitatorctl.fish',
    '/usr/lib/systemd/catalog/agitator.de.catalog',
    '/usr/share/locale/pt_BR/LC_MESSAGES/agitator.mo',
    '/usr/share/doc/agitator/README.Debian', '/usr/share/doc/agitator/agitator.conf.sample',
    '/usr/share/doc/agitator/extensions.conf',
]

# What changes with every package that comes and goes, whatever is in it: the records of apt, dpkg
# and the journal. The last one is a getty's.
RECORDS = re.compile(r'/(var/(lib/(dpkg|apt)|cache/(apt|debconf)|log)|root)(/|$)|'
                     r'/run/agetty\.reload$')

# The lists of users with their backups.
USERS = re.compile(r'/etc/(passwd|group|shadow|gshadow)-?$')


class PackageTest(debian.PackageTest):
    def snapshot(self):
        """{path: what it is} of the whole system but for RECORDS."""
        found = self.machine.run(
            'find', '/', '/run', '-xdev', '(', '-path', '/run/systemd', '-o', '-path', '/run/log',
            ')', '-prune', '-o', '-printf', r'%y %m %u:%g %l %p\n').stdout
        rows = [re.match(r'(.*?) (/.*)$', line) for line in found.splitlines()]
        snapshot = {row[2]: row[1] for row in rows if row}
        sums = self.machine.run('find', '/etc', '/var/lib', '-xdev', '-type', 'f', '-exec',
                                'md5sum', '{}', '+').stdout
        for line in sums.splitlines():
            snapshot[line[34:]] += ' ' + line[:32]
        return {path: what for path, what in snapshot.items() if not RECORDS.search(path)}

    def users(self):
        """The lines of /etc/passwd and its like."""
        return {path: set(self.machine.read(path).splitlines())
                for path in ('/etc/passwd', '/etc/group', '/etc/shadow', '/etc/gshadow')}

    def assert_nothing_is_left(self, before, users):
        """Compared with what there was: but for the user, as README.Debian says, and nobody can log
        in as that."""
        after = self.snapshot()
        self.assertEqual({path: (before.get(path), after.get(path))
                          for path in before.keys() | after.keys()
                          if before.get(path) != after.get(path) and not USERS.search(path)}, {})
        for path, lines in self.users().items():
            self.assertTrue(lines > users[path] and
                            all(line.startswith('agitator:') for line in lines - users[path]), path)
        self.assertRegex(self.machine.run('getent', 'shadow', 'agitator').stdout,
                         r'^agitator:!\*?:')
        known = self.machine.run('dpkg-query', '-W', 'agitator', check=False)
        self.assertEqual(known.returncode, 1, known.stdout)

    def assert_first_call_is_answered(self):
        client = self.call(address=('127.0.0.1', 4573))
        self.assert_success(client)
        self.assertEqual(client.agitator_status, 'UNCONFIGURED')


class Install(PackageTest):
    def test_service_runs_and_answers_at_once(self):
        said = self.install()
        self.assertNotRegex(said, r'(?i)warning|error|fail')
        self.assertEqual(self.states('is-active'), ['active', 'inactive', 'inactive'])
        self.assertEqual(self.states('is-enabled'), ['enabled', 'disabled', 'disabled'])
        self.assert_first_call_is_answered()
        self.assertIn('AGITATOR_STATUS=UNCONFIGURED',
                      self.machine.run('agitatorctl', 'call', 'agi://127.0.0.1/hello').stdout)

    def test_status_and_journal_tell(self):
        self.install()
        self.assertRegex(self.machine.run('systemctl', 'status', 'agitator').stdout,
                         r'(?m)^ +Status: "0 sessions, ')
        # What a record means is in the catalog, which is brought up to date by the package.
        self.machine.wait_journal(r'░░ Subject: ', '-u', 'agitator', '-x')

    def test_everything_a_package_should_have(self):
        self.install()
        files = self.machine.run('dpkg', '-L', 'agitator').stdout.splitlines()
        for path in PARTS:
            self.assertIn(path, files)
        self.assertEqual([path for path in files if path.startswith('/etc/init')], [])
        self.assertRegex(self.machine.run('getent', 'passwd', 'agitator').stdout,
                         r'^agitator:[^:]*:\d{3}:\d{3}:.*:/usr/sbin/nologin$')
        self.assertIn('agitator-import', self.machine.run('agitator-import', '--version').stdout)

    def test_runs_from_the_next_boot_on(self):
        self.install()
        self.assertIn('agitator.service',
                      self.machine.run('systemctl', 'list-dependencies', '--plain',
                                       'multi-user.target').stdout)

    def test_port_that_somebody_else_has(self):
        """The package is installed all the same, and the service says what is wrong."""
        other = self.machine.in_network(socket.create_server, ('127.0.0.1', 4573))
        self.keep(other)
        self.install()
        self.machine.wait_journal(r'127\.0\.0\.1:4573.*in use', '-u', 'agitator')
        self.assertEqual(self.machine.run('dpkg-query', '-W', '-f', '${db:Status-Abbrev}',
                                          'agitator').stdout, 'ii ')
        other.close()
        self.machine.run('systemctl', 'reset-failed', 'agitator')
        self.machine.run('systemctl', 'start', 'agitator')
        self.assert_first_call_is_answered()

    def test_socket_instead_of_the_service(self):
        """As README.Debian says it."""
        self.install()
        self.machine.run('systemctl', 'disable', '--now', 'agitator.service')
        self.machine.run('systemctl', 'enable', '--now', 'agitator.socket')
        self.assertEqual(self.states('is-active')[0], 'inactive')
        self.assert_first_call_is_answered()
        self.assertEqual(self.states('is-active')[0], 'active')
        self.remove('remove')
        self.assertEqual(self.states('is-active'), ['inactive'] * 3)
        with self.assertRaises(ConnectionRefusedError):
            self.keep(self.machine.connect(4573))


class Removal(PackageTest):
    def test_purge_leaves_nothing(self):
        before, users = self.snapshot(), self.users()
        self.install()
        self.machine.run('systemctl', 'enable', 'agitator.socket')
        self.machine.write('/etc/agitator/agitator.conf.d/more.conf', '[Log]\nLevel=debug\n')
        self.machine.write('/etc/agitator/tls/key.pem', 'a key', mode=0o600)
        self.machine.write('/var/lib/agitator/something', 'state')
        self.machine.run('systemctl', 'reload', 'agitator')
        self.assert_success(self.call(address=('127.0.0.1', 4573)))
        self.assertNotEqual(self.snapshot(), before)
        pid = self.main_pid()

        self.remove('purge')
        self.assert_nothing_is_left(before, users)
        self.assertEqual(self.machine.run('ps', '-p', pid, '-o', 'comm=', check=False).stdout, '')
        self.assertEqual(self.machine.run('systemctl', 'list-units', '--all', '--no-legend',
                                          'agitator*').stdout, '')
        self.assertIn('agitator', self.machine.journal('-u', 'agitator'))

    def test_removed_package_keeps_its_configuration(self):
        self.install()
        self.machine.write(CONF, self.machine.read(CONF)
                           + '\n[Listener extra]\nListen=127.0.0.1:4999\n')
        self.remove('remove')
        self.assertEqual(self.states('is-active')[0], 'inactive')
        self.install()
        self.assert_success(self.call(address=('127.0.0.1', 4999)))


class WithoutSystemd(PackageTest):
    """As where an image of a container is made: nobody is there to start anything."""

    boot = False

    def test_installs_runs_by_hand_and_purges(self):
        before, users = self.snapshot(), self.users()
        said = self.install()
        self.assertNotRegex(said, r'(?i)warning|error|fail')
        process = self.machine.spawn('agitator')
        self.machine.run('agitatorctl', 'call', '--retry', '10', 'agi://127.0.0.1/hello')
        self.assert_first_call_is_answered()
        self.machine.run('pkill', '-x', 'agitator')
        self.assertEqual(process.wait(TIMEOUT), 0)
        self.remove('purge')
        self.assert_nothing_is_left(before, users)


if __name__ == '__main__':
    main()
