# SPDX-License-Identifier: GPL-2.0
"""The policy and the scenario files: what must be refused is, and every splat that
must be known is caught by more than a net."""
import dataclasses
import os
import re
import sys

import console
import scenariofile
from common import TESTBED, Case, folder, named_cases, read, write
from patchset import repository

TEXT = read(os.path.join(TESTBED, 'splats'))
POLICY = console.Policy(TEXT)
FRAMES = '[frames]\nskip = x\n'
SPLAT = '[splat a]\nmatch = boom\nexample = boom\n'


def refused(text: str, word: str) -> None:
    try:
        console.Policy(text)
    except console.PolicyError as error:
        assert word in str(error), f'refused, but says "{error}" and not "{word}"'
        return
    raise AssertionError('was not refused')


def test_every_example_is_caught_by_its_own_pattern() -> None:
    for pattern in POLICY.patterns:
        for prefix in ('', '[    1.000000] ', '[    1.000000][   T12] ', '<4>[    1.000000][    C1] '):
            found = console.scan([prefix + pattern.example], POLICY, '').reports
            assert [r.name for r in found] == [pattern.name], f'{pattern.name}: {[r.name for r in found]}'


def test_a_console_without_its_splat_line_is_clean() -> None:
    for pattern in POLICY.patterns:
        lines = ['[    1.000000][   T12] Run /init as init process']
        assert not console.scan(lines, POLICY, '').reports, pattern.name


def test_a_reason_is_mandatory() -> None:
    good = SPLAT + '[allow x]\nsplat = a\nmatch = boom\nreason = known\n' + FRAMES
    console.Policy(good)
    refused(good.replace('reason = known\n', ''), 'no reason')
    refused(good.replace('known', ''), 'no reason')


def test_an_unknown_word_is_refused() -> None:
    refused(SPLAT + 'matches = x\n' + FRAMES, 'matches')
    refused(SPLAT + '[allow x]\nsplat = a\nmatch = boom\nreason = r\nscenarios = y\n' + FRAMES, 'scenarios')
    refused(SPLAT + '[allowed x]\nsplat = a\n' + FRAMES, 'neither')


def test_an_unknown_splat_in_an_exception_is_refused() -> None:
    refused(SPLAT + '[allow x]\nsplat = b\nmatch = boom\nreason = r\n' + FRAMES, 'no splat "b"')
    refused(SPLAT + 'after = c\n' + FRAMES, 'no splat "c"')


def test_a_repeated_section_is_refused() -> None:
    refused(SPLAT + SPLAT + FRAMES, 'already exists')


def test_a_broken_expression_is_refused() -> None:
    refused(SPLAT.replace('match = boom', 'match = bo(om') + FRAMES, 'missing )')


def test_an_example_that_does_not_match_is_refused() -> None:
    refused(SPLAT.replace('example = boom', 'example = bang') + FRAMES, 'example')


def test_no_frames_is_refused() -> None:
    refused(SPLAT, '[frames]')


def test_an_exception_covers_its_splat_and_scenario_only() -> None:
    text = SPLAT + '[splat b]\nmatch = boom b\nexample = boom b\n'
    text = text.replace('match = boom\nexample = boom\n', 'match = boom( a)?$\nexample = boom\n')
    policy = console.Policy(text + '[allow x]\nsplat = a\nmatch = a$\nscenario = s\nreason = r\n' + FRAMES)

    def allowed(line: str, scenario: str) -> list[bool]:
        return [bool(r.allowed) for r in console.scan([line], policy, '', scenario).reports]
    assert allowed('boom a', 's') == [True]
    assert allowed('boom a', 't') == [False]
    assert allowed('boom', 's') == [False]
    assert allowed('boom b', 's') == [False]


def test_a_report_ends_where_its_task_falls_silent() -> None:
    lines = ['[    1.000000][   T1] FAULT_INJECTION: forcing a failure.',
             '[    9.000000][   T1] Call Trace:', '[    9.000001][   T1]  kvm_irqfd+0x9/0x1a30']
    assert [bool(r.allowed) for r in console.scan(lines, POLICY, '').reports] == [True, False]


def test_sections_are_those_of_the_right_nonce() -> None:
    lines = ['testbed: aa begin kvm:x', 'testbed: bb end kvm:x rc=0', 'refcount_t: underflow.']
    assert [r.section for r in console.scan(lines, POLICY, 'aa').reports] == ['kvm:x']


