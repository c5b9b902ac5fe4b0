# SPDX-License-Identifier: GPL-2.0
"""The programs around the machine: verdict, table, initramfs, kernel's own checks."""
import json
import os
import shutil
import sys
import time

from common import BIN, GOLDEN, HERE, TESTBED, Skip, folder, named_cases, read, run, same, write

SCENARIO = os.path.join(GOLDEN, 'runs', 'scenario')


def golden(path, name):
    target = os.path.join(path, name)
    shutil.copytree(os.path.join(GOLDEN, 'runs', name), target)
    return target


def test_every_program_has_help():
    for name in sorted(os.listdir(BIN)):
        got = run(os.path.join(BIN, name), '--help')
        assert got.returncode == 0, f'{name} --help ends with {got.returncode}: {got.stderr}'
        assert name in got.stdout and len(got.stdout) > 100, f'{name} --help says: {got.stdout}'


def test_verdict_exit_status():
    for name, status in (('clean', 0), ('not-ok-exit-0', 1), ('hang', 3), ('no-end-file', 3)):
        with folder() as path:
            where = golden(path, name)
            got = run(os.path.join(BIN, 'verdict'), where, '--scenario', SCENARIO)
            assert got.returncode == status, f'{name}: {got.returncode} {got.stderr}'
            assert json.loads(read(os.path.join(where, 'verdict.json')))['scenario'] == 'scenario'


def test_verdict_refuses_what_it_cannot_use():
    with folder() as path:
        where = golden(path, 'clean')
        for args in (('--scenario', path + '/none'), ('--scenario', SCENARIO, '--policy', SCENARIO)):
            got = run(os.path.join(BIN, 'verdict'), where, *args)
            assert got.returncode == 2 and 'what to do' in got.stderr, got
            assert not os.path.exists(os.path.join(where, 'verdict.json'))


def test_table_shows_and_counts():
    with folder() as path:
        names = ['clean', 'skip-required-subtest', 'hang']
        for name in names:
            run(os.path.join(BIN, 'verdict'), golden(path, name), '--scenario', SCENARIO)
        tsv = os.path.join(path, 'all.tsv')
        got = run(os.path.join(BIN, 'table'), '--tsv', tsv, *(os.path.join(path, n) for n in names))
        assert got.returncode == 1
        assert 'scenarios: 1 passed, 1 failed, 1 errors, 0 skipped' in got.stdout, got.stdout
        assert 'tests:     3 passed, 1 failed, 2 errors, 0 skipped' in got.stdout, got.stdout
        lines = read(tsv).splitlines()
        assert lines[0].split('\t')[:4] == ['scenario', 'test', 'subtest', 'verdict']
        assert len({line.count('\t') for line in lines}) == 1
        got = run(os.path.join(BIN, 'table'), os.path.join(path, 'clean'))
        assert got.returncode == 0, got.stdout


def test_table_shows_why():
    with folder() as path:
        where = golden(path, 'not-ok-exit-0')
        log = read(where + '/tests.log')
        write(where + '/tests.log', log.replace('\nok 1', '\n# of the first\nok 1').replace('\nnot ok 2', '\n# of the second\nnot ok 2'))
        for name in ('splat-in-test', 'test-limit'):
            golden(path, name)
        shown = {}
        for name in ('not-ok-exit-0', 'splat-in-test', 'test-limit'):
            run(os.path.join(BIN, 'verdict'), path + '/' + name, '--scenario', SCENARIO)
            out = run(os.path.join(BIN, 'table'), path + '/' + name).stdout
            shown[name] = [line.strip() for line in out.splitlines() if line.startswith('      | ')]
        same('\n'.join(shown['not-ok-exit-0']), '| # of the second', 'the line before the failed subtest alone')
        assert any('BUG: KASAN' in line for line in shown['splat-in-test']), shown['splat-in-test']
        assert '| ok 1 irqfd.assign' in shown['test-limit'], shown['test-limit']


def test_table_of_a_folder_without_verdict_is_an_error():
    with folder() as path:
        got = run(os.path.join(BIN, 'table'), path)
        assert got.returncode == 1 and '1 errors' in got.stdout, got.stdout


def test_initramfs_is_reproducible_and_complete():
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


