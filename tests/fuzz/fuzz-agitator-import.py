#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fuzzes agitator-import: whatever it is given it converts or refuses, in words and in time, and what
it makes is a configuration that agitator takes.

usage: fuzz-agitator-import.py [--agitator=PROGRAM] [--minutes=N --work=FOLDER] CORPUS...

Without --minutes it replays the corpus and a few changes of each of its files, always the same, and
speaks TAP. With it, it goes on changing inputs for so long, guided by the lines of the importer that
they reach; those that reach new ones are left in FOLDER, as is the first one that breaks something.
"""

import argparse
import inspect
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time
import traceback

SOURCE = pathlib.Path(__file__).resolve().parents[2] / 'src'
sys.path.insert(0, str(SOURCE))
sys.dont_write_bytecode = True

from importer.convert import convert  # noqa: E402
from importer.problems import Refused  # noqa: E402

CHANGES_REPLAYED = 15  # of each file of the corpus
MADE_REPLAYED = 60
SECONDS_MAX = 20  # for one input; it is a second at most on a slow machine
CHECK_EACH = 25  # of so many that are converted in a long run one is shown to agitator

KEYS = {
    'Proxy': 'Threads ForwardedFor ConnectTimeout SetupTimeout RequestTimeout IdleTimeout StopTimeout',
    'Log': 'Target Level', 'Listener': 'Listen TLS Certificate PrivateKey',
    'Server': 'Address MaxSessions TLS TLSVerify', 'Route': 'Path Mode Servers',
}

TOKENS = [token.encode() for token in (
    'listen port tls_listen tls_port tls_strict tls_cert tls_key fwd_for con_timeout srv_timeout clt_timeout '
    'log debug threads path mode addr tls max [[route]] [[route.host]] [route] true false 0 1 -1 4573 65535 '
    '65536 3600 31536001 9223372036 9223372037 9223372036854775807 1e3 nan 1979-05-27 07:32:00Z "" "*" "a" '
    '"a/" "/a" "a//b" "a/../b" "a/*" "a%41" "a?b" "[::1]" "[::]" "0.0.0.0" "localhost" "::1" "127.0.0.1" '
    '"[fe80::1%1]" "h:1" "balance" "round-robin" "failover" "syslog" "/x.pem" "x.pem" "pkcs11:x" "\\u0000" '
    '"\\u00e9" "\\ud800" \'\'\' """ [ ] { } = , . # \\ \n \r\n \ufeff \u2028 {} [] [[]] '
    'route=[{host=[{}]}] ROUTE Path').split(' ')]

# Values for a whole new input.
VALUES = {
    'listen': '"127.0.0.1" "0.0.0.0" "[::1]" "localhost" "" "h"', 'port': '4573 1 65535 0',
    'tls_listen': '"" "127.0.0.1" "[::]"', 'tls_port': '4574 4573 65534', 'tls_strict': 'true false',
    'tls_cert': '"/x.pem" "x.pem" "pkcs11:x" "a/b\\\\c"', 'tls_key': '"/x.pem" "x.key"', 'fwd_for': 'true false',
    'con_timeout': '3 0 3600 3601 -1', 'srv_timeout': '0 5 7200 31536001 -1', 'clt_timeout': '0 9 7200 -1',
    'log': '"stderr" "syslog" "" "\\u001b[31m"', 'debug': 'true false', 'threads': '0 1 256 257 -1',
}
ROUTE_VALUES = {
    'path': '"*" "" "a" "b" "a/b" "a-b" "a/" "/a" "a//b" "A-B" "\\u00e9" "\\u65e5" "a\\u0020" "\\\\x" "rest" "."',
    'mode': '"" "failover" "balance" "round-robin"',
}
HOST_VALUES = {
    'addr': '"h" "i" "" "[::1]" "127.0.0.1" "[::ffff:1.2.3.4]" "H" "0.0.0.0"', 'port': '0 4573 4574',
    'tls': 'true false', 'max': '0 1 -1 10000000 10000001',
}

# What may be wrong with a good conversion: what is not in the file itself.
ELSEWHERE = re.compile(r'.*(?: (?:Certificate|PrivateKey)=: | CAFile=: The system has no CAs'
                       r'|TLSVerify=: The server.s certificate is not checked)')


class Broken(Exception):
    pass


def demand(holds, what):
    if not holds:
        raise Broken(what)


