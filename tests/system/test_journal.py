#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real journal has of it: each record with its fields, found by them, explained by the
catalog, and nothing in it that a peer has forged."""

import datetime
import json
import os
import re
import signal
import time

from harness.asterisk import environment
from harness.case import group, route_group, server_group
from harness.connection import refusing_authority
from harness.logserver import StreamLogServer
from harness.service import CONFIG, ServiceTest
from harness.system_case import main
from harness.waiting import TIMEOUT, wait_until

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')

# What no output of journalctl may have of what a peer has sent.
HARMFUL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd]')

EVIL = b'\x1b[31mred\x07\r\x9b\xff\xe2\x80\xa8\xe2\x80\xae\xc2\x85\xf0\x9f'
SHOWN = r'\x1b[31mred\x07\x0d\x9b\xff\xe2\x80\xa8\xe2\x80\xae\xc2\x85\xf0\x9f'


def read_tree(name):
    with open(os.path.join(TREE, name), encoding='utf-8') as file:
        return file.read()


def ids():
    """{name: message id} of each kind of record."""
    return dict(re.findall(r'#define LOG_ID_(\w+)\s+"(\w+)"', read_tree('src/base/log-id.h')))


class JournalTest(ServiceTest):
    calls = 0

    def start(self, *groups, log=(), **options):
        self.service.write_config(group('Log', '', *log), *groups, **options)
        self.service.start()
        # A cursor and fields can't be asked for together: journalctl leaves out the first match.
        self.mine = '_SYSTEMD_INVOCATION_ID=' + self.service.show('InvocationID')

    def start_menu(self, server, *lines, log=()):
        self.start(server_group('ivr-1', server.address), route_group('menu', 'menu', 'ivr-1', *lines),
                   log=log)

    def call_as(self, request='agi://h/menu', **values):
        """A whole call with a unique id that no other one has; that id."""
        JournalTest.calls += 1
        uniqueid = f'{time.time():.3f}.{JournalTest.calls}'
        client = self.call(block=environment(request, uniqueid=uniqueid, **values))
        client.wait()
        return uniqueid

    def records(self, *arguments):
        """The records that journalctl finds, with all their fields, of this start of the service."""
        text = self.machine.journal('-o', 'json', '--all', self.mine, *arguments)
        return [json.loads(line) for line in text.splitlines()]

    def wait_records(self, n, *arguments):
        return wait_until(lambda: (lambda found: len(found) >= n and found)(
            self.records(*arguments)), f'{n} records of {arguments}', pause=0.05)

    def wait_record(self, *arguments):
        found = self.wait_records(1, *arguments)
        self.assertEqual(len(found), 1, found)
        return found[0]

    def explain(self, *arguments):
        """What `journalctl -x` says."""
        return self.machine.journal('-x', self.mine, *arguments)


class Fields(JournalTest):
    def assert_fields(self, record, **fields):
        self.assertEqual({name: record.get('AGITATOR_' + name.upper()) for name in fields}, fields)

    def test_session(self):
        self.start_menu(self.make_server())
        uniqueid = self.call_as('agi://h/menu?x=y', channel='SIP/alice-1', callerid='17')
        record = self.wait_record('AGITATOR_UNIQUEID=' + uniqueid)
        self.assert_fields(record, request='agi://h/menu?x=y', uniqueid=uniqueid,
                           channel='SIP/alice-1', callerid='17', route='menu', server='ivr-1',
                           listener='plain', result='served', ended_by='server', state='relaying',
                           agistatus='SUCCESS', last_command='SET VARIABLE SERVED yes',
                           commands='2', replies='2', reason=None, error=None)
        self.assertEqual((record['MESSAGE_ID'], record['PRIORITY'], record['SYSLOG_IDENTIFIER'],
                          record['_SYSTEMD_UNIT'], record['_TRANSPORT']),
                         (ids()['SESSION'], '6', 'agitator', 'agitator.service', 'journal'))
        for name in ('DURATION_USEC', 'BYTES_IN', 'BYTES_OUT'):
            self.assertGreater(int(record['AGITATOR_' + name]), 0)
        self.assertLessEqual(int(record['AGITATOR_SETUP_USEC']),
                             int(record['AGITATOR_DURATION_USEC']))
        self.assertRegex(record['AGITATOR_CLIENT'], r'^127\.0\.0\.1:\d+$')
        self.assertIn(record['AGITATOR_SESSION'], record['MESSAGE'])

    def test_failures(self):
        sock, authority = self.machine.in_network(refusing_authority)
        self.keep(sock)
        broken = self.make_server(lambda s: (s.read_environment(), s.command(b'EXEC Dial SIP/x'),
                                             s.reset()))
        self.start(server_group('down', authority), server_group('ivr-1', broken.address),
                   route_group('down', 'down', 'down'), route_group('menu', 'menu', 'ivr-1'))
        refused = self.wait_record('AGITATOR_UNIQUEID=' + self.call_as('agi://h/down'))
        self.assert_fields(refused, result='refused', reason='NOSERVER', route='down', server=None,
                           error='Connection refused', ended_by='agitator', state='choosing',
                           agistatus='FAILURE')
        cut_off = self.wait_record('AGITATOR_UNIQUEID=' + self.call_as('agi://h/menu'))
        self.assert_fields(cut_off, result='broken', server='ivr-1', ended_by='server',
                           error='Connection reset by peer', last_command='EXEC Dial SIP/x',
                           agistatus='FAILURE', reason=None)
        for record in refused, cut_off:
            self.assertEqual((record['MESSAGE_ID'], record['PRIORITY']),
                             (ids()['SESSION_FAILED'], '4'))
        down = self.wait_record('MESSAGE_ID=' + ids()['SERVER_DOWN'])
        self.assert_fields(down, server='down', error='Connection refused')
        self.assertEqual(len(self.records('AGITATOR_RESULT=refused', 'AGITATOR_RESULT=broken')), 2)
        self.assertEqual(self.records('AGITATOR_SERVER=ivr-1'), [cut_off])
        self.assertEqual(len(self.records('AGITATOR_SERVER=down')), 1)

    def test_mistake_in_the_configuration(self):
        self.start_menu(self.make_server())
        self.machine.write(CONFIG, '[Proxy]\nThread=1\n')
        self.assertNotEqual(self.service.reload().returncode, 0)
        found = self.wait_records(2, 'MESSAGE_ID=' + ids()['RELOAD_FAILED'])
        place = [(record.get('CONFIG_FILE'), record.get('CONFIG_LINE')) for record in found]
        self.assertIn((CONFIG, '2'), place)

    def test_debugging(self):
        self.start_menu(self.make_server(), log=['Debug=route:menu'])
        uniqueid = self.call_as('agi://h/menu?pin=4711')
        said = self.wait_records(20, 'AGITATOR_UNIQUEID=' + uniqueid,
                                 'MESSAGE_ID=' + ids()['DIALOGUE'])
        lines = [(record['AGITATOR_DIRECTION'], record['AGITATOR_LINE']) for record in said]
        self.assertIn(('C->S', 'agi_request: agi://h/menu?pin=***'), lines)
        self.assertIn(('S->C', 'SET VARIABLE SERVED yes'), lines)
        times = [int(record['AGITATOR_ELAPSED_USEC']) for record in said]
        self.assertEqual(times, sorted(times))
        self.assertEqual({record['PRIORITY'] for record in said}, {'7'})
        steps = self.records('AGITATOR_UNIQUEID=' + uniqueid, 'MESSAGE_ID=' + ids()['STEP'])
        self.assertIn('relaying', {record['AGITATOR_STATE'] for record in steps})

    def test_flood(self):
        self.start_menu(self.make_server(), log=['RateLimitBurst=3', 'RateLimitInterval=1s'])
        for _ in range(20):
            self.call_as('agi://h/nosuch')
        count = self.wait_records(1, 'MESSAGE_ID=' + ids()['REPEATED'])[0]
        self.assert_fields(count, result='refused', reason='NOROUTE', listener='plain',
                           repeated_id=ids()['SESSION_FAILED'])
        self.service.stop()
        counted = sum(int(record['AGITATOR_REPEATED'])
                      for record in self.records('MESSAGE_ID=' + ids()['REPEATED']))
        self.assertEqual(counted + len(self.records('MESSAGE_ID=' + ids()['SESSION_FAILED'])), 20)

    def test_record_that_is_too_long_for_a_datagram(self):
        """Escaped it has more than 200 KB, and goes as a file."""
        self.start_menu(self.make_server())
        value = b'\x01' * 12000
        uniqueid = b'long' + value
        self.call(block=environment(b'agi://h/menu?' + value, uniqueid=uniqueid, channel=value,
                                    callerid=value)).wait()
        record = self.wait_record('AGITATOR_UNIQUEID=long' + r'\x01' * 12000)
        self.assertEqual(record['AGITATOR_CHANNEL'], r'\x01' * 12000)
        self.assertEqual(record['AGITATOR_RESULT'], 'served')


class Catalog(JournalTest):
    def test_each_kind_is_there(self):
        listed = self.machine.run('journalctl', '--list-catalog').stdout
        for name, number in ids().items():
            self.assertRegex(listed, f'(?m)^{number} agitator: ', name)

    def assert_explained(self, name, *parts):
        text = self.explain('MESSAGE_ID=' + ids()[name])
        head = re.search(r'^(?:--|░░) Subject: (.*)$', text, re.M)
        self.assertTrue(head, text)
        self.assertNotIn('AGITATOR_', head[1])  # a variable without its field
        self.assertIn('Defined-By: agitator', text)
        self.assertIn('Documentation: man:agitator', text)
        for part in parts:
            self.assertIn(part, text)

    def test_shown_with_the_records(self):
        sock, authority = self.machine.in_network(refusing_authority)
        self.keep(sock)
        self.start(server_group('ivr-1', self.make_server().address),
                   server_group('down', authority), route_group('down', 'down', 'down'),
                   route_group('menu', 'menu', 'ivr-1'),
                   log=['Debug=route:menu', 'RateLimitBurst=1', 'RateLimitInterval=1s'])
        self.call_as('agi://h/menu')
        for _ in range(3):
            self.call_as('agi://h/down')
        self.call_as('agi://h/a/../b')
        sock.listen(5)
        server = self.make_server(sock=sock)
        self.call_as('agi://h/down')
        self.assertEqual(len(server.sessions), 1)
        self.wait_records(1, 'MESSAGE_ID=' + ids()['REPEATED'])
        self.service.reload()
        self.service.stop()

        for record in self.records('SYSLOG_IDENTIFIER=agitator'):
            self.assertIn(record.get('MESSAGE_ID'), ids().values(), record)
        self.assert_explained('READY', 'agitator takes calls')
        self.assert_explained('SESSION', 'served. Ended by: server, while relaying.',
                              'journalctl -o verbose AGITATOR_SESSION=')
        self.assert_explained('SESSION_FAILED', 'refused. Ended by: agitator, while choosing.',
                              'NOSERVER    none of the route')
        self.assert_explained('SERVER_DOWN', "Subject: Server down can't be reached",
                              'See that the server runs')
        self.assert_explained('SERVER_UP', 'Subject: Server down can be reached again')
        self.assert_explained('ODD_PATH', 'correct the URL there')
        self.assert_explained('REPEATED', 'The same again, ', 'RateLimitBurst=infinity')
        self.assert_explained('DIALOGUE', 'systemctl reload agitator')
        self.assert_explained('STEP', 'systemctl reload agitator')
        self.assert_explained('RELOADED', 'sessions that')
        self.assert_explained('STOPPING', 'StopTimeout=')
        self.assert_explained('STOPPED', 'AGITATOR_RESULT=cut')

    def start_with_all_that_can_be_wrong(self, log_server):
        """A server with room for one, one without an address, one that no route uses, a log server
        that isn't there, and a certificate that ends soon."""
        ca = self.make_authority()
        soon = datetime.date.today() + datetime.timedelta(days=10)
        self.give_key(ca.issue('server', end=soon.strftime('%Y%m%d')), mode=0o644)
        one = self.make_server(None)
        self.start(server_group('one', one.address, 'MaxSessions=1'),
                   server_group('nowhere', 'ivr.nowhere.example'),
                   server_group('unused', '127.0.0.1:9'),
                   route_group('menu', 'menu', 'one'), route_group('lost', 'lost', 'nowhere'),
                   group('Syslog', 'central', 'Address=tcp:' + log_server, 'Queue=1'),
                   self.tls_listener('Listen=127.0.0.1:4574',
                                     'Certificate=/etc/agitator/tls/cert.pem',
                                     'PrivateKey=/etc/agitator/tls/key.pem'),
                   proxy=['MaxSessions=2'])
        return one

    def wait_kind(self, name):
        return self.wait_records(1, 'MESSAGE_ID=' + ids()[name])[0]

    def test_shown_with_what_goes_wrong(self):
        """The kinds that are not of every day."""
        sock, authority = self.machine.in_network(refusing_authority)
        one = self.start_with_all_that_can_be_wrong(authority)
        self.wait_kind('SYSLOG_DOWN')
        held = self.open_session(one, environment('agi://h/menu'))
        self.assert_refused(self.call('agi://h/menu'), 'FULL')
        self.wait_kind('SERVER_FULL')
        idle = self.connect()
        idle.send(b'agi_network: yes\n')
        self.assertEqual(self.call('agi://h/menu').wait(), 'FAILURE')
        self.wait_kind('LIMIT')
        idle.close()
        self.assert_ends(*held)
        self.assert_refused(self.call('agi://h/lost'), 'NOSERVER')
        sock.listen(5)
        log_server = StreamLogServer(sock=sock)
        self.addCleanup(log_server.close)
        self.wait_kind('SYSLOG_UP')
        dropped = self.wait_kind('SYSLOG_DROPPED')['AGITATOR_DROPPED']

        self.machine.run('agitatorctl', 'upgrade')
        self.wait_kind('UPGRADED')
        self.machine.write(CONFIG, '[Sevrer x]\n')
        self.assertNotEqual(self.service.reload().returncode, 0)
        self.assertNotEqual(self.machine.run('agitatorctl', 'upgrade', check=False).returncode, 0)
        self.service.stop()

        self.assert_explained('CERTIFICATE', 'within 30 days')
        self.assert_explained('CONFIG_WARNING', 'systemctl reload agitator')
        self.assert_explained('RESOLVE_FAILED', 'Subject: The name of server nowhere: no address',
                              'getent ahosts NAME')
        self.assert_explained('SERVER_FULL', 'Subject: Server one has as many sessions')
        self.assert_explained('LIMIT', 'AGITATOR_STATUS is FULL', 'LimitNOFILE=')
        self.assert_explained('SYSLOG_DOWN', "Subject: The log server central can't be reached",
                              '[Syslog central]')
        self.assert_explained('SYSLOG_UP', 'Subject: The log server central is back')
        self.assert_explained('SYSLOG_DROPPED', f'Subject: {dropped} log records for central were')
        self.assert_explained('UPGRADED', 'No call was refused or cut')
        self.assert_explained('RELOAD_FAILED', 'systemctl reload-or-restart agitator')
        self.assert_explained('UPGRADE_FAILED', 'agitator --check-config')


