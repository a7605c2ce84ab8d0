# SPDX-License-Identifier: GPL-3.0-or-later
"""The real program, with the test as its service manager."""

import ctypes
import os
import re
import resource
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

from .waiting import Recorder, TIMEOUT, wait_until

LAUNCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'launch.py')

# What must never be on stderr: sanitizers, and GLib's complaints about ourselves.
BAD_OUTPUT = re.compile(
    r'Sanitizer|runtime error:|CRITICAL|critical +(GLib|GObject)|assertion|ERROR:.*\.c:\d+|==\d+== ')


def program():
    """The program under test with whatever it is to run under, as a list."""
    path = os.environ.get('AGITATOR')
    if not path:
        raise AssertionError('AGITATOR is not set: it is to name the program under test')
    return shlex.split(os.environ.get('AGITATOR_WRAPPER', '')) + [path]


def sanitizer():
    """The name of the sanitizer the program is built with, or None."""
    with open(program()[-1], 'rb') as file:
        content = file.read()
    for name, mark in (('address', b'__asan_init'), ('thread', b'__tsan_init'),
                       ('undefined', b'__ubsan_handle')):
        if mark in content:
            return name
    return 'wrapper' if len(program()) > 1 else None


class Adopted:
    """A process that another one has started and that has become ours, with Popen's methods."""

    PR_SET_CHILD_SUBREAPER = 36

    @classmethod
    def adopt_all(cls):
        """Has those whose parent ends become ours from now on, and not process 1's."""
        ctypes.CDLL(None).prctl(cls.PR_SET_CHILD_SUBREAPER, 1)

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        if self.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            select.select([descriptor], [], [], timeout or TIMEOUT)
            os.close(descriptor)
        if self.poll() is None:
            raise subprocess.TimeoutExpired('process %d' % self.pid, timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Proxy:
    """`sockets` are listening sockets by the name of their [Listener NAME]. `binary` is where the
    program under test is copied to first, so that it can be replaced while it runs."""

    def __init__(self, config, sockets=(), nofile=None, environment=None, ready=True, binary=None):
        self.command = program()
        if binary:
            shutil.copy(self.command[-1], binary)
            self.command[-1] = binary
        self.older = []  # processes that have been followed by another
        self.directory = tempfile.TemporaryDirectory(prefix='agitator-')
        self.config_file = os.path.join(self.directory.name, 'agitator.conf')
        self.write_config(config)
        self.log = Recorder('the log')
        self.notices = Recorder('what the service manager was told')
        self.expected_status = 0
        self.stopped = False
        self._open_notify_socket()
        self._start(list(dict(sockets).items()), nofile, environment or {})
        self.first_descriptors = None  # how many it had when it was ready; None: not to be compared
        if ready:
            self.wait_ready()
            if '[Syslog' not in config:
                self.first_descriptors = self.descriptors()

    def write_config(self, text):
        # At once and whole, as an editor does.
        with open(self.config_file + '.new', 'w', encoding='utf-8') as file:
            file.write(text)
        os.rename(self.config_file + '.new', self.config_file)

    def _open_notify_socket(self):
        path = os.path.join(self.directory.name, 'notify')
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(path)
        self.notice_reader = threading.Thread(target=self._read_notices, daemon=True)
        self.notice_reader.start()

    def _start(self, sockets, nofile, environment):
        fds = [sock.fileno() for name, sock in sockets]
        command = [sys.executable, '-IS', LAUNCH, ':'.join(map(str, fds)),
                   ':'.join(name for name, sock in sockets), str(nofile or ''),
                   *self.command, '--config=' + self.config_file]
        everything = {name: value for name, value in os.environ.items()
                      if not name.startswith(('LISTEN_', 'WATCHDOG_', 'JOURNAL_STREAM'))}
        everything.update(NOTIFY_SOCKET=self.notify.getsockname(), LC_ALL='C.UTF-8', LANGUAGE='')
        everything.setdefault('UBSAN_OPTIONS', 'print_stacktrace=1')
        everything.update(environment)
        self.process = subprocess.Popen(command, pass_fds=fds, env=everything,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, cwd=self.directory.name)
        self.reader = threading.Thread(target=self._read_log, daemon=True)
        self.reader.start()

    def _read_log(self):
        for line in self.process.stdout:
            self.log.add(line.decode('utf-8', 'backslashreplace').rstrip('\n'))
        self.log.end()

    def _read_notices(self):
        # An empty message is the end that stop() makes.
        for message in iter(lambda: self.notify.recv(4096), b''):
            for line in message.decode().splitlines():
                self.notices.add(line)

    # Waiting

    def wait_ready(self, start=0):
        try:
            place = self.notices.wait(lambda line: line == 'READY=1', 'READY=1', start)
        except AssertionError:
            self.process.kill()
            self.reader.join(TIMEOUT)
            raise AssertionError('never READY=1; the log:\n' + self.log_text()) from None
        # It has its descriptors only when it has done what comes after that message, too.
        wait_until(self.main_thread_rest, 'the main thread to have done all')
        return place

    def wait_notice(self, pattern, start=0):
        """The first notice that `pattern` matches, such as a STATUS=."""
        place = self.notices.wait(re.compile(pattern).search, f'/{pattern}/', start)
        return self.notices.items[place]

    def wait_for_log(self, pattern, start=0):
        """The first line of the log that `pattern` matches."""
        place = self.log.wait(re.compile(pattern).search, f'/{pattern}/', start)
        return self.log.items[place]

    def wait_exit(self):
        """The exit status."""
        try:
            status = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            raise AssertionError('did not exit; the log:\n' + self.log_text()) from None
        self.reader.join(TIMEOUT)
        return status

    def log_text(self):
        return '\n'.join(self.log.items[-200:])

    # Acting

    def signal(self, number):
        if number in (signal.SIGHUP, signal.SIGUSR2):
            self.first_descriptors = None  # what it opens, and keeps, is other tests' business
        self.process.send_signal(number)

    def reload(self, config=None):
        """Reloads and waits for the end of it; returns where the log stood before."""
        if config is not None:
            self.write_config(config)
        log_mark, mark = self.log.mark(), self.notices.mark()
        self.signal(signal.SIGHUP)
        mark = self.notices.wait(lambda line: line == 'RELOADING=1', 'RELOADING=1', mark)
        self.wait_ready(mark)
        return log_mark

    def upgrade(self):
        """Has another process take over, and returns the one before."""
        Adopted.adopt_all()
        mark = self.notices.mark()
        self.signal(signal.SIGUSR2)
        return self.take_over(mark)

    def take_over(self, mark=0):
        """Waits for the service to be another process's; returns the one before."""
        place = self.notices.wait(lambda line: line.startswith('MAINPID='), 'MAINPID=', mark)
        self.wait_ready(place)
        old, self.process = self.process, Adopted(int(self.notices.items[place].partition('=')[2]))
        self.older.append(old)
        return old

    def stop(self):
        """SIGTERM unless it has ended already; then it must have ended well. Idempotent."""
        if self.stopped:
            return
        self.stopped = True
        try:
            self.check_descriptors()
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
            self.check_end()
        finally:
            for process in [self.process, *self.older]:
                if process.poll() is None:
                    process.kill()
                    process.wait()
            self.notify.shutdown(socket.SHUT_RDWR)
            self.notice_reader.join()
            self.notify.close()
            self.directory.cleanup()

    def check_descriptors(self):
        """Once its clients and servers are gone, it has no more of them than at first."""
        if self.first_descriptors is not None and self.older == [] and self.process.poll() is None:
            self.wait_descriptors(self.first_descriptors)

    def check_end(self):
        status = self.wait_exit()
        bad = [line for line in self.log.items if BAD_OUTPUT.search(line)]
        if status != self.expected_status or bad:
            raise AssertionError(f'exit status {status}, expected {self.expected_status}; '
                                 f'suspicious lines: {bad}; the log:\n{self.log_text()}')

    # Looking, by /proc

    def resident_bytes(self):
        with open('/proc/%d/statm' % self.process.pid, encoding='ascii') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')

    def cpu_seconds(self):
        with open('/proc/%d/stat' % self.process.pid, encoding='ascii') as file:
            fields = file.read().rpartition(')')[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')

    def main_thread_rest(self):
        """None while it runs; else what stays the same as long as it doesn't."""
        try:
            with open('/proc/%d/task/%d/status' % (self.process.pid, self.process.pid),
                      encoding='ascii', errors='replace') as file:
                status = file.read()
        except FileNotFoundError:
            return 'no such process'
        if re.search(r'^State:\s*[RD]', status, re.M):
            return None
        return re.findall(r'ctxt_switches:\s*(\d+)', status)

    def descriptors(self):
        """How many there are when the main thread does nothing: to notify the service manager it
        closes one for a moment."""
        count = 0

        def count_at_rest():
            nonlocal count
            before = self.main_thread_rest()
            count = len(os.listdir('/proc/%d/fd' % self.process.pid))
            return before and before == self.main_thread_rest()

        wait_until(count_at_rest, 'the main thread to do nothing')
        return count

    def is_launched(self):
        """True once the process runs the program, and no longer what prepares it."""
        with open('/proc/%d/cmdline' % self.process.pid, 'rb') as file:
            command = file.read()
        return b'--config=' in command and LAUNCH.encode() not in command

    def caught_signals(self):
        """Those that the process has a handler for."""
        with open('/proc/%d/status' % self.process.pid, encoding='ascii') as file:
            masks = dict(line.split(':\t') for line in file.read().splitlines() if ':\t' in line)
        caught = int(masks['SigCgt'], 16)
        return {number for number in range(1, 32) if caught & 1 << (number - 1)}

    def limit_descriptors(self, limit):
        """Changes the limit of the running process; returns the old one."""
        soft, hard = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (limit, hard))
        return soft

    def wait_descriptors(self, most):
        """Until no more than `most` are open."""
        wait_until(lambda: self.descriptors() <= most, f'at most {most} descriptors, '
                   f'now {self.descriptors()}')


def run_program(*arguments, environment=None, stdout=subprocess.PIPE):
    """Runs it to its end, for --check-config and its like."""
    everything = dict(os.environ, LC_ALL='C.UTF-8', LANGUAGE='')
    everything.update(environment or {})
    return subprocess.run([*program(), *arguments], stdin=subprocess.DEVNULL, timeout=TIMEOUT,
                          env=everything, stdout=stdout, stderr=subprocess.PIPE, check=False,
                          encoding='utf-8', errors='backslashreplace')
