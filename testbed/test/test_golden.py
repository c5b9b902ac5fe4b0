# SPDX-License-Identifier: GPL-2.0
"""Golden consoles and golden runs, with what is to be made of each beside it.

golden/splats/NAME.log with NAME.expect: the reports in a console.
golden/runs/NAME/ as testbed/bin/vm leaves it, with the file expect: the scenario's
verdict, then a row a line. Its scenario is golden/runs/scenario, or its own."""
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import console
import judge
import scenariofile
from common import GOLDEN, TESTBED, Case, read, same

POLICY = console.Policy.load(os.path.join(TESTBED, 'splats'))


def reports(path: str) -> str:
    lines = []
    for r in console.scan(read(path).split('\n'), POLICY, '').reports:
        more = 'lost' if r.kind == 'lost' else 'allowed' if r.allowed else '-'
        lines.append('\t'.join([r.fingerprint(POLICY.skip), r.section, more]))
    return ''.join(line + '\n' for line in lines)


def rows(path: str) -> str:
    own = os.path.join(path, 'scenario')
    scenario = scenariofile.load(own if os.path.exists(own) else os.path.join(GOLDEN, 'runs', 'scenario'))
    scenario.name = 'golden'
    result = judge.judge(Path(path), scenario, POLICY)
    lines = [result['verdict']]
    for r in result['rows']:
        lines.append('\t'.join([r['verdict'], r['test'], r['subtest'] or '-', r['fingerprint'] or '-', r['reason'] or '-']))
    return '\n'.join(lines) + '\n'


def check(function: Callable[[str], str], path: str, expect: str) -> None:
    same(function(path), read(expect), path)


def cases() -> list[Case]:
    out: list[Case] = []
    base = os.path.join(GOLDEN, 'splats')
    for name in sorted(os.listdir(base)):
        if name.endswith('.log'):
            path = os.path.join(base, name)
            out.append((f'splats: {name[:-4]}', partial(check, reports, path, path[:-4] + '.expect')))
    base = os.path.join(GOLDEN, 'runs')
    for name in sorted(os.listdir(base)):
        path = os.path.join(base, name)
        if os.path.isdir(path):
            out.append((f'run: {name}', partial(check, rows, path, os.path.join(path, 'expect'))))
    return out
