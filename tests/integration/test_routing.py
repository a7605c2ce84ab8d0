#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which route a request path leads to."""

from harness import tap
from harness.case import group, IntegrationTest, route_group


def naming_answer(name):
    """A route whose answer tells the dialplan which route it was."""
    return group('Answer', name, f'Commands=SET VARIABLE ROUTE {name}')


def answer_route(name, path):
    return naming_answer(name) + route_group(name, path, [], f'Answer={name}')


ROUTES = [answer_route('parent', 'a/b'), answer_route('child', 'a/b/c/d'),
          answer_route('good', 'good'), answer_route('blank', 'with blank'),
          answer_route('utf8', 'caf\u00e9')]


class Routing(IntegrationTest):
    def route_of(self, path):
        """The name of the route that took the call; None when none did."""
        client = self.call(b'agi://h' + path)
        status = client.wait()
        route = client.variables.get('ROUTE')
        if route is None:
            self.assertEqual((status, client.agitator_status), ('FAILURE', 'NOROUTE'),
                             client.describe())
        return route

    def check(self, expected):
        found = {path: self.route_of(path) for path in expected}
        self.assertEqual(found, expected)

    def test_exact_path_and_its_children_match(self):
        self.start_proxy(*ROUTES)
        self.check({b'/a/b': 'parent', b'/a/b/c': 'parent', b'/a/b/x/y/z': 'parent',
                    b'/good': 'good', b'/good/x': 'good'})

    def test_longest_route_wins(self):
        self.start_proxy(*ROUTES)
        self.check({b'/a/b/c/d': 'child', b'/a/b/c/d/e': 'child', b'/a/b/c/de': 'parent'})

    def test_whole_segments_and_case_are_compared(self):
        self.start_proxy(*ROUTES)
        self.check({b'/a/bc': None, b'/a': None, b'/goodx': None, b'/GOOD': None, b'/A/b': None,
                    b'/': None, b'': None})

    def test_query_and_fragment_are_no_part_of_the_path(self):
        self.start_proxy(*ROUTES)
        self.check({b'/good?x=/a/b': 'good', b'/good/?x': 'good', b'/good#a/b': 'good',
                    b'/?good': None})

    def test_path_is_decoded_once(self):
        self.start_proxy(*ROUTES)
        self.check({b'/g%6Fod/x': 'good', b'/%67ood': 'good', b'/g%256Fod': None,
                    b'/with%20blank/x': 'blank', b'/with blank': 'blank',
                    b'/caf%C3%A9': 'utf8', b'/caf\xc3\xa9': 'utf8', b'/caf%c3%a9/x': 'utf8'})

    def test_what_is_no_escape_stays_as_it_is(self):
        self.start_proxy(*ROUTES, answer_route('percent', 'p%zz'))
        self.check({b'/p%zz': 'percent', b'/good/%': 'good', b'/good/%4': 'good'})

    def test_one_trailing_slash_does_not_matter(self):
        self.start_proxy(*ROUTES)
        self.check({b'/good/': 'good', b'/a/b/': 'parent'})

    ODD = [b'/good/../a/b', b'/good/..', b'/../good', b'/good/./x', b'//good', b'/a//b',
           b'/good//x', b'/good%2Fx', b'/good%2f..', b'/%2e%2e/good', b'/good/%2E%2e/x',
           b'/good/%00', b'/good/\x01', b'/good/%0a', b'/good/x%7F']

    def test_odd_paths_match_no_named_route(self):
        self.start_proxy(*ROUTES)
        self.check(dict.fromkeys(self.ODD))

    def test_odd_paths_match_the_wildcard_and_the_log_says_so(self):
        self.start_proxy(*ROUTES, answer_route('rest', '*'))
        mark = self.proxy.log.mark()
        self.check(dict.fromkeys(self.ODD, 'rest'))
        self.proxy.wait_for_log(r'good/\.\./a/b', mark)
        self.proxy.wait_for_log(r'good%2Fx', mark)

    def test_wildcard_takes_the_rest(self):
        self.start_proxy(*ROUTES, answer_route('rest', '*'))
        self.check({b'/nosuch': 'rest', b'': 'rest', b'/': 'rest', b'/?x=y': 'rest',
                    b'/a/b/c': 'parent', b'/*': 'rest'})

    def test_without_wildcard_the_dialplan_learns_there_is_no_route(self):
        self.start_proxy(*ROUTES)
        self.assert_refused(self.call('agi://h/nosuch'), 'NOROUTE')

    def test_many_routes(self):
        answers = naming_answer('yes') + naming_answer('no')
        routes = [route_group('r%d' % i, 'r/%d/x' % i, [], 'Answer=' + ('yes' if i == 1234 else 'no'))
                  for i in range(3000)]
        self.start_proxy(answers, *routes)
        self.check({b'/r/1234/x': 'yes', b'/r/1234/x/y': 'yes', b'/r/1235/x': 'no',
                    b'/r/1234': None})

    def test_deep_path_costs_little(self):
        self.start_proxy(*ROUTES)
        before = self.proxy.cpu_seconds()
        self.check({b'/good' + b'/x' * 4000: 'good', b'/bad' + b'/x' * 4000: None})
        self.assertLess(self.proxy.cpu_seconds() - before, 1)


if __name__ == '__main__':
    tap.main()