def scenario(text: str) -> scenariofile.Scenario:
    with folder() as path:
        return scenariofile.load(write(os.path.join(path, 'x.scenario'), text))


GOOD = 'config debug\ntimeout 9 # s\ntest kvm:a ktap required 5 -v 3\n'


def test_a_scenario_is_read() -> None:
    got = scenario(GOOD)
    assert (got.config, got.timeout, got.memory) == ('debug', 9, '1G')
    test = got.tests[0]
    assert (test.name, test.kind, test.required, test.seconds, test.args) == ('kvm:a', 'ktap', True, 5, ['-v', '3'])


def test_a_scenario_written_out_is_read_the_same() -> None:
    more = 'memory 2G\nappend a=b c\nguest g\ndevice d\nbase 6.12 7.3\nwhen all\ncommits t u\non set base\npatch a b\nconsole x .*y\nmay-skip kvm:a s why not\n'
    got = scenario(GOOD + more)
    back = scenario(scenariofile.text(got))
    assert dataclasses.replace(back, path=got.path) == got, back
    assert got.only('kvm:a', ['-r', 'z']).tests[0].args == ['-r', 'z']
    commit = got.of_a_commit()
    assert 'test kvm:a ktap may-fail 5 -v 3\n' in scenariofile.text(commit) and commit.tests[0].may_fail and not got.tests[0].may_fail
    assert dataclasses.replace(scenario(scenariofile.text(commit)), path=got.path) == commit


def test_a_scenario_for_the_base_alone_boots_the_base() -> None:
    for words, want in (('', 'set'), ('on set\n', 'set'), ('on set base\n', 'set'), ('on base\n', 'base')):
        assert scenario(GOOD + words).once() == [want], words


def test_a_scenario_with_a_typo_is_refused() -> None:
    for old, new in (('config', 'confg'), ('ktap', 'tap'), ('required', 'require'), (' 5', ' five'), ('kvm:a', 'a'),
                     ('timeout 9', 'timeout 0'), ('timeout 9', ''), ('config debug', ''),
                     ('config debug', 'config debug\nconfig plain'), ('test kvm:a ktap required 5 -v 3', ''),
                     ('-v 3', '\ntest kvm:a ktap required 5'), ('-v 3', '\nmay-skip kvm:a sub'),
                     ('-v 3', '\nmay-skip kvm:b sub a reason'),
                     ('-v 3', '\nwhen never'), ('-v 3', '\non moon'), ('-v 3', '\nconsole a(b'), ('-v 3', '\nbase'), ('-v 3', '\ncommits')):
        assert old in GOOD
        try:
            scenario(GOOD.replace(old, new))
        except scenariofile.ScenarioError:
            continue
        raise AssertionError(f'"{old}" as "{new}" was not refused')


def test_the_scenarios_of_the_house_are_sound() -> None:
    base = os.path.join(TESTBED, 'scenarios')
    for name in sorted(os.listdir(base)):
        if not name.endswith('.scenario'):
            continue
        got = scenariofile.load(os.path.join(base, name))
        for part in got.config.split('+'):
            assert os.path.exists(os.path.join(TESTBED, 'configs', part + '.config')), f'{name}: no config {part}'
        assert any(t.required for t in got.tests), f'{name}: requires no test, so it could pass with none'
        assert all(t.seconds < got.timeout for t in got.tests), f'{name}: a test may outlast the machine'


def test_the_commits_of_each_topic_have_a_scenario() -> None:
    for base in repository.bases():
        found = [topic for s in scenariofile.every(base) for topic in s.commits]
        assert sorted(found) == sorted(t.name for t in repository.present(base=base) if repository.order(t.name, base=base)), (base, found)


def test_each_config_asks_for_a_symbol_once() -> None:
    base = os.path.join(TESTBED, 'configs')
    for name in sorted(os.listdir(base)):
        symbols = re.findall(r'^(CONFIG_\w+)=', read(os.path.join(base, name)), re.M)
        assert symbols, f'{name} asks for nothing'
        assert len(symbols) == len(set(symbols)), f'{name} asks twice for a symbol'


def cases() -> list[Case]:
    return named_cases(sys.modules[__name__], 'policy')
