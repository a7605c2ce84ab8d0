# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that are started on loopback and measured: the server, agitator and what has no routes.

Each proxy gets the same job: sessions for 20 routes, one of which ("ivr") the benchmark calls, with
TCP_NODELAY on both sides. Those of others are in rivals.py.
"""

import dataclasses
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

ROUTES = 20
NOBODY = 9  # a port where nothing listens: an error if the wrong route is taken

# Puts a socket where a service manager would, and becomes the program.
HAND_OVER = (
    'import os, sys\n'
    'os.dup2(int(sys.argv[1]), 3)\n'
    "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='main', LISTEN_PID=str(os.getpid()))\n"
    'os.execv(sys.argv[2], sys.argv[2:])\n'
)


class BenchError(Exception):
    """The run can't go on."""


@dataclasses.dataclass
class Job:
    """What all proxies of a scenario have to do."""

    server: int  # its port
    certificate: pathlib.Path  # and key; its own authority
    clients: str = ''  # "full" or "resumed": they speak TLS
    servers: str = ''  # they do

    @property
    def is_plain(self):
        return not self.clients and not self.servers


def route_names(count=ROUTES):
    return ['ivr'] + [f'route{n}' for n in range(1, count)]


def find_program(name):
    """Where it is installed, or None."""
    return shutil.which(name, path=os.environ['PATH'] + ':/usr/sbin')


def find_free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def can_connect(port):
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


class Process:
    """A program that was started here, with its children: started, measured, ended."""

    name = ''
    patience = 10.0  # seconds for a start or an end

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.process = None
        self.port = 0

    def spawn(self, command, **options):
        self.log = open(self.directory / 'log', 'ab')
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stderr=self.log,
            **{'stdout': self.log, **options},
        )

    def wait_until(self, condition, what='start'):
        deadline = time.monotonic() + self.patience
        while not condition():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = (self.directory / 'log').read_text(errors='replace')
                self.stop()
                raise BenchError(f'{self.name} did not {what}:\n{log[-2000:]}')
            time.sleep(0.01)

    def stop(self):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(self.patience)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None
        self.log.close()

    def pids(self):
        """The process and, nginx's workers for example, its children."""
        children = pathlib.Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children')
        return [self.process.pid] + [int(pid) for pid in children.read_text().split()]

    def cpu(self):
        """Nanoseconds on a CPU, user and kernel, of all threads, ended ones too
        (clock_getcpuclockid(3))."""
        return sum(time.clock_gettime_ns(~pid << 3 | 2) for pid in self.pids())

    def settled_cpu(self):
        """As cpu(), once what the last session left behind is done."""
        before, now = -1, self.cpu()
        for _ in range(50):
            if before == now:
                break
            time.sleep(0.02)
            before, now = now, self.cpu()
        return now

    def memory(self):
        """Resident bytes, counted page by page."""
        total = 0
        for pid in self.pids():
            rollup = pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text()
            total += int(re.search(r'^Rss:\s+(\d+) kB', rollup, re.M).group(1)) * 1024
        return total

    def descriptors(self):
        return sum(len(os.listdir(f'/proc/{pid}/fd')) for pid in self.pids())


