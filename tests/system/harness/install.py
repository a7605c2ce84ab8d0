# SPDX-License-Identifier: GPL-3.0-or-later
"""How agitator gets into a machine."""

import fcntl
import functools
import hashlib
import os
import shutil

from . import roots

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..', '..'))

# Where a distribution puts things, since the units name the programs by their paths.
OPTIONS = ['--prefix=/usr', '--sysconfdir=/etc', '--localstatedir=/var']


@functools.lru_cache
def build():
    """A build of the tree, kept for the next time; returns its folder."""
    roots.require('meson', 'ninja')
    folder = os.path.join(roots.cache('builds'), hashlib.sha256(SOURCE.encode()).hexdigest()[:12])
    with roots.locked(folder + '.lock', fcntl.LOCK_EX):
        if not os.path.exists(os.path.join(folder, 'build.ninja')):
            shutil.rmtree(folder, ignore_errors=True)
            roots.run(['meson', 'setup', *OPTIONS, folder, SOURCE], roots.TIME_LIMIT)
        roots.run(['ninja', '-C', folder], roots.TIME_LIMIT)
    return folder


def install_files(machine):
    """To be called before the machine is booted."""
    folder = build()
    with roots.locked(folder + '.lock', fcntl.LOCK_SH):
        roots.run(['meson', 'install', '-C', folder, '--no-rebuild', '--destdir', machine.path],
                  roots.TIME_LIMIT)
    try:
        roots.run_in(machine.path, 'agitator', '--version')
    except AssertionError as problem:
        if 'GLIBC_' in str(problem):
            raise roots.Unavailable(f'built here, it does not run there: {problem}') from None
        raise


def install_agitator(machine):
    """The files, and what a package does after them where there is systemd."""
    install_files(machine)
    roots.run_in(machine.path, 'systemd-sysusers')
    roots.run_in(machine.path, 'journalctl', '--update-catalog')
