# SPDX-License-Identifier: GPL-3.0-or-later
"""Pretend log servers, and a reader of RFC 5424 that takes nothing else."""

import os
import re
import select
import socket
import ssl
import threading

from .case import group, route_group
from .connection import listen_tcp, listen_unix
from .waiting import Recorder, TIMEOUT, wait_until

# RFC 5424, section 6.
VALUE = r'(?:[^"\\\]]|\\["\\\]])*'
NAME = r'[!#-<>-\\^-~]{1,32}'  # as PARAM-NAME and SD-ID have it
ELEMENT = rf'\[{NAME}(?: {NAME}="{VALUE}")*\]'
MESSAGE = re.compile(
    r'<(?P<pri>0|[1-9]\d{0,2})>1 '
    r'(?P<time>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) '
    r'(?P<hostname>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<procid>[!-~]{1,128}) '
    rf'(?P<msgid>[!-~]{{1,32}}) (?P<data>-|(?:{ELEMENT})+)(?: (?P<text>.*))?', re.S)
LOCAL = re.compile(r'<(?P<pri>\d{1,3})>(?P<time>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) '
                   r'(?P<app>\w+)\[(?P<procid>\d+)\]: (?P<text>.*)', re.S)

# Sessions without a server: each is a record, and no more.
ANSWER = group('Answer', 'bye', 'Result=success') + route_group('all', '*', [], 'Answer=bye')

BOM = '\ufeff'
ENTERPRISE = 'agitator@32473'


class Message:
    """One message, taken apart; `raw` are its bytes."""

    def __init__(self, raw, pattern=MESSAGE):
        self.raw = raw
        match = pattern.fullmatch(raw.decode('utf-8'))  # what isn't UTF-8 is an error
        if not match:
            raise AssertionError(f'no syslog message: {raw!r}')
        parts = match.groupdict()
        self.facility, self.severity = divmod(int(parts['pri']), 8)
        self.time, self.app, self.procid = parts['time'], parts['app'], parts['procid']
        self.hostname, self.msgid = parts.get('hostname'), parts.get('msgid')
        self.text = parts['text'] or ''
        self.has_bom = self.text.startswith(BOM)
        self.text = self.text[self.has_bom:]
        self.elements = {}
        for element in re.findall(ELEMENT, parts.get('data') or ''):
            name, values = re.fullmatch(rf'\[({NAME})(.*)\]', element, re.S).groups()
            self.elements[name] = {key: re.sub(r'\\(.)', r'\1', value) for key, value in
                                   re.findall(rf' ({NAME})="({VALUE})"', values, re.S)}

    @property
    def data(self):
        return self.elements.get(ENTERPRISE, {})

    @property
    def sequence(self):
        return int(self.elements['meta']['sequenceId'])

    def __repr__(self):
        return repr(self.raw)


def is_session(message):
    return message.msgid in ('session', 'session-failed')


def take_counted(buffer):
    """The octet-counted messages at the beginning of `buffer`, which they are taken out of."""
    while True:
        match = re.match(rb'([1-9]\d*) ', buffer)
        if not match:
            if buffer and not re.fullmatch(rb'[1-9]\d{0,5}', buffer):
                raise AssertionError(f'no octet count: {bytes(buffer[:100])!r}')
            return
        end = match.end() + int(match[1])
        if len(buffer) < end:
            return
        yield Message(bytes(buffer[match.end():end]))
        del buffer[:end]


def take_terminated(buffer):
    """The same for what syslog(3) writes into a stream."""
    while b'\0' in buffer:
        line, _, rest = bytes(buffer).partition(b'\0')
        buffer[:] = rest
        yield Message(line, LOCAL)


class LogServer:
    """Keeps every message in `messages`; an error that it meets is raised by close()."""

    def __init__(self, sock, path=None):
        self.sock, self.path = sock, path
        self.messages = Recorder('the messages of the log server')
        self.errors = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def port(self):
        return self.sock.getsockname()[1]

    def wait(self, matches, what='a message', start=0):
        """The first message since `start` for which `matches(message)` is true."""
        return self.messages.items[self.messages.wait(matches, what, start)]

    def wait_text(self, pattern, start=0):
        return self.wait(lambda message: re.search(pattern, message.text), f'/{pattern}/', start)

    def wait_sessions(self, n):
        """The first `n` session records."""
        place = 0
        for _ in range(n):
            place = self.messages.wait(is_session, f'{n} session records', place) + 1
        return [message for message in self.messages.items[:place] if is_session(message)]

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self._wake()
        self.thread.join(TIMEOUT)
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)
        if self.errors:
            raise self.errors[0]

    def _wake(self):
        pass

    def _serve(self):
        try:
            self._read_all()
        except OSError:
            pass  # closed
        except Exception as error:
            self.errors.append(error)


