# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual pages have all that there is, and nothing that there isn't: each configuration key with
its default, each option, each field and message id of the log, each reason of a refusal.

usage: check_man.py AGITATOR AGITATORCTL AGITATOR-IMPORT TOP-FOLDER

Prints what is wrong, a line each, and exits with 1 if anything is.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

# One group of each kind, with no key that has a default.
GROUPS = """
[Log]
[Listener one]
[Server one]
Address=127.0.0.1
[Route one]
Path=*
Servers=one
[Answer one]
[Syslog one]
Address=udp:127.0.0.1
"""

INHERITED, REQUIRED = 'that of [Proxy]', 'required'


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          encoding='utf-8', env={**os.environ, 'LC_ALL': 'C.UTF-8'}).stdout


def dump(program, text):
    """(kind, key, number of the line that it is from or None, value) of every setting."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'agitator.conf'
        path.write_text(text, encoding='utf-8')
        dumped = run(program, f'--config={path}', '--dump-config')

    for match in re.finditer(r'^\[(\w+).*\]$|^# (?:default|.*:(\d+))\n(\w+)=(.*)$', dumped, re.M):
        if match[1]:
            kind = match[1]
        else:
            yield kind, match[3], int(match[2]) if match[2] else None, match[4]


def get_defaults(program):
    """{(kind, key): default} as the program has them."""
    proxy = [row for row in dump(program, '[Proxy]' + GROUPS) if row[0] == 'Proxy']
    defaults = {(kind, key): value for kind, key, _, value in proxy}

    # With all of [Proxy] set, what comes from there shows.
    text = ''.join(['[Proxy]\n', *(f'{key}={value}\n' for _, key, _, value in proxy)])
    own = text.count('\n')
    for kind, key, line, value in dump(program, text + GROUPS.lstrip()):
        if kind == 'Proxy':
            continue
        if line is None:
            defaults[kind, key] = value
        elif line <= own:
            defaults[kind, key] = INHERITED
        elif key == 'Servers':  # a route needs it, or an answer
            defaults[kind, key] = ''
        else:
            defaults[kind, key] = REQUIRED
    return defaults


def get_documented(page):
    """{(kind, key): default} as the page has them; None for a default that isn't told."""
    documented = {}
    kind = None
    for match in re.finditer(r'^(.+)\n[-=]{3,}$|^``(\w+)=``\n(.*)$', page, re.M):
        if match[1]:
            title = re.fullmatch(r'\[(\w+)(?: NAME)?\]', match[1])
            kind = title and title[1]
        elif kind:
            told = re.search(r'Default: (.*)\.$|(Required)\.$', match[3])
            text = told and (told[1] or told[2].lower()).replace('`', '')
            documented[kind, match[2]] = '' if text == 'empty' else text
    return documented


def check_keys(program, page):
    defaults, documented = get_defaults(program), get_documented(page)
    for kind, key in sorted(defaults.keys() | documented.keys()):
        name = f'agitator.conf.5.rst: [{kind}] {key}='
        if (kind, key) not in documented:
            yield f'{name} is missing'
        elif (kind, key) not in defaults:
            yield f'{name} is no key'
        elif documented[kind, key] != defaults[kind, key]:
            yield (f"{name} has the default '{defaults[kind, key]}', "
                   f"not '{documented[kind, key]}'")
    if not defaults:
        yield 'agitator --dump-config: there are no keys'


def check_words(page, what, text, wanted, pattern=None):
    """Each of the wanted words stands in the text, and no other that matches."""
    if not wanted:
        yield f'{page}: no {what} to look for'
    found = set(re.findall(pattern, text)) if pattern else wanted
    for word in sorted(wanted):
        if not re.search(rf'(?<![\w-]){re.escape(word)}(?![\w-])', text):
            yield f'{page}: the {what} {word} is missing'
    for word in sorted(found - wanted):
        yield f'{page}: there is no {what} {word}'


def check_options(page, text, helps):
    wanted = set(re.findall(r'(?<![\w-])--?\w[\w-]*', re.sub(r'(?m)^\S.*$', '', helps)))
    yield from check_words(page, 'option', text, wanted)
    terms = '\n'.join(re.findall(r'^-.*$', text, re.M))
    for word in sorted(set(re.findall(r'(?<![\w-])--?[a-z][\w-]*', terms)) - wanted):
        yield f'{page}: there is no option {word}'


def check_log(page, text, top):
    source = '\n'.join(path.read_text(encoding='utf-8') for path in sorted(top.rglob('src/**/*.c')))
    ids = (top / 'src/base/log-id.h').read_text(encoding='utf-8')
    reasons = set(re.findall(r'SET_STATUS "(\w+)"', source))

    fields = set(re.findall(r'"(AGITATOR_[A-Z_]+)"', source))
    yield from check_words(page, 'field', text, fields - {'AGITATOR_STATUS'})
    yield from check_words(page, 'message id', text, set(re.findall(r'"([0-9a-f]{32})"', ids)),
                           r'\b[0-9a-f]{32}\b')
    yield from check_words(page, 'reason', text, {f'``{reason}``' for reason in reasons})


def check(program, ctl, importer, top):
    pages = {path.stem: path.read_text(encoding='utf-8')
             for path in (top / 'data/man').glob('*.rst')}

    yield from check_keys(program, pages['agitator.conf.5'])
    yield from check_options('agitator.8.rst', pages['agitator.8'], run(program, '--help'))
    verbs = run(ctl, '--help')
    helps = [run(ctl, 'help', verb) for verb in re.findall(r'(?m)^  ([a-z]+) +[a-z]', verbs)
             if verb != 'help']
    yield from check_options('agitatorctl.1.rst', pages['agitatorctl.1'], verbs + ''.join(helps))
    yield from check_options('agitator-import.1.rst', pages['agitator-import.1'],
                             run(importer, '--help'))
    yield from check_log('agitator.8.rst', pages['agitator.8'], top)


def main():
    program, ctl, importer, top = sys.argv[1:]
    found = list(check(program, ctl, importer, pathlib.Path(top)))

    for line in found:
        print(line)
    sys.exit(1 if found else 0)


main()