def check_text(text):
    """What must be true of a configuration by its form alone."""
    groups, group = {}, None
    for line in text.split('\n'):
        if line.startswith('['):
            match = re.fullmatch(r'\[(Proxy|Log|(?:Listener|Server|Route) [\w.-]{1,64})\]', line, re.A)
            demand(match, f'a group {line!r}')
            demand(match[1] not in groups, f'the group {line!r} twice')
            group = groups[match[1]] = {}
        elif line and not line.startswith('#'):
            key, equals, value = line.partition('=')
            demand(equals and group is not None, f'a line {line!r}')
            demand(key not in group, f'the key {line!r} twice')
            group[key] = value
        demand(len(line) <= 100 or not line.startswith('# ') or ' ' not in line[2:100], f'a line {line!r}')
        demand(line.isprintable() or not line.startswith('#'), f'a comment {line!r}')

    paths = [group['Path'] for title, group in groups.items() if title.startswith('Route')]
    demand(paths and len(set(paths)) == len(paths), f'the paths {paths}')
    for title, group in groups.items():
        demand(set(group) <= set(KEYS[title.split()[0]].split()), f'the keys {list(group)}')
        for name in group.get('Servers', '').split(';') if 'Servers' in group else ():
            demand(f'Server {name}' in groups, f'no server {name}')
    demand(any(title.startswith('Listener') for title in groups), 'no listener')


def check_with(program, text, folder):
    path = os.path.join(folder, 'agitator.conf')
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    run = subprocess.run([program, '--check-config', f'--config={path}'], capture_output=True, check=False,
                         env={**os.environ, 'LC_ALL': 'C.UTF-8'}, encoding='utf-8', timeout=60)
    said = [line for line in run.stderr.splitlines() if not ELSEWHERE.match(line)]
    demand(not said and (run.returncode in (0, 78)), f'{run.returncode}, {said}')


def run_one(data):
    """The text that it becomes; None when it is refused. Raises whatever is wrong."""
    begin = time.monotonic()
    try:
        text, left_out, routes = convert(data, 'fuzz.conf', '0')
    except Refused as refused:
        text = None
        demand(refused.lines, 'refused without a word')
        for line in refused.lines:
            demand(line.isprintable() and line.strip(), f'said {line!r}')
            demand(len(line) < 1000, f'said {len(line)} characters')
    else:
        check_text(text)
        demand(text.count('\n[Route ') == routes - left_out, 'some routes are lost')
        demand(convert(data, 'fuzz.conf', '0')[0] == text, 'another text the second time')
    demand(time.monotonic() - begin < SECONDS_MAX, 'too slow')
    return text


class Changer:
    """Makes new inputs of old ones."""

    def __init__(self, seed, inputs):
        self.choose = random.Random(seed)
        self.inputs = inputs

    def make(self):
        """A whole new one."""
        lines = self.make_lines(VALUES, self.choose.choice((0.6, 1)))
        for _ in range(self.choose.choice((1, 2, 5, 20))):
            lines += ['[[route]]', *self.make_lines(ROUTE_VALUES, 0.9)]
            for _ in range(self.choose.choice((0, 1, 1, 2, 5))):
                lines += ['[[route.host]]', *self.make_lines(HOST_VALUES, 0.6)]
        return '\n'.join(lines).encode()

    def make_lines(self, values, share):
        lines = []
        for key, words in values.items():
            words = words.split(' ')
            if self.choose.random() < share:
                # The first one is good, and there are many keys.
                word = words[0] if self.choose.random() < 0.7 else self.choose.choice(words)
                lines.append(f'{key} = {word}')
        self.choose.shuffle(lines)
        return lines

    def next(self):
        kind = self.choose.random()
        if kind < 0.4:
            return self.make()
        return self.change(self.make() if kind < 0.6 else self.choose.choice(self.inputs))

    def change(self, data):
        for _ in range(self.choose.choice((1, 1, 2, 3, 6))):
            data = self.choose.choice((self.change_bytes, self.insert_token, self.replace_value,
                                       self.move_lines, self.take_lines, self.repeat))(data)
        return data[:200000]

    def place(self, data):
        return self.choose.randrange(len(data) + 1)

    def change_bytes(self, data):
        data = bytearray(data or b'x')
        for _ in range(self.choose.randrange(1, 4)):
            data[self.choose.randrange(len(data))] = self.choose.choice(
                (self.choose.randrange(256), ord(self.choose.choice('"[]{}=.,#\\\n 0aA-_'))))
        return bytes(data)

    def insert_token(self, data):
        at = self.place(data)
        return data[:at] + self.choose.choice(TOKENS) + data[at + self.choose.choice((0, 0, 1, 5)):]

    def replace_value(self, data):
        places = [match.end() for match in re.finditer(rb'=[ ]*', data)]
        if not places:
            return self.insert_token(data)
        at = self.choose.choice(places)
        end = data.find(b'\n', at)
        return data[:at] + self.choose.choice(TOKENS) + (data[end:] if end >= 0 else b'')

    def move_lines(self, data):
        lines = data.split(b'\n')
        at, to = self.choose.randrange(len(lines)), self.choose.randrange(len(lines))
        lines.insert(to, lines[at] if self.choose.random() < 0.5 else lines.pop(at))
        return b'\n'.join(lines)

    def take_lines(self, data):
        lines, other = data.split(b'\n'), self.choose.choice(self.inputs).split(b'\n')
        at, start = self.choose.randrange(len(lines)), self.choose.randrange(len(other))
        lines[at:at + self.choose.randrange(4)] = other[start:start + self.choose.randrange(12)]
        return b'\n'.join(lines)

    def repeat(self, data):
        at = self.place(data)
        piece = data[at:at + self.choose.choice((1, 4, 40, 400))]
        return data[:at] + piece * self.choose.choice((2, 3, 50)) + data[at:]


