# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks on purpose: two machines with a cable between them, in namespaces that a test makes.

A thread is in one namespace at a time, and so is what it starts; a socket stays in the one that it
was made in. So a test goes where it wants a socket or a process, and comes back.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess

CLONE_NEWNET = 0x40000000
TCP_REPAIR = 19

LIBC = ctypes.CDLL(None, use_errno=True)


def reason_not_to():
    """Why there can't be any here; None when there can."""
    if os.geteuid() != 0:
        return 'network namespaces need root'
    for program in ('ip', 'unshare'):
        if not shutil.which(program):
            return f'there is no {program} (package {"iproute2" if program == "ip" else "util-linux"})'
    made = subprocess.run(['unshare', '--net', 'ip', 'link', 'add', 'try1', 'type', 'veth', 'peer',
                           'name', 'try2'], capture_output=True, check=False, encoding='utf-8')
    return f'no network can be made here: {made.stderr.strip()}' if made.returncode else None


class Machine:
    """A namespace, as long as there is a process in it."""

    def __init__(self):
        self.process = subprocess.Popen(['unshare', '--net', 'sh', '-c', 'echo there; read line'],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b'there\n'
        self.fd = os.open(f'/proc/{self.process.pid}/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        self.ip('link', 'set', 'lo', 'up')

    @contextlib.contextmanager
    def inside(self):
        """This thread, and all that it makes, is there meanwhile."""
        before = os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        self._enter(self.fd)
        try:
            yield self
        finally:
            self._enter(before)
            os.close(before)

    @staticmethod
    def _enter(fd):
        if LIBC.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')

    def ip(self, *arguments):
        with self.inside():
            subprocess.run(['ip', *arguments], check=True, capture_output=True)

    def close(self):
        os.close(self.fd)
        self.process.communicate()


class Network:
    """`here`, where the proxy is to run, at 10.77.0.1, and `there` at 10.77.0.2."""

    HERE, THERE = '10.77.0.1', '10.77.0.2'

    def __init__(self):
        self.here, self.there = Machine(), Machine()
        self.here.ip('link', 'add', 'cable', 'type', 'veth', 'peer', 'name', 'cable', 'netns',
                     str(self.there.process.pid))
        for machine, address in ((self.here, self.HERE), (self.there, self.THERE)):
            machine.ip('address', 'add', address + '/24', 'dev', 'cable')
            machine.ip('link', 'set', 'cable', 'up')

    def cut(self):
        """Somebody pulls the cable out."""
        self.there.ip('link', 'set', 'cable', 'down')

    def mend(self):
        self.there.ip('link', 'set', 'cable', 'up')

    def swallow(self):
        """From now on `there` hears, and what it says is lost."""
        self.there.ip('route', 'add', 'blackhole', self.HERE + '/32')

    def close(self):
        self.here.close()
        self.there.close()


def crash(sock):
    """The socket is gone without a word, as after a crash: what comes for it is answered by a reset."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.close()
