# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxies that are compared: how each is started on loopback, and what it costs.

Each one gets the same job: sessions for 20 routes, one of which ("ivr") the benchmark calls, with
TCP_NODELAY on both sides. Only nginx and bench-relay can't route; they send everything to the one
server.
"""

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

ROUTES = ['ivr'] + [f'route{n}' for n in range(1, 20)]
START_TIMEOUT = 10.0

# Puts a socket where a service manager would, and becomes the program.
HAND_OVER = (
    'import os, sys\n'
    'os.dup2(int(sys.argv[1]), 3)\n'
    "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='plain', LISTEN_PID=str(os.getpid()))\n"
    'os.execv(sys.argv[2], sys.argv[2:])\n'
)


class BenchError(Exception):
    """The run can't go on."""


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
    arguments = []

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
        deadline = time.monotonic() + START_TIMEOUT
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
                self.process.wait(5)
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
        """Nanoseconds on a CPU, all threads, user and kernel."""
        total = 0
        for pid in self.pids():
            for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
                total += int((task / 'schedstat').read_text().split()[0])
        return total

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

    def start(self):
        self.spawn([self.tools / 'bench-server'], stdout=subprocess.PIPE)
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

    name = 'direct'

    def __init__(self, directory, server):
        super().__init__(directory)
        self.port = server.port

    def start(self):
        pass

    def pids(self):
        return []


