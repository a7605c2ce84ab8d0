#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The package for rpm: built, judged, installed under systemd, upgraded under load, and erased.

Built on this machine, installed in one of AGITATOR_SUITE. Debian 12's rpm is like Enterprise Linux
9's; Debian 13's, like Fedora's, makes by itself the users that sysusers.d describes.
"""

import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile
import threading
import unittest

from harness import roots, rpms
from harness.asterisk import environment, PretendAsterisk, SUCCESS
from harness.case import Config, route_group, server_group
from harness.machine import Machine
from harness.system_case import main, PACKAGES, SUITE, SystemTest
from harness.waiting import wait_until

ADDRESS = ('127.0.0.1', 4573)
CONFIG = '/etc/agitator/agitator.conf'

SUITES = ['bookworm', 'trixie']

# Debian 12's rpm would rather not be used.
FORCE = ['--force-debian'] if SUITE == 'bookworm' else []

# What belongs to nobody's package, or is written by programs that any package's install runs.
# Accounts stay, so that no later one gets the number of files that are still about.
UNCOUNTED = ('/var/lib/rpm', '/var/log', '/var/lib/systemd', '/var/cache', '/etc/passwd', '/etc/group',
             '/etc/shadow', '/etc/gshadow', '/etc/subuid', '/etc/subgid', '/etc/.pwd.lock')


# The README's commands are run where there is no dnf, and what would take minutes is left out: from
# where rpmbuild has found and unpacked its sources, all builds are the same.
README_SETTINGS = '''
sudo() { :; }
rpmbuild() { [ "$1" = -bb ] && shift && command rpmbuild -bp --nodeps "$@"; }
cd "$0"
git init -q
git add -A
git -c user.name=test -c user.email=test@localhost commit -q -m all
'''


def unpack(package, folder):
    """What is in a package's file."""
    with subprocess.Popen(['rpm2cpio', package], stdout=subprocess.PIPE) as source:
        subprocess.run(['cpio', '--quiet', '-idm'], stdin=source.stdout, cwd=folder, check=True,
                       stderr=subprocess.PIPE)


def changes(text, head, bullet):
    """What a changelog says of each version: its points, each on one line."""
    found = {}
    for block in re.split(rf'(?m)^(?={head})', text):
        version = re.match(rf'(?m){head}', block)
        if version:
            points = re.split(rf'(?m)^{bullet}', re.split(r'(?m)^ -- ', block)[0])[1:]
            found[version.group(1)] = [' '.join(point.split()) for point in points]
    return found


