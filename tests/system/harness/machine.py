# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away copy of a root, booted in a container with a network of its own.

    with Machine(roots.get('bookworm')) as m:
        m.run('systemctl', 'start', 'agitator')

Several may run at once. Nothing of one is left once it is stopped: its files are in a tmpfs, its
processes in a namespace whose first process is killed, its control groups are removed.
"""

import concurrent.futures
import contextlib
import ctypes
import fcntl
import glob
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import threading

from . import roots
from .waiting import FACTOR, TIMEOUT, wait_until

BOOT_LIMIT = 60 * FACTOR
RUN_LIMIT = 60 * FACTOR

# What systemd needs for IPAddressDeny= and DevicePolicy= to be in force in a container, too.
NSPAWN = ['systemd-nspawn', '-q', '--register=no', '--keep-unit', '--private-network',
          '--console=read-only', '--link-journal=no', '--resolv-conf=off', '--timezone=off',
          '--system-call-filter=bpf @keyring', '--capability=CAP_BPF,CAP_PERFMON,CAP_IPC_LOCK']

CLONE_NEWNET = 0x40000000


def cgroup_mounts():
    """Where systemd's control groups are: of version 2, and of its own hierarchy beside it."""
    found = {}  # each once, wherever else it is mounted
    with open('/proc/self/mounts', encoding='utf-8') as file:
        for line in file:
            path, kind, options = line.split()[1:4]
            if kind == 'cgroup2' or (kind == 'cgroup' and 'name=systemd' in options.split(',')):
                found.setdefault(os.stat(path).st_dev, path)
    return list(found.values())


def remove_cgroup(path):
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(folder)


def sweep():
    """Removes what is left of machines whose test was killed. A running one has its lock."""
    for path in glob.glob(os.path.join(roots.cache('machines'), '*.lock')):
        name = os.path.basename(path).removesuffix('.lock')
        with contextlib.suppress(OSError), roots.locked(path, fcntl.LOCK_EX, limit=None):
            for mount in cgroup_mounts():
                remove_cgroup(os.path.join(mount, name))
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path.removesuffix('.lock'))
            os.unlink(path)


def children(pid):
    with open(f'/proc/{pid}/task/{pid}/children', encoding='ascii') as file:
        return [int(child) for child in file.read().split()]


