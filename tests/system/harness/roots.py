# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian systems as folders, made by debootstrap and kept outside the tree.

They lie in $AGITATOR_SYSTEM_CACHE, or /var/cache/agitator-tests, and are never changed once they are
there: each is built under another name and renamed, so that one whose making was broken off is made
anew. Their makers wait for each other, whoever uses one keeps it from being removed.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import time
import unittest
import urllib.error
import urllib.request

from .waiting import FACTOR, wait_until

SYSTEMD = ('systemd', 'systemd-sysv', 'dbus', 'iproute2', 'libpam-systemd', 'procps',
           'ca-certificates')
PLAIN = ('iproute2', 'procps', 'ca-certificates')

# To be changed with what is done to a root below, so that those made before are not used.
RECIPE = '1'

TIME_LIMIT = 900 * FACTOR  # for making one
PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

# So that a package's scripts start nothing while there is no init to start it.
POLICY = 'usr/sbin/policy-rc.d'


class Unavailable(unittest.SkipTest):
    """Why there can't be any such machine here. A test is skipped by it."""


def cache(*names):
    """A folder of ours outside the tree."""
    folder = os.path.join(os.environ.get('AGITATOR_SYSTEM_CACHE') or '/var/cache/agitator-tests',
                          *names)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    return folder


def require(*programs):
    if os.geteuid() != 0:
        raise Unavailable('only root can make and boot containers')
    for program in programs:
        if not shutil.which(program):
            raise Unavailable(f'there is no {program}')


@contextlib.contextmanager
def locked(path, how, limit=TIME_LIMIT):
    """Holds the lock of a file, LOCK_SH or LOCK_EX. Without a limit it has to be free."""
    with open(path, 'a', encoding='ascii') as file:
        def try_it():
            try:
                fcntl.flock(file, how | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not try_it():
            if not limit:
                raise BlockingIOError(f'{path} is locked')
            wait_until(try_it, f'the lock {path}', limit, pause=0.1)
        yield


def run(argv, limit, **options):
    """Runs a command to its end; past its time all its descendants are killed too."""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True, encoding='utf-8',
                               errors='backslashreplace', **options)
    try:
        output = process.communicate(timeout=limit)[0]
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode != 0:
        raise AssertionError(f'{argv} ended with {process.returncode}: {output[-4000:]}')
    return output


def contain(*argv):
    """The command in mount and process namespaces of its own: nothing outlives it, and it does not
    outlive whoever starts it."""
    return ['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--fork', '--kill-child', *argv]


# The mirror is apt's.

def apt_lines(*command):
    require('apt-get')
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()


def find_mirror(suite):
    """The first place that apt takes packages from and that has this suite, too."""
    places = list(dict.fromkeys(apt_lines('apt-get', 'indextargets', '--format', '$(REPO_URI)')))
    problems = []
    for place in places:
        try:
            urllib.request.urlopen(f'{place}dists/{suite}/Release', timeout=20 * FACTOR).close()
            return place
        except (urllib.error.URLError, OSError, ValueError) as error:
            problems.append(f'{place}: {error}')
    raise Unavailable(f'no place that apt knows has {suite}: {problems or "it knows none"}')


def apt_settings():
    """How the network is reached, and what dates are taken for good, as here."""
    return [line for line in apt_lines('apt-config', 'dump')
            if line.startswith(('Acquire::http', 'Acquire::ftp', 'Acquire::Check-'))]


# Making roots

def run_in(root, *argv, limit=TIME_LIMIT):
    """Runs a command in a root that isn't booted, on this machine's network."""
    shutil.copy('/etc/resolv.conf', os.path.join(root, 'etc', 'resolv.conf'))
    policy = os.path.join(root, POLICY)
    with open(policy, 'w', encoding='ascii') as file:
        file.write('#!/bin/sh\nexit 101\n')
    os.chmod(policy, 0o755)
    try:
        return run(contain('chroot', root, 'sh', '-c', 'mount -t proc proc /proc && exec "$@"', 'sh',
                           *argv),
                   limit, env={'PATH': PATH, 'LC_ALL': 'C.UTF-8', 'HOME': '/root',
                               'DEBIAN_FRONTEND': 'noninteractive',
                               **{name: value for name, value in os.environ.items()
                                  if name.lower().endswith('_proxy')}})
    finally:
        os.unlink(policy)


def install(root, *packages):
    """Packages, or ./files.deb, and what they need."""
    run_in(root, 'apt-get', 'update')
    run_in(root, 'apt-get', 'install', '-y', '--no-install-recommends', *packages)
    run_in(root, 'apt-get', 'clean')


def empty(root, *names):
    for name in names:
        with open(os.path.join(root, name), 'w', encoding='ascii'):
            pass


def make_base(root, suite, include):
    require('debootstrap')
    run(contain('debootstrap', '--variant=minbase', '--include=' + ','.join(include), suite, root,
                find_mirror(suite)), TIME_LIMIT)
    with open(os.path.join(root, 'etc/apt/apt.conf.d/99-as-outside'), 'w', encoding='utf-8') as file:
        file.write('\n'.join(apt_settings()) + '\n')
    run_in(root, 'apt-get', 'clean')


def make(suite, packages, systemd, root):
    if packages:
        run(['cp', '-a', '--reflink=auto', get(suite, systemd=systemd) + '/.', root], TIME_LIMIT)
        install(root, *packages)
    else:
        make_base(root, suite, SYSTEMD if systemd else PLAIN)
    # Each machine is to be another one, and has no name server unless a test gives it one.
    empty(root, 'etc/machine-id', 'etc/resolv.conf')


def get(suite, packages=(), systemd=True):
    """The path of a root with these packages, which is made when there is none. It is not to be
    changed: a Machine works on a copy."""
    require('unshare', 'setpriv', 'chroot')
    recipe = '\n'.join([RECIPE, str(systemd), *sorted(packages)])
    name = suite + '-' + hashlib.sha256(recipe.encode()).hexdigest()[:12]
    root = os.path.join(cache('roots'), name)
    with locked(root + '.making', fcntl.LOCK_EX):
        if not os.path.isdir(root):
            begin = time.monotonic()
            new = root + '.new'
            shutil.rmtree(new, ignore_errors=True)
            os.mkdir(new, 0o755)
            make(suite, packages, systemd, new)
            os.rename(new, root)
            print(f'# made {root} in {time.monotonic() - begin:.0f} s', flush=True)
    return root


def in_use(root):
    """Held while a root is worked on: nobody removes it."""
    return locked(root + '.used', fcntl.LOCK_SH)


def remove_all():
    """All roots that nobody uses, to have them made from what the mirror has today. Yields them."""
    folder = cache('roots')
    for name in sorted(os.listdir(folder)):
        root = os.path.join(folder, name)
        if not os.path.isdir(root):
            continue
        with contextlib.suppress(BlockingIOError), \
                locked(root.removesuffix('.new') + '.making', fcntl.LOCK_EX, limit=None), \
                locked(root + '.used', fcntl.LOCK_EX, limit=None):
            shutil.rmtree(root)
            yield root
