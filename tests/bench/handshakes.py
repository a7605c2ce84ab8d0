# SPDX-License-Identifier: GPL-3.0-or-later
"""What a TLS handshake costs agitator, HAProxy, nginx and stunnel: CPU time of the proxy for each,
full and resumed, all with one certificate of P-256 and in turns, so that all meet the same machine.

usage: handshakes.py --agitator PATH [--rounds N] [--handshakes N] [--version TLSv1_2|TLSv1_3]

A connection is a handshake, the tickets, and an end: nothing is relayed, and no proxy but stunnel
dials a server for it. What stunnel spends on that is in its figure.
"""

import argparse
import os
import pathlib
import select
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time


def find_free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def agitator(folder, port, backend, path):
    (folder / 'a.conf').write_text(
        f'[Proxy]\nThreads=1\n[Log]\nTarget=console\nSessions=none\nLevel=warning\n'
        f'[Listener in]\nListen=127.0.0.1:{port}\nTLS=yes\nCertificate={folder}/both.pem\n'
        f'[Server out]\nAddress=127.0.0.1:{backend}\n[Route all]\nPath=*\nServers=out\n')
    return [path, f'--config={folder}/a.conf']


def haproxy(folder, port, backend, path):
    (folder / 'h.cfg').write_text(
        'global\n  nbthread 1\n  tune.ssl.default-dh-param 2048\n'
        'defaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  timeout connect 5s\n'
        f'frontend f\n  bind 127.0.0.1:{port} ssl crt {folder}/both.pem\n  default_backend b\n'
        f'backend b\n  server s 127.0.0.1:{backend}\n')
    return [path, '-db', '-f', f'{folder}/h.cfg']


def nginx(folder, port, backend, path):
    (folder / 'n.conf').write_text(
        f'daemon off; master_process off; pid {folder}/n.pid; error_log {folder}/n.log;\n'
        'events { worker_connections 4096; }\n'
        f'http {{ access_log off; server {{ listen 127.0.0.1:{port} ssl;\n'
        f'ssl_certificate {folder}/both.pem; ssl_certificate_key {folder}/both.pem;\n'
        'ssl_session_cache off; ssl_session_tickets on; ssl_protocols TLSv1.2 TLSv1.3; } }\n')
    return [path, '-c', f'{folder}/n.conf', '-p', str(folder)]


def stunnel(folder, port, backend, path):
    (folder / 's.conf').write_text(
        f'foreground = yes\ndebug = 3\npid =\n[s]\naccept = 127.0.0.1:{port}\n'
        f'connect = 127.0.0.1:{backend}\ncert = {folder}/both.pem\n'
        'options = -NO_TICKET\n')
    return [path, f'{folder}/s.conf']


PROXIES = {'agitator': agitator, 'haproxy': haproxy, 'nginx': nginx, 'stunnel4': stunnel}


class Running:
    def __init__(self, name, folder, backend, path):
        self.name, self.port = name, find_free_port()
        self.log = open(folder / f'{name}.out', 'wb')
        self.process = subprocess.Popen(PROXIES[name](folder, self.port, backend, path),
                                        stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise SystemExit(f'{name} does not start: see {self.log.name}')
                select.select([], [], [], 0.02)

    def cpu(self):
        """Seconds of all its threads, ended ones too (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def shake(context, port, session):
    """One connection; the session that it could be resumed with, and whether it was resumed."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, session=session)
    with socket.create_connection(('127.0.0.1', port), 5) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        sock.sendall(outgoing.read())
        if tls.version() == 'TLSv1.3':
            # The tickets, unless they came along with the handshake.
            if select.select([sock], [], [], 0.01)[0]:
                incoming.write(sock.recv(65536))
            try:
                tls.read(1)
            except ssl.SSLWantReadError:
                pass
        try:
            tls.unwrap()
        except ssl.SSLError:
            pass  # it wants to read the other end's
        try:
            sock.sendall(outgoing.read())
        except OSError:
            pass
        return tls.session, tls.session_reused


def measure(proxy, context, n, resume):
    """CPU microseconds of the proxy for each of `n` handshakes."""
    session = shake(context, proxy.port, None)[0] if resume else None
    before, reused = proxy.cpu(), 0
    for _ in range(n):
        next_session, was_reused = shake(context, proxy.port, session)
        reused += was_reused
        if resume:
            session = next_session
    used = proxy.cpu() - before
    if reused != (n if resume else 0):
        print(f'# {proxy.name}: {reused} of {n} resumed')
    return used / n * 1e6


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--agitator', required=True)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--handshakes', type=int, default=300)
    parser.add_argument('--version', default='TLSv1_3')
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix='agitator-'))
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:P-256', '-noenc', '-keyout', folder / 'key.pem', '-out',
                    folder / 'cert.pem', '-days', '30', '-subj', '/CN=localhost'],
                   check=True, capture_output=True)
    (folder / 'both.pem').write_text((folder / 'cert.pem').read_text()
                                     + (folder / 'key.pem').read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, options.version)
    backend = socket.create_server(('127.0.0.1', 0), backlog=4096)
    running = []
    try:
        for name in PROXIES:
            path = options.agitator if name == 'agitator' else shutil.which(
                name, path=os.environ['PATH'] + ':/usr/sbin')
            if path:
                running.append(Running(name, folder, backend.getsockname()[1], path))
            else:
                print(f'# {name} is not installed')
        results = {}
        for _ in range(options.rounds):
            for resume in (False, True):
                for proxy in running:
                    backend.setblocking(False)
                    while True:
                        try:
                            backend.accept()[0].close()
                        except BlockingIOError:
                            break
                    results.setdefault((proxy.name, resume), []).append(
                        measure(proxy, context, options.handshakes, resume))
        print(f'{options.version}: CPU microseconds for each handshake, median of '
              f'{options.rounds} rounds (least, most)')
        for resume in (False, True):
            for proxy in running:
                values = results[proxy.name, resume]
                print(f'{"resumed" if resume else "full":8} {proxy.name:10} '
                      f'{statistics.median(values):8.0f}  ({min(values):.0f}, {max(values):.0f})')
    finally:
        for proxy in running:
            proxy.close()
        shutil.rmtree(folder)
    sys.stdout.flush()


if __name__ == '__main__':
    main()