class DatagramLogServer(LogServer):
    """Over UDP, or over a Unix socket at `path`."""

    def __init__(self, path=None, host='127.0.0.1', port=0):
        family = socket.AF_UNIX if path else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        sock.bind(path or (host, port))
        self.address = sock.getsockname()
        super().__init__(sock, path)

    def _read_all(self):
        while True:
            data = self.sock.recv(65536)
            if not data:
                return
            self.messages.add(Message(data, LOCAL if self.path else MESSAGE))

    def _wake(self):
        # shutdown() wakes recv() on neither kind.
        pass

    def close(self):
        with socket.socket(self.sock.family, socket.SOCK_DGRAM) as waker:
            try:
                waker.sendto(b'', self.address)
            except OSError:
                pass
        self.thread.join(TIMEOUT)
        super().close()


class StreamLogServer(LogServer):
    """Over TCP, TLS with a `context`, or a Unix socket at `path`. Without TLS reading.clear()
    stops it from reading; what a test reads meanwhile it adds to `begun`."""

    def __init__(self, path=None, port=0, context=None, reads=True, sock=None, receive_buffer=None):
        self.context = context
        self.reading = threading.Event()
        if reads:
            self.reading.set()
        self.begun = bytearray()
        self.connections = []
        self.ends = []  # of those in TLS that have ended
        self.accepted = Recorder('the connections of the log server')
        self.readers = []
        self.take = take_terminated if path else take_counted
        if not sock:
            sock = listen_unix(path) if path else listen_tcp('127.0.0.1', port=port,
                                                            receive_buffer=receive_buffer)
        super().__init__(sock, path)

    def _read_all(self):
        while True:
            connection = self.sock.accept()[0]
            self.connections.append(connection)
            self.accepted.add(connection)
            reader = threading.Thread(target=self._read, args=(connection,), daemon=True)
            reader.start()
            self.readers.append(reader)

    def _read(self, connection):
        buffer = bytearray()
        stream = connection
        try:
            if self.context:
                stream = self.context.wrap_socket(connection, server_side=True,
                                                  suppress_ragged_eofs=False)
                self.connections.append(stream)
            while True:
                if not self.context:
                    select.select([connection], [], [])
                    self.reading.wait()
                data = stream.recv(65536)
                buffer[:0], self.begun = self.begun, bytearray()
                if not data:
                    self.ends += ['close_notify'] if self.context else []
                    break
                buffer += data
                for message in self.take(buffer):
                    self.messages.add(message)
            stream.close()
        except ssl.SSLEOFError:
            self.ends.append('truncated')
        except (OSError, ValueError):
            pass  # a reset, TLS's refusal, which is one too, or closed by us
        except Exception as error:
            self.errors.append(error)

    def wait_unread(self, n):
        """Until so many bytes are there that nobody reads."""
        connection = self.connections[-1]

        def count():
            try:
                return len(connection.recv(n, socket.MSG_PEEK | socket.MSG_DONTWAIT))
            except BlockingIOError:
                return 0

        wait_until(lambda: count() == n, f'{n} unread bytes')

    def cut(self):
        """Ends all connections; with a reset where something is unread."""
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def close(self):
        self.cut()
        self.reading.set()
        super().close()
        for reader in self.readers:
            reader.join(TIMEOUT)


class LogServers:
    """For a test case: log servers, which end after the proxy, so that it sends nothing in vain."""

    def setUp(self):
        super().setUp()
        self.log_servers = []

    def tearDown(self):
        try:
            for proxy in self.proxies:
                proxy.stop()
        finally:
            for server in self.log_servers:
                server.close()
            super().tearDown()

    def keep_server(self, server):
        self.log_servers.append(server)
        return server
