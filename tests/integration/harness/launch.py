# SPDX-License-Identifier: GPL-3.0-or-later
"""Becomes the program with descriptors as systemd passes them: from 3 on, with LISTEN_PID ours.

usage: launch.py FDS NAMES NOFILE PROGRAM ARGUMENT...   (FDS and NAMES joined by ':', NOFILE may be '')
"""

import fcntl
import os
import resource
import sys

fds, names, nofile = sys.argv[1:4]
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, 100) for fd in fds.split(':') if fd]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
os.closerange(3 + len(high), 100)
if high:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(high)), LISTEN_FDNAMES=names)
if 'WATCHDOG_USEC' in os.environ:
    os.environ['WATCHDOG_PID'] = str(os.getpid())
if nofile:
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(nofile), int(nofile)))
os.execvp(sys.argv[4], sys.argv[4:])
