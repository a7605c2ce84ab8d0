#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""`systemctl reload`: what it says, and what it does to the calls."""

import threading

from harness.case import route_group, server_group
from harness.service import CONFIG, ServiceTest
from harness.system_case import main, SUITE


class ReloadTest(ServiceTest):
    def setUp(self):
        super().setUp()
        self.old = self.make_server()
        self.new = self.make_server()

    def route_to(self, server, *more):
        self.service.write_config(server_group('one', server.address),
                                  route_group('all', '*', 'one'), *more)

    def start_routed(self):
        self.route_to(self.old)
        self.service.start()

    def assert_served_by(self, server):
        before = len(server.sessions)
        self.assert_success(self.call())
        self.assertEqual(len(server.sessions), before + 1)


class Reload(ReloadTest):
    def test_good(self):
        """When it returns, the new rules are in force; the process is the same."""
        self.start_routed()
        pid = self.service.pid()
        self.assert_served_by(self.old)
        for server in (self.new, self.old) * 5:
            self.route_to(server)
            run = self.service.reload()
            self.assertEqual((run.returncode, run.stderr), (0, ''))
            self.assert_served_by(server)
        self.assertEqual(self.service.pid(), pid)
        self.service.wait_for_log('reloaded: 1 listener, 1 route, 1 server')

    def test_bad(self):
        """It fails, says why where an operator looks, and leaves everything as it was."""
        self.start_routed()
        pid = self.service.pid()
        self.route_to(self.new, '[Route broken]\nPath=x\nServers=nowhere\n')
        run = self.service.reload()
        self.assertNotEqual(run.returncode, 0)
        self.assertIn('systemctl status', run.stderr)
        why = rf'{CONFIG}:\d+: \[Route broken\] Servers='
        self.assertRegex(self.service.status(), why)
        self.assertRegex(self.service.log_text(), why)
        self.assert_served_by(self.old)
        self.assertEqual((self.service.show('ActiveState'), self.service.pid()), ('active', pid))
        self.route_to(self.new)
        self.assertEqual(self.service.reload().returncode, 0)
        self.assert_served_by(self.new)

    def test_unreadable(self):
        self.start_routed()
        self.machine.run('chmod', '600', CONFIG)
        self.assertNotEqual(self.service.reload().returncode, 0)
        self.assertRegex(self.service.status(), rf'{CONFIG}: .*Permission denied')
        self.assert_served_by(self.old)

    def test_fifty_under_load(self):
        """No call is lost, and a session that goes on all the time doesn't notice."""
        held = self.make_server(None)
        rules = [server_group('held', held.address), route_group('held', 'held', 'held')]
        self.route_to(self.old, *rules)
        self.service.start()
        client = self.connect()
        client.send(b'agi_network: yes\nagi_request: agi://h/held\n\n')
        session = held.accept()
        session.read_environment()
        results = []

        def reload():
            for i in range(50):
                self.route_to((self.new, self.old)[i % 2], *rules)
                results.append(self.service.reload().returncode)

        reloads = threading.Thread(target=reload)
        reloads.start()
        n = 0
        while reloads.is_alive():
            for call in [self.call() for _ in range(10)]:
                self.assert_success(call)
                n += 1
        reloads.join()
        self.assertEqual(results, [0] * 50)
        self.assertEqual(len(self.old.sessions) + len(self.new.sessions), n)
        self.assertGreater(min(len(self.old.sessions), len(self.new.sessions)), 0)
        self.assert_relayed(client, session)
        self.assert_ends(client, session)


if SUITE != 'bookworm':  # its systemd, 252, doesn't know of this type
    class NotifyReload(ReloadTest):
        """Not the unit's way, for it knows no failure, but a drop-in may ask for it."""

        def start_routed(self):
            self.service.drop_in('Type=notify-reload', 'ExecReload=')
            super().start_routed()

        def test_good(self):
            self.start_routed()
            pid = self.service.pid()
            for server in (self.new, self.old) * 5:
                self.route_to(server)
                self.assertEqual(self.service.reload().returncode, 0)
                self.assert_served_by(server)
            self.assertEqual(self.service.pid(), pid)

        def test_bad(self):
            self.start_routed()
            self.route_to(self.new, '[Rout x]\n')
            self.assertEqual(self.service.reload().returncode, 0)
            self.assertRegex(self.service.status(), rf'Status: ".*{CONFIG}:\d+: ')
            self.assert_served_by(self.old)


if __name__ == '__main__':
    main()
