# SPDX-License-Identifier: GPL-3.0-or-later
"""Each rule is shown a tree that keeps it and one that breaks it."""

import os
import pathlib
import stat
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / 'integration')]

import check_source  # noqa: E402
from harness.tap import main  # noqa: E402

HEAD = f'/* {check_source.SPDX} */\n'


class CheckSourceTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = pathlib.Path(directory.name).resolve()

    def write(self, name, text):
        path = self.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
        return path

    def found(self, rule):
        return list(check_source.RULES[rule](self.top))

    def assert_found(self, rule, *parts):
        """One finding for each part, in order."""
        found = self.found(rule)
        self.assertEqual(len(found), len(parts), found)
        for line, part in zip(found, parts):
            self.assertIn(part, line)

    def test_layers_allow_what_points_down(self):
        self.write('src/main.c', '#include "daemon/daemon.h"\n#include "base/log.h"\n')
        self.write('src/daemon/daemon.c', '#include "proxy/proxy.h"\n#include "net/dial.h"\n')
        self.write('src/proxy/proxy.c', '#include "agi/agi-env.h"\n#include "proxy/proxy.h"\n')
        self.write('src/net/dial.c', '#include <glib.h>\n#include "base/fd.h"\n')
        self.write('src/ctl/call.c', '#include "net/address.h"\n#include "config.h"\n')
        self.assert_found('layers')

    def test_layers_refuse_every_arrow_that_points_back(self):
        order = ['base', 'agi', 'net', 'proxy', 'daemon', 'ctl']
        for lower in order:
            for upper in order:
                if lower == upper or upper in check_source.LAYERS[lower]:
                    continue
                path = self.write(f'src/{lower}/x.c', f'\n#include "{upper}/y.h"\n')
                self.assert_found('layers', f'x.c:2: {lower} may not include {upper}/y.h')
                path.unlink()

    def test_layers_keep_protocol_and_sockets_apart(self):
        self.write('src/agi/x.c', '#include "net/address.h"\n')
        self.write('src/net/x.c', '#include "agi/agi-env.h"\n')
        self.assert_found('layers', 'agi may not include', 'net may not include')

    def test_layers_keep_the_daemon_out_of_agitatorctl(self):
        self.write('src/ctl/x.c', '#include "proxy/settings.h"\n')
        self.assert_found('layers', 'ctl may not include proxy/settings.h')

    def test_layers_want_the_folder_named(self):
        self.write('src/net/x.c', '#include "dial.h"\n#include "../base/fd.h"\n')
        self.assert_found('layers', '"dial.h" is not', '"../base/fd.h" is not')

    def test_layers_know_every_folder(self):
        self.write('src/misc/x.c', '')
        self.assert_found('layers', 'no such layer as misc')

    def test_file_size(self):
        self.write('src/base/fits.c', '\n' * 700)
        self.assert_found('file-size')
        self.write('src/base/long.c', '\n' * 701)
        self.assert_found('file-size', 'long.c: 701 lines')

    def function(self, name, lines):
        return f'static int\n{name}(int x,\n    int y)\n{{\n' + '        x();\n' * lines + '}\n\n'

    def test_function_size(self):
        self.write('src/base/x.c', self.function('fits', 60) + self.function('grows', 61))
        self.assert_found('function-size', 'x.c:68: grows has 61 lines')

    def test_function_size_with_a_reason(self):
        reason = '/* long: a table in disguise. */\n'
        self.write('src/base/x.c', reason + self.function('grows', 61))
        self.assert_found('function-size')

    def test_function_size_with_too_many_reasons(self):
        text = ''.join('/* long: so it is. */\n' + self.function(f'grows_{i}', 61)
                       for i in range(check_source.LONG_FUNCTIONS + 1))
        self.write('src/base/x.c', text)
        self.assertIn('are allowed', self.found('function-size')[-1])

    def test_heads(self):
        self.write('src/base/good.c', HEAD)
        self.write('tests/good.py', f'# {check_source.SPDX}\n')
        self.write('.ci/good', f'#!/bin/sh\n# {check_source.SPDX}\n')
        self.write('data/doc/page.md', 'words\n')
        self.assert_found('heads')
        self.write('src/base/bad.h', '#pragma once\n' + HEAD)
        self.write('.ci/bad', '#!/bin/sh\ntrue\n')
        self.assert_found('heads', 'src/base/bad.h', '.ci/bad')

    def test_headers(self):
        self.write('src/base/good.h', HEAD + '#pragma once\n')
        self.assert_found('headers')
        self.write('src/base/utils.h', HEAD)
        self.assert_found('headers', 'utils.h: #pragma once', 'utils.h: a header for everybody')

    def test_potfiles(self):
        self.write('src/ctl/words.c', 'puts(_("word"));\n')
        self.write('src/ctl/silent.c', 'call_("word"); my_N_(1);\n')
        self.write('src/importer/words.py', "print(_('word'))\n")
        self.write('po/POTFILES', '# comment\nsrc/ctl/words.c\nsrc/importer/words.py\n')
        self.assert_found('potfiles')
        (self.top / 'src/importer/words.py').unlink()
        self.write('po/POTFILES', 'src/ctl/silent.c\n')
        self.assert_found('potfiles', 'src/ctl/words.c is missing', 'src/ctl/silent.c has no words')

    def test_python(self):
        self.write('tests/good.py', 'x = 1\n')
        self.write('src/good.in', '#!/usr/bin/python3\nx = "@x@"\n')
        self.write('tests/run', '#!/bin/sh\nx = = 2\n')
        self.assert_found('python')
        self.write('tests/bad.py', 'x = 1\nx = = 2\n')
        self.write('src/bad.in', '#!/usr/bin/python3\n\nx = @x@\n')
        self.assert_found('python', 'bad.in:3:', 'bad.py:2:')

    def test_text(self):
        self.write('src/good.c', 'a\n')
        self.write('tests/samples/bytes.txt', 'agi_accountcode: \r\n')
        self.assert_found('text')
        (self.top / 'src/bad.c').write_bytes(b'a \n\xffb\r\nc')
        self.assert_found('text', "can't decode", 'no end', 'bad.c:1: blanks', 'bad.c:2: blanks')

    def test_links(self):
        self.write('README.md', '[a](data/doc/a.md#part), [b](agi://h/x)\n')
        self.write('data/doc/a.md', '[top](../../README.md)\n')
        self.assert_found('links')
        self.write('data/doc/a.md', '\n[gone](gone.md)\n')
        self.assert_found('links', 'a.md:2: there is no gone.md')

    def test_format(self):
        self.write('.clang-format', (HERE.parents[1] / '.clang-format').read_text(encoding='utf-8'))
        self.write('src/good.c', 'int\nmain(void)\n{\n        return 0;\n}\n')
        self.assert_found('format')
        self.write('src/bad.c', 'int main(void) { return 0; }\n')
        self.assert_found('format', 'src/bad.c')

    def test_format_refuses_another_clang_format(self):
        program = self.write('bin/clang-format', '#!/bin/sh\necho clang-format version 15.0.6\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        path = os.environ['PATH']
        self.addCleanup(os.environ.__setitem__, 'PATH', path)
        os.environ['PATH'] = str(program.parent)
        self.assert_found('format', 'clang-format 14 is needed')


if __name__ == '__main__':
    main()
