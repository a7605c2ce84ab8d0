# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults on purpose: what tells the preloaded library (tests/faults/faults.c) which call is to fail."""

import mmap
import os
import struct

MAGIC = 0x46415531
FOR_EVER = 0xffffffff

# Which the library has for 127.0.0.1 where it is looked up.
NAME = 'here.test'

# In the order of the library's.
SITES = ['none', 'accept4', 'socket', 'connect', 'send', 'sendmsg', 'recv', 'epoll_ctl',
         'epoll_wait', 'setsockopt', 'shutdown', 'eventfd', 'pthread_create', 'fork', 'execve',
         'getaddrinfo', 'malloc', 'g_try_malloc', 'rename']
SIDES = ['', 'client', 'server']

LAYOUT = struct.Struct('=IIIiIIIII16s')
SITE_AT, COUNTS = 4, struct.Struct('=II')
SEEN_AT = 28


class Faults:
    """One rule at a time. `library` is the path of the built one."""

    def __init__(self, path):
        self.path = path
        with open(path, 'wb') as file:
            file.write(LAYOUT.pack(MAGIC, 0, 0, 0, 0, 0, 0, 0, 0, b'').ljust(4096, b'\0'))
        with open(path, 'r+b') as file:
            self.memory = mmap.mmap(file.fileno(), 4096)

    @staticmethod
    def library():
        return os.environ.get('AGITATOR_FAULTS_LIBRARY')

    def environment(self):
        """For the program that is to meet the faults."""
        return {'LD_PRELOAD': self.library(), 'AGITATOR_FAULTS': self.path}

    def arm(self, site, error=0, length=0, side='', after=0, times=1, thread='worker'):
        """Of the calls that fit the first `after` pass, and `times` fail with `error`, or have no
        more than `length` bytes; at EOWNERDEAD the process ends."""
        self.disarm()
        rest = LAYOUT.pack(MAGIC, 0, SIDES.index(side), error, length, after, times, 0, 0,
                           thread.encode())
        self.memory[:len(rest)] = rest
        self.memory[SITE_AT:SITE_AT + 4] = struct.pack('=I', SITES.index(site))

    def disarm(self):
        """Everything passes; returns how many calls failed."""
        self.memory[SITE_AT:SITE_AT + 4] = struct.pack('=I', 0)
        return self.counts()[1]

    def counts(self):
        """How many calls fitted, and how many of them failed."""
        return COUNTS.unpack_from(self.memory, SEEN_AT)

    def close(self):
        self.memory.close()
