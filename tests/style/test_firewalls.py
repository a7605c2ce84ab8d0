# SPDX-License-Identifier: GPL-3.0-or-later
"""What firewalld and ufw are told of agitator: that it can be read, and that the ports are those which
agitator and its sockets have. The system suite asks the firewalls themselves.

usage: test_firewalls.py [PART-OF-A-NAME...], with AGITATOR in the environment
"""

import configparser
import os
import pathlib
import re
import subprocess
import sys
import unittest
import xml.etree.ElementTree

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'tests' / 'integration')]

from harness.tap import main  # noqa: E402

FIREWALLD = TOP / 'data' / 'firewalld' / 'agitator.xml'
UFW = TOP / 'data' / 'ufw' / 'agitator'

PLAIN, TLS = 4573, 4574


class FirewallsTest(unittest.TestCase):
    def ufw_profiles(self):
        parser = configparser.RawConfigParser()
        parser.read(UFW, encoding='utf-8')
        return {name: dict(parser.items(name)) for name in parser.sections()}

    def test_ports_are_those_of_the_program(self):
        run = subprocess.run([os.environ['AGITATOR'], '--dump-config',
                              '--config=' + str(TOP / 'data' / 'agitator.conf')],
                             check=True, stdout=subprocess.PIPE, encoding='utf-8')
        self.assertEqual(re.findall(r'^Listen=127\.0\.0\.1:(\d+)$', run.stdout, re.M), [str(PLAIN)])

    def test_ports_are_those_of_the_sockets(self):
        units = list((TOP / 'data').rglob('*.socket'))
        ports = {int(port) for unit in units for port in
                 re.findall(r'^ListenStream=(?:.*:)?(\d+)$', unit.read_text('utf-8'), re.M)}
        self.assertEqual(ports, {PLAIN, TLS})

    def test_firewalld_service(self):
        root = xml.etree.ElementTree.parse(FIREWALLD).getroot()
        self.assertEqual(root.tag, 'service')
        self.assertEqual([child.tag for child in root], ['short', 'description', 'port', 'port'])
        self.assertEqual([child.attrib for child in root if child.tag == 'port'],
                         [{'protocol': 'tcp', 'port': str(port)} for port in (PLAIN, TLS)])
        for child in root[:2]:
            self.assertTrue(child.text.strip())

    def test_ufw_profiles(self):
        profiles = self.ufw_profiles()
        self.assertEqual({name: profile['ports'] for name, profile in profiles.items()},
                         {'agitator': f'{PLAIN}/tcp', 'agitator TLS': f'{TLS}/tcp',
                          'agitator Full': f'{PLAIN},{TLS}/tcp'})
        for profile in profiles.values():
            self.assertEqual(set(profile), {'title', 'description', 'ports'})


if __name__ == '__main__':
    main()
