# SPDX-License-Identifier: GPL-3.0-or-later
"""A single thread of a running process held still, as a debugger does it."""

import contextlib
import ctypes
import os
import threading

from .waiting import TIMEOUT

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
PTRACE_DETACH = 17
WALL = 0x40000000


def find_thread(pid, name):
    for thread in sorted(os.listdir(f'/proc/{pid}/task'), key=int):
        with open(f'/proc/{pid}/task/{thread}/comm', encoding='utf-8') as file:
            if file.read().startswith(name):
                return int(thread)
    raise AssertionError(f'process {pid} has no thread {name}')


@contextlib.contextmanager
def frozen(pid, name):
    """Its first thread of that name doesn't run meanwhile."""
    thread = find_thread(pid, name)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    still, over = threading.Event(), threading.Event()
    errors = []

    def ask(what):
        if libc.ptrace(what, thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f'ptrace {what:#x} of {thread}')

    def hold():
        # Only the thread that seized it may ask for anything, and has to hear of its end.
        try:
            ask(PTRACE_SEIZE)
            ask(PTRACE_INTERRUPT)
            status = os.waitpid(thread, WALL)[1]
            still.set()
            while os.WIFSTOPPED(status) and not over.wait(0.02):
                ended, status_now = os.waitpid(thread, WALL | os.WNOHANG)
                status = status_now if ended else status
            if os.WIFSTOPPED(status):
                ask(PTRACE_DETACH)
        except BaseException as error:  # the caller's
            errors.append(error)
            still.set()

    holder = threading.Thread(target=hold, daemon=True)
    holder.start()
    still.wait(TIMEOUT)
    try:
        if errors:
            raise errors[0]
        yield
    finally:
        over.set()
        holder.join(TIMEOUT)
