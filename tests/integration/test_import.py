#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""agitator-import: what becomes of each setting, and of whole files."""

import pathlib
import random
import re
import string
import sys

from harness import tap
from harness.importer import get_modules, ImportTest, LISTEN, parse, ROUTE, run_import
from harness.tls import Authority

# One of everything, as a site would have it.
SITE = '''# Before the servers of the help desk
listen = "0.0.0.0"
port = 4573
tls_listen = ""
tls_port = 4574
tls_strict = true
tls_cert = "/etc/ssl/desk.pem"
tls_key = "/etc/ssl/desk.key"
fwd_for = true
con_timeout = 5
srv_timeout = 0
clt_timeout = 0
log = "syslog"
debug = false
threads = 2

[[route]]
path = "desk/menu"
mode = "balance"
  [[route.host]]
  addr = "ivr-1.example.com"
  port = 4573
  tls = false
  max = 0
  [[route.host]]
  addr = "ivr-2.example.com"
  port = 4600
  tls = true
  max = 0

[[route]]
path = "survey"
mode = "round-robin"
  [[route.host]]
  addr = "ivr-1.example.com"
  [[route.host]]
  addr = "192.0.2.7"
  port = 4600

[[route]]
path = "*"
  [[route.host]]
  addr = "[2001:db8::7]"
  port = 4600
  max = 64
  [[route.host]]
  addr = "ivr-1.example.com"
  max = 64
'''

SITE_CONVERTED = {
    'Proxy': {
        'Threads': '2', 'ForwardedFor': 'yes', 'ConnectTimeout': '5s', 'SetupTimeout': '10s',
        'RequestTimeout': '10s', 'IdleTimeout': 'infinity', 'StopTimeout': '30s',
    },
    'Log': {'Target': 'journal', 'Level': 'info'},
    'Listener plain': {'Listen': '0.0.0.0:4573;[::]:4573'},
    'Server ivr-1.example.com': {'Address': 'ivr-1.example.com:4573'},
    'Server ivr-2.example.com-4600': {'Address': 'ivr-2.example.com:4600', 'TLS': 'yes'},
    'Server 192.0.2.7-4600': {'Address': '192.0.2.7:4600'},
    'Server ip6-2001-db8-7-4600': {'Address': '[2001:db8::7]:4600', 'MaxSessions': '64'},
    'Server ivr-1.example.com-2': {'Address': 'ivr-1.example.com:4573', 'MaxSessions': '64'},
    'Route desk-menu': {'Path': 'desk/menu', 'Mode': 'balance',
                        'Servers': 'ivr-1.example.com;ivr-2.example.com-4600'},
    'Route survey': {'Path': 'survey', 'Mode': 'round-robin',
                     'Servers': 'ivr-1.example.com;192.0.2.7-4600'},
    'Route rest': {'Path': '*', 'Mode': 'failover',
                   'Servers': 'ip6-2001-db8-7-4600;ivr-1.example.com-2'},
}


def make_routes(n, hosts, seed):
    """An old configuration with that many routes to paths of ten letters or slashes each, the first
    one for all the rest, and the paths."""
    choose = random.Random(seed)
    paths = ['*'] + [''.join(choose.choice(string.ascii_letters + '/') for _ in range(10))
                     for _ in range(n - 1)]
    lines = [LISTEN, 'con_timeout = 3\nsrv_timeout = 7200\nclt_timeout = 7200\n']
    for i, path in enumerate(paths, 1):
        lines += ['\n[[route]]\n', f'path = "{path}"\n']
        lines += [f'mode = "{mode}"\n' for mode, each in (('balance', 3), ('round-robin', 2))
                  if i % each == 0][:1]
        lines += ['\n  [[route.host]]\n  addr = "localhost"\n  port= 4545\n  max = 0\n'] * hosts
    return ''.join(lines), paths


def host(**values):
    lines = [f'{key} = {value}' for key, value in values.items()]
    return '\n'.join(['[[route.host]]', *lines, ''])


