# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of data/doc/contributing.md that a program can check. Their tests: test_check_source.py.

usage: check_source.py RULE TOP-FOLDER

Prints what breaks the rule, a line each, and exits with 1 if there is any.
"""

import pathlib
import re
import shutil
import subprocess
import sys

FOLDERS = ('src', 'tests', 'data', 'po', 'rpm', 'debian', '.ci')
SUFFIXES_OF_C = {'.c', '.h'}

# What each folder below src/ may include from, itself apart.
LAYERS = {
    'base': set(),
    'agi': {'base'},
    'net': {'base'},
    'proxy': {'base', 'agi', 'net'},
    'daemon': {'base', 'agi', 'net', 'proxy'},
    'ctl': {'base', 'agi', 'net'},
}

LINES_PER_FILE = 700
LINES_PER_FUNCTION = 60
LONG_FUNCTIONS = 8  # so many at most, each with a comment that says why: `long: ...`

CLANG_FORMAT = 14
SPDX = 'SPDX-License-Identifier: GPL-3.0-or-later'


def files(top, suffixes=None, folders=FOLDERS):
    """Every file of the project, or those with one of the suffixes, sorted."""
    for folder in folders:
        for path in sorted((top / folder).rglob('*')):
            if path.is_file() and '__pycache__' not in path.parts:
                if suffixes is None or path.suffix in suffixes:
                    yield path


def read_lines(path):
    return path.read_text(encoding='utf-8').splitlines()


def check_layers(top):
    """Includes point one way, and name the folder."""
    for path in files(top, SUFFIXES_OF_C, ['src']):
        parts = path.relative_to(top / 'src').parts
        layer = parts[0] if len(parts) > 1 else None
        if layer and layer not in LAYERS:
            yield f'{path}: no such layer as {layer}'
            continue
        for number, line in enumerate(read_lines(path), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match or match[1] == 'config.h':
                continue
            target, slash, rest = match[1].partition('/')
            if not slash or target not in LAYERS:
                yield f'{path}:{number}: "{match[1]}" is not LAYER/FILE.h'
            elif layer and target != layer and target not in LAYERS[layer]:
                yield f'{path}:{number}: {layer} may not include {match[1]}'


def check_file_size(top):
    """No file is longer than 700 lines."""
    for path in files(top, SUFFIXES_OF_C | {'.py'}):
        count = len(read_lines(path))
        if count > LINES_PER_FILE:
            yield f'{path}: {count} lines, {LINES_PER_FILE} are allowed'


def functions(lines):
    """(name, number of its first line, number of lines, lines above it) of each function, relying
    on the layout: the name begins a line, and so do both braces."""
    name, first, opened = None, 0, 0
    for number, line in enumerate(lines, 1):
        match = re.match(r'(\w+)\(', line)
        if match:
            name, first = match[1], number
        elif line == '{' and name:
            opened = number
        elif line.startswith('}'):
            if opened:
                yield name, first, number - opened - 1
            name, opened = None, 0


def check_function_size(top):
    """A function fits a screen, or a comment right above it says why not: `long: ...`."""
    excused = []
    for path in files(top, {'.c'}, ['src', 'tests']):
        lines = read_lines(path)
        for name, first, count in functions(lines):
            if count <= LINES_PER_FUNCTION:
                continue
            above = lines[first - 2] + lines[max(first - 3, 0)] + lines[max(first - 4, 0)]
            if 'long:' in above:
                excused.append(f'{path}:{first}: {name} has {count} lines')
            else:
                yield (f'{path}:{first}: {name} has {count} lines, {LINES_PER_FUNCTION} are '
                       'allowed without a comment `long: why` right above it')
    if len(excused) > LONG_FUNCTIONS:
        yield from excused
        yield f'{len(excused)} long functions, {LONG_FUNCTIONS} are allowed'
    else:
        for line in excused:
            print('allowed: ' + line)


def is_script(path):
    with open(path, 'rb') as file:
        return file.read(2) == b'#!'


def check_heads(top):
    """The licence is the first line of every source and script, after any #!."""
    for path in files(top):
        script = is_script(path)
        if not script and path.suffix not in SUFFIXES_OF_C | {'.py', '.spec'}:
            continue
        lines = read_lines(path)[1 if script else 0:]
        if not lines or SPDX not in lines[0]:
            yield f'{path}: the first line should be {SPDX}'


