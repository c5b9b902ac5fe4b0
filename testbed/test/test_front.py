# SPDX-License-Identifier: GPL-2.0
"""What testbed/bin/run and its like make of a toy repository on a toy kernel. The programs that
build and boot are made of shell."""
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from common import GOLDEN, TESTBED, Case, folder, named_cases, read, run, write

TOP = os.path.dirname(TESTBED)
# The config "bad" does not build.
FAKES = {'setup': 'echo "$*" >> "$0.log"\n',
         'kernel': 'while [ $# -gt 0 ]; do case $1 in --config) c=$2 ;; --out) o=$2 ;; esac; shift; done\n'
                   '[ "$c" != bad ] || { echo "kernel: error: config bad: it does not build" >&2; exit 1; }\n'
                   'mkdir -p "$o/arch/x86/boot"; echo image > "$o/arch/x86/boot/bzImage"\n',
         'selftests': '',
         'initramfs': 'while [ "$1" != --out ]; do shift; done; echo > "$2"\n',
         'vm': f'[ "$1" != --check ] || exit 0; while [ "$1" != --out ]; do shift; done; d={GOLDEN}/runs/clean; cp $d/*.log $d/end "$2"\n'}
SCENARIO = 'base 6.12\nwhen run\ntimeout 100\ntest kvm:alpha_test ktap required 30\ntest kvm:beta_test exit optional 30\n'
CHECK = '#!/bin/sh\n# check: per repository\n# check: about 1\nprintf "KTAP version 1\\n1..1\\nok 1 a\\n"\n'
GIT = ('git', '-c', 'user.name=a', '-c', 'user.email=a@mail.test', '-c', 'commit.gpgsign=false')


