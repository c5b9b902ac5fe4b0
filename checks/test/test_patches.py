# SPDX-License-Identifier: GPL-2.0
"""checks/patches, with a tree of a few lines and stubs for what builds: each planted fault must
turn its own line, and no other, into "not ok"."""
import os
import subprocess
from typing import Sequence

import checkrun
from scratch import SPDX, Scratch, git

ST = 'tools/testing/selftests/net/'

# Like kbuild with V=1: prints the commands for an object, and runs none of them.
MAKE = SPDX + '''
for arg; do case $arg in O=*) o=${arg#O=} ;; CC=*) cc=${arg#CC=} ;; C=1) check=1 ;; esac; done
src=$2
for arg; do case $arg in
*.o)
	echo "# CC $arg"
	echo "  $cc -Wp,-MMD,$o/x.d -DNAME='\\"x y\\"' -c -o $arg $src/${arg%.o}.c ; ./tools/objtool/objtool $arg"
	[ -z "$check" ] || echo "  sparse${TORN:+ -D__typ
make -f scripts/Makefile.build obj=virt
eof} -D__typeof_unqual__=__typeof__ $src/${arg%.o}.c" ;;
vmlinux.a) : > "$o/vmlinux.a"; git -C "$src" log -1 --format=%s >> "$o/compiled" ;;
esac; done
'''
# What the file says is what the tools say.
COMPILER = SPDX + '''
me=${0##*/}
[ "$1" != --version ] || { echo "$me version 99.0"; exit; }
for arg; do case $arg in -Wp,-MMD,*) deps=${arg#-Wp,-MMD,} ;; esac; file=$arg; done
# As -Wp, would take it.
case $deps in *,*) echo "$file:1:1: error: a comma"; exit 1 ;; esac
case $file in */planted-*) [ -e "${0%/*}/blind-$me" ] || echo "$file:1:1: warning: seen"; exit ;; esac
! grep -q ERROR "$file" || { echo "$file:1:1: error: planted"; exit 1; }
dir=${file%/fs/*}
[ -z "$deps" ] || echo "x.o: $file $dir/include/a.h" > "$deps"
cat "$file" "$dir/include/a.h" | grep -n "$me: " | sed "s#\\([0-9]*\\):.*$me: #$file:\\1:1: warning: #"
case $PWD in *+more) grep -n "more: " "$file" | sed "s#\\([0-9]*\\):.*more: #$file:\\1:1: warning: #" ;; esac
'''
LD = SPDX + '[ -z "$INCOMPLETE" ] || exit 1\n! grep -rq NOLINK "$ROOT/build/6.12/src/fs" || { echo "ld: fs/a.o: undefined reference to planted" >&2; exit 1; }\n'
KERNEL = SPDX + '''
while [ $# -gt 0 ]; do case $1 in --src) src=$2 ;; --out) o=$2 ;; --only) only=$2 ;; esac; shift; done
mkdir -p "$o"; : > "$o/.config"
[ "$only" != vmlinux ] || { : > "$o/.tmp_vmlinux0.kallsyms.o"; git -C "$src" log -1 --format=%s >> "$o/built"; ! grep -rq NOLINK "$src/fs"; }
'''
SELFTESTS = SPDX + '''
cc=gcc; [ -z "$LLVM" ] || cc=clang
while [ $# -gt 0 ]; do case $1 in
--src) src=$2; shift ;; --log) log=$2; echo "lib/other.c:1:1: warning: not ours" > "$log"; shift ;; --*) shift ;;
*) file=$src/tools/testing/selftests/$(echo "$1" | tr : /).c
	! grep -q ERROR "$file" || { echo "error: planted" >&2; exit 1; }
	grep -n "$cc: " "$file" | sed "s#\\([0-9]*\\):.*$cc: #$file:\\1:1: warning: #" >> "$log" ;;
esac; shift; done
'''
TREE = {
    'fs/a.c': 'gcc: old\nsparse: old\nclang: old\n',
    'include/a.h': '\n',
    'scripts/checkpatch.pl': SPDX + '! grep "^+.*BADSTYLE"\n',
    'scripts/get_maintainer.pl': SPDX + 'case $* in *nobody*) echo linux-kernel@vger ;; *) echo someone@mail.test ;; esac\n',
    'scripts/kernel-doc': SPDX + 'for f; do :; done\ngrep -n "doc: " "$f" | sed "s#^\\([0-9]*\\):#$f:\\1: warning: #"\n',
    ST + 'Makefile': 'TEST_GEN_PROGS = one two\n',
    ST + '.gitignore': 'one\ntwo\n',
    ST + 'one.c': '#include "lib.h"\ngcc: old\n',
    ST + 'lib.h': '\n',
}
OLD, DOC = TREE['fs/a.c'], 'Documentation/y.rst'
LISTED = 'the selftests are in Makefile and .gitignore'
# Subject, body, files, and the lines that must not be ok.
Patch = tuple[str, str, dict[str, str], list[str]]
PATCHES: list[Patch] = [
    ('T: Move the old warnings', '', {'fs/a.c': '\n\n' + OLD}, []),
    ('T: Plant a warning of each tool', '', {'fs/a.c': OLD + 'gcc: new\nclang: new\nsparse: new\ndoc: new\n'},
     [f'no new warning of {tool}' for tool in ('gcc', 'clang', 'sparse', 'kernel-doc')]),
    ('T: Plant a second for one that goes', '', {'fs/a.c': OLD + 'gcc: another\n'}, ['no new warning of gcc']),
    ('T: Plant a warning in a header', '', {'include/a.h': 'clang: in the header\n'}, ['no new warning of clang']),
    ('T: Plant a warning of one config', '', {'fs/a.c': OLD + 'more: new\n'},
     ['no new warning of gcc', 'no new warning of clang', 'no new warning of sparse']),
    ('T: Plant an error', '', {'fs/a.c': OLD + 'ERROR\n'}, ['compiles by gcc with W=1', 'compiles by clang with W=1']),
    ('T: Plant a link error', '', {'fs/a.c': OLD + 'NOLINK\n'}, ['builds with plain']),
    ('T: Mend it', '', {'fs/a.c': OLD}, []),
    ('T: Plant bad style', '', {DOC: 'BADSTYLE\n'}, ['checkpatch --strict']),
    ('T: Add a file that nobody maintains', '', {'Documentation/nobody.rst': '\n'}, ['checkpatch --strict']),
    ('T: End in a full stop.', '', {DOC: '1\n'}, ['subject and changelog']),
    ('T: lower case', '', {DOC: '2\n'}, ['subject and changelog']),
    ('X: Take a foreign prefix', '', {DOC: '3\n'}, ['subject and changelog']),
    ('T: Write a long line', 'x' * 76, {DOC: '4\n'}, ['subject and changelog']),
    ('T: Sign', 'Signed-' + 'off-by: A <a@mail.test>', {DOC: '5\n'}, ['subject and changelog']),
    ('T: Say we', 'Here we go.', {DOC: '6\n'}, ['subject and changelog']),
    ('T: Document', '', {'Documentation/x.rst': 'x\n'}, []),
    ('T: Touch a selftest', '', {ST + 'one.c': '\n#include "lib.h"\ngcc: old\n'}, []),
    ('T: Plant a warning in a selftest', '', {ST + 'one.c': '#include "lib.h"\ngcc: new\n'}, ['no new warning of gcc in net:one']),
    ('T: Touch a header', '', {ST + 'lib.h': '\n\n', ST + 'one.c': '#include "lib.h"\ngcc: new\nclang: new\n'},
     ['no new warning of clang in net:one']),
    ('T: Add a listed selftest', '', {ST + 'two.c': '\n'}, []),
    ('T: Add a selftest that does not compile', '', {ST + 'two.c': 'ERROR\n'},
     ['no new warning of gcc in net:two', 'no new warning of clang in net:two']),
    ('T: Mend the selftest', '', {ST + 'two.c': '\n\n'}, []),
    ('T: Add an unlisted selftest', '', {ST + 'three.c': '\n'}, [LISTED]),
    ('T: Add a header of none', '', {ST + 'four.h': '\n'}, ['its selftest files belong to a program']),
]


