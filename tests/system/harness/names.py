# SPDX-License-Identifier: GPL-3.0-or-later
"""A name server that knows a few names."""

import contextlib
import socket
import struct
import threading

A, IN = 1, 1
NO_SUCH_NAME = 3


class NameServer:
    """`addresses` are IPv4 addresses by name. To be made on the network it is for."""

    def __init__(self, addresses, host='127.0.0.1'):
        self.addresses = addresses
        self.asked = []  # (name, type)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind((host, 53))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def close(self):
        with contextlib.suppress(OSError):  # "not connected": it wakes the thread all the same
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.sock.close()

    def _serve(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            self.sock.sendto(self._answer(query), peer)

    def _answer(self, query):
        labels, place = [], 12
        while query[place]:
            labels.append(query[place + 1:place + 1 + query[place]].decode())
            place += 1 + query[place]
        question = query[12:place + 5]
        kind = struct.unpack('>H', query[place + 1:place + 3])[0]
        name = '.'.join(labels).lower()
        self.asked.append((name, kind))

        records = b''
        address = self.addresses.get(name)
        if address and kind == A:
            # 0xc00c: the name of the question.
            records = struct.pack('>HHHIH', 0xc00c, A, IN, 60, 4) + socket.inet_aton(address)
        flags = 0x8580 | (0 if address else NO_SUCH_NAME)
        return struct.pack('>2sHHHHH', query[:2], flags, 1, 1 if records else 0, 0, 0) + \
            question + records
