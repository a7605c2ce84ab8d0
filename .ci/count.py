# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts the results of meson test runs and ends with `N passed, N failed, N skipped`.

usage: count.py DIRECTORY [BROKEN-STAGE...]

DIRECTORY holds a log of `meson test` (JSON) for each stage that got so far. A test that speaks TAP
counts for each of its lines, any other once. One that ended badly and has no failed line of its own
(a time-out, a sanitizer's report at its end) counts as one failure, and so does a stage that broke
without a failed test. Failed and skipped ones are listed, skipped ones with their reasons.
"""

import json
import pathlib
import re
import sys

TAP_LINE = re.compile(r'^(not )?ok\b[ \d]*(?:- )?(.*?)(?:\s*#\s*skip\S*\s*(.*))?$', re.I)
FINE = {'OK', 'EXPECTEDFAIL'}


def read_test(test):
    """A list of (verdict, name, reason) for one test of a log."""
    lines = []
    for text in test.get('stdout', '').splitlines():
        match = TAP_LINE.match(text)
        if match:
            bad, name, reason = match.groups()
            verdict = 'failed' if bad else 'passed' if reason is None else 'skipped'
            lines.append((verdict, f'{test["name"]} {name}', reason or ''))
        elif text.startswith('#') and lines and lines[-1][0] == 'failed':
            # What a test says of its failure, which meson does not print.
            lines[-1] = (*lines[-1][:2], f'{lines[-1][2]}\n    {text}')

    result = test['result']
    if result == 'SKIP' and not lines:
        return [('skipped', test['name'], ' '.join(test.get('stdout', '').split()))]
    if result not in FINE | {'SKIP'} and not any(line[0] == 'failed' for line in lines):
        lines.append(('failed', test['name'], result))
    return lines or [('passed', test['name'], '')]


def main():
    directory, broken = pathlib.Path(sys.argv[1]), sys.argv[2:]
    counts = {'passed': 0, 'failed': 0, 'skipped': 0}
    listed = []
    failed_stages = set()

    for path in sorted(directory.glob('*.json')):
        for text in path.read_text(encoding='utf-8').splitlines():
            for verdict, name, reason in read_test(json.loads(text)):
                counts[verdict] += 1
                if verdict == 'failed':
                    failed_stages.add(path.stem)
                if verdict != 'passed':
                    listed.append(f'{verdict}: {path.stem}: {name}: {reason or "no reason given"}')

    for stage in broken:
        if stage not in failed_stages:
            counts['failed'] += 1
            listed.append(f'failed: {stage}: the stage broke; see above')

    print('\n'.join(listed))
    print('{passed} passed, {failed} failed, {skipped} skipped'.format(**counts))
    sys.exit(1 if counts['failed'] or not counts['passed'] else 0)


main()
