# SPDX-License-Identifier: GPL-2.0
"""check-patches and broken, with a tree of a few lines and stubs for what builds and boots:
each planted fault must turn its own line, and no other, into "not ok"."""
import os
import re
import shutil
import subprocess
import sys

from common import TESTBED, folder, named_cases, read, run, write

SPDX = '#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0\n'
ST = 'tools/testing/selftests/net/'

# Like kbuild: compiles what changed, and says so. What the file says is what the tools say.
FAKE_MAKE = SPDX + '''
for arg; do case $arg in O=*) o=${arg#O=} ;; CC=*) cc=${arg#CC=} ;; C=1) check=1 ;; esac; done
src=$2
for arg; do case $arg in *.o)
	file=$src/${arg%.o}.c
	cmp -s "$file" "$o/$arg" && continue
	echo "  CC      $arg"
	! grep -q ERROR "$file" || { echo "$file:1:1: error: planted"; status=2; rm -f "$o/$arg"; continue; }
	mkdir -p "$(dirname "$o/$arg")"
	grep -n "$cc: " "$file" | sed "s#\\([0-9]*\\):.*$cc: #$file:\\1:1: warning: #"
	case $o in *+more) grep -n "more: " "$file" | sed "s#\\([0-9]*\\):.*more: #$file:\\1:1: warning: #" ;; esac
	if [ "$check" ]; then
		echo "  CHECK   $file"
		grep -n "sparse: " "$file" | sed "s#\\([0-9]*\\):.*sparse: #$file:\\1:1: warning: #"
	fi
	cp "$file" "$o/$arg" ;;
esac; done
exit ${status:-0}
'''
FAKE_KERNEL = SPDX + '''
while [ $# -gt 0 ]; do case $1 in --src) src=$2 ;; --out) o=$2 ;; --only) only=$2 ;; esac; shift; done
mkdir -p "$o"; : > "$o/.config"
[ "$only" != vmlinux ] || { echo "$(git -C "$src" log -1 --format=%s)" >> "$o/built"; ! grep -rq NOLINK "$src/fs"; }
'''
FAKE_SELFTESTS = SPDX + '''
cc=gcc; [ -z "$LLVM" ] || cc=clang
while [ $# -gt 0 ]; do case $1 in
--src) src=$2; shift ;; --log) log=$2; echo "lib/other.c:1:1: warning: not ours" > "$log"; shift ;; --*) shift ;;
*) file=$src/tools/testing/selftests/$(echo "$1" | tr : /).c
	grep -n "$cc: " "$file" | sed "s#\\([0-9]*\\):.*$cc: #$file:\\1:1: warning: #" >> "$log" ;;
esac; shift; done
'''
TREE = {
    'fs/a.c': 'gcc: old\nsparse: old\nclang: old\n',
    'scripts/checkpatch.pl': SPDX + '! grep "^+.*BADSTYLE"\n',
    'scripts/get_maintainer.pl': SPDX + 'case $* in *nobody*) echo linux-kernel@vger ;; *) echo someone@example.org ;; esac\n',
    'scripts/kernel-doc': SPDX + 'for f; do :; done\ngrep -n "doc: " "$f" | sed "s#^\\([0-9]*\\):#$f:\\1: warning: #"\n',
    ST + 'Makefile': 'TEST_GEN_PROGS = one two\n',
    ST + '.gitignore': 'one\ntwo\n',
    ST + 'one.c': '#include "lib.h"\ngcc: old\n',
    ST + 'lib.h': '\n',
}
OLD, DOC = TREE['fs/a.c'], 'Documentation/y.rst'
# Subject, body, files, and the lines that must not be ok.
PATCHES = [
    ('T: Move the old warnings', '', {'fs/a.c': '\n\n' + OLD}, []),
    ('T: Plant a warning of each tool', '', {'fs/a.c': OLD + 'gcc: new\nclang: new\nsparse: new\ndoc: new\n'},
     [f'no new warning of {tool}' for tool in ('gcc', 'clang', 'sparse', 'kernel-doc')]),
    ('T: Plant a second for one that goes', '', {'fs/a.c': OLD + 'gcc: another\n'}, ['no new warning of gcc']),
    ('T: Plant a warning of one config', '', {'fs/a.c': OLD + 'more: new\n'},
     ['no new warning of gcc', 'no new warning of clang']),
    ('T: Plant an error', '', {'fs/a.c': OLD + 'ERROR\n'}, ['compiles by gcc with W=1', 'compiles by clang with W=1']),
    ('T: Plant a link error', '', {'fs/a.c': OLD + 'NOLINK\n'}, ['builds with plain']),
    ('T: Plant bad style', '', {DOC: 'BADSTYLE\n'}, ['checkpatch --strict']),
    ('T: Add a file that nobody maintains', '', {'Documentation/nobody.rst': '\n'}, ['checkpatch --strict']),
    ('T: End in a full stop.', '', {DOC: '1\n'}, ['subject and changelog']),
    ('T: lower case', '', {DOC: '2\n'}, ['subject and changelog']),
    ('X: Take a foreign prefix', '', {DOC: '3\n'}, ['subject and changelog']),
    ('T: Write a long line', 'x' * 76, {DOC: '4\n'}, ['subject and changelog']),
    ('T: Sign', 'Signed-off-by: A <a@example.org>', {DOC: '5\n'}, ['subject and changelog']),
    ('T: Say we', 'Here we go.', {DOC: '6\n'}, ['subject and changelog']),
    ('T: Document', '', {'Documentation/x.rst': 'x\n'}, []),
    ('T: Touch a selftest', '', {ST + 'one.c': '\n#include "lib.h"\ngcc: old\n'}, []),
    ('T: Plant a warning in a selftest', '', {ST + 'one.c': '#include "lib.h"\ngcc: new\n'}, ['no new warning of gcc in net:one']),
    ('T: Touch a header', '', {ST + 'lib.h': '\n\n', ST + 'one.c': '#include "lib.h"\ngcc: new\nclang: new\n'},
     ['no new warning of clang in net:one']),
    ('T: Add a listed selftest', '', {ST + 'two.c': '\n'}, []),
    ('T: Add an unlisted selftest', '', {ST + 'three.c': '\n'}, ['the selftests are in Makefile and .gitignore']),
    ('T: Add a header of none', '', {ST + 'four.h': '\n'}, ['its selftest files belong to a program']),
]


