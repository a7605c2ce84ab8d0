#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes or removes the systems that the system tests run in.

usage: roots.py prepare SUITE...     makes each with what the tests need in it, as bookworm or trixie
       roots.py remove               removes all of them
"""

import sys

from harness import roots
from harness.system_case import PACKAGES


def main(arguments):
    if arguments[:1] == ['prepare'] and arguments[1:]:
        for suite in arguments[1:]:
            print(roots.get(suite, PACKAGES))
    elif arguments == ['remove']:
        for root in roots.remove_all():
            print(root)
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except roots.Unavailable as problem:
        sys.exit(f'roots.py: {problem}')