class Relay(Process):
    """bench-relay, the floor."""

    name = 'relay'

    def __init__(self, directory, server, tools):
        super().__init__(directory)
        self.server = server
        self.tools = tools

    def start(self):
        command = [self.tools / 'bench-relay', '127.0.0.1:0', f'127.0.0.1:{self.server.port}']
        self.spawn(command, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def stop(self):
        if self.process:
            self.process.stdout.close()
        super().stop()


class HAProxy(Process):
    """TCP mode. Once the block is whole, the path is cut out by a regular expression and looked up
    in a map. Lean: without keepalive, and without the cache of lookups, which never hits."""

    PATH = (
        r'"req.payload(0,0),regsub('
        r"\"^(?:[^\\n]*\\n)*?agi_request: [^/]*//[^/\\n]*/([^?\\n]*)[\\s\\S]*\","
        r'\"\\1\")"'
    )

    def __init__(self, directory, server, threads, is_lean=False):
        super().__init__(directory)
        self.name = 'haproxy-lean' if is_lean else f'haproxy-{threads}'
        self.server = server
        self.threads = threads
        self.is_lean = is_lean

    @staticmethod
    def is_installed():
        return shutil.which('haproxy', path=os.environ['PATH'] + ':/usr/sbin') is not None

    def write_settings(self):
        routes = self.directory / 'routes.map'
        routes.write_text(''.join(f'{route}/ {route}\n' for route in ROUTES))
        text = f"""\
global
    nbthread {self.threads}
    maxconn 9900
    {'tune.pattern.cache-size 0' if self.is_lean else ''}
defaults
    mode tcp
    timeout connect 3s
    timeout client 1h
    timeout server 1h
    {'' if self.is_lean else 'option clitcpka'}
    {'' if self.is_lean else 'option srvtcpka'}
frontend agi
    bind 127.0.0.1:{self.port} backlog 4096
    tcp-request inspect-delay 10s
    tcp-request content set-var(txn.path) {self.PATH} if {{ req.payload(0,0) -m sub "\\n\\n" }}
    tcp-request content accept if {{ var(txn.path) -m found }}
    use_backend %[var(txn.path),map_beg({routes},none)]
"""
        # The other routes lead to a port where nothing listens: an error if one of them is taken.
        for route in ROUTES:
            port = self.server.port if route == 'ivr' else 9
            text += f'backend {route}\n    server {route} 127.0.0.1:{port}\n'
        settings = self.directory / 'haproxy.cfg'
        settings.write_text(text)
        return settings

    def start(self):
        program = shutil.which('haproxy', path=os.environ['PATH'] + ':/usr/sbin')
        self.port = find_free_port()
        settings = self.write_settings()
        check = subprocess.run(
            [program, '-c', '-q', '-f', settings], capture_output=True, text=True, check=False
        )
        if check.returncode != 0:
            raise BenchError(f'haproxy -c: {check.stderr}')
        self.spawn([program, '-db', '-f', settings])
        self.wait_until(lambda: can_connect(self.port))


class Nginx(Process):
    """Its stream module; it can't route."""

    name = 'nginx'
    MODULE = pathlib.Path('/usr/lib/nginx/modules/ngx_stream_module.so')

    def __init__(self, directory, server):
        super().__init__(directory)
        self.server = server

    @classmethod
    def is_installed(cls):
        has_program = shutil.which('nginx', path=os.environ['PATH'] + ':/usr/sbin')
        return has_program is not None and cls.MODULE.exists()

    def start(self):
        self.port = find_free_port()
        settings = self.directory / 'nginx.conf'
        settings.write_text(
            f"""\
load_module {self.MODULE};
user root;
daemon off;
worker_processes 2;
worker_rlimit_nofile 20000;
pid {self.directory}/pid;
error_log {self.directory}/error.log;
events {{ worker_connections 19000; }}
stream {{
    server {{
        listen 127.0.0.1:{self.port} so_keepalive=on backlog=4096;
        proxy_pass 127.0.0.1:{self.server.port};
        proxy_socket_keepalive on;
        proxy_half_close on;
        proxy_connect_timeout 3s;
        proxy_timeout 1h;
    }}
}}
"""
        )
        program = shutil.which('nginx', path=os.environ['PATH'] + ':/usr/sbin')
        self.spawn([program, '-e', self.directory / 'error.log', '-c', settings])
        self.wait_until(lambda: can_connect(self.port))


class Agitator(Process):
    """The program under test; its listening socket is handed over as systemd would."""

    @staticmethod
    def has_journal():
        """Something takes what is sent to the journal: journald, or journal.py."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            return probe.connect_ex('/run/systemd/journal/socket') == 0

    def __init__(self, directory, server, program, threads='auto', sessions='none'):
        super().__init__(directory)
        self.name = 'agitator' if threads == 'auto' else f'agitator-{threads}'
        if sessions != 'none':
            self.name += '-journal'
        self.server = server
        self.program = program
        self.threads = threads
        self.sessions = sessions
        self.listener = None

    def write_settings(self):
        text = f"""\
[Proxy]
Threads={self.threads}

[Log]
Target={'console' if self.sessions == 'none' else 'journal'}
Sessions={self.sessions}

[Listener plain]
Listen=127.0.0.1:{self.port}

[Server ivr]
Address=127.0.0.1:{self.server.port}

[Server other]
Address=127.0.0.1:9
"""
        for route in ROUTES:
            server = 'ivr' if route == 'ivr' else 'other'
            text += f'\n[Route {route}]\nPath={route}\nServers={server}\n'
        settings = self.directory / 'agitator.conf'
        settings.write_text(text)
        return settings

    def start(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        path = self.directory / 'notify'
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(str(path))
            number = str(self.listener.fileno())
            command = [self.program, f'--config={self.write_settings()}']
            self.spawn(
                [sys.executable, '-c', HAND_OVER, number, *command],
                pass_fds=[self.listener.fileno()],
                env={**os.environ, 'NOTIFY_SOCKET': str(path)},
            )
            self.wait_until(lambda: self.is_ready(notify))

    @staticmethod
    def is_ready(notify):
        readable, _, _ = select.select([notify], [], [], 0.1)
        return bool(readable) and b'READY=1' in notify.recv(4096).split(b'\n')

    def stop(self):
        if self.listener:
            self.listener.close()
        super().stop()


class GoAgitator(Process):
    """The program that agitator replaces."""

    name = 'go'

    def __init__(self, directory, server, program):
        super().__init__(directory)
        self.server = server
        self.program = program

    def start(self):
        self.port = find_free_port()
        text = f'listen = "127.0.0.1"\nport = {self.port}\nlog = "stdout"\ndebug = false\n'
        for route in ROUTES:
            port = self.server.port if route == 'ivr' else 9
            text += f'[[route]]\npath = "{route}"\n[[route.host]]\naddr = "127.0.0.1"\n'
            text += f'port = "{port}"\n'
        settings = self.directory / 'agitator.toml'
        settings.write_text(text)
        self.spawn([self.program, '-conf', settings])
        self.wait_until(lambda: can_connect(self.port))
