# SPDX-License-Identifier: GPL-2.0
"""Golden consoles and golden runs, with what is to be made of each beside it.

golden/splats/NAME.log with NAME.expect: the reports in a console.
golden/runs/NAME/ as testbed/bin/vm leaves it, with the file expect: the scenario's
verdict, then a row a line. Its scenario is golden/runs/scenario, or its own."""
import os

import console
import judge
import scenariofile
from common import GOLDEN, TESTBED, read, same

POLICY = console.Policy.load(os.path.join(TESTBED, 'splats'))


def reports(path):
    lines = []
    for r in console.scan(read(path).split('\n'), POLICY, '').reports:
        more = 'lost' if r.kind == 'lost' else 'allowed' if r.allowed else '-'
        lines.append('\t'.join([r.fingerprint(POLICY.skip), r.section, more]))
    return ''.join(line + '\n' for line in lines)


def rows(path):
    own = os.path.join(path, 'scenario')
    scenario = scenariofile.load(own if os.path.exists(own) else os.path.join(GOLDEN, 'runs', 'scenario'))
    result = judge.judge(path, scenario, 'golden', POLICY)
    lines = [result['verdict']]
    for r in result['rows']:
        lines.append('\t'.join([r['verdict'], r['test'], r['subtest'] or '-', r['fingerprint'] or '-', r['reason'] or '-']))
    return '\n'.join(lines) + '\n'


def check(function, path, expect):
    same(function(path), read(expect), path)


def cases():
    out = []
    base = os.path.join(GOLDEN, 'splats')
    for name in sorted(os.listdir(base)):
        if name.endswith('.log'):
            path = os.path.join(base, name)
            out.append((f'splats: {name[:-4]}', lambda p=path: check(reports, p, p[:-4] + '.expect')))
    base = os.path.join(GOLDEN, 'runs')
    for name in sorted(os.listdir(base)):
        path = os.path.join(base, name)
        if os.path.isdir(path):
            out.append((f'run: {name}', lambda p=path: check(rows, p, os.path.join(p, 'expect'))))
    return out
