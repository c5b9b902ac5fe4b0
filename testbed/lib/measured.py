# SPDX-License-Identifier: GPL-2.0
"""What the boots of a benchmark measured: reads the lines that the tests print, and compares
the base with the set."""
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from patchset.common import Fail

FIGURES = ('min', 'p50', 'p99', 'max')


@dataclass
class Row:
    """A row of a benchmark: for base and set, one value of each figure for each boot."""
    name: str
    n: int
    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def values(self, on: str, figure: str) -> list[float]:
        return self.found.get(on, {}).get(figure, [])

    def median(self, on: str, figure: str) -> float:
        return statistics.median(self.values(on, figure))

    def ratio(self, figure: str) -> str:
        """base/set, of medians over the boots. 99 of a hundred needs a hundred samples."""
        enough = figure != 'p99' or min(self.values('base', 'samples') + self.values('set', 'samples')) >= 100
        return f'{self.median("base", figure) / self.median("set", figure):.2f}' if enough and self.median('set', figure) else '-'

    def spread(self, on: str, figure: str, show: Callable[[float], str]) -> str:
        found = self.values(on, figure)
        return f'{show(min(found))} to {show(max(found))}'


def time(ns: float) -> str:
    for unit, size in (('s', 1e9), ('ms', 1e6), ('µs', 1e3)):
        if ns >= size * 0.9995:
            return f'{ns / size:.3g} {unit}'
    return f'{ns:.0f} ns'


def count(number: float) -> str:
    return f'{number:.0f}'


def read(text: str, log: str) -> list[dict[str, Any]]:
    """The rows of one boot's tests.log."""
    found = []
    for line in text.split('\n'):
        if not line.startswith('{"row"'):
            continue
        try:
            row = json.loads(line)
            if not all(isinstance(row[key], (int, float)) and row[key] >= 0 for key in ('n', 'samples', *FIGURES)):
                raise ValueError('a figure is not a number')
        except (ValueError, KeyError) as error:
            raise Fail(log, f'holds a row that cannot be read: {line}: {error}', 'look at what the test prints') from None
        found.append(row)
    if not found:
        raise Fail(log, 'holds no row of a benchmark', 'look at why the test printed none')
    return found


def collect(boots: list[tuple[str, list[dict[str, Any]]]]) -> list[Row]:
    """From (base or set, rows) of each boot. A row that one boot lacks is an error."""
    rows: dict[tuple[str, int], Row] = {}
    for on, found in boots:
        for r in found:
            row = rows.setdefault((r['row'], r['n']), Row(r['row'], r['n']))
            for figure in ('samples', *FIGURES):
                row.found.setdefault(on, {}).setdefault(figure, []).append(float(r[figure]))
    for on in ('base', 'set'):
        count = sum(o == on for o, _ in boots)
        for row in rows.values():
            if len(row.values(on, 'p50')) != count:
                raise Fail(row.name, f'was measured in {len(row.values(on, "p50"))} of {count} boots of the {on}', 'read the logs')
    return list(rows.values())


def plot(rows: list[Row], name: str, of: str, figure: str, unit: str, out: str) -> str:
    """A gnuplot script that draws a FIGURE of what NAME costs against the number OF things.
    Empty if there is no line to draw."""
    found = sorted((r for r in rows if r.name == name and r.n), key=lambda r: r.n)
    if len(found) < 2:
        return ''
    lines = ['set terminal svg size 640,420 dynamic background "white"', f'set output "{out}"', 'set logscale xy', 'set key top left',
             f'set title "{name}, {figure}: median and range of the boots"', f'set xlabel "{of}"', f'set ylabel "{unit}"',
             "plot '-' with yerrorlines title 'base', '-' with yerrorlines title 'set'"]
    for on in ('base', 'set'):
        lines += [f'{r.n} {r.median(on, figure)} {min(r.values(on, figure))} {max(r.values(on, figure))}' for r in found] + ['e']
    return ''.join(line + '\n' for line in lines)


def markdown(rows: list[Row], show: Callable[[float], str] = time) -> str:
    """The table: medians over the boots, and the range of the boots' medians."""
    lines = ['| what | n | base | set | base/set | base/set, p99 | base/set, max |', '|---|--:|--:|--:|--:|--:|--:|']
    for row in rows:
        cells = [row.name, str(row.n), *(f'{show(row.median(on, "p50"))} ({row.spread(on, "p50", show)})' for on in ('base', 'set')),
                 *(row.ratio(figure) for figure in ('p50', 'p99', 'max'))]
        lines.append(f'| {" | ".join(cells)} |')
    return ''.join(line + '\n' for line in lines)
