#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same failure over and over is a few records and a count; nothing else is ever left out."""

import re

from harness import tap
from harness.case import Config, IntegrationTest, route_group, server_group, SESSION_RECORD
from harness.connection import refusing_authority

COUNT = re.compile(r'(\d+) more within ([\d.]+) s: (.*)$')


class Flood(IntegrationTest):
    def counts(self):
        return [COUNT.search(line) for line in self.proxy.log.items if COUNT.search(line)]

    def records(self, part=''):
        return [line for line in self.proxy.log.items
                if re.search(SESSION_RECORD, line) and part in line]

    def refuse(self, n, request='agi://h/nosuch'):
        for _ in range(n):
            self.assert_refused(self.call(request), 'NOROUTE')

    def start(self, *log, **options):
        self.start_proxy(server_group('one', self.make_server().address),
                         route_group('menu', 'menu', 'one'), log=list(log), **options)

    def test_failures_of_one_cause(self):
        self.start('RateLimitBurst=5', 'RateLimitInterval=1s')
        self.refuse(30)
        self.proxy.wait_for_log('more within')
        self.proxy.stop()
        left_out = sum(int(count[1]) for count in self.counts())
        self.assertEqual(left_out + len(self.records('NOROUTE')), 30)
        self.assertGreaterEqual(len(self.records('NOROUTE')), 5)
        self.assertLess(len(self.records('NOROUTE')), 12)
        for count in self.counts():
            self.assertEqual(count[3], 'sessions refused, NOROUTE')

    def test_each_cause_by_itself(self):
        sock, authority = refusing_authority()
        self.keep(sock)
        self.start_proxy(server_group('one', authority), route_group('menu', 'menu', 'one'),
                         log=['RateLimitBurst=3', 'RateLimitInterval=1h'])
        self.refuse(10)
        for _ in range(10):
            self.assert_refused(self.call('agi://h/menu'), 'NOSERVER')
        self.proxy.stop()
        self.assertEqual(len(self.records('NOROUTE')), 3)
        self.assertEqual(len(self.records('NOSERVER')), 3)
        self.assertEqual(sorted((count[1], count[3]) for count in self.counts()),
                         [('7', 'sessions refused, NOROUTE'),
                          ('7', 'sessions refused, NOSERVER, Connection refused, route menu')])

    def test_good_ones_are_never_left_out(self):
        self.start('RateLimitBurst=1')
        for _ in range(20):
            self.assert_success(self.call('agi://h/menu'))
        self.wait_for_records(20)
        self.proxy.stop()
        self.assertEqual(self.counts(), [])

    def test_clients_that_say_nothing(self):
        self.start('RateLimitBurst=4', 'RateLimitInterval=1h')
        for _ in range(20):
            self.connect().close()
        self.refuse(1)
        self.proxy.wait_for_log('NOROUTE')
        self.proxy.stop()
        self.assertEqual(len(self.records('abandoned')), 4)
        self.assertEqual(sum(int(count[1]) for count in self.counts()), 16)

    def test_strangers(self):
        self.start('RateLimitBurst=2', 'RateLimitInterval=1h', listener=['Allow=192.0.2.1'])
        for _ in range(8):
            self.assert_refused(self.call(), 'DENIED')
        self.proxy.stop()
        self.assertEqual(len(self.records('DENIED')), 2)
        self.assertEqual([count[1] for count in self.counts()], ['6'])

    def test_a_server_that_comes_and_goes(self):
        """Two events each time, and no more than the burst of each."""
        sock, authority = refusing_authority()
        self.keep(sock)
        dead, _, port = authority.rpartition(':')
        path = self.make_path('server')
        self.start_proxy(server_group('one', 'unix:' + path), route_group('all', '*', 'one'),
                         log=['RateLimitBurst=2', 'RateLimitInterval=1h'])
        for _ in range(6):
            self.assert_refused(self.call(), 'NOSERVER')
            server = self.make_server(path=path)
            self.assert_success(self.call())
            server.close()
        self.proxy.stop()
        for words, count in (("can't be reached", 4), ('is back', 4)):
            events = [line for line in self.proxy.log.items
                      if f'server one {words}' in line and 'more within' not in line]
            self.assertEqual(len(events), 2, events)
            self.assertEqual([int(found[1]) for found in self.counts() if words in found[3]],
                             [count])

    def test_odd_paths(self):
        self.start('RateLimitBurst=2', 'RateLimitInterval=1h')
        for n in range(6):
            self.refuse(1, f'agi://h/a/../{n}')
        self.proxy.stop()
        odd = [line for line in self.proxy.log.items if 'could climb' in line]
        self.assertEqual(len([line for line in odd if 'more within' not in line]), 2, odd)
        self.assertEqual(len([line for line in odd if ' 4 more within' in line]), 1, odd)

    def test_the_stop_tells_of_the_rest(self):
        self.start('RateLimitBurst=1', 'RateLimitInterval=1h')
        self.refuse(5)
        self.assertEqual(self.counts(), [])
        self.proxy.stop()
        self.assertEqual([count[1] for count in self.counts()], ['4'])

    def test_reload_lifts_the_limit(self):
        self.start('RateLimitBurst=1', 'RateLimitInterval=1h')
        self.refuse(3)
        text = Config(route_group('menu', 'menu', 'one'),
                      server_group('one', self.servers[0].address), log=['RateLimitBurst=infinity'])
        mark = self.proxy.reload(text.text)
        self.refuse(10)
        self.wait_for_records(10, mark)

    def test_mistakes_are_all_told(self):
        self.start('RateLimitBurst=1')
        mark = self.proxy.log.mark()
        self.proxy.write_config('[Proxy]\n' + ''.join(f'Wrong{n}=1\n' for n in range(50)))
        self.proxy.signal(1)
        self.proxy.wait_for_log('reload failed', mark)
        told = [line for line in self.proxy.log.items[mark:] if 'Unknown key' in line]
        self.assertGreaterEqual(len(told), 50)


if __name__ == '__main__':
    tap.main()
