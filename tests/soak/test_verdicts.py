#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the long runs judge by: that it finds what it is for, and nothing else; and that a run which is
interrupted leaves nobody behind."""

import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import unittest

import tools

from accounts import Accounts, shipped
from harness import tap
from harness.logserver import Message
from harness.waiting import TIMEOUT, wait_until
from meter import fit, judge_memory

BASE = 11 * 1024 * 1024
PAGE = 4096


def samples_of(values):
    return [{'time': 10.0 * i, 'rss': value} for i, value in enumerate(values)]


class Memory(unittest.TestCase):
    """240 samples, as in 40 minutes, and 40,000 sessions."""

    def judge(self, values):
        return judge_memory(samples_of(values), 'rss', 40000)

    def noise(self, n=240):
        """Whole pages, each like the one before."""
        chance, level = random.Random(1), 0.0
        for _ in range(n):
            level = 0.9 * level + chance.gauss(0, 10)
            yield round(level) * PAGE

    def test_noise_is_flat(self):
        self.assertFalse(self.judge([BASE + noise for noise in self.noise()])['grew'])

    def test_constant_is_flat(self):
        verdict = self.judge([BASE] * 240)
        self.assertFalse(verdict['grew'])
        self.assertEqual((verdict['slope'], verdict['error']), (0, 0))

    def test_one_jump_is_flat(self):
        self.assertFalse(self.judge([BASE + 100 * 1024 * (i > 100) for i in range(240)])['grew'])

    def test_leak_of_a_small_block_in_each_session_is_found(self):
        """32 bytes each, the least that malloc() gives: 1.2 MiB in all, under the same noise."""
        values = [BASE + noise + 32 * 40000 * i // 240 for i, noise in enumerate(self.noise())]
        verdict = self.judge(values)
        self.assertTrue(verdict['grew'], verdict)

    def test_leak_without_noise_is_found(self):
        self.assertTrue(self.judge([BASE + 8 * 40000 * i // 240 for i in range(240)])['grew'])

    def test_shrinking_is_flat(self):
        self.assertFalse(self.judge([BASE - 32 * 40000 * i // 240 for i in range(240)])['grew'])

    def test_few_samples_say_nothing(self):
        self.assertIsNone(self.judge([BASE + 4096 * i for i in range(71)]))

    def test_slope_and_error_are_those_of_the_textbook(self):
        """Residuals that are no more alike than chance has it: -1, 1, 1, -1 around 2 t."""
        slope, error = fit([0, 1, 2, 3], [-1, 3, 5, 5])
        self.assertAlmostEqual(slope, 2)
        self.assertAlmostEqual(error, (4 / 2 / 5) ** 0.5, 6)


class Log(unittest.TestCase):
    def setUp(self):
        self.accounts = Accounts()
        self.lines, self.messages = [], []

    def log(self, number, client='127.0.0.1', request='volume/r1/k3?id=00000000', result='served',
            times=1):
        """A record as stderr and as the log server have it."""
        self.lines.append(f'12:00:00.000000 info session {number:x} from {client}:4711 for '
                          f'agi://127.0.0.1:4573/{request}: {result}, 3 commands in 0.001 s')
        raw = (f'<30>1 2026-11-23T12:00:00.000000Z host agitator 17 session '
               f'[meta sequenceId="{number}"][agitator@32473 session="{number:x}"] x').encode()
        self.messages += [Message(raw)] * times

    def problems(self):
        self.accounts.check(self.lines, shipped(self.messages))
        return ' / '.join(self.accounts.problems)

    def make_two(self):
        self.accounts.expect_run('volume/r1/k3', 1)
        self.accounts.expect('127.100.0.1', {'NOROUTE'})

    def test_all_is_well(self):
        self.make_two()
        self.log(1)
        self.log(2, '127.100.0.1', 'nosuch', 'refused, NOROUTE', times=2)
        self.assertEqual(self.accounts.check(self.lines, shipped(self.messages)), {
            'made': 2, 'logged': 2, 'results': {'served': 1, 'refused': 1}, 'shipped': 2,
            'shipped_again': 1})
        self.assertEqual(self.accounts.problems, [])

    def test_missing_record(self):
        self.make_two()
        self.log(1)
        self.assertEqual(self.problems(), '1 sessions are not in the log: 127.100.0.1')

    def test_two_records(self):
        self.accounts.expect_run('volume/r1/k3', 1)
        self.log(1)
        self.log(2)
        self.assertIn('1 sessions have more than one record: volume/r1', self.problems())

    def test_record_of_nobody(self):
        self.log(1)
        self.assertIn('1 records are of no session', self.problems())

    def test_number_given_twice(self):
        self.accounts.expect_run('volume/r1/k3', 2)
        self.log(1)
        self.log(1, request='volume/r1/k3?id=00000001')
        self.assertIn('1 numbers have been given twice: 1', self.problems())

    def test_wrong_result(self):
        self.accounts.expect_run('volume/r1/k3', 1)
        self.log(1, result='broken, server')
        self.assertIn('1 sessions ended otherwise than they should', self.problems())

    def test_record_that_was_not_shipped(self):
        self.accounts.expect_run('volume/r1/k3', 1)
        self.log(1, times=0)
        self.assertEqual(self.problems(), '1 records did not reach the log server: 1')

    def test_record_shipped_twice(self):
        self.accounts.expect_run('volume/r1/k3', 1)
        self.log(1)
        again = self.messages[0].raw.replace(b'sequenceId="1"', b'sequenceId="2"')
        self.messages.append(Message(again))
        self.assertEqual(self.problems(), '1 records came to the log server twice: 1')


def is_alive(pid):
    """Not when it waits for nothing but its parent, which may be a slow process 1."""
    try:
        with open(f'/proc/{pid}/stat', encoding='ascii') as file:
            return file.read().rpartition(') ')[2][0] != 'Z'
    except FileNotFoundError:
        return False


class Interrupted(unittest.TestCase):
    def check(self, number, *command):
        """In the moment in which it has started the bench server, the proxy, or a load."""
        for least in 1, 2, 3:
            self.check_once(number, command, least)

    def check_once(self, number, command, least):
        process = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, encoding='utf-8')
        try:
            wait_until(lambda: process.poll() is not None or len(tools.children(process.pid)) >= least,
                       f'{least} processes', pause=0)
            started = tools.children(process.pid)
            process.send_signal(number)
            output = process.communicate(timeout=TIMEOUT * 2)[0]
        finally:
            process.kill()
            process.wait()
        self.assertGreaterEqual(len(started), least, output)
        self.assertEqual(process.returncode, 1, output)
        self.assertRegex(output, 'terminated|interrupted')
        self.assertIsNone(re.search('Traceback', output), output)
        self.assertEqual([pid for pid in started if is_alive(pid)], [], output)

    def test_soak(self):
        self.check(signal.SIGTERM, tools.FOLDER / 'run', '60', '--build', BUILD)

    def test_storm(self):
        self.check(signal.SIGINT, tools.FOLDER / 'storm', '--build', BUILD)


BUILD = pathlib.Path(os.environ.get('AGITATOR_BUILD') or tools.FOLDER.parents[1] / 'build')

if __name__ == '__main__':
    tap.main()
