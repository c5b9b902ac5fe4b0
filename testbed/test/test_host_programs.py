# SPDX-License-Identifier: GPL-2.0
"""Tests of the house, testbed/programs, and the programs of this machine that they take along."""
import os
import re
import shutil
import subprocess
import sys

from common import BIN, TESTBED, Case, Skip, folder, named_cases, read, run, write

PROGRAMS = os.path.join(TESTBED, 'programs')


def pack(path: str, text: str, name: str = 'a', out: str = 'i',
         env: dict[str, str] | None = None, initramfs: str = os.path.join(BIN, 'initramfs')) -> subprocess.CompletedProcess[str]:
    if not shutil.which('cpio') or not shutil.which('busybox'):
        raise Skip('no cpio or no busybox')
    os.makedirs(path + '/tests/testbed', exist_ok=True)
    write(f'{path}/tests/testbed/{name}', text, 0o755)
    write(path + '/list', f'testbed:{name} 9\n')
    return run(initramfs, '--out', f'{path}/{out}', '--tests', path + '/tests',
               '--list', path + '/list', env=env)


def test_what_a_script_needs_is_packed_and_runs_there() -> None:
    program = shutil.which('tar') or ''
    with folder() as path:
        got = pack(path, '#!/bin/sh\n# needs tar: tar\n# needs coreutils: head cat\n')
        assert got.returncode == 0, got.stderr
        os.makedirs(path + '/unpacked')
        got = run('sh', '-c', f'cd {path}/unpacked && cpio -idm --quiet < ../i')
        assert got.returncode == 0, got.stderr
        for name in ('tar', 'head', 'cat'):
            assert os.access(f'{path}/unpacked/usr/bin/{name}', os.X_OK), name
        # Everything that ldd says, and no link into this machine.
        for name, found in re.findall(r'^\s*(\S+) => (/\S+)', run('ldd', program).stdout, re.M):
            with open(found, 'rb') as here, open(f'{path}/unpacked/lib/{name}', 'rb') as there:
                assert here.read() == there.read(), name
        if os.geteuid() == 0:
            got = run('chroot', path + '/unpacked', '/usr/bin/tar', '--version')
            assert got.returncode == 0 and 'tar' in got.stdout, got


def test_packed_programs_do_not_depend_on_time_or_umask() -> None:
    with folder() as path:
        images = []
        for mask in (0o022, 0o077):
            before = os.umask(mask)
            try:
                got = pack(path, '#!/bin/sh\n# needs tar: tar\n', out=f'i{mask}')
            finally:
                os.umask(before)
            assert got.returncode == 0, got.stderr
            with open(f'{path}/i{mask}', 'rb') as file:
                images.append(file.read())
        assert images[0] == images[1], 'two runs differ'


def test_a_program_with_a_loader_of_its_own_has_brought_its_libraries() -> None:
    with folder() as path:
        own = path + '/tree/build/packages/toy/usr'
        for name in ('testbed/bin/initramfs', 'testbed/lib/common.sh', 'testbed/guest/init', 'testbed/guest/needs'):
            os.makedirs(os.path.dirname(f'{path}/tree/{name}'), exist_ok=True)
            shutil.copy(f'{TESTBED}/../{name}', f'{path}/tree/{name}')
        os.makedirs(own + '/bin')
        os.makedirs(own + '/lib/x86_64-linux-gnu')
        shutil.copy(shutil.which('tar') or 'tar', own + '/bin/toytar')
        files = re.findall(r'^\s*(?:\S+ => )?(/\S+)', run('ldd', own + '/bin/toytar').stdout, re.M)
        for file in files:
            shutil.copy(file, own + '/lib/x86_64-linux-gnu')
            with open(f'{own}/lib/x86_64-linux-gnu/{os.path.basename(file)}', 'ab') as library:
                library.write(b'own')
        os.makedirs(own + '/share/any')
        write(own + '/share/any/toy.bin', 'data')
        got = pack(path, '#!/bin/sh\n# needs toy: toytar\n# data toy: toy.bin\n', initramfs=f'{path}/tree/testbed/bin/initramfs')
        assert got.returncode == 0, got.stderr
        os.makedirs(path + '/unpacked')
        assert run('sh', '-c', f'cd {path}/unpacked && cpio -idm --quiet < ../i').returncode == 0
        packed = [f'{folder}/{name}' for folder, _, names in os.walk(path + '/unpacked') for name in names if '.so' in name]
        assert len(packed) == len(files) > 2, packed
        for name in packed:
            with open(name, 'rb') as library:
                assert library.read().endswith(b'own'), name
        assert read(path + '/unpacked/usr/share/testbed/toy.bin') == 'data'


def test_what_is_missing_is_one_error_that_names_its_package() -> None:
    for kind in ('needs', 'data'):
        with folder() as path:
            got = pack(path, f'#!/bin/sh\n# {kind} some-package: no-such-thing\n')
            assert got.returncode == 2 and not os.path.exists(path + '/i'), got
            assert got.stderr.count('error:') == 1, got.stderr
            assert 'no-such-thing' in got.stderr and 'the package some-package' in got.stderr, got.stderr


