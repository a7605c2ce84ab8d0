# SPDX-License-Identifier: GPL-3.0-or-later
"""What a session in TLS costs agitator, HAProxy, nginx and stunnel: CPU time of the proxy, for full
and resumed handshakes, all with one certificate of P-256 and in turns, so that all meet the same
machine.

usage: handshakes.py --agitator PATH --tools DIR [--rounds N] [--sessions N] [--commands N]
                     [--version TLSv1_2|TLSv1_3]

Each proxy takes TLS off and passes the bytes on to bench-server, on one thread: HAProxy in its TCP
mode, nginx in its stream module. A session is a handshake, an environment, the commands, and an end;
"plain" is the same without TLS, where a proxy can do that too.
"""

import argparse
import os
import pathlib
import shutil
import socket
import ssl
import statistics
import subprocess
import tempfile
import time

from proxies import BenchError, BenchServer, can_connect, find_free_port, Process

MODES = ('full', 'resumed', 'plain')
ENVIRONMENT_SIZE = 560


class TlsProxy(Process):
    """`port` is for TLS, `plain_port` for the same without; 0 if there is none."""

    program = ''

    def __init__(self, directory, backend, certificate):
        super().__init__(directory)
        self.backend, self.certificate = backend, certificate
        self.port, self.plain_port = find_free_port(), find_free_port()

    def find(self):
        return shutil.which(self.program, path=os.environ['PATH'] + ':/usr/sbin')

    def write(self, text):
        path = self.directory / 'settings'
        path.write_text(text)
        return path

    def start(self):
        self.spawn(self.make_command())
        self.wait_until(lambda: can_connect(self.port))

    def cpu_seconds(self):
        """Of all its threads, ended ones too (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.process.pid << 3 | 2)


class Agitator(TlsProxy):
    name = 'agitator'

    def find(self):
        return self.program

    def make_command(self):
        settings = self.write(f"""\
[Proxy]
Threads=1
[Log]
Target=console
Sessions=none
Level=warning
[Listener secure]
Listen=127.0.0.1:{self.port}
TLS=yes
Certificate={self.certificate}
[Listener plain]
Listen=127.0.0.1:{self.plain_port}
[Server out]
Address=127.0.0.1:{self.backend}
[Route all]
Path=*
Servers=out
""")
        return [self.find(), f'--config={settings}']


class HAProxy(TlsProxy):
    name = program = 'haproxy'

    def make_command(self):
        settings = self.write(f"""\
global
    nbthread 1
defaults
    mode tcp
    timeout connect 3s
    timeout client 1h
    timeout server 1h
frontend agi
    bind 127.0.0.1:{self.port} backlog 4096 ssl crt {self.certificate}
    bind 127.0.0.1:{self.plain_port} backlog 4096
    default_backend out
backend out
    server out 127.0.0.1:{self.backend}
""")
        return [self.find(), '-db', '-f', settings]


class Nginx(TlsProxy):
    name = program = 'nginx'
    MODULE = pathlib.Path('/usr/lib/nginx/modules/ngx_stream_module.so')

    def find(self):
        return super().find() if self.MODULE.exists() else None

    def make_command(self):
        settings = self.write(f"""\
load_module {self.MODULE};
daemon off;
master_process off;
pid {self.directory}/pid;
error_log {self.directory}/error.log;
events {{ worker_connections 4096; }}
stream {{
    tcp_nodelay on;
    server {{
        listen 127.0.0.1:{self.port} backlog=4096 ssl;
        ssl_certificate {self.certificate};
        ssl_certificate_key {self.certificate};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets on;
        proxy_pass 127.0.0.1:{self.backend};
    }}
    server {{
        listen 127.0.0.1:{self.plain_port} backlog=4096;
        proxy_pass 127.0.0.1:{self.backend};
    }}
}}
""")
        return [self.find(), '-e', self.directory / 'error.log', '-c', settings]


class Stunnel(TlsProxy):
    name, program = 'stunnel', 'stunnel4'

    def make_command(self):
        self.plain_port = 0
        settings = self.write(f"""\
foreground = yes
debug = 3
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[agi]
accept = 127.0.0.1:{self.port}
connect = 127.0.0.1:{self.backend}
cert = {self.certificate}
options = -NO_TICKET
""")
        return [self.find(), settings]


def make_environment(port, path, number):
    """As script_environment() in script.c makes it."""
    number = f'{number:08}'
    head = (f'agi_network: yes\nagi_network_script: {path}?id={number}\n'
            f'agi_request: agi://127.0.0.1:{port:05}/{path}?id={number}\n')
    tail = (f'agi_channel: PJSIP/trunk-{number}\nagi_language: en\nagi_type: PJSIP\n'
            f'agi_uniqueid: 1795408228.{number}\nagi_version: 22.10.1\n'
            'agi_callerid: 15551234567\nagi_calleridname: Alice Example\n'
            'agi_callingpres: 0\nagi_callingani2: 0\nagi_callington: 0\nagi_callingtns: 0\n'
            'agi_dnid: unknown\nagi_rdnis: unknown\nagi_context: from-trunk\n'
            'agi_extension: 100\nagi_priority: 2\nagi_enhanced: 0.0\nagi_accountcode: \n'
            'agi_threadid: 140259014751936\nagi_arg_1: ')
    return (head + tail).ljust(ENVIRONMENT_SIZE - 2, 'a').encode() + b'\n\n'


class Connection:
    """The client's end, in TLS when there is a context."""

    def __init__(self, sock, context, session):
        self.sock, self.tls = sock, None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.tls = context.wrap_bio(self.incoming, self.outgoing, session=session)

    def fill(self):
        data = self.sock.recv(65536)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def handshake(self):
        while self.tls:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                self.fill()

    def send(self, data):
        """Along with what is left of the handshake."""
        if self.tls:
            self.tls.write(data)
            data = self.outgoing.read()
        self.sock.sendall(data)

    def read(self):
        """b'' at the end."""
        if not self.tls:
            return self.sock.recv(65536)
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.fill()
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b''

    def finish(self):
        if not self.tls:
            return
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass  # it wants to read the other end's
        try:
            self.sock.sendall(self.outgoing.read())
        except OSError:
            pass


