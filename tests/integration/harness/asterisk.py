# SPDX-License-Identifier: GPL-3.0-or-later
"""A FastAGI client that behaves as Asterisk 22 does (res_agi.c).

It looks at its socket, reads what is there, executes the first whole line and looks again: of two
commands that came in one read the second waits for more bytes or the end, as it does in Asterisk.
At the end of file it executes whatever is left, an unterminated line too. A line that begins with
`failure` ends the session and is not answered; the end is one more HANGUP.
"""

import re
import threading

from .connection import Connection, connect
from .waiting import TIMEOUT

SUCCESS, FAILURE, HANGUP = 'SUCCESS', 'FAILURE', 'HANGUP'

ALLOWED_WHEN_DEAD = re.compile(
    rb'(?i)\s*(ASYNCAGI BREAK|DATABASE |EXEC |GET VARIABLE |GET FULL VARIABLE |NOOP|SET VARIABLE |'
    rb'VERBOSE |SPEECH )')

REPLY_DEAD = b'511 Command Not Permitted on a dead channel or intercept routine\n'
REPLY_UNKNOWN = b'510 Invalid or unknown command\n'
REPLY_USAGE = (b'520-Invalid command syntax.  Proper usage follows:\n'
               b'Usage: SET VARIABLE <variablename> <value>\n'
               b'\tSets a variable to the current channel.\n'
               b'520 End of proper usage.\n')

KNOWN_COMMANDS = (b'ANSWER', b'DATABASE', b'EXEC', b'GET', b'HANGUP', b'NOOP', b'SET', b'STREAM',
                  b'VERBOSE', b'WAIT')


def environment(request='agi://127.0.0.1:4573/path', arguments=(), **values):
    """The block Asterisk 22 sends; a keyword replaces a line's value, None leaves the line out."""
    if isinstance(request, str):
        request = request.encode()
    rest = request.split(b'://', 1)[-1]
    script = rest.split(b'/', 1)[1] if b'/' in rest else b''
    lines = {
        'network': 'yes', 'network_script': script or None, 'request': request,
        'channel': 'Local/100@from-internal-00000008;2', 'language': 'en', 'type': 'Local',
        'uniqueid': '1795408233.17', 'version': '22.10.1+dfsg+~cs6.17.60671434-1',
        'callerid': '15551234567', 'calleridname': 'Alice Example', 'callingpres': '0',
        'callingani2': '0', 'callington': '0', 'callingtns': '0', 'dnid': 'unknown',
        'rdnis': 'unknown', 'context': 'from-internal', 'extension': '100', 'priority': '2',
        'enhanced': '0.0', 'accountcode': '', 'threadid': '140259015263936',
    }
    lines.update(values)
    for i, argument in enumerate(arguments, 1):
        lines['arg_%d' % i] = argument
    return b''.join(b'agi_%s: %s\n' % (name.encode(), v if isinstance(v, bytes) else v.encode())
                    for name, v in lines.items() if v is not None) + b'\n'


def with_authority(block, authority):
    """The block as a server should get it: the first agi_request names the server itself."""
    return re.sub(rb'(?m)^(agi_request: \w+://)[^/?#\n]*', rb'\g<1>' + authority.encode(), block,
                  count=1)


class PretendAsterisk:
    """One AGI() call. start() runs it on a thread of its own; wait() gives AGISTATUS."""

    def __init__(self, address, block=None, reply=None, source=None, receive_buffer=None,
                 make_connection=Connection):
        self.connection = make_connection(connect(address, source, receive_buffer))
        self.block = environment() if block is None else block
        self.reply = reply or (lambda command: None)  # None: what Asterisk would say
        self.variables = {}
        self.commands = []  # lines as executed, without LF
        self.glued = []  # reads after which more than one whole line waited
        self.partial = []  # what was visible of a line without its end, before the end of file
        self.status = None
        self.hung_up = False
        self.error = None
        self.thread = None
        self.lock = threading.Lock()

    # What a test does

    def send_block(self, pieces=None):
        for piece in [self.block] if pieces is None else pieces:
            self._send(piece)
        return self

    def start(self, pieces=None):
        """Sends the environment and serves the commands."""
        self.send_block(pieces)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def wait(self):
        """AGISTATUS, once the session is over."""
        self.thread.join(TIMEOUT)
        if self.thread.is_alive():
            raise AssertionError(f'the call did not end: {self.describe()}')
        if self.error:
            raise self.error
        return self.status

    def hang_up(self):
        """The caller hangs up: Asterisk says so, and goes on waiting for the server."""
        with self.lock:
            self.hung_up = True
            self._send(b'HANGUP\n')

    def close(self):
        """Asterisk is gone without a word."""
        self.connection.close()

    @property
    def agitator_status(self):
        return self.variables.get('AGITATOR_STATUS')

    def describe(self):
        return (f'status {self.status}, commands {self.commands[-20:]}, variables {self.variables}, '
                f'received {bytes(self.connection.received[-400:])!r}, '
                f'end {self.connection.ended}')

    # What Asterisk does

    def _run(self):
        try:
            self._serve()
        except Exception as error:  # handed to wait()
            self.error = error
        finally:
            self.connection.close()

    def _send(self, data):
        try:
            self.connection.send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # as Asterisk: noticed at the next read

    def _serve(self):
        connection = self.connection
        failed = False
        while not failed and not connection.ended:
            connection._receive()
            waiting = connection.unread()
            if not connection.ended:
                if waiting.count(b'\n') > 1:
                    self.glued.append(waiting)
                if waiting and not waiting.endswith(b'\n'):
                    self.partial.append(waiting)
            failed = self._execute_waiting(connection.ended is not None)
        with self.lock:
            self.status = FAILURE if failed else HANGUP if self.hung_up else SUCCESS
            self._send(b'HANGUP\n')

    def _execute_waiting(self, all_of_it):
        """The first line that waits, or at the end all. True at a FAILURE line."""
        while self.connection.unread():
            if b'\n' in self.connection.unread():
                line = self.connection.read_line()[:-1]
            elif all_of_it:
                line = self.connection.read(len(self.connection.unread()))
            else:
                return False
            if line[:7].lower() == b'failure':
                return True
            self._execute(line)
            if not all_of_it:
                return False
        return False

    def _execute(self, line):
        # Under the lock, so that a HANGUP never stands inside a reply.
        with self.lock:
            self.commands.append(line)
            words = line.split(None, 3)
            if [word.upper() for word in words[:2]] == [b'SET', b'VARIABLE'] and len(words) > 2:
                value = words[3] if len(words) > 3 else b''
                if value[:1] == value[-1:] == b'"':
                    value = value[1:-1]
                self.variables[words[2].decode()] = value.decode()
            reply = self.reply(line)
            self._send(self._usual_reply(line, words) if reply is None else reply)

    def _usual_reply(self, line, words):
        verb = words[0].upper() if words else b''
        if verb not in KNOWN_COMMANDS:
            return REPLY_UNKNOWN
        if self.hung_up and not ALLOWED_WHEN_DEAD.match(line):
            return REPLY_DEAD
        if verb == b'SET' and len(words) < 3:
            return REPLY_USAGE
        if verb in (b'ANSWER', b'EXEC', b'NOOP'):
            return b'200 result=0\n'
        if verb == b'STREAM':
            return b'200 result=0 endpos=8000\n'
        if verb == b'GET':
            value = self.variables.get(words[2].decode()) if len(words) > 2 else None
            return b'200 result=0\n' if value is None else b'200 result=1 (%s)\n' % value.encode()
        return b'200 result=1\n'
