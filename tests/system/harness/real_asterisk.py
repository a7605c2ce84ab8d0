# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Asterisk in a machine: calls that begin in its dialplan, and what that had to say."""

import re
import subprocess
import threading

from .waiting import FACTOR, Recorder, wait_until

# No more than a dialplan with AGI() needs: so it is up in a fraction of a second.
MODULES = ('app_exec', 'app_playback', 'app_stack', 'app_verbose', 'bridge_simple', 'codec_gsm',
           'codec_ulaw', 'format_gsm', 'func_callerid', 'func_channel', 'func_env', 'func_global',
           'func_logic', 'func_shell', 'func_strings', 'pbx_config', 'res_agi',
           'res_clioriginate', 'res_speech')

ASTERISK_CONF = '[options]\nverbose=0\nlive_dangerously=yes\n'
MODULES_CONF = '[modules]\nautoload=no\n' + ''.join(f'load={name}.so\n' for name in MODULES)
LOGGER_CONF = '[general]\ndateformat=%H:%M:%S.%3q\n[logfiles]\nconsole=notice,warning,error\n'


class RealAsterisk:
    """What the dialplan says by Log(NOTICE,told: ...) is in `told`, all else of the log in `log`."""

    def __init__(self, machine, dialplan):
        self.machine = machine
        self.log = Recorder("Asterisk's log")
        self.told = Recorder('what the dialplan told')
        self.globals = {}  # as set so far
        for name, text in (('asterisk', ASTERISK_CONF), ('modules', MODULES_CONF),
                           ('logger', LOGGER_CONF), ('extensions', dialplan)):
            machine.write(f'/etc/asterisk/{name}.conf', text)
        self.process = machine.spawn('asterisk', '-f', '-n', '-C', '/etc/asterisk/asterisk.conf',
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT)
        threading.Thread(target=self._read, daemon=True).start()
        wait_until(self._is_up, 'Asterisk to be up', 20 * FACTOR, pause=0.05)

    def _read(self):
        for line in self.process.stdout:
            text = re.sub(r'\x1b\[[\d;]*m', '', line.decode('utf-8', 'backslashreplace')).rstrip()
            found = re.search(r'told: (.*)', text)
            if found:
                self.told.add(found[1])
            else:
                self.log.add(text)
        self.log.end()

    def _is_up(self):
        if self.process.poll() is not None:
            raise AssertionError('Asterisk ended:\n' + '\n'.join(self.log.items[-40:]))
        run = self.machine.run('asterisk', '-rx', 'core waitfullybooted', check=False)
        return run.returncode == 0 and 'fully booted' in run.stdout

    def run(self, command):
        """A command of its console."""
        output = self.machine.run('asterisk', '-rx', command).stdout
        if 'No such command' in output:
            raise AssertionError(output)
        return output

    def set(self, **variables):
        """Global variables of the dialplan."""
        for name, value in variables.items():
            if self.globals.get(name) != value:
                self.run(f'dialplan set global {name} "{value}"')
                self.globals[name] = value

    def call(self, extension, context):
        """Somebody calls the extension, and stays on the line."""
        self.run(f'channel originate Local/{extension}@{context}/n application Wait 3600')

    def hang_up_all(self):
        self.run('channel request hangup all')

    def wait_quiet(self):
        wait_until(lambda: '0 active channels' in self.run('core show channels'),
                   'all channels to be gone', pause=0.02)

    def wait_told(self, pattern, start=0):
        """What the dialplan told, once it has told that."""
        place = self.told.wait(re.compile(pattern).search, f'/{pattern}/', start)
        return self.told.items[place]

    def stop(self):
        self.process.kill()
        self.process.wait()
