# SPDX-License-Identifier: GPL-2.0
"""Reads testbed/scenarios/*.scenario; testbed/scenarios/README describes the format."""
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from patchset.common import Fail

FOLDER = Path(__file__).resolve().parents[1] / 'scenarios'
WHEN = ('run', 'test', 'all')


class ScenarioError(Exception):
    pass


@dataclass
class Test:
    name: str
    kind: str
    required: bool
    seconds: int
    args: list[str] = field(default_factory=list)
    may_fail: bool = False

    @property
    def need(self) -> str:
        return 'may-fail' if self.may_fail else 'required' if self.required else 'optional'


@dataclass
class Scenario:
    name: str
    path: str
    config: str = ''
    timeout: int = 0
    memory: str = '1G'
    append: str = ''
    bases: list[str] = field(default_factory=list)
    when: str = 'test'
    on: list[str] = field(default_factory=lambda: ['set'])
    patches: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)
    may_skip: dict[tuple[str, str], str] = field(default_factory=dict)
    guest: str = ''
    device: str = ''
    commits: list[str] = field(default_factory=list)     # topics

    def guest_list(self) -> str:
        """What the guest's init reads: a line for each test."""
        return ''.join(' '.join([t.name, str(t.seconds)] + t.args) + '\n' for t in self.tests)

    def once(self) -> list[str]:
        """What one boot is on: the set, or the base where the scenario is for that alone."""
        return ['base'] if self.on == ['base'] else ['set']

    def only(self, name: str, args: list[str]) -> 'Scenario':
        """The same boot with one of its tests, and other arguments if any are given."""
        kept = [t for t in self.tests if t.name == name]
        if not kept:
            raise Fail(name, f'is no test of {self.name}', f'give one of: {" ".join(t.name for t in self.tests)}')
        if args:
            kept = [replace(t, args=args) for t in kept]
        skips = {k: v for k, v in self.may_skip.items() if k[0] == name}
        return replace(self, console=[], tests=kept, may_skip=skips)

    def of_a_commit(self) -> 'Scenario':
        """The same boot for a commit in the midst of a topic: what its tests want may come later."""
        return replace(self, console=[], tests=[replace(t, required=False, may_fail=True) for t in self.tests])


def _test(words: list[str]) -> Test:
    if len(words) < 4:
        raise ScenarioError('test wants NAME KIND NEED SECONDS [ARGUMENT...]')
    name, kind, need, seconds = words[:4]
    if not re.fullmatch(r'[\w./-]+:[\w./-]+', name):
        raise ScenarioError(f'test name "{name}" is not COLLECTION:TEST')
    if kind not in ('ktap', 'exit'):
        raise ScenarioError(f'kind "{kind}" of {name} is neither ktap nor exit')
    if need not in ('required', 'optional', 'may-fail'):
        raise ScenarioError(f'"{need}" of {name} is none of required, optional and may-fail')
    if not re.fullmatch('[1-9][0-9]*', seconds):
        raise ScenarioError(f'"{seconds}" of {name} is not a number of seconds')
    return Test(name, kind, need == 'required', int(seconds), words[4:], need == 'may-fail')


def _line(scenario: Scenario, key: str, rest: list[str]) -> None:
    if key in ('config', 'timeout', 'memory', 'when', 'guest', 'device') and len(rest) != 1:
        raise ScenarioError(f'{key} wants one value')
    if key in ('config', 'memory', 'guest', 'device'):
        setattr(scenario, key, rest[0])
    elif key == 'timeout':
        if not re.fullmatch('[1-9][0-9]*', rest[0]):
            raise ScenarioError(f'timeout "{rest[0]}" is not a number of seconds')
        scenario.timeout = int(rest[0])
    elif key == 'append':
        scenario.append = ' '.join(rest)
    elif key == 'when':
        if rest[0] not in WHEN:
            raise ScenarioError(f'when is one of {", ".join(WHEN)}, not "{rest[0]}"')
        scenario.when = rest[0]
    elif key == 'commits':
        if not rest:
            raise ScenarioError('commits wants the name of a topic')
        scenario.commits = rest
    elif key in ('base', 'on'):
        if not rest or (key == 'on' and not set(rest) <= {'set', 'base'}):
            raise ScenarioError('on wants set, base or both' if key == 'on' else 'base wants the name of a base')
        setattr(scenario, 'bases' if key == 'base' else key, rest)
    elif key == 'patch':
        scenario.patches += rest
    elif key == 'console':
        scenario.console.append(' '.join(rest))
        re.compile(scenario.console[-1])
    elif key == 'test':
        test = _test(rest)
        if test.name in [t.name for t in scenario.tests]:
            raise ScenarioError(f'{test.name} stands here twice')
        scenario.tests.append(test)
    elif key == 'may-skip':
        if len(rest) < 3:
            raise ScenarioError('may-skip wants TEST SUBTEST REASON...: the reason is not optional')
        scenario.may_skip[rest[0], rest[1]] = ' '.join(rest[2:])
    else:
        raise ScenarioError(f'unknown word "{key}"')


def load(path: str | Path) -> Scenario:
    """Every word must be known: a typo must not switch a check off."""
    scenario, seen = Scenario(Path(path).name.removesuffix('.scenario'), str(path)), set()
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            words = re.sub(r'(^|\s)#.*', '', line).split()
            if not words:
                continue
            try:
                if words[0] in seen and words[0] not in ('test', 'may-skip', 'patch', 'console'):
                    raise ScenarioError(f'{words[0]} stands here twice')
                _line(scenario, words[0], words[1:])
            except (ScenarioError, re.error) as error:
                raise ScenarioError(f'{path}:{number}: {error}') from None
            seen.add(words[0])
    if not scenario.config or not scenario.timeout or not scenario.tests:
        raise ScenarioError(f'{path}: config, timeout and at least one test are needed')
    names = {t.name for t in scenario.tests}
    for test, _ in scenario.may_skip:
        if test not in names:
            raise ScenarioError(f'{path}: may-skip names {test}, which is no test here')
    return scenario


def names() -> list[str]:
    return sorted(p.name.removesuffix('.scenario') for p in FOLDER.glob('*.scenario'))


def find(name: str) -> Scenario:
    """A scenario by its name, or by the path of its file."""
    path = Path(name) if '/' in name else FOLDER / f'{name}.scenario'
    if not path.is_file():
        raise Fail(name, 'there is no such file' if '/' in name else 'there is no such scenario', f'give one of: {" ".join(names())}')
    return load(path)


def every(base: str) -> list[Scenario]:
    """Those of a base, by config."""
    found = [load(FOLDER / f'{n}.scenario') for n in names()]
    return sorted((s for s in found if base in s.bases), key=lambda s: (s.config, s.name))


def text(s: Scenario) -> str:
    """The file that load() makes this scenario of."""
    lines = [f'config {s.config}', f'timeout {s.timeout}', f'memory {s.memory}', f'when {s.when}', f'on {" ".join(s.on)}']
    lines += [f'base {" ".join(s.bases)}'] if s.bases else []
    lines += [f'append {s.append}'] if s.append else []
    lines += [f'guest {s.guest}'] if s.guest else []
    lines += [f'device {s.device}'] if s.device else []
    lines += [f'patch {p}' for p in s.patches] + [f'console {c}' for c in s.console]
    lines += [f'commits {" ".join(s.commits)}'] if s.commits else []
    lines += [' '.join(['test', t.name, t.kind, t.need, str(t.seconds)] + t.args) for t in s.tests]
    lines += [f'may-skip {test} {subtest} {why}' for (test, subtest), why in s.may_skip.items()]
    return ''.join(line + '\n' for line in lines)
