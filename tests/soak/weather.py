# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the proxy during a soak: servers die and return, it is reloaded, well and badly, the
log server comes and goes, and now and then another process takes over."""

import random
import threading

from harness.connection import listen_tcp
from harness.logserver import StreamLogServer
from harness.server import PretendServer

from accounts import shipped
from tools import LOG_HOST, SERVER_HOST


WEATHER_TIME = 10  # seconds between two events of a kind, about


class MortalServer:
    """A server that dies as a crashed one does, resetting its sessions, and returns to its port."""

    def __init__(self, behaviour):
        self.behaviour = behaviour
        self.server = PretendServer(behaviour, host=SERVER_HOST)
        self.address = self.server.address
        self.problems = []

    def die(self):
        server, self.server = self.server, None
        server.stop_listening()
        for session in server.sessions:
            if not session.closed:
                session.reset()
        for thread in server.threads:
            thread.join(60)
        self.problems += map(str, server.errors)

    def live_again(self):
        port = int(self.address.rpartition(':')[2])
        self.server = PretendServer(self.behaviour, sock=listen_tcp(SERVER_HOST, port=port))

    def close(self):
        if self.server:
            self.server.close()


class FlappingLogServer:
    """One address, and one log server after the other."""

    def __init__(self):
        self.server = StreamLogServer(sock=listen_tcp(LOG_HOST))
        self.port = self.server.port
        self.older = []  # what others before it have got of sessions

    def go_away(self):
        server, self.server = self.server, None
        server.close()
        self.older += shipped(server.messages.items)

    def come_back(self):
        self.server = StreamLogServer(sock=listen_tcp(LOG_HOST, port=self.port))

    def shipped(self):
        return self.older + (shipped(self.server.messages.items) if self.server else [])

    def close(self):
        if self.server:
            self.server.close()


class Weather:
    """Two threads: servers have their own. `world` is that of `run`; upgrades are at the times given,
    in seconds from the start."""

    def __init__(self, world, upgrades, seconds, seed):
        self.world, self.pause = world, min(WEATHER_TIME, seconds / 12)
        self.upgrades = list(upgrades)
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.problems = []
        self.counts = {'deaths': 0, 'reloads': 0, 'bad reloads': 0, 'log outages': 0, 'upgrades': 0}
        self.threads = [threading.Thread(target=self._run, args=(work,), daemon=True)
                        for work in (self._kill_servers, self._disturb_proxy)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def finish(self, timeout):
        """Everything is as at the start when this returns."""
        self.over.set()
        for thread in self.threads:
            thread.join(timeout)
            if thread.is_alive():
                self.problems.append('the weather did not end')
        if self.pause == WEATHER_TIME:  # and not a short run
            self.problems += [f'there were no {name}' for name, n in self.counts.items() if not n]

    def _run(self, work):
        try:
            work()
        except Exception as error:  # a run without it shows less than it says
            self.problems.append(f'{work.__name__}: {type(error).__name__}: {error}')

    def _wait(self, least, most):
        """False when the soak is over."""
        return not self.over.wait(self.random.uniform(least, most) * self.pause)

    def _kill_servers(self):
        while self._wait(0.5, 1.5):
            server = self.random.choice(self.world.mortals)
            self.world.deaths += 1
            server.die()
            # Once more, for calls that have begun since.
            self.world.deaths += 1
            self.counts['deaths'] += 1
            self._wait(0.2, 0.6)
            server.live_again()

    def _disturb_proxy(self):
        due = []
        while self._wait(0.5, 1.0):
            if self.upgrades and self.world.elapsed() > self.upgrades[0]:
                self.upgrades.pop(0)
                self.world.upgrade()
                self.counts['upgrades'] += 1
                continue
            if not due:
                due = [self._reload, self._reload_badly, self._flap_log]
                self.random.shuffle(due)
            due.pop()()

    def _reload(self):
        self.counts['reloads'] += 1
        self.world.proxy.reload(self.world.config(self.counts['reloads']))

    def _reload_badly(self):
        """Nothing changes, and it is said why."""
        self.counts['bad reloads'] += 1
        proxy, text = self.world.proxy, self.world.config(self.counts['reloads'])
        mark = proxy.reload(text + '[Route bad]\nPth=*\n')
        proxy.wait_for_log(r'agitator\.conf:\d+: .*Pth', mark)
        proxy.write_config(text)  # what comes next may be an upgrade

    def _flap_log(self):
        """Only while there is one process: one that ends has but two seconds for its last records."""
        if self.world.count_older() > 0:
            return
        self.counts['log outages'] += 1
        self.world.log_server.go_away()
        self._wait(0.3, 0.8)
        self.world.log_server.come_back()
