#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""agitator-import: what it refuses and in which words, and files that are no configuration."""

import os
import random

from harness import tap
from harness.importer import ImportTest, LISTEN, ROUTE, run_import

HOST = '[[route.host]]\naddr = "h"\n'
UNKNOWN = 'Unknown key, which the Go program passed over'
MISPLACED = 'Unknown key here, which the Go program passed over: it belongs '

# What stands before all that is needed, and what is said of it: at its last line, or of no line.
GENERAL = [
    # Keys
    ('con_timeuot = 3', f'con_timeuot: {UNKNOWN}; did you mean con_timeout?'),
    ('"tls cert" = "x"', f'"tls cert": {UNKNOWN}; did you mean tls_cert?'),
    ('max_sessions = 1', f'max_sessions: {UNKNOWN}'),
    ('"" = 1', f'"": {UNKNOWN}'),
    ('"a\\u001b\\n[b" = 1', None, f'"a\\u001b\\n[b": {UNKNOWN}'),
    ('addr = "x"', f'addr: {MISPLACED}in [[route.host]]'),
    ('Mode = "x"', f'Mode: {MISPLACED}in [[route]]'),
    ('debug = true\nDEBUG = false', 'DEBUG: This key is there already, as debug; in the Go program it '
                                    'was a matter of luck which one counted'),
    ('"\u017frv_timeout" = 1', f'"\u017frv_timeout": {UNKNOWN}; did you mean srv_timeout?'),
    # Types
    ('debug = 1', 'debug: It has to be true or false, not a whole number'),
    ('log = true', 'log: It has to be a string, not true or false'),
    ('threads = "2"', 'threads: It has to be a whole number, not a string'),
    ('threads = true', 'threads: It has to be a whole number, not true or false'),
    ('con_timeout = 0.5', 'con_timeout: It has to be a whole number, not a fraction'),
    ('con_timeout = nan', 'con_timeout: It has to be a whole number, not a fraction'),
    ('con_timeout = 1979-05-27', 'con_timeout: It has to be a whole number, not a date or time'),
    ('clt_timeout = 07:32:00', 'clt_timeout: It has to be a whole number, not a date or time'),
    ('log = 1979-05-27T07:32:00Z', 'log: It has to be a string, not a date or time'),
    ('log = ["stderr"]', 'log: It has to be a string, not an array'),
    ('log.to = "stderr"', 'log: It has to be a string, not a table'),
    # Numbers
    ('tls_port = 65536', 'tls_port: 65536 is not a number from 1 to 65535'),
    ('tls_port = -1', 'tls_port: -1 is not a number from 1 to 65535'),
    ('threads = 9223372036854775808', 'threads: 9223372036854775808 is out of range'),
    ('threads = 1' + '0' * 99, 'threads: 1' + '0' * 78 + '… is out of range'),
    ('con_timeout = -1', 'con_timeout: With less than 0 no connection was ever made'),
    ('con_timeout = 9223372037', 'con_timeout: 9223372037 is out of range'),
    ('srv_timeout = 9223372037', 'srv_timeout: 9223372037 is out of range'),
    ('clt_timeout = 9223372037', 'clt_timeout: 9223372037 is out of range'),
]

# Values of listen, which are refused in the same way of tls_listen.
LISTENS = [
    ('ivr.example.com', 'A name can not be listened on here: write its address'),
    ('::1', 'An IPv6 address needs brackets, there as here'),
    ('::', 'An IPv6 address needs brackets, there as here'),
    ('[::g]', 'This is not an IPv6 address'),
    ('[127.0.0.1]', 'This is not an IPv6 address'),
    ('[fe80::1%eth0]', 'An address with a zone has no equivalent'),
    ('127.0.0.1:4573', 'This is more than a host, which the Go program could not use; the port has a key '
                       'of its own'),
    ('*', 'This is neither an address nor a host name'),
    ('127.1', 'This is neither an address nor a host name'),
    ('10.0.0.256', 'This is neither an address nor a host name'),
    (' 127.0.0.1', 'This is neither an address nor a host name'),
]

