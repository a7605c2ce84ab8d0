# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of the Go program, with the types and defaults that its settings had there."""

import dataclasses
import difflib
import re
from gettext import gettext as _

from .problems import Refused, say, show

try:
    import tomllib
except ImportError:  # before Python 3.11
    try:
        import tomli as tomllib
    except ImportError:
        tomllib = None

SIZE_MAX = 16 * 1024 * 1024
INT64 = range(-2 ** 63, 2 ** 63)
UINT16 = range(2 ** 16)

# As a.a.a.a, on which tomllib spends the square of their number.
TOO_MANY_PARTS = re.compile(r'''(?<![\w"'-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){100}''')

# What each key holds. One that is missing was '', 0 or false, whatever the sample of the Go program
# has for it.
GENERAL = {
    'listen': 'text', 'port': 'port', 'tls_listen': 'text', 'tls_port': 'port',
    'tls_strict': 'claim', 'tls_cert': 'text', 'tls_key': 'text', 'fwd_for': 'claim',
    'con_timeout': 'number', 'srv_timeout': 'number', 'clt_timeout': 'number', 'log': 'text',
    'debug': 'claim', 'threads': 'number', 'route': 'tables',
}
ROUTE = {'path': 'text', 'mode': 'text', 'host': 'tables'}
HOST = {'addr': 'text', 'port': 'port', 'tls': 'claim', 'max': 'number'}

TYPES = {'text': str, 'claim': bool, 'number': int, 'port': int, 'tables': list}
MISSING = {'text': '', 'claim': False, 'number': 0, 'port': 0, 'tables': ()}


@dataclasses.dataclass
class Host:
    place: tuple
    addr: str
    port: int
    tls: bool
    max: int


@dataclasses.dataclass
class Route:
    place: tuple
    path: str
    mode: str
    hosts: list

    @property
    def number(self):
        return self.place[1] + 1


def is_there():
    """Whether there is a TOML library."""
    return tomllib is not None


def decode(data):
    if len(data) > SIZE_MAX:
        raise Refused(say(0, '', _('The file is too large: {max} MiB at most').format(
            max=SIZE_MAX >> 20)))
    try:
        return data.decode('utf-8-sig').replace('\r\n', '\n')
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        raise Refused(say(line, '', _('The line is not valid UTF-8'))) from None


def parse(text):
    return tomllib.loads(text)


def parse_or_refuse(text):
    if re.search(r'^\[(?:Proxy|Log|(?:Listener|Server|Route|Answer|Syslog) [\w.-]+)\]', text, re.M | re.A):
        raise Refused(say(0, '', _('This looks like a configuration of this agitator already')))
    if TOO_MANY_PARTS.search(text):
        raise Refused(say(0, '', _('A key has too many parts')))
    try:
        return parse(text)
    except tomllib.TOMLDecodeError as error:
        match = re.fullmatch(r'(.*) \(at line (\d+), column \d+\)', str(error), re.S)
        message, line = (match[1], int(match[2])) if match else (str(error), 0)
        raise Refused(say(line, '', _('This is no TOML: {message}').format(
            message=show(message)[1:-1].replace('\\"', '"')))) from None
    except (ValueError, OverflowError):  # Python reads no numbers of thousands of digits
        raise Refused(say(0, '', _('A number is out of range'))) from None
    except RecursionError:
        raise Refused(say(0, '', _('Arrays or tables are nested too deep'))) from None


class Reader:
    """From TOML to values of the right types; all that is wrong goes to `problems`."""

    def __init__(self, problems):
        self.problems = problems

    def read(self, document):
        """(general settings by key, their keys as written, routes)."""
        general, keys = self.take_table(document, (), GENERAL)
        routes = [self.take_route(*item) for item in self.take_tables(general, keys, (), 'route')]
        return general, keys, routes

    def take_route(self, place, table):
        route, keys = self.take_table(table, place, ROUTE)
        hosts = [Host(at, **self.take_table(host, at, HOST)[0])
                 for at, host in self.take_tables(route, keys, place, 'host')]
        return Route(place, route['path'], route['mode'], hosts)

    def take_table(self, table, place, kinds):
        """The value of every known key, and how those that are there are written: case did not
        matter."""
        values = {key: MISSING[kind] for key, kind in kinds.items()}
        written = {}
        for key, value in table.items():
            known = key.lower() if key.isascii() else key
            if known not in kinds:
                self.refuse_key(place + (key,), kinds)
            elif known in written:
                self.problems.add(place + (key,), _(
                    'This key is there already, as {key}; in the Go program it was a matter of luck '
                    'which one counted').format(key=written[known]))
            else:
                written[known] = key
                if self.check(value, place + (key,), kinds[known]):
                    values[known] = value
        return values, written

    def take_tables(self, values, written, place, key):
        """(place, table) of each in an array."""
        for i, table in enumerate(values[key]):
            at = place + (written[key], i)
            if isinstance(table, dict):
                yield at, table
            else:
                self.problems.add(at, _('It has to be a table, not {type}').format(
                    type=name_type(table)))

    def refuse_key(self, path, kinds):
        key = path[-1].lower()[:64]
        near = difflib.get_close_matches(key, kinds, 1)
        if key in GENERAL:
            message = _('Unknown key here, which the Go program passed over: it belongs before the '
                        'first [[route]]')
        elif key in ROUTE or key in HOST:
            message = _('Unknown key here, which the Go program passed over: it belongs in {table}')
            message = message.format(table='[[route]]' if key in ROUTE else '[[route.host]]')
        elif near:
            message = _('Unknown key, which the Go program passed over; did you mean {key}?')
            message = message.format(key=near[0])
        else:
            message = _('Unknown key, which the Go program passed over')
        self.problems.add(path, message)

    def check(self, value, path, kind):
        if not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == 'claim'):
            name = '.'.join(step for step in path if isinstance(step, str)).lower()
            wanted = f'[[{name}]]' if kind == 'tables' else name_type(TYPES[kind]())
            message = _('It has to be {wanted}, not {type}').format(wanted=wanted,
                                                                    type=name_type(value))
        elif kind == 'port' and value not in UINT16:
            message = _('{value} is not a number from 1 to 65535').format(value=show(value))
        elif kind == 'number' and value not in INT64:
            message = _('{value} is out of range').format(value=show(value))
        else:
            return True
        self.problems.add(path, message)
        return False


def name_type(value):
    for kind, name in ((bool, _('true or false')), (str, _('a string')), (int, _('a whole number')),
                       (float, _('a fraction')), (dict, _('a table')), (list, _('an array'))):
        if isinstance(value, kind):
            return name
    return _('a date or time')
