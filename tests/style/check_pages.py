# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations that pages show are such as the program takes, without a warning.

usage: check_pages.py PROGRAM PAGE...
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import textwrap


def check(program, text):
    """What is wrong with a configuration; None when nothing is."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'agitator.conf'
        path.write_text(text, encoding='utf-8')
        run = subprocess.run([program, f'--config={path}', '--check-config'], check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8')
    return run.stdout if run.returncode or 'warning' in run.stdout.lower() else None


def find(page, text):
    """The configurations in a page; in a manual page those that are whole."""
    if not page.endswith('.rst'):
        return re.findall(r'^```ini\n(.*?)^```$', text, re.S | re.M)

    blocks = re.findall(r'::\n\n((?:(?: {4}.*)?\n)+)', text)
    return [textwrap.dedent(block) for block in blocks if '[Listener ' in block]


def main():
    program, *pages = sys.argv[1:]
    status = 0
    for page in pages:
        text = pathlib.Path(page).read_text(encoding='utf-8')
        blocks = find(page, text)
        if not blocks:
            print(f'{page}: no configuration')
            status = 1
        for block in blocks:
            wrong = check(program, block)
            if wrong is not None:
                print(f'{page}: {wrong}')
                status = 1
    sys.exit(status)


main()
