# SPDX-License-Identifier: GPL-3.0-or-later
"""The test case all integration tests are: makes the parts, and takes them down in order."""

import os
import re
import tempfile
import unittest

from .asterisk import PretendAsterisk, environment
from .connection import Connection, connect, listen_tcp
from .proxy import Proxy
from .server import PretendServer, serve

SAMPLES = os.environ.get('AGITATOR_SAMPLES') or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), '..', '..', 'samples')


def sample(name):
    with open(os.path.join(SAMPLES, name), 'rb') as file:
        return file.read()


def group(kind, name, *lines):
    return '\n'.join(['[%s]' % ' '.join(filter(None, (kind, name))), *lines, '', ''])


def server_group(name, address, *lines):
    return group('Server', name, 'Address=' + address, *lines)


def route_group(name, path, servers, *lines):
    if isinstance(servers, str):
        servers = [servers]
    servers = ['Servers=' + ';'.join(servers)] if servers else []
    return group('Route', name, 'Path=' + path, *servers, *lines)


# What a session's record on the console has, whatever its result.
SESSION_RECORD = r'session [0-9a-f]+ from '

# Groups for settle(): an answer that says nothing and ends.
SETTLE = group('Answer', 'settle', 'Result=success') + route_group('settle', 'settle', [],
                                                                   'Answer=settle')


class Config:
    """A configuration's text: the groups every test has, with a test's own lines in them."""

    def __init__(self, *groups, proxy=(), log=(), listener=()):
        self.text = ''.join([group('Proxy', '', *merge(proxy, 'Threads=2', 'StopTimeout=10s')),
                             group('Log', '', *merge(log, 'Target=console')),
                             group('Listener', 'main', *listener), *groups])


def merge(lines, *defaults):
    """The lines, and those defaults whose key they have not."""
    keys = {line.partition('=')[0] for line in lines}
    return [line for line in defaults if line.partition('=')[0] not in keys] + list(lines)


class IntegrationTest(unittest.TestCase):
    """Clients, then servers, then the proxy are ended after each test; each must end well."""

    longMessage = True
    maxDiff = 4000

    def setUp(self):
        self.clients, self.servers, self.proxies, self.sockets = [], [], [], []
        self.directory = None
        self.address = None  # of the listener `main`
        self.proxy = None

    def tearDown(self):
        problems = []
        for thing in self.clients + self.sockets:
            thing.close()
        for end in [server.close for server in self.servers] + [p.stop for p in self.proxies]:
            try:
                end()
            except Exception as problem:  # the others are to be ended all the same
                problems.append(problem)
        if self.directory:
            self.directory.cleanup()
        if problems:
            raise problems[0]

    # Making the parts

    def make_server(self, behaviour=serve, **options):
        server = PretendServer(behaviour, **options)
        if server.sock in self.sockets:
            self.sockets.remove(server.sock)  # it is the server's to close
        self.servers.append(server)
        return server

    def make_socket(self, host='127.0.0.1', backlog=4096):
        """A listening socket for the proxy."""
        sock = listen_tcp(host, backlog)
        self.sockets.append(sock)
        return sock

    def keep(self, closable):
        """Has it closed at the end."""
        self.sockets.append(closable)
        return closable

    def make_path(self, name):
        """Where a Unix socket or a file may be made."""
        if not self.directory:
            self.directory = tempfile.TemporaryDirectory(prefix='agitator-')
        return os.path.join(self.directory.name, name)

    def start_proxy(self, *groups, sockets=None, proxy=(), log=(), listener=(), **options):
        """The proxy with `groups`, and a listener `main` over IPv4 unless told otherwise."""
        if sockets is None:
            sockets = {'main': self.make_socket()}
        config = Config(*groups, proxy=proxy, log=log, listener=listener)
        if 'main' in sockets:
            self.address = sockets['main'].getsockname()[:2]
        return self.start_proxy_as(config.text, sockets, **options)

    def start_proxy_as(self, text, sockets, **options):
        """The proxy with the whole text of its configuration."""
        self.proxy = Proxy(text, sockets, **options)
        self.proxies.append(self.proxy)
        return self.proxy

    def start_one_route(self, server, *route_lines, **options):
        """Every request goes to one server."""
        return self.start_proxy(server_group('one', getattr(server, 'address', server)),
                                route_group('all', '*', 'one', *route_lines), **options)

    def call(self, request=None, address=None, **options):
        """A call under way."""
        if request is not None:
            options['block'] = environment(request)
        client = PretendAsterisk(address or self.address, **options)
        self.clients.append(client)
        return client.start()

    def begin_call(self, address=None):
        """A call that has sent a hundred bytes."""
        client = PretendAsterisk(address or self.address)
        self.clients.append(client)
        return client.send_block([environment()[:100]])

    def connect(self, address=None, **options):
        """A bare connection to the proxy, for tests that say every byte."""
        client = Connection(connect(address or self.address, **options))
        self.clients.append(client)
        return client

    def open_session(self, server, block=None):
        """Both ends of a fresh session through the proxy, for tests that say every byte; the server
        must be one without a behaviour."""
        client = self.connect()
        client.send(environment() if block is None else block)
        session = server.accept()
        session.read_environment()
        return client, session

    # Waiting without a clock

    def settle(self, request='agi://h/settle'):
        """Returns once a worker has looked at everything sent before: for a proxy with Threads=1 and
        a route of SETTLE. It takes events in the order in which they came, and a whole call that
        begins now comes last."""
        client = self.connect()
        client.send(environment(request))
        client.read_to_end()
        client.close()

    def pass_through(self, session, client):
        """Returns once the worker of this session has looked at everything sent before: by something
        that is no reply and passes from client to server."""
        client.send(b'no reply\n')
        self.assertEqual(session.read_line(), b'no reply\n')

    def wait_for_records(self, n, mark=0):
        """Until `n` more sessions are over, by the log, since it stood at `mark`."""
        for _ in range(n):
            mark = self.proxy.log.wait(re.compile(SESSION_RECORD).search, 'a session record', mark) + 1

    # Checking

    def assert_refused(self, client, agitator_status):
        """The call ended in FAILURE and the dialplan knows why."""
        status = client.wait()
        self.assertEqual((status, client.agitator_status), ('FAILURE', agitator_status),
                         client.describe())

    def assert_success(self, client):
        self.assertEqual(client.wait(), 'SUCCESS', client.describe())

    def assert_relayed(self, client, session):
        """A command and its reply pass."""
        session.send(b'NOOP still there\n')
        self.assertEqual(client.read_line(), b'NOOP still there\n')
        client.send(b'200 result=0\n')
        self.assertEqual(session.read_line(), b'200 result=0\n')

    def assert_ends(self, client, session):
        """The server ends the session in the usual way, and both see all of it."""
        session.finish()
        self.assertEqual((client.read_to_end(), client.ended), (b'', 'FIN'))
        client.send(b'HANGUP\n')
        client.close()
        self.assertEqual((session.read_to_end(), session.ended), (b'HANGUP\n', 'FIN'))
        session.close()

    def end_session(self, client, session):
        """The same, and returns once the proxy has done with the session: its record is in the log."""
        me = '%s:%d' % client.sock.getsockname()
        self.assert_ends(client, session)
        self.proxy.wait_for_log(SESSION_RECORD + re.escape(me) + r'\b')
