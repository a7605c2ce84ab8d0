# SPDX-License-Identifier: GPL-3.0-or-later
"""One scenario's server, its proxies, and the load."""

import json
import os
import pathlib
import subprocess
import time

import proxies
from proxies import BenchError, find_program

LOAD_TIMEOUT = 120


def make_certificate(directory):
    """A certificate of P-256 with its key, which is its own authority too."""
    key, certificate = directory / 'key.pem', directory / 'certificate.pem'
    openssl = find_program('openssl')
    if not openssl:
        raise BenchError('openssl is not installed, which makes the certificates')
    subprocess.run(
        [openssl, 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
         '-noenc', '-keyout', key, '-out', certificate, '-days', '30', '-subj', '/CN=localhost',
         '-addext', 'subjectAltName=DNS:localhost'],
        check=True, capture_output=True,
    )
    both = directory / 'both.pem'
    both.write_text(certificate.read_text() + key.read_text())
    return both


class Bench:
    """Starts what a scenario needs, and measures by turns."""

    def __init__(self, options, directory):
        self.options = options
        self.directory = pathlib.Path(directory)
        self.tools = pathlib.Path(options.tools).resolve()
        self.program = pathlib.Path(options.agitator).resolve() if options.agitator else None
        self.certificate = make_certificate(self.directory)
        self.began = time.monotonic()

    def sessions(self, scenario):
        return max(1, int(scenario.sessions * self.options.scale))

    def progress(self, text):
        print(f'# {time.monotonic() - self.began:4.0f} s  {text}', flush=True)

    def pin(self, pids, others=False):
        """With --pin the proxies have a CPU of their own, and the load and the server the rest."""
        if self.options.pin is None:
            return
        alone = {self.options.pin}
        cpus = os.sched_getaffinity(0) - alone if others else alone
        for pid in pids:
            for task in os.listdir(f'/proc/{pid}/task'):
                os.sched_setaffinity(int(task), cpus)

    def start_proxy(self, proxy):
        proxy.start()
        if proxy.pids():
            self.pin(proxy.pids())

    def start_server(self, scenario):
        server = proxies.BenchServer(self.directory / 'server', self.tools)
        server.start((self.certificate, scenario.servers) if scenario.servers else ())
        self.pin(server.pids(), others=True)
        return server

    def stop_server(self, server, tell=True):
        counts = server.stop().strip()
        if tell:
            print(f'server: {counts}')
        if json.loads(counts.splitlines()[0])['errors'] > 0:
            raise BenchError(f'the server got bytes that were not sent: {counts}')

    def make_proxies(self, scenario, server, names):
        """Those of the scenario, or of names where it is given, that can be started here."""
        job = proxies.Job(server.port, self.certificate, scenario.clients, scenario.servers)
        found = []
        for name, arm in scenario.arms.items():
            if names and name not in names:
                continue
            reason = arm.missing(self)
            if reason:
                print(f'{name} is left out: {reason}')
                continue
            proxy = arm.make(self, self.directory / scenario.name / name, job)
            proxy.name = name
            found.append(proxy)
        if not found:
            raise BenchError(f'{scenario.name}: no proxy')
        return found

    def load(self, proxy, scenario, sessions, idle=0, when_idle=None, at_end=None):
        """Runs bench-load to its end; an error in a single session is one of the run.

        when_idle() and at_end() are called while the idle sessions are open, before and after the
        others; what at_end() returns becomes a part of the result.
        """
        command = [self.tools / 'bench-load', *scenario.load, f'--sessions={sessions}',
                   f'--idle={idle}', f'--timeout={LOAD_TIMEOUT}']
        if scenario.clients:
            command += [f'--tls={scenario.clients}', f'--tls-version={scenario.tls_version}']
        if when_idle:
            command.append('--wait')
        command.append(f'127.0.0.1:{proxy.port}')
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as load:
            self.pin([load.pid], others=True)
            try:
                line = load.stdout.readline()
                if when_idle and '"wall"' not in line:
                    when_idle()
                    print('go on', file=load.stdin, flush=True)
                    line = load.stdout.readline()
                result = json.loads(line or '{}')
                if at_end:
                    result['at_end'] = at_end()
                    print('close', file=load.stdin, flush=True)
                load.wait(LOAD_TIMEOUT + 10)
            finally:
                load.kill()
        if load.returncode != 0 or 'wall' not in result:
            raise BenchError(f'{proxy.name}: bench-load failed: {line.strip()}')
        return result

    def run(self, scenario, names=()):
        """{proxy: [{metric: value}, one for each round]}."""
        rounds = self.options.rounds
        print(f'\n## {scenario.name}: {scenario.about}; {rounds} rounds', flush=True)
        server = self.start_server(scenario)
        running = []
        try:
            for proxy in self.make_proxies(scenario, server, names):
                running.append(proxy)
                self.start_proxy(proxy)
                if not scenario.idle:  # which starts them anew
                    self.load(proxy, scenario, scenario.warm_up)
            values = {proxy.name: [] for proxy in running}
            for turn in range(rounds):
                first = turn % len(running)
                for proxy in running[first:] + running[:first]:
                    values[proxy.name].append(scenario.measure(self, proxy, scenario))
                self.progress(f'{scenario.name}: round {turn + 1} of {rounds}')
        finally:
            for proxy in running:
                proxy.stop()
            self.stop_server(server)
        return values
