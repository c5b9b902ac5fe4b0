# SPDX-License-Identifier: GPL-2.0
"""The programs around the machine: verdict, table, initramfs, kernel's own checks."""
import json
import os
import shutil
import subprocess
import sys
import time

from common import BIN, GOLDEN, Case, Skip, folder, named_cases, read, run, same, write

SCENARIO = os.path.join(GOLDEN, 'runs', 'scenario')


def golden(path: str, name: str) -> str:
    """A folder as testbed/bin/run leaves it."""
    target = os.path.join(path, name)
    shutil.copytree(os.path.join(GOLDEN, 'runs', name), target)
    shutil.copyfile(SCENARIO, target + '/scenario')
    write(target + '/about.json', '{"name": "golden", "base": "6.12", "commit": "0"}\n')
    return target


def test_every_program_has_help() -> None:
    for name in sorted(os.listdir(BIN)):
        got = run(os.path.join(BIN, name), '--help')
        assert got.returncode == 0, f'{name} --help ends with {got.returncode}: {got.stderr}'
        assert name in got.stdout and len(got.stdout) > 100, f'{name} --help says: {got.stdout}'


def test_verdict_exit_status() -> None:
    for name, status in (('clean', 0), ('not-ok-exit-0', 1), ('hang', 1), ('no-end-file', 1)):
        with folder() as path:
            where = golden(path, name)
            got = run(os.path.join(BIN, 'verdict'), '--again', where)
            assert got.returncode == status, f'{name}: {got.returncode} {got.stderr}'
            assert json.loads(read(os.path.join(where, 'verdict.json')))['scenario'] == 'golden'


def test_verdict_refuses_what_it_cannot_use() -> None:
    with folder() as path:
        got = run(os.path.join(BIN, 'verdict'), '--again', path)
        assert got.returncode == 2 and 'holds no run' in got.stderr and 'to do' in got.stderr, got
        assert not os.path.exists(path + '/verdict.json')


def test_the_table_shows_and_counts() -> None:
    with folder() as path:
        where = [golden(path, n) for n in ('clean', 'skip-required-subtest', 'hang')]
        got = run(os.path.join(BIN, 'verdict'), '--again', '--tsv', path + '/tsv', *where)
        assert got.returncode == 1
        assert 'scenarios: 1 passed, 1 failed, 1 errors, 0 skipped' in got.stdout, got.stdout
        assert 'tests:     3 passed, 1 failed, 2 errors, 0 skipped' in got.stdout, got.stdout
        lines = read(path + '/tsv').splitlines()
        assert lines[0].split('\t')[:4] == ['scenario', 'test', 'subtest', 'verdict']
        assert len({line.count('\t') for line in lines}) == 1


def test_the_table_shows_why() -> None:
    with folder() as path:
        shown = {}
        for name in ('not-ok-exit-0', 'splat-in-test', 'test-limit'):
            where = golden(path, name)
            log = read(where + '/tests.log')
            if name == 'not-ok-exit-0':
                write(where + '/tests.log', log.replace('\nok 1', '\n# of the first\nok 1')
                      .replace('\nnot ok 2', '\n# of the second\nnot ok 2'))
            out = run(os.path.join(BIN, 'verdict'), '--again', where).stdout
            shown[name] = [line.strip() for line in out.splitlines() if line.startswith('      | ')]
        same('\n'.join(shown['not-ok-exit-0']), '| # of the second', 'the line before the failed subtest alone')
        assert any('BUG: KASAN' in line for line in shown['splat-in-test']), shown['splat-in-test']
        assert '| ok 1 irqfd.assign' in shown['test-limit'], shown['test-limit']


def test_a_folder_without_verdict_is_an_error() -> None:
    with folder() as path:
        got = run(os.path.join(BIN, 'verdict'), path)
        assert got.returncode == 1 and '1 errors' in got.stdout, got.stdout


def test_wrong_names_end_before_anything_is_built() -> None:
    for command, base, word in (('run kvm-irqfd.dbug', '', 'kvm-irqfd.debug'), ('run', '6.66', '6.12'),
                                ('run kvm-irqfd.debug --test kvm:gone', '', 'kvm:'), ('broken gone', '', 'no-flush-of-inject'),
                                ('bench --boots 0', '', 'number of boots'), ('bench --patch gone', '', 'no such file')):
        argv = command.split()
        got = run(os.path.join(BIN, argv[0]), *argv[1:], env={'NO_INSTALL': '1', 'BASE': base})
        assert got.returncode == 2 and word in got.stderr and got.stderr.count('error:') == 1, (command, base, got)


def test_initramfs_is_reproducible_and_complete() -> None:
    if not shutil.which('cpio') or not shutil.which('busybox'):
        raise Skip('no cpio or no busybox')
    with folder() as path:
        os.makedirs(path + '/tests/kvm/x86')
        write(path + '/tests/kvm/x86/a_test', '#!/bin/sh\n', 0o755)
        write(path + '/tests/kvm/unused', 'not listed\n', 0o755)
        write(path + '/list', 'kvm:x86/a_test 9 -v\n')
        images = []
        # The archive's own files must not carry the time of packing either.
        for number in '12':
            os.utime(path + '/tests/kvm/x86/a_test', (int(number), int(number)))
            got = run(os.path.join(BIN, 'initramfs'), '--out', path + '/i' + number, '--tests', path + '/tests', '--list', path + '/list')
            assert got.returncode == 0, got.stderr
            with open(path + '/i' + number, 'rb') as file:
                images.append(file.read())
            time.sleep(1.1)
        assert images[0] == images[1], 'two runs differ'
        names = run('sh', '-c', f'cpio -t < {path}/i1').stdout.split()
        for name in ('init', 'bin/busybox', 'bin/sh', 'tests.list', 'tests/kvm/x86/a_test'):
            assert name in names, f'{name} is not in it: {names}'
        assert 'tests/kvm/unused' not in names


