# SPDX-License-Identifier: GPL-3.0-or-later
"""What log servers cost a session: agitator with none, with one that reads, one that is stopped, one
that answers no SYN, and one that reads a byte a second, by turns, so that all meet the same machine.

usage: syslog.py --agitator PATH --tools DIR [--rounds N] [--sessions N]

Each of them logs every session to standard error too. CPU is that of all threads, and of all but the
one that sends to log servers; the servers' own isn't counted.
"""

import argparse
import pathlib
import shutil
import socket
import statistics
import sys
import tempfile

from proxies import Agitator, BenchError, BenchServer, Process
from run import Bench

QUEUE = 10000
RATE = 500  # sessions a second, for the times


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

    def __init__(self, directory, speed):
        super().__init__(directory)
        self.speed = speed

    def start(self):
        with socket.create_server(('127.0.0.1', 0)) as listening:
            self.port = listening.getsockname()[1]
            number = str(listening.fileno())
            self.spawn([sys.executable, '-c', self.CODE, number, self.speed],
                       pass_fds=[listening.fileno()])


class LoggingAgitator(Agitator):
    """With a log server at `port`, or none when that is 0."""

    def __init__(self, directory, server, program, name, port):
        super().__init__(directory, server, program, threads='1')
        self.name, self.log_port = name, port

    def write_settings(self):
        settings = super().write_settings()
        text = settings.read_text().replace('Sessions=none', 'Sessions=all')
        text = text.replace('Target=journal', 'Target=console')
        if self.log_port:
            text += (f'\n[Syslog one]\nAddress=tcp:127.0.0.1:{self.log_port}\nQueue={QUEUE}\n')
        settings.write_text(text)
        return settings

    def cpu_of(self, name):
        """Nanoseconds of the threads of that name."""
        total = 0
        for task in pathlib.Path(f'/proc/{self.process.pid}/task').iterdir():
            if (task / 'comm').read_text().strip() == name:
                total += int((task / 'schedstat').read_text().split()[0])
        return total


def make_blackhole():
    """A listening socket whose queue is full, and what fills it."""
    listening = socket.create_server(('127.0.0.1', 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(listening.getsockname())
    return [listening, *fillers]


def load(bench, proxy, sessions, pace):
    result = bench.load(proxy, ['--path=ivr/k3', pace, f'--sessions={sessions}'])
    if result['errors'] or result['sessions'] != sessions:
        raise BenchError(f'{proxy.name}: {result}')
    return result


def measure(bench, proxy, sessions):
    """CPU time under full load, the times that a client waits under a light one."""
    before, sending = proxy.settled_cpu(), proxy.cpu_of('syslog')
    load(bench, proxy, sessions, '--concurrency=64')
    used = proxy.settled_cpu() - before
    sending = proxy.cpu_of('syslog') - sending
    light = load(bench, proxy, sessions // 5, f'--rate={RATE}')
    return {
        'CPU µs/session': used / sessions / 1000,
        'CPU without sending': (used - sending) / sessions / 1000,
        'setup p50 µs': light['setup_us']['p50'],
        'setup p90 µs': light['setup_us']['p90'],
        'setup p99 µs': light['setup_us']['p99'],
        'MB resident': proxy.memory() / 1e6,
    }


def report(values, rounds):
    print(f'short sessions, each logged: median of {rounds} rounds, and of the ratios to "none"')
    for metric in next(iter(values.values()))[0]:
        print(metric)
        for name, series in values.items():
            mine = [value[metric] for value in series]
            ratios = [a / b[metric] for a, b in zip(mine, values['none'])]
            print(f'  {name:12} {statistics.median(mine):10.1f}  {statistics.median(ratios):6.3f}'
                  f'  ({min(mine):.1f} to {max(mine):.1f})', flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--agitator', required=True)
    parser.add_argument('--tools', required=True, type=pathlib.Path)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--sessions', type=int, default=10000)
    options = parser.parse_args()
    options.idle, options.pin, options.scale = 0, None, 1.0
    folder = pathlib.Path(tempfile.mkdtemp(prefix='agitator-bench-'))
    program = pathlib.Path(options.agitator).resolve()
    bench = Bench(options)
    server = BenchServer(folder / 'server', options.tools.resolve())
    sinks = [Sink(folder / speed, speed) for speed in ('fast', 'slow')]
    blackhole = make_blackhole()
    with socket.socket() as stopped:  # bound, so that nobody else listens there
        stopped.bind(('127.0.0.1', 0))
        running = [server, *sinks]
        try:
            for process in running:
                process.start()
            ports = {'none': 0, 'none again': 0, 'reads': sinks[0].port,
                     'stopped': stopped.getsockname()[1],
                     'blackholed': blackhole[0].getsockname()[1], 'a byte/s': sinks[1].port}
            proxies = [LoggingAgitator(folder / name.replace('/', '-'), server, program, name, port)
                       for name, port in ports.items()]
            values = {proxy.name: [] for proxy in proxies}
            for proxy in proxies:
                running.append(proxy)
                proxy.start()
                bench.load(proxy, ['--path=ivr/k3', '--concurrency=64', f'--sessions={QUEUE + 1000}'])
            for number in range(options.rounds):
                turn = number % len(proxies)
                for proxy in proxies[turn:] + proxies[:turn]:
                    values[proxy.name].append(measure(bench, proxy, options.sessions))
            report(values, options.rounds)
        finally:
            for process in reversed(running):
                process.stop()
            for sock in blackhole:
                sock.close()
            shutil.rmtree(folder)


if __name__ == '__main__':
    main()