def test_a_missing_library_is_one_error() -> None:
    with folder() as path:
        os.makedirs(path + '/bin')
        write(path + '/bin/ldd', '#!/bin/sh\nprintf "\\tlibgone.so.1 => not found\\n"\n', 0o755)
        got = pack(path, '#!/bin/sh\n# needs tar: tar\n', env={'PATH': path + '/bin:' + os.environ['PATH']})
        assert got.returncode == 2 and not os.path.exists(path + '/i'), got
        assert got.stderr.count('error:') == 1 and 'libgone.so.1' in got.stderr and 'package tar' in got.stderr, got.stderr


def test_what_a_script_sources_goes_beside_it() -> None:
    with folder() as path:
        got = pack(path, '#!/bin/sh\n# sources routing.sh\n')
        assert got.returncode == 0, got.stderr
        assert 'tests/testbed/routing.sh' in run('sh', '-c', f'cpio -t --quiet < {path}/i').stdout.split()
        got = pack(path, '#!/bin/sh\n# sources gone.sh\n')
        assert got.returncode == 2 and 'gone.sh' in got.stderr and got.stderr.count('error:') == 1, got


def test_only_a_script_needs_programs() -> None:
    with folder() as path:
        got = pack(path, '\x7fELF\n# needs some-package: no-such-program\n')
        assert got.returncode == 0, got.stderr


def selftests(path: str, name: str) -> subprocess.CompletedProcess[str]:
    os.makedirs(path + '/src/tools/testing/selftests', exist_ok=True)
    os.makedirs(path + '/headers/usr/include/linux', exist_ok=True)
    write(path + '/src/tools/testing/selftests/Makefile', '')
    return run(os.path.join(BIN, 'selftests'), '--src', path + '/src', '--headers', path + '/headers',
               '--out', path + '/out', name)


def test_selftests_copies_a_program_of_the_house() -> None:
    with folder() as path:
        got = selftests(path, 'testbed:smcrouted')
        assert got.returncode == 0, got.stderr
        assert read(path + '/out/testbed/smcrouted') == read(PROGRAMS + '/smcrouted')
        got = selftests(path, 'testbed:gone')
        assert got.returncode == 2 and 'testbed:gone' in got.stderr and 'smcrouted' in got.stderr, got


def test_selftests_builds_a_program_of_the_house() -> None:
    with folder() as path:
        got = selftests(path, 'testbed:mroute_failnth')
        assert got.returncode == 1 and got.stderr.count('error: testbed:mroute_failnth') == 1, got
        assert 'kselftest_harness.h' in got.stderr, got
        write(path + '/src/tools/testing/selftests/kselftest_harness.h', '#define TEST_HARNESS_MAIN\n')
        assert selftests(path, 'testbed:mroute_failnth').returncode == 1, 'what is not built may not pass'


def test_setup_gets_each_package_that_a_program_needs() -> None:
    setup = read(os.path.join(BIN, 'setup'))
    for name in sorted(os.listdir(PROGRAMS)):
        for package in re.findall(r'^# needs (\S+):', read(os.path.join(PROGRAMS, name)), re.M):
            assert re.search(rf'\b(program|need|unpack)[ _]{re.escape(package)}\s', setup), f'{name}: {package}'


def setup_of_a_machine(path: str, apt_get: str, release: str = '', **env: str) -> subprocess.CompletedProcess[str]:
    """testbed/bin/setup in a tree of its own, with an apt-get made of shell."""
    for name in ('bin', 'lib'):
        os.makedirs(f'{path}/tree/testbed/{name}', exist_ok=True)
    shutil.copy(os.path.join(BIN, 'setup'), path + '/tree/testbed/bin/setup')
    shutil.copy(os.path.join(TESTBED, 'lib', 'common.sh'), path + '/tree/testbed/lib/common.sh')
    text = read(path + '/tree/testbed/bin/setup').replace('\tunpack smcroute smcrouted\n\tunpack pimd pimd\n', '\tunpack toy toyd\n')
    # Only the unpacking is looked at here: whatever else this machine lacks.
    text = re.sub(r'^need\(\) \{$', 'need() { return 0', text, flags=re.M)
    text = text.replace('read -r debian', release + 'read -r debian')
    write(path + '/tree/testbed/bin/setup', text, 0o755)
    os.makedirs(path + '/bin', exist_ok=True)
    write(path + '/bin/apt-get', '#!/bin/sh\necho "$*" >> "$0.log"\n' + apt_get, 0o755)
    return run(path + '/tree/testbed/bin/setup', 'run', env={'QEMU': 'none', **env, 'PATH': path + '/bin:' + os.environ['PATH']})