class Questions(JournalTest):
    """Those of the manual, each as it stands there, but for the values that are of one call."""

    def read(self):
        """[(what is asked, command)]"""
        page = read_tree('data/man/agitator.8.rst')
        part = re.search(r'Questions to the journal\n-+\n(.*?\n)\w+\n-----', page, re.S)[1]
        found = re.findall(r'(?m)^((?:\S.*\n)+)\n((?:    .*\n)+)', part)
        return [(' '.join(what.split()), re.sub(r'\s*\\\n\s*', ' ', command).strip())
                for what, command in found]

    def ask(self, command, **replace):
        for old, new in replace.items():
            self.assertIn(old, command)
            command = command.replace(old, new)
        self.machine.run('journalctl', '--sync')
        return self.machine.run('sh', '-c', command.replace('journalctl', 'journalctl --no-pager -q'
                                                            )).stdout

    def test_all(self):
        def behave(session):
            block = session.read_environment()
            if b'broken' in block:
                session.command(b'STREAM FILE tt-weasels ""')
                session.reset()
            elif b'hung-up' in block:
                session.command(b'GET DATA main-menu 5000 1')
                session.read_line()
                session.end()
            else:
                session.command(b'NOOP well')
                session.end()

        server = self.make_server(behave)
        self.start_menu(server, log=['RateLimitBurst=5', 'RateLimitInterval=1h'])
        well = self.call_as()
        self.call_as('agi://h/menu/broken')
        hung_up = self.call(block=environment('agi://h/menu/hung-up', uniqueid='17.4'),
                            reply=lambda command: b'200 result=-1\nHANGUP\n')
        hung_up.wait()
        for _ in range(9):
            self.call_as('agi://h/nosuch')
        server.stop_listening()
        self.call_as()
        self.machine.write(CONFIG, '[Sevrer x]\n')
        self.service.reload()
        self.service.stop()

        questions = self.read()
        self.assertEqual(len(questions), 10, questions)
        session = self.records('AGITATOR_UNIQUEID=' + well)[0]['AGITATOR_SESSION']
        answers = iter(questions)

        def answer(word, **replace):
            what, command = next(answers)
            self.assertIn(word, what)
            text = self.ask(command, **replace)
            print(f'# {command}: {len(text.splitlines())} lines')
            self.assertTrue(text.strip(), command)
            return text

        text = answer('wrong since yesterday')
        for part in ('has failed', "server ivr-1 can't be reached", 'See that the server runs',
                     'Unknown group'):
            self.assertIn(part, text)
        self.assertNotIn('NOOP well', text)
        text = answer('one call', **{'1763885000.17': well})
        self.assertIn('AGITATOR_LAST_COMMAND=NOOP well', text)
        self.assertEqual(text.count('MESSAGE_ID='), 1)
        self.assertIn(session, answer('its session', **{'660ee5fde5ba500': session}))
        text = answer('failed today')
        self.assertEqual(len(text.splitlines()), 1 + 5 + 1)
        text = answer('for each server')
        self.assertRegex(text, r'(?m)^ *1 ivr-1$')
        text = answer('Since when')
        self.assertRegex(text, r"server ivr-1 can't be reached: Connection refused")
        text = answer('broke off')
        for part in ('AGITATOR_LAST_COMMAND=STREAM FILE tt-weasels',
                     'AGITATOR_ERROR=Connection reset by peer'):
            self.assertIn(part, text)
        text = answer('hung up')
        self.assertIn('the last: GET DATA main-menu', text)
        self.assertEqual(len(text.splitlines()), 1)
        self.assertRegex(answer('flood'), '4 more within .*: sessions refused, NOROUTE')
        self.assertIn('[Sevrer x]: Unknown group', answer('configuration was changed'))


