#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions that are silent cost next to nothing."""

import resource

from harness import tap
from harness.case import IntegrationTest
from harness.proxy import sanitizer

SESSIONS = 2000

# Resident bytes of the process for each of them, at most.
BOUND = 1.5 * 1024


class Idle(IntegrationTest):
    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = 4 * SESSIONS
        self.assertGreaterEqual(hard, needed, 'the limit of descriptors is too low for this test')
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))

    def open_many(self, server, n):
        opened = []
        for _ in range(n):
            client, session = self.open_session(server)
            self.assert_relayed(client, session)
            opened.append((client, session))
        return opened

    def test_memory_of_idle_sessions(self):
        server = self.make_server(None)
        self.start_one_route(server, log=['Sessions=none'])
        warm = self.open_many(server, 100)
        before = self.proxy.resident_bytes()
        sessions = self.open_many(server, SESSIONS)
        each = (self.proxy.resident_bytes() - before) / SESSIONS
        print(f'# {each:.0f} resident bytes for each of {SESSIONS} idle sessions')
        if sanitizer():
            print(f'# no bound: the program runs under a sanitizer or wrapper ({sanitizer()})')
        else:
            self.assertLessEqual(each, BOUND)
        for client, session in sessions[::100] + warm[:1]:
            self.assert_relayed(client, session)


if __name__ == '__main__':
    tap.main()
