# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether each session that the load made is in the log, once.

A session is known by the address that its client is bound to, which is no other session's, or by
the request, whose path has the number of a run of bench-load and whose query that of the session.
"""

import collections
import re
import threading
import typing

from harness.logserver import is_session

RECORD = re.compile(r'session (?P<id>[0-9a-f]+) from (?P<client>\S+?):\d+(?: for (?P<request>\S+))?'
                    r': (?P<result>\w+)(?:, (?P<reason>[A-Z]+)\b)?')
SHOWN = 10


def name_of(client, request):
    """The name of a session, by what its record says."""
    if client != '127.0.0.1':
        return client
    return (request or 'nobody').partition('://')[2].partition('/')[2]


class Shipped(typing.NamedTuple):
    """What has to be kept of a session's record that came to the log server."""

    procid: str
    sequence: int
    session: str


def shipped(messages):
    return [Shipped(message.procid, message.sequence, message.data['session'])
            for message in messages if is_session(message)]


def find_records(lines):
    return [match for match in map(RECORD.search, lines) if match]


class Accounts:
    def __init__(self):
        self.lock = threading.Lock()
        self.made = {}  # name: the results that it may have had, or None
        self.problems = []

    def expect(self, name, results=None):
        """A session is begun; known by its record are, in `results`, words like served or NOROUTE."""
        with self.lock:
            if name in self.made:
                self.problems.append(f'two sessions are called {name}')
            self.made[name] = results

    def expect_run(self, path, sessions):
        """Those of a run of bench-load."""
        for i in range(sessions):
            self.expect('%s?id=%08d' % (path, i), {'served'})

    def count(self):
        with self.lock:
            return len(self.made)

    def check(self, lines, records):
        """Compares with the log, on stderr and as shipped() has it; returns the counts."""
        counts = self.check_console(lines)
        counts.update(self._check_shipped(find_records(lines), records))
        return counts

    def check_console(self, lines):
        """The same for stderr alone."""
        return self._check_console(find_records(lines))

    def _complain(self, what, names):
        names = list(names)
        if names:
            self.problems.append('%d %s: %s' % (len(names), what, ', '.join(names[:SHOWN])))

    def _check_console(self, records):
        seen = collections.Counter(name_of(record['client'], record['request'])
                                   for record in records)
        ids = collections.Counter(record['id'] for record in records)
        self._complain('sessions are not in the log', self.made.keys() - seen.keys())
        self._complain('records are of no session', seen.keys() - self.made.keys())
        self._complain('sessions have more than one record',
                       (name for name, n in seen.items() if n > 1))
        self._complain('numbers have been given twice', (id for id, n in ids.items() if n > 1))
        self._complain('sessions ended otherwise than they should', (
            record[0] for record in records
            if (wanted := self.made.get(name_of(record['client'], record['request'])))
            and not wanted & {record['result'], record['reason']}))
        return {'made': len(self.made), 'logged': len(records),
                'results': dict(collections.Counter(record['result'] for record in records))}

    def _check_shipped(self, records, messages):
        """What was sent again, as it has to be when nobody can know whether it came, has the number
        that it had."""
        unique = set(messages)
        seen = collections.Counter(message.session for message in unique)
        ids = {record['id'] for record in records}
        self._complain('records did not reach the log server', ids - seen.keys())
        self._complain('records of the log server are not in the log', seen.keys() - ids)
        self._complain('records came to the log server twice',
                       (id for id, n in seen.items() if n > 1))
        return {'shipped': len(unique), 'shipped_again': len(messages) - len(unique)}