ADDRESSES = [
    ('::1', LISTENS[1][1]), ('[::g]', LISTENS[3][1]), ('[fe80::1%eth0]', LISTENS[5][1]),
    ('h:4573', LISTENS[6][1]), ('unix:/run/x', LISTENS[6][1]), ('agi://h/x', LISTENS[6][1]),
    ('[::1]:4573', LISTENS[6][1]), ('*', LISTENS[7][1]), ('10.1', LISTENS[7][1]),
    ('4573', LISTENS[7][1]), ('b\u00fccher.example', LISTENS[7][1]), ('a b', LISTENS[7][1]),
    ('a\\nb', LISTENS[7][1]), ('h\\u0000', LISTENS[7][1]),
    ('a' * 254, 'The host name is too long: 253 characters at most'),
    ('unix', "unix: begins the path of a socket here: write the host's address, or UNIX, which is the same "
             'name'),
]

PATHS = [
    ('a\\tb', 'There are no control bytes in a path here'),
    ('\\u0000', 'There are no control bytes in a path here'),
    ('\\u007f', 'There are no control bytes in a path here'),
    ('agi://h/a', 'This is a URL, which no request matched: write its path alone, as ivr/menu'),
    ('a?b=c', 'This has a query, which no request matched: write the path alone, as ivr/menu'),
    ('a%20b', 'Paths are compared decoded, there as here: write the character itself'),
    *((path, "A '*' takes other requests only when it stands alone, there as here; a path without it "
             'takes all that is below it') for path in ('a/*', '*/', '/*', 'a/*/b')),
]


