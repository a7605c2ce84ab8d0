#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""agitatorctl reload and upgrade: what they wait for, what they say, and who may."""

import errno
import os
import signal
import socket
import stat
import struct
import subprocess
import unittest

from harness.case import Config, group, IntegrationTest, route_group, server_group
from harness.proxy import Adopted, run_program
from harness.tap import main
from harness.waiting import TIMEOUT, wait_until

NOBODY = 65534
MANAGER = 'org.agitator1.Manager'


def marshal_call(member, words=(), path='/org/agitator1', interface=MANAGER):
    """A D-Bus message that calls a method, whose arguments are texts."""
    fields = body = b''
    for code, kind, value in ((1, b'o', path), (2, b's', interface), (3, b's', member)):
        fields += b'\0' * (-len(fields) % 8)
        fields += struct.pack('<BB2sI', code, 1, kind + b'\0', len(value)) + value.encode() + b'\0'
    if words:
        fields += b'\0' * (-len(fields) % 8)
        fields += struct.pack('<BB2sB', 8, 1, b'g\0', len(words)) + b's' * len(words) + b'\0'
    for word in words:
        body += b'\0' * (-len(body) % 4) + struct.pack('<I', len(word)) + word.encode() + b'\0'
    head = struct.pack('<cBBBIII', b'l', 1, 0, 1, len(body), 1, len(fields)) + fields
    return head + b'\0' * (-len(head) % 8) + body


def open_writer(fifo):
    """A descriptor; None when nobody reads there."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


class Peer:
    """D-Bus by hand, so that a test knows when a call has been sent."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(path)
        self.sock.sendall(b'\0AUTH EXTERNAL %s\r\n' % str(os.geteuid()).encode().hex().encode())
        self.input = self.sock.makefile('rb')
        line = self.input.readline()
        if not line.startswith(b'OK '):
            raise AssertionError(f'not let in: {line}')
        self.sock.sendall(b'BEGIN\r\n')

    def call(self, member, *words, **options):
        self.sock.sendall(marshal_call(member, words, **options))

    def read_answer(self):
        """What kind it is, and its bytes."""
        head = self.input.read(16)
        size, fields = struct.unpack_from('<I', head, 4)[0], struct.unpack_from('<I', head, 12)[0]
        rest = self.input.read(fields + -fields % 8 + size)
        return {2: 'return', 3: 'error'}[head[1]], rest

    def close(self):
        self.input.close()
        self.sock.close()