def programs(path, texts):
    for name, text in texts.items():
        os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
        write(os.path.join(path, name), text, 0o755)


def house(path):
    """A copy of the programs that are tested, in a repository of stubs."""
    for name in ('bin/check-patches', 'bin/warnings', 'bin/broken', 'bin/caught', 'lib/common.sh', 'lib/patch.sh',
                 'lib/checked.sh'):
        os.makedirs(os.path.dirname(os.path.join(path, 'testbed', name)), exist_ok=True)
        shutil.copy(os.path.join(TESTBED, name), os.path.join(path, 'testbed', name))
    programs(path, {
        'series/topics': 't  T:\n', 'series/6.12/t.order': '', 'stub/data/dictionary.txt': 'x\n',
        'testbed/checks': 't plain -\nt plain+more -\n', 'testbed/bin/kernel': FAKE_KERNEL,
        'testbed/bin/selftests': FAKE_SELFTESTS, 'stub/make': FAKE_MAKE, 'stub/sparse': SPDX,
        'stub/dpkg': SPDX + f'echo {path}/stub/data/dictionary.txt\n', 'testbed/configs/plain.config': '',
        'series/bin/src': SPDX + f'git -C {path}/build/src checkout -q "$1"\n',
    })


def commit(path, message, files):
    programs(path + '/tree', files)
    for args in (('add', '-A', '-f'), ('-c', 'user.name=a', '-c', 'user.email=a@example.org', 'commit', '-q', '-m', message)):
        subprocess.run(('git', '-C', path + '/tree') + args, check=True, capture_output=True)


