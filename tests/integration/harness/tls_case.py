# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of TLS have in common: an authority of their own, and both sides of the proxy."""

import os

from .case import IntegrationTest, route_group, server_group
from .connection import connect
from .server import serve
from .tls import (Authority, client_connections, client_context, server_context, server_sessions,
                  TlsConnection)


class TlsTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        os.mkdir(self.make_path('ca'))
        self.ca = Authority(self.make_path('ca'))
        self.certificate = self.ca.issue('server')

    def tls_listener(self, *lines, certificate=None):
        return ['TLS=yes', 'Certificate=' + (certificate or self.certificate), *lines]

    def tls_server(self, name, address, *lines):
        return server_group(name, address, 'TLS=yes', 'CAFile=' + self.ca.certificate, *lines)

    def start_secure(self, *groups, listener=(), certificate=None, **options):
        """The listener `main` speaks TLS."""
        return self.start_proxy(*groups, listener=self.tls_listener(*listener,
                                                                    certificate=certificate),
                                **options)

    def start_wrapping(self, address, *lines, **options):
        """A plain listener before one server that speaks TLS."""
        return self.start_proxy(self.tls_server('one', address, *lines),
                                route_group('all', '*', 'one'), **options)

    def make_tls_server(self, behaviour=serve, certificate=None, ca=None, version=None):
        """As make_server(), but that it speaks TLS."""
        context = server_context(certificate or self.certificate, ca, version)
        return self.make_server(behaviour, make_session=server_sessions(context))

    def connect_tls(self, context=None, address=None, name='localhost', session=None):
        client = TlsConnection(connect(address or self.address),
                               context or client_context(self.ca.certificate), name, session)
        self.clients.append(client)
        return client

    def call_tls(self, request=None, context=None):
        context = context or client_context(self.ca.certificate)
        return self.call(request, make_connection=client_connections(context))
