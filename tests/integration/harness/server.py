# SPDX-License-Identifier: GPL-3.0-or-later
"""FastAGI servers whose behaviour a test writes down.

A behaviour is a function that gets the ServerSession and runs on a thread of its own. Without one
the test takes each session itself, with accept().
"""

import os
import threading

from .connection import Connection, listen_tcp, listen_unix
from .waiting import Recorder, TIMEOUT


class ServerSession(Connection):
    """The server's end of one call."""

    def __init__(self, sock):
        super().__init__(sock)
        self.environment = None  # the block exactly as received

    def read_environment(self):
        self.environment = self.read_until(b'\n\n')
        return self.environment

    def command(self, line):
        """Sends a command and returns the reply, both without LF."""
        self.send(line + b'\n')
        return self.read_line()[:-1]

    def end(self):
        """Ends as a careful server does: half a close, then reads to the end. Returns the rest."""
        self.finish()
        rest = self.read_to_end()
        self.close()
        return rest


def serve(session):
    """A short and well-behaved session."""
    session.read_environment()
    session.command(b'NOOP one')
    session.command(b'SET VARIABLE SERVED yes')
    session.end()


class PretendServer:
    def __init__(self, behaviour=None, host='127.0.0.1', path=None, sock=None, counts=False,
                 make_session=ServerSession):
        self.behaviour = behaviour
        self.path = path
        self.make_session = make_session
        self.counts = counts  # whether most_at_once is kept; TCP only
        self.sock = sock or (listen_unix(path) if path else listen_tcp(host))
        self.sessions = []  # every ServerSession, in the order accepted
        self.waiting = Recorder('the sessions of the pretend server')
        self.taken = 0
        self.most_at_once = 0
        self.errors = []
        self.threads = []
        self.thread = threading.Thread(target=self._accept_all, daemon=True)
        self.thread.start()

    @property
    def authority(self):
        """As it stands in a URL."""
        if self.path:
            return None
        host, port = self.sock.getsockname()[:2]
        return ('[%s]:%d' if ':' in host else '%s:%d') % (host, port)

    @property
    def address(self):
        """As it stands in Address=."""
        return 'unix:' + self.path if self.path else self.authority

    def accept(self):
        """The next session that nobody took yet."""
        place = self.waiting.wait(lambda session: True, 'a connection', self.taken)
        self.taken = place + 1
        return self.waiting.items[place]

    def wait_ended(self):
        """Until the behaviours of all sessions so far have come to their end."""
        for thread in self.threads:
            thread.join(TIMEOUT)
            if thread.is_alive():
                raise AssertionError('a session of the pretend server did not end')

    def close(self):
        """Ends everything; the first error a behaviour met is raised."""
        self.stop_listening()
        for session in self.sessions:
            session.close()
        for thread in self.threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def stop_listening(self):
        """From now on connections are refused."""
        # Wakes accept(), which close() alone would not.
        try:
            self.sock.shutdown(2)
        except OSError:
            pass
        self.thread.join(TIMEOUT)
        self.sock.close()
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)

    def _accept_all(self):
        while True:
            try:
                sock = self.sock.accept()[0]
            except OSError:
                return
            session = self.make_session(sock)
            self.sessions.append(session)
            if self.counts:
                # Earlier ones count while their peer has not ended, whatever we have read of it.
                now = sum(other.peer_is_open() for other in self.sessions)
                self.most_at_once = max(self.most_at_once, now)
            if self.behaviour:
                thread = threading.Thread(target=self._behave, args=(session,), daemon=True)
                thread.start()
                self.threads.append(thread)
            self.waiting.add(session)

    def _behave(self, session):
        try:
            self.behaviour(session)
        except Exception as error:
            if not session.closed:
                self.errors.append(error)
        finally:
            session.close()