class PackageTest(unittest.TestCase):
    """The files that rpmbuild makes."""

    maxDiff = 4000

    def files(self, package):
        return rpms.query(package, '[%{FILENAMES}\n]').splitlines()

    def unpack(self, package):
        folder = tempfile.TemporaryDirectory(prefix='agitator-')
        self.addCleanup(folder.cleanup)
        unpack(package, folder.name)
        return folder.name

    def test_tests_passed_in_the_build(self):
        log = rpms.build('release').log
        counts = {name: int(n) for name, n in re.findall(r'(?m)^([A-Z][A-Za-z ]+): +(\d+) *$', log)}
        self.assertGreater(counts['Ok'], 40)
        self.assertEqual((counts['Fail'], counts['Timeout']), (0, 0))

    def test_rpmlint(self):
        if not shutil.which('rpmlint'):
            self.skipTest('there is no rpmlint')
        build = rpms.build('release')
        # It looks into the specification with rpm's own parser, so its macros must be found.
        with rpms.make_home(rpms.leave) as home:
            lint = subprocess.run(
                ['rpmlint', '--config', rpms.OURS / 'rpmlint.toml', '--rpmlintrc',
                 rpms.TOP / 'rpm' / 'agitator.rpmlintrc', home / 'rpmbuild/SOURCES/agitator.spec',
                 *build.packages()],
                check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8',
                env={**os.environ, 'HOME': str(home)})
        self.assertRegex(lint.stdout, r'4 packages and 1 specfiles checked; 0 errors, 0 warnings')
        self.assertEqual(lint.returncode, 0, lint.stdout)

    def test_changelogs_and_versions_agree(self):
        spec = (rpms.TOP / 'rpm' / 'agitator.spec').read_text('utf-8')
        debian = (rpms.TOP / 'debian' / 'changelog').read_text('utf-8')
        ours = changes(spec.partition('%changelog')[2], r'\* .* - (\S+)-\d+$', '- ')
        self.assertEqual(ours, changes(debian, r'agitator \((\S+)\)', r'  \* '))
        self.assertEqual(next(iter(ours)), rpms.version())
        self.assertIn(f"  version: '{rpms.version()}',\n",
                      (rpms.TOP / 'meson.build').read_text('utf-8'))

    def test_command_in_the_readme(self):
        readme = (rpms.TOP / 'README.md').read_text('utf-8')
        command = re.search(r'<!-- rpm -->\n```sh\n(.*?)```', readme, re.S)[1]
        self.assertIn('rpmbuild -bb', command)
        rpms.require()
        with tempfile.TemporaryDirectory(prefix='agitator-') as tree, rpms.make_home() as home:
            rpms.copy_tree(pathlib.Path(tree))
            shutil.rmtree(home / 'rpmbuild')
            said = rpms.run_rpm(home, 'bash', '-e', '-c', README_SETTINGS + command, tree)
            self.assertTrue((home / f'rpmbuild/BUILD/agitator-{rpms.version()}/meson.build').exists()
                            or list(home.glob('rpmbuild/BUILD/*/*/meson.build')), said)

    def test_languages(self):
        found = rpms.query(rpms.build('release').package(), '[%{FILELANGS} %{FILENAMES}\n]')
        linguas = (rpms.TOP / 'po' / 'LINGUAS').read_text('utf-8')
        for language in re.findall('(?m)^[^#].*$', linguas):
            # rpm marks a file with the language alone, without its country.
            self.assertIn(f'{language.partition("_")[0]} /usr/share/locale/{language}/LC_MESSAGES/'
                          'agitator.mo\n', found)
            self.assertIn(f' /usr/lib/systemd/catalog/agitator.{language}.catalog\n', found)

    def test_needs_the_libraries_it_is_linked_with(self):
        needs = rpms.query(rpms.build('release').package(), '[%{REQUIRENAME}\n]').splitlines()
        for soname in ('libglib-2.0.so.0', 'libgio-2.0.so.0', 'libgnutls.so.30', 'libsystemd.so.0'):
            self.assertIn(soname + '()(64bit)', needs)
        self.assertIn('/usr/bin/python3', needs)

    def test_each_program_has_a_page(self):
        files = self.files(rpms.build('release').package())
        programs = [path for path in files if re.match(r'/usr/s?bin/', path)]
        self.assertEqual(len(programs), 3)
        for path in programs:
            self.assertRegex('\n'.join(files), rf'/man[18]/{os.path.basename(path)}\.[18]\.gz(\n|$)')

    def test_scripts_for_each_distribution(self):
        """Enterprise Linux 9 makes the user by a script, later ones and Fedora by the file of
        sysusers.d alone."""
        spec = rpms.SOURCES / 'agitator.spec'
        with rpms.make_home(rpms.leave) as home:
            def scripts(*options):
                return rpms.run_rpm(home, 'rpmspec', '--query', '--srpm', *options, '--queryformat',
                                    '[%{REQUIRENAME} ]', spec), \
                    rpms.run_rpm(home, 'rpmspec', '--parse', *options, spec)

            needs, text = scripts('--define', 'rhel 9')
            self.assertIn('pkgconfig(libsystemd)', needs)
            self.assertRegex(text, r'(?m)^getent passwd agitator >/dev/null \|\| useradd -r -g agitator '
                                   r"-d \S+ -s /usr/sbin/nologin -c '[^']+' agitator \|\| :$")
            for options in (['--define', 'rhel 10'],
                            ['--undefine', 'rhel', '--define', 'fedora 43', '--define', 'dist .fc43']):
                text = scripts(*options)[1]
                self.assertNotIn('useradd', text)
                self.assertNotRegex(text, r'(?m)^%pre$')
            for text in (text, scripts()[1]):
                self.assertRegex(text, r'(?m)^%posttrans\n(#.*\n)+if \[ -d /run/systemd/system \]')

    def test_debugging_information_is_that_of_the_program(self):
        build = rpms.build('release')
        program = os.path.join(self.unpack(build.package()), 'usr/sbin/agitator')
        build_id, = re.findall(r'Build ID: ([0-9a-f]+)', subprocess.run(
            ['readelf', '--notes', program], check=True, capture_output=True, text=True).stdout)
        path = f'/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug'
        info = build.package('agitator-debuginfo')
        self.assertIn(path, self.files(info))
        names = subprocess.run(['readelf', '--debug-dump=info', self.unpack(info) + path], check=True,
                               capture_output=True, text=True).stdout
        self.assertIn('src/daemon/daemon.c', names)
        sources = '\n'.join(self.files(build.package('agitator-debugsource')))
        self.assertRegex(sources, r'(?m)^/usr/src/debug/agitator-[^/]+/src/daemon/daemon\.c$')

    def test_two_builds_are_the_same(self):
        one, two = rpms.build('release'), rpms.build('again')
        self.assertEqual(len(one.packages()), 4)
        for first, second in zip(one.packages(), two.packages(), strict=True):
            self.assertEqual(os.path.basename(first), os.path.basename(second))
            with open(first, 'rb') as a, open(second, 'rb') as b:
                self.assertTrue(a.read() == b.read(), f'{first} and {second} differ')


