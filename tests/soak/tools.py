# SPDX-License-Identifier: GPL-3.0-or-later
"""What both long runs stand on: where the programs are, and those of tests/bench under a thread each.

It comes first, since it lets the others find the harness of the integration tests.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / 'integration'))

from harness.waiting import FACTOR, Recorder, TIMEOUT  # noqa: E402: it is found only now

# No client is bound to these, so nobody takes the port of a server that is away.
SERVER_HOST = '127.66.0.1'
LOG_HOST = '127.66.0.2'


def find_programs(build):
    """The folder of the bench tools; the program under test goes to where the harness looks."""
    build = pathlib.Path(build).resolve()
    os.environ.setdefault('AGITATOR', str(build / 'src' / 'agitator'))
    tools = pathlib.Path(os.environ.get('AGITATOR_BENCH_TOOLS') or build / 'tests' / 'bench')
    for program in (os.environ['AGITATOR'], tools / 'bench-load', tools / 'bench-server'):
        if not os.access(program, os.X_OK):
            sys.exit(f'there is no {program}: build it, or name another build folder by --build=')
    return tools


def children(pid):
    """Those that any of its threads has started."""
    found = []
    for path in pathlib.Path(f'/proc/{pid}/task').glob('*/children'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended
            found += map(int, path.read_text(encoding='ascii').split())
    return found


class Cast:
    """All that takes part in a run, made in order and ended the other way round."""

    def __init__(self):
        self.closers = []
        self.problems = []

    def keep(self, thing, close='close'):
        self.closers.append(getattr(thing, close))
        return thing

    def play(self, run):
        """Its result, once all is ended. SIGTERM and SIGINT end the run, but not what ends it."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit('terminated'))
        signal.signal(signal.SIGINT, lambda *_: sys.exit('interrupted'))
        try:
            return run()
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            self._close()

    def _close(self):
        for close in reversed(self.closers):
            try:
                close()
            except Exception as error:  # the others are to be ended all the same
                self.problems.append(f'at the end: {error}')
        # A signal may come between the start of one and its being kept.
        while left := children(os.getpid()):
            self.problems.append(f'left over at the end: {left}')
            for pid in left:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it has ended
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)


class Tool:
    """A program of tests/bench; each line that it prints is recorded."""

    def __init__(self, command):
        self.lines = Recorder(os.path.basename(command[0]))
        self.complaints = []
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        encoding='utf-8', errors='backslashreplace')
        self.readers = [threading.Thread(target=self._read, daemon=True),
                        threading.Thread(target=self._read_complaints, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.add(line)
        self.lines.end()

    def _read_complaints(self):
        for line in self.process.stderr:
            self.complaints.append(line.rstrip())

    def wait_line(self, number, timeout=None):
        place = self.lines.wait(lambda line: True, 'line %d' % number, number, timeout)
        return self.lines.items[place]

    def say(self):
        """The line on stdin that it waits for."""
        self.process.stdin.write('\n')
        self.process.stdin.flush()

    def wait(self, timeout=TIMEOUT):
        status = self.process.wait(timeout)
        for reader in self.readers:
            reader.join(TIMEOUT)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        return status

    def stop(self):
        """Idempotent."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class BenchServer(Tool):
    """It says and checks what tests/bench/script.h has."""

    def __init__(self, tools):
        super().__init__([tools / 'bench-server', SERVER_HOST + ':0'])
        self.address = '%s:%d' % (SERVER_HOST, int(self.wait_line(0)))

    def finish(self):
        """Its counts, once all sessions are over."""
        self.process.terminate()
        self.wait()
        return json.loads(self.lines.items[1])


class Load(Tool):
    """Sessions at a rate. `timeout` is for all of them."""

    def __init__(self, tools, address, path, rate, sessions, timeout):
        self.path, self.sessions, self.timeout = path, sessions, timeout
        super().__init__([tools / 'bench-load', f'--path={path}', f'--rate={rate}',
                          f'--sessions={sessions}', f'--timeout={int(timeout)}',
                          '%s:%d' % address])

    def finish(self):
        """Its result, once all of them are over."""
        self.wait(self.timeout + TIMEOUT)
        return json.loads(self.lines.items[-1])


class Holder(Tool):
    """Sessions that stay open and talk now and then, each `pause` milliseconds."""

    def __init__(self, tools, address, path, sessions, pause):
        self.path, self.sessions = path, sessions
        super().__init__([tools / 'bench-load', '--idle-path=' + path, f'--idle={sessions}',
                          f'--idle-pause={pause}', '--sessions=0', '--wait',
                          f'--timeout={int(60 * FACTOR)}', '%s:%d' % address])

    def wait_open(self):
        """Until all of them are open and have got a command."""
        opened = json.loads(self.wait_line(0, 60 * FACTOR))
        self.say()
        self.wait_line(1)
        return opened.get('idle')

    def finish(self):
        """Has the server end each of them; the result."""
        self.say()
        self.wait(60 * FACTOR + TIMEOUT)
        return json.loads(self.lines.items[-1])
