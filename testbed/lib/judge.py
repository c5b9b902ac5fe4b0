# SPDX-License-Identifier: GPL-2.0
"""Judges one run of a scenario from three sources: the tests' KTAP and exit status,
the console, and the machine's end. What cannot be shown to have passed did not.

A row's verdict is FAIL where a fault is proven (a "not ok", a splat, an exit status),
ERROR where nothing is (no output, a broken plan, a machine that did not come to its
end), SKIP where the test says so and may, and PASS only where all sources agree.
"""
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

import console
import ktap
import scenariofile
from rows import SAID_LINES, Row, row

SPLAT_LINES = 40


class Splat(TypedDict):
    fingerprint: str
    section: str
    kind: str
    line: str
    allowed: str
    lines: list[str]


class Section:
    """What one test said between its begin and its end marker."""

    def __init__(self, begin: float) -> None:
        self.begin = begin
        self.end: float | None = None
        self.rc: int | None = None
        self.lines: list[str] = []


def sections(lines: Iterable[str], nonce: str) -> tuple[dict[str, Section], list[str], bool]:
    """(sections by test name, problems, exit line seen)"""
    marker = re.compile(rf'@@ {re.escape(nonce)} ([0-9.]+) (boot|begin|end|exit)(?: (\S+))?(?: rc=(\d+))?$')
    tests: dict[str, Section] = {}
    problems: list[str] = []
    current, finished = None, False
    for line in lines:
        found = marker.match(line.rstrip('\r\n'))
        if not found:
            if current:
                tests[current].lines.append(line)
            continue
        when, word, name, rc = float(found[1]), found[2], found[3], found[4]
        if word == 'begin':
            if name in tests:
                problems.append(f'{name} began twice')
            elif current:
                problems.append(f'{name} began before {current} ended')
            tests.setdefault(name, Section(when))
            current = name
        elif word == 'end':
            if name != current or rc is None:
                problems.append(f'a stray end of {name}')
            else:
                tests[name].end, tests[name].rc = when, int(rc)
            current = None
        elif word == 'exit':
            finished = True
    return tests, problems, finished


def status_text(rc: int, test: scenariofile.Test, seconds: float | None) -> str:
    if rc == 137 and seconds is not None and seconds >= test.seconds:
        return f'stopped at its limit of {test.seconds} s'
    return f'killed by signal {rc - 128}' if 128 < rc < 192 else f'exit status {rc}'


def judge_test(test: scenariofile.Test, section: Section | None, splats: list[Splat],
               may_skip: dict[tuple[str, str], str], machine_end: str) -> list[Row]:
    """The rows of one test: its own first, then one for each KTAP result."""
    if section is None:
        return [row(test.name, 'ERROR', f'never began; the machine ended with: {machine_end}')]
    seconds = None if section.end is None else round(section.end - section.begin, 1)
    parsed = ktap.parse(section.lines)
    faults: list[str] = []
    unknown: list[str] = []
    skipped: list[str] = []
    # Where a test may fail, a failure proves no more than a SKIP.
    failures = skipped if test.may_fail else faults
    subrows: list[Row] = []
    for splat in splats:
        if splat['kind'] == 'lost':
            unknown.append(f'the log is incomplete: {splat["line"]}')
        else:
            faults.append(f'splat {splat["fingerprint"]}')
    for result in parsed.rows:
        verdict, reason = result['verdict'], result['reason']
        if verdict == 'SKIP':
            excuse = may_skip.get((test.name, result['name']))
            if test.required and not excuse:
                verdict, reason = 'FAIL', f'skipped, but required: {reason}'
        if verdict == 'FAIL':
            failures.append(f'not ok: {result["name"]}' if result['verdict'] == 'FAIL' else f'{result["name"]} {reason}')
            if test.may_fail:
                verdict, reason = 'SKIP', f'failed, as it may here: {reason}'.removesuffix(': ')
        subrows.append(row(test.name, verdict, reason, subtest=result['name'], said=result['said']))

    rc = section.rc
    if section.end is None:
        unknown.append(f'began and never ended; the machine ended with: {machine_end}')
    elif rc == 137 and seconds is not None and seconds >= test.seconds:
        unknown.append(status_text(rc, test, seconds))
    if test.kind == 'exit':
        if parsed.rows:
            unknown.append('prints KTAP, but the scenario says exit: declare it ktap')
    elif section.end is not None or parsed.any:
        if not parsed.any:
            unknown.append('printed no KTAP')
    unknown += parsed.problems
    if rc == 4 or parsed.skip is not None:
        skipped.append(parsed.skip or 'exit status 4')
    elif parsed.rows and all(r['verdict'] == 'SKIP' for r in parsed.rows):
        skipped.append('every subtest was skipped')
    if rc is not None and rc not in (0, 4) and not any('limit' in u for u in unknown):
        text = status_text(rc, test, seconds)
        words = [line.strip() for line in section.lines if line.strip()]
        if test.kind == 'exit' and words:
            text += f', its last words: {words[-1][:120]}'
        # With a broken plan the status only says why it is broken. No test may crash.
        (unknown if unknown or (test.may_fail and 'killed' in text) else failures).append(text)
    if rc == 4 and parsed.rows and not any(r['verdict'] == 'SKIP' for r in parsed.rows):
        failures.append('exit status 4 (skipped), but no result says so')
    if skipped and test.required:
        faults.append(f'skipped, but required: {skipped[0]}')

    verdict = 'FAIL' if faults else 'ERROR' if unknown else 'SKIP' if skipped else 'PASS'
    proven = next((s for s in splats if s['kind'] != 'lost'), None)
    if proven:
        said = proven['lines'][:SAID_LINES]
    elif any(r['said'] for r in subrows):
        said = []   # they say it
    else:
        said = [line for line in section.lines if line.strip()]
    fingerprint = proven['fingerprint'] if proven else ''
    reason = '; '.join(dict.fromkeys(faults + unknown + ([] if faults else skipped)))
    return [row(test.name, verdict, reason, seconds=seconds, fingerprint=fingerprint, said=said)] + subrows