def test_initramfs_names_a_missing_test():
    with folder() as path:
        write(path + '/list', 'kvm:gone 9\n')
        got = run(os.path.join(BIN, 'initramfs'), '--out', path + '/i', '--tests', path, '--list', path + '/list')
        assert got.returncode == 2 and 'kvm:gone' in got.stderr, got
        assert not os.path.exists(path + '/i')


FAKE_MAKE = '''#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Stands for the kernel's make: tinyconfig, olddefconfig and bzImage.
for arg; do case $arg in O=*) out=${arg#O=} ;; KCONFIG_CONFIG=*) config=${arg#*=} ;; esac; done
for arg; do case $arg in
tinyconfig) echo "CONFIG_TINY=y" > "$out/$config" ;;
olddefconfig) sed -i "${FAKE_LOSE:+/CONFIG_$FAKE_LOSE=/d}" "$out/$config" ;;
bzImage) echo built >> "$out/builds"
	[ -z "$FAKE_ERROR" ] || { echo "foo.c:1:2: error: $FAKE_ERROR" >&2; exit 2; } ;;
esac; done
'''


def kernel(path, **env):
    os.makedirs(path + '/src/scripts/kconfig', exist_ok=True)
    os.makedirs(path + '/bin', exist_ok=True)
    write(path + '/src/Kconfig', '')
    write(path + '/src/scripts/kconfig/merge_config.sh', '#!/bin/sh\nshift 2\nout=$1; shift\ncat "$@" >> $out\n', 0o755)
    write(path + '/bin/make', FAKE_MAKE, 0o755)
    return run(os.path.join(BIN, 'kernel'), '--config', 'plain', '--src', path + '/src', '--out', path + '/out',
               env=dict(env, PATH=path + '/bin:' + os.environ['PATH']))


def test_kernel_names_each_symbol_that_was_lost():
    with folder() as path:
        got = kernel(path, FAKE_LOSE='KVM_AMD')
        assert got.returncode == 1 and 'CONFIG_KVM_AMD=y was asked for, it is n' in got.stderr, got.stderr
        assert 'CONFIG_KVM_INTEL' not in got.stderr
        assert not os.path.exists(path + '/out/builds')


def test_kernel_notices_a_symbol_that_came_back():
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


def test_kernel_leaves_an_unchanged_config_alone():
    with folder() as path:
        assert kernel(path).returncode == 0
        os.utime(path + '/out/.config', (1, 1))
        assert kernel(path).returncode == 0
        assert os.stat(path + '/out/.config').st_mtime == 1


def test_kernel_shows_the_first_error():
    with folder() as path:
        got = kernel(path, FAKE_ERROR='no such thing')
        assert got.returncode == 1 and 'no such thing' in got.stderr and 'build.log' in got.stderr, got.stderr


def test_kernel_refuses_a_source_built_in_place():
    with folder() as path:
        for left in ('.config', 'include/config/auto.conf', 'arch/x86/include/generated/asm.h'):
            assert kernel(path).returncode == 0
            os.makedirs(os.path.dirname(f'{path}/src/{left}'), exist_ok=True)
            write(f'{path}/src/{left}', '')
            got = kernel(path)
            assert got.returncode == 2 and 'mrproper' in got.stderr, got.stderr
            shutil.rmtree(path + '/src')


def test_shellcheck():
    if not shutil.which('shellcheck'):
        raise Skip('no shellcheck')
    files = [os.path.join(TESTBED, 'guest', 'init'), os.path.join(TESTBED, 'lib', 'common.sh')]
    files += [os.path.join(BIN, n) for n in sorted(os.listdir(BIN)) if read(os.path.join(BIN, n)).startswith('#!/usr/bin/env bash')]
    got = run('shellcheck', *files)
    assert got.returncode == 0, got.stdout


def test_every_file_has_its_licence():
    for base in (TESTBED, HERE):
        for where, _, names in os.walk(base):
            for name in names:
                path = os.path.join(where, name)
                if '/golden/' in path or name == 'README' or name.endswith('.patch'):
                    continue
                assert 'SPDX-License-Identifier: GPL-2.0' in read(path)[:300], f'{path} has no SPDX line'


def cases():
    return named_cases(sys.modules[__name__], 'program')


