# SPDX-License-Identifier: GPL-3.0-or-later
"""What the shells complete is what the programs say in --help: every verb, every option, and nothing
else. Each shell is asked in its own way: bash and zsh at a terminal, as a person would.

usage: test_completions.py [PART-OF-A-NAME...], with AGITATOR, AGITATORCTL and AGITATOR_IMPORT in
the environment
"""

import os
import pathlib
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'tests' / 'integration')]

from harness.connection import Connection, listen_tcp  # noqa: E402
from harness.tap import main  # noqa: E402
from harness.waiting import TIMEOUT  # noqa: E402

COMPLETIONS = TOP / 'data' / 'completions'

# Puts every completion at the cursor into the line, and prints the line to the file of `answer`.
BASH_SETTINGS = r'''
PS1= PS2=
bind '"\C-xa": insert-completions'
bind -x '"\C-xp": printf "%s\0" "$READLINE_LINE" >$ANSWER'
bind 'set bell-style none'
'''

ZSH_SETTINGS = r'''
PS1= PS2= RPS1=
fpath=($COMPLETIONS $fpath)
autoload -U compinit && compinit -D -u
zstyle ':completion:*' completer _all_matches _complete
zstyle ':completion:*' insert true
zstyle ':completion:*' list false
print-line() { printf '%s\0' "$BUFFER" >$ANSWER }
zle -N print-line
bindkey '^Xa' complete-word
bindkey '^Xp' print-line
'''


class Terminal:
    """A shell that a test types at; what it has in its line comes back through a FIFO."""

    def __init__(self, command, environment, directory, settings):
        self.fifo = os.path.join(directory, 'answer')
        os.mkfifo(self.fifo)
        master, slave = pty.openpty()
        self.master = master
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=directory,
            start_new_session=True, env={**environment, 'ANSWER': self.fifo, 'TERM': 'dumb'})
        os.close(slave)
        self.output = bytearray()
        threading.Thread(target=self._drain, daemon=True).start()
        for line in settings.strip().splitlines():
            os.write(master, line.encode() + b'\n')

    def _drain(self):
        try:
            while True:
                self.output += os.read(self.master, 4096)
        except OSError:
            pass  # it has ended

    def complete(self, line):
        """The line after the completions at its end were put into it."""
        os.write(self.master, b'\x15' + line.encode() + b'\x18a\x18p')
        answer = []
        reader = threading.Thread(target=lambda: answer.append(open(self.fifo, 'rb').read()),
                                  daemon=True)
        reader.start()
        reader.join(TIMEOUT)
        if not answer:
            raise AssertionError(f'no answer; on the terminal: {bytes(self.output)!r}')
        return answer[0].rstrip(b'\0').decode()

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