def test_setup_unpacks_a_daemon_and_installs_nothing() -> None:
    if not shutil.which('dpkg-deb'):
        raise Skip('no dpkg-deb')
    with folder() as path:
        os.makedirs(path + '/deb/DEBIAN')
        os.makedirs(path + '/deb/usr/sbin')
        write(path + '/deb/DEBIAN/control', 'Package: toy\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n')
        write(path + '/deb/usr/sbin/toyd', '#!/bin/sh\n', 0o755)
        got = run('dpkg-deb', '--root-owner-group', '-b', path + '/deb', path + '/toy.deb')
        assert got.returncode == 0, got.stderr
        apt_get = f'[ "$1" = download ] && cp {path}/toy.deb .'
        for _ in '12':
            got = setup_of_a_machine(path, apt_get, NO_INSTALL='1')
            assert got.returncode == 0, got.stderr
            assert os.access(path + '/tree/build/packages/toy/usr/sbin/toyd', os.X_OK)
        # The second time it is there.
        log = read(path + '/bin/apt-get.log').splitlines()
        assert len(log) == 1 and log[0].startswith('download '), log


def test_setup_says_that_a_daemon_cannot_be_downloaded() -> None:
    with folder() as path:
        got = setup_of_a_machine(path, 'echo "E: Could not resolve" >&2; exit 100', NO_INSTALL='1')
        assert got.returncode == 2, got
        for word in ('error: toy: ', 'E: Could not resolve', 'what to do', 'apt-get update'):
            assert word in got.stderr, got.stderr
        assert 'update' not in read(path + '/bin/apt-get.log'), 'NO_INSTALL updates lists'
        if os.geteuid() == 0:
            setup_of_a_machine(path, 'echo "E: Could not resolve" >&2; exit 100', NO_INSTALL='0')
            assert 'update' in read(path + '/bin/apt-get.log'), 'NO_INSTALL=0 is off'
        assert not os.path.exists(path + '/tree/build/packages/toy')


def test_setup_says_that_qemu_cannot_be_downloaded() -> None:
    with folder() as path:
        os.makedirs(path + '/bin')
        write(path + '/bin/qemu-system-x86_64', '#!/bin/sh\necho QEMU emulator version 7.2.22\n', 0o755)
        # The daemon is there.
        os.makedirs(path + '/tree/build/packages/toy/usr/sbin')
        write(path + '/tree/build/packages/toy/usr/sbin/toyd', '', 0o755)
        release = 'debian_release() { echo 12 bookworm; }\n'
        apt_get = """case $1 in
indextargets) [ ! -e "$0.archive" ] || case $3 in
	*CODENAME*) echo "bookworm http://localhost/debian/ main" ;;
	*) echo "stable http://localhost/debian/ main" ;;   # as sources.list may call it
	esac ;;
update) echo "E: Could not resolve" >&2; exit 100 ;;
*) exit 99 ;;
esac
"""
        for archive, cause in (('', 'no archive'), ('1', 'E: Could not resolve')):
            if archive:
                write(path + '/bin/apt-get.archive', '')
            got = setup_of_a_machine(path, apt_get, release, QEMU='', NO_INSTALL='1')
            assert got.returncode == 2 and 'error: QEMU 11: ' in got.stderr and cause in got.stderr, got
            assert 'QEMU=' in got.stderr, got.stderr
            assert not os.path.exists(path + '/tree/build/packages/qemu')


def test_setup_says_that_the_machine_is_of_another_architecture() -> None:
    with folder() as path:
        os.makedirs(path + '/bin')
        write(path + '/bin/uname', '#!/bin/sh\necho aarch64\n', 0o755)
        got = setup_of_a_machine(path, 'exit 99')
        assert got.returncode == 2 and 'this machine: is aarch64, not x86-64' in got.stderr, got


def test_setup_looks_for_the_linters_where_the_checks_do() -> None:
    with folder() as path:
        os.makedirs(path + '/bin')
        for name in ('codespell', 'pyflakes3', 'mypy'):
            write(f'{path}/bin/{name}', '#!/bin/sh\n', 0o755)
        write(path + '/bin/dpkg', '#!/bin/sh\nexit 1\n', 0o755)
        got = run(os.path.join(BIN, 'setup'), 'test', env={'NO_INSTALL': '1', 'PATH': path + '/bin:' + os.environ['PATH']})
        lacks = 'codespell' if os.path.exists('/usr/bin/mypy') else 'mypy'
        assert got.returncode == 2 and re.search(rf'missing:.* {lacks}\b', got.stderr), got


def test_a_machine_without_python_is_told_so() -> None:
    with folder() as path:
        for directory in ('/usr/sbin', '/usr/bin', '/sbin', '/bin'):
            for name in os.listdir(directory):
                if not name.startswith('python') and not os.path.lexists(f'{path}/{name}'):
                    os.symlink(f'{directory}/{name}', f'{path}/{name}')
        for target in ('run', 'test', 'check', 'broken', 'bench', 'tree', 'refresh', 'series', 'apply', 'mail', 'clean'):
            got = run('make', '-C', os.path.dirname(TESTBED), target, env={'PATH': path, 'NO_INSTALL': '1'})
            words = re.sub(r'^make.*\n', '', got.stderr, flags=re.M)
            assert got.returncode and words.count('error:') == 1 and 'missing: python3' in words, (target, got)
            assert re.search('apt-get install .*python3', words), (target, words)


def cases() -> list[Case]:
    return named_cases(sys.modules[__name__], 'house')