class Forgeries(JournalTest):
    def test_nothing_harmful_is_printed(self):
        self.start_menu(self.make_server(lambda s: (s.read_environment(),
                                                    s.command(b'NOOP ' + EVIL), s.end())),
                        log=['Debug=route:menu'])
        self.call(block=environment(b'agi://h/menu?' + EVIL, uniqueid=b'evil' + EVIL, channel=EVIL,
                                    callerid=EVIL)).wait()
        record = self.wait_record('AGITATOR_UNIQUEID=evil' + SHOWN, 'MESSAGE_ID=' + ids()['SESSION'])
        self.assertEqual(record['AGITATOR_CHANNEL'], SHOWN)
        self.assertEqual(record['AGITATOR_LAST_COMMAND'], 'NOOP ' + SHOWN[:0] + SHOWN)
        for output in ('short', 'short-full', 'verbose', 'cat', 'json', 'with-unit'):
            text = self.machine.journal('-u', 'agitator', '--all', '-o', output)
            self.assertIn('evil' if output in ('verbose', 'json') else 'red', text)
            self.assertIsNone(HARMFUL.search(text), (output, repr(HARMFUL.search(text))))
        for field in ('MESSAGE', 'AGITATOR_REQUEST', 'AGITATOR_CHANNEL', 'AGITATOR_CALLERID',
                      'AGITATOR_LAST_COMMAND', 'AGITATOR_LINE'):
            text = self.machine.journal('-F', field)
            self.assertIn('red', text)
            self.assertIsNone(HARMFUL.search(text), field)

    def test_no_field_is_forged(self):
        """A line end in a value would begin a field of its own."""
        forged = b'x\nMESSAGE_ID=' + ids()['SERVER_DOWN'].encode() + b'\nAGITATOR_SERVER=forged\n\n'
        self.start_menu(self.make_server(lambda s: (s.read_environment(), s.send(b'NOOP x\r'),
                                                    s.send(b'\n'), s.read_line(), s.end())))
        self.call(block=environment('agi://h/menu', callerid=forged)).wait()
        self.call(block=environment(b'agi://h/menu', uniqueid=b'real\rMESSAGE=forged')).wait()
        self.wait_record(r'AGITATOR_UNIQUEID=real\x0dMESSAGE=forged')
        self.assertEqual(self.records('AGITATOR_SERVER=forged'), [])
        self.assertEqual(self.records('MESSAGE_ID=' + ids()['SERVER_DOWN']), [])


