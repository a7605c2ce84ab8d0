# SPDX-License-Identifier: GPL-3.0-or-later
"""The message catalog in other languages: its words to po/, and back from there.

usage: catalog.py extract CATALOG POT           writes its words as a template for translations
       catalog.py translate CATALOG PO OUTPUT   writes the catalog with a translation's words

A subject, a paragraph and each explanation in a list are a text to translate, whose lines are
broken anew. What is indented and no list is a command, or a piece of configuration, and stays.
A text without a translation stays as it is.
"""

import gettext
import io
import pathlib
import re
import subprocess
import sys
import textwrap

WIDTH = 92

NAME = 'data/agitator.catalog'  # as shown to translators

ROW = re.compile(r'  (\S+) {2,}(\S.*)')


class Words:
    """A place in the catalog with words: its line, and what to put before them."""

    def __init__(self, number, text, first='', others=''):
        self.number = number
        self.text = text
        self.first = first
        self.others = others

    def add(self, text):
        self.text += ' ' + text.strip()

    def print(self, text):
        if self.first == 'Subject: ':
            return [self.first + text]
        return textwrap.wrap(text, WIDTH, initial_indent=self.first, subsequent_indent=self.others,
                             break_long_words=False, break_on_hyphens=False)


def parse(text):
    """The catalog as a list of Words, and strings for the lines that have none."""
    found, words, in_list = [], None, False
    for number, line in enumerate(text.splitlines(), 1):
        row = ROW.fullmatch(line)
        if line.startswith('Subject: '):
            found.append(Words(number, line.removeprefix('Subject: '), 'Subject: '))
        elif not line or line.startswith(('#', '-- ')) or re.match(r'[A-Z][A-Za-z-]+: ?\S+', line) \
                and in_heads(found):
            found.append(line)
            words, in_list = None, False
        elif row:
            column = row.start(2)
            words = Words(number, row[2], line[:column], ' ' * column)
            found.append(words)
            in_list = True
        elif line.startswith('  ') and not in_list:
            found.append(line)
        elif words:
            words.add(line)
        else:
            words = Words(number, line)
            found.append(words)
    return found


def in_heads(found):
    """Whether no empty line has come since the last entry began."""
    for item in reversed(found):
        if isinstance(item, str) and not item:
            return False
        if isinstance(item, str) and item.startswith('-- '):
            return True
    return False


def quote(text):
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"') + '"'


def extract(text):
    """The template: each text once, with its lines, and the subjects that it belongs to."""
    entries, subject = {}, ''
    for item in parse(text):
        if isinstance(item, Words):
            if item.first == 'Subject: ':
                subject = item.text
            entries.setdefault(item.text, []).append((item.number, subject))
    yield 'msgid ""'
    yield 'msgstr "Content-Type: text/plain; charset=UTF-8\\n"'
    for words, places in entries.items():
        yield ''
        for _, subject in places:
            yield '#. Catalog: ' + (subject if subject != words else 'a subject')
        for number, _ in places:
            yield f'#: {NAME}:{number}'
        yield 'msgid ' + quote(words)
        yield 'msgstr ""'


def read_po(path):
    """What turns a text into its translation."""
    binary = subprocess.run(['msgfmt', '-o', '-', path], check=True, stdout=subprocess.PIPE).stdout
    return gettext.GNUTranslations(io.BytesIO(binary)).gettext


def translate(text, translation):
    for item in parse(text):
        if isinstance(item, Words):
            yield from item.print(translation(item.text))
        else:
            yield item


def main(arguments):
    if len(arguments) == 3 and arguments[0] == 'extract':
        lines = extract(pathlib.Path(arguments[1]).read_text(encoding='utf-8'))
    elif len(arguments) == 4 and arguments[0] == 'translate':
        lines = translate(pathlib.Path(arguments[1]).read_text(encoding='utf-8'),
                          read_po(arguments[2]))
    else:
        sys.exit(__doc__)
    pathlib.Path(arguments[-1]).write_text('\n'.join(lines) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main(sys.argv[1:])
