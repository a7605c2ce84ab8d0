# SPDX-License-Identifier: GPL-3.0-or-later
"""What else could stand in agitator's place, from Debian: HAProxy, nginx and stunnel.

HAProxy routes as agitator does; nginx's stream module and stunnel can't and send everything to the
one server. All have TCP_NODELAY on both sides, and verify a server that speaks TLS.
"""

import pathlib
import subprocess

from proxies import NOBODY, BenchError, Process, can_connect, find_free_port, find_program, \
    route_names


class Rival(Process):
    """A program that reads a file of settings."""

    program = ''

    def __init__(self, directory, job):
        super().__init__(directory)
        self.job = job

    @classmethod
    def is_installed(cls):
        return find_program(cls.program) is not None

    def write(self, text):
        settings = self.directory / 'settings'
        settings.write_text(text)
        return settings

    def make_command(self):
        raise NotImplementedError

    def start(self):
        self.port = find_free_port()
        self.spawn([find_program(self.program), *self.make_command()])
        self.wait_until(lambda: can_connect(self.port))


class HAProxy(Rival):
    """TCP mode. Once the block is whole, the path is cut out by a regular expression and looked up
    in a map. Lean: without keepalive, and without the cache of lookups, which never hits."""

    program = 'haproxy'
    PATH = (
        r'"req.payload(0,0),regsub('
        r"\"^(?:[^\\n]*\\n)*?agi_request: [^/]*//[^/\\n]*/([^?\\n]*)[\\s\\S]*\","
        r'\"\\1\")"'
    )

    def __init__(self, directory, job, threads, is_lean=False):
        super().__init__(directory, job)
        self.threads, self.is_lean = threads, is_lean

    def make_command(self):
        job, routes = self.job, self.directory / 'routes.map'
        routes.write_text(''.join(f'{route}/ {route}\n' for route in route_names()))
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
    bind 127.0.0.1:{self.port} backlog 4096 {f'ssl crt {job.certificate}' if job.clients else ''}
    tcp-request inspect-delay 10s
    tcp-request content set-var(txn.path) {self.PATH} if {{ req.payload(0,0) -m sub "\\n\\n" }}
    tcp-request content accept if {{ var(txn.path) -m found }}
    use_backend %[var(txn.path),map_beg({routes},none)]
"""
        tls = ''
        if job.servers:
            tls = f'ssl verify required ca-file {job.certificate} verifyhost localhost'
        for route in route_names():
            port = job.server if route == 'ivr' else NOBODY
            text += f'backend {route}\n    server {route} 127.0.0.1:{port} {tls}\n'
        settings = self.write(text)
        check = subprocess.run(
            [find_program('haproxy'), '-c', '-q', '-f', settings],
            capture_output=True, text=True, check=False,
        )
        if check.returncode != 0:
            raise BenchError(f'haproxy -c: {check.stderr}')
        return ['-db', '-f', settings]


class Nginx(Rival):
    """Its stream module, two processes."""

    program = 'nginx'
    WORKERS = 2
    MODULE = pathlib.Path('/usr/lib/nginx/modules/ngx_stream_module.so')

    @classmethod
    def is_installed(cls):
        return super().is_installed() and cls.MODULE.exists()

    def start(self):
        super().start()
        self.wait_until(lambda: len(self.pids()) == 1 + self.WORKERS)

    def make_tls(self):
        certificate, text = self.job.certificate, ''
        if self.job.clients:
            text += f"""\
        ssl_certificate {certificate};
        ssl_certificate_key {certificate};
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets on;
"""
        if self.job.servers:
            text += f"""\
        proxy_ssl on;
        proxy_ssl_protocols TLSv1.2 TLSv1.3;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {certificate};
        proxy_ssl_name localhost;
"""
        return text

    def make_command(self):
        settings = self.write(f"""\
load_module {self.MODULE};
user root;
daemon off;
worker_processes {self.WORKERS};
worker_rlimit_nofile 20000;
pid {self.directory}/pid;
error_log {self.directory}/error.log;
events {{ worker_connections 19000; }}
stream {{
    server {{
        listen 127.0.0.1:{self.port} so_keepalive=on backlog=4096{' ssl' * bool(self.job.clients)};
        proxy_pass 127.0.0.1:{self.job.server};
        proxy_socket_keepalive on;
        proxy_half_close on;
        proxy_connect_timeout 3s;
        proxy_timeout 1h;
{self.make_tls()}    }}
}}
""")
        return ['-e', self.directory / 'error.log', '-c', settings]


class Stunnel(Rival):
    """TLS on one side, which is all that it can do."""

    program = 'stunnel4'

    def make_command(self):
        certificate = self.job.certificate
        return [self.write(f"""\
foreground = yes
debug = 3
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[agi]
accept = 127.0.0.1:{self.port}
connect = 127.0.0.1:{self.job.server}
{f'cert = {certificate}' if self.job.clients else 'client = yes'}
{'' if self.job.clients else f'CAfile = {certificate}'}
{'' if self.job.clients else 'verifyChain = yes'}
{'' if self.job.clients else 'checkHost = localhost'}
options = -NO_TICKET
""")]
