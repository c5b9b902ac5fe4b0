# SPDX-License-Identifier: GPL-2.0
"""Prints verdicts as a table for people, and as tab-separated rows."""
import json
from pathlib import Path
from typing import Any

from rows import Row, row
from machine import shown

COLUMNS = ('scenario', 'test', 'subtest', 'verdict', 'seconds', 'fingerprint', 'reason', 'log')
WORDS = (('PASS', 'passed'), ('FAIL', 'failed'), ('ERROR', 'errors'), ('SKIP', 'skipped'))
WIDTH = 100


class Listed:
    """A row with the scenario or check that it is of, and where its log is."""

    def __init__(self, what: str, found: Row, log: Path) -> None:
        self.what, self.row, self.log = what, found, shown(log)


def load(folder: Path) -> tuple[str, list[Listed]]:
    """A run's verdict and rows. A folder without a verdict is an ERROR, never a silence."""
    try:
        result: dict[str, Any] = json.loads((folder / 'verdict.json').read_text(encoding='utf-8'))
        rows, verdict, name = list(result['rows']), str(result['verdict']), str(result['scenario'])
    except FileNotFoundError:
        rows, verdict, name = [row('(verdict)', 'ERROR', 'there is none')], 'ERROR', folder.name
    except (OSError, ValueError, KeyError) as error:
        rows, verdict, name = [row('(verdict)', 'ERROR', f'no verdict: {error}')], 'ERROR', folder.name
    found = []
    for r in rows:
        log = folder / ('tests.log' if ':' in r['test'] and not r['fingerprint'] else 'console.log')
        found.append(Listed(name, r, log if log.exists() else folder))
    return verdict, found


def clean(value: object) -> str:
    return ' '.join(str('' if value is None else value).split())


def count(verdicts: list[str]) -> str:
    return ', '.join(f'{verdicts.count(v)} {word}' for v, word in WORDS)


def table(rows: list[Listed], everything: bool = False) -> str:
    """A line for each test, and for each subtest that did not pass, with what it said."""
    lines, under = [('SCENARIO', 'TEST', 'VERDICT', 'SECONDS', 'LOG')], ['']
    for item in rows:
        r = item.row
        if r['subtest'] and not everything and r['verdict'] not in ('FAIL', 'ERROR'):
            continue
        subs = [i.row for i in rows if i.what == item.what and i.row['test'] == r['test'] and i.row['subtest']]
        test = f'  {r["subtest"]}' if r['subtest'] else r['test']
        if subs and not r['subtest']:
            test += f' ({sum(s["verdict"] == "PASS" for s in subs)}/{len(subs)})'
        lines.append((item.what, test, r['verdict'], clean(r['seconds']), item.log))
        reason = '' if r['verdict'] == 'PASS' else clean(r['reason'])
        more = [f'      {reason[:WIDTH - 3]}...' if len(reason) > WIDTH else f'      {reason}'] if reason else []
        under.append(''.join(f'{text}\n' for text in more + [f'      | {s.rstrip()}' for s in r['said']]))
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    text = ''
    for line, more_text in zip(lines, under):
        cells = [c.rjust(w) if i == 3 else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths))]
        text += '  '.join(cells).rstrip() + '\n' + more_text
    return text


def totals(verdicts: list[str], rows: list[Listed]) -> str:
    tests = [i.row['verdict'] for i in rows if not i.row['subtest'] and i.row['test'] not in ('(machine)', '(verdict)')]
    subtests = [i.row['verdict'] for i in rows if i.row['subtest']]
    return f'scenarios: {count(verdicts)}\ntests:     {count(tests)}\nsubtests:  {count(subtests)}\n'


def write_tsv(path: Path, rows: list[Listed]) -> None:
    with open(path, 'w', encoding='utf-8') as file:
        print(*COLUMNS, sep='\t', file=file)
        for item in rows:
            r = item.row
            print(*(clean(v) for v in (item.what, r['test'], r['subtest'], r['verdict'], r['seconds'], r['fingerprint'],
                                       r['reason'], item.log)), sep='\t', file=file)