def check_patches(path, patches):
    house(path)
    git = ('git', f'--git-dir={path}/build/git')
    run('git', 'init', '-q', '--bare', path + '/build/git')
    run(*git, 'worktree', 'add', '-q', '--orphan', '-b', 'x', path + '/tree')
    if not os.path.exists(path + '/tree'):      # git before 2.42
        run('git', 'clone', '-q', path + '/build/git', path + '/tree')
    commit(path, 'base', TREE)
    base = run('git', '-C', path + '/tree', 'rev-parse', 'HEAD').stdout.strip()
    for subject, body, files, _ in patches:
        commit(path, f'{subject}\n\n{body}\n', files)
    tip = run('git', '-C', path + '/tree', 'rev-parse', 'HEAD').stdout.strip()
    run('git', '-C', path + '/tree', 'push', '-q', path + '/build/git', f'{tip}:refs/set/6.12/t', f'{base}:refs/set/6.12/base')
    run(*git, 'worktree', 'add', '-q', '--detach', path + '/build/src', base)
    return run(path + '/testbed/bin/check-patches', '--out', path + '/out',
               env={'PATH': f'{path}/stub:{os.environ["PATH"]}', 'BASE': '6.12'}, limit=300)


def test_check_patches_turns_each_planted_fault_into_one_not_ok():
    with folder() as path:
        got = check_patches(path, PATCHES)
        assert got.returncode == 1, got.stderr
        lines = re.findall(r'^(ok|not ok) \d+ - (.*)$', got.stdout, re.M)
        assert got.stdout.rstrip().endswith(f'1..{len(lines)}'), got.stdout
        for subject, _, _, wanted in PATCHES:
            mine = [(ok, line[len(subject) + 2:]) for ok, line in lines if line.startswith(subject + ': ')]
            assert mine, f'{subject}: nothing was checked\n{got.stdout}{got.stderr}'
            bad = [line for ok, line in mine if ok == 'not ok']
            assert bad == wanted, f'{subject}: {bad} instead of {wanted}\n{got.stdout}\n{got.stderr}'
        built = read(path + '/build/o/plain/built')
        assert not os.path.exists(path + '/build/checked'), 'the topic counts as checked'
        assert 'T: Plant a link error' in built and 'Document' not in built and 'selftest' not in built, built


def test_check_patches_passes_what_is_clean():
    with folder() as path:
        got = check_patches(path, [p for p in PATCHES if not p[3]])
        assert got.returncode == 0 and 'not ok' not in got.stdout, got.stdout + got.stderr
        tip = run('git', f'--git-dir={path}/build/git', 'rev-parse', 'refs/set/6.12/t').stdout.strip()
        assert [name for name in os.listdir(path + '/build/checked') if name.startswith(f'{tip}.t.plain.')], 'it does not count as checked'


def test_check_patches_wants_a_topic_in_its_list():
    with folder() as path:
        check_patches(path, PATCHES[:1])
        write(path + '/testbed/checks', 'other plain -\n')
        got = run(path + '/testbed/bin/check-patches', '--out', path + '/out', 't',
                  env={'PATH': f'{path}/stub:{os.environ["PATH"]}', 'BASE': '6.12'})
        assert got.returncode == 2 and 'testbed/checks' in got.stderr, got


