# SPDX-License-Identifier: GPL-3.0-or-later
"""The test case all system tests are: one machine for each class of them, booted when the first of
its tests asks for it.

Which Debian it is, AGITATOR_SUITE says.
"""

import os
import shutil
import sys

from . import roots, tap
from .case import IntegrationTest
from .machine import Machine

SUITE = os.environ.get('AGITATOR_SUITE') or 'bookworm'

# What agitator needs to run, and what tests of its package would otherwise download each time.
PACKAGES = ('libglib2.0-0', 'libgnutls30', 'libsystemd0')


class SystemTest(IntegrationTest):
    packages = PACKAGES
    boot = True
    systemd = True  # whether it is installed
    _machine = None
    _failure = None

    @classmethod
    def prepare(cls, machine):
        """Called with the copy before it is booted."""

    @classmethod
    def get_machine(cls):
        """Made only once: when it can't be, all tests that ask for it fail or are skipped."""
        if cls._failure:
            raise cls._failure
        if not cls._machine:
            try:
                machine = Machine(roots.get(SUITE, cls.packages, cls.systemd), boot=cls.boot,
                                  before=cls.prepare)
                cls._machine = machine.start()
            except BaseException as error:
                cls._failure = error
                raise
        return cls._machine

    @classmethod
    def tearDownClass(cls):
        if cls._machine:
            cls._machine.stop()
            cls._machine = None
        super().tearDownClass()

    @property
    def machine(self):
        return self.get_machine()

    # The pretenders are on the machine's network.

    def make_server(self, *args, **options):
        return self.machine.in_network(super().make_server, *args, **options)

    def make_socket(self, *args, **options):
        return self.machine.in_network(super().make_socket, *args, **options)

    def connect(self, *args, **options):
        return self.machine.in_network(super().connect, *args, **options)

    def call(self, *args, **options):
        return self.machine.in_network(super().call, *args, **options)


def main():
    """Runs the tests of the file in mount and process namespaces of their own, so that nothing
    outlives them, however they end."""
    can = os.geteuid() == 0 and shutil.which('unshare') and shutil.which('setpriv')
    if can and os.environ.get('AGITATOR_CONTAINED') != 'yes':
        os.environ['AGITATOR_CONTAINED'] = 'yes'
        # The shell is the first process, which has to reap what others leave behind.
        command = roots.contain('--mount-proc', 'sh', '-c', '"$@"; exit $?', 'sh', sys.executable,
                                *sys.argv)
        os.execvp(command[0], command)
    tap.main()
