#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian package as a file: each build makes the same one, and lintian has nothing against it.
And its own tests, those that autopkgtest runs."""

import email.utils
import hashlib
import pathlib
import re

from harness import debian, roots
from harness.machine import Machine
from harness.system_case import main, SUITE, SystemTest
from harness.waiting import FACTOR

LINTIAN_LIMIT = 300 * FACTOR
AUTOPKGTEST_LIMIT = 1200 * FACTOR

# What lintian may say below a warning, and why it is let be.
ANSWERED = {
    'out-of-date-standards-version':
        'it would be a warning in Debian 12 if it were that of Debian 13',
    'package-supports-alternative-init-but-no-init.d-script':
        'the scripts in data/init are there for who needs them; the package has none on purpose',
    'spelling-error-in-binary':
        '"defaul" is what the compiler makes of a comparison with "default"',
    'very-long-line-length-in-source-file':
        'what parsers are tested with has long lines',
}


class Package(SystemTest):
    def test_builds_are_identical(self):
        """By another user, elsewhere, at another time, in another language and so on."""
        one, two = debian.build(SUITE), debian.build(SUITE, how=debian.ELSEWHERE)
        names, again = (sorted(path.name for path in folder.glob('*.deb')) for folder in (one, two))
        self.assertEqual(names, again)
        self.assertEqual(len(names), 2, names)  # the other has the symbols for a debugger
        for name in names:
            self.assertEqual(*(hashlib.sha256((folder / name).read_bytes()).hexdigest()
                               for folder in (one, two)), name)
        # The clock was really another one, and so was the place.
        dates = [email.utils.parsedate_to_datetime(re.search('^Build-Date: (.*)$', next(
            folder.glob('*.buildinfo')).read_text(), re.M)[1]) for folder in (one, two)]
        self.assertGreater((dates[1] - dates[0]).days, 365)
        for folder, how in (one, debian.HERE), (two, debian.ELSEWHERE):
            self.assertIn(how['place'] + '/agitator', (folder / 'build.log').read_text())

    def test_lintian(self):
        folder = debian.build(SUITE)
        with Machine(debian.build_root(SUITE), boot=False) as machine:
            for path in folder.iterdir():
                machine.write(f'/packages/{path.name}', path.read_bytes())
            said = machine.run('sh', '-c', 'exec lintian "$@" /packages/*.changes', 'sh',
                               '--allow-root', '--no-cfg', '-EIL', '+pedantic', '--info',
                               '--no-tag-display-limit', timeout=LINTIAN_LIMIT, check=False)
        self.assertNotIn('internal error', said.stdout + said.stderr)
        tags = re.findall(r'^([EWIPXC]): [^:]+: (\S+)', said.stdout, re.M)
        self.assertTrue(tags, said)  # it has always something to say
        for letter, tag in tags:
            self.assertTrue(letter in 'IPX' and tag in ANSWERED, said.stdout)


class OwnTests(SystemTest):
    """What autopkgtest runs, on a machine that has what they depend on."""

    def test_they_depend_on_what_the_build_tests_with(self):
        """Or they would be skipped, or fail, where only they are run."""
        missing = set(debian.test_dependencies()) - set(debian.own_tests()['integration'])
        self.assertEqual(missing, set())

    def test_autopkgtest(self):
        deb, tests = debian.this_package(), debian.own_tests()
        names = {'autopkgtest', 'dpkg-dev', *debian.wanted_packages(deb)}
        names = names.union(*tests.values()) - {'agitator'}
        with Machine(roots.get(SUITE, tuple(names))) as machine:
            machine.write('/root/' + deb.name, deb.read_bytes())
            debian.copy_tree(pathlib.Path(machine.inside('/root/tree')), {})
            run = machine.run('autopkgtest', '/root/' + deb.name, '/root/tree//',
                              '--ignore-restrictions=isolation-container,isolation-machine',
                              '--', 'null', check=False, timeout=AUTOPKGTEST_LIMIT)
        said = run.stdout + run.stderr
        self.assertEqual(run.returncode, 0, said[-10000:])
        for name in tests:
            self.assertRegex(said, rf'(?m)^{name} +PASS$')


if __name__ == '__main__':
    main()