class Callers:
    """Calls without a pause, a few at a time, each of which must end well."""

    def __init__(self, machine, number=4):
        self.machine = machine
        self.ended = threading.Event()
        self.served = 0
        self.problems = []
        self.lock = threading.Lock()
        self.threads = [machine.in_network(self._start) for _ in range(number)]

    def _start(self):
        thread = threading.Thread(target=self._call, daemon=True)
        thread.start()
        return thread

    def _call(self):
        while not self.ended.is_set():
            try:
                client = PretendAsterisk(ADDRESS, block=environment('agi://127.0.0.1/quick'))
                status = client.start().wait()
                if status != SUCCESS or client.variables.get('SERVED') != 'yes':
                    raise AssertionError(client.describe())
                with self.lock:
                    self.served += 1
            except (OSError, AssertionError) as problem:
                self.problems.append(problem)
                break

    def wait_for(self, more):
        """Until so many calls more have been served."""
        until = self.served + more
        wait_until(lambda: self.served >= until or self.problems, f'{more} more calls')

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()


class InstallTest(SystemTest):
    """The package in a machine that runs; each test begins without it."""

    packages = (*PACKAGES, 'python3', 'rpm')

    @classmethod
    def prepare(cls, machine):
        here = platform.freedesktop_os_release().get('VERSION_CODENAME')
        if here not in SUITES[:SUITES.index(SUITE) + 1]:
            raise roots.Unavailable(f'what is built on {here} need not run on {SUITE}')
        for kind in ('release', 'next'):
            shutil.copy(rpms.build(kind).package(), f'{machine.path}/root/{kind}.rpm')
        shutil.copy(rpms.build_systemd(machine.path + '/root'), machine.path + '/root/systemd.rpm')
        # Debian 12's rpm keeps its records elsewhere.
        os.makedirs(machine.path + '/etc/rpm', exist_ok=True)
        with open(machine.path + '/etc/rpm/macros', 'w', encoding='utf-8') as file:
            file.write('%_dbpath /var/lib/rpm\n')

    def setUp(self):
        super().setUp()
        if self.machine.run('rpm', '-q', 'systemd', check=False).returncode != 0:
            self.rpm('-i', 'systemd')
        self.addCleanup(self.clear)

    def clear(self):
        if self.machine.run('rpm', '-q', 'agitator', check=False).returncode == 0:
            self.rpm('-e', 'agitator')
        self.machine.run('rm', '-rf', '/etc/agitator')

    def rpm(self, verb, what, machine=None, options=()):
        """Installs, upgrades, erases or verifies; returns what was printed, which should be nothing."""
        done = (machine or self.machine).run(
            'rpm', verb, '--nodeps', *options, *([] if verb == '-V' else FORCE),
            f'/root/{what}.rpm' if verb in ('-i', '-U') else what)
        return done.stdout + done.stderr

    def install(self, *enable):
        self.assertEqual(self.rpm('-i', 'release'), '')
        if enable:
            self.machine.run('systemctl', 'enable', '--now', *enable)

    def version_of(self, pid):
        """Of the program that a process runs."""
        return self.machine.run(f'/proc/{pid}/exe', '--version').stdout

    def main_pid(self):
        return int(self.machine.show('agitator.service', 'MainPID'))

    def all_files(self):
        found = self.machine.run('find', '/', '-xdev', '-path', '/root', '-prune', '-o', '-path', '/tmp',
                                 '-prune', '-o', '-print').stdout.splitlines()
        return {path for path in found if not path.startswith(UNCOUNTED)}

    def first_call(self):
        client = self.call('agi://127.0.0.1/hello', ADDRESS)
        self.assert_success(client)
        return client.agitator_status

    # Install, use and erase

    def test_first_call_and_nothing_left(self):
        machine = self.machine
        before = self.all_files()
        self.install()
        self.assertEqual(self.rpm('-V', 'agitator'), '')
        self.assertRegex(machine.run('getent', 'passwd', 'agitator').stdout, r'nologin\n$')
        for unit in ('agitator.service', 'agitator.socket', 'agitator-tls.socket'):
            self.assertEqual(machine.run('systemctl', 'is-enabled', unit, check=False).stdout,
                             'disabled\n')
        self.assertEqual(machine.show('agitator.service', 'ActiveState'), 'inactive')

        machine.run('systemctl', 'enable', '--now', 'agitator')
        self.assertEqual(self.first_call(), 'UNCONFIGURED')
        self.assertIn(rpms.version(), self.version_of(self.main_pid()))
        # The trigger has taken the catalog in.
        self.assertRegex(machine.run('journalctl', '--list-catalog').stdout, r'agitator')

        self.assertEqual(self.rpm('-e', 'agitator'), '')
        self.assertEqual(machine.show('agitator.service', 'ActiveState'), 'inactive')
        self.assertEqual(machine.show('agitator.service', 'LoadState'), 'not-found')
        self.assertEqual(machine.run('pgrep', '-a', 'agitator', check=False).stdout, '')
        self.assertEqual(self.all_files() ^ before, set())

    def test_socket_activation(self):
        self.install('agitator.socket')
        self.assertEqual(self.machine.show('agitator.service', 'ActiveState'), 'inactive')
        self.assertEqual(self.first_call(), 'UNCONFIGURED')
        self.assertEqual(self.machine.show('agitator.service', 'ActiveState'), 'active')

    def test_import_runs(self):
        self.install()
        self.assertRegex(self.machine.run('agitator-import', '--help').stdout, r'(?i)^usage')

    # Upgrade

    def test_edited_configuration_is_kept(self):
        self.install()
        edited = self.machine.read(CONFIG) + '\n# A line of the operator.\n'
        self.machine.write(CONFIG, edited)
        self.assertRegex(self.rpm('-U', 'next'), r'^warning: \S+ created as \S+\.rpmnew\n$')
        self.assertEqual(self.machine.read(CONFIG), edited)
        self.assertIn('# A line of the next version.', self.machine.read(CONFIG + '.rpmnew'))

        before = self.all_files()
        self.assertRegex(self.rpm('-e', 'agitator'), r'^warning: \S+ saved as \S+\.rpmsave\n$')
        self.assertEqual(self.machine.read(CONFIG + '.rpmsave'), edited)
        left = {path for path in before & self.all_files() if 'agitator' in path}
        self.assertEqual(left, {'/etc/agitator', CONFIG + '.rpmnew'})

    def test_unedited_configuration_is_replaced(self):
        self.install('agitator')
        self.assertEqual(self.rpm('-U', 'next'), '')
        self.assertIn('# A line of the next version.', self.machine.read(CONFIG))
        self.assertEqual(self.first_call(), 'UNCONFIGURED')

    def test_upgrade_starts_nothing(self):
        self.install()
        self.assertEqual(self.rpm('-U', 'next'), '')
        self.assertEqual(self.machine.show('agitator.service', 'ActiveState'), 'inactive')

    def test_downgrade_and_reinstall(self):
        self.install('agitator')
        self.rpm('-U', 'next')
        for option in ('--oldpackage', '--replacepkgs'):
            before = self.main_pid()
            self.assertEqual(self.rpm('-U', 'release', options=[option]), '')
            self.assertNotEqual(self.main_pid(), before)
            self.assertIn(rpms.version(), self.version_of(self.main_pid()))
            self.assertEqual(self.first_call(), 'UNCONFIGURED')

    def test_upgrade_under_load(self):
        self.upgrade_under_load('agitator.service')

    def test_upgrade_under_load_with_socket_unit(self):
        self.upgrade_under_load('agitator.socket', 'agitator.service')

    def upgrade_under_load(self, *units, sessions=200):
        quick, held = self.make_server(self.serve_quickly), self.make_server(None)
        self.install()
        self.machine.write(CONFIG, self.config(quick, held))
        self.machine.run('systemctl', 'enable', '--now', *units)
        old = self.main_pid()
        open_ones = [self.open_held(held) for _ in range(sessions)]

        callers = Callers(self.machine)
        try:
            callers.wait_for(20)
            self.assertRegex(self.rpm('-U', 'next'), r'^(warning: \S+ created as \S+\.rpmnew\n)?$')
            new = self.main_pid()
            callers.wait_for(100)
        finally:
            callers.stop()
        self.assertEqual(callers.problems, [])

        self.assertNotEqual(new, old)
        self.assertIn(rpms.next_version(), self.version_of(new))
        # The old process has them all to their end, and then leaves.
        for client, session in open_ones:
            self.assert_relayed(client, session)
        self.assertTrue(os.path.exists(self.machine.inside(f'/proc/{old}')))
        for client, session in open_ones:
            self.assert_ends(client, session)
        wait_until(lambda: not os.path.exists(self.machine.inside(f'/proc/{old}')),
                   'the old process to leave')
        self.assertEqual((self.main_pid(), self.machine.show('agitator.service', 'NRestarts')),
                         (new, '0'))
        client, session = self.open_held(held)
        self.assert_ends(client, session)

    def config(self, quick, held):
        return Config(server_group('quick', quick.address), server_group('held', held.address),
                      route_group('quick', 'quick', 'quick'), route_group('held', 'held', 'held'),
                      listener=['Listen=%s:%d' % ADDRESS]).text.replace('[Listener main]',
                                                                        '[Listener plain]')

    @staticmethod
    def serve_quickly(session):
        session.read_environment()
        session.command(b'SET VARIABLE SERVED yes')
        session.end()

    def open_held(self, server):
        client = self.connect(ADDRESS)
        client.send(environment('agi://127.0.0.1/held'))
        session = server.accept()
        session.read_environment()
        return client, session

    def test_failing_upgrade_is_told_and_cuts_nothing(self):
        held = self.make_server(None)
        self.install()
        self.machine.write(CONFIG, self.config(held, held))
        self.machine.run('systemctl', 'enable', '--now', 'agitator')
        old = self.main_pid()
        client, session = self.open_held(held)
        self.machine.write(CONFIG, self.config(held, held) + '[Nonsense]\n')

        said = self.rpm('-U', 'next')
        self.assertIn(CONFIG, said)
        self.assertIn('Nonsense', said)
        self.assertIn('agitator: the running service stays at the version before', said)
        self.assertIn(rpms.next_version(), self.machine.run('rpm', '-q', 'agitator').stdout)
        self.assertEqual(self.main_pid(), old)
        self.assert_relayed(client, session)
        self.assert_ends(client, session)
        client, session = self.open_held(held)
        self.assert_ends(client, session)

    # Where nothing runs, as while an image is made

    def test_without_systemd(self):
        with Machine(self.machine.root, boot=False, before=self.prepare) as machine:
            for verb, kind in (('-i', 'systemd'), ('-i', 'release'), ('-U', 'next')):
                self.assertEqual(self.rpm(verb, kind, machine), '')
            self.assertEqual(self.rpm('-V', 'agitator', machine), '')
            self.assertRegex(machine.run('getent', 'passwd', 'agitator').stdout, r'nologin\n$')
            self.assertEqual(self.rpm('-e', 'agitator', machine), '')


if __name__ == '__main__':
    main()