def check_headers(top):
    """A header is guarded once and for all, and no header is for everybody."""
    for path in files(top, {'.h'}):
        if '#pragma once' not in read_lines(path):
            yield f'{path}: #pragma once is missing'
        if path.stem in ('common', 'internal', 'util', 'utils'):
            yield f'{path}: a header for everybody is one that says nothing'


def check_potfiles(top):
    """po/POTFILES names the files with words for people, all of them and no others."""
    with_words = {str(path.relative_to(top)) for path in files(top, SUFFIXES_OF_C | {'.py'}, ['src'])
                  if re.search(r'\b(?:N_|_|C_|ngettext)\(', path.read_text(encoding='utf-8'))}
    listed = {line for line in read_lines(top / 'po' / 'POTFILES')
              if line and not line.startswith('#')}
    for name in sorted(with_words - listed):
        yield f'po/POTFILES: {name} is missing'
    for name in sorted(listed - with_words):
        yield f'po/POTFILES: {name} has no words to translate'


def check_python(top):
    """Every Python file compiles, and every script for Python."""
    for path in files(top):
        if path.suffix != '.py' and not (is_script(path) and 'python' in read_lines(path)[0]):
            continue
        try:
            compile(path.read_bytes(), str(path), 'exec')
        except SyntaxError as error:
            yield f'{path}:{error.lineno}: {error.msg}'


def check_text(top):
    """UTF-8, LF, a line end at the end, no blanks before it."""
    for path in files(top):
        parts = path.relative_to(top).parts
        if 'samples' in parts or 'corpus' in parts:
            continue
        content = path.read_bytes()
        try:
            content.decode('utf-8')
        except UnicodeDecodeError as error:
            yield f'{path}: {error}'
        if content and not content.endswith(b'\n'):
            yield f'{path}: the last line has no end'
        for number, line in enumerate(content.split(b'\n'), 1):
            if line != line.rstrip():
                yield f'{path}:{number}: blanks at the end'


def check_links(top):
    """Pages link to files that are there."""
    for path in [top / 'README.md', *files(top, {'.md'})]:
        for number, line in enumerate(read_lines(path), 1):
            for target in re.findall(r'\]\(([^)#:\s]+)\)', line):
                if not (path.parent / target).exists():
                    yield f'{path}:{number}: there is no {target}'


def find_clang_format():
    for name in (f'clang-format-{CLANG_FORMAT}', 'clang-format'):
        program = shutil.which(name)
        if program:
            version = subprocess.run([program, '--version'], check=True, capture_output=True,
                                     encoding='utf-8').stdout
            if re.search(rf'version {CLANG_FORMAT}\.', version):
                return program
    return None


def check_format(top):
    """The layout is what clang-format makes of it."""
    program = find_clang_format()
    if not program:
        yield (f'clang-format {CLANG_FORMAT} is needed, since another version has other ideas: '
               f'install clang-format-{CLANG_FORMAT}')
        return
    for path in files(top, SUFFIXES_OF_C):
        run = subprocess.run([program, '--dry-run', '-Werror', '--style=file', str(path)],
                             check=False, capture_output=True, encoding='utf-8', cwd=top)
        if run.returncode:
            first = (run.stderr.splitlines() or ['not formatted'])[0]
            yield f'{first} (clang-format -i {path.relative_to(top)})'


RULES = {name[len('check_'):].replace('_', '-'): function
         for name, function in list(globals().items()) if name.startswith('check_')}


def main():
    rule, top = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    found = list(RULES[rule](top))
    for line in found:
        print(line.replace(str(top) + '/', ''))
    sys.exit(1 if found else 0)


if __name__ == '__main__':
    main()