class BenchServer(Process):
    """The FastAGI server that all of them use."""

    name = 'bench-server'

    def __init__(self, directory, tools):
        super().__init__(directory)
        self.tools = tools

    def start(self, tls=()):
        """tls: the certificate, and whether sessions can be resumed ("full" or "resumed")."""
        self.spawn([self.tools / 'bench-server', '127.0.0.1:0', *tls], stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        """Ends it; the counts it printed, and its first complaints."""
        if self.process is None:
            return ''
        pipe = self.process.stdout
        super().stop()
        with pipe:
            counts = pipe.read().decode().strip()
        return counts + '\n' + (self.directory / 'log').read_text(errors='replace')


class Direct(Process):
    """No proxy: the client calls the server."""

    def __init__(self, directory, job):
        super().__init__(directory)
        self.port = job.server

    def start(self):
        pass

    def pids(self):
        return []


class Relay(Process):
    """bench-relay, the floor. It can't route; it sends everything to the one server."""

    def __init__(self, directory, job, tools):
        super().__init__(directory)
        self.job, self.tools = job, tools

    def start(self):
        command = [self.tools / 'bench-relay', '127.0.0.1:0', f'127.0.0.1:{self.job.server}']
        self.spawn(command, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        if self.process:
            self.process.stdout.close()
        super().stop()


class Agitator(Process):
    """The program under test; its listening socket is handed over as systemd would.

    log: where a record of each session goes, "none", "journal" or "console". servers: how many share
    the route that is called.
    """

    def __init__(
        self, directory, job, program, threads='auto', log='none', routes=ROUTES, servers=1
    ):
        super().__init__(directory)
        self.job, self.program, self.threads, self.log_target = job, program, threads, log
        self.routes, self.servers = routes, servers
        self.listener = self.notify = None

    def write_settings(self):
        job = self.job
        names = [f'ivr-{n}' for n in range(self.servers)]
        text = f"""\
[Proxy]
Threads={self.threads}

[Log]
Target={'console' if self.log_target == 'none' else self.log_target}
Sessions={'none' if self.log_target == 'none' else 'all'}

[Listener main]
Listen=127.0.0.1:{self.port}
"""
        if job.clients:
            text += f'TLS=yes\nCertificate={job.certificate}\nPrivateKey={job.certificate}\n'
        for name in names:
            text += f'\n[Server {name}]\nAddress=127.0.0.1:{job.server}\n'
            if job.servers:
                text += f'TLS=yes\nTLSName=localhost\nCAFile={job.certificate}\n'
        text += f'\n[Server other]\nAddress=127.0.0.1:{NOBODY}\n'
        text += f"\n[Route ivr]\nPath=ivr\nMode=balance\nServers={';'.join(names)}\n"
        for route in route_names(self.routes)[1:]:
            text += f'\n[Route {route}]\nPath={route}\nServers=other\n'
        settings = self.directory / 'agitator.conf'
        settings.write_text(text)
        return settings

    def start(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        path = self.directory / 'notify'
        path.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(path))
        self.spawn(
            [sys.executable, '-c', HAND_OVER, self.listener.fileno(), *self.make_command()],
            pass_fds=[self.listener.fileno()],
            env={**os.environ, 'NOTIFY_SOCKET': str(path)},
        )
        self.wait_until(self.is_ready)
        # A socket that nobody reads would hold up who writes to it.
        self.close_notify()

    def make_command(self):
        return [self.program, f'--config={self.write_settings()}']

    def is_ready(self):
        readable, _, _ = select.select([self.notify], [], [], 0.1)
        return bool(readable) and b'READY=1' in self.notify.recv(4096).split(b'\n')

    def close_notify(self):
        self.notify.close()

    def stop(self):
        if self.listener:
            self.notify.close()
            self.listener.close()
        super().stop()


class ReloadingAgitator(Agitator):
    """One that can be told to read its configuration again, each time a changed one."""

    def close_notify(self):
        """It is read for as long as it runs."""
        self.reloads = 0

    def reload(self):
        self.reloads += 1
        self.routes = ROUTES + self.reloads % 2
        self.write_settings()
        self.process.send_signal(signal.SIGHUP)
        self.wait_until(self.is_reloaded, 'reload')

    def is_reloaded(self):
        """Each message says what it is; a reload that failed is ready too, and says so."""
        readable, _, _ = select.select([self.notify], [], [], 0.1)
        if not readable:
            return False
        message = self.notify.recv(4096)
        if b'failed' in message:
            raise BenchError(f'{self.name}: {message.decode()}')
        return b'READY=1' in message.split(b'\n')


class GoAgitator(Process):
    """The program that agitator replaces."""

    def __init__(self, directory, job, program):
        super().__init__(directory)
        self.job, self.program = job, program

    def start(self):
        self.port = find_free_port()
        text = f'listen = "127.0.0.1"\nport = {self.port}\nlog = "stdout"\ndebug = false\n'
        for route in route_names():
            port = self.job.server if route == 'ivr' else NOBODY
            text += f'[[route]]\npath = "{route}"\n[[route.host]]\naddr = "127.0.0.1"\n'
            text += f'port = {port}\n'
        settings = self.directory / 'agitator.toml'
        settings.write_text(text)
        self.spawn([self.program, '-conf', settings])
        self.wait_until(lambda: can_connect(self.port))
