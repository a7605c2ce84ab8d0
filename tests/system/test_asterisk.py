#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Asterisk before agitator: what its dialplan sees, and the dialplan in data/doc."""

import os
import pathlib
import re

from harness.case import group, route_group, server_group
from harness.connection import refusing_authority, SilentServer
from harness.proxy import Proxy
from harness.real_asterisk import RealAsterisk
from harness.system_case import main, SystemTest
from harness.tls import Authority

TOP = pathlib.Path(__file__).resolve().parents[2]
EXAMPLE = '/etc/asterisk/agitator-extensions.conf'

MAIN, SECOND, STRICT = 4573, 4583, 4593  # ports

# The path is what follows `go` in the extension.
DIALPLAN = f'''
#include {EXAMPLE}

[raw]
exten => _go.,1,Answer()
 same => n,Set(AGITATOR_STATUS=)
 same => n,AGI(agi://127.0.0.1:${{PORT}}/${{EXTEN:2}},one,,three)
 same => n,Log(NOTICE,told: ${{EXTEN:2}}: ${{AGISTATUS}} "${{AGITATOR_STATUS}}" "${{SERVED}}")
 same => n,Hangup()
exten => h,1,Log(NOTICE,told: h: ${{AGISTATUS}} "${{AGITATOR_STATUS}}")

[lines]
exten => _go.,1,Set(CALLERID(name)=${{SHELL(yes x | head -n 600)}})
 same => n,Goto(raw,${{EXTEN}},1)

[whole]
exten => _go.,1,Answer()
 same => n,Gosub(agi,s,1(${{EXTEN:2}},some))
 same => n,Log(NOTICE,told: returned ${{GOSUB_RETVAL}})
 same => n,Hangup()
exten => h,1,Log(NOTICE,told: over)
'''


def variables(session):
    """The environment of a session, {name: value}."""
    return dict(re.findall(r'^agi_(\w+): (.*)$', session.environment.decode(), re.M))


