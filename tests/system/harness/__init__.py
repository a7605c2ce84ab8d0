# SPDX-License-Identifier: GPL-3.0-or-later
"""What the system tests stand on: machines with a real systemd, in containers.

roots.py makes the systems that are copied, machine.py boots a copy, case.py is the test case. The
pretend Asterisk and the pretend servers are those of the integration tests: their modules are part
of this package.
"""

import os

__path__.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'integration',
                             'harness'))