def test_initramfs_names_a_missing_test() -> None:
    with folder() as path:
        write(path + '/list', 'kvm:gone 9\n')
        got = run(os.path.join(BIN, 'initramfs'), '--out', path + '/i', '--tests', path, '--list', path + '/list')
        assert got.returncode == 2 and 'kvm:gone' in got.stderr, got
        assert not os.path.exists(path + '/i')


FAKE_MAKE = '''#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Stands for the kernel's make: tinyconfig, olddefconfig, vmlinux and bzImage.
for arg; do case $arg in O=*) out=${arg#O=} ;; KCONFIG_CONFIG=*) config=${arg#*=} ;; esac; done
for arg; do case $arg in
tinyconfig) echo "CONFIG_TINY=y" > "$out/$config" ;;
olddefconfig) sed -i "${FAKE_LOSE:+/CONFIG_$FAKE_LOSE=/d}" "$out/$config" ;;
vmlinux|bzImage) echo "$arg ${CCACHE_DISABLE:+without ccache}" >> "$out/builds"
	[ -z "$FAKE_ERROR" ] || { echo "foo.c:1:2: error: $FAKE_ERROR" >&2; exit 2; } ;;
esac; done
'''


def kernel(path: str, **env: str) -> subprocess.CompletedProcess[str]:
    os.makedirs(path + '/src/scripts/kconfig', exist_ok=True)
    os.makedirs(path + '/bin', exist_ok=True)
    write(path + '/src/Kconfig', '')
    write(path + '/src/scripts/kconfig/merge_config.sh', '#!/bin/sh\nshift 2\nout=$1; shift\ncat "$@" >> $out\n', 0o755)
    write(path + '/bin/make', FAKE_MAKE, 0o755)
    return run(os.path.join(BIN, 'kernel'), '--config', 'plain', '--src', path + '/src', '--out', path + '/out',
               env=dict(env, PATH=path + '/bin:' + os.environ['PATH']))


def test_kernel_names_each_symbol_that_was_lost() -> None:
    with folder() as path:
        got = kernel(path, FAKE_LOSE='KVM_AMD')
        assert got.returncode == 1 and 'CONFIG_KVM_AMD=y was asked for, it is n' in got.stderr, got.stderr
        assert 'CONFIG_KVM_INTEL' not in got.stderr
        assert not os.path.exists(path + '/out/builds')


def test_kernel_notices_a_symbol_that_came_back() -> None:
    with folder() as path:
        got = kernel(path)
        assert got.returncode == 0, got.stderr
        config = read(path + '/out/.config').replace('CONFIG_KASAN=n', '')
        assert 'CONFIG_KASAN' not in config
        write(path + '/src-come-back', '')
        with open(path + '/bin/sed', 'w', encoding='utf-8') as file:
            file.write('#!/bin/sh\ncase "$*" in *.config.request) sed=/bin/sed; for f; do :; done; '
                       '$sed -i s/CONFIG_KASAN=n/CONFIG_KASAN=y/ "$f";; *) exec /bin/sed "$@";; esac\n')
        os.chmod(path + '/bin/sed', 0o755)
        got = kernel(path)
        assert got.returncode == 1 and 'CONFIG_KASAN=n was asked for, it is y' in got.stderr, got.stderr


def test_kernel_leaves_an_unchanged_config_alone() -> None:
    with folder() as path:
        assert kernel(path).returncode == 0
        os.utime(path + '/out/.config', (1, 1))
        assert kernel(path).returncode == 0
        assert os.stat(path + '/out/.config').st_mtime == 1


def test_kernel_links_the_image_without_ccache() -> None:
    """ccache would take an image of the same size for the same image."""
    with folder() as path:
        got = kernel(path)
        assert got.returncode == 0, got.stderr
        assert read(path + '/out/builds') == 'vmlinux \nbzImage without ccache\n'


def test_kernel_shows_the_first_error() -> None:
    with folder() as path:
        got = kernel(path, FAKE_ERROR='no such thing')
        assert got.returncode == 1 and 'no such thing' in got.stderr and 'build.log' in got.stderr, got.stderr


def test_kernel_refuses_a_source_built_in_place() -> None:
    with folder() as path:
        for left in ('.config', 'include/config/auto.conf', 'arch/x86/include/generated/asm.h'):
            assert kernel(path).returncode == 0
            os.makedirs(os.path.dirname(f'{path}/src/{left}'), exist_ok=True)
            write(f'{path}/src/{left}', '')
            got = kernel(path)
            assert got.returncode == 2 and 'mrproper' in got.stderr, got.stderr
            shutil.rmtree(path + '/src')


def cases() -> list[Case]:
    return named_cases(sys.modules[__name__], 'program')

