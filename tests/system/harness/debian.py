# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages of this tree, built by an ordinary user in a root without network.

They lie beside the roots, under a name that is made from the tree's content and from what is to be
different in them, so that a tree is built once.
"""

import fcntl
import functools
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

from . import roots
from .machine import Machine
from .system_case import SUITE, SystemTest
from .waiting import FACTOR

TOP = pathlib.Path(__file__).resolve().parents[3]

# What is no part of the tree, or no part of what is built from it.
NOT_OURS = re.compile(r'^(\.git|build[^/]*|obj-[^/]*)$|(^|/)__pycache__$|'
                      r'^debian/(\.debhelper|agitator|files|.*\.substvars|.*debhelper.*)$')
NOT_BUILT = re.compile(r'^(tests/(system|integration|style|samples)|debian/tests|\.ci|rpm)/')

APT_LIMIT = 180 * FACTOR

BUILD_TOOLS = ('build-essential', 'debhelper', 'faketime', 'lintian', 'locales')

# What a build must not be seen to depend on. The second is as far from the first as can be.
HERE = {'place': '/build', 'user': '1000', 'umask': '022', 'zone': 'UTC0', 'locale': 'C.UTF-8',
        'host': 'one', 'home': '/nonexistent', 'jobs': '2', 'clock': ''}
ELSEWHERE = {'place': '/var/tmp/another+place/further/down', 'user': '4321', 'umask': '027',
             'zone': 'XYZ-13:45', 'locale': 'fr_CH.UTF-8', 'host': 'another-one', 'home': '/root',
             'jobs': '1', 'clock': '+398d'}

# Arguments: root, tree, where the packages go, and a directory to mount things in.
BUILD = r'''
set -e
mount -t tmpfs -o mode=755 tmpfs "$work"
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" "$work/root"
mount -t proc proc "$work/root/proc"
mount -t tmpfs tmpfs "$work/root/dev/shm"
hostname "$host"
mkdir -p "$work/root$place/agitator"
cp -rp "$tree/." "$work/root$place/agitator"
chown -R "$user:$user" "$work/root$place"
[ "$locale" = C.UTF-8 ] ||
        chroot "$work/root" localedef -i "${locale%.*}" -f "${locale#*.}" "/usr/lib/locale/$locale"
chroot "$work/root" setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL="$locale" TZ="$zone" HOME="$home" \
        DEB_BUILD_OPTIONS="nocheck parallel=$jobs" \
        sh -c 'cd "$1" && umask "$2" && shift 2 && exec "$@"' sh "$place/agitator" "$umask" \
        ${clock:+faketime -f "$clock"} dpkg-buildpackage --no-sign
find "$work/root$place" -maxdepth 1 -type f -exec cp '{}' "$out" ';'
'''


def tree_files():
    """Every file of the tree, relative to its top, sorted."""
    for folder, folders, names in os.walk(TOP):
        at = pathlib.Path(folder).relative_to(TOP)
        folders[:] = sorted(name for name in folders if not NOT_OURS.search(str(at / name)))
        yield from (at / name for name in sorted(names) if not NOT_OURS.search(str(at / name)))


def copy_tree(folder, edits):
    """The tree as it is, but for `edits`: {path: function from text to text}."""
    for path in tree_files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.as_posix() in edits:
            target.write_text(edits[path.as_posix()]((TOP / path).read_text(encoding='utf-8')),
                              encoding='utf-8')
            shutil.copymode(TOP / path, target)
        else:
            shutil.copy2(TOP / path, target, follow_symlinks=False)


def digest(folder, *more):
    """Of what is built, and of `more`, in hexadecimal."""
    result = hashlib.sha256('\n'.join(more).encode())
    for path in sorted(path for path in folder.rglob('*') if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if not NOT_BUILT.search(name):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            result.update(f'{name} {path.stat().st_mode & 0o111:o} {content}\n'.encode())
    return result.hexdigest()[:16]


def field(control, name):
    """A field of a control file, its comments taken out."""
    text = re.sub(r'^#.*\n', '', control, flags=re.M)
    match = re.search(rf'^{name}:(.*(?:\n[ \t].*)*)', text, re.M)
    return match[1] if match else ''


def package_names(relations):
    """The names in a list of packages, the first of each group of alternatives."""
    names = [re.match(r'[a-z0-9][a-z0-9+.-]*', each.strip()) for each in relations.split(',')]
    return [name[0] for name in names if name]


def build_dependencies():
    """But for those that are names of what debhelper can do."""
    text = (TOP / 'debian/control').read_text(encoding='utf-8')
    return tuple(name for name in package_names(field(text, 'Build-Depends'))
                 if not name.startswith(('debhelper-compat', 'dh-sequence-')))


def test_dependencies():
    """Those that a build needs for nothing but its tests."""
    text = field((TOP / 'debian/control').read_text(encoding='utf-8'), 'Build-Depends')
    return package_names(','.join(each for each in text.split(',') if '<!nocheck>' in each))


def own_tests():
    """{name: packages} of what autopkgtest runs."""
    text = (TOP / 'debian/tests/control').read_text(encoding='utf-8')
    return {field(paragraph, 'Tests').strip(): package_names(field(paragraph, 'Depends'))
            for paragraph in text.split('\n\n')}


def version():
    """That of the tree."""
    return re.match(r'agitator \((\S+)\)', (TOP / 'debian/changelog').read_text(encoding='utf-8'))[1]


def with_version(other):
    """Edits that make the tree one of another version."""
    def change(text):
        return (f'agitator ({other}) unstable; urgency=medium\n\n  * Another version.\n\n'
                f' -- A Test <test@localhost>  Mon, 30 Nov 2026 06:00:00 +0000\n\n{text}')

    return {'debian/changelog': change,
            'meson.build': lambda text: re.sub(r"(?m)^(  version: ).*", rf"\1'{other}',", text)}


def build(suite, edits=None, how=None):
    """The folder with the packages of the tree, changed by `edits`, for a Debian release."""
    how = how or HERE
    roots.require('unshare', 'chroot', 'setpriv')
    with tempfile.TemporaryDirectory(prefix='agitator-tree-') as tree:
        tree = pathlib.Path(tree, 'agitator')
        copy_tree(tree, edits or {})
        name = f'{suite}-{digest(tree, BUILD, *sorted(how.values()))}'
        folder = os.path.join(roots.cache('packages'), name)
        with roots.locked(folder + '.making', fcntl.LOCK_EX):
            if not os.path.isdir(folder):
                begin = time.monotonic()
                shutil.rmtree(folder + '.new', ignore_errors=True)
                os.mkdir(folder + '.new')
                build_into(folder + '.new', suite, tree, how)
                os.rename(folder + '.new', folder)
                print(f'# built {folder} in {time.monotonic() - begin:.0f} s', flush=True)
    return pathlib.Path(folder)


def build_root(suite):
    return roots.get(suite, BUILD_TOOLS + build_dependencies(), systemd=False)


def build_into(folder, suite, tree, how):
    root = build_root(suite)
    command = roots.contain('--net', '--uts', 'sh', '-c')
    with roots.in_use(root), tempfile.TemporaryDirectory(prefix='agitator-build-') as work:
        output = roots.run([*command, BUILD], roots.TIME_LIMIT,
                           env={'PATH': roots.PATH, 'LC_ALL': 'C.UTF-8', 'root': root,
                                'tree': str(tree), 'work': work, 'out': folder, **how})
    pathlib.Path(folder, 'build.log').write_text(output, encoding='utf-8')


def package(folder):
    """The one that is installed, of what build() made."""
    found = [path for path in folder.glob('agitator_*.deb')]
    assert len(found) == 1, f'{folder} has {found}'
    return found[0]


def package_field(path, name):
    return subprocess.run(['dpkg-deb', '-f', path, name], capture_output=True, check=True,
                          encoding='utf-8').stdout.strip()


@functools.lru_cache
def this_package():
    """Of the tree as it is when a test first asks for it."""
    return package(build(SUITE))


def wanted_packages(deb):
    """What comes with the package when it is installed in the usual way."""
    return tuple(name for relation in ('Depends', 'Recommends')
                 for name in package_names(package_field(deb, relation)))


class PackageTest(SystemTest):
    """A machine for each test, with what the package needs or recommends, and without the package."""

    boot = True
    _own = None

    def setUp(self):
        super().setUp()
        self.deb = this_package()
        self._own = Machine(roots.get(SUITE, wanted_packages(self.deb)), boot=self.boot)
        self.addCleanup(self._own.stop)
        self._own.start()

    @property
    def machine(self):
        return self._own

    def install(self, deb=None, *options, check=True):
        """As an administrator does; returns what apt said."""
        deb = deb or self.deb
        self.machine.write(f'/root/{deb.name}', deb.read_bytes())
        result = self.machine.run(
            'apt-get', 'install', '-y', *options, f'/root/{deb.name}', check=check,
            env={'DEBIAN_FRONTEND': 'noninteractive'}, timeout=APT_LIMIT)
        return result.stdout + result.stderr

    def remove(self, how):
        return self.machine.run('apt-get', how, '-y', 'agitator', timeout=APT_LIMIT,
                                env={'DEBIAN_FRONTEND': 'noninteractive'}).stdout

    def states(self, verb):
        """What `systemctl is-active` or `is-enabled` says of the service and both sockets."""
        return self.machine.run('systemctl', verb, 'agitator.service', 'agitator.socket',
                                'agitator-tls.socket', check=False).stdout.split()

    def main_pid(self):
        """Inside the machine."""
        return int(self.machine.show('agitator.service', 'MainPID'))

    def version_of(self, pid):
        """Of the program that a process runs, be its file replaced or not."""
        return self.machine.run(f'/proc/{pid}/exe', '--version').stdout.strip()