def read_end(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding='utf-8').split('\n')
    except OSError:
        return {}
    return {key: value for key, found, value in (line.partition('=') for line in lines) if found}


def read_lines(path: Path) -> list[str]:
    try:
        # A carriage return is no end of a line here.
        return path.read_bytes().decode('utf-8', 'replace').split('\n')
    except OSError:
        return []


def judge(folder: Path, scenario: scenariofile.Scenario, policy: console.Policy) -> dict[str, Any]:
    """The whole verdict of the run in folder."""
    end = read_end(folder / 'end')
    nonce, how = end.get('nonce', ''), end.get('end', 'nothing: no file "end"')
    tests, problems, finished = sections(read_lines(folder / 'tests.log'), nonce or '(none)')
    log = read_lines(folder / 'console.log')
    scan = console.scan(log, policy, nonce or '(none)', scenario.name)
    splats: list[Splat] = [
        {'fingerprint': r.fingerprint(policy.skip), 'section': r.section, 'kind': r.kind,
         'line': r.line, 'allowed': r.allowed, 'lines': r.excerpt[:SPLAT_LINES]} for r in scan.reports]
    live = [s for s in splats if not s['allowed']]

    rows: list[Row] = []
    declared = {t.name for t in scenario.tests}
    for test in scenario.tests:
        own = [s for s in live if s['section'] == test.name]
        rows += judge_test(test, tests.get(test.name), own, scenario.may_skip, how)
    for place in dict.fromkeys(s['section'] for s in live if s['section'] not in declared):
        own = [s for s in live if s['section'] == place]
        proven = [s for s in own if s['kind'] != 'lost']
        rows.append(row(place, 'FAIL' if proven else 'ERROR', '; '.join(s['line'] for s in own),
                        fingerprint=proven[0]['fingerprint'] if proven else '',
                        said=own[0]['lines'][:SAID_LINES]))
    for regex in scenario.console:
        found = [line for line in log if re.search(regex, line)]
        rows.append(row('(console)', 'PASS' if found else 'FAIL', subtest=regex,
                        reason='' if found else f'no line of the console matches {regex}'))

    problems += [f'{t} is no test of the scenario' for t in tests if t not in declared]
    if scan.boots != 1:
        problems.append(f'the console shows {scan.boots} boots')
    if how == 'exit-line':
        # The same markers must stand in both logs, else one of them lost lines.
        if not finished or not scan.complete:
            problems.append('no exit line on ' + ('the console' if finished else 'the tests\' port'))
        if scan.begun != list(tests) or scan.ended != [t for t in tests if tests[t].rc is not None]:
            problems.append('the console and the tests\' port do not show the same tests')
    if problems:
        rows.append(row('(logs)', 'ERROR', '; '.join(problems)))
    seconds = int(end['seconds']) if end.get('seconds', '').isdigit() else None
    rows.append(row('(machine)', 'PASS' if how == 'exit-line' else 'ERROR',
                    '' if how == 'exit-line' else f'ended with: {how}', seconds=seconds))

    verdicts = {r['verdict'] for r in rows}
    tops = {r['verdict'] for r in rows if not r['subtest'] and r['test'] in declared}
    total = ('ERROR' if 'ERROR' in verdicts else 'FAIL' if 'FAIL' in verdicts
             else 'SKIP' if tops == {'SKIP'} else 'PASS')
    return {'scenario': scenario.name, 'config': scenario.config, 'verdict': total, 'end': how,
            'accel': end.get('accel', ''), 'kernel': scan.banner, 'rows': rows, 'splats': splats}
