# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration as it is written, line by line."""

import textwrap

WIDTH = 100


class Text:
    def __init__(self):
        self.lines = []

    def comment(self, text):
        self.lines += textwrap.wrap(text, WIDTH, initial_indent='# ', subsequent_indent='# ',
                                    break_long_words=False, break_on_hyphens=False)

    def remark(self, text):
        """A comment that stands between groups."""
        self.lines.append('')
        self.comment(text)

    def group(self, title):
        self.lines += ['', f'[{title}]']

    def key(self, name, value):
        self.lines.append(f'{name}={value}')

    def get(self):
        return '\n'.join(self.lines) + '\n'
