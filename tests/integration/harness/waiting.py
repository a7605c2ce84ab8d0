# SPDX-License-Identifier: GPL-3.0-or-later
"""Deadlines, and lists that can be waited on."""

import os
import threading
import time

# Sanitizers and valgrind need longer.
FACTOR = float(os.environ.get('AGITATOR_TEST_TIMEOUT_FACTOR', '1'))

# How long an event may take before the test gives up on it.
TIMEOUT = 20 * FACTOR


class Recorder:
    """A list that grows in one thread and is waited on in others."""

    def __init__(self, name):
        self.name = name
        self.items = []
        self.ended = False
        self.changed = threading.Condition()

    def add(self, item):
        with self.changed:
            self.items.append(item)
            self.changed.notify_all()

    def end(self):
        """Nothing more will come."""
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def mark(self):
        """Where the next item will be: a place to wait from."""
        return len(self.items)

    def wait(self, matches, what, start=0, timeout=None):
        """The index of the first item since `start` for which `matches(item)` is true."""
        deadline = time.monotonic() + (timeout or TIMEOUT)
        place = start
        with self.changed:
            while True:
                while place < len(self.items):
                    if matches(self.items[place]):
                        return place
                    place += 1
                left = deadline - time.monotonic()
                if self.ended or left <= 0:
                    why = 'ended' if self.ended else 'timed out'
                    raise AssertionError(
                        f'{self.name} {why} while waiting for {what}; since then:\n'
                        + '\n'.join(map(str, self.items[start:][-60:])))
                self.changed.wait(left)


def wait_until(claim, what, timeout=None, pause=0.002):
    """Asks until `claim()` is true: for what nobody notifies us of, such as /proc. Returns it."""
    deadline = time.monotonic() + (timeout or TIMEOUT)
    tick = threading.Event()
    while True:
        value = claim()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'timed out while waiting for {what}; last seen: {value!r}')
        tick.wait(pause)
