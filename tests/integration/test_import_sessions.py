#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions go where the old configuration would have sent them, once agitator-import has been at it."""

import random
from collections import Counter

from harness import tap
from harness.asterisk import environment
from harness.connection import refusing_authority
from harness.importer import ImportTest, LISTEN
from harness.tls import Authority, client_connections, client_context, server_context, server_sessions
from harness.waiting import wait_until

SEGMENTS = ('a', 'b', 'ab', 'c')


class OldRoutes:
    """Which route the Go program took: the last one of a path, the longest path, then the one that is
    empty, then the one that is `*`."""

    def __init__(self, routes):
        self.routes = dict(routes)

    def find(self, path):
        while True:
            if path in self.routes:
                return self.routes[path]
            if not path:
                return self.routes.get('*')
            path = path.rpartition('/')[0]


class Sessions(ImportTest):
    def start(self, *routes, head=''):
        """agitator with what becomes of these routes, each (path, mode, [(server, lines)])."""
        text = head + LISTEN
        for path, mode, hosts in routes:
            text += f'[[route]]\npath = "{path}"\nmode = "{mode}"\n'
            for server, *lines in hosts:
                host, _, port = getattr(server, 'authority', server).rpartition(':')
                text += '\n'.join(['[[route.host]]', f'addr = "{host}"', f'port = {port}', *lines, ''])
        sockets = {'plain': self.make_socket()}
        self.address = sockets['plain'].getsockname()[:2]
        return self.start_proxy_as(self.convert(text), sockets)

    def count(self, servers):
        return [len(server.sessions) for server in servers]

    def call_for(self, path, servers):
        """The index of the server that a whole call for `path` went to; None when it was refused."""
        before = self.count(servers)
        client = self.call('agi://h/' + path)
        if client.wait() == 'FAILURE':
            self.assert_refused(client, 'NOROUTE')
            return None
        self.assert_success(client)
        grown = [i for i, (now, then) in enumerate(zip(self.count(servers), before)) if now > then]
        self.assertEqual(len(grown), 1)
        return grown[0]

    def open_for(self, path, servers):
        """The same of a session that stays."""
        before = self.count(servers)
        client = self.connect()
        client.send(environment('agi://h/' + path))
        wait_until(lambda: self.count(servers) != before, 'a session at one of the servers')
        return next(i for i, (now, then) in enumerate(zip(self.count(servers), before)) if now > then)

    def test_random_routes(self):
        choose = random.Random(4)
        servers = [self.make_server() for _ in range(5)]
        taken = Counter()

        def make_path():
            return '/'.join(choose.choice(SEGMENTS) for _ in range(choose.randrange(1, 4)))

        for _ in range(12):
            paths = [make_path() for _ in range(choose.randrange(1, 9))]
            paths += [path for path in ('', '*', '/a', 'a//b', paths[0]) if choose.random() < 0.4]
            choose.shuffle(paths)
            routes = [(path, choose.randrange(len(servers))) for path in paths]
            self.start(*((path, 'failover', [(servers[i],)]) for path, i in routes))
            old = OldRoutes(routes)
            for _ in range(15):
                path = choose.choice(('', make_path(), choose.choice(paths) + '/x/y'))
                if not set(path.split('/')) & {'', '*'} or path == '':
                    self.assertEqual(self.call_for(path, servers), old.find(path), f'{path!r} of {routes}')
                    taken[old.find(path)] += 1
            self.proxy.stop()
        self.assertEqual(set(taken), {*range(len(servers)), None})

    def test_escapes_in_requests(self):
        servers = [self.make_server() for _ in range(3)]
        self.start(('a b', 'failover', [(servers[0],)]), ('caf\u00e9', 'failover', [(servers[1],)]),
                   ('*', 'failover', [(servers[2],)]))
        self.assertEqual([self.call_for(path, servers) for path in (
            'a%20b/x', 'caf%C3%A9?x=y', 'caf%c3%a9', 'a+b', 'cafe')], [0, 1, 1, 2, 2])

    def test_failover(self):
        """The first one that takes it, in the order written."""
        servers = [self.make_server() for _ in range(2)]
        sock, refusing = refusing_authority()
        self.keep(sock)
        self.start(('a', 'failover', [(refusing,), (servers[1],), (servers[0],)]),
                   ('b', '', [(servers[0],), (servers[1],)]))
        self.assertEqual([self.call_for(path, servers) for path in 'aabb'], [1, 1, 0, 0])

    def test_round_robin(self):
        servers = [self.make_server() for _ in range(3)]
        self.start(('a', 'round-robin', [(server,) for server in servers]))
        order = [self.call_for('a', servers) for _ in range(7)]
        self.assertEqual(order, [0, 1, 2, 0, 1, 2, 0])

    def test_balance(self):
        servers = [self.make_server(None) for _ in range(3)]
        self.start(('a', 'balance', [(server,) for server in servers]))
        self.assertEqual(Counter(self.open_for('a', servers) for _ in range(9)), {0: 3, 1: 3, 2: 3})

    def test_server_named_twice_gets_twice_as_many(self):
        servers = [self.make_server(None) for _ in range(2)]
        self.start(('a', 'balance', [(servers[0],), (servers[1],), (servers[0],)]))
        self.assertEqual(Counter(self.open_for('a', servers) for _ in range(9)), {0: 6, 1: 3})

    def test_limits_are_of_each_route(self):
        servers = [self.make_server(None) for _ in range(2)]
        hosts = [(servers[0], 'max = 2'), (servers[1], 'max = 0')]
        self.start(('a', 'failover', hosts), ('b', 'failover', hosts))
        self.assertEqual([self.open_for('a', servers) for _ in range(3)], [0, 0, 1])
        self.assertEqual([self.open_for('b', servers) for _ in range(3)], [0, 0, 1])

    def test_forwarded_for(self):
        server = self.make_server(None)
        for line, expected in (('fwd_for = true\n', True), ('fwd_for = false\n', False)):
            self.start(('*', '', [(server,)]), head=line)
            client, session = self.open_session(server)
            address = '127.0.0.1:%d' % client.sock.getsockname()[1]
            self.assertEqual(f'\nagi_x_fwd_for: {address}\n'.encode() in session.environment, expected)
            self.end_session(client, session)
            self.proxy.stop()

    def test_tls(self):
        """On both sides, with a certificate that was not verified."""
        folder = self.make_path('').rstrip('/')
        authority = Authority(folder)
        authority.issue('desk')
        server = self.make_server(make_session=server_sessions(server_context(authority.issue('ivr'))))
        old = ('listen = ""\ntls_listen = "127.0.0.1"\ntls_port = 4574\n'
               f'tls_cert = "{folder}/desk.pem"\ntls_key = "{folder}/desk.key"\n[[route]]\npath = "*"\n'
               f'[[route.host]]\naddr = "localhost"\nport = {server.sock.getsockname()[1]}\ntls = true\n')
        sockets = {'tls': self.make_socket()}
        self.start_proxy_as(self.convert(old, check=False), sockets)
        client = self.call(address=sockets['tls'].getsockname()[:2], make_connection=client_connections(
            client_context(authority.certificate)))
        self.assert_success(client)
        self.assertEqual(len(server.sessions), 1)

    def test_silence(self):
        """A session in which nobody says anything is cut, as it was."""
        server = self.make_server(None)
        self.start(('*', '', [(server,)]), head='srv_timeout = 1\nclt_timeout = 7200\n')
        client, session = self.open_session(server)
        self.assertEqual(client.read_to_end(), b'FAILURE\n')
        self.assertIn(session.read_to_end(), (b'', b'HANGUP\n'))

    def test_requests_are_rewritten(self):
        """A server sees its own address, as it did."""
        server = self.make_server(None)
        self.start(('*', '', [(server,)]))
        client, session = self.open_session(server, environment('agi://proxy/a/b?c=d'))
        self.assertIn(f'agi_request: agi://{server.authority}/a/b?c=d\n'.encode(), session.environment)
        self.end_session(client, session)


if __name__ == '__main__':
    tap.main()
