# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused, and how it is said: every word from a file may come from anybody."""

import json
import os
import re

LOCATE_MAX = 2 * 1024 * 1024  # so many characters may be parsed again to find lines
SHOWN_MAX = 80


def escape(text):
    return ''.join(c if c.isprintable() else f'\\u{ord(c):04x}' for c in text)


def show(value):
    """A value as it may stand in a message or a comment: on one line, and not too long."""
    text = escape(json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value))
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX - 1] + '…'


def show_file(name):
    return escape(os.fsencode(name).decode('utf-8', 'backslashreplace'))


def show_place(path):
    """('route', 2, 'host', 0, 'port') as [[route]] 3, [[route.host]] 1: port."""
    parts, names = [], []
    for step in path:
        if isinstance(step, int):
            parts.append(f'[[{".".join(names)}]] {step + 1}')
        else:
            names.append(step if re.fullmatch(r'[\w-]{1,64}', step, re.A) else show(step))
    text = ', '.join(parts)
    if path and isinstance(path[-1], str):
        return f'{text}: {names[-1]}' if text else names[-1]
    return text


class Refused(Exception):
    """With the lines that say why, each without the file's name."""

    def __init__(self, *lines):
        super().__init__('\n'.join(lines))
        self.lines = lines


class Problems:
    """(path of keys and indices, message) of what was refused; an empty path is the whole file. Of
    one key only the first is kept, since what follows from it is none."""

    def __init__(self):
        self.all = []
        self.paths = set()

    def add(self, path, message):
        if not path or path not in self.paths:
            self.all.append((path, message))
            self.paths.add(path)

    def check(self, text, parse):
        """Raises Refused when there are any, in the order of the file's lines."""
        locator = Locator(text, parse)
        found = [(locator.find(path), show_place(path), message) for path, message in self.all]
        found.sort(key=lambda item: item[0] or len(text) + 2)
        if found:
            raise Refused(*(say(*item) for item in found))


def say(line, place, message):
    return (f'{line}: ' if line else ' ') + (f'{place}: ' if place else '') + message


class Locator:
    """Lines of keys, which TOML libraries don't tell. They are guessed from how such files are
    written, and each guess is tested: with that line, and not before it, the key is there."""

    KEY = r'''(?:[\w-]+|"[^"\\]*"|'[^']*')'''
    KEYS = rf'({KEY}(?:\s*\.\s*{KEY})*)\s*'
    LINE = re.compile(rf'\[\[\s*{KEYS}\]\]|\[\s*{KEYS}\]|{KEYS}=', re.A)

    def __init__(self, text, parse):
        self.lines = text.split('\n')
        self.parse = parse
        self.budget = LOCATE_MAX
        self.places = None

    def guess(self):
        self.places, current, counts = {}, (), {}
        for number, line in enumerate(self.lines, 1):
            match = self.LINE.match(line.strip())
            if not match:
                continue
            array, table, assignment = match.groups()
            path = current if assignment else ()
            keys = re.findall(self.KEY, array or table or assignment, re.A)
            for i, key in enumerate(keys):
                path += (key.strip('"\''),)
                if array and i == len(keys) - 1:
                    counts[path] = counts.get(path, -1) + 1
                if path in counts:
                    path += (counts[path],)
                self.places.setdefault(path, number)
            if not assignment:
                current = path

    def has(self, path, number):
        """Whether the first lines have the key; None when they make no sense by themselves."""
        text = '\n'.join(self.lines[:number])
        self.budget -= len(text)
        try:
            value = self.parse(text)
            for step in path:
                value = value[step]
        except (KeyError, IndexError, TypeError):
            return False
        except (ValueError, RecursionError):
            return None
        return True

    def find(self, path):
        """The number of the line; 0 when it isn't known."""
        if self.places is None:
            self.guess()
        number = self.places.get(path, 0)
        if number and self.budget > 0 and self.has(path, number):
            return number if self.has(path, number - 1) is False else 0
        return 0
