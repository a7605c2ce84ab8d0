# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a connection, with everything that came and how it ended; sockets to begin with."""

import fcntl
import socket
import struct
import termios
import time

from .waiting import TIMEOUT, wait_until

FIN = 'FIN'
RESET = 'RESET'

# Values of tcpi_state; the second are those in which the peer may still send.
CLOSED = 7
PEER_OPEN_STATES = {1, 4, 5}  # ESTABLISHED, FIN_WAIT1, FIN_WAIT2


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.received = bytearray()  # everything that ever came
        self.taken = 0  # how much of it was handed out
        self.ended = None  # FIN or RESET, once seen
        self.closed = False
        sock.settimeout(TIMEOUT)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # Sending

    def send(self, data):
        self.sock.sendall(data)

    def finish(self):
        """Says that nothing more follows."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer was faster

    def close(self):
        self.closed = True
        self.sock.close()

    def reset(self):
        """Closes with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.close()

    # Receiving

    def _receive(self):
        """One read; False at the end."""
        if self.ended:
            return False
        try:
            data = self.sock.recv(256 * 1024)
        except socket.timeout:
            raise AssertionError(f'timed out reading; unread so far: {self.unread()!r}') from None
        except (ConnectionResetError, BrokenPipeError):
            self.ended = RESET
            return False
        if not data:
            self.ended = FIN
            return False
        self.received += data
        return True

    def unread(self):
        return bytes(self.received[self.taken:])

    def _take(self, n):
        data = bytes(self.received[self.taken:self.taken + n])
        self.taken += n
        return data

    def read(self, n):
        """Exactly `n` bytes."""
        while len(self.received) - self.taken < n:
            if not self._receive():
                raise AssertionError(f'{self.ended} where {n} bytes were due, after {self.unread()!r}')
        return self._take(n)

    def read_until(self, mark):
        """All up to and with `mark`."""
        looked = self.taken
        while True:
            place = self.received.find(mark, looked)
            if place >= 0:
                return self._take(place + len(mark) - self.taken)
            looked = max(self.taken, len(self.received) - len(mark) + 1)
            if not self._receive():
                raise AssertionError(f'{self.ended} where {mark!r} was due, after {self.unread()!r}')

    def read_line(self):
        return self.read_until(b'\n')

    def read_to_end(self):
        """The rest; self.ended says how it ended."""
        while self._receive():
            pass
        return self._take(len(self.received))

    def peek(self):
        """What has come so far, without waiting."""
        self.sock.setblocking(False)
        try:
            self._receive()
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(TIMEOUT)
        return self.unread()

    # The kernel's view; TCP only

    def state(self):
        """tcpi_state; CLOSED when it is closed by us, too."""
        try:
            return self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except OSError:
            return CLOSED

    def peer_is_open(self):
        """False once the kernel has seen the peer's end, be it read already or not."""
        return self.state() in PEER_OPEN_STATES

    def wait_delivered(self):
        """Until the peer's kernel has taken all that was sent; it must not answer with a reset."""
        def unacknowledged():
            return struct.unpack('i', fcntl.ioctl(self.sock, termios.TIOCOUTQ, b'\0' * 4))[0]

        wait_until(lambda: self.state() == CLOSED or unacknowledged() == 0,
                   'what was sent to be acknowledged')
        if self.state() == CLOSED:
            raise AssertionError('what was sent was answered with a reset')


def listen_tcp(host='127.0.0.1', backlog=4096, port=0, receive_buffer=None):
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.bind((host, port))
    sock.listen(backlog)
    return sock


def listen_unix(path, backlog=4096):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    sock.listen(backlog)
    return sock


def connect(address, source=None, receive_buffer=None):
    """Connects to (host, port) or to the path of a Unix socket."""
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        sock.bind((source, 0))
    sock.connect(address)
    return sock


def is_refused(address):
    """True when nobody listens there."""
    try:
        connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


class SilentServer:
    """An address that drops SYNs: nobody accepts, and the queue of one is full."""

    def __init__(self):
        self.sock = listen_tcp(backlog=0)
        self.filler = connect(self.sock.getsockname())

    @property
    def authority(self):
        return '127.0.0.1:%d' % self.sock.getsockname()[1]

    def revive(self):
        """Accepts what waits and returns the listening socket, which now works."""
        self.filler.close()
        self.sock.listen(1024)
        self.sock.accept()[0].close()
        return self.sock

    def close(self):
        self.filler.close()
        self.sock.close()


def refusing_authority():
    """HOST:PORT where nobody listens: bound, so that nobody else takes the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(('127.0.0.1', 0))
    return sock, '127.0.0.1:%d' % sock.getsockname()[1]


class Stopwatch:
    def __init__(self):
        self.start = time.monotonic()

    def elapsed(self):
        return time.monotonic() - self.start
