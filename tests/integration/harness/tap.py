# SPDX-License-Identifier: GPL-3.0-or-later
"""unittest that speaks TAP: one line for each test method.

usage of a test file: test_x.py [PART-OF-A-NAME...] runs those tests only.
"""

import sys
import time
import traceback
import unittest


class TapResult(unittest.TestResult):
    def __init__(self, stream):
        super().__init__()
        self.out = stream
        self.begin = 0

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()

    def _line(self, verdict, test, comment=''):
        name = test.id().rpartition('.')[2]
        took = time.monotonic() - self.begin
        print(f'{verdict} {self.testsRun} - {name}{comment}', file=self.out)
        print(f'# {took:.2f} s', file=self.out, flush=True)

    def _failure(self, test, error):
        self._line('not ok', test)
        text = ''.join(traceback.format_exception(*error))
        for proxy in getattr(test, 'proxies', ()):
            text += 'the log was:\n' + proxy.log_text()
        for line in text.splitlines():
            print('# ' + line, file=self.out, flush=True)

    def addSuccess(self, test):
        self._line('ok', test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._failure(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self._failure(test, err)

    def addSubTest(self, test, subtest, err):
        raise AssertionError('sub-tests have no line of their own in TAP')

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._line('ok', test, f' # SKIP {reason}')


def all_tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from all_tests(test)
        else:
            yield test


def main():
    tests = list(all_tests(unittest.defaultTestLoader.loadTestsFromModule(sys.modules['__main__'])))
    parts = sys.argv[1:]
    if parts:
        tests = [test for test in tests if any(part in test.id() for part in parts)]
    print(f'1..{len(tests)}', flush=True)
    # A test's prints belong to no one but the reader of the log.
    out, sys.stdout = sys.stdout, sys.stderr
    result = TapResult(out)
    unittest.TestSuite(tests).run(result)
    sys.exit(0 if result.wasSuccessful() else 1)