class Control(IntegrationTest):
    def start(self, **options):
        self.one, self.two = self.make_server(), self.make_server()
        self.groups = [server_group('one', self.one.address), server_group('two', self.two.address)]
        self.path = self.make_path('control')
        self.runtime = {'RUNTIME_DIRECTORY': os.path.dirname(self.path)}
        self.start_proxy(*self.groups, route_group('all', '*', 'one'), environment=self.runtime,
                         **options)

    def config(self, route='two', *lines, **options):
        return Config(*self.groups, route_group('all', '*', route, *lines), **options).text

    def begin(self, verb='reload', path=None, environment=None, **options):
        """agitatorctl under way."""
        process = subprocess.Popen(
            [os.environ['AGITATORCTL'], verb, '--socket=' + (path or self.path)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, 'LC_ALL': 'C.UTF-8', 'LANGUAGE': '', **(environment or {})},
            encoding='utf-8', **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def finish(self, process):
        """(exit status, stderr); nothing is ever on stdout."""
        out, error = process.communicate(timeout=TIMEOUT)
        self.assertEqual(out, '')
        return process.returncode, error

    def run_verb(self, verb='reload', **options):
        return self.finish(self.begin(verb, **options))

    def assert_reloads(self, **options):
        self.assertEqual(self.run_verb(**options), (0, ''))

    def assert_served_by(self, server):
        before = len(server.sessions)
        self.assert_success(self.call())
        self.assertEqual(len(server.sessions), before + 1)

    def test_reload(self):
        self.start()
        for route, server in (('two', self.two), ('one', self.one)):
            self.proxy.write_config(self.config(route))
            self.assert_reloads()
            self.assert_served_by(server)  # no later than agitatorctl's end

    def test_reload_fails_with_the_place_and_the_reason(self):
        self.start()
        text = self.config('two', 'Mode=fastest')
        line = text.splitlines().index('Mode=fastest') + 1
        self.proxy.write_config(text)
        status, error = self.run_verb()
        self.assertEqual(status, 1)
        self.assertRegex(error, rf'^agitatorctl reload: .*agitator\.conf:{line}: .*Mode=')
        self.assertEqual(error.count('\n'), 1)
        self.assert_served_by(self.one)

        # Neither too late nor for ever.
        self.proxy.write_config(self.config())
        self.assert_reloads()
        self.assert_served_by(self.two)

    def test_reload_fails_when_a_listener_can_not_be_opened(self):
        """Which is found out after the files were read."""
        self.start()
        taken = self.make_socket().getsockname()
        self.proxy.write_config(self.config() + '[Listener taken]\nListen=%s:%d\n' % taken[:2])
        status, error = self.run_verb()
        self.assertEqual(status, 1)
        self.assertIn('%s:%d' % taken[:2], error)
        self.assertIn(os.strerror(errno.EADDRINUSE), error)

    def test_many_at_once(self):
        """More than there is room for: each is answered, by a reload that began after it came."""
        self.start()
        self.proxy.write_config(self.config())
        processes = [self.begin() for _ in range(80)]
        for process in processes:
            self.assertEqual(self.finish(process), (0, ''))
        self.assert_served_by(self.two)

    def block_reload(self):
        """Has the next reload wait in the middle of the configuration; returns a function that waits
        until it does, and that returns another one, which writes a text there and so releases it."""
        os.unlink(self.proxy.config_file)
        os.mkfifo(self.proxy.config_file)

        def wait():
            fd = wait_until(lambda: open_writer(self.proxy.config_file), 'the reload to begin')
            fifo = self.keep(open(fd, 'w', encoding='utf-8'))

            def release(text):
                with fifo:
                    fifo.write(text)
            return release
        return wait

    def test_call_during_a_reload_is_answered_by_the_next(self):
        """The reload that is under way may have read the files before they were changed."""
        self.start()
        peer = self.keep(Peer(self.path))
        mark = self.proxy.log.mark()
        wait = self.block_reload()
        self.proxy.signal(signal.SIGHUP)
        release = wait()
        self.proxy.write_config(self.config('nosuch'))
        peer.call('Reload')
        release(self.config('two'))
        kind, message = peer.read_answer()
        self.assertEqual(kind, 'error', message)
        self.assertIn(b'nosuch', message)
        self.assert_served_by(self.two)
        self.proxy.wait_for_log('reloaded: ', mark)

        # The same the other way round.
        wait = self.block_reload()
        self.proxy.signal(signal.SIGHUP)
        release = wait()
        self.proxy.write_config(self.config('one'))
        peer.call('Reload')
        release(self.config('nosuch'))
        self.assertEqual(peer.read_answer()[0], 'return')
        self.assert_served_by(self.one)

    def test_stop_during_a_reload(self):
        self.start()
        wait = self.block_reload()
        process = self.begin()
        release = wait()
        self.proxy.signal(signal.SIGTERM)
        release(self.config())
        # Which of the two comes first is left open; that there is an answer is not.
        self.assertIn(self.finish(process),
                      ((0, ''), (1, 'agitatorctl reload: agitator is stopping\n')))
        self.assertEqual(self.proxy.wait_exit(), 0)

    def test_upgrade(self):
        self.start()
        Adopted.adopt_all()
        for route, server in (('two', self.two), ('one', self.one)):
            mark = self.proxy.notices.mark()
            self.proxy.write_config(self.config(route))
            self.assertEqual(self.run_verb('upgrade'), (0, ''))
            self.assert_served_by(server)
            self.assertEqual(self.proxy.take_over(mark).wait(TIMEOUT), 0)
            self.assert_reloads()  # by the new one, and its socket stays

    def test_reload_right_after_an_upgrade(self):
        """There is always a process that answers."""
        self.start()
        Adopted.adopt_all()
        for _ in range(15):
            mark = self.proxy.notices.mark()
            self.assertEqual(self.run_verb('upgrade'), (0, ''))
            self.assert_reloads()
            self.proxy.take_over(mark)

    def test_upgrade_that_can_not_be(self):
        self.start()
        self.proxy.write_config('[Listener main]\n[Rout x]\n')
        status, error = self.run_verb('upgrade')
        self.assertEqual(status, 1)
        self.assertRegex(error, r'^agitatorctl upgrade: .*agitator\.conf:2: .*Rout')
        self.assert_served_by(self.one)

    def test_stopping(self):
        held = self.make_server(None)
        self.start()
        self.proxy.reload(Config(server_group('one', held.address),
                                 route_group('all', '*', 'one')).text)
        client, session = self.open_session(held)
        mark = self.proxy.notices.mark()
        self.proxy.signal(signal.SIGTERM)
        self.proxy.wait_notice('^STOPPING=1', mark)
        self.assertEqual(self.run_verb(), (1, 'agitatorctl reload: agitator is stopping\n'))
        self.assert_ends(client, session)
        self.assertEqual(self.proxy.wait_exit(), 0)
        self.assertFalse(os.path.lexists(self.path))

    def test_nobody_there(self):
        self.start()
        status, error = self.run_verb(path=self.path + '-other')
        self.assertEqual(status, 1)
        self.assertRegex(error, 'agitator is not running.*No such file')
        dead = self.make_path('dead')
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(dead)
        status, error = self.run_verb(path=dead)
        self.assertEqual(status, 1)
        self.assertRegex(error, 'agitator is not running.*refused')

    def test_daemon_killed_while_waiting(self):
        self.start()
        wait = self.block_reload()
        process = self.begin()
        wait()  # the call has come
        self.proxy.expected_status = -signal.SIGKILL
        self.proxy.signal(signal.SIGKILL)
        status, error = self.finish(process)
        self.assertEqual(status, 1)
        self.assertRegex(error, r'^agitatorctl reload: agitator ended, .+\n$')

        # The socket that it left behind is no obstacle to the next.
        self.assertTrue(stat.S_ISSOCK(os.lstat(self.path).st_mode))
        self.start_proxy(*self.groups, route_group('all', '*', 'one'), environment=self.runtime)
        self.assert_reloads()

    @unittest.skipIf(os.geteuid() != 0, 'only root can become somebody else')
    def test_others_may_not(self):
        self.start()
        os.chmod(self.directory.name, 0o755)
        # One that is built to count coverage complains where nobody can't write its counts.
        counts = self.make_path('counts')
        os.mkdir(counts)
        os.chmod(counts, 0o777)
        options = {'user': NOBODY, 'group': NOBODY, 'extra_groups': [],
                   'environment': {'GCOV_PREFIX': counts}}
        status, error = self.run_verb(**options)
        self.assertEqual(status, 1)
        self.assertIn('Permission denied', error)

        # Not even those whom the socket's mode lets in.
        os.chmod(self.path, 0o666)
        self.assertEqual(self.run_verb(**options), (
            1, f'agitatorctl reload: {self.path}: agitator closed the connection: only root and the user '
               'that it runs as may do this\n'))
        self.assert_reloads()

    def test_what_busctl_asks(self):
        """It says hello, as to a bus, and can ask for the version."""
        self.start()
        peer = self.keep(Peer(self.path))
        peer.call('Hello', path='/org/freedesktop/DBus', interface='org.freedesktop.DBus')
        kind, answer = peer.read_answer()
        self.assertEqual(kind, 'return')
        self.assertIn(b':1.1\0', answer)
        peer.call('Get', MANAGER, 'Version', interface='org.freedesktop.DBus.Properties')
        kind, answer = peer.read_answer()
        self.assertEqual(kind, 'return', answer)
        self.assertIn(run_program('--version').stdout.split()[1].encode() + b'\0', answer)

    def test_junk_and_silence(self):
        """They cost neither sessions, nor time, nor descriptors."""
        self.start()
        before = self.proxy.descriptors()
        for junk in (b'\0', b'GET / HTTP/1.1\r\n\r\n', b'\0AUTH EXTERNAL\r\nBEGIN\r\n' + b'l' * 4096,
                     os.urandom(65536)):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(self.path)
                try:
                    sock.sendall(junk)
                except OSError:
                    pass  # it need not listen to the end
        # More than there is room for, and more than need to be let in before agitatorctl is.
        silent = [self.keep(socket.socket(socket.AF_UNIX)) for _ in range(200)]
        for sock in silent:
            sock.connect(self.path)
        self.assert_served_by(self.one)
        spent = self.proxy.cpu_seconds()
        self.assert_reloads()
        self.assertLess(self.proxy.cpu_seconds() - spent, 1)
        # 64 have room. From systemd 256 on sd-bus has one more for each, which stands for its peer.
        self.assertLess(self.proxy.descriptors(), before + 150)
        for sock in silent:
            sock.close()
        self.proxy.wait_descriptors(before + 5)
        self.assert_reloads()

    def test_socket_that_was_removed_is_made_anew(self):
        self.start()
        os.unlink(self.path)
        wait_until(lambda: os.path.exists(self.path), 'the control socket', pause=0.05)
        self.assert_reloads()

    def test_socket_whose_folder_comes_later(self):
        folder = self.make_path('later')
        self.start_proxy(group('Answer', 'a'), route_group('all', '*', [], 'Answer=a'),
                         environment={'RUNTIME_DIRECTORY': folder})
        self.proxy.wait_for_log('no control socket: .*No such file')
        self.proxy.first_descriptors += 1
        os.mkdir(folder)
        path = os.path.join(folder, 'control')
        wait_until(lambda: os.path.exists(path), 'the control socket', pause=0.05)
        self.assert_reloads(path=path)

    def test_no_socket_is_no_reason_not_to_start(self):
        self.start()
        other = self.proxy
        for folder, warning in (('', None), (self.make_path('missing'), 'No such file'),
                                (self.make_path('x' * 120), 'too long')):
            self.start_proxy(*self.groups, route_group('all', '*', 'one'),
                             environment={'RUNTIME_DIRECTORY': folder})
            self.assert_served_by(self.one)
            if warning:
                self.proxy.wait_for_log('no control socket: .*' + warning)
            else:
                self.proxy.stop()  # then all of the log is there
                self.assertNotIn('control', self.proxy.log_text())
        self.proxy = other
        self.assert_reloads()


if __name__ == '__main__':
    main()
