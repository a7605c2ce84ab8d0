#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""firewalld and ufw know agitator once it is installed, and open nothing by themselves."""

from harness.install import install_files
from harness.system_case import main, PACKAGES, SystemTest


class FirewallsTest(SystemTest):
    packages = (*PACKAGES, 'firewalld', 'ufw')
    boot = False
    systemd = False

    @classmethod
    def prepare(cls, machine):
        install_files(machine)

    def ask(self, *command):
        return self.machine.run(*command).stdout

    def test_firewalld(self):
        shown = self.ask('firewall-offline-cmd', '--info-service=agitator')
        self.assertRegex(shown, r'(?m)^ +ports: 4573/tcp 4574/tcp$')
        self.assertNotIn('agitator', self.ask('firewall-offline-cmd', '--list-services'))
        self.ask('firewall-offline-cmd', '--add-service=agitator')
        self.assertIn('agitator', self.ask('firewall-offline-cmd', '--list-services'))
        self.ask('firewall-offline-cmd', '--check-config')

    def test_ufw(self):
        listed = self.ask('ufw', 'app', 'list')
        for name, ports in (('agitator', '4573/tcp'), ('agitator TLS', '4574/tcp'),
                            ('agitator Full', '4573,4574/tcp')):
            self.assertIn(f'\n  {name}\n', listed)
            shown = self.ask('ufw', 'app', 'info', name)
            self.assertIn(f'Profile: {name}\n', shown)
            self.assertIn(ports, shown)
        rules = self.ask('ufw', '--dry-run', 'allow', 'from', '192.0.2.0/24', 'to', 'any', 'app',
                         'agitator')
        self.assertRegex(rules, r'-A ufw-user-input -p tcp --dport 4573 -s 192\.0\.2\.0/24 .*ACCEPT')
        self.assertNotIn('4574', rules)


if __name__ == '__main__':
    main()