# Plays one golden run after the other, with the nonce of the boot.
PLAYER = '''#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
echo >> "$FAKE_DIR/boots"
files=()
while [ $# -gt 0 ]; do
	case $1 in
	-serial) files+=("${2#file:}") ;;
	-append) append=$2 ;;
	esac
	shift
done
nonce=$(sed -n 's/.*testbed.nonce=\\([0-9a-f]*\\).*/\\1/p' <<< "$append")
run=$GOLDEN_RUNS/$(sed -n "$(wc -l < "$FAKE_DIR/boots")p" "$FAKE_DIR/runs")
sed "s/00c0ffee00c0ffee/$nonce/" "$run/console.log" > "${files[0]}"
sed "s/00c0ffee00c0ffee/$nonce/" "$run/tests.log" > "${files[1]}"
echo '{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}}}'
grep -q end=reboot "$run/end" && reason=guest-reset || reason=guest-shutdown
echo "{\\"event\\": \\"SHUTDOWN\\", \\"data\\": {\\"guest\\": true, \\"reason\\": \\"$reason\\"}}"
'''


def boots(runs, line='boot-again tcg 8 this machine loses interrupts', status=0, times=2):
    """What the table shows of a scenario whose boots go as these golden runs."""
    with folder() as path:
        for name in ('bzImage', 'initramfs.cpio', 'tests.list', 'commit'):
            write(f'{path}/{name}', '')
        write(path + '/runs', '\n'.join(runs) + '\n')
        write(path + '/some.scenario', read(SCENARIO) + line + '\n')
        got = run(os.path.join(BIN, 'scenario'), path + '/some.scenario', '--reuse', path, '--out', path + '/out',
                  env={'QEMU': write(path + '/qemu', PLAYER, 0o755), 'FAKE_DIR': path, 'GOLDEN_RUNS': GOLDEN + '/runs'})
        assert got.returncode == status, f'{runs}: ends with {got.returncode}: {got.stderr}'
        assert len(read(path + '/boots')) == times, f'{runs}: {got.stderr}'
        assert os.path.exists(path + '/out/first-boot/tests.log') == (times == 2)
        assert ('booted once more' in got.stderr) == (times == 2), got.stderr
        return run(os.path.join(BIN, 'table'), '--tsv', path + '/tsv', path + '/out').stdout + read(path + '/tsv')


def test_a_failure_of_the_machine_may_pass_in_a_second_boot_and_stays_in_sight():
    out = boots(['not-ok-exit-0', 'clean'])
    assert 'scenarios: 1 passed, 0 failed, 0 errors' in out and 'tests:     2 passed, 0 failed' in out, out
    assert 'flaky:     some: failed in a first boot, passed in the second' in out, out
    assert 'out/first-boot/tests.log' in out, out
    shown = [' '.join(line.split()[1:-1]) for line in out.splitlines() if 'FLAKY' in line and '\t' not in line]
    same('\n'.join(shown), '(first boot) kvm:alpha_test FLAKY 1.4\nirqfd.deassign FLAKY', 'what stays in sight')
    assert 'flaky' in boots(['reboot', 'clean'])


def test_what_fails_in_both_boots_fails():
    out = boots(['not-ok-exit-0', 'not-ok-exit-0'], status=1)
    assert 'scenarios: 0 passed, 1 failed' in out and 'FLAKY' not in out and '(first boot)' in out, out


def test_a_report_of_the_kernel_has_no_second_boot():
    boots(['splat-in-test', 'clean'], status=1, times=1)
    boots(['panic-midway', 'clean'], status=3, times=1)


def test_only_where_the_scenario_says_so_is_there_a_second_boot():
    boots(['clean', 'not-ok-exit-0'], times=1)
    boots(['not-ok-exit-0', 'clean'], line='', status=1, times=1)
    boots(['not-ok-exit-0', 'clean'], line='boot-again kvm 8 a reason', status=1, times=1)
    boots(['not-ok-exit-0', 'clean'], line='boot-again tcg 7 a reason', status=1, times=1)
    for line in ('boot-again tcg 8', 'boot-again xen 8 a reason', 'boot-again tcg a reason',
                 'boot-again tcg 8 a\nboot-again tcg 8 b'):
        with folder() as path:
            got = run(os.path.join(BIN, 'verdict'), golden(path, 'clean'), '--scenario',
                      write(path + '/some.scenario', read(SCENARIO) + line + '\n'))
            assert got.returncode == 2 and 'boot-again' in got.stderr, got