class Patches(Scratch):
    def house(self, patches: Sequence[Patch]) -> checkrun.Result:
        """Runs the check on these patches."""
        for name in ('series/6.12', 'series/topics'):
            subprocess.run(['rm', '-rf', str(self.root / name)], check=True)
        tree, bare = self.root / 'tree', self.root / 'build/git'
        self.plant({'series/topics': 't  T:\n', 'series/6.12/t.order': '', 'series/6.12/base': 'PACKAGE=p\nVERSION=1\n',
                    'checks/patches.files': 't plain -\nt plain+more -\n', 'stub/data/dictionary.txt': 'x\n'})
        self.plant({'testbed/bin/kernel': KERNEL, 'testbed/bin/selftests': SELFTESTS, 'stub/make': MAKE, 'stub/gcc': COMPILER, 'stub/clang': COMPILER,
                    'stub/sparse': COMPILER, 'stub/ld': LD, 'stub/dpkg': SPDX + f'echo {self.root}/stub/data/dictionary.txt\n',
                    'series/series': SPDX + f'git -C {self.root}/build/6.12/src checkout -q "$2"\n'}, 0o755)
        git(self.top, 'init', '-q', '--bare', str(bare))
        git(self.top, 'init', '-q', str(tree))
        commits = []
        for subject, body, files, _ in [('base', '', TREE, []), *patches]:
            self.plant({f'tree/{name}': text for name, text in files.items()}, 0o755)
            git(tree, 'add', '-A', '-f')
            git(tree, 'commit', '-q', '-m', f'{subject}\n\n{body}\n')
            commits.append(git(tree, 'rev-parse', 'HEAD'))
        git(tree, 'push', '-q', str(bare), 'HEAD:refs/heads/x')
        git(bare, 'worktree', 'add', '-q', '--detach', str(self.root / 'build/6.12/src'), commits[0])
        return self.check('patches', commits[0], commits[-1], 't', env=self.env())

    more: dict[str, str] = {}

    def env(self) -> dict[str, str]:
        return {'PATH': f"{self.root}/stub:{os.environ['PATH']}", 'CCACHE': '', 'ROOT': str(self.root), **self.more}

    def test_each_planted_fault_turns_one_line(self) -> None:
        got = self.house(PATCHES)
        self.assert_verdict(got, 'FAIL', name='patches')
        for subject, _, _, wanted in PATCHES:
            mine = {r['subtest'][len(subject) + 2:]: r['verdict'] for r in got.rows[1:] if r['subtest'].startswith(subject + ': ')}
            self.assertTrue(mine, f'{subject}: nothing was checked\n{self.show(got)}')
            bad = [name for name, verdict in mine.items() if verdict == 'FAIL']
            self.assertEqual(bad, wanted, f"{subject}\n{self.show(got)}\n{self.log('patches')}")
        compiled = (self.root / 'build/6.12/o/plain/compiled').read_text(encoding='utf-8')
        self.assertIn('T: Plant a link error', compiled)
        self.assertNotIn('Document', compiled)
        self.assertNotIn('selftest', compiled)
        # The whole kernel: of the base, of what does not link, and of the last patch that changes it.
        self.assertEqual((self.root / 'build/6.12/o/plain/built').read_text(encoding='utf-8'), 'base\nT: Plant a link error\nT: Mend it\n')

    def test_what_is_clean_passes(self) -> None:
        self.assert_verdict(self.house([p for p in PATCHES if not p[3]]), 'PASS', [])

    def test_objects_that_an_interrupted_build_lacks_are_built(self) -> None:
        self.more = {'INCOMPLETE': '1'}
        self.assert_verdict(self.house([p for p in PATCHES if not p[3]]), 'PASS', [])

    def test_a_command_that_another_line_tears_is_an_error(self) -> None:
        self.more = {'TORN': '1'}
        self.assert_verdict(self.house([p for p in PATCHES if not p[3]]), 'ERROR')
        self.assertIn('learn.log does not show how make compiles fs/a.c', self.log('patches'))

    def test_a_link_error_at_the_tip_is_found(self) -> None:
        self.assert_verdict(self.house([p for p in PATCHES if p[0] == 'T: Plant a link error']), 'FAIL', ['T: Plant a link error: builds with plain'])

    def test_brief_shows_clang_the_last_patch_alone_with_what_came_before(self) -> None:
        self.more = {'BRIEF': '1'}
        seen, again = 'clang: new\n', 'T: Move it'
        got = self.house([('T: Plant a warning', '', {'fs/a.c': OLD + seen}, []), (again, '', {'fs/a.c': '\n' + OLD + seen}, [])])
        self.assert_verdict(got, 'FAIL', [f'{again}: no new warning of clang'])

    def test_a_tool_that_sees_nothing_is_an_error(self) -> None:
        for tool in ('gcc', 'clang', 'sparse'):
            with self.subTest(tool):
                self.setUp()
                self.plant({f'stub/blind-{tool}': ''})
                got = self.house(PATCHES[:1])
                self.assert_verdict(got, 'ERROR', name='patches')
                self.assertIn(f'{tool}: it does not see a planted fault', self.log('patches'))

    def test_a_topic_of_words_alone_builds_no_kernel(self) -> None:
        self.assert_verdict(self.house([p for p in PATCHES if p[0] == 'T: Document']), 'PASS', [])
        self.assertFalse((self.root / 'build/6.12/o/plain/built').exists())
