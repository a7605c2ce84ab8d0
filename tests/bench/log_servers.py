# SPDX-License-Identifier: GPL-3.0-or-later
"""What log servers cost a session: agitator with none, with one that reads, one that is stopped, one
that answers no SYN, and one that reads a byte a second.

Each of them logs every session to standard error too. The log servers' own CPU time isn't counted.
"""

import contextlib
import dataclasses
import pathlib
import socket
import sys

import measures
from proxies import Agitator, Process

SINKS = ('none', 'none-again', 'reads', 'stopped', 'blackholed', 'slow')
QUEUE = 10000
LIGHT = ['--path=ivr/k3', '--rate=500']


class Sink(Process):
    """A log server that reads as fast as it can, or a byte a second."""

    name = 'sink'
    CODE = (
        'import socket, sys, threading, time\n'
        'slow = sys.argv[2] == "slow"\n'
        'listening = socket.socket(fileno=int(sys.argv[1]))\n'
        'def read(sock):\n'
        '    while sock.recv(1 if slow else 1 << 20):\n'
        '        time.sleep(1 if slow else 0)\n'
        'while True:\n'
        '    threading.Thread(target=read, args=(listening.accept()[0],), daemon=True).start()\n'
    )

    def start(self, speed):
        with socket.create_server(('127.0.0.1', 0)) as listening:
            self.port = listening.getsockname()[1]
            number = str(listening.fileno())
            self.spawn([sys.executable, '-c', self.CODE, number, speed],
                       pass_fds=[listening.fileno()])


class LoggingAgitator(Agitator):
    """sink: what the log server is like."""

    def __init__(self, directory, job, program, sink):
        super().__init__(directory, job, program, threads='1', log='console')
        self.kind, self.log_port, self.ending = sink, 0, contextlib.ExitStack()

    def start_sink(self):
        if self.kind in ('reads', 'slow'):
            sink = Sink(self.directory / 'sink')
            sink.start(self.kind)
            self.ending.callback(sink.stop)
            self.log_port = sink.port
        elif self.kind == 'stopped':  # bound, so that nobody else listens there
            bound = self.ending.enter_context(socket.socket())
            bound.bind(('127.0.0.1', 0))
            self.log_port = bound.getsockname()[1]
        elif self.kind == 'blackholed':  # a listening socket whose queue is full
            full = self.ending.enter_context(socket.create_server(('127.0.0.1', 0), backlog=0))
            for _ in range(4):
                filler = self.ending.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            self.log_port = full.getsockname()[1]

    def write_settings(self):
        settings = super().write_settings()
        if self.log_port:
            with open(settings, 'a', encoding='utf-8') as file:
                file.write(f'\n[Syslog one]\nAddress=tcp:127.0.0.1:{self.log_port}\n'
                           f'Queue={QUEUE}\n')
        return settings

    def start(self):
        self.start_sink()
        super().start()

    def stop(self):
        super().stop()
        self.ending.close()

    def cpu_of(self, name):
        """Nanoseconds of the threads of that name."""
        total = 0
        for task in pathlib.Path(f'/proc/{self.process.pid}/task').iterdir():
            if (task / 'comm').read_text().strip() == name:
                total += int((task / 'schedstat').read_text().split()[0])
        return total


def measure(bench, proxy, scenario):
    """CPU time under full load, the times that a client waits under a light one."""
    sending = proxy.cpu_of('syslog')
    values = measures.sessions(bench, proxy, scenario)
    sending = (proxy.cpu_of('syslog') - sending) / bench.sessions(scenario) / 1000
    light = dataclasses.replace(scenario, load=LIGHT)
    times = measures.latencies(bench.load(proxy, light, max(1, bench.sessions(scenario) // 5)))
    return {
        'CPU µs/session': values['CPU µs/session'],
        'without the sending thread': values['CPU µs/session'] - sending,
        'setup p50 µs': times['setup p50 µs'],
        'setup p99 µs': times['setup p99 µs'],
        'MB resident': proxy.memory() / 1e6,
    }
