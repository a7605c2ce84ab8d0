# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel tells about connections, which their owners need not."""

TIMERS = {'01': 'retransmission', '02': 'keepalive', '03': 'time-wait', '04': 'window probe'}


def tcp_timers(pid='thread-self'):
    """The timer of each IPv4 connection by (local port, remote port), where that process is; absent
    when none runs."""
    timers = {}
    with open(f'/proc/{pid}/net/tcp', encoding='ascii') as file:
        for line in list(file)[1:]:
            fields = line.split()
            ports = tuple(int(field.partition(':')[2], 16) for field in fields[1:3])
            timer = TIMERS.get(fields[5].partition(':')[0])
            if timer:
                timers[ports] = timer
    return timers
