# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages for rpm, built of the tree on this machine.

Each kind is built once for each state of the tree and kept in the cache of the roots, with what
rpmbuild said. Debian's rpm has not the macros that the specification needs: tests/system/rpm/macros
has them.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile
import time

from . import roots
from .waiting import FACTOR

TOP = pathlib.Path(__file__).resolve().parents[3]
OURS = TOP / 'tests' / 'system' / 'rpm'

PROGRAMS = {'rpmbuild': 'rpm', 'find-debuginfo': 'debugedit', 'eu-strip': 'elfutils',
            'meson': 'meson', 'rst2man': 'python3-docutils'}

BUILD_LIMIT = 1500 * FACTOR
KEPT = 8  # builds; older ones are removed

# An older time than any file's, and the same in each build.
EPOCH = 1700000000


# Where every build has its folder, in a mount namespace of its own: a source package has the whole
# path of it in the specification, so that only builds in one place can be the same.
HOME = pathlib.Path('/mnt')
SOURCES = HOME / 'rpmbuild' / 'SOURCES'


def require():
    roots.require('unshare')
    for program, package in PROGRAMS.items():
        if not shutil.which(program):
            raise roots.Unavailable(f'there is no {program}: apt install {package}')


# The tree

def tree_files():
    """The files of the project: what git has or would take, or all when this is no work tree."""
    listed = subprocess.run(['git', '-C', TOP, 'ls-files', '-z', '--cached', '--others',
                             '--exclude-standard'], check=False, capture_output=True)
    if listed.returncode == 0:
        names = os.fsdecode(listed.stdout).split('\0')
        return sorted({name for name in names if name and (TOP / name).is_file()})
    return sorted(found for found in walk(TOP))


def walk(folder):
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_file():
            yield os.path.relpath(entry.path, TOP)
        # No build directory, and nothing that is hidden.
        elif not entry.name.startswith('.') and not os.path.exists(entry.path + '/meson-private'):
            yield from walk(entry.path)


def tree_digest():
    """Changes with every file, and with what builds them; not with the other system tests, which are
    no part of a build."""
    digest = hashlib.sha256()
    for command in (['rpmbuild', '--version'], ['cc', '--version'], ['meson', '--version']):
        digest.update(subprocess.run(command, check=True, capture_output=True).stdout)
    for name in tree_files():
        if re.fullmatch(r'tests/system/(harness/(?!rpms)|)\w+\.py', name):
            continue
        path = TOP / name
        data = path.read_bytes()
        digest.update(f'{name}\0{path.stat().st_mode}\0{len(data)}\0'.encode() + data)
    return digest.hexdigest()[:16]


def copy_tree(folder):
    for name in tree_files():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, target)


def replace(path, pattern, replacement):
    """In a file, where it must be found once."""
    text, n = re.subn(pattern, replacement, path.read_text('utf-8'), flags=re.M)
    assert n == 1, f'{n} of {pattern} in {path}'
    path.write_text(text, 'utf-8')


def version():
    """Of the tree, by its specification."""
    return re.search(r'^Version: +(\S+)$', (TOP / 'rpm' / 'agitator.spec').read_text('utf-8'),
                     re.M).group(1)


def next_version():
    first, _, last = version().rpartition('.')
    return f'{first}.{int(last) + 1}'


# The kinds of builds: what is done to the copy of the tree, and arguments of rpmbuild

def leave(tree):
    """The tree as it is."""


def make_next(tree):
    """A higher version, whose configuration is another one, too."""
    replace(tree / 'meson.build', r"^  version: '[^']*'", f"  version: '{next_version()}'")
    replace(tree / 'rpm' / 'agitator.spec', r'^(Version: +)\S+$', r'\g<1>' + next_version())
    with open(tree / 'data' / 'agitator.conf', 'a', encoding='utf-8') as file:
        file.write('\n# A line of the next version.\n')


KINDS = {
    'release': (leave, ['-ba']),
    'again': (leave, ['-ba', '--nocheck']),
    'next': (make_next, ['-bb', '--nocheck', '--define', '_lto_cflags %{nil}']),
}