HEAD = 'Subject: s\n\nText.\n\nTest: net:t {name}\nConfig: {config}\nFingerprint: not ok\n{more}---\n'
# The commit is the list of patches; the stub of the boot fails the test where a variant is in it,
# and where the fault alone is to fail.
FAKE_COMMITS = SPDX + '[ $# -lt 2 ] || shift 2; for f; do basename -s .patch "$f"; done | paste -sd, | sed "s/^$/tip/"\n'
FAKE_SCENARIO = SPDX + '''
file=$1; commit=$(cat "$ROOT/at")
while [ $# -gt 0 ]; do case $1 in --out) out=$2 ;; --reuse) again=reuse ;; --kernel-out) o=${2##*/} ;; esac; shift; done
echo "$commit $o$again $(grep -h ^test "$file")|$(grep -h ^timeout "$file")" >> "$ROOT/boots"
mkdir -p "$out"
case $commit,$FAULT_FAILS in fault,) verdict=PASS ;; *) verdict=FAIL ;; esac
name=$(sed -n 's/^test.* -r //p' "$file")
echo '{"verdict": "'$verdict'", "splats": [], "rows": [{"test": "net:t", "subtest": "", "verdict": "'$verdict'", "reason": ""},' \\
	'{"test": "net:t", "subtest": "'$name'", "verdict": "'$verdict'", "reason": ""}]}' > "$out/verdict.json"
[ $verdict = PASS ]
'''


def broken(path, variants, *args, **env):
    house(path)
    programs(path, {
        'series/bin/commits': FAKE_COMMITS, 'series/bin/src': SPDX + f'echo "$1" > {path}/at\n',
        'testbed/bin/scenario': FAKE_SCENARIO, 'testbed/faults/t/fault.patch': 'Subject: f\n---\n'})
    for name, (config, more) in variants.items():
        programs(path, {f'testbed/broken/t/{name}.patch': HEAD.format(name=name, config=config, more=more)})
    return run(path + '/testbed/bin/broken', *args, env={'ROOT': path, **env})


def test_broken_runs_a_fault_alone_before_its_variants_and_goes_by_config():
    with folder() as path:
        got = broken(path, {'a': ('debug+x', ''), 'b': ('debug', 'Fault: fault\nEnv: A=1 B=2\nTimeout: 30\n'), 'c': ('debug', '')},
                     '--runs', '2')
        assert got.returncode == 0, got.stdout + got.stderr
        assert [line.partition(' - ')[2].split(':')[0] for line in got.stdout.splitlines() if line.startswith('ok')] == \
            ['c', 'fault alone', 'b', 'a'], got.stdout
        assert got.stdout.startswith('1..4\n'), got.stdout
        boots = [' '.join(line.split()) for line in read(path + '/boots').splitlines()]
        t = 'test net:t ktap required'
        assert boots == [
            f'c debug {t} 180 -r c|timeout 240', f'c reuse {t} 180 -r c|timeout 240',
            f'fault debug {t} 30 A=1 B=2 -r b|timeout 90',
            f'fault,b debug {t} 30 A=1 B=2 -r b|timeout 90', f'fault,b reuse {t} 30 A=1 B=2 -r b|timeout 90',
            f'a debug+x {t} 180 -r a|timeout 240', f'a reuse {t} 180 -r a|timeout 240'], '\n'.join(boots)
        assert [line.split('\t')[0] for line in read(path + '/out/broken/broken.tsv').splitlines()] == ['variant', 'c', 'b', 'a']


def test_broken_fails_where_the_fault_alone_does():
    with folder() as path:
        got = broken(path, {'b': ('debug', 'Fault: fault\n')}, '--tries', '3', FAULT_FAILS='1')
        assert got.returncode == 1 and 'not ok 1 - fault alone' in got.stdout and '\nok 2 - b' in got.stdout, got.stdout


def test_broken_refuses_a_head_that_it_does_not_understand():
    for more in ('Fautl: fault\n', 'Fault: gone\n', 'Timeout: soon\n', 'Env: 1\n'):
        with folder() as path:
            got = broken(path, {'b': ('debug', more)})
            assert got.returncode == 2 and 'b.patch' in got.stderr and not os.path.exists(path + '/boots'), (more, got)


def cases():
    return named_cases(sys.modules[__name__], 'checks')
