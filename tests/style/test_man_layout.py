# SPDX-License-Identifier: GPL-3.0-or-later
"""The manual pages as built: no formatter complains of them, and they fit a terminal of 80 columns.

usage: test_man_layout.py [PART-OF-A-NAME...], with their folder in AGITATOR_MAN
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TOP / 'tests' / 'integration')]

from harness.tap import main  # noqa: E402

COLUMNS = 80

# What rst2man writes, whatever the page is: harmless, and not ours.
OF_RST2MAN = re.compile(r'unknown font, skipping request: ft C|skipping paragraph macro: \w+ after S')


class ManLayoutTest(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(os.environ['AGITATOR_MAN'])
        self.pages = sorted(path for path in folder.iterdir() if re.search(r'\.[1-8]$', path.name))
        self.assertEqual({path.name + '.rst' for path in self.pages},
                         {path.name for path in (TOP / 'data' / 'man').glob('*.rst')})

    def run_all(self, *command):
        """(page, output, complaints) of each page."""
        if not shutil.which(command[0]):
            self.skipTest(f'{command[0]} is not installed')
        for page in self.pages:
            run = subprocess.run([*command, str(page)], check=False, capture_output=True,
                                 encoding='utf-8', env={**os.environ, 'LC_ALL': 'C.UTF-8'})
            yield page.name, run.stdout, run.stderr

    def test_groff_is_content(self):
        for page, output, complaints in self.run_all('groff', '-ww', '-t', '-man', '-Tutf8'):
            self.assertEqual(complaints, '', page)
            self.assertTrue(output, page)

    def test_fits_a_terminal(self):
        for page, output, _ in self.run_all('groff', '-t', '-man', '-Tutf8', '-P-cbou'):
            lines = [line for line in output.splitlines() if len(line) > COLUMNS]
            self.assertEqual(lines, [], page)

    def test_mandoc_is_content(self):
        for page, output, _ in self.run_all('mandoc', '-T', 'lint', '-W', 'warning'):
            complaints = [line for line in output.splitlines() if not OF_RST2MAN.search(line)]
            self.assertEqual(complaints, [], page)


if __name__ == '__main__':
    main()