class Build:
    """What rpmbuild made."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def log(self):
        return (pathlib.Path(self.folder) / 'log').read_text('utf-8', 'backslashreplace')

    def packages(self):
        return sorted(glob.glob(os.path.join(self.folder, '*.rpm')))

    def package(self, name='agitator'):
        """The path of a package that is to be installed."""
        found, = (path for path in self.packages() if not path.endswith('.src.rpm')
                  and query(path, '%{NAME}') == name)
        return found

    @property
    def source(self):
        found, = (path for path in self.packages() if path.endswith('.src.rpm'))
        return found


def query(path, form, *arguments):
    """What `rpm --query` says of a package's file."""
    return subprocess.run(['rpm', '--query', '--package', '--nosignature', '--queryformat', form,
                           *arguments, path], check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def make_home(change=None):
    """A folder in which rpm finds its macros and has all its own folders, with the specification and
    what it names when there is something to be done to the tree."""
    with tempfile.TemporaryDirectory(prefix='agitator-') as folder:
        home = pathlib.Path(folder)
        home.chmod(0o755)  # tests become other users and run what was built
        shutil.copy(OURS / 'macros', home / '.rpmmacros')
        sources = home / SOURCES.relative_to(HOME)
        sources.mkdir(parents=True)
        if change:
            add_sources(sources, change)
        yield home


def add_sources(sources, change):
    with tempfile.TemporaryDirectory(prefix='agitator-') as scratch:
        tree = pathlib.Path(scratch)
        copy_tree(tree)
        change(tree)
        shutil.copy(tree / 'rpm' / 'agitator.spec', sources)
        shutil.copy(tree / 'data' / 'sysusers.d' / 'agitator.conf', sources / 'agitator.sysusers')
        number = next_version() if change is make_next else version()

        def plain(info):
            info.uid = info.gid = 0
            info.uname = info.gname = 'root'
            info.mtime = EPOCH
            return info

        with tarfile.open(sources / f'agitator-{number}.tar', 'w') as tar:
            tar.add(tree, f'agitator-{number}', filter=plain)
        roots.run(['gzip', '--no-name', str(sources / f'agitator-{number}.tar')], BUILD_LIMIT)


def run_rpm(home, *command):
    """Runs a command of rpm's with a folder of make_home(), which it finds at HOME."""
    return roots.run(roots.contain('--mount-proc', 'sh', '-e', '-c',
                                   'mount --bind "$0" "$HOME"; exec "$@"', home, *command),
                     BUILD_LIMIT, env={'HOME': str(HOME), 'PATH': os.environ['PATH'],
                                       'LC_ALL': 'C.UTF-8',
                                       'AGITATOR_TEST_TIMEOUT_FACTOR': str(FACTOR)})


def build_into(folder, kind):
    change, arguments = KINDS[kind]
    with make_home(change) as home:
        log = run_rpm(home, 'rpmbuild', '--nodeps', *arguments, SOURCES / 'agitator.spec')
        (folder / 'log').write_text(log, 'utf-8')
        for path in home.glob('rpmbuild/*RPMS/**/*.rpm'):
            shutil.copy(path, folder)


failed = set()  # kinds that could not be built; the first to ask was told why


def build(kind):
    """A Build of the tree, made when there is none."""
    require()
    if kind in failed:
        raise AssertionError(f'the build "{kind}" failed before')
    failed.add(kind)
    made = make_build(kind)
    failed.remove(kind)
    return made


def make_build(kind):
    path = pathlib.Path(roots.cache('rpms'), f'{tree_digest()}-{kind}')
    with roots.locked(f'{path}.making', fcntl.LOCK_EX):
        if not path.is_dir():
            remove_old(path.parent)
            begin = time.monotonic()
            new = path.with_name(path.name + '.new')
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            build_into(new, kind)
            new.rename(path)
            print(f'# built {path} in {time.monotonic() - begin:.0f} s', flush=True)
    return Build(str(path))


def remove_old(folder):
    """Whoever uses a build has opened it long before it is one of the oldest."""
    builds = sorted((path for path in folder.iterdir() if path.is_dir()),
                    key=lambda path: path.stat().st_mtime)
    for path in builds[:-KEPT]:
        shutil.rmtree(path)
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + '.making').unlink()


def build_systemd(folder):
    """The package that stands for systemd's; returns its path."""
    require()
    with make_home() as home:
        run_rpm(home, 'rpmbuild', '-bb', OURS / 'systemd.spec')
        package, = home.glob('rpmbuild/RPMS/**/*.rpm')
        return shutil.copy(package, folder)
