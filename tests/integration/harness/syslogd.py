# SPDX-License-Identifier: GPL-3.0-or-later
"""Real syslog daemons, run in the foreground with a configuration of the test's, and what they made
of the messages they got: a line of JSON for each, as their own parsers took it apart."""

import datetime
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess

from .waiting import TIMEOUT, wait_until

CACHE = os.environ.get('AGITATOR_SYSTEM_CACHE') or '/var/cache/agitator-tests'

# The parts of a message that each daemon names in its own way.
PARTS = ('PRI', 'TIME', 'HOST', 'APP', 'PID', 'MSGID', 'MSG')


class Skip(Exception):
    """It isn't there."""


def free_port():
    """One that is free for TCP and UDP, at this moment."""
    for _ in range(100):
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(('127.0.0.1', 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return tcp.getsockname()[1]
    raise AssertionError('no port is free')


class Syslogd:
    """One in `folder`, which is there already. `transport` is udp, tcp, tls, or unix with a `path`;
    `tls` a dictionary of ca, certificate and key, and of mutual. `fields` are the names of the
    parameters that are to be in its output."""

    def __init__(self, folder, transport, fields=(), path=None, tls=None):
        self.folder, self.transport, self.path, self.tls = folder, transport, path, tls
        self.fields = fields
        self.port = None if path else free_port()
        self.out = self.file('out.json')
        self.process = None
        with open(self.file('conf'), 'w', encoding='utf-8') as file:
            file.write(self.configure())

    def file(self, name):
        return os.path.join(self.folder, name)

    @property
    def address(self):
        return 'unix:' + self.path if self.path else f'{self.transport}:localhost:{self.port}'

    def start(self):
        command, environment = self.command()
        with open(self.file('stderr'), 'ab') as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors,
                                            stderr=errors, cwd=self.folder,
                                            env={**os.environ, **environment})
        wait_until(self.is_ready, 'a syslog daemon that listens')
        return self

    def is_ready(self):
        if self.process.poll() is not None:
            raise AssertionError('the syslog daemon has ended: ' + self.errors())
        if self.path:
            return os.path.exists(self.path)
        table = '/proc/net/udp' if self.transport == 'udp' else '/proc/net/tcp'
        with open(table, encoding='ascii') as file:
            return re.search(rf' 0100007F:{self.port:04X} \S+ (?:0A|07) ', file.read())

    def errors(self):
        with open(self.file('stderr'), encoding='utf-8', errors='replace') as file:
            return file.read()

    def close(self):
        self.stop()

    def stop(self, by=signal.SIGTERM):
        """In order, so that everything it has got is written."""
        if self.process:
            self.process.send_signal(by)
            try:
                self.process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError('the syslog daemon did not end: ' + self.errors()) from None
        self.process = None

    def count(self):
        """How many messages it has written."""
        try:
            with open(self.out, 'rb') as file:
                return sum(block.count(b'\n') for block in iter(lambda: file.read(1 << 20), b''))
        except FileNotFoundError:
            return 0

    def wait(self, n):
        """Until it has written so many messages."""
        wait_until(lambda: self.count() >= n, f'{n} messages at the syslog daemon', pause=0.05)
        return self.messages()

    def messages(self):
        with open(self.out, encoding='utf-8') as file:
            return [self.read(json.loads(line)) for line in file]


def read_time(text):
    return datetime.datetime.fromisoformat(text)


class Rsyslog(Syslogd):
    INPUTS = {
        'udp': 'module(load="imudp")\n'
               'input(type="imudp" address="127.0.0.1" port="{port}" ruleset="all")\n',
        'tcp': 'module(load="imtcp" {tls})\n'
               'input(type="imtcp" address="127.0.0.1" port="{port}" ruleset="all")\n',
        'unix': 'module(load="imuxsock" SysSock.Use="off")\n'
                'input(type="imuxsock" Socket="{path}" ruleset="all" '
                'UseSysTimeStamp="off" RateLimit.Interval="0")\n',
    }
    NAMES = dict(zip(PARTS, ('pri', 'timereported', 'hostname', 'app-name', 'procid', 'msgid',
                             'msg')))
    driver = 'ossl'

    def command(self):
        program = shutil.which('rsyslogd', path=os.environ.get('PATH', '') + ':/usr/sbin')
        return [program, '-n', '-f', self.file('conf'), '-i', self.file('pid')], {}

    @classmethod
    def check(cls, transport):
        if not shutil.which('rsyslogd', path=os.environ.get('PATH', '') + ':/usr/sbin'):
            raise Skip('rsyslogd is not installed (package rsyslog)')
        if transport == 'tls' and not glob.glob(f'/usr/lib*/rsyslog/lmnsd_{cls.driver}.so') + \
                glob.glob(f'/usr/lib/*/rsyslog/lmnsd_{cls.driver}.so'):
            raise Skip(f'rsyslog has no driver for TLS (package rsyslog-{cls.package})')
        if not glob.glob('/usr/lib*/rsyslog/mmpstrucdata.so') + \
                glob.glob('/usr/lib/*/rsyslog/mmpstrucdata.so'):
            raise Skip('rsyslog has no mmpstrucdata')

    package = 'openssl'

    def configure(self):
        extra, tls = '', ''
        if self.tls:
            extra = ''.join(f' DefaultNetstreamDriver{key}File="{self.tls[name]}"' for key, name in
                            (('CA', 'ca'), ('Cert', 'certificate'), ('Key', 'key')))
            mode = 'x509/certvalid' if self.tls.get('mutual') else 'anon'
            tls = (f'StreamDriver.Name="{self.driver}" StreamDriver.Mode="1" '
                   f'StreamDriver.AuthMode="{mode}"')
        lines = [f'property(outname="{out}" name="{name}" format="jsonf"'
                 + (' dateFormat="rfc3339")' if out == 'TIME' else ')')
                 for out, name in self.NAMES.items()]
        lines += [f'property(outname="d_{field}" format="jsonf" '
                  f'name="$!rfc5424-sd!{element}!{field}")'
                  for element, field in self.fields]
        kind = 'tcp' if self.transport == 'tls' else self.transport
        source = self.INPUTS[kind].format(port=self.port, path=self.path, tls=tls)
        return (f'global(workDirectory="{self.folder}" maxMessageSize="64k"{extra})\n'
                'main_queue(queue.timeoutShutdown="10000")\n'
                'module(load="mmpstrucdata")\n'
                f'template(name="json" type="list" option.jsonf="on") {{\n{chr(10).join(lines)}\n}}\n'
                'ruleset(name="all") {\n'
                'action(type="mmpstrucdata" sd_name.lowercase="off")\n'
                f'action(type="omfile" file="{self.out}" template="json")\n}}\n' + source)

    def read(self, line):
        data = {name[2:]: value for name, value in line.items() if name.startswith('d_') and value}
        parts = {name: line[name] for name in PARTS}
        parts['MSG'] = parts['MSG'].removeprefix('\ufeff') if not self.path else parts['MSG'][1:]
        return {**parts, 'PRI': int(parts['PRI']), 'TIME': read_time(parts['TIME']), 'DATA': data}


class RsyslogGnutls(Rsyslog):
    driver, package = 'gtls', 'gnutls'


class SyslogNg(Syslogd):
    SOURCES = {
        'udp': 'syslog(ip(127.0.0.1) port({port}) transport("udp"))',
        'tcp': 'syslog(ip(127.0.0.1) port({port}) transport("tcp") log-iw-size(100000))',
        'tls': 'syslog(ip(127.0.0.1) port({port}) transport("tls") tls({tls}))',
        'unix': 'unix-dgram("{path}")',
        'unix-stream': 'unix-stream("{path}")',
    }
    MACROS = dict(zip(PARTS, ('PRI', 'S_ISODATE', 'HOST', 'PROGRAM', 'PID', 'MSGID', 'MESSAGE')))

    @staticmethod
    def root():
        """Where it is: the system's, or where get-syslog-ng has put it."""
        for root in ('/', os.path.join(CACHE, 'syslog-ng')):
            if os.access(os.path.join(root, 'usr/sbin/syslog-ng'), os.X_OK):
                return root
        return None

    @classmethod
    def check(cls, transport):
        if not cls.root():
            raise Skip('syslog-ng is neither installed nor unpacked (tests/integration/get-syslog-ng)')

    def environment(self):
        root = self.root()
        if root == '/':
            return {}
        return {'LD_LIBRARY_PATH': ':'.join(
            [*glob.glob(root + '/usr/lib/*-linux-gnu'), *glob.glob(root + '/lib/*-linux-gnu'),
             root + '/usr/lib/syslog-ng', *glob.glob(root + '/usr/lib/*/syslog-ng')])}

    def version(self):
        run = subprocess.run([self.root() + '/usr/sbin/syslog-ng', '--version'], check=True,
                             capture_output=True, encoding='utf-8',
                             env={**os.environ, **self.environment()})
        return re.search(r'\((\d+\.\d+)', run.stdout)[1]

    def command(self):
        root = self.root()
        modules = [] if root == '/' else [
            '--module-path=' + next(path for path in glob.glob(root + '/usr/lib/syslog-ng/[0-9]*')
                                    + glob.glob(root + '/usr/lib/*/syslog-ng/[0-9]*'))]
        return [root + '/usr/sbin/syslog-ng', '-F', '--no-caps', '--stderr',
                '-f', self.file('conf'), '-R', self.file('persist'), '-p', self.file('pid'),
                '-c', self.file('ctl'), *modules], self.environment()

    def configure(self):
        tls = ''
        if self.tls:
            verify = 'required-trusted' if self.tls.get('mutual') else 'optional-untrusted'
            tls = (f'key-file("{self.tls["key"]}") cert-file("{self.tls["certificate"]}") '
                   f'ca-file("{self.tls["ca"]}") peer-verify({verify})')
        source = self.SOURCES[self.transport].format(port=self.port, path=self.path, tls=tls)
        pairs = ' '.join(f'{part}=${macro}' for part, macro in self.MACROS.items())
        return (f'@version: {self.version()}\n'
                'options { keep-hostname(yes); use-dns(no); dns-cache(no); chain-hostnames(no); '
                'frac-digits(6); log-msg-size(65536); };\n'
                f'source s {{ {source}; }};\n'
                f'destination d {{ file("{self.out}" '
                f'template("$(format-json {pairs} --key .SDATA.*)\\n")); }};\n'
                'log { source(s); destination(d); flags(flow-control); };\n')

    def read(self, line):
        parts = {name: line[name] for name in PARTS}
        data = {key: value for element in line.get('_SDATA', {}).values()
                for key, value in element.items()}
        return {**parts, 'PRI': int(parts['PRI']), 'TIME': read_time(parts['TIME']), 'DATA': data}
