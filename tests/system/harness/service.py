# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed service, and the test case for it."""

import os
import re
import shutil
import time

from .case import group, route_group, server_group
from .install import install_agitator
from .proxy import BAD_OUTPUT
from .system_case import SystemTest
from .tls import Authority, client_connections, client_context

SERVICE = 'agitator.service'
SOCKET = 'agitator.socket'
TLS_SOCKET = 'agitator-tls.socket'
UNITS = (SOCKET, TLS_SOCKET, SERVICE)

ADDRESS = ('127.0.0.1', 4573)
TLS_ADDRESS = ('127.0.0.1', 4574)
CONFIG = '/etc/agitator/agitator.conf'

DEFAULT_LISTENER = 'Listen=%s:%d' % ADDRESS


class Service:
    """Stands where the integration tests have a Proxy."""

    def __init__(self, machine):
        self.machine = machine
        self.expected_result = 'success'  # of the end
        # Only what is new is ours.
        shown = machine.run('journalctl', '-n0', '--show-cursor', '-q').stdout
        self.cursor = re.search('cursor: (.*)', shown)[1]

    # Making it

    def write_config(self, *groups, proxy=(), listener=(DEFAULT_LISTENER,)):
        self.machine.write(CONFIG, ''.join([group('Proxy', '', *proxy),
                                            group('Listener', 'plain', *listener), *groups]))

    def drop_in(self, *lines, unit=SERVICE, section='Service'):
        """As `systemctl edit` makes it."""
        self.machine.write(f'/etc/systemd/system/{unit}.d/override.conf',
                           '\n'.join([f'[{section}]', *lines, '']))
        self.machine.run('systemctl', 'daemon-reload')

    def start(self, *units):
        self.machine.run('systemctl', 'start', *(units or [SERVICE]))
        return self

    def stop(self):
        """It must end well."""
        self.machine.run('systemctl', 'stop', *UNITS)
        result = self.machine.show(SERVICE, 'Result')
        bad = [line for line in self.log_text().splitlines() if BAD_OUTPUT.search(line)]
        if result != self.expected_result or bad:
            raise AssertionError(f'the result is {result}, expected {self.expected_result}; '
                                 f'suspicious lines: {bad}; the log:\n{self.log_text()}')

    # Looking

    def log_text(self):
        return self.machine.journal('--after-cursor=' + self.cursor)

    def wait_for_log(self, pattern, timeout=None):
        return self.machine.wait_journal(pattern, '--after-cursor=' + self.cursor, timeout=timeout)

    def show(self, name, unit=SERVICE):
        return self.machine.show(unit, name)

    def wait_show(self, name, pattern, timeout=None):
        return self.machine.wait_show(SERVICE, name, pattern, timeout)

    def status(self):
        """What an operator is shown."""
        return self.machine.run('systemctl', 'status', '--no-pager', '--full', SERVICE,
                                check=False).stdout

    def pid(self):
        return int(self.show('MainPID'))

    def reload(self):
        return self.machine.run('systemctl', 'reload', SERVICE, check=False)


class ServiceTest(SystemTest):
    """Each test finds agitator as it was installed, and not running."""

    @classmethod
    def prepare(cls, machine):
        install_agitator(machine)

    def setUp(self):
        super().setUp()
        self.address = ADDRESS
        machine = self.machine
        saved = machine.inside('/var/tmp/agitator-as-installed')
        here = machine.inside('/etc/agitator')
        if not os.path.exists(saved):
            shutil.copytree(here, saved)
        shutil.rmtree(here)
        shutil.copytree(saved, here)
        for unit in UNITS:
            shutil.rmtree(machine.inside(f'/etc/systemd/system/{unit}.d'), ignore_errors=True)
        machine.run('systemctl', 'daemon-reload')
        machine.run('systemctl', 'stop', *UNITS)
        machine.run('systemctl', 'reset-failed')
        self.service = self.proxy = Service(machine)
        self.proxies.append(self.service)

    @staticmethod
    def to_one(server, *lines):
        """Groups by which every request goes to one server."""
        return server_group('one', server.address, *lines), route_group('all', '*', 'one')

    @staticmethod
    def tls_listener(*lines):
        return group('Listener', 'tls', 'TLS=yes', *lines)

    def start_one_server(self, server, *units, **options):
        self.service.write_config(*self.to_one(server), **options)
        self.service.start(*units)

    def make_authority(self):
        """One whose certificates are used inside, too."""
        os.mkdir(self.make_path('ca'))
        return Authority(self.make_path('ca'))

    def give_key(self, certificate, mode=0o600):
        """Puts a certificate and its key into the machine, as cert.pem and key.pem."""
        with open(certificate, encoding='ascii') as file:
            text = file.read()
        key = re.search('-----BEGIN PRIVATE KEY.*END PRIVATE KEY-----\n', text, re.S)[0]
        self.machine.write('/etc/agitator/tls/cert.pem', text.replace(key, ''))
        self.machine.write('/etc/agitator/tls/key.pem', key, mode=mode)

    def call_tls(self, ca, address=TLS_ADDRESS, **options):
        context = client_context(ca.certificate)
        return self.call(address=address, make_connection=client_connections(context), **options)

    def hold(self, server):
        """A session that goes on until the test ends it: both ends."""
        client, session = self.open_session(server)
        self.assert_relayed(client, session)
        return client, session


def measure(function, *args):
    """How many seconds a call takes."""
    begin = time.monotonic()
    function(*args)
    return time.monotonic() - begin
