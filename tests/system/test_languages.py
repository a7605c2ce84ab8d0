#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who has another language reads it at the terminal, in journalctl's explanations too; the log stays
English."""

import gettext
import io
import os
import re
import subprocess

from harness import roots
from harness.case import route_group, server_group
from harness.connection import refusing_authority
from harness.service import CONFIG, ServiceTest
from harness.system_case import main

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')

# Each language, and a locale that has it: the catalog that journalctl takes goes by the locale alone.
LOCALES = {'de': 'de_AT', 'el': 'el_GR', 'es': 'es_MX', 'fr': 'fr_CA', 'pt_BR': 'pt_BR'}


def read_linguas():
    with open(os.path.join(TREE, 'po', 'LINGUAS'), encoding='utf-8') as file:
        return [line for line in file.read().splitlines() if not line.startswith('#')]


def translation(language):
    """What turns a text into its translation in the tree."""
    binary = subprocess.run(['msgfmt', '-o', '-', os.path.join(TREE, 'po', language + '.po')],
                            stdout=subprocess.PIPE, check=True).stdout
    found = gettext.GNUTranslations(io.BytesIO(binary)).gettext

    def translate(text):
        translated = found(text)
        assert translated != text, f'{language} has no {text}'
        return translated

    return translate


def flat(text):
    return ' '.join(text.split())


class LanguagesTest(ServiceTest):
    packages = (*ServiceTest.packages, 'locales', 'python3')

    @classmethod
    def prepare(cls, machine):
        super().prepare(machine)
        for locale in LOCALES.values():
            roots.run_in(machine.path, 'localedef', '-i', locale, '-f', 'UTF-8', locale + '.UTF-8')

    def speak(self, language, *argv):
        """What a program prints, to either output, to somebody with that language."""
        result = self.machine.run(*argv, check=False,
                                  env={'LC_ALL': LOCALES[language] + '.UTF-8', 'COLUMNS': '100'})
        return flat(result.stdout + result.stderr)


class Languages(LanguagesTest):
    def test_each_is_tried(self):
        self.assertEqual(sorted(LOCALES), read_linguas())

    def assert_spoken(self, words, *argv):
        """Each of the words is printed, translated, in every language, and in English by default."""
        said = flat(self.machine.run(*argv, check=False).stdout
                    + self.machine.run(*argv, check=False).stderr)
        for part in words:
            self.assertIn(flat(part), said)
        for language in LOCALES:
            translate = translation(language)
            said = self.speak(language, *argv)
            for part in words:
                self.assertIn(flat(translate(part)), said, language)

    def test_help(self):
        self.assert_spoken(['Report every mistake in the configuration, and exit', 'FILE'],
                           'agitator', '--help')
        self.assert_spoken(['VERB ...', 'Verbs:', 'have agitator take its changed configuration',
                            'Print the version'], 'agitatorctl', '--help')
        self.assert_spoken(['Hang up after that time (30)'], 'agitatorctl', 'call', '--help')
        self.assert_spoken(['usage: ', 'options', 'positional arguments', 'print this, and exit',
                            'the old configuration; - is standard input'],
                           'agitator-import', '--help')

    def test_summaries(self):
        """Longer ones, which GOption looks for by itself."""
        for argv, start in ((['agitator'], 'A reverse proxy'), (['agitator'], 'Signals:'),
                            (['agitatorctl', 'upgrade'], 'Has the running agitator start')):
            pattern = f'(?ms)^{start}.*?\n\n' if start != 'Signals:' else f'(?ms)^{start}.*'
            words = re.search(pattern, self.machine.run(*argv, '--help').stdout)[0].strip()
            self.assert_spoken([words], *argv, '--help')

    def test_messages(self):
        self.assert_spoken(['one URL is needed; see --help'], 'agitatorctl', 'call')
        self.assert_spoken(['agitatorctl: a verb is missing; see agitatorctl --help\n'],
                           'agitatorctl')
        self.assert_spoken(['The file name after --config is empty'], 'agitator', '--config=')
        self.assert_spoken(['The configuration is good.\n'], 'agitator', '--check-config')
        self.machine.write('/root/old.conf', 'x\n')
        self.assertIn(translation('de')('This is no TOML: {message}').partition('{')[0],
                      self.speak('de', 'agitator-import', '/root/old.conf'))

    def test_language_without_its_locale(self):
        """gettext's own choice, where there is a locale at all."""
        said = self.machine.run('agitatorctl', '--help',
                                env={'LC_ALL': 'fr_CA.UTF-8', 'LANGUAGE': 'el:de'}).stdout
        self.assertIn(translation('el')('Verbs:'), said)


class Journal(LanguagesTest):
    def start_and_fail(self):
        """One call that no server takes, of a service whose locale is German."""
        sock, authority = self.machine.in_network(refusing_authority)
        self.keep(sock)
        self.service.drop_in('Environment=LC_ALL=de_AT.UTF-8')
        self.service.write_config(server_group('down', authority), route_group('all', '*', 'down'))
        self.service.start()
        self.call().wait()
        self.machine.write(CONFIG, '[Listener plain]\nListen=127.0.0.1\nTLS=yes\n'
                           'Certificate=/nowhere\nPrivateKey=/nowhere\n')
        self.assertNotEqual(self.service.reload().returncode, 0)
        self.service.stop()

    def test_explained(self):
        self.start_and_fail()
        mine = '--after-cursor=' + self.service.cursor
        self.machine.run('journalctl', '--sync')

        def explain(**env):
            return self.machine.run('journalctl', '-q', '-x', '-u', 'agitator', mine, env=env).stdout

        english = explain()
        self.assertIn("Subject: Server down can't be reached", english)
        for language, locale in LOCALES.items():
            translate, text = translation(language), explain(LC_ALL=locale + '.UTF-8')
            for words in ('agitator takes calls', "Server @AGITATOR_SERVER@ can't be reached",
                          'agitator has stopped'):
                self.assertIn('Subject: ' + translate(words).replace('@AGITATOR_SERVER@', 'down'),
                              text)
            plain = flat(text.replace('\u2591\u2591 ', ''))
            for words in ('no server took the session', 'All errors of the configuration at once are shown by',
                          'After a reload the old settings stay in force, and calls are not '
                          'affected. At the start there are no old settings: agitator ends, and no '
                          'calls are taken.'):
                self.assertIn(flat(translate(words)), plain, language)
            self.assertNotIn('Subject: agitator takes calls', text)
            # Heads and commands are the same.
            for part in ('Defined-By: agitator', 'Documentation: man:agitator',
                         'agitator --check-config'):
                self.assertEqual(text.count(part), english.count(part), (language, part))

    def test_log_is_english(self):
        self.start_and_fail()
        log = self.service.log_text()
        self.assertIn("can't be reached: Connection refused", log)
        self.assertIn("can't be read: there is no such file", log)
        self.assertRegex(log, r'commands in \d+\.\d{3} s')
        # To be seen only where the C library has words in that language.
        words = self.speak('de', 'python3', '-c', 'import errno, locale, os; '
                           'locale.setlocale(locale.LC_ALL, ""); '
                           'print(os.strerror(errno.ECONNREFUSED))')
        self.assertEqual(words, 'Verbindungsaufbau abgelehnt')


if __name__ == '__main__':
    main()