class Client:
    def __init__(self, version, commands):
        self.number, self.commands = 0, commands
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.context.minimum_version = self.context.maximum_version = getattr(ssl.TLSVersion,
                                                                              version)

    def run(self, proxy, mode, session):
        """One session of the proxy's; what it can be resumed with, and whether it was resumed."""
        self.number += 1
        port = proxy.plain_port if mode == 'plain' else proxy.port
        with socket.create_connection(('127.0.0.1', port), 10) as sock:
            peer = Connection(sock, None if mode == 'plain' else self.context, session)
            peer.handshake()
            peer.send(make_environment(port, f'ivr/k{self.commands}', self.number))
            got, replies = b'', 0
            while True:
                data = peer.read()
                got += data
                if not data:
                    break
                if got.count(b'\n') > replies:
                    replies += 1
                    peer.send(b'200 result=1\n')
            wanted = b''.join(b'SET VARIABLE BENCH %08d-%06d\n' % (self.number, n + 1)
                              for n in range(self.commands))
            if got != wanted:
                raise BenchError(f'{proxy.name}, {mode}: got {got!r} instead of {wanted!r}')
            peer.finish()
            return (peer.tls.session, peer.tls.session_reused) if peer.tls else (None, False)

    def measure(self, proxy, mode, n):
        """CPU microseconds of the proxy for each of `n` sessions."""
        session = self.run(proxy, mode, None)[0] if mode == 'resumed' else None
        before, reused = proxy.cpu_seconds(), 0
        for _ in range(n):
            next_session, was_reused = self.run(proxy, mode, session)
            reused += was_reused
            if mode == 'resumed':
                session = next_session
        used = proxy.cpu_seconds() - before
        if reused != (n if mode == 'resumed' else 0):
            print(f'# {proxy.name}, {mode}: {reused} of {n} resumed')
        return used / n * 1e6


def make_certificate(folder):
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:P-256', '-noenc', '-keyout', folder / 'key.pem', '-out',
                    folder / 'cert.pem', '-days', '30', '-subj', '/CN=localhost'],
                   check=True, capture_output=True)
    both = folder / 'both.pem'
    both.write_text((folder / 'cert.pem').read_text() + (folder / 'key.pem').read_text())
    return both


def report(results, names, options):
    print(f'{options.version}, {options.commands} commands: CPU microseconds per session, median '
          f'of {options.rounds} rounds (least, most), : haproxy, and without what plain costs')
    for mode in MODES:
        for name in names:
            values = results.get((name, mode))
            if not values:
                continue
            line = (f'{mode:8} {name:10} {statistics.median(values):8.0f}  '
                    f'({min(values):.0f}, {max(values):.0f})')
            if ('haproxy', mode) in results:
                ratios = [a / b for a, b in zip(values, results['haproxy', mode])]
                line += f'  {statistics.median(ratios):.2f}'
            if mode != 'plain' and (name, 'plain') in results:
                rest = [a - b for a, b in zip(values, results[name, 'plain'])]
                line += f'  {statistics.median(rest):.0f}'
            print(line, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--agitator', required=True)
    parser.add_argument('--tools', required=True, type=pathlib.Path)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--sessions', type=int, default=200)
    parser.add_argument('--commands', type=int, default=1)
    parser.add_argument('--version', default='TLSv1_3')
    options = parser.parse_args()
    Agitator.program = options.agitator
    folder = pathlib.Path(tempfile.mkdtemp(prefix='agitator-'))
    certificate = make_certificate(folder)
    client = Client(options.version, options.commands)
    server = BenchServer(folder / 'server', options.tools)
    running, results = [], {}
    try:
        server.start()
        for kind in (Agitator, HAProxy, Nginx, Stunnel):
            proxy = kind(folder / kind.name, server.port, certificate)
            if proxy.find():
                running.append(proxy)
                proxy.start()
            else:
                print(f'# {kind.name} is not installed')
        for round_number in range(options.rounds):
            turn = round_number % len(running)
            for mode in MODES:
                for proxy in running[turn:] + running[:turn]:
                    if mode != 'plain' or proxy.plain_port:
                        results.setdefault((proxy.name, mode), []).append(
                            client.measure(proxy, mode, options.sessions))
        report(results, [proxy.name for proxy in running], options)
    finally:
        for proxy in running:
            proxy.stop()
        print('# bench-server: ' + server.stop().strip())
        shutil.rmtree(folder)


if __name__ == '__main__':
    main()
