#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which server of a route gets the call, and that no limit is ever exceeded."""

from collections import Counter

from harness import tap
from harness.asterisk import environment, PretendAsterisk
from harness.case import IntegrationTest, route_group, server_group
from harness.connection import refusing_authority, SilentServer
from harness.server import serve
from harness.waiting import wait_until


class Balance(IntegrationTest):
    def start_servers(self, n, mode, *options, server_lines=(), **more):
        """`n` servers named a, b, c... on one route; `server_lines` are a tuple of lines for each."""
        servers = [self.make_server(**more) for _ in range(n)]
        names = 'abcdefgh'[:n]
        groups = [server_group(name, server.address, *lines) for name, server, lines
                  in zip(names, servers, server_lines or [()] * n)]
        self.start_proxy(*groups, route_group('all', '*', list(names), 'Mode=' + mode), *options)
        return servers

    def refusing(self):
        sock, authority = refusing_authority()
        self.keep(sock)
        return authority

    def order_of_calls(self, servers, n):
        """The index of the server that each of `n` calls went to, one call after the other."""
        order = []
        for _ in range(n):
            before = [len(server.sessions) for server in servers]
            self.assert_success(self.call())
            grown = [i for i, server in enumerate(servers) if len(server.sessions) > before[i]]
            self.assertEqual(len(grown), 1, f'one call went to the servers {grown}')
            order += grown
        return order

    def hold(self, server, n=1):
        """Sessions with a server that has no behaviour."""
        return [self.open_session(server) for _ in range(n)]

    def test_failover_uses_the_first(self):
        servers = self.start_servers(3, 'failover')
        self.assertEqual(self.order_of_calls(servers, 6), [0] * 6)

    def test_failover_is_the_default(self):
        one, two = self.make_server(), self.make_server()
        self.start_proxy(server_group('one', one.address), server_group('two', two.address),
                         route_group('all', '*', ['two', 'one']))
        self.assertEqual(self.order_of_calls([one, two], 4), [1] * 4)

    def test_refused_server_is_passed_over(self):
        good = self.make_server()
        for mode in ('failover', 'balance', 'round-robin'):
            self.start_proxy(server_group('bad', self.refusing()), server_group('good', good.address),
                             route_group('all', '*', ['bad', 'good'], 'Mode=' + mode))
            self.assertEqual(self.order_of_calls([good], 4), [0] * 4, mode)

    def test_silent_server_costs_its_connect_timeout_then_the_next(self):
        silent, good = self.keep(SilentServer()), self.make_server()
        self.start_proxy(server_group('silent', silent.authority, 'ConnectTimeout=200ms'),
                         server_group('good', good.address),
                         route_group('all', '*', ['silent', 'good']))
        self.assert_success(self.call())

    def test_each_server_is_tried_once(self):
        """A failing route ends, and the log of the session names no server twice."""
        names = ['a', 'b', 'c']
        for mode in ('failover', 'balance', 'round-robin'):
            self.start_proxy(*[server_group(name, self.refusing()) for name in names],
                             route_group('all', '*', names, 'Mode=' + mode))
            self.assert_refused(self.call(), 'NOSERVER')

    def test_round_robin_begins_with_the_first_and_goes_in_turn(self):
        servers = self.start_servers(3, 'round-robin')
        self.assertEqual(self.order_of_calls(servers, 7), [0, 1, 2, 0, 1, 2, 0])

    def test_balance_takes_turns_among_idle_servers(self):
        servers = self.start_servers(3, 'balance')
        self.assertEqual(Counter(self.order_of_calls(servers, 9)), {0: 3, 1: 3, 2: 3})

    def open_sessions(self, servers, n):
        """`n` sessions that stay, one after the other: a list of (index of server, client, session)."""
        opened = []
        for _ in range(n):
            before = self.count(servers)
            client = self.connect()
            client.send(environment())
            wait_until(lambda: self.count(servers) > before, 'a session at one of the servers')
            index = next(i for i, server in enumerate(servers)
                         if len(server.waiting.items) > server.taken)
            session = servers[index].accept()
            session.read_environment()
            opened.append((index, client, session))
        return opened

    def count(self, servers):
        return sum(len(server.waiting.items) for server in servers)

    def test_balance_prefers_the_server_with_fewest_sessions(self):
        servers = self.start_servers(3, 'balance', behaviour=None)
        opened = self.open_sessions(servers, 9)
        self.assertEqual(Counter(index for index, *_ in opened), {0: 3, 1: 3, 2: 3})

        for index, client, session in opened:
            if index == 1:
                self.end_session(client, session)
        self.assertEqual([index for index, *_ in self.open_sessions(servers, 3)], [1, 1, 1])

    def test_balance_honours_weights(self):
        servers = self.start_servers(2, 'balance', behaviour=None,
                                     server_lines=[('Weight=3',), ('Weight=1',)])
        opened = self.open_sessions(servers, 12)
        self.assertEqual(Counter(index for index, *_ in opened), {0: 9, 1: 3})

    def test_full_server_is_passed_over(self):
        one, two = self.make_server(None), self.make_server(None)
        self.start_proxy(server_group('one', one.address, 'MaxSessions=2'),
                         server_group('two', two.address, 'MaxSessions=1'),
                         route_group('all', '*', ['one', 'two']))
        held = self.hold(one, 2) + self.hold(two, 1)
        self.assert_refused(self.call(), 'FULL')
        # A place that is given back is taken by the next.
        self.end_session(*held[0])
        self.hold(one)

    def test_one_server_of_two_routes_has_one_count(self):
        one = self.make_server(None)
        self.start_proxy(server_group('one', one.address, 'MaxSessions=1'),
                         route_group('x', 'x', 'one'), route_group('y', 'y', 'one'))
        self.open_session(one, b'agi_request: agi://h/x\n\n')
        self.assert_refused(self.call('agi://h/y'), 'FULL')

    def test_failed_dial_gives_its_place_back(self):
        self.start_proxy(server_group('bad', self.refusing(), 'MaxSessions=1'),
                         route_group('all', '*', 'bad'))
        for _ in range(5):
            self.assert_refused(self.call(), 'NOSERVER')

    def call_at_once(self, n):
        """`n` calls whose environments are all sent before the first command is answered."""
        clients = [PretendAsterisk(self.address) for _ in range(n)]
        self.clients += clients
        for client in clients:
            client.send_block()
        for client in clients:
            client.start([])
        return Counter((client.wait(), client.agitator_status) for client in clients)

    def test_300_calls_at_once_never_exceed_one_session(self):
        one = self.make_server(counts=True)
        self.start_proxy(server_group('one', one.address, 'MaxSessions=1'),
                         route_group('all', '*', 'one'), proxy=['Threads=4'])
        outcomes = self.call_at_once(300)
        self.assertEqual(one.most_at_once, 1, outcomes)
        self.assertEqual(outcomes[('SUCCESS', None)], len(one.sessions), outcomes)
        self.assertEqual(set(outcomes), {('SUCCESS', None), ('FAILURE', 'FULL')}, outcomes)
        self.assertEqual(sum(outcomes.values()), 300)

    def test_300_calls_at_once_get_their_turn_on_the_next_server(self):
        for mode in ('failover', 'balance', 'round-robin'):
            limited = [self.make_server(counts=True), self.make_server(counts=True)]
            rest = self.make_server(serve)
            self.start_proxy(server_group('a', limited[0].address, 'MaxSessions=1'),
                             server_group('b', limited[1].address, 'MaxSessions=1'),
                             server_group('rest', rest.address),
                             route_group('all', '*', ['a', 'b', 'rest'], 'Mode=' + mode),
                             proxy=['Threads=4'])
            outcomes = self.call_at_once(300)
            self.assertEqual(outcomes, {('SUCCESS', None): 300}, mode)
            self.assertEqual([server.most_at_once for server in limited], [1, 1], mode)
            self.assertEqual(sum(len(server.sessions) for server in limited + [rest]), 300, mode)

    def test_counts_are_true_after_a_storm(self):
        """After 300 calls at once every place is free again: exactly MaxSessions fit."""
        one = self.make_server(serve, counts=True)
        self.start_proxy(server_group('one', one.address, 'MaxSessions=3'),
                         route_group('all', '*', 'one'), proxy=['Threads=4'])
        self.call_at_once(300)
        self.assertLessEqual(one.most_at_once, 3)
        one.behaviour = None
        one.taken = len(one.sessions)
        self.hold(one, 3)
        self.assert_refused(self.call(), 'FULL')


if __name__ == '__main__':
    tap.main()
