#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Records reach log servers from inside the service's sandbox, over each kind of socket."""

import socket

from harness.case import group
from harness.connection import Connection, listen_tcp
from harness.service import measure, SERVICE, ServiceTest
from harness.system_case import main
from harness.tls import server_context, TlsServerSession
from harness.waiting import FACTOR, TIMEOUT

MARK = b'agi://127.0.0.1:4573/path: answered'


def listen_udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(('127.0.0.1', 0))
    sock.settimeout(TIMEOUT)
    return sock


class Syslog(ServiceTest):
    def listen(self, make):
        """A socket on the machine's network, and its address."""
        sock = self.keep(self.machine.in_network(make))
        sock.settimeout(TIMEOUT)
        return sock, '%s:%d' % sock.getsockname()

    def start_with(self, *addresses, lines=()):
        """The configuration as installed, and log servers."""
        self.machine.write('/etc/agitator/agitator.conf.d/syslog.conf',
                           ''.join(group('Syslog', f'log-{i}', 'Address=' + address, *lines)
                                   for i, address in enumerate(addresses)))
        self.service.start()
        self.assert_success(self.call())

    def test_udp(self):
        sock, address = self.listen(listen_udp)
        self.start_with('udp:' + address)
        while MARK not in sock.recv(65536):
            pass

    def test_tcp_by_name(self):
        sock, address = self.listen(listen_tcp)
        self.start_with('tcp:' + address.replace('127.0.0.1', 'localhost'))
        self.keep(Connection(sock.accept()[0])).read_until(MARK)

    def test_tls(self):
        ca = self.make_authority()
        sock, address = self.listen(listen_tcp)
        with open(ca.certificate, encoding='ascii') as file:
            self.machine.write('/etc/agitator/ca.pem', file.read())
        self.start_with('tls:' + address, lines=['CAFile=/etc/agitator/ca.pem'])
        session = self.keep(TlsServerSession(sock.accept()[0]))
        session.set_context(server_context(ca.issue('server')), server_side=True)
        session.read_until(MARK)

    def test_stop_without_the_server(self):
        """A name that leads nowhere, or to nobody, is looked up once more and then given up."""
        sock, address = self.listen(listen_tcp)
        sock.close()
        self.start_with('tcp:nowhere.example', 'tcp:' + address.replace('127.0.0.1', 'localhost'))
        self.service.wait_for_log("log server log-0 can't be reached")
        self.service.wait_for_log("log server log-1 can't be reached")
        self.assertLess(measure(self.machine.run, 'systemctl', 'stop', SERVICE), 8 * FACTOR)
        self.assertEqual(self.service.show('Result'), 'success')

    def test_the_systems_own(self):
        """Which is the journal here: it has the record twice, once by way of syslog."""
        self.start_with('unix:/dev/log')
        self.service.wait_for_log('session .* answered')
        self.machine.wait_journal('session .* answered', '_TRANSPORT=syslog',
                                  '--after-cursor=' + self.service.cursor)


if __name__ == '__main__':
    main()
