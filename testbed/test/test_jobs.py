# SPDX-License-Identifier: GPL-2.0
"""The scheduler, the broken variants' heads and what a run of one is worth."""
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs
import scenariofile
import variants
from common import Case, folder, named_cases, write
from rows import row
from patchset.common import Fail


def quiet(todo: list[jobs.Job]) -> bool:
    """Runs jobs without their lines."""
    before = sys.stderr
    with open(os.devnull, 'w', encoding='utf-8') as sys.stderr:
        try:
            return jobs.run(todo)
        finally:
            sys.stderr = before


def nothing(_job: jobs.Job) -> None:
    pass


def test_a_job_waits_for_what_it_needs() -> None:
    order: list[str] = []

    def note(job: jobs.Job) -> None:
        order.append(job.name)
    a = jobs.Job('a', note)
    b = jobs.Job('b', note, [a])
    assert quiet([b, a]) and order == ['a', 'b'], order


def test_what_fails_stops_only_what_needs_it() -> None:
    def fail(job: jobs.Job) -> None:
        job.rows.append(row('x', 'FAIL'))

    def break_down(_job: jobs.Job) -> None:
        raise Fail('disk', 'is full', 'free some')

    def bug(_job: jobs.Job) -> None:
        raise ValueError('a bug')
    for broken in (fail, break_down, bug):
        a = jobs.Job('a', broken)
        b = jobs.Job('b', nothing, [a])
        c = jobs.Job('c', nothing, [b])
        d = jobs.Job('d', nothing)
        assert not quiet([a, b, c, d])
        assert [j.state for j in (a, b, c, d)] == ['failed', 'not run', 'not run', 'passed'], broken
        # Each that did not pass is counted.
        assert all(any(r['verdict'] in ('FAIL', 'ERROR') for r in j.rows) for j in (a, b, c))


def test_builds_never_overlap_and_machines_have_room() -> None:
    lock, running = threading.Lock(), {'build': 0, 'all': 0}
    most = {'build': 0, 'all': 0}

    def count(job: jobs.Job) -> None:
        with lock:
            running['all'] += job.share
            running['build'] += job.build
            for key in most:
                most[key] = max(most[key], running[key])
        threading.Event().wait(0.3)
        with lock:
            running['all'] -= job.share
            running['build'] -= job.build
    todo = [jobs.Job(f'b{n}', count, share=jobs.BUILD, build=True) for n in range(3)]
    todo += [jobs.Job(f'm{n}', count, share=jobs.MACHINE) for n in range(3)]
    assert quiet(todo)
    assert most['build'] == 1 and most['all'] == jobs.ROOM, most


def test_checks_leave_room_for_a_build() -> None:
    order: list[str] = []

    def note(job: jobs.Job) -> None:
        order.append(job.name)
        threading.Event().wait(0.5)
    first = jobs.Job('fetch', note)
    checks = [jobs.Job(f'c{n}', note) for n in range(6)]
    build = jobs.Job('build', note, [first], jobs.BUILD, True)
    assert quiet([first, *checks, build])
    assert order.index('build') <= 4, order


def result(verdict: str = 'FAIL', own: str = 'FAIL', sub: str = 'FAIL', splats: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    return {'verdict': verdict, 'rows': [row('net:t', own), row('net:t', sub, subtest='s')],
            'splats': [{'fingerprint': f, 'section': place, 'kind': 'splat', 'allowed': ''} for f, place in splats]}


def variant(fingerprint: str) -> variants.Variant:
    return variants.Variant('v', 't', Path('v.patch'), {'Test': 'net:t s', 'Config': 'debug', 'Fingerprint': fingerprint})


def test_only_the_foretold_failure_is_a_catch() -> None:
    for fingerprint, what, word in (
            ('^kasan@f', result(splats=(('kasan@f<g', 'net:t'),)), 'caught'),
            ('^kasan@f', result(splats=(('kasan@h', 'net:t'),)), 'other'),
            ('^kasan@f', result(splats=(('kasan@f<g', '(boot)'),)), 'other'),
            ('^kasan@f', result(splats=(('lockdep@x', 'net:t'), ('kasan@f<g', 'net:t'))), 'other'),
            ('^kasan@f', result(), 'other'),
            ('^kasan@f', result('PASS', 'PASS', 'PASS'), 'missed'),
            ('not ok', result(), 'caught'),
            ('not ok', result(splats=(('kasan@f', 'net:t'),)), 'other'),
            ('not ok', result('ERROR', 'ERROR', 'PASS'), 'other'),
            ('not ok', result('PASS', 'PASS', 'PASS'), 'missed')):
        got = variants.outcome(what, variant(fingerprint))
        assert got[0] == word, (fingerprint, what, got)


HEAD = 'Subject: s\n\nWhy.\n\nTest: net:t s\nConfig: debug\nFingerprint: not ok\n'


def test_a_variant_is_read() -> None:
    with folder() as path:
        os.makedirs(path + '/t')
        v = variants.read(Path(write(path + '/t/x@7.3.patch', HEAD + 'Env: A=1 B=2\nTimeout: 30\nAppend: k\nDevice: d\n---\ndiff --git a b\n')))
        assert (v.name, v.topic, v.test, v.subtest, v.empty) == ('x', 't', 'net:t', 's', False)
        s = v.scenario()
        assert s.timeout == 210 and s.append == 'panic_on_warn=1 k' and s.device == 'd', s
        assert s.guest_list() == 'net:t 30 A=1 B=2 -r s\n', s.guest_list()


def test_a_head_with_a_typo_is_refused() -> None:
    for more in ('Fautl: fault\n', 'Fault: gone\n', 'Timeout: soon\n', 'Env: 1\n', 'Test: net:u v\n', 'On: moon\n'):
        with folder() as path:
            try:
                variants.read(Path(write(path + '/b.patch', f'{HEAD}{more}---\n')))
            except Fail as error:
                assert 'b.patch' in error.text, error.text
                continue
            raise AssertionError(f'{more} was not refused')
    for lacks in ('Test', 'Config', 'Fingerprint'):
        with folder() as path:
            text = ''.join(line for line in HEAD.splitlines(True) if not line.startswith(lacks))
            try:
                variants.read(Path(write(path + '/b.patch', f'{text}---\n')))
            except Fail as error:
                assert lacks in error.text, error.text
                continue
            raise AssertionError(f'without {lacks} it was not refused')


def test_a_name_that_is_not_there_is_answered_with_those_that_are() -> None:
    def says(work: Callable[[], object], *words: str) -> None:
        try:
            work()
        except Fail as error:
            assert all(word in error.text for word in words), error.text
            return
        raise AssertionError(f'{words}: nothing was refused')
    says(lambda: variants.chosen('6.12', ['kvm-irqfd'], ['assign-hides-its-lock-order']), 'assign-hides-its-lock-order', 'BASE=7.3, not 6.12')
    says(lambda: variants.chosen('6.12', ['kvm-irqfd'], ['gone']), 'gone', 'no-flush-of-inject')
    says(lambda: scenariofile.find('gone'), 'gone', 'give one of', 'kvm-irqfd.debug')
    says(lambda: scenariofile.find('kvm-irqfd.debug').only('gone', []), 'gone', 'kvm:x86/irqfd_abi_test')


def test_the_variants_of_the_house_are_sound() -> None:
    for path in sorted(variants.FOLDER.glob('*/*.patch')):
        variants.read(path)


def cases() -> list[Case]:
    return named_cases(sys.modules[__name__], 'jobs')
