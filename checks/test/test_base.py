# SPDX-License-Identifier: GPL-2.0
"""The checks of a base: applies, round-trip, maintainers and docs, with a kernel tree of a few
files and a set of a few patches."""
import fcntl
import os
import shutil
import subprocess
import threading
import time
import unittest

import checkrun
from scratch import SPDX, Scratch, git

# get_maintainer.pl: each F: line is a prefix of what it covers.
GET = SPDX + '''
while [ $# -gt 0 ]; do case $1 in --mpath) file=$2; shift ;; esac; last=$1; shift; done
sed -n 's/^F:[[:space:]]*//p' "$file" | while read -r prefix; do
	case $last in "$prefix"*) echo "netdev@list.test (open list:NETWORK)"; echo "A <a@list.test> (maintainer:NETWORK)" ;; esac
done
echo "linux-kernel@list.test (open list)"
'''
# parse-maintainers.pl: sorts the F: lines, which must come last.
PARSE = SPDX + '''
for arg; do case $arg in --input=*) in=${arg#*=} ;; --output=*) out=${arg#*=} ;; --order) order=1 ;; esac; done
if [ "$order" ]; then { grep -v ^F: "$in"; grep ^F: "$in" | LC_ALL=C sort; } > "$out"; else cp "$in" "$out"; fi
! grep -q BROKEN "$in" || echo "BROKEN line"
'''
# htmldocs: a page is its text; "warn: " in it is a warning of Sphinx.
MAKEFILE = '''VERSION = 6
PATCHLEVEL = 12
SUBLEVEL = 1
htmldocs:
\t@out=$(O)/Documentation/output/net; mkdir -p $$out/_images; echo '<svg>' > $$out/_images/a.svg; \\
\tfor page in Documentation/net/*.rst; do n=$$(basename $$page .rst); \\
\t! grep -q BREAK $$page || exit 1; grep -n 'warn: ' $$page | sed "s#^\\([0-9]*\\):#$(CURDIR)/$$page:\\1: WARNING: #"; \\
\t{ cat $$page; sed -n 's/^   \\([a-z]*\\)$$/<li class="toctree-l1"><a href="\\1.html">/p' $$page; \\
\tsed -n 's/^.. shows/<img src="_images\\/a.svg">/p;s/^.. has /id="c./p' $$page | sed 's/^id.*/&"/'; } > $$out/$$n.html; done
'''
LINES = ''.join(f'line {n}\n' for n in range(1, 31))
LINUX = {'Makefile': MAKEFILE, 'Kconfig': 'mainmenu "Linux"\n', 'COPYING': 'GPL\n', 'net/a.c': LINES,
         'MAINTAINERS': 'List\n\nNETWORK\nM:\tA <a@list.test>\nL:\tnetdev@list.test\nF:\tDocumentation/\nF:\tnet/a\n',
         'Documentation/net/index.rst': 'Index\n   old\n', 'Documentation/net/old.rst': 'warn: an old one\n', 'Documentation/index.rst': 'All\n'}
CHANGE = '''Subject: T: Change a line

Because.

---
diff --git a/net/a.c b/net/a.c
--- a/net/a.c
+++ b/net/a.c
@@ -7,7 +7,7 @@ line 6
 line 7
 line 8
 line 9
-line 10
+line ten
 line 11
 line 12
 line 13
'''
PAGE = '''Subject: T: Document it

Because.

Adds: Documentation/net/new.rst
---
diff --git a/Documentation/net/index.rst b/Documentation/net/index.rst
--- a/Documentation/net/index.rst
+++ b/Documentation/net/index.rst
@@ -1,2 +1,3 @@
 Index
+   new
    old
'''
HEADER = 'Subject: T: Add a header\n\nBecause.\n\nAdds: net/new.h\n---\n'
COVERED = HEADER.replace('Adds:', 'Maintains: NETWORK\nAdds:')
GOOD = 'A page.\n\n.. kernel-render:: DOT\n.. shows\n.. kernel-doc:: net/a.c\n   :identifiers: f\n.. has f\n'


