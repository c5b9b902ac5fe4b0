# SPDX-License-Identifier: GPL-2.0
"""Broken variants: the set with one thing undone, and the test that must notice.

testbed/broken/TOPIC/NAME.patch is a diff against the whole set. NAME@BASE.patch is that
variant for one base. The last paragraph before "---" says, a line each and in any order:

  Test: COLLECTION:TEST SUBTEST  the test to run, as TEST -r SUBTEST
  Config: NAME                   as in a scenario
  Fingerprint: REGEX             of the first splat, as testbed/bin/fingerprint prints it;
                                 "not ok" where the test itself notices
  Base: NAME...                  only these bases; default: all that have the topic
  When: all                      only `make test ALL=1` and `make broken` take it
  Fault: NAME                    testbed/faults/TOPIC/NAME.patch, or NAME@BASE.patch, goes
                                 below the variant. It widens a window or forces a rare
                                 event. With it alone the test must pass; that is run too
  On: base                       against the base with the set's selftests instead of the set
  Env: NAME=VALUE...             the test's environment
  Arguments: WORDS               of the test, behind -r SUBTEST
  Append: WORDS                  for the kernel's command line
  Guest: NAME                    as in a scenario; the machine has 2G then
  Device: NAME                   as in a scenario
  Timeout: SECONDS               of the test (600); the machine gets 180 more
"""
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchset import repository
from patchset.common import ROOT, Fail
from scenariofile import Scenario, Test

FOLDER = ROOT / 'testbed' / 'broken'
KEYS = ('Test', 'Config', 'Fingerprint', 'Base', 'When', 'Fault', 'On', 'Env', 'Arguments', 'Append', 'Guest', 'Device', 'Timeout')


@dataclass
class Variant:
    name: str
    topic: str
    path: Path
    head: dict[str, str]
    base: str = ''

    @property
    def test(self) -> str:
        return self.head['Test'].split(None, 1)[0]

    @property
    def subtest(self) -> str:
        return self.head['Test'].split(None, 1)[1]

    @property
    def config(self) -> str:
        return self.head['Config']

    @property
    def fault(self) -> Path | None:
        name, folder = self.head.get('Fault'), ROOT / 'testbed' / 'faults' / self.topic
        if not name:
            return None
        own = folder / f'{name}@{self.base}.patch'
        return own if own.is_file() else folder / f'{name}.patch'

    @property
    def empty(self) -> bool:
        """Nothing is undone: the base itself is what must be caught."""
        return 'diff --git' not in self.path.read_text(encoding='utf-8')

    def scenario(self) -> Scenario:
        """One boot of its test. The first splat decides, so the machine panics there: what
        broken lists and locks do next is often to spin."""
        limit = int(self.head.get('Timeout', '600'))
        args = self.head.get('Env', '').split() + ['-r', self.subtest] + self.head.get('Arguments', '').split()
        guest = self.head.get('Guest', '')
        return Scenario(self.name, str(self.path), self.config, limit + 180, guest=guest, memory='2G' if guest else '1G',
                        device=self.head.get('Device', ''), append=f'panic_on_warn=1 {self.head.get("Append", "")}'.strip(),
                        tests=[Test(self.test, 'ktap', True, limit, args)])


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def read(path: Path) -> Variant:
    """Every word of the head must be known: a typo must not switch a check off."""
    text = path.read_text(encoding='utf-8').partition('\n---\n')[0]
    head: dict[str, str] = {}
    for line in text.rstrip().split('\n\n')[-1].split('\n'):
        key, colon, value = line.partition(':')
        if not colon or key not in KEYS or key in head:
            raise Fail(shown(path), f'its head has an unknown line: {line}', 'testbed/bin/broken --help has the lines')
        head[key] = value.strip()
    for key in ('Test', 'Config', 'Fingerprint'):
        if not head.get(key):
            raise Fail(shown(path), f'its head lacks {key}:', 'testbed/bin/broken --help has the lines')
    if len(head['Test'].split(None, 1)) != 2:
        raise Fail(shown(path), 'its Test: is not COLLECTION:TEST SUBTEST', 'name the subtest that must fail')
    if not re.fullmatch(r'[1-9][0-9]*', head.get('Timeout', '600')):
        raise Fail(shown(path), 'its Timeout: is no number of seconds', 'correct it')
    if not all(re.fullmatch(r'[A-Z][A-Z0-9_]*=\S*', w) for w in head.get('Env', '').split()):
        raise Fail(shown(path), 'its Env: is not NAME=VALUE...', 'correct it')
    if head.get('When', 'all') != 'all':
        raise Fail(shown(path), f'its When: is not "all" but "{head["When"]}"', 'correct it')
    if head.get('On', 'base') != 'base':
        raise Fail(shown(path), f'its On: is not "base" but "{head["On"]}"', 'correct it')
    try:
        re.compile(head['Fingerprint'])
    except re.error as error:
        raise Fail(shown(path), f'its Fingerprint: is no regular expression: {error}', 'correct it') from None
    variant = Variant(path.name.removesuffix('.patch').partition('@')[0], path.parent.name, path, head)
    if variant.fault and not variant.fault.is_file():
        raise Fail(shown(path), f'its Fault: {shown(variant.fault)} is not there', 'correct the name')
    return variant


