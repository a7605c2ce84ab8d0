# SPDX-License-Identifier: GPL-3.0-or-later
"""How a scenario is measured: one run of the load against one proxy, and what comes out of it."""

import pathlib
import signal
import subprocess
import threading
import time

from proxies import BenchError, find_program

FEW_IDLE = 10
OWN_DESCRIPTORS = 32  # so many may a proxy open for itself, later than at its start
MEGABYTE = 1_000_000
RELOAD_INTERVAL = 0.1
JOURNAL_COUNT = pathlib.Path('/run/systemd/count')  # journal.py's
JOURNAL_TIMEOUT = 10.0


def units(scenario, result):
    """What the costs are divided by."""
    if scenario.per == 'MB':
        return result['commands'] * scenario.reply_size / MEGABYTE
    return result[scenario.per + 's']


def latencies(result):
    return {
        'setup p50 µs': result['setup_us']['p50'],
        'setup p99 µs': result['setup_us']['p99'],
        'command p50 µs': result['command_us']['p50'],
        'command p99 µs': result['command_us']['p99'],
    }


def sessions(bench, proxy, scenario, load=None):
    """Costs per unit, and what the client saw."""
    before, count = proxy.settled_cpu(), bench.sessions(scenario)
    result = (load or bench.load)(proxy, scenario, count)
    cpu = proxy.settled_cpu() - before
    if scenario.clients == 'full' and result['resumed'] > 0:
        raise BenchError(f"{proxy.name}: {result['resumed']} sessions were resumed")
    values = {
        f'CPU µs/{scenario.per}': cpu / units(scenario, result) / 1000,
        'sessions/s': result['sessions'] / result['wall'],
        **latencies(result),
    }
    if scenario.clients == 'resumed':
        values['% resumed'] = 100 * result['resumed'] / result['sessions']
    if any(word.startswith('--rate') for word in scenario.load):
        values['% begun late'] = 100 * result['late'] / result['sessions']
    return values


def idle(bench, proxy, scenario):
    """Ten busy sessions among few and among many idle ones: CPU, latency, and the idle ones' memory.

    The proxy is started anew for each, so that no memory of earlier sessions hides the growth.
    """
    many = max(FEW_IDLE + 1, int(scenario.idle * min(1, bench.options.scale)))
    values = {}
    for count in (FEW_IDLE, many):
        proxy.stop()
        bench.start_proxy(proxy)
        most = proxy.descriptors() + OWN_DESCRIPTORS
        seen = {}

        def when_idle(seen=seen):
            seen['descriptors'] = proxy.descriptors()
            seen['memory'] = proxy.memory()
            seen['cpu'] = proxy.settled_cpu()

        result = bench.load(proxy, scenario, bench.sessions(scenario), count, when_idle,
                            proxy.settled_cpu)
        seen['cpu'] = (result['at_end'] - seen['cpu']) / result['commands'] / 1000
        values[count] = {**seen, **latencies(result)}
        # Every session still has its HANGUP to deliver.
        proxy.wait_until(lambda most=most: proxy.descriptors() <= most, 'close them')
    low, high = values[FEW_IDLE], values[many]
    growth = many - FEW_IDLE
    return {
        'B/idle session': (high['memory'] - low['memory']) / growth,
        'descriptors/idle session': (high['descriptors'] - low['descriptors']) / growth,
        'CPU µs/command, few idle': low['cpu'],
        'CPU µs/command, many idle': high['cpu'],
        'CPU, many : few': high['cpu'] / low['cpu'],
        'command p50, many : few': high['command p50 µs'] / low['command p50 µs'],
        'command p99, many : few': high['command p99 µs'] / low['command p99 µs'],
    }


def reloads(bench, proxy, scenario):
    """As sessions(), while the configuration is read again and again."""
    if not hasattr(proxy, 'reload'):
        return sessions(bench, proxy, scenario)
    ended, failures = threading.Event(), []
    before = proxy.reloads

    def keep_reloading():
        due = time.monotonic()
        while not ended.wait(max(0, due - time.monotonic())):
            due += RELOAD_INTERVAL
            try:
                proxy.reload()
            except BenchError as error:
                failures.append(error)
                return

    def load(*arguments):
        thread = threading.Thread(target=keep_reloading)
        thread.start()
        try:
            return bench.load(*arguments)
        finally:
            ended.set()
            thread.join()

    values = sessions(bench, proxy, scenario, load)
    if failures:
        raise failures[0]
    if proxy.reloads == before:
        raise BenchError(f'{proxy.name} was not reloaded')
    return {**values, 'reloads': proxy.reloads - before}


def journal(bench, proxy, scenario):
    """As sessions(); with records, every session's has to come."""
    before = int(JOURNAL_COUNT.read_text())
    values = sessions(bench, proxy, scenario)
    if proxy.log_target == 'journal':
        wanted = before + bench.sessions(scenario)
        deadline = time.monotonic() + JOURNAL_TIMEOUT
        while int(JOURNAL_COUNT.read_text()) < wanted:
            if time.monotonic() > deadline:
                got = int(JOURNAL_COUNT.read_text()) - before
                raise BenchError(f'{proxy.name}: {got} of {wanted - before} records came')
            time.sleep(0.05)
    return values


def calls(bench, proxy, scenario):
    """System calls per session, by name: a run of its own, since strace slows everything down."""
    count, report = bench.sessions(scenario), proxy.directory / 'strace'
    command = [find_program('strace'), '-f', '-c', '-U', 'calls,name', '-S', 'calls', '-o', report]
    for pid in proxy.pids():
        command += ['-p', str(pid)]
    with subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True) as strace:
        strace.stderr.readline()  # "attached"
        bench.load(proxy, scenario, count)
        proxy.settled_cpu()
        strace.send_signal(signal.SIGINT)
        strace.wait()
    found = {}
    for line in report.read_text().splitlines()[2:]:
        words = line.split()
        if len(words) == 2 and words[0].isdigit() and words[1] != 'total':
            found[words[1]] = int(words[0]) / count
    # What is rarer than once in a hundred sessions is not a part of one.
    return {'system calls/session': sum(found.values()),
            **{name: number for name, number in found.items() if number >= 0.01}}
