#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit files by themselves: systemd has nothing against them, and what they name is there."""

import configparser
import re

from harness.service import CONFIG, SERVICE, ServiceTest, SOCKET, UNITS
from harness.system_case import main

MOST_EXPOSURE = 11  # tenths


class Units(ServiceTest):
    def analyze(self, *arguments):
        return self.machine.run('systemd-analyze', '--no-pager', *arguments, check=False)

    def test_nothing_is_wrong_with_them(self):
        """Neither a mistake nor a key that this systemd doesn't know."""
        run = self.analyze('verify', '--man=no', *UNITS)
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, '', ''))
        self.service.start()
        self.service.wait_for_log('ready: ')
        self.assertNotIn('/system/agitator', self.service.log_text())

    def test_such_a_mistake_would_be_seen(self):
        self.service.drop_in('NoSuchKey=yes')
        run = self.analyze('verify', '--man=no', *UNITS)
        self.assertIn('NoSuchKey', run.stderr)
        self.service.start()
        self.service.wait_for_log('/system/agitator.service.d/override.conf:2: Unknown key')

    def test_exposure(self):
        run = self.analyze('security', f'--threshold={MOST_EXPOSURE}', SERVICE)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.service.drop_in('ProtectSystem=no')
        run = self.analyze('security', f'--threshold={MOST_EXPOSURE}', SERVICE)
        self.assertNotEqual(run.returncode, 0, run.stdout)

    def test_socket_is_that_of_the_installed_configuration(self):
        config = configparser.ConfigParser(delimiters='=', interpolation=None)
        config.read_string(self.machine.read(CONFIG))
        name = self.service.show('FileDescriptorName', SOCKET)
        self.assertEqual(self.service.show('Listen', SOCKET),
                         config[f'Listener {name}']['Listen'] + ' (Stream)')

    def test_user(self):
        self.assertRegex(self.machine.run('getent', 'passwd', 'agitator').stdout,
                         r'^agitator:x:\d{1,3}:\d{1,3}:.*:/usr/sbin/nologin$')
        self.service.start()
        owner = self.machine.run('ps', '-o', 'user=', '-p', self.service.pid()).stdout.strip()
        self.assertEqual(owner, 'agitator')
        folders = self.machine.run('stat', '-c', '%n %U %a', '/etc/agitator', '/var/lib/agitator',
                                   '/run/agitator').stdout
        self.assertEqual(folders, '/etc/agitator root 755\n/var/lib/agitator agitator 750\n'
                         '/run/agitator agitator 755\n')

    def test_descriptors(self):
        """As many as there may be here: a container can't have more than the machine gave it."""
        self.service.start()
        asked = int(self.service.show('LimitNOFILE'))
        limits = self.machine.read(f'/proc/{self.service.pid()}/limits')
        got = int(re.search(r'^Max open files +(\d+)', limits, re.M)[1])
        hard = int(re.search(r'^Max open files +\d+ +(\d+)', self.machine.read('/proc/1/limits'),
                             re.M)[1])
        self.assertGreater(asked, 100000)
        self.assertIn(got, (asked, hard))
        # Who is told to raise it is not told of less.
        advice = re.search(r'LimitNOFILE=(\d+)',
                           self.machine.read('/usr/lib/systemd/catalog/agitator.catalog'))
        self.assertGreater(int(advice[1]), asked)


if __name__ == '__main__':
    main()
