# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory in which agitator's processes count their sessions together (src/proxy/ledger.c), read
from outside: how many places of each server are taken, whoever has them."""

import hashlib
import mmap
import os
import struct

MAGIC = 0x31726567646c6761
ACCOUNTS, PROCESSES = 16384, 64
PLACE = 64  # bytes of a count, which has a cache line of its own
KEYS = 8 + 4 * PROCESSES
TOTALS = (KEYS + 8 * ACCOUNTS + PLACE - 1) // PLACE * PLACE
PARTS = TOTALS + PLACE * ACCOUNTS
SIZE = PARTS + PLACE * ACCOUNTS * PROCESSES


class Ledger:
    """Of the process `pid` and all that follow it."""

    def __init__(self, pid):
        folder = '/proc/%d/fd' % pid
        names = [name for name in os.listdir(folder)
                 if os.readlink(os.path.join(folder, name)).startswith('/memfd:agitator-ledger')]
        # Its lock on the file is the process's and none of ours.
        with open(os.path.join(folder, names[0]), 'rb') as file:
            size = os.fstat(file.fileno()).st_size
            self.memory = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        if size != SIZE or self._read('<Q', 0) != MAGIC:
            raise AssertionError('the ledger is not what src/proxy/ledger.c had')

    def _read(self, form, place):
        return struct.unpack_from(form, self.memory, place)[0]

    def places(self, server):
        """Those of the server of that name that are taken, by all processes."""
        key = max(struct.unpack('=Q', hashlib.sha256(server.encode()).digest()[:8])[0], 1)
        for i in range(ACCOUNTS):
            row = (key + i) % ACCOUNTS
            found = self._read('=Q', KEYS + 8 * row)
            if found in (key, 0):
                return self._read('=I', TOTALS + PLACE * row) if found else 0
        return 0

    def sessions(self):
        """Of all processes."""
        return sum(self._read('=I', PARTS + PLACE * ACCOUNTS * i) for i in range(PROCESSES))

    def close(self):
        self.memory.close()