class Toy:
    def __init__(self, path: str) -> None:
        self.root, self.linux = path + '/repository', path + '/linux'
        self.plant('linux', {'Makefile': 'VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\n', 'Kconfig': '', 'MAINTAINERS': '', 'fs/a.c': '1\n2\n3\n'})
        for words in (('init', '-q'), ('add', '-A'), ('commit', '-q', '-m', 'Linux 6.12.1')):
            assert subprocess.run([*GIT, '-C', self.linux, *words], check=False).returncode == 0
        for name in ('testbed/bin', 'testbed/lib', 'series/patchset'):
            shutil.copytree(f'{TOP}/{name}', f'{self.root}/{name}', ignore=shutil.ignore_patterns('__pycache__', *FAKES))
        for name in ('Makefile', 'series/series', 'testbed/splats'):
            shutil.copy(f'{TOP}/{name}', f'{self.root}/{name}')
        self.plant('repository', {f'testbed/bin/{name}': '#!/bin/sh\n' + text for name, text in FAKES.items()}, 0o755)
        self.plant('repository', {
            'series/6.12/base': 'PACKAGE=linux-source-6.12\nVERSION=6.12.1\nPREFIX=PATCH\n', 'series/topics': 'toy  fs: | selftests:\n',
            'series/6.12/toy.order': 'one.patch\n', 'one.patch': patch('fs: One', '1 2 3', '1 two 3'),
            'testbed/scenarios/toy.scenario': 'config debug\n' + SCENARIO})

    def plant(self, top: str, files: dict[str, str], mode: int = 0o644) -> None:
        for name, text in files.items():
            path = f'{os.path.dirname(self.root)}/{top}/{name}'
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write(path, text, mode)

    def make(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run('make', '--no-print-directory', '-C', self.root, f'LINUX={self.linux}', *words)

    def run(self, program: str, *words: str, cwd: str = '', **env: str) -> subprocess.CompletedProcess[str]:
        return run(f'{self.root}/testbed/bin/{program}', *words, env={'LINUX': self.linux, **env}, cwd=cwd or self.root)


def patch(subject: str, old: str, new: str, more: str = '') -> str:
    """A patch of fs/a.c, whose three lines are the words of OLD, then those of NEW."""
    lines = ''.join(f' {a}\n' if a == b else f'-{a}\n+{b}\n' for a, b in zip(old.split(), new.split()))
    return f'Subject: {subject}\n\nWhy.\n{more}---\ndiff --git a/fs/a.c b/fs/a.c\n--- a/fs/a.c\n+++ b/fs/a.c\n@@ -1,3 +1,3 @@\n{lines}'


@contextmanager
def toy() -> Iterator[Toy]:
    with folder() as path:
        yield Toy(path)


def test_run_shows_the_verdict() -> None:
    with toy() as t:
        got = t.run('run')
        assert got.returncode == 0 and 'scenarios: 1 passed, 0 failed, 0 errors' in got.stdout, got
        assert 'kvm:alpha_test' in read(t.root + '/out/run/6.12.tsv')
        assert re.search(f'^{t.linux} at [0-9a-f]{{12}} with the set, commit [0-9a-f]{{12}}$', got.stdout, re.M), got
        got = t.run('run', '--rev', 'set/6.12/base')
        assert re.search('^set/6.12/base, commit [0-9a-f]{12}$', got.stdout, re.M) and 'with the set' not in got.stdout, got


def test_what_cannot_be_run_is_told_by_the_exit_status() -> None:
    with toy() as t:
        t.plant('repository', {'checks/good': CHECK}, 0o755)
        t.run('run')
        for program in ('run', 'test'):
            got = t.run(program, LINUX='/gone')
            assert got.returncode == 2 and 'LINUX=/gone: there is no such folder' in got.stdout + got.stderr, got
            assert 'Every row' not in got.stdout, got


def test_what_failed_can_be_booted_again() -> None:
    with toy() as t:
        vm = read(t.root + '/testbed/bin/vm')
        t.plant('repository', {'testbed/bin/vm': vm.replace('runs/clean', 'runs/not-ok-exit-0')}, 0o755)
        assert t.run('run').returncode == 1
        t.plant('repository', {'testbed/bin/vm': vm}, 0o755)
        got = t.run('run', '--reuse')
        assert got.returncode == 0 and '\nWhat an earlier run built, commit ' in got.stdout, got
        got = t.run('run', '--reuse')
        assert got.returncode == 2 and 'has no kernel to boot' in got.stderr, got


def test_a_relative_linux_is_the_users() -> None:
    with toy() as t:
        t.plant('repository', {'checks/good': CHECK.replace('repository', 'base') + '[ -e "$LINUX/Kconfig" ]\n'}, 0o755)
        for program in ('run', 'test', 'check'):
            got = t.run(program, cwd=os.path.dirname(t.linux), LINUX='linux')
            assert got.returncode == 0, got


def test_make_passes_on_what_it_is_given() -> None:
    with toy() as t:
        got = t.make('broken', 'ARGS=--tries 3')
        assert got.returncode == 0 and 'not allowed' not in got.stderr, got
        got = t.make('test', 'ARGS=--topic toy')
        assert got.returncode and 'unrecognized arguments: --topic toy' in got.stderr, got
        got = t.make('series', 'TOPIC=gone')
        assert got.returncode and 'TOPIC=gone: there is no such topic' in got.stderr, got


def test_make_clean_leaves_a_running_build_alone() -> None:
    with toy() as t:
        t.plant('repository', {'build/o/a': '', 'out/a': ''})
        with open(t.root + '/build/.lock', 'a', encoding='utf-8') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            got = t.make('clean')
            assert got.returncode and 'clean: error: build: another run is at work there' in got.stderr, got
            assert os.path.exists(t.root + '/build/o/a') and os.path.exists(t.root + '/out/a')
        got = t.make('clean')
        assert got.returncode == 0 and not os.path.exists(t.root + '/build') and not os.path.exists(t.root + '/out'), got


def test_the_pages_alone_need_no_compilers() -> None:
    with toy() as t:
        t.plant('repository', {'checks/good': CHECK, 'checks/pages': CHECK.replace('about 1', 'about 1\n# check: setup docs')}, 0o755)
        for names, what in (('pages', 'docs'), ('good', 'test'), ('pages good', 'test')):
            assert t.run('check', *names.split()).returncode == 0
            assert read(t.root + '/testbed/bin/setup.log').split()[-1] == what


def test_test_removes_nothing_before_it_knows_the_base() -> None:
    with toy() as t:
        t.plant('repository', {'out/test/kept': ''})
        got = t.run('test', BASE='9.9')
        assert got.returncode == 2 and 'BASE=9.9: is no base' in got.stderr, got
        assert os.path.exists(t.root + '/out/test/kept') and not os.path.exists(t.root + '/testbed/bin/setup.log')


def test_run_names_the_package_that_was_imported() -> None:
    with toy() as t:
        t.run('run')
        git = ('--git-dir', t.root + '/build/git')
        commit = subprocess.run([*GIT, *git, 'commit-tree', 'set/6.12/base^{tree}', '-m', 'linux-source-6.12 6.12.1-3'], check=True, text=True, stdout=subprocess.PIPE)
        subprocess.run([*GIT, *git, 'update-ref', 'refs/base/linux-source-6.12/6.12.1-3', commit.stdout.strip()], check=True)
        got = t.run('run', LINUX='')
        assert '\nlinux-source-6.12 6.12.1-3 with the set, commit ' in got.stdout, got


def test_a_full_disk_is_no_traceback() -> None:
    with toy() as t:
        os.makedirs(t.root + '/out/run')
        os.symlink('/dev/full', t.root + '/out/run/6.12.tsv')
        got = t.run('run')
        assert got.returncode == 2 and 'run: error: the system: No space left on device\n  what to do: free some disk' in got.stderr, got


def test_run_counts_what_could_not_be_built() -> None:
    with toy() as t:
        t.plant('repository', {'testbed/scenarios/early.scenario': 'config bad\n' + SCENARIO})
        for _ in 'ab':      # Nor is an earlier verdict shown.
            got = t.run('run')
            assert got.returncode == 1 and 'scenarios: 1 passed, 0 failed, 1 errors' in got.stdout, got
            assert 'kvm:alpha_test' in got.stdout and 'it does not build' in got.stderr and 'holds no run' not in got.stderr, got
            os.makedirs(t.root + '/out/run/6.12/early', exist_ok=True)
            shutil.copy(t.root + '/out/run/6.12/toy/verdict.json', t.root + '/out/run/6.12/early')


VARIANT = 'Test: kvm:alpha_test s\nConfig: debug\nFault: fault\nFingerprint: not ok\n'


def test_broken_finds_its_patches_from_any_folder() -> None:
    with toy() as t:
        t.plant('repository', {'testbed/broken/toy/v.patch': patch('Broken', 'one two 3', 'one two three', '\n' + VARIANT),
                               'testbed/faults/toy/fault.patch': patch('Fault', '1 two 3', 'one two 3')})
        got = t.run('broken', '--runs', '1', cwd='/')
        assert f'0 of 1{" " * 3}' in got.stdout, got


def test_each_commit_is_booted_and_its_tests_may_fail() -> None:
    with toy() as t:
        t.plant('repository', {'checks/good': CHECK,
                               'testbed/bin/vm': read(t.root + '/testbed/bin/vm').replace('runs/clean', 'runs/may-fail')}, 0o755)
        t.plant('repository', {'series/6.12/toy.order': 'one.patch\nthree.patch\n', 'three.patch': patch('fs: Three', '1 two 3', '1 two three')})
        got = t.run('test', ALL='1')
        assert got.returncode == 2 and 'topic toy: no scenario for base 6.12 boots its commits' in got.stderr, got
        t.plant('repository', {'testbed/scenarios/toy.scenario': 'config debug\ncommits toy\n' + SCENARIO})
        got = t.run('test', ALL='1')
        assert got.returncode == 1 and '6.12: toy: FAILED' in got.stderr and '6.12: toy up to one: ok' in got.stderr, got


def cases() -> list[Case]:
    return named_cases(sys.modules[__name__], 'front')
