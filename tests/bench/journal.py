#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command where /run/systemd/journal/socket is one that takes every record and counts them.

usage: journal.py COMMAND [ARGUMENT]...

What a record costs whoever sends it is measured apart from what journald does with it. The socket
is in namespaces of its own, so that nobody else on the machine sees it; that takes root.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys

from proxies import find_program

FOLDER = pathlib.Path('/run/systemd')
SOCKET = FOLDER / 'journal/socket'
COUNT = FOLDER / 'count'
QUEUE = pathlib.Path('/proc/sys/net/unix/max_dgram_qlen')


def write_count(records):
    new = COUNT.with_suffix('.new')
    new.write_text(f'{records}\n')
    new.replace(COUNT)


def count(sock):
    """Takes records until SIGTERM comes, or who sent it is gone. Whenever none waits, COUNT says how many there were."""
    ended, parent = [], os.getppid()
    records = size = 0
    buffer = bytearray(1 << 20)
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    sock.settimeout(0.05)
    while not ended and os.getppid() == parent:
        try:
            size += sock.recv_into(buffer)
            records += 1
        except socket.timeout:
            write_count(records)
    print(f'journal: {records} records, {size} bytes', flush=True)


def main():
    if os.environ.get('BENCH_JOURNAL') != 'inside':
        os.environ['BENCH_JOURNAL'] = 'inside'
        FOLDER.mkdir(parents=True, exist_ok=True)
        os.execv(find_program('unshare'), ['unshare', '--mount', '--net', sys.executable, __file__,
                                           *sys.argv[1:]])

    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', FOLDER], check=True)
    SOCKET.parent.mkdir()
    subprocess.run([find_program('ip'), 'link', 'set', 'lo', 'up'], check=True)
    QUEUE.write_text('512')  # as systemd sets it
    write_count(0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(SOCKET))
        reader = os.fork()
        if reader == 0:
            count(sock)
            os._exit(0)
        try:
            status = subprocess.run(sys.argv[1:], check=False).returncode
        finally:
            os.kill(reader, signal.SIGTERM)
            os.waitpid(reader, 0)
    sys.exit(status)


if __name__ == '__main__':
    main()