class Import(ImportTest):
    def test_site(self):
        text = self.convert(SITE)
        groups = parse(text)
        self.assertEqual(groups, SITE_CONVERTED)
        self.assertEqual(list(groups), list(SITE_CONVERTED))

    def test_page(self):
        """from-go.md has every setting, and its example is what becomes of it."""
        page = pathlib.Path(__file__).resolve().parents[2] / 'data' / 'doc' / 'from-go.md'
        text = page.read_text(encoding='utf-8')
        sys.path.insert(0, get_modules())
        self.addCleanup(sys.path.remove, get_modules())
        from importer import old
        for key in (*old.GENERAL, *old.ROUTE, *old.HOST):
            self.assertRegex(text, rf'\| `[^|]*\b{key}\b[^|]*` \|')
        toml, ini = re.findall(r'```(?:toml|ini)\n(.*?)```', text, re.S)
        self.assertEqual(parse(self.convert(toml)), parse(ini))

    def test_same_file_gives_same_text(self):
        path = self.write(make_routes(300, 2, 1)[0])
        texts = {run_import(path, environment={'PYTHONHASHSEED': seed}).stdout for seed in '012345'}
        self.assertEqual(len(texts), 1)

    def test_thousand_routes(self):
        for hosts, seed in ((1, 1), (5, 2)):
            old, paths = make_routes(1000, hosts, seed)
            groups = parse(self.convert(old))
            routes = {group['Path']: group for title, group in groups.items()
                      if title.startswith('Route ')}
            plain = [path for path in paths
                     if not path.startswith('/') and '//' not in path + ' '[path.endswith('//'):]]
            self.assertGreater(len(plain), 900)
            self.assertLess(len(plain), 1000)
            self.assertEqual(list(routes), [path.rstrip('/') for path in plain])
            servers = [title.split()[1] for title in groups if title.startswith('Server ')]
            self.assertEqual(len(servers), hosts)
            for i, path in enumerate(paths, 1):
                if path in routes:
                    mode = 'balance' if i % 3 == 0 else 'failover' if i % 2 else 'round-robin'
                    self.assertEqual(routes[path], {'Path': path, 'Mode': mode,
                                                    'Servers': ';'.join(servers)})

    def test_number_of_routes_left_out_is_told(self):
        old = LISTEN + ROUTE + '[[route]]\npath = "/a"\n' + host(addr='"h"')
        run = run_import('-', data=old.encode())
        self.assertEqual((run.returncode, run.stderr.decode()), (
            0, 'agitator-import: 1 route of 2 is left out; a comment says why\n'))
        run = run_import('-', data=(old + '[[route]]\npath="b"\n').encode())
        self.assertIn('2 routes of 3 are left out', run.stderr.decode())
        self.assertEqual(run_import('-', data=SITE.encode()).stderr, b'')

    # The general settings

    def check_general(self, cases):
        for line, title, key, value in cases:
            self.assert_key(line + '\n' + LISTEN + ROUTE, title, key, value)

    def test_threads(self):
        self.check_general([('threads = %d' % n, 'Proxy', 'Threads', value) for n, value in (
            (0, 'auto'), (-3, 'auto'), (1, '1'), (256, '256'), (257, '256'))])

    def test_forwarded_for(self):
        self.check_general([('fwd_for = true', 'Proxy', 'ForwardedFor', 'yes'),
                            ('fwd_for = false', 'Proxy', 'ForwardedFor', 'no'),
                            ('', 'Proxy', 'ForwardedFor', 'no')])

    def test_con_timeout(self):
        self.check_general([('con_timeout = %d' % n, 'Proxy', 'ConnectTimeout', value) for n, value in (
            (1, '1s'), (60, '1min'), (90, '90s'), (3600, '1h'), (3601, '1h'), (0, '1h'))])
        self.check_general([('', 'Proxy', 'ConnectTimeout', '1h')])

    def test_setup_has_time_for_all_servers(self):
        for hosts, timeout, value in ((1, 3, '10s'), (4, 3, '12s'), (2, 0, '1h'), (5, 1800, '1h')):
            old = f'con_timeout = {timeout}\n' + LISTEN + ROUTE + host(addr='"h"') * (hosts - 1)
            self.assert_key(old, 'Proxy', 'SetupTimeout', value)

    def test_idle_timeouts(self):
        for server, client, idle, request in (
                (0, 0, 'infinity', '10s'), (7200, 0, '2h', '10s'), (0, 90, '90s', '10s'),
                (7200, 60, '1min', '10s'), (60, 7200, '1min', '10s'), (-1, -1, 'infinity', '10s'),
                (5, 4, '4s', '4s'), (5, 10, '5s', '10s'), (3, -1, '3s', '10s'),
                (31536000, 0, '365d', '10s'), (31536001, 0, 'infinity', '10s')):
            self.check_general([(f'srv_timeout = {server}\nclt_timeout = {client}', 'Proxy', key, value)
                                for key, value in (('IdleTimeout', idle), ('RequestTimeout', request))])

    def test_log(self):
        self.check_general([('log = "syslog"', 'Log', 'Target', 'journal'),
                            ('log = "stderr"', 'Log', 'Target', 'auto'),
                            ('log = "/var/log/x"', 'Log', 'Target', 'auto'),
                            ('', 'Log', 'Target', 'auto'),
                            ('debug = true', 'Log', 'Level', 'debug'),
                            ('debug = false', 'Log', 'Level', 'info')])

    # Listeners

    def test_listen(self):
        both = '0.0.0.0:%s;[::]:%s'
        for host_, port, value in (
                ('127.0.0.1', '4573', '127.0.0.1:4573'), ('[::1]', '4000', '[::1]:4000'),
                ('0.0.0.0', '65535', both % (65535, 65535)), ('[::]', '1', both % (1, 1)),
                ('localhost', '0x11dd', '127.0.0.1:4573'), ('[0:0::0]', '9', both % (9, 9)),
                ('[::ffff:192.0.2.1]', '9', '192.0.2.1:9')):
            self.assert_key(f'listen = "{host_}"\nport = {port}\n' + ROUTE, 'Listener plain', 'Listen',
                            value)

    def test_tls_alone(self):
        folder = self.make_path('').rstrip('/')
        certificate = Authority(folder).issue('desk')
        groups = parse(self.convert(f'tls_listen = "127.0.0.1"\ntls_port = 4574\n'
                                    f'tls_cert = "{certificate}"\ntls_key = "{certificate}"\n' + ROUTE,
                                    check=False))
        self.assertEqual(groups['Listener tls'], {
            'TLS': 'yes', 'Listen': '127.0.0.1:4574', 'Certificate': certificate,
            'PrivateKey': certificate})
        self.assertNotIn('Listener plain', groups)

    def test_tls_with_plain(self):
        folder = self.make_path('').rstrip('/')
        authority = Authority(folder)
        authority.issue('desk')
        text = self.convert(LISTEN + 'tls_listen = "127.0.0.1"\ntls_port = 4574\n'
                            f'tls_cert = "{folder}/desk.pem"\ntls_key = "{folder}/desk.key"\n' + ROUTE)
        self.assertEqual([title for title in parse(text) if title.startswith('Listener')],
                         ['Listener plain', 'Listener tls'])

    def test_certificates_beside_the_program(self):
        """Without a / it would be the name of a credential."""
        for old, new in (('my.pem', './my.pem'), ('tls/my.pem', 'tls/my.pem'), ('pkcs11:x', './pkcs11:x'),
                         ('pkcs11:/x', './pkcs11:/x'), ('/a\\\\b', '/a\\\\b'), ('/#é', '/#é')):
            groups = parse(self.convert('tls_listen = "127.0.0.1"\ntls_port = 1\ntls_cert = "%s"\n'
                                        'tls_key = "%s"\n' % (old, old) + ROUTE, check=False))
            self.assertEqual(groups['Listener tls']['Certificate'], new)
            self.assertEqual(groups['Listener tls']['PrivateKey'], new)

    def test_certificates_of_no_listener(self):
        text = self.convert('tls_cert = "/x"\ntls_key = "/x"\ntls_port = 1\n' + LISTEN + ROUTE)
        self.assertNotIn('Certificate', text)
        self.assertIn('# tls_cert and tls_key had no effect', text)

    # Servers

    def test_addresses(self):
        route = LISTEN + '[[route]]\npath = "*"\n'
        for values, title, address in (
                ({'addr': '"h.example.com"'}, 'h.example.com', 'h.example.com:4573'),
                ({'addr': '"h"', 'port': 0}, 'h', 'h:4573'),
                ({'addr': '"h_1"', 'port': 65535}, 'h_1-65535', 'h_1:65535'),
                ({'addr': '"UNIX"'}, 'UNIX', 'UNIX:4573'), ({'addr': '"unix."'}, 'unix.', 'unix.:4573'),
                ({'addr': '"192.0.2.1"'}, '192.0.2.1', '192.0.2.1:4573'),
                ({'addr': '"[::1]"', 'port': 7}, 'ip6-1-7', '[::1]:7'),
                ({'addr': '"[::ffff:192.0.2.1]"'}, 'ip6-ffff-192.0.2.1', '192.0.2.1:4573'),
                ({'addr': '""', 'port': 7}, '127.0.0.1-7', '127.0.0.1:7'),
                ({'port': 7}, '127.0.0.1-7', '127.0.0.1:7'),
                ({'addr': '"%s"' % ('a' * 63 + '.' + 'b' * 63)}, 'a' * 63 + '.',
                 'a' * 63 + '.' + 'b' * 63 + ':4573')):
            self.assert_key(route + host(**values), 'Server ' + title, 'Address', address)

    def test_limits(self):
        route = LISTEN + '[[route]]\npath = "*"\n'
        for limit, value in ((0, None), (-7, None), (1, '1'), (10000000, '10000000'),
                             (10000001, 'infinity')):
            self.assert_key(route + host(addr='"h"', max=limit), 'Server h', 'MaxSessions', value)

    def test_servers_are_shared_by_routes(self):
        """Unless they have a limit, which was one of each route."""
        route = '[[route]]\npath = "%s"\n'
        both = host(addr='"h"') + host(addr='"h"', max=5)
        groups = parse(self.convert(LISTEN + route % 'a' + both + route % 'b' + both))
        self.assertEqual({title: group for title, group in groups.items() if title[0] in 'RS'}, {
            'Server h': {'Address': 'h:4573'},
            'Server h-2': {'Address': 'h:4573', 'MaxSessions': '5'},
            'Server h-3': {'Address': 'h:4573', 'MaxSessions': '5'},
            'Route a': {'Path': 'a', 'Mode': 'failover', 'Servers': 'h;h-2'},
            'Route b': {'Path': 'b', 'Mode': 'failover', 'Servers': 'h;h-3'}})

    def test_server_several_times_in_a_route(self):
        groups = parse(self.convert(LISTEN + ROUTE + (host(addr='"h"') + host(addr='"i"')) * 2))
        self.assertEqual(groups['Route rest']['Servers'], '127.0.0.1-4545;h;i;h-2;i-2')
        self.assertEqual(groups['Server h-2'], {'Address': 'h:4573'})

    def test_tls_of_servers(self):
        """What is not verified is the one warning that agitator gives of the result."""
        old = LISTEN + ROUTE + host(addr='"h"', tls='true')
        self.assert_key('tls_strict = true\n' + old, 'Server h', 'TLSVerify', None)
        self.assert_key('tls_strict = true\n' + old, 'Server h', 'TLS', 'yes')
        for line, word in (('tls_strict = false\n', 'false'), ('', 'left out')):
            text = self.convert(line + old, check=False)
            self.assertEqual(parse(text)['Server h'], {'Address': 'h:4573', 'TLS': 'yes',
                                                       'TLSVerify': 'no'})
            self.assertIn('# tls_strict was ' + word, text)
            self.assertNotIn('TLSVerify', self.convert(line + LISTEN + ROUTE))

    # Routes

    def routes(self, *paths, hosts='[[route.host]]\naddr = "h"\n'):
        """The text made of routes with these paths, as they stand in TOML."""
        text = self.convert(LISTEN + ''.join(f'[[route]]\npath = {path}\n{hosts}' for path in paths))
        return text, [group['Path'] for title, group in parse(text).items() if title[:5] == 'Route']

    def test_modes(self):
        for line, mode in (('', 'failover'), ('mode = ""', 'failover'), ('mode = "failover"', 'failover'),
                           ('mode = "balance"', 'balance'), ('mode = "round-robin"', 'round-robin')):
            self.assert_key(LISTEN + f'[[route]]\npath = "a"\n{line}\n' + host(addr='"h"'), 'Route a',
                            'Mode', mode)

    def test_paths(self):
        for path, written in (('"a/b"', 'a/b'), ('"*"', '*'), ('"a b"', 'a b'), ('" a  "', r'\sa\s\s'),
                              (r'"a\\b"', r'a\\b'), ('"100%"', '100%'), ('"a;b"', 'a;b'), ('"a#b=c"', 'a#b=c'),
                              (r'"caf\u00e9"', 'café'), ('"   "', r'\s\s\s'), ('"**"', '**'),
                              ('"%zz"', '%zz'), ('"..."', '...'), ('"[x]"', '[x]')):
            self.assertEqual(self.routes(path)[1], [written])

    def test_empty_path_took_the_rest(self):
        for paths in (('""', '"a"', '"*"'), ('"*"', '"a"', '""')):
            text, found = self.routes(*paths)
            self.assertEqual(sorted(found), ['*', 'a'])
            self.assertRegex(text, r'# Left out: \[\[route\]\] \d, path = "\*"')
        self.assertEqual(self.routes('"a"')[1], ['a'])

    def test_missing_path_is_an_empty_one(self):
        self.assert_key(LISTEN + '[[route]]\n' + host(addr='"h"'), 'Route rest', 'Path', '*')

    def test_routes_that_nothing_took(self):
        for path in ('/a', 'a//b', 'a//', '/', '//', '.', '..', 'a/../b', './a', 'a/.'):
            text, found = self.routes(f'"{path}"', '"*"')
            self.assertEqual(found, ['*'], path)
            self.assertIn(f'# Left out: [[route]] 1, path = "{path}", since', text)

    def test_slash_at_the_end(self):
        text, found = self.routes('"a/"')
        self.assertEqual(found, ['a'])
        self.assertIn('# path = "a/" took this very request', text)
        for paths in (('"a"', '"a/"'), ('"a/"', '"a"')):
            text, found = self.routes(*paths)
            self.assertEqual(found, ['a'])
            self.assertIn('takes requests with a / at their end', text)

    def test_last_of_equal_paths_counted(self):
        text = self.convert(LISTEN + '[[route]]\npath = "a"\n' + host(addr='"first"') + '[[route]]\n'
                            'path = "a"\n' + host(addr='"second"') + '[[route]]\npath = "a"\n')
        self.assertEqual(parse(text)['Route a']['Servers'], 'second')
        self.assertNotIn('Server first', text)
        self.assertIn('[[route]] 2 has the same path', text)
        self.assertIn('# Left out: [[route]] 3, path = "a", since it has no [[route.host]]', text)

    def test_names_of_routes(self):
        paths = ['a/b', 'a-b', 'A/B', 'a.b_c', 'été', '—', 'x' * 70, 'x' * 71, 'x' * 72, '*', 'rest',
                 '日本', '[Route x]', '-a-', 'a\\u2028b', 'straße']
        text, found = self.routes(*(f'"{path}"' for path in paths))
        names = [title.partition(' ')[2] for title in parse(text) if title.startswith('Route')]
        self.assertEqual(names, [
            'a-b', 'a-b-2', 'A-B-3', 'a.b_c', 'ete', 'route-6', 'x' * 64, 'x' * 62 + '-2',
            'x' * 62 + '-3', 'rest', 'rest-2', 'route-12', 'Route-x', 'a', 'a-b-4', 'stra-e'])
        self.assertEqual(found, [path.replace('\\u2028', '\u2028') for path in paths])

    def test_many_names_that_collide(self):
        """Long ones too, whose number takes the place of letters."""
        paths = [f'"{"y" * 70}{i}"' for i in range(300)] + [f'"{"y" * 62}-{i}"' for i in range(90)]
        text, found = self.routes(*paths)
        self.assertEqual(len(found), len(paths))
        names = re.findall(r'(?m)^\[Route (.*)\]$', text)
        self.assertEqual(len({name.lower() for name in names}), len(paths))
        self.assertLessEqual(max(map(len, names)), 64)

    # How TOML may be written

    def test_forms_of_toml(self):
        expected = parse(self.convert(LISTEN + 'debug = true\n[[route]]\npath = "a/b"\n'
                                      + host(addr='"h"', port=4600)))
        for old in (
                LISTEN + '"debug" = true\nroute = [{path = "a/b", host = [{addr = "h", port = 4600}]}]\n',
                LISTEN + "'debug' = true\nroute = [\n  # one\n  {'path' = 'a/b', host = [{addr = 'h', "
                'port = 4_600}]},\n]\n',
                LISTEN + 'debug=true\n[[ route ]]\npath = """\\\n  a/b"""\n  [[ route . "host" ]]\n'
                "addr = '''h'''\nport = 0o10770\n",
                (LISTEN + 'debug = true # yes\n[[route]]\npath = "a\\u002fb"\n'
                 + host(addr='"h"', port=4600)).replace('\n', '\r\n'),
                '\ufeff' + LISTEN + 'debug = true\n[[route]]\nhost = [{addr = "h", port = 4600}]\n'
                'path = "a/b"',
                LISTEN.upper().replace('PORT', 'Port') + 'Debug = true\n[[Route]]\nPATH = "a/b"\n'
                '[[Route.HOST]]\nAddr = "h"\nPort = 4600\n'):
            self.assertEqual(parse(self.convert(old)), expected, old)

    def test_comments_hold_no_line_of_the_old_file(self):
        """What it quotes of the old file stays within the comment."""
        old = LISTEN + ('log = "x\\n[Proxy]\\u2028[Log]\\u001b[31m"\n' + ROUTE
                        + '[[route]]\npath = "/a\\u0085b%s"\n' % ('c ' * 200) + host(addr='"h"'))
        text = self.convert(old)
        self.assertIn(r'log = "x\n[Proxy]\u2028[Log]\u001b[31m"', text)
        self.assertTrue(all(line.isprintable() for line in text.splitlines()))
        self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_name_of_the_file_stays_within_the_comment(self):
        path = self.write(LISTEN + ROUTE, 'old\n[Proxy]\x1b\udcff.conf')
        run = run_import(path)
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn(b'old\\u000a[Proxy]\\u001b\\xff.conf', run.stdout)
        self.check(run.stdout.decode())


if __name__ == '__main__':
    tap.main()
