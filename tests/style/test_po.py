# SPDX-License-Identifier: GPL-3.0-or-later
"""Each translation is complete and in step with the sources, and has what no language changes: names
of keys, fields, options and files, and commands. Each check is shown one that is wrong, too.

usage: test_po.py TOP-FOLDER XGETTEXT-ARGUMENT...
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / 'integration'), str(HERE.parents[1] / 'po')]

import catalog  # noqa: E402
from harness.tap import main  # noqa: E402

TOP = pathlib.Path(sys.argv.pop(1))
XGETTEXT = [sys.argv.pop(1) for _ in sys.argv[1:]]
CATALOG = TOP / 'data' / 'agitator.catalog'

LANGUAGES = {'de', 'el', 'es', 'fr', 'pt_BR'}

# What stands for a value of the user's has a word in his language.
PLACEHOLDERS = {'FILE', 'HOST', 'NAME', 'PATH', 'PORT', 'SECONDS', 'TEXT', 'VALUE', 'VERB'}

FIXED = re.compile(r'''
    @\w+@ |                             # a field of the record
    --[a-z][a-z-]* |                    # an option
    \b[A-Z]\w*=(?:[a-z]+|\*)? |         # a key, with the value that it is to have
    \[\[?[A-Z\w]+ |                     # a group
    `[^`]*` |                           # a command
    \b[\w.-]+\(\d\) |                   # a manual page
    \bagi(?:tator|tatorctl|tator-import|_\w+|://)?\b |
    (?<![\w\]])/[a-z][\w./*-]+ |        # a file
    \b[A-Z][A-Z0-9_]{2,}\b''', re.X)


def run(*argv):
    """The exit status, and all that was said."""
    result = subprocess.run(argv, capture_output=True, check=False, encoding='utf-8',
                            env={**os.environ, 'LC_ALL': 'C.UTF-8', 'LANGUAGE': 'en'})
    return result.returncode, result.stdout + result.stderr


def read_list(name):
    lines = (TOP / 'po' / name).read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def read_po(path):
    """[(msgid, [msgstr, ...])], but for the head."""
    found = []
    for block in run('msgcat', '--no-wrap', str(path))[1].split('\n\n'):
        words = {}
        for line in block.splitlines():
            match = re.fullmatch(r'(msg\S+) "(.*)"', line)
            if match:
                last, text = match.groups()
                words[last] = text
            elif line.startswith('"'):
                words[last] += line[1:-1]
        if words.get('msgid'):
            found.append((words['msgid'] + words.get('msgid_plural', ''),
                          [text for name, text in words.items() if name.startswith('msgstr')]))
    return found


def fixed(text):
    return set(FIXED.findall(text.replace('\\n', ' '))) - PLACEHOLDERS - {
        name + '=' for name in PLACEHOLDERS}


def longest(text):
    return max(map(len, text.split('\\n')))


def make_template(folder):
    """All words of the sources, as `meson compile agitator-update-po` finds them."""
    words, template = folder / 'catalog.pot', folder / 'all.pot'
    words.write_text('\n'.join(catalog.extract(CATALOG.read_text(encoding='utf-8'))) + '\n',
                     encoding='utf-8')
    status, said = run('xgettext', *XGETTEXT, f'--directory={TOP}',
                       f'--files-from={TOP / "po" / "POTFILES"}', f'--output={template}', str(words))
    assert status == 0, said
    return template


def check(path, template):
    """What is wrong with a translation."""
    status, said = run('msgfmt', '--check', '--statistics', '--output-file=/dev/null', str(path))
    if status:
        yield said
    elif 'fuzzy' in said or 'untranslated' in said:
        yield f'{path.name}: it is not complete: {said}'
    status, said = run('msgcmp', str(path), str(template))
    if status:
        yield said
    if re.search('^#~', path.read_text(encoding='utf-8'), re.M):
        yield f'{path.name}: it has entries that nothing uses'
    for msgid, translations in read_po(path):
        for text in translations:
            for lost in sorted(fixed(msgid) - fixed(text)):
                yield f'{path.name}: {lost} is not in: {text}'
            for new in sorted(word for word in fixed(text) - fixed(msgid) if '@' in word):
                yield f'{path.name}: {new} is new in: {text}'
            if '\\n' in msgid and longest(text) > max(longest(msgid), 80):
                yield f'{path.name}: a line is too long: {text}'


class PoTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.folder = pathlib.Path(directory.name)
        cls.template = make_template(cls.folder)

    def assert_good(self, language):
        self.assertEqual(list(check(TOP / 'po' / f'{language}.po', self.template)), [])


def add_test(language):
    def test(self):
        self.assert_good(language)

    setattr(Translations, 'test_' + language, test)


class Translations(PoTest):
    def test_all_are_listed(self):
        listed = read_list('LINGUAS')
        self.assertEqual(listed, sorted(listed))
        self.assertEqual(set(listed), LANGUAGES)
        self.assertEqual({path.stem for path in (TOP / 'po').glob('*.po')}, LANGUAGES)

    def test_template_has_the_words_of_all(self):
        sources = set(re.findall(r'(?m)^#: (.*)$', self.template.read_text(encoding='utf-8')))
        sources = {place.rpartition(':')[0] for line in sources for place in line.split()}
        self.assertEqual(sources - {'data/agitator.catalog'}, set(read_list('POTFILES')))
        self.assertIn('data/agitator.catalog', sources)


for each in sorted(LANGUAGES):
    add_test(each)


class Checks(PoTest):
    """A good translation with one thing changed."""

    def assert_found(self, part, old, new):
        _, text = run('msgcat', '--no-wrap', str(TOP / 'po' / 'de.po'))
        before, found, after = text.rpartition(old)  # the last one, for a msgid is before its msgstr
        self.assertTrue(found, old)
        path = self.folder / 'changed.po'
        path.write_text(before + new + after, encoding='utf-8')
        self.assertIn(part, '\n'.join(check(path, self.template)))

    def test_untranslated(self):
        self.assert_found('it is not complete', 'msgstr "Befehle:"', 'msgstr ""')

    def test_fuzzy(self):
        self.assert_found('it is not complete', 'msgid "Verbs:"', '#, fuzzy\nmsgid "Verbs:"')

    def test_format(self):
        self.assert_found('format specifications', 'msgstr "verbunden mit %s"',
                          'msgstr "verbunden mit %d"')

    def test_line_break(self):
        self.assert_found("'\\n'", 'ist in Ordnung.\\n"', 'ist in Ordnung."')

    def test_width(self):
        self.assert_found('a line is too long', '  HUP          Die', '  HUP  ' + 70 * ' ' + 'Die')

    def test_out_of_step(self):
        self.assert_found('used but not defined', 'msgid "Verbs:"', 'msgid "Words:"')

    def test_obsolete(self):
        self.assert_found('nothing uses', 'msgid "Verbs:"',
                          '#~ msgid "old"\n#~ msgstr "alt"\n\nmsgid "Verbs:"')

    def test_field(self):
        self.assert_found('@AGITATOR_SESSION@ is not in', 'msgstr "Sitzung @AGITATOR_SESSION@',
                          'msgstr "Sitzung @AGITATOR_SITZUNG@')
        self.assert_found('@AGITATOR_SITZUNG@ is new in', 'msgstr "Sitzung @AGITATOR_SESSION@',
                          'msgstr "Sitzung @AGITATOR_SITZUNG@')

    def test_names(self):
        for name, other in (('Siehe agitator(8)', 'Siehe Agitator(8)'),
                            ('`systemctl kill agitator`', '`systemctl töten agitator`'),
                            ('StopTimeout= um ist', 'StoppZeit= um ist'),
                            ('siehe --dump-config', 'siehe --konfiguration'),
                            ('/etc/agitator/agitator.conf ', '/etc/agitator/agitator.ini '),
                            ('FAILURE, wenn', 'FEHLER, wenn')):
            self.assert_found(' is not in: ', name, other)


class Catalog(unittest.TestCase):
    TEXT = '\n'.join([
        '# Explained.', '', '-- 0123', 'Subject: A thing', 'Defined-By: agitator', '',
        'All of', 'it:', '', '  one    goes', '         on', '  three  "3"', '', 'shown by', '',
        '  command --option', '  [Group]', '', 'Note: this', '  Key=1', ''])

    def test_words(self):
        found = [item.text for item in catalog.parse(self.TEXT) if isinstance(item, catalog.Words)]
        self.assertEqual(found, ['A thing', 'All of it:', 'goes on', '"3"', 'shown by',
                                 'Note: this'])
        self.assertIn(r'msgid "\"3\""', list(catalog.extract(self.TEXT)))

    def test_unchanged(self):
        lines = list(catalog.translate(self.TEXT, lambda text: text))
        self.assertEqual(lines, self.TEXT.replace('All of\nit:', 'All of it:')
                         .replace('goes\n         on', 'goes on').splitlines())

    def test_long(self):
        lines = list(catalog.translate(self.TEXT, lambda text: 'word ' * 30))
        self.assertLessEqual(max(map(len, lines[5:])), catalog.WIDTH)
        self.assertEqual([line[:13] for line in lines if 'word' in line],
                         ['Subject: word', 'word word wor', 'word word wor', '  one    word',
                          '         word', '  three  word', '         word', 'word word wor',
                          'word word wor', 'word word wor', 'word word wor'])

    def test_only_words_change(self):
        """Of the real one: what is left out of the words is the same in every language."""
        text = CATALOG.read_text(encoding='utf-8')

        def rest(translation):
            return [line.rstrip() for line in catalog.translate(text, translation)
                    if line.strip() not in ('', 'Subject: x', 'x')
                    and not re.fullmatch(r'  \S+ +x', line)]

        kept = rest(lambda _: 'x')
        self.assertEqual(kept, [item for item in catalog.parse(text)
                                if isinstance(item, str) and item])
        ids = re.findall('(?m)^-- .*$', text)
        self.assertEqual([line for line in kept if line.startswith('-- ')], ids)
        for command in ('  agitator --dump-config', '  LimitNOFILE=1048576', '  agitatorctl upgrade'):
            self.assertIn(command, kept)


if __name__ == '__main__':
    main()
