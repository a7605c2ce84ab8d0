# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests stand on.

The real program runs between a pretend Asterisk (asterisk.py) and pretend FastAGI servers
(server.py); proxy.py plays the service manager for it. Nothing here sleeps: whatever is waited for
is an event with a deadline.
"""