class Journald(JournalTest):
    def pid(self):
        return self.machine.outside(self.machine.show('systemd-journald.service', 'MainPID'))

    def test_restarted(self):
        self.start_menu(self.make_server())
        before = self.call_as()
        self.wait_record('AGITATOR_UNIQUEID=' + before)
        self.machine.run('systemctl', 'restart', 'systemd-journald')
        after = self.call_as()
        self.wait_record('AGITATOR_UNIQUEID=' + after)
        self.wait_record('AGITATOR_UNIQUEID=' + before)

    def count_of_calls(self, n):
        """How many of so many have a record."""
        self.start_menu(self.make_server())
        for _ in range(n):
            self.call_as()
        self.service.stop()
        return len(self.records('MESSAGE_ID=' + ids()['SESSION']))

    def test_drops_none_of_many(self):
        """It would of a service that sets no limit of its own, or one like this."""
        self.assertEqual(self.count_of_calls(300), 300)
        self.service.drop_in('LogRateLimitIntervalSec=1h', 'LogRateLimitBurst=5')
        self.assertLess(self.count_of_calls(300), 300)

    def test_stopped(self):
        """No call waits for it, and what it was told meanwhile it learns later."""
        self.start_menu(self.make_server())
        self.machine.run('journalctl', '--sync')
        journald = self.pid()
        os.kill(journald, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            ids_of_calls = [self.call_as() for _ in range(200)]
            took = time.monotonic() - begin
        finally:
            os.kill(journald, signal.SIGCONT)
        print(f'# 200 calls in {took:.2f} s with the journal stopped')
        self.assertLess(took, TIMEOUT)
        for uniqueid in ids_of_calls[0], ids_of_calls[-1]:
            self.wait_record('AGITATOR_UNIQUEID=' + uniqueid)
        self.assertEqual(len(self.records('MESSAGE_ID=' + ids()['SESSION'])), 200)

    def count_of_debugging(self):
        return sum(len(self.records('MESSAGE_ID=' + ids()[name])) for name in ('DIALOGUE', 'STEP'))

    def test_stopped_for_too_long(self):
        """What is too much is dropped and counted: debugging first, and no session's own record."""
        self.start_menu(self.make_server(), log=['Debug=route:menu'])
        self.wait_record('AGITATOR_UNIQUEID=' + self.call_as(), 'MESSAGE_ID=' + ids()['SESSION'])
        of_one = self.count_of_debugging()
        journald = self.pid()
        os.kill(journald, signal.SIGSTOP)
        try:
            for _ in range(300):
                self.call_as()
        finally:
            os.kill(journald, signal.SIGCONT)
        self.service.stop()
        dropped = sum(int(record['AGITATOR_DROPPED'])
                      for record in self.records('MESSAGE_ID=' + ids()['DROPPED']))
        self.assertGreater(dropped, 0)
        self.assertEqual(self.count_of_debugging() + dropped, 301 * of_one)
        self.assertEqual(len(self.records('MESSAGE_ID=' + ids()['SESSION'])), 301)
        self.assertRegex(self.explain('MESSAGE_ID=' + ids()['DROPPED']),
                         r'Subject: \d+ log records were dropped')


if __name__ == '__main__':
    main()
