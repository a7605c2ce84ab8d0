# SPDX-License-Identifier: GPL-3.0-or-later
"""The new configuration, with a comment wherever something means another thing than it did."""

import ipaddress
import re
from gettext import gettext as _

from .old import decode, parse, parse_or_refuse, Reader
from .problems import Problems, show, show_file
from .routes import AGI_PORT, Routes
from .text import Text
from .values import collide, judge_host, Names, print_address, print_text, print_time

SESSIONS_MAX = 10 * 1000 * 1000
THREADS_MAX = 256
HOUR, YEAR = 3600, 365 * 86400
REQUEST_TIMEOUT, SETUP_TIMEOUT = 10, 10
OVERFLOW = 2 ** 63 // 10 ** 9  # more seconds were too many for Go's nanoseconds, and became any time


class Converter:
    def __init__(self, general, written, routes, problems):
        self.general, self.written = general, written
        self.problems = problems
        self.routes = Routes(routes, problems)
        self.text = Text()

    def convert(self, source, version):
        """The whole text, to be used only when there are no problems."""
        self.say_head(source, version)
        self.say_proxy()
        self.say_log()
        self.say_listeners()
        self.say_servers()
        self.say_routes()
        return self.text.get()

    def refuse(self, key, message):
        self.problems.add((self.written.get(key, key),), message)

    def say_head(self, source, version):
        self.text.comment(
            f'Made by agitator-import {version} of {show_file(source)}, a configuration of the '
            'agitator that was written in Go. A comment says where something means more, less or '
            'another thing than it did; from-go.md, which comes with agitator, has all of it.')
        self.text.lines.append('#')
        self.text.comment(
            'New for every call: one that nobody can take finds the reason in the channel variable '
            'AGITATOR_STATUS (not with ReportStatus=no), and one whose server breaks off has '
            'AGISTATUS=FAILURE (with OnServerFailure=close it is SUCCESS, as it was). A request with '
            'an empty segment, . or .. or an encoded slash in its path takes no route but that for *.'
            ' A reload applies all of this file, not the routes alone.')

    def say_proxy(self):
        text, threads = self.text, self.general['threads']
        text.group('Proxy')
        if threads > THREADS_MAX:
            text.comment(f'threads = {threads}; this is the most.')
        text.key('Threads', min(threads, THREADS_MAX) if threads > 0 else 'auto')

        if self.general['fwd_for']:
            text.comment("A client's own agi_x_fwd_for was kept, and added to. Here that is so for "
                         'clients in TrustForwardedFor=, which other agitators belong in; what '
                         'anyone else sends is replaced.')
        else:
            text.comment("A client's own agi_x_fwd_for was passed on. Here it is only if the client "
                         'is in TrustForwardedFor=.')
        text.key('ForwardedFor', 'yes' if self.general['fwd_for'] else 'no')
        self.say_connect()
        self.say_silence()
        text.comment('SIGINT waited for the last session however long it took, and SIGTERM for none. '
                     'Both wait for this long; with infinity they are as SIGINT was.')
        text.key('StopTimeout', '30s')

    def take_time(self, key):
        seconds = self.general[key]
        if seconds <= OVERFLOW:
            return seconds
        self.refuse(key, _('{value} is out of range').format(value=show(seconds)))
        return 0

    def say_connect(self):
        text, connect = self.text, self.take_time('con_timeout')
        if connect < 0:
            self.refuse('con_timeout', _('With less than 0 no connection was ever made'))
        text.comment('For one server. Looking up its name takes none of this time.')
        if connect == 0:
            text.comment('con_timeout was 0 or left out, so there was no limit. This is the longest '
                         'there is; as many seconds are better, since the next server is not tried '
                         'until then.')
        elif connect > HOUR:
            text.comment(f'con_timeout = {connect}; this is the longest there is.')
        connect = min(connect, HOUR) if connect > 0 else HOUR
        text.key('ConnectTimeout', print_time(connect))

        setup = max(connect * self.routes.count_longest(), SETUP_TIMEOUT)
        text.comment('For all servers of a route together, which had no limit.')
        text.key('SetupTimeout', print_time(min(setup, HOUR)))

    def say_silence(self):
        text = self.text
        server, client = self.take_time('srv_timeout'), self.take_time('clt_timeout')
        request = client if 0 < client < REQUEST_TIMEOUT else REQUEST_TIMEOUT
        if request != client:
            text.comment('For a client to send its environment. '
                         + (f'This was clt_timeout = {client}.' if client > 0
                            else 'This had no limit.'))
        text.key('RequestTimeout', print_time(request))

        idle = min((seconds for seconds in (server, client) if seconds > 0), default=0)
        if idle:
            text.comment(f'srv_timeout = {server}, clt_timeout = {client}. Each side was timed by '
                         'itself, so that a session was cut even while the other side was busy. Here '
                         'both have to be silent for so long.')
        text.key('IdleTimeout', print_time(idle) if 0 < idle <= YEAR else 'infinity')

    def say_log(self):
        text, log = self.text, self.general['log']
        text.group('Log')
        if log == 'syslog':
            text.comment('Syslog gets it from the journal. Where there is none write Target=console, and a '
                         'group [Syslog NAME] with Address=unix:/dev/log and Facility=user.')
            text.key('Target', 'journal')
        else:
            if log not in ('', 'stderr'):
                text.comment(f'log = {show(log)} was taken for "stderr".')
            text.comment('Standard error, or the journal where standard error leads there.')
            text.key('Target', 'auto')
        text.comment('Each session has a record now. With Sessions=failed only those have one that '
                     'did not end well.')
        text.key('Level', 'debug' if self.general['debug'] else 'info')

    def take_listen(self, key, port_key):
        """The (address, port) to listen on, any number of them."""
        host, port = self.general[key], self.general[port_key]
        if not host:
            return []
        if port == 0:
            port = AGI_PORT if key == 'listen' else AGI_PORT + 1
            self.refuse(port_key, _('A port is missing, for which the Go program took any that was '
                                    'free: write {key} = {port}').format(key=port_key, port=port))
        address, wrong = judge_host('127.0.0.1' if host.lower() == 'localhost' else host)
        if not address and not wrong:
            wrong = _('A name can not be listened on here: write its address')
        if wrong:
            self.refuse(key, f'{show(host)}: {wrong}')
            return []
        if address.is_unspecified:
            return [(ipaddress.ip_address('0.0.0.0'), port), (ipaddress.ip_address('::'), port)]
        return [(address, port)]

    def say_listen(self, name, key, addresses):
        text, host = self.text, self.general[key]
        text.group(f'Listener {name}')
        if len(addresses) > 1:
            text.comment(f'{key} = {show(host)} was for IPv4 and IPv6 alike. Leave '
                         f'{print_address(*addresses[1])} out where there is no IPv6; Allow= says '
                         'who may come.')
        elif host.lower() == 'localhost':
            text.comment(f'{key} = {show(host)}; an address is wanted here.')
        text.key('Listen', ';'.join(print_address(*address) for address in addresses))

    def say_listeners(self):
        plain = self.take_listen('listen', 'port')
        secure = self.take_listen('tls_listen', 'tls_port')
        if not self.general['listen'] and not self.general['tls_listen'] and not self.problems.all:
            self.problems.add((), _('There is neither listen nor tls_listen. The Go program did not '
                                    'start without either'))
        for one in plain:
            if any(collide(one, other) for other in secure):
                self.refuse('tls_listen', _('Only one of listen and tls_listen can have {address}')
                            .format(address=print_address(*one)))
                break

        if plain:
            self.say_listen('plain', 'listen', plain)
        if self.general['tls_listen']:
            self.say_listen('tls', 'tls_listen', secure)
            self.say_certificate()
        elif self.general['tls_cert'] or self.general['tls_key']:
            self.text.remark('tls_cert and tls_key had no effect, as tls_listen was empty.')

    def say_certificate(self):
        text = self.text
        text.comment('TLS 1.1 was allowed, too. The versions are those of the system now, unless '
                     'TLSPriority= has others.')
        text.key('TLS', 'yes')
        files = [self.take_file(key) for key in ('tls_cert', 'tls_key')]
        if not all(file.startswith('/') for file in files):
            text.comment('A path without / at its start is, as it was, one below the folder in which '
                         'agitator is started, which for a service is /.')
        text.key('Certificate', print_text(files[0]))
        text.comment('The user that agitator runs as has to be able to read it; or make it a '
                     'credential (LoadCredential=).')
        text.key('PrivateKey', print_text(files[1]))

    def take_file(self, key):
        path = self.general[key]
        if not path:
            self.refuse(key, _('A file is missing. The Go program did not start without one'))
        elif re.search(r'[ ;\x00-\x1f\x7f]', path):
            self.refuse(key, _('{path}: The name of a file can have no blanks, semicolons or control '
                               'bytes in it here').format(path=show(path)))
        elif '/' not in path or path.startswith('pkcs11:'):
            return './' + path  # or it would be a credential, or in a token
        return path

    def say_servers(self):
        limited = [server.identity for server in self.routes.servers.values() if server.route]
        counts = {identity: limited.count(identity) for identity in set(limited)}
        self.text.remark('A server is the same one for all routes that name it, and what counts are '
                         'its sessions of all of them; each route counted its own. So one with a '
                         'limit is here once for each route, and one that a route had several times '
                         'is here several times.')
        for server in self.routes.servers.values():
            self.say_server(server, counts.get(server.identity, 0))

    def say_server(self, server, count):
        text, host, (name, port, tls) = self.text, server.host, server.identity
        text.group(f'Server {server.name}')
        if not host.addr:
            text.comment('addr was empty, which stood for this machine.')
        text.key('Address', print_address(judge_host(name)[0] or name, port))
        if server.route:
            if count > 1:
                text.comment(f'For [[route]] {server.route} alone, as it was. For one limit over '
                             'several routes name one server in all of them.')
            if host.max > SESSIONS_MAX:
                text.comment(f'max = {host.max}')
            text.key('MaxSessions', host.max if host.max <= SESSIONS_MAX else 'infinity')
        if tls:
            text.key('TLS', 'yes')
        if tls and not self.general['tls_strict']:
            text.comment(('tls_strict was false. ' if 'tls_strict' in self.written else
                          'tls_strict was left out, and so false. ')
                         + 'CAFile= or TLSPin= in place of this keep others from listening in.')
            text.key('TLSVerify', 'no')

    def say_routes(self):
        routes, names = self.routes, Names()
        for route in routes.all:
            if route.number in routes.left_out:
                self.text.remark(f'Left out: [[route]] {route.number}, path = {show(route.path)}, '
                                 f'since {routes.left_out[route.number]}.')
            elif route.number in routes.paths:
                path = routes.paths[route.number]
                name = names.make('rest' if path == '*' else path, f'route-{route.number}')
                self.say_route(route, name, path)

    def say_route(self, route, name, path):
        text = self.text
        text.group(f'Route {name}')
        if route.path == '':
            text.comment('path was empty, which took whatever no other route did.')
        elif path != route.path:
            text.comment(f'path = {show(route.path)} took this very request. Here it takes those '
                         'without the / at the end as well, and all below it.')
        text.key('Path', print_text(path))
        if route.mode == 'round-robin' and len(route.hosts) > 1:
            text.comment('The first session goes to the first server; it went to the second.')
        text.key('Mode', route.mode or 'failover')
        text.key('Servers', ';'.join(self.routes.names[route.number]))


def convert(data, source, version):
    """(new configuration, number of routes left out, number of routes) from the bytes of an old one;
    raises Refused."""
    text = decode(data)
    document = parse_or_refuse(text)
    problems = Problems()
    converter = Converter(*Reader(problems).read(document), problems)
    result = converter.convert(source, version)
    problems.check(text, parse)
    return result, len(converter.routes.left_out), len(converter.routes.all)
