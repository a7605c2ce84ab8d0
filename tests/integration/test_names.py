# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers by name: all addresses tried, looked up anew, the last good answer kept. The proxy runs with
a hosts file of the test's own, in a mount namespace of its own."""

import os
import socket
import subprocess
import unittest

from harness import tap
from harness.asterisk import environment
from harness.case import Config, IntegrationTest, route_group, server_group, SETTLE
from harness.connection import SilentServer

NAME = 'ivr.test'
IN_NAMESPACE = ('unshare --mount sh -c '
                "'mount --bind {hosts} /etc/hosts && exec \"$@\"' sh")


def can_mount():
    command = ['unshare', '--mount', 'mount', '--bind', '/etc/hosts', '/etc/hosts']
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@unittest.skipUnless(can_mount(), 'a mount namespace needs root')
class Names(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.hosts = self.make_path('hosts')
        self.set_addresses()
        wrapper = os.environ.get('AGITATOR_WRAPPER', '')
        os.environ['AGITATOR_WRAPPER'] = f'{IN_NAMESPACE.format(hosts=self.hosts)} {wrapper}'
        self.addCleanup(os.environ.__setitem__, 'AGITATOR_WRAPPER', wrapper)

    def set_addresses(self, *addresses):
        # In place: a new file would not be the one that is mounted.
        with open(self.hosts, 'w', encoding='ascii') as file:
            file.write('127.0.0.1 localhost\n' + ''.join(f'{each} {NAME}\n' for each in addresses))

    def make_server_at(self, host, port):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(64)
        return self.make_server(sock=sock)

    def start_with_name(self, port, **options):
        self.start_one_route(f'{NAME}:{port}', **options)

    def test_second_address_is_used_when_the_first_is_silent(self):
        silent = self.keep(SilentServer())
        port = silent.sock.getsockname()[1]
        self.make_server_at('127.0.0.2', port)
        self.set_addresses('127.0.0.1', '127.0.0.2')
        self.start_with_name(port, proxy=['ConnectTimeout=1s'])
        self.assert_success(self.call())

    def test_second_address_is_used_when_the_first_refuses(self):
        server = self.make_server_at('127.0.0.2', 0)
        self.set_addresses('127.0.0.1', '127.0.0.2')
        self.start_with_name(server.sock.getsockname()[1])
        self.assert_success(self.call())

    def test_start_without_the_name_is_not_fatal(self):
        server = self.make_server()
        self.start_with_name(server.sock.getsockname()[1], proxy=['ResolveInterval=1s'])
        self.proxy.wait_for_log(rf'server one: {NAME}: ')
        self.assert_refused(self.call(), 'NOSERVER')
        self.set_addresses('127.0.0.1')
        self.proxy.wait_for_log('the name has an address again')
        self.assert_success(self.call())

    def test_reload_to_a_name_without_an_address(self):
        """Who came before it still finds the server where it was."""
        server = self.make_server()
        routes = [SETTLE, route_group('all', '*', 'one')]
        self.start_proxy(server_group('one', server.address), *routes, proxy=['Threads=1'])
        early = self.begin_call()
        self.settle()
        self.proxy.reload(Config(server_group('one', f'{NAME}:4573'), *routes,
                                 proxy=['Threads=1']).text)
        self.assert_success(early.start([environment()[100:]]))
        self.assert_refused(self.call(), 'NOSERVER')

    def test_reload_keeps_the_last_good_answer(self):
        """The same name, which has no address at that moment."""
        server = self.make_server()
        self.set_addresses('127.0.0.1')
        self.start_with_name(server.sock.getsockname()[1], proxy=['ResolveInterval=1h'])
        self.set_addresses()
        mark = self.proxy.reload()
        self.proxy.wait_for_log(rf'server one: {NAME}: ', mark)
        self.assert_success(self.call())

    def test_last_good_answer_is_kept(self):
        server = self.make_server()
        self.set_addresses('127.0.0.1')
        self.start_with_name(server.sock.getsockname()[1], proxy=['ResolveInterval=1s'])
        self.assert_success(self.call())
        self.set_addresses()
        self.proxy.wait_for_log(rf'server one: {NAME}: ')
        self.assert_success(self.call())


if __name__ == '__main__':
    tap.main()
