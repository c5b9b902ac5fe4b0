# SPDX-License-Identifier: GPL-2.0
"""What the benchmark reads from its boots, and what it makes of the figures."""
import json
import sys
from typing import Any

import measured
from common import Case, named_cases
from patchset.common import Fail


def line(name: str, n: int, p50: float, **more: Any) -> str:
    return json.dumps({'row': name, 'n': n, 'samples': 9, 'min': p50, 'p50': p50, 'p99': p50, 'max': p50, **more})


def refuses(text: str, word: str) -> bool:
    try:
        measured.read(text, 'LOG')
    except Fail as error:
        return word in error.text
    return False


def test_rows_are_read_between_other_lines() -> None:
    found = measured.read(f'@@ boot\n{line("a", 1, 5)}\nwords\n{line("b", 2, 7)}\n', 'LOG')
    assert [(r['row'], r['p50']) for r in found] == [('a', 5), ('b', 7)], found


def test_a_log_without_rows_or_with_a_bad_one_is_an_error() -> None:
    assert refuses('@@ boot\n', 'no row')
    assert refuses(line('a', 1, 5)[:-9], 'cannot be read')
    assert refuses(line('a', 1, 5, p99='x'), 'cannot be read')
    assert refuses(line('a', 1, -5), 'cannot be read')


def test_ratios_are_of_medians_and_above_one_where_the_set_is_faster() -> None:
    boots = [(on, measured.read(line('a', 1, ns), 'LOG')) for on, ns in
             (('base', 100), ('set', 10), ('base', 120), ('set', 1000), ('base', 900), ('set', 12))]
    row, = measured.collect(boots)
    assert row.median('base', 'p50') == 120 and row.median('set', 'p50') == 12 and row.ratio('p50') == '10.00'


def test_the_table_has_a_ratio_only_where_it_means_something() -> None:
    boots = [(on, measured.read(f'{line("few", 0, 50)}\n{line("many", 64, ns, samples=100)}\n{line("none", 1, 0)}', 'LOG'))
             for on, ns in (('base', 1000), ('set', 100))]
    table = measured.markdown(measured.collect(boots))
    assert '| few | 0 | 50 ns (50 ns to 50 ns) | 50 ns (50 ns to 50 ns) | 1.00 | - | 1.00 |' in table, table
    assert '| many | 64 | 1 µs (1 µs to 1 µs) | 100 ns (100 ns to 100 ns) | 10.00 | 10.00 | 10.00 |' in table, table
    assert '| none | 1 | 0 ns (0 ns to 0 ns) | 0 ns (0 ns to 0 ns) | - | - | - |' in table, table


def test_the_plot_has_a_line_for_each_side_without_the_empty_vm() -> None:
    boots = [(on, measured.read('\n'.join(line('release', n, ns * n) for n in (16, 0, 1)), 'LOG')) for on, ns in
             (('base', 50), ('base', 70), ('set', 5))]
    script = measured.plot(measured.collect(boots), 'release', 'irqfds', 'p50', 'ns', '/o.svg')
    assert '\n1 60.0 50.0 70.0\n16 960.0 800.0 1120.0\ne\n1 5.0 5.0 5.0\n16 80.0 80.0 80.0\ne\n' in script, script


def test_there_is_no_plot_of_one_point_or_of_a_row_that_is_not_there() -> None:
    rows = measured.collect([(on, measured.read(line('release', 16, 5), 'LOG')) for on in ('base', 'set')])
    for name in ('release', 'another'):
        assert measured.plot(rows, name, 'irqfds', 'max', 'ns', '/o.svg') == ''


def test_times_are_rounded_into_their_unit() -> None:
    shown = [measured.time(ns) for ns in (999, 999.4, 999.6, 999400, 999600, 1e6, 12345678)]
    assert shown == ['999 ns', '999 ns', '1 µs', '999 µs', '1 ms', '1 ms', '12.3 ms'], shown


def test_a_row_that_a_boot_lacks_is_an_error() -> None:
    boots = [('base', measured.read(line('a', 1, 5), 'LOG')), ('set', measured.read(line('b', 1, 5), 'LOG'))]
    try:
        measured.collect(boots)
    except Fail as error:
        assert 'was measured in' in error.text
    else:
        raise AssertionError('nothing was noticed')


def cases() -> list[Case]:
    return named_cases(sys.modules[__name__], 'measured')