def every(base: str, topics: list[str]) -> list[Variant]:
    """The variants of a base, those that build on each other's objects side by side."""
    found = []
    for path in sorted(FOLDER.glob('*/*.patch')):
        stem, _, only = path.name.removesuffix('.patch').partition('@')
        if path.parent.name not in topics or (only and only != base):
            continue
        if not only and (path.parent / f'{stem}@{base}.patch').exists():
            continue
        variant = read(path)
        variant.base = base
        if base in variant.head.get('Base', base).split():
            found.append(variant)
    return sorted(found, key=lambda v: (v.config, v.topic, v.head.get('Fault', ''), v.name))


def chosen(base: str, topics: list[str], names: list[str]) -> list[Variant]:
    """The variants of a base, or those of them that are named."""
    variants = every(base, topics)
    for name in names:
        if name not in [v.name for v in variants]:
            others = [b for b in repository.bases() if name in [v.name for v in every(b, [t.name for t in repository.present(base=b)])]]
            if others:
                raise Fail(name, f'is a broken variant for BASE={" or ".join(others)}, not {base}', 'give that BASE')
            raise Fail(name, 'there is no such broken variant', f'give one of: {" ".join(v.name for v in variants)}')
    return [v for v in variants if not names or v.name in names]


def outcome(result: dict[str, Any], variant: Variant) -> tuple[str, str]:
    """('caught', fingerprint), ('missed', '') or ('other', why) of a verdict."""
    rows = [r for r in result['rows'] if r['test'] == variant.test]
    own = next((r for r in rows if not r['subtest']), None)
    if own is None:
        return 'other', f'{variant.test} is not in the verdict'
    wanted = variant.head['Fingerprint']
    live = [s for s in result['splats'] if not s['allowed'] and s['kind'] != 'lost']
    if wanted == 'not ok':
        if live:
            return 'other', f'splat {live[0]["fingerprint"]} in {live[0]["section"]}'
        if any(r['subtest'] == variant.subtest and r['verdict'] == 'FAIL' for r in rows):
            return 'caught', 'not ok'
    elif live:
        first = live[0]
        if first['section'] == variant.test and own['verdict'] in ('FAIL', 'ERROR') and re.search(wanted, first['fingerprint']):
            return 'caught', first['fingerprint']
        return 'other', f'splat {first["fingerprint"]} in {first["section"]}'
    if result['verdict'] == 'PASS':
        return 'missed', ''
    bad = next((r for r in result['rows'] if r['verdict'] in ('FAIL', 'ERROR')), own)
    return 'other', f'{bad["test"]} {bad["verdict"]}: {bad["reason"]}'
