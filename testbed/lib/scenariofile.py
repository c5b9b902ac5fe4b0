# SPDX-License-Identifier: GPL-2.0
"""Reads testbed/scenarios/*.scenario, whose format testbed/scenarios/README describes.

As a program, for the shell: scenariofile.py FILE config|timeout|memory|append|names|list
prints that value, the tests' names, or the list that the guest's init reads."""
import re
import sys


class ScenarioError(Exception):
    pass


class Test:
    def __init__(self, name, kind, required, seconds, args):
        self.name, self.kind, self.required = name, kind, required
        self.seconds, self.args = seconds, args


class Scenario:
    def __init__(self):
        self.config = self.timeout = None
        self.memory, self.append = '1G', ''
        self.tests = []
        self.may_skip = {}      # (test, subtest) -> reason
        self.boot_again = None  # (accelerator, first version of QEMU without, reason)


def _test(words):
    if len(words) < 4:
        raise ScenarioError('test wants NAME KIND NEED SECONDS [ARGUMENT...]')
    name, kind, need, seconds = words[:4]
    if not re.fullmatch(r'[\w.-]+:[\w./-]+', name):
        raise ScenarioError(f'test name "{name}" is not COLLECTION:TEST')
    if kind not in ('ktap', 'exit'):
        raise ScenarioError(f'kind "{kind}" of {name} is neither ktap nor exit')
    if need not in ('required', 'optional'):
        raise ScenarioError(f'"{need}" of {name} is neither required nor optional')
    if not re.fullmatch('[1-9][0-9]*', seconds):
        raise ScenarioError(f'"{seconds}" of {name} is not a number of seconds')
    return Test(name, kind, need == 'required', int(seconds), words[4:])


def load(path):
    """Every word must be known: a typo must not switch a check off."""
    scenario, seen = Scenario(), set()
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file, 1):
            words = re.sub(r'(^|\s)#.*', '', line).split()
            if not words:
                continue
            key, rest = words[0], words[1:]
            try:
                if key in ('config', 'timeout', 'memory', 'append'):
                    if key in seen or not rest or (key != 'append' and len(rest) != 1):
                        raise ScenarioError(f'{key} wants one value, once')
                    setattr(scenario, key, ' '.join(rest))
                elif key == 'test':
                    test = _test(rest)
                    if test.name in [t.name for t in scenario.tests]:
                        raise ScenarioError(f'{test.name} stands here twice')
                    scenario.tests.append(test)
                elif key == 'may-skip':
                    if len(rest) < 3:
                        raise ScenarioError('may-skip wants TEST SUBTEST REASON...: the reason is not optional')
                    scenario.may_skip[rest[0], rest[1]] = ' '.join(rest[2:])
                elif key == 'boot-again':
                    if key in seen or len(rest) < 3:
                        raise ScenarioError('boot-again wants ACCELERATOR VERSION REASON..., once: the reason is not optional')
                    if rest[0] not in ('tcg', 'kvm') or not re.fullmatch('[1-9][0-9]*', rest[1]):
                        raise ScenarioError(f'"{rest[0]} {rest[1]}" of boot-again is not tcg or kvm with a major version')
                    scenario.boot_again = rest[0], int(rest[1]), ' '.join(rest[2:])
                else:
                    raise ScenarioError(f'unknown word "{key}"')
            except ScenarioError as error:
                raise ScenarioError(f'{path}:{number}: {error}') from None
            seen.add(key)
    if not scenario.config or not scenario.timeout or not scenario.tests:
        raise ScenarioError(f'{path}: config, timeout and at least one test are needed')
    if not re.fullmatch('[1-9][0-9]*', scenario.timeout):
        raise ScenarioError(f'{path}: timeout "{scenario.timeout}" is not a number of seconds')
    scenario.timeout = int(scenario.timeout)
    names = {t.name for t in scenario.tests}
    for test, _ in scenario.may_skip:
        if test not in names:
            raise ScenarioError(f'{path}: may-skip names {test}, which is no test here')
    return scenario


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    path, what = sys.argv[1:]
    try:
        scenario = load(path)
    except (ScenarioError, OSError) as error:
        sys.exit(f'scenario: error: {error}\nscenario: what to do: correct the file, its format is in '
                 'testbed/scenarios/README')
    if what == 'names':
        print('\n'.join(t.name for t in scenario.tests))
    elif what == 'list':
        print('\n'.join(' '.join([t.name, str(t.seconds)] + t.args) for t in scenario.tests))
    else:
        print({'config': scenario.config, 'timeout': scenario.timeout,
               'memory': scenario.memory, 'append': scenario.append}[what])


if __name__ == '__main__':
    main()
