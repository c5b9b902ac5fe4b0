# SPDX-License-Identifier: GPL-2.0
"""What the boots of a benchmark measured: reads the lines that the tests print, and compares
the base with the set."""
import json
import statistics
from dataclasses import dataclass, field
from typing import Any

from patchset.common import Fail

FIGURES = ('min', 'p50', 'p99', 'max')


@dataclass
class Row:
    """A row of a benchmark: for base and set, one value of each figure for each boot."""
    name: str
    irqfds: int
    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def values(self, on: str, figure: str) -> list[float]:
        return self.found.get(on, {}).get(figure, [])

    def median(self, on: str, figure: str) -> float:
        return statistics.median(self.values(on, figure))

    def ratio(self, figure: str, floor: dict[str, float] | None = None) -> float:
        """base/set, of medians over the boots; FLOOR is taken off both."""
        low = floor or {}
        return (self.median('base', figure) - low.get('base', 0)) / max(self.median('set', figure) - low.get('set', 0), 1)

    def spread(self, on: str, figure: str) -> str:
        found = self.values(on, figure)
        return f'{time(min(found))} to {time(max(found))}'


def time(ns: float) -> str:
    for unit, size in (('s', 1e9), ('ms', 1e6), ('µs', 1e3)):
        if ns >= size:
            return f'{ns / size:.3g} {unit}'
    return f'{ns:.0f} ns'


def read(text: str, log: str) -> list[dict[str, Any]]:
    """The rows of one boot's tests.log."""
    found = []
    for line in text.split('\n'):
        if not line.startswith('{"row"'):
            continue
        try:
            row = json.loads(line)
            if not all(isinstance(row[key], (int, float)) and row[key] >= 0 for key in ('irqfds', 'samples', *FIGURES)):
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
            row = rows.setdefault((r['row'], r['irqfds']), Row(r['row'], r['irqfds']))
            for figure in FIGURES:
                row.found.setdefault(on, {}).setdefault(figure, []).append(float(r[figure]))
    for on in ('base', 'set'):
        count = sum(o == on for o, _ in boots)
        for row in rows.values():
            if len(row.values(on, 'p50')) != count:
                raise Fail(row.name, f'was measured in {len(row.values(on, "p50"))} of {count} boots of the {on}', 'read the logs')
    return list(rows.values())


def markdown(rows: list[Row]) -> str:
    """The table: medians over the boots, and the range of the boots' medians."""
    lines = ['| what | irqfds | base | set | base/set | base/set, p99 | base/set, max |', '|---|--:|--:|--:|--:|--:|--:|']
    empty = {r.name: {on: r.median(on, 'p50') for on in ('base', 'set')} for r in rows if r.irqfds == 0}
    for row in rows:
        floor = empty.get(row.name) if row.irqfds else None
        # What is hardly more than the empty VM would leave a difference of noise.
        if floor and any(row.median(on, 'p50') < 2 * floor[on] for on in ('base', 'set')):
            floor = None
        cells = [row.name + (', less the empty VM' if floor else ''), str(row.irqfds or ''),
                 *(f'{time(row.median(on, "p50"))} ({row.spread(on, "p50")})' for on in ('base', 'set')),
                 f'{row.ratio("p50", floor):.2f}', *(f'{row.ratio(figure):.2f}' for figure in ('p99', 'max'))]
        lines.append(f'| {" | ".join(cells)} |')
    return ''.join(line + '\n' for line in lines)
