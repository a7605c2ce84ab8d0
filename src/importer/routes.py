# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each route and each of its hosts."""

import dataclasses
import difflib
from gettext import gettext as _

from .old import Host
from .problems import show
from .values import judge_host, judge_path, Names

AGI_PORT = 4573
MODES = ('failover', 'balance', 'round-robin')


@dataclasses.dataclass
class Server:
    host: Host
    name: str
    route: int  # the number of the only route that has it, because of its limit; else 0

    @property
    def identity(self):
        return identify(self.host)


def identify(host):
    return host.addr or '127.0.0.1', host.port or AGI_PORT, host.tls


class Routes:
    def __init__(self, routes, problems):
        self.all = routes
        self.problems = problems
        self.left_out = {}  # why, by the number of the route
        self.paths = {}  # what stands in Path=, by the number of the route
        self.names = {}  # of the servers of a route, by its number
        self.servers = {}  # by what makes them the same
        self.judge()
        self.take_servers()

    def judge(self):
        winners = {}
        for route in self.all:
            self.judge_route(route)
            if not route.hosts:
                self.left_out[route.number] = 'it has no [[route.host]], and so had no effect'
                continue
            if route.path in winners:
                self.left_out[winners[route.path]] = (
                    f'[[route]] {route.number} has the same path, and the last one was in force')
            winners[route.path] = route.number
        for path, number in winners.items():
            self.judge_winner(path, number, winners)

        if self.problems.all:
            return
        if not self.all:
            self.problems.add((), _('There is no [[route]]. The Go program did not start without '
                                    'one'))
        elif not self.paths:
            self.problems.add((), _('There would be no route: [[route]] {number} is left out, since '
                                    '{why}').format(number=1, why=self.left_out[1]))

    def judge_route(self, route):
        wrong = judge_path(route.path)
        if wrong:
            self.problems.add(route.place + ('path',), f'{show(route.path)}: {wrong}')
        if route.mode not in ('', *MODES):
            near = difflib.get_close_matches(route.mode.lower()[:64], MODES, 1)
            message = (_('There is no mode {mode}, so that the Go program left the route out; did you '
                         'mean {near}?') if near else
                       _('There is no mode {mode}, so that the Go program left the route out'))
            self.problems.add(route.place + ('mode',), message.format(mode=show(route.mode),
                                                                      near=''.join(near)))
        for host in route.hosts:
            wrong = host.addr and judge_host(host.addr)[1]
            if wrong:
                self.problems.add(host.place + ('addr',), f'{show(host.addr)}: {wrong}')

    def judge_winner(self, path, number, winners):
        plain = path[:-1] if path.endswith('/') else path
        if path == '*' and '' in winners:
            self.left_out[number] = (f'[[route]] {winners[""]} has an empty path, which took '
                                     'everything before * could')
        elif path in ('', '*'):
            self.paths[number] = '*'
        elif set(plain.split('/')) & {'', '.', '..'}:
            self.left_out[number] = (
                "only a request with an empty segment, '.' or '..' in its path took it, and such a "
                'one takes only the route for * here')
        elif plain != path and plain in winners:
            self.left_out[number] = (f'[[route]] {winners[plain]} takes requests with a / at their '
                                     'end here, too')
        else:
            self.paths[number] = plain

    def take_servers(self):
        """One without a limit is the same in all routes. One that a route names several times
        stays several, since it got so many shares."""
        names = Names()
        for route in self.all:
            if route.number not in self.paths:
                continue
            seen = {}
            self.names[route.number] = used = []
            for host in route.hosts:
                identity = identify(host)
                if host.max > 0:
                    key = (*identity, route.number, len(self.servers))
                else:
                    seen[identity] = seen.get(identity, 0) + 1
                    key = (*identity, 0, seen[identity])
                if key not in self.servers:
                    name = names.make(suggest_name(*identity), 'server')
                    self.servers[key] = Server(host, name, key[3])
                used.append(self.servers[key].name)

    def count_longest(self):
        """How many servers the route with the most of them has."""
        return max((len(names) for names in self.names.values()), default=1)


def suggest_name(addr, port, tls):
    name = 'ip6-' + addr if addr.startswith('[') else addr
    return name if port == AGI_PORT else f'{name}-{port}'