class Base(Scratch):
    def setUp(self) -> None:
        super().setUp()
        shutil.rmtree(self.root / 'series/6.12')
        for path in (self.root / 'series').glob('7*'):
            shutil.rmtree(path)
        self.linux = self.top / 'linux'
        for name, text in LINUX.items():
            (self.linux / name).parent.mkdir(parents=True, exist_ok=True)
            (self.linux / name).write_text(text, encoding='utf-8')
        for name, text in (('get_maintainer.pl', GET), ('parse-maintainers.pl', PARSE)):
            (self.linux / 'scripts').mkdir(exist_ok=True)
            (self.linux / 'scripts' / name).write_text(text, encoding='utf-8')
            (self.linux / 'scripts' / name).chmod(0o755)
        # parse-maintainers.pl is started by perl
        self.plant({'stub/perl': SPDX + 'exec sh "$@"\n'}, 0o755)
        git(self.linux, 'init', '-q')
        git(self.linux, 'add', '-A')
        git(self.linux, 'commit', '-q', '-m', 'Linux')
        self.plant({'series/topics': 't  T:\n', 'series/6.12/base': 'PACKAGE=p\nVERSION=6.12.1\nPREFIX=PATCH\n', 'series/t.cover': 'Subject: Cover\n\nText.\n'})

    def patches(self, **files: str) -> None:
        """The set: its patches by name, in order; and the files that they add."""
        self.plant({f'net/{name}.patch': text for name, text in files.items()})
        self.plant({'series/6.12/t.order': ''.join(f'net/{name}.patch\n' for name in files)})

    def look(self, name: str) -> checkrun.Result:
        env = {'LINUX': str(self.linux), 'PATH': f"{self.root}/stub:{os.environ['PATH']}"}
        done = subprocess.run([str(self.root / 'series/series'), 'commits'], env={**os.environ, **env}, capture_output=True, text=True, check=False)
        base, tip = (git(self.root / 'build/git', 'rev-parse', f'refs/set/6.12/{n}') if done.returncode == 0 else '0' for n in ('base', 'all'))
        git(self.root, 'add', '-A')
        return self.check(name, base, tip, env=env)

    def test_applies(self) -> None:
        self.patches(change=CHANGE)
        self.assert_verdict(self.look('applies'), 'PASS', [], 'applies')
        self.patches(change=CHANGE.replace(' line 7\n', ' line seven\n'))   # patch(1) would take it, with fuzz
        got = self.look('applies')
        self.assert_verdict(got, 'FAIL', ['the patches apply to LINUX=DIR'], 'applies')
        self.assertIn('net/change.patch', '\n'.join(got.rows[1]['said']))

    def test_without_patches(self) -> None:
        self.patches()
        for name in ('applies', 'maintainers', 'docs'):
            with self.subTest(name):
                self.assert_verdict(self.look(name), 'SKIP', [], name)
        self.assert_verdict(self.look('round-trip'), 'PASS', [], 'round-trip')

    def test_round_trip(self) -> None:
        self.patches(change=CHANGE)
        got = self.look('round-trip')
        self.assert_verdict(got, 'PASS', [], 'round-trip')
        self.assertEqual(len(got.rows), 4)
        self.assertFalse((self.root / 'build/tree').exists())
        # A refresh that writes what nobody changed, and a format that writes something else.
        shutil.move(self.root / 'series/series', self.root / 'series/real')
        for verb, file, row in (('refresh', 'net/change.patch', 'tree, then refresh, changes no byte'),
                                ('format', 'out/6.12/t/0001-*.patch', 'git am of t gives the tree of its commits')):
            with self.subTest(verb):
                self.plant({'series/series': SPDX + f'cd "$(dirname "$0")/.." && python3 series/real "$@" && {{ [ "$1" != {verb} ] || '
                                                    f'sed -i "s/^+line ten/+line 10+/" {file}; }}\n'}, 0o755)
                self.assert_verdict(self.look('round-trip'), 'FAIL', [row], 'round-trip')
        self.assertIn('+line ten', (self.root / 'net/change.patch').read_text(encoding='utf-8'))

    def test_maintainers(self) -> None:
        self.plant({'net/new.h': 'new\n', 'MAINTAINERS': 'SPDX-License-Identifier: GPL-2.0\n\nLines.\n\nNETWORK\nF:\tnet/new.h\n'})
        self.patches(header=COVERED)
        self.assert_verdict(self.look('maintainers'), 'PASS', [], 'maintainers')
        self.plant({'net/more.h': 'more\n'})
        self.patches(header=COVERED, more=HEADER.replace('new.h', 'more.h').replace('Add a', 'Add another'))
        self.assert_verdict(self.look('maintainers'), 'FAIL', ['net/more.h has a maintainer'], 'maintainers')

    def test_maintainers_in_no_order(self) -> None:
        self.plant({'net/new.h': 'new\n', 'MAINTAINERS': 'SPDX-License-Identifier: GPL-2.0\n\nLines.\n\nNETWORK\nF:\tnet/new.h\n'})
        self.patches(header=COVERED)
        # A sorter that has it otherwise.
        script = self.linux / 'scripts/parse-maintainers.pl'
        script.write_text(PARSE.replace('LC_ALL=C sort', 'LC_ALL=C sort -r'), encoding='utf-8')
        git(self.linux, 'commit', '-q', '-a', '-m', 'x')
        self.assertIn('parse-maintainers.pl --order moves no line that the set adds', self.failed(self.look('maintainers')))

    def test_maintainers_that_would_find_nothing(self) -> None:
        # The set's lines are for a file that is covered anyway.
        self.plant({'net/a.h': 'new\n', 'MAINTAINERS': 'SPDX-License-Identifier: GPL-2.0\n\nLines.\n\nNETWORK\nF:\tnet/a.h\n'})
        self.patches(header=COVERED.replace('new.h', 'a.h'))
        self.assert_verdict(self.look('maintainers'), 'FAIL', ["with the base's MAINTAINERS a file has no maintainer"], 'maintainers')

    @unittest.skipUnless(shutil.which('sphinx-build', path='/usr/bin') and shutil.which('dot', path='/usr/bin'), 'sphinx-build or dot is not installed')
    def test_docs(self) -> None:
        page, there = 'Documentation/net/new.rst', 'every page of the set is there (2)'
        self.patches(page=PAGE)
        planted: list[tuple[str, list[str]]] = [
            (GOOD, []), (GOOD + 'warn: new\n', ['no new warning']), (GOOD.replace('.. shows\n', ''), [there]),
            (GOOD.replace('.. has f\n', ''), [there]), ('BREAK\n', ["the set's pages build"])]
        for text, failed in planted:
            with self.subTest(text):
                self.plant({page: text})
                self.assert_verdict(self.look('docs'), 'FAIL' if failed else 'PASS', failed, 'docs')
        self.plant({page: GOOD})
        self.patches(page=PAGE.replace('+   new', '+   other'))
        self.assert_verdict(self.look('docs'), 'FAIL', [there], 'docs')
        self.assertNotIn('waiting', self.log('docs'))
        self.patches(page=PAGE)
        with open(self.root / 'build/6.12/docs/.lock', 'a', encoding='utf-8') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

            def release() -> None:
                for _ in range(600):
                    if 'waiting' in self.log('docs'):
                        break
                    time.sleep(0.1)
                fcntl.flock(lock, fcntl.LOCK_UN)
            other = threading.Thread(target=release)
            other.start()
            self.assert_verdict(self.look('docs'), 'PASS', [], 'docs')
            other.join()
        self.assertIn('waiting for another run to finish with build/6.12/docs', self.log('docs'))
