#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that vanish, networks that swallow, peers that crash: all of it is found out within the
bound that agitator(8) states, the places are given back, and the dialplan is told.

What goes on in the middle of a session is one test, since it takes half a minute for each.
"""


from harness import tap
from harness.asterisk import environment
from harness.case import IntegrationTest, route_group, server_group
from harness.connection import Connection, Stopwatch, connect, listen_tcp
from harness.networks import crash, Network, reason_not_to
from harness.proc import tcp_timers
from harness.server import serve
from harness.waiting import FACTOR, wait_until

# agitator(8), "A peer that has vanished": 30 seconds without an answer, asked every 5.
BOUND = 30 + 5


class Networks(IntegrationTest):
    def setUp(self):
        super().setUp()
        reason = reason_not_to()
        if reason:
            self.skipTest(reason)
        self.network = Network()
        self.addCleanup(self.network.close)

    def make_server_at(self, machine, behaviour=None):
        host = '127.0.0.1' if machine is self.network.here else self.network.THERE
        with machine.inside():
            return self.make_server(behaviour, sock=listen_tcp(host))

    def connect_from(self, machine):
        with machine.inside():
            client = Connection(connect((self.network.HERE, self.address[1])))
        self.clients.append(client)
        return client

    def start(self, servers, **options):
        """Each in a group and a route of its own, with one place."""
        groups = [server_group(name, server.address, 'MaxSessions=1')
                  for name, server in servers.items()]
        with self.network.here.inside():
            self.start_proxy(*groups, *[route_group(name, name, name) for name in servers],
                             sockets={'main': self.make_socket('0.0.0.0')}, **options)

    def open_from(self, machine, server, name):
        client = self.connect_from(machine)
        client.send(environment(f'agi://h/{name}'))
        session = server.accept()
        session.read_environment()
        self.assert_relayed(client, session)
        return client, session

    def wait_keepalive(self, session):
        """Until the kernel watches over the connection to this server."""
        port = session.sock.getsockname()[1]
        wait_until(lambda: any(remote == port and timer == 'keepalive' for (_, remote), timer
                               in tcp_timers(self.proxy.process.pid).items()),
                   f'keepalive on the connection to port {port}')

    def assert_failed(self, client):
        self.assertEqual(client.read_to_end()[-8:], b'FAILURE\n')

    # In the middle of a session

    def test_vanished_in_mid_session(self):
        here, there = self.network.here, self.network.there
        servers = {'silent': self.make_server_at(there), 'spoken': self.make_server_at(there),
                   'near': self.make_server_at(here)}
        self.start(servers)
        silent = self.open_from(here, servers['silent'], 'silent')
        spoken = self.open_from(here, servers['spoken'], 'spoken')
        near = self.open_from(there, servers['near'], 'near')
        self.wait_keepalive(silent[1])
        self.wait_keepalive(spoken[1])

        for end in (silent[0], spoken[0], near[1]):
            end.sock.settimeout(BOUND + 20 * FACTOR)
        spoken[1].send(b'NOOP\n')
        self.assertEqual(spoken[0].read_line(), b'NOOP\n')
        self.network.cut()
        watch = Stopwatch()
        spoken[0].send(b'200 result=0\n')  # never acknowledged
        self.assert_failed(silent[0])
        self.assert_failed(spoken[0])
        near[1].read_to_end()
        took = watch.elapsed()
        print(f'# found out within {took:.1f} s')
        self.assertLess(took, BOUND + 5 * FACTOR)
        for client in (silent[0], spoken[0], near[0]):
            client.close()
        near[1].close()
        self.proxy.wait_for_log('broken.*Connection timed out.*server silent')
        self.proxy.wait_for_log(r'broken \((Connection timed out|No route to host)\), .*server spoken')
        self.proxy.wait_for_log('server near, ended by the client')

        # Each had the only place at its server.
        self.network.mend()
        for name in servers:
            self.assert_usable(name, servers[name])

    def assert_usable(self, name, server):
        client, session = self.open_from(self.network.here, server, name)
        self.assert_ends(client, session)

    def test_crashed_in_mid_session(self):
        """A machine that is up again, or never was down, says so at once."""
        here, there = self.network.here, self.network.there
        servers = {'far': self.make_server_at(there), 'near': self.make_server_at(here)}
        self.start(servers)
        watch = Stopwatch()
        client, session = self.open_from(here, servers['far'], 'far')
        crash(session.sock)
        client.send(b'200 result=0\n')
        self.assert_failed(client)
        client.close()
        client, session = self.open_from(there, servers['near'], 'near')
        crash(client.sock)
        session.send(b'NOOP\n')
        session.read_to_end()
        session.close()
        self.assertLess(watch.elapsed(), 5 * FACTOR)
        for name in servers:
            self.assert_usable(name, servers[name])

    # Before it

    def test_swallowed_before_the_session(self):
        """The next server has it after ConnectTimeout=; where there is none, the dialplan is told."""
        here, there = self.network.here, self.network.there
        lost, good = self.make_server_at(there, serve), self.make_server_at(here, serve)
        with here.inside():
            self.start_proxy(
                server_group('lost', lost.address, 'ConnectTimeout=300ms', 'MaxSessions=1'),
                server_group('good', good.address), route_group('both', 'both', ['lost', 'good']),
                route_group('one', 'one', 'lost'), sockets={'main': self.make_socket('0.0.0.0')})
            self.network.swallow()
            for _ in range(3):
                self.assert_success(self.call('agi://h/both'))
                self.assert_refused(self.call('agi://h/one'), 'NOSERVER')
        self.assertEqual(lost.sessions, [])

    def test_swallowed_client_before_its_environment(self):
        """It can't be told, and nothing of it stays."""
        here, there = self.network.here, self.network.there
        server = self.make_server_at(here)
        with here.inside():
            self.start_proxy(server_group('one', server.address), route_group('all', '*', 'one'),
                             sockets={'main': self.make_socket('0.0.0.0')},
                             proxy=['RequestTimeout=500ms'])
        before = self.proxy.descriptors()
        client = self.connect_from(there)
        client.send(b'agi_network: yes\n')
        self.network.swallow()
        self.proxy.wait_for_log('TIMEOUT')
        self.proxy.wait_descriptors(before)


if __name__ == '__main__':
    tap.main()
