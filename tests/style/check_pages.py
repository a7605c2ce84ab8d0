# SPDX-License-Identifier: GPL-3.0-or-later
"""The configurations that pages show are such as the program takes, without a warning.

usage: check_pages.py PROGRAM PAGE...
"""

import pathlib
import re
import subprocess
import sys
import tempfile


def check(program, text):
    """What is wrong with a configuration; None when nothing is."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / 'agitator.conf'
        path.write_text(text, encoding='utf-8')
        run = subprocess.run([program, f'--config={path}', '--check-config'], check=False,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8')
    return run.stdout if run.returncode or 'warning' in run.stdout.lower() else None


def main():
    program, *pages = sys.argv[1:]
    status = 0
    for page in pages:
        text = pathlib.Path(page).read_text(encoding='utf-8')
        blocks = re.findall(r'^```ini\n(.*?)^```$', text, re.S | re.M)
        if not blocks:
            print(f'{page}: no ini block')
            status = 1
        for block in blocks:
            wrong = check(program, block)
            if wrong is not None:
                print(f'{page}: {wrong}')
                status = 1
    sys.exit(status)


main()