class Coverage:
    """Lines of the importer that were reached."""

    def __init__(self):
        self.reached = set()
        self.folder = str(SOURCE / 'importer') + os.sep

    def trace(self, frame, event, argument):
        if not frame.f_code.co_filename.startswith(self.folder):
            return None
        self.reached.add((frame.f_code.co_filename, frame.f_lineno))
        return self.trace

    def run(self, data):
        """(what run_one() returns, whether new lines were reached)."""
        before = len(self.reached)
        sys.settrace(self.trace)
        try:
            return run_one(data), len(self.reached) > before
        finally:
            sys.settrace(None)

    def count(self):
        """(lines reached, lines there are), of all functions but those of the command line, which no
        input reaches."""
        def lines(code):
            if code.co_flags & inspect.CO_OPTIMIZED:  # a function
                yield from (line for _, _, line in code.co_lines() if line)
            for constant in code.co_consts:
                if isinstance(constant, type(code)):
                    yield from lines(constant)

        there = {(str(path), line) for path in (SOURCE / 'importer').glob('*.py') if path.name != 'command.py'
                 for line in lines(compile(path.read_bytes(), str(path), 'exec'))}
        return len(self.reached & there), len(there)


def say_broken(data, error):
    text = ''.join(traceback.format_exception(type(error), error, error.__traceback__))
    return f'{text}\nthe input was {data[:2000]!r}'


def replay(options, corpus):
    changer = Changer(1, list(corpus.values()))
    print(f'1..{len(corpus) + 1}', flush=True)
    status = 0
    inputs = {name: [data] + [changer.change(data) for _ in range(CHANGES_REPLAYED)]
              for name, data in sorted(corpus.items())}
    inputs['made'] = [changer.make() for _ in range(MADE_REPLAYED)]
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, group) in enumerate(inputs.items(), 1):
            verdict = 'ok'
            for data in group:
                try:
                    text = run_one(data)
                    if text is not None and options.agitator:
                        check_with(options.agitator, text, folder)
                except Exception as error:  # of any kind: that is what is looked for
                    status, verdict = 1, 'not ok'
                    print('# ' + say_broken(data, error).replace('\n', '\n# '))
            print(f'{verdict} {number} - {name}', flush=True)
    return status


def fuzz(options, corpus):
    work = pathlib.Path(options.work or tempfile.mkdtemp())
    inputs, coverage = list(corpus.values()), Coverage()
    changer = Changer(time.time_ns(), inputs)
    end = time.monotonic() + options.minutes * 60
    done = converted = checked = 0
    with tempfile.TemporaryDirectory() as folder:
        waiting = list(inputs)
        while waiting or time.monotonic() < end:
            data = waiting.pop() if waiting else changer.next()
            done += 1
            try:
                text, is_new = coverage.run(data)
                if text is not None:
                    converted += 1
                    if options.agitator and (is_new or converted % CHECK_EACH == 0):
                        check_with(options.agitator, text, folder)
                        checked += 1
            except Exception as error:  # of any kind
                (work / 'broken').write_bytes(data)
                print(say_broken(data, error))
                print(f'agitator-import: broken after {done} inputs: {work}/broken')
                return 1
            if is_new and done > len(corpus):
                inputs.append(data)
                (work / f'new-{len(inputs)}').write_bytes(data)
    print(f'agitator-import: {done} inputs, {converted} of them converted, {checked} shown to agitator; '
          '%d of %d lines reached' % coverage.count())
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--agitator')
    parser.add_argument('--minutes', type=float)
    parser.add_argument('--work')
    parser.add_argument('corpus', nargs='+')
    options = parser.parse_args()
    corpus = {path.name: path.read_bytes()
              for folder in options.corpus for path in sorted(pathlib.Path(folder).iterdir())}
    if not corpus:
        print('Bail out! no files to replay')
        return 1
    return fuzz(options, corpus) if options.minutes else replay(options, corpus)


sys.exit(main())