class Machine:
    """A copy of `root`. `before(machine)` is called when the copy is there and not booted yet; only
    then is the network of this machine to be had, with roots.install(machine.path, ...). With
    boot=False there is no systemd: just processes, each started by run() or spawn()."""

    def __init__(self, root, boot=True, before=None):
        self.root = root
        self.boot = boot
        self.before = before
        self.path = None  # the copy, as seen from here
        self.leader = None  # the process ID of its first process, as seen from here
        self.nspawn = None
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        return self.start()

    def __exit__(self, *error):
        self.stop()

    # Start and stop

    def start(self):
        roots.require('systemd-nspawn', 'nsenter', 'mount')
        try:
            self.stack.enter_context(roots.in_use(self.root))
            self._take_name()
            self._make_copy()
            if self.before:
                self.before(self)
            self._start_container()
            if self.boot:
                self._wait_booted()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        self.stack.close()
        self.leader = None

    def _take_name(self):
        sweep()
        file = self.stack.enter_context(tempfile.NamedTemporaryFile(
            dir=roots.cache('machines'), prefix='agitator-test-', suffix='.lock'))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.folder = file.name.removesuffix('.lock')
        self.name = os.path.basename(self.folder)

    def _make_copy(self):
        os.mkdir(self.folder)
        self.stack.callback(os.rmdir, self.folder)
        self._mount('tmpfs', self.folder, '-t', 'tmpfs', '-o', 'mode=755')
        upper, work, self.path = (os.path.join(self.folder, n) for n in ('upper', 'work', 'root'))
        for folder in upper, work, self.path:
            os.mkdir(folder, 0o755)
        self._mount('overlay', self.path, '-t', 'overlay', '-o',
                    f'lowerdir={self.root},upperdir={upper},workdir={work}')

    def _mount(self, what, where, *options):
        roots.run(['mount', *options, what, where], RUN_LIMIT)
        # Lazily, since whatever looks into it from outside must not keep it.
        self.stack.callback(roots.run, ['umount', '-l', where], RUN_LIMIT)

    def _make_cgroups(self):
        """Of its own, or the machines would be in each other's. Returns the files to enter them."""
        for mount in cgroup_mounts():
            path = os.path.join(mount, self.name)
            os.mkdir(path)
            # What is killed leaves its group a moment later.
            self.stack.callback(self._remove_cgroup, path)
            yield os.path.join(path, 'cgroup.procs')

    @staticmethod
    def _remove_cgroup(path):
        def try_it():
            with contextlib.suppress(OSError):
                remove_cgroup(path)
            return not os.path.exists(path)

        wait_until(try_it, f'{path} to be empty')

    def _start_container(self):
        enter = [f'echo $$ >{shlex.quote(path)}' for path in self._make_cgroups()]
        command = [*NSPAWN, '-D', self.path,
                   *(['-b'] if self.boot else ['--as-pid2', 'sleep', 'infinity'])]
        self.console = os.path.join(self.folder, 'console')
        with open(self.console, 'wb') as console:
            self.nspawn = subprocess.Popen(
                ['sh', '-e', '-c', '\n'.join([*enter, 'exec ' + shlex.join(command)])],
                stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT,
                env={**os.environ, 'SYSTEMD_NSPAWN_UNIFIED_HIERARCHY': '1'}, start_new_session=True)
        self.stack.callback(self._kill)
        self.leader = wait_until(self._find_leader, 'the first process of the container', BOOT_LIMIT)

    def _find_leader(self):
        if self.nspawn.poll() is not None:
            raise AssertionError('the container ended: ' + self.console_text())
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in children(self.nspawn.pid):
                if self._is_leader(child):
                    return child
        return None

    def _is_leader(self, pid):
        """It has become what it is to be: before, it is nspawn, making the place for the others."""
        if os.readlink(f'/proc/{pid}/ns/pid') == os.readlink('/proc/self/ns/pid'):
            return False
        with open(f'/proc/{pid}/comm', encoding='ascii') as file:
            return file.read() == 'systemd\n' if self.boot else bool(children(pid))

    def _wait_booted(self):
        def state():
            if self.nspawn.poll() is not None:
                raise AssertionError('the container ended: ' + self.console_text())
            return self.run('systemctl', 'is-system-running', check=False).stdout.strip()

        reached = wait_until(lambda: state() in ('running', 'degraded') and state(),
                             'systemd to be running', BOOT_LIMIT, pause=0.05)
        if reached != 'running':
            raise AssertionError('not all units started: '
                                 + self.run('systemctl', '--failed', '--no-legend').stdout)

    def _kill(self):
        """Its first process takes all others with it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.leader or self.nspawn.pid, signal.SIGKILL)
        self.nspawn.wait(TIMEOUT)

    def console_text(self):
        with open(self.console, encoding='utf-8', errors='backslashreplace') as file:
            return file.read()[-4000:]

    # Inside

    def _command(self, argv, env):
        everything = {'PATH': roots.PATH, 'LC_ALL': 'C.UTF-8', 'HOME': '/root', **(env or {})}
        return ['nsenter', '-t', str(self.leader), '-a', '-r', '-w', 'env', '-i',
                *(f'{name}={value}' for name, value in everything.items()), *map(str, argv)]

    def run(self, *argv, check=True, timeout=RUN_LIMIT, input=None, env=None):
        """Runs a command to its end."""
        result = subprocess.run(self._command(argv, env), capture_output=True, check=False,
                                timeout=timeout, input=input, encoding='utf-8',
                                errors='backslashreplace',
                                **({} if input is not None else {'stdin': subprocess.DEVNULL}))
        if check and result.returncode != 0:
            raise AssertionError(f'{shlex.join(map(str, argv))} ended with {result.returncode}:\n'
                                 f'{result.stdout}{result.stderr}')
        return result

    def spawn(self, *argv, env=None, **options):
        """Starts a command; it ends with the machine at the latest."""
        return subprocess.Popen(self._command(argv, env), **options)

    def inside(self, path):
        """A path of the machine as seen from here, with what is mounted there."""
        return (f'/proc/{self.leader}/root' if self.leader else self.path) + path

    def outside(self, pid):
        """The process ID that a process of the machine has here."""
        namespace = os.readlink(f'/proc/{self.leader}/ns/pid')
        for folder in glob.glob('/proc/[0-9]*'):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError), \
                    open(folder + '/status', encoding='ascii') as file:
                own = re.search(r'^NSpid:.*\t(\d+)$', file.read(), re.M)
                if own and int(own[1]) == int(pid) and \
                        os.readlink(folder + '/ns/pid') == namespace:
                    return int(os.path.basename(folder))
        raise AssertionError(f'{self.name} has no process {pid}')

    def write(self, path, text, mode=0o644):
        """Makes a file, its folders too; at once and whole, as an editor does."""
        path = self.inside(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + '.new', 'wb') as file:
            os.fchmod(file.fileno(), mode)
            file.write(text if isinstance(text, bytes) else text.encode())
        os.rename(path + '.new', path)

    def read(self, path):
        with open(self.inside(path), encoding='utf-8', errors='backslashreplace') as file:
            return file.read()

    # Its network

    def in_network(self, function, *args, **kwargs):
        """Calls a function of ours on a thread that is in its network: sockets made there stay in
        it, and threads started there too."""
        def enter():
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f'/proc/{self.leader}/ns/net', 'rb') as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), 'setns')
            return function(*args, **kwargs)

        future = concurrent.futures.Future()

        def call():
            try:
                future.set_result(enter())
            except BaseException as error:  # the caller's
                future.set_exception(error)

        threading.Thread(target=call, daemon=True).start()
        return future.result()

    def connect(self, port, host='127.0.0.1'):
        return self.in_network(socket.create_connection, (host, port), TIMEOUT)

    # systemd

    def show(self, unit, name):
        """A property of a unit."""
        return self.run('systemctl', 'show', '--value', '-p', name, unit).stdout.rstrip('\n')

    def wait_show(self, unit, name, pattern, timeout=None):
        """Until a property of a unit is so."""
        return wait_until(lambda: re.search(pattern, self.show(unit, name)),
                          f'{name} of {unit} to match /{pattern}/', timeout, pause=0.02).string

    def journal(self, *arguments):
        """What `journalctl ARGUMENT...` prints, with all that was logged before."""
        self.run('journalctl', '--sync')
        return self.run('journalctl', '--no-pager', '-q', *arguments).stdout

    def wait_journal(self, pattern, *arguments, timeout=None):
        """Until `pattern` is in it; returns all of it."""
        return wait_until(lambda: re.search(pattern, self.journal(*arguments), re.M),
                          f'/{pattern}/ in the journal', timeout, pause=0.05).string