class Shell:
    """The tests; a test case for each shell."""

    name = None

    @classmethod
    def setUpClass(cls):
        cls.programs = {name: os.environ[name.upper().replace('-', '_')] for name in
                        ('agitator', 'agitatorctl', 'agitator-import')}

    def setUp(self):
        if not shutil.which(self.name):
            self.skipTest(f'{self.name} is not installed')
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        # fish asks whether there is such a program.
        folder = os.path.join(self.directory, 'bin')
        os.mkdir(folder)
        for name in self.programs:
            os.symlink('/bin/true', os.path.join(folder, name))
        self.environment = {**os.environ, 'PATH': folder + ':' + os.environ['PATH'],
                            'LC_ALL': 'C.UTF-8', 'HOME': self.directory,
                            'COMPLETIONS': str(COMPLETIONS / self.name)}
        self.start()

    def start(self):
        """Gets the shell ready."""

    def ask(self, line):
        """What the shell completes the line with, a set of words."""
        raise NotImplementedError

    # What is to be completed

    def help(self, program, *arguments):
        command = [sys.executable] if program == 'agitator-import' else []
        run = subprocess.run([*command, self.programs[program], *arguments], check=True, encoding='utf-8',
                             stdout=subprocess.PIPE, env={**os.environ, 'LC_ALL': 'C.UTF-8'})
        return run.stdout

    def options(self, *command):
        """Those of the help text, long ones and short ones."""
        found = set()
        for line in self.help(*command).splitlines():
            match = re.match(r' {2}((?:-\w(?: \w+)?, )?--[\w-]+)', line)
            if match:
                found.update(re.findall(r'--?\w[\w-]*', match[1]))
        self.assertIn('--help', found, 'the help text is not understood')
        return found

    def verbs(self):
        text = self.help('agitatorctl', '--help')
        found = set(re.findall(r'^  (\w+) ', re.search(r'Verbs:\n((?:  .*\n)+)', text)[1], re.M))
        self.assertIn('call', found, 'the help text is not understood')
        return found

    def asked_options(self, line):
        """The options completed, without the '=' that some shells add."""
        long, found = ({word.rstrip('=') for word in self.ask(line + dash)}
                       for dash in (' --', ' -'))
        self.assertEqual({word for word in found if not word.startswith('-')}, set())
        self.assertEqual({word for word in found if word.startswith('--')}, long)
        return found

    # Tests

    def test_options_of_agitator(self):
        self.assertEqual(self.asked_options('agitator'), self.options('agitator', '--help'))

    def test_options_of_agitator_import(self):
        self.assertEqual(self.asked_options('agitator-import'),
                         self.options('agitator-import', '--help'))

    def test_files_of_agitator_import(self):
        pathlib.Path(self.directory, 'good.conf').touch()
        for before in ('', '-f -o ', '--output ', '--output=', '-o new.conf '):
            found = self.ask(f'agitator-import {before}goo')
            self.assertEqual({word.replace('--output=', '') for word in found}, {'good.conf'}, before)

    def test_file_after_config(self):
        for name in ('good.conf', 'other file.conf'):
            pathlib.Path(self.directory, name).touch()
        for option in ('-c ', '--config ', '--config='):
            found = self.ask(f'agitator {option}goo')
            self.assertEqual({word.replace('--config=', '') for word in found}, {'good.conf'})

    def test_verbs(self):
        found = self.ask('agitatorctl ')
        self.assertEqual(found, self.verbs())

    def test_options_of_agitatorctl(self):
        self.assertEqual(self.asked_options('agitatorctl'), self.options('agitatorctl', '--help'))

    def test_options_of_each_verb(self):
        for verb in sorted(self.verbs() - {'help'}):
            self.assertEqual(self.asked_options(f'agitatorctl {verb}'),
                             self.options('agitatorctl', 'help', verb), verb)

    def test_help_takes_a_verb(self):
        self.assertEqual(self.ask('agitatorctl help '), self.verbs() - {'help'})

    def test_variables_of_the_environment(self):
        listener = listen_tcp()
        self.addCleanup(listener.close)
        call = subprocess.Popen([self.programs['agitatorctl'], 'call', '--quiet',
                                 'agi://127.0.0.1:%d/path' % listener.getsockname()[1]],
                                stdout=subprocess.DEVNULL)
        session = Connection(listener.accept()[0])
        sent = session.read_until(b'\n\n').decode()
        session.close()
        call.wait(TIMEOUT)

        names = {line.partition(':')[0] + '=' for line in sent.splitlines() if line}
        self.assertGreater(len(names), 10)
        for option in ('-s ', '--set ', '--set='):
            found = {word.replace('--set=', '') for word in
                     self.ask(f'agitatorctl call {option}agi_')}
            self.assertEqual(found, names, option)

    def test_nothing_where_only_the_operator_knows(self):
        pathlib.Path(self.directory, 'file').touch()
        for option in ('-a', '--arg', '-t', '--timeout', '-r', '--retry'):
            self.assertEqual(self.ask(f'agitatorctl call {option} '), set(), option)

    def test_url(self):
        self.assertEqual(self.ask('agitatorctl call ag'), {'agi://'})
        self.assertEqual(self.ask('agitatorctl call --quiet ag'), {'agi://'})

    def test_a_word_before_the_verb(self):
        self.assertIn('call', self.ask('agitatorctl --version '))


class TerminalShell(Shell):
    """One that is typed at."""

    settings = None
    command = ()

    def start(self):
        self.terminal = Terminal(self.command, self.environment, self.directory, self.settings)
        self.addCleanup(self.terminal.close)

    def ask(self, line):
        after = self.terminal.complete(line)
        head = line[:line.rfind(' ') + 1]
        self.assertTrue(after.startswith(head), after)
        if after == line:
            return set()  # what stands there is no completion
        return set(re.findall(r'(?:[^\s\\]|\\.)+', after[len(head):]))


class BashTest(TerminalShell, unittest.TestCase):
    name = 'bash'
    settings = BASH_SETTINGS
    command = ('bash', '--norc', '--noprofile', '-i')

    def start(self):
        self.settings = BASH_SETTINGS + ''.join(
            f'. "{path}"\n' for path in sorted((COMPLETIONS / 'bash').iterdir()))
        super().start()


class ZshTest(TerminalShell, unittest.TestCase):
    name = 'zsh'
    settings = ZSH_SETTINGS
    command = ('zsh', '-f', '-i')


class FishTest(Shell, unittest.TestCase):
    name = 'fish'

    def ask(self, line):
        run = subprocess.run(
            ['fish', '--no-config', '-c',
             'set fish_complete_path $COMPLETIONS; complete -C $argv[1]', line],
            check=True, stdout=subprocess.PIPE, encoding='utf-8', env=self.environment,
            cwd=self.directory)
        return {answer.partition('\t')[0] for answer in run.stdout.splitlines()}


if __name__ == '__main__':
    main()