class AsteriskTest(SystemTest):
    packages = ('asterisk',)
    boot = False
    systemd = False
    asterisk = None

    @classmethod
    def get_asterisk(cls):
        if not cls.asterisk:
            machine = cls.get_machine()
            machine.run('ip', 'link', 'set', 'lo', 'up')
            machine.write(EXAMPLE, (TOP / 'data/doc/extensions.conf').read_text(encoding='utf-8'))
            cls.asterisk = RealAsterisk(machine, DIALPLAN)
        return cls.asterisk

    @classmethod
    def tearDownClass(cls):
        if cls.asterisk:
            cls.asterisk.stop()
            cls.asterisk = None
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        self.asterisk = self.get_asterisk()
        self.asterisk.set(PORT=MAIN, AGITATOR='127.0.0.1', AGITATOR_SECOND='', AGITATOR_TRIES=3,
                          AGITATOR_PAUSE='0.1', AGITATOR_BUSY='beep', AGITATOR_SORRY='beep')
        self.address = ('127.0.0.1', MAIN)
        self.server = self.make_server(None)

    def tearDown(self):
        try:
            self.asterisk.hang_up_all()
        finally:
            super().tearDown()
            self.asterisk.wait_quiet()

    # agitator is built for this machine, and only its network is the other one's.

    def start(self, *groups, listen=MAIN, proxy=(), listener=()):
        text = ''.join([group('Proxy', '', *proxy), group('Log', '', 'Target=console'),
                        group('Listener', 'main', f'Listen=127.0.0.1:{listen}', *listener), *groups])
        proxy = self.machine.in_network(Proxy, text)
        self.proxies.append(proxy)
        return proxy

    def start_usual(self, *server_lines, **options):
        return self.start(server_group('one', self.server.address, *server_lines),
                          route_group('menu', 'menu', 'one'), **options)

    def get_dead_address(self):
        sock, authority = self.machine.in_network(refusing_authority)
        self.keep(sock)
        return authority

    def get_silent_address(self):
        return self.keep(self.machine.in_network(SilentServer)).authority

    def tell(self, extension, context='raw'):
        """What the dialplan tells of a call."""
        mark = self.asterisk.told.mark()
        self.asterisk.call(extension, context)
        return self.asterisk.wait_told('', mark)

    def call_and_accept(self, extension, context='raw'):
        """A call's session at the server, and where the dialplan's words of it begin."""
        mark = self.asterisk.told.mark()
        self.asterisk.call(extension, context)
        session = self.server.accept()
        session.read_environment()
        return session, mark

    # What AGI() leaves behind

    def test_served(self):
        self.start_usual()
        session, mark = self.call_and_accept('gomenu')
        environment = variables(session)
        self.assertEqual(environment['request'], f'agi://{self.server.authority}/menu')
        self.assertEqual([environment[f'arg_{i}'] for i in (1, 2, 3)], ['one', '', 'three'])
        self.assertEqual(session.command(b'GET VARIABLE EXTEN'), b'200 result=1 (gomenu)')
        self.assertEqual(session.command(b'SET VARIABLE SERVED yes'), b'200 result=1')
        session.end()
        self.assertEqual(self.asterisk.wait_told('', mark), 'menu: SUCCESS "" "yes"')

    def test_noroute(self):
        self.start_usual()
        self.assertEqual(self.tell('goother'), 'other: FAILURE "NOROUTE" ""')

    def test_noserver(self):
        self.start(server_group('one', self.get_dead_address()), route_group('menu', 'menu', 'one'))
        self.assertEqual(self.tell('gomenu'), 'menu: FAILURE "NOSERVER" ""')

    def test_full(self):
        self.start_usual('MaxSessions=1')
        first, mark = self.call_and_accept('gomenu')
        self.assertEqual(self.tell('gomenu'), 'menu: FAILURE "FULL" ""')
        first.end()
        self.assertEqual(self.asterisk.wait_told('SUCCESS', mark), 'menu: SUCCESS "" ""')

    def test_timeout(self):
        self.start(server_group('one', self.get_silent_address()), route_group('menu', 'menu', 'one'),
                   proxy=['SetupTimeout=300ms'])
        self.assertEqual(self.tell('gomenu'), 'menu: FAILURE "TIMEOUT" ""')

    def test_denied(self):
        self.start_usual(listener=['Allow=192.0.2.0/24'])
        self.assertEqual(self.tell('gomenu'), 'menu: FAILURE "DENIED" ""')

    def test_badrequest(self):
        """A caller's name of 600 lines."""
        self.start_usual()
        self.assertEqual(self.tell('gomenu', 'lines'), 'menu: FAILURE "BADREQUEST" ""')

    def test_reason_can_be_left_out(self):
        self.start_usual(proxy=['ReportStatus=no'])
        self.assertEqual(self.tell('goother'), 'other: FAILURE "" ""')

    def test_fallback(self):
        self.start(server_group('one', self.get_dead_address()),
                   route_group('menu', 'menu', 'one', 'Fallback=sorry'),
                   group('Answer', 'sorry', 'Commands=SET VARIABLE SERVED "by agitator"'))
        self.assertEqual(self.tell('gomenu'), 'menu: SUCCESS "" "by agitator"')

    def test_nothing_listens(self):
        self.assertEqual(self.tell('gomenu'), 'menu: FAILURE "" ""')

    def test_server_says_failure(self):
        self.start_usual()
        session, mark = self.call_and_accept('gomenu')
        session.send(b'FAILURE\n')
        session.end()
        self.assertEqual(self.asterisk.wait_told('', mark), 'menu: FAILURE "" ""')

    def test_server_breaks_off(self):
        """In the middle of a command, which is not executed then."""
        self.start_usual()
        session, mark = self.call_and_accept('gomenu')
        session.command(b'SET VARIABLE SERVED half')
        session.send(b'SET VARIABLE SERVED wh')
        session.reset()
        self.assertEqual(self.asterisk.wait_told('', mark), 'menu: FAILURE "" "half"')

    def test_two_commands_at_once(self):
        """Asterisk alone would stall on the second."""
        self.start_usual()
        session, mark = self.call_and_accept('gomenu')
        session.send(b'SET VARIABLE SERVED one\nGET VARIABLE SERVED\n')
        self.assertEqual(session.read_line(), b'200 result=1\n')
        self.assertEqual(session.read_line(), b'200 result=1 (one)\n')
        session.end()
        self.assertEqual(self.asterisk.wait_told('', mark), 'menu: SUCCESS "" "one"')

    def test_caller_hangs_up(self):
        self.start_usual()
        session, mark = self.call_and_accept('gomenu')
        self.asterisk.hang_up_all()
        self.assertEqual(session.read_line(), b'HANGUP\n')
        self.assertIn(b'511', session.command(b'ANSWER'))
        self.assertEqual(session.command(b'SET VARIABLE SERVED yes'), b'200 result=1')
        self.assertEqual(session.end(), b'HANGUP\n')
        self.assertEqual(self.asterisk.wait_told('', mark), 'h: HANGUP ""')

    def test_many_calls(self):
        self.start_usual()
        mark = self.asterisk.told.mark()
        for _ in range(20):
            self.asterisk.call('gomenu', 'raw')
        sessions = [self.server.accept() for _ in range(20)]
        for session in sessions:
            session.read_environment()
        channels = {variables(session)['channel'] for session in sessions}
        for session in sessions:
            session.end()
        for _ in sessions:
            mark = self.asterisk.told.wait(re.compile('menu: SUCCESS').match, 'the end of all', mark) + 1
        self.assertEqual(len(channels), 20)

    # Another agitator in between

    def start_pair(self, *far_server_lines):
        """One beside Asterisk, in TLS to one before the server."""
        os.mkdir(self.make_path('ca'))
        ca = Authority(self.make_path('ca'))
        self.start(server_group('one', self.server.address, *far_server_lines),
                   route_group('menu', 'menu', 'one'), listen=SECOND,
                   proxy=['ForwardedFor=yes', 'TrustForwardedFor=127.0.0.1'],
                   listener=['TLS=yes', 'Certificate=' + ca.issue('server')])
        self.start(server_group('far', f'127.0.0.1:{SECOND}', 'TLS=yes',
                                'CAFile=' + ca.certificate),
                   route_group('all', '*', 'far'), proxy=['ForwardedFor=yes'])

    def test_pair_in_tls(self):
        self.start_pair()
        session, mark = self.call_and_accept('gomenu')
        self.assertRegex(variables(session)['x_fwd_for'], r'^127\.0\.0\.1:\d+, 127\.0\.0\.1:\d+$')
        session.command(b'SET VARIABLE SERVED far')
        session.end()
        self.assertEqual(self.asterisk.wait_told('', mark), 'menu: SUCCESS "" "far"')

    def test_refusal_of_the_far_one(self):
        self.start_pair('MaxSessions=1')
        self.assertEqual(self.tell('goother'), 'other: FAILURE "NOROUTE" ""')
        first, _ = self.call_and_accept('gomenu')
        self.assertEqual(self.tell('gomenu'), 'menu: FAILURE "FULL" ""')
        first.end()

    def test_hangup_through_both(self):
        self.start_pair()
        session, mark = self.call_and_accept('gomenu')
        self.asterisk.hang_up_all()
        self.assertEqual(session.read_line(), b'HANGUP\n')
        self.assertEqual(session.end(), b'HANGUP\n')
        self.assertEqual(self.asterisk.wait_told('', mark), 'h: HANGUP ""')

    def test_plain_call_to_a_tls_port(self):
        self.start_pair()
        self.asterisk.set(PORT=SECOND)
        self.assertEqual(self.tell('gomenu'), 'menu: FAILURE "" ""')

    # The example

    def test_example_loads(self):
        mark = self.asterisk.log.mark()
        self.asterisk.run('dialplan reload')
        self.assertIn("'FULL'", self.asterisk.run('dialplan show agi'))
        self.assertEqual([line for line in self.asterisk.log.items[mark:]
                          if re.search('WARNING|ERROR', line)], [])
        self.asterisk.globals.clear()  # they are as in the file again

    def test_example_has_no_word_for_it(self):
        self.start(group('Answer', 'odd', 'Commands=SET VARIABLE AGITATOR_STATUS ODD',
                         'Result=failure'), group('Route', 'odd', 'Path=odd', 'Answer=odd'))
        self.assertEqual(self.tell('goodd', 'whole'), 'returned ODD')

    def test_example_served(self):
        self.start_usual()
        session, mark = self.call_and_accept('gomenu', 'whole')
        self.assertEqual(variables(session)['arg_1'], 'some')
        session.end()
        self.assertEqual(self.asterisk.wait_told('', mark), 'returned SUCCESS')
        self.assertEqual(self.asterisk.wait_told('', mark + 1), 'over')

    def test_example_tries_again_when_full(self):
        self.start_usual('MaxSessions=1')
        first, mark = self.call_and_accept('gomenu')
        log = self.asterisk.log.mark()
        self.asterisk.call('gomenu', 'whole')
        self.asterisk.log.wait(re.compile('AGI menu at 127.0.0.1: FAILURE FULL').search,
                               'the first refusal', log)
        first.end()
        session = self.server.accept()
        session.read_environment()
        session.end()
        self.asterisk.wait_told('returned SUCCESS', mark)

    def test_example_gives_up_when_full(self):
        self.asterisk.set(AGITATOR_TRIES=2)
        self.start_usual('MaxSessions=1')
        first, mark = self.call_and_accept('gomenu')
        log = self.asterisk.log.mark()
        self.asterisk.call('gomenu', 'whole')
        self.asterisk.wait_told('returned FULL', mark)
        refusals = [line for line in self.asterisk.log.items[log:] if 'FAILURE FULL' in line]
        self.assertEqual(len(refusals), 2)
        first.end()

    def test_example_asks_the_second(self):
        """When none of the servers can be reached, when none in time, when no agitator runs."""
        self.start_usual(listen=SECOND)
        self.asterisk.set(AGITATOR_SECOND=f'127.0.0.1:{SECOND}')
        for address, lines in ((None, []), (self.get_dead_address(), []),
                               (self.get_silent_address(), ['SetupTimeout=100ms'])):
            if address:
                self.start(server_group('one', address), route_group('menu', 'menu', 'one'),
                           proxy=lines)
            session, mark = self.call_and_accept('gomenu', 'whole')
            session.end()
            self.asterisk.wait_told('returned SUCCESS', mark)
            if address:
                self.proxies.pop().stop()

    def test_example_has_no_second(self):
        self.asterisk.set(AGITATOR_SORRY='tt-somethingwrong')
        self.start(server_group('one', self.get_dead_address()), route_group('menu', 'menu', 'one'))
        self.assertEqual(self.tell('gomenu', 'whole'), 'returned NOSERVER')

    def test_example_asks_nobody_where_it_is_no_use(self):
        self.asterisk.set(AGITATOR_SECOND=f'127.0.0.1:{SECOND}')
        self.start_usual()
        log = self.asterisk.log.mark()
        self.assertEqual(self.tell('goother', 'whole'), 'returned NOROUTE')
        self.asterisk.log.wait(re.compile('ERROR.*no route for other').search, 'an error', log)

    def test_example_does_no_thing_twice(self):
        """A session that had begun is not begun again."""
        self.asterisk.set(AGITATOR_SECOND=f'127.0.0.1:{SECOND}')
        self.start_usual()
        session, mark = self.call_and_accept('gomenu', 'whole')
        session.command(b'SET VARIABLE AGI_BEGUN yes')
        session.reset()
        self.assertEqual(self.asterisk.wait_told('', mark), 'returned FAILURE')

    def test_example_when_the_caller_hangs_up(self):
        """The server for `over` hears of it."""
        over = self.make_server(None)
        self.start(server_group('one', self.server.address), server_group('two', over.address),
                   route_group('menu', 'menu', 'one'), route_group('over', 'over', 'two'))
        session, _ = self.call_and_accept('gomenu', 'whole')
        self.asterisk.hang_up_all()
        self.assertEqual(session.read_line(), b'HANGUP\n')
        session.end()
        last = over.accept()
        last.read_environment()
        self.assertEqual([variables(last)[f'arg_{i}'] for i in (1, 2)], ['menu', 'HANGUP'])
        self.assertEqual(last.command(b'SET VARIABLE LAST yes'), b'200 result=1')
        last.end()

    def test_refusal_on_a_channel_that_is_hung_up(self):
        self.start_usual()
        session, _ = self.call_and_accept('gomenu', 'whole')
        log = self.asterisk.log.mark()
        self.asterisk.hang_up_all()
        session.read_line()
        session.end()
        self.asterisk.log.wait(re.compile('AGI over: FAILURE NOROUTE').search, 'the refusal', log)


if __name__ == '__main__':
    main()
