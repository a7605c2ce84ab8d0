# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of agitator-import."""

import argparse
import errno
import gettext
import os
import stat
import sys

from .convert import convert
from .old import is_there, SIZE_MAX
from .problems import Refused, show_file

_ = gettext.gettext
ngettext = gettext.ngettext


def N_(text):
    return text


# What argparse says by itself, in English here: it looks for it among the words of this program.
WORDS_OF_ARGPARSE = (
    N_('usage: '),
    N_('positional arguments'),
    N_('options'),
    N_('optional arguments'),  # as it was before Python 3.10
    N_('%(prog)s: error: %(message)s\n'),
    N_('argument %(argument_name)s: %(message)s'),
    N_('expected one argument'),
    N_('ignored explicit argument %r'),
    N_('the following arguments are required: %s'),
    N_('unrecognized arguments: %s'),
)

EXIT_REFUSED = 1
EXIT_INTERRUPTED = 130


# Standard input and output by their numbers, since Python has no sys.stdin where it is closed.


def read(path):
    with open(0 if path == '-' else path, 'rb', closefd=path != '-') as file:
        return file.read(SIZE_MAX + 1)


def write_stdout(data):
    with open(1, 'wb', closefd=False) as file:
        file.write(data)


def take_after(fd, old):
    """Gives the open file the owner, group and permissions of the one at the path `old`."""
    given, wanted = os.fstat(fd), os.stat(old)
    if (given.st_uid, given.st_gid) != (wanted.st_uid, wanted.st_gid):
        try:
            os.fchown(fd, wanted.st_uid, wanted.st_gid)
        except OSError as error:
            raise OSError(error.errno, _("Its owner and group can't be kept, so it stays as it is"),
                          old) from None
    os.fchmod(fd, stat.S_IMODE(wanted.st_mode))


def write_new(path, data, old=None):
    """To a file that must not be there; whole, or there is none. It takes after `old`."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                 0o666 if old is None else 0o600)
    try:
        with open(fd, 'wb') as file:
            if old is not None:
                take_after(fd, old)
            file.write(data)
            file.flush()
            os.fsync(fd)
    except BaseException:
        os.unlink(path)
        raise


def replace(path, data):
    """In one step: whoever reads the file meanwhile has the old one or the new one."""
    target = os.path.realpath(path)
    old = target if os.path.exists(target) else None
    if old and not os.path.isfile(old):
        raise OSError(errno.EINVAL, _('This is not a regular file'), path)
    new = f'{target}.{os.getpid()}.new'
    write_new(new, data, old)
    try:
        os.rename(new, target)
    except BaseException:
        os.unlink(new)
        raise


def parse_arguments(arguments, version):
    parser = argparse.ArgumentParser(
        prog='agitator-import', formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False, add_help=False,
        description=_('Turns a configuration of the agitator that was written in Go, which is in TOML, '
                      'into one\nof this agitator. Comments in it say what means something else now. '
                      'What has no\nequivalent is refused, and then nothing is written.'),
        epilog=_("Exit status: 0 when the configuration was converted, 1 when something was refused or "
                 "a file\ncan't be read or written, 2 when the command line is wrong.\n\n"
                 'See agitator-import(1) and agitator.conf(5).'))
    parser.add_argument('old', metavar='OLD.conf',
                        help=_('the old configuration; - is standard input'))
    parser.add_argument('-o', '--output', metavar=_('FILE'),
                        help=_('write to FILE, which must not be there yet'))
    parser.add_argument('-f', '--force', action='store_true',
                        help=_('replace the FILE of --output if it is there'))
    parser.add_argument('-h', '--help', action='help', help=_('print this, and exit'))
    parser.add_argument('--version', action='version', version=f'agitator-import {version}',
                        help=_('print the version, and exit'))
    options = parser.parse_args(arguments)
    if options.force and options.output is None:
        parser.error(_('--force goes with --output'))
    if options.output == '':
        parser.error(_('--output is empty'))
    return options


def complain(line):
    try:
        os.write(2, (line + '\n').encode(sys.getfilesystemencoding(), 'backslashreplace'))
    except OSError:
        pass  # nobody listens, but for who reads the exit status


def run(options, version):
    if not is_there():
        complain(_('agitator-import: Python 3.11 is needed, or its module tomli (python3-tomli)'))
        return EXIT_REFUSED
    try:
        text, left_out, routes = convert(read(options.old), options.old, version)
        if options.output is None:
            write_stdout(text.encode())
        elif options.force:
            replace(options.output, text.encode())
        else:
            write_new(options.output, text.encode())
    except Refused as refused:
        for line in refused.lines:
            complain(f'{show_file(options.old)}:{line}')
        return EXIT_REFUSED
    except FileExistsError as error:
        complain(_('agitator-import: {file} is there already; --force replaces it').format(
            file=show_file(error.filename)))
        return EXIT_REFUSED
    except OSError as error:
        file = '-' if error.filename is None else show_file(error.filename)
        complain(f'agitator-import: {file}: {error.strerror}')
        return EXIT_REFUSED
    if left_out:
        complain(ngettext('agitator-import: {n} route of {all} is left out; a comment says why',
                          'agitator-import: {n} routes of {all} are left out; comments say why',
                          left_out).format(n=left_out, all=routes))
    return 0


def main(version, locale_folder):
    """Returns the exit status."""
    gettext.bindtextdomain('agitator', locale_folder)
    gettext.textdomain('agitator')
    try:
        return run(parse_arguments(None, version), version)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