class Refused(ImportTest):
    def assert_refused(self, old, *lines):
        self.assertEqual(self.refuse(old), list(lines))

    def test_general_settings(self):
        for old, said, *unplaced in GENERAL:
            line = f'{old.count(chr(10)) + 1}: {said}' if said else f' {unplaced[0]}'
            self.assert_refused(old + '\n' + LISTEN + ROUTE, line)

    def test_addresses_to_listen_on(self):
        for host, said in LISTENS:
            for key, rest in (('listen', ''), ('tls_listen', 'tls_cert = "/x"\ntls_key = "/x"\n')):
                port = key.replace('listen', 'port')
                self.assert_refused(f'{key} = "{host}"\n{port} = 4000\n{rest}{ROUTE}',
                                    f'1: {key}: "{host}": {said}')

    def test_nothing_to_listen_on(self):
        said = ' There is neither listen nor tls_listen. The Go program did not start without either'
        self.assert_refused(ROUTE, said)
        self.assert_refused('listen = ""\ntls_listen = ""\nport = 4573\n' + ROUTE, said)
        self.assert_refused('listen = 1\n' + ROUTE, '1: listen: It has to be a string, not a whole number')

    def test_port_missing(self):
        said = 'A port is missing, for which the Go program took any that was free: write '
        tls = 'tls_cert = "/x"\ntls_key = "/x"\n'
        self.assert_refused('listen = "::"\nport = 0\n' + ROUTE, f'1: listen: "::": {LISTENS[1][1]}',
                            f'2: port: {said}port = 4573')
        self.assert_refused('listen = "127.0.0.1"\n' + ROUTE, f' port: {said}port = 4573')
        self.assert_refused('tls_listen = "127.0.0.1"\n' + tls + ROUTE,
                            f' tls_port: {said}tls_port = 4574')

    def test_both_at_one_address(self):
        tls = 'tls_port = 4573\ntls_cert = "/x"\ntls_key = "/x"\n'
        for one, other, address in (('127.0.0.1', '127.0.0.1', '127.0.0.1:4573'),
                                    ('0.0.0.0', '127.0.0.1', '0.0.0.0:4573'),
                                    ('127.0.0.1', '[::]', '127.0.0.1:4573'),
                                    ('localhost', '127.0.0.1', '127.0.0.1:4573'),
                                    ('[::1]', '0.0.0.0', '[::1]:4573')):
            self.assert_refused(f'listen = "{one}"\nport = 4573\ntls_listen = "{other}"\n' + tls + ROUTE,
                                f'3: tls_listen: Only one of listen and tls_listen can have {address}')

    def test_files(self):
        tls = LISTEN + 'tls_listen = "127.0.0.1"\ntls_port = 4574\n'
        missing = 'A file is missing. The Go program did not start without one'
        self.assert_refused(tls + ROUTE, f' tls_cert: {missing}', f' tls_key: {missing}')
        self.assert_refused(tls + 'tls_key = ""\ntls_cert = "/x"\n' + ROUTE, f'5: tls_key: {missing}')
        for name in ('/a b', '/a;b', '/a\\tb', '/a\\u0000b'):
            self.assert_refused(
                tls + f'tls_cert = "{name}"\ntls_key = "/x"\n' + ROUTE, f'5: tls_cert: "{name}": The name '
                'of a file can have no blanks, semicolons or control bytes in it here')

    def test_paths(self):
        for path, said in PATHS:
            self.assert_refused(f'{LISTEN}{ROUTE}[[route]]\npath = "{path}"\n{HOST}',
                                f'9: [[route]] 2: path: "{path}": {said}')

    def test_addresses_of_servers(self):
        for addr, said in ADDRESSES:
            shown = f'"{addr}"' if len(addr) < 80 else f'"{addr[:78]}…'
            self.assert_refused(f'{LISTEN}{ROUTE}[[route.host]]\nport = 7\naddr = "{addr}"\n',
                                f'10: [[route]] 1, [[route.host]] 2: addr: {shown}: {said}')

    def test_modes(self):
        said = 'so that the Go program left the route out'
        for mode, near in (('Balance', 'balance'), ('roundrobin', 'round-robin'), ('fail', 'failover'),
                           ('random', None)):
            hint = f'; did you mean {near}?' if near else ''
            self.assert_refused(f'{LISTEN}[[route]]\npath = "a"\nmode = "{mode}"\n{HOST}',
                                f'5: [[route]] 1: mode: There is no mode "{mode}", {said}{hint}')

    def test_keys_and_types_of_routes(self):
        route = LISTEN + '[[route]]\npath = "a"\n'
        for old, said in (
                (route + 'mod = "balance"\n' + HOST, f'5: [[route]] 1: mod: {UNKNOWN}; did you mean mode?'),
                (route + 'addr = "h"\n' + HOST, f'5: [[route]] 1: addr: {MISPLACED}in [[route.host]]'),
                (route + HOST + 'path = "x"\n',
                 f'7: [[route]] 1, [[route.host]] 1: path: {MISPLACED}in [[route]]'),
                (route + HOST + 'con_timeout = 3\n', '7: [[route]] 1, [[route.host]] 1: con_timeout: '
                                                     f'{MISPLACED}before the first [[route]]'),
                (route + HOST + 'weight = 3\n', f'7: [[route]] 1, [[route.host]] 1: weight: {UNKNOWN}'),
                (route + HOST + 'tls = "no"\n', '7: [[route]] 1, [[route.host]] 1: tls: It has to be true '
                                                'or false, not a string'),
                (route + HOST + 'port = 70000\n',
                 '7: [[route]] 1, [[route.host]] 1: port: 70000 is not a number from 1 to 65535'),
                (route + HOST + 'MAX = 1e3\n',
                 '7: [[route]] 1, [[route.host]] 1: MAX: It has to be a whole number, not a fraction'),
                (route + 'host = "h"\n', '5: [[route]] 1: host: It has to be [[route.host]], not a string'),
                (route + '[route.host]\naddr = "h"\n',
                 '5: [[route]] 1: host: It has to be [[route.host]], not a table'),
                (route + 'host = [1]\n', ' [[route]] 1, [[route.host]] 1: It has to be a table, not a whole '
                                         'number'),
                ('path = 1\n' + route, f'1: path: {MISPLACED}in [[route]]'),
                (LISTEN + '[route]\npath = "a"\n', '3: route: It has to be [[route]], not a table'),
                (LISTEN + 'route = []\n', ' There is no [[route]]. The Go program did not start without one'),
                (LISTEN + 'route = [[]]\n', ' [[route]] 1: It has to be a table, not an array'),
                (LISTEN + '[[ROUTE]]\nPaht = "a"\n' + HOST.replace('route', 'ROUTE'),
                 f'4: [[ROUTE]] 1: Paht: {UNKNOWN}; did you mean path?')):
            self.assert_refused(old, said)

    def test_no_route(self):
        self.assert_refused(LISTEN, ' There is no [[route]]. The Go program did not start without one')
        self.assert_refused(LISTEN + '[[route]]\npath = "a"\n', ' There would be no route: [[route]] 1 is left '
                            'out, since it has no [[route.host]], and so had no effect')
        self.assertIn('There would be no route', self.refuse(LISTEN + '[[route]]\npath = "/"\n' + HOST)[0])

    def test_everything_is_said_at_once(self):
        lines = self.refuse('listen = "x"\nport = 1\nthreads = 1.5\n' + '[[route]]\npath = "a?b"\nmode = "x"\n'
                            '[[route.host]]\naddr = "a b"\nmax = ""\n' * 3)
        self.assertEqual([int(line.partition(':')[0]) for line in lines],
                         [1, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21])

    def test_place_that_is_not_sure_is_not_told(self):
        """A line may look like a key and be none."""
        for text, line in (('log = """\nthreads = 1\n"""\nthreads = 1.5\n', ' threads'),
                           ('log = """\nthreads = 1.5"""\nthreads = """\n1.5"""\n', ' threads'),
                           ('"thr\\u0065ads" = 1.5\nlog = """\nthreads = 1"""\n', ' threads'),
                           ('# threads = 1\nthreads = 1.5 # threads = 1\n', '2: threads')):
            self.assertEqual([said.partition(': It')[0] for said in self.refuse(text + LISTEN + ROUTE)], [line])

    def test_many_problems_in_a_long_file(self):
        """Where lines would take too long to find they are left out, the problems never."""
        old = LISTEN + '[[route]]\npath = "a?b"\n[[route.host]]\naddr = "a b"\n' * 5000
        lines = self.refuse(old)
        self.assertEqual(len(lines), 10000)
        self.assertTrue(lines[0].startswith('4: [[route]] 1: path: '))

    # What is no TOML

    def test_syntax(self):
        for old, line in (('listen = \n', 1), ('a = 1\na = 2\n', 2), ('[[route]]\n[route]\n', 2),
                          ('x = "\\ud800"\n', 1), ('\nx = \'\x01\'\n', 2), ('x = 1\n\n]\n', 3)):
            said = self.refuse(old)
            self.assertEqual(len(said), 1)
            self.assertRegex(said[0], rf'^{line}: This is no TOML: ', said)
        self.assertRegex(self.refuse('x = """')[0], '^ This is no TOML: .*end of document')
        self.assertRegex(self.refuse('x = \x1b[31m\n')[0], r'This is no TOML: ')

    def test_one_of_ours(self):
        said = [' This looks like a configuration of this agitator already']
        self.assertEqual(self.refuse('# ours\n[Proxy]\nThreads=2\n'), said)
        self.assertEqual(self.refuse(self.convert(LISTEN + ROUTE)), said)

    def test_bytes(self):
        for old, said in (
                (b'\xff\xfel\0i\0', '1: The line is not valid UTF-8'),
                (b'# caf\xc3\xa9\n# caf\xe9\n', '2: The line is not valid UTF-8'),
                (b'# \xed\xa0\x80\n', '1: The line is not valid UTF-8'),
                (b' ' * (16 * 1024 * 1024 + 1), ' The file is too large: 16 MiB at most'),
                (b'x = ' + b'[' * 100000, ' Arrays or tables are nested too deep'),
                (b'a.' * 100 + b'a = 1', ' A key has too many parts'),
                (b'"a". \'\'.a .' * 40 + b'a = 1', ' A key has too many parts'),
                (b'x = ' + b'9' * 10000, ' A number is out of range')):
            self.assertEqual(self.refuse(old), [said])
        for old in (b'', b'\0', b'\n' * 100000, b'#', b'\x7fELF' + bytes(range(256)), b'a.' * 99 + b'a=1'):
            self.assertNotEqual(self.refuse(old), [])

    def test_random_bytes(self):
        """Never a traceback; tests/fuzz tries more, and cleverer."""
        choose = random.Random(1)
        for _ in range(20):
            self.refuse(bytes(choose.randrange(256) for _ in range(choose.randrange(1, 3000))))

    def test_nothing_is_written(self):
        path = self.make_path('new.conf')
        run = run_import('--output', path, self.write('listen = 1\n'))
        self.assertEqual(run.returncode, 1)
        self.assertFalse(os.path.exists(path))
        self.write('kept', 'new.conf')
        run = run_import('--force', '--output', path, self.write('listen = 1\n'))
        self.assertEqual(run.returncode, 1)
        with open(path, encoding='utf-8') as file:
            self.assertEqual(file.read(), 'kept')


if __name__ == '__main__':
    tap.main()
