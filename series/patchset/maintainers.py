# SPDX-License-Identifier: GPL-2.0
"""The F: lines that the set adds to the kernel's MAINTAINERS, under entries that are there.

MAINTAINERS grows and is edited all the time, so a hunk would not fit the next base: a
line goes to the place in its entry's F: lines where the kernel's parse-maintainers.pl
sorts it."""
from __future__ import annotations

from pathlib import Path
from typing import Optional

from .common import ROOT, Fail
from .patchfile import check_path, read_text

FILE = "MAINTAINERS"
Entries = dict[str, list[str]]     # {entry: [F: line]}
HEADER = """SPDX-License-Identifier: GPL-2.0

The lines that the set adds to the kernel's MAINTAINERS, each under an entry that is
there. A patch takes those of an entry by a line "Maintains: ENTRY".

"""


def sections(text: str) -> list[tuple[Optional[str], list[str]]]:
    """[(entry or None, [line])]: what stands before the first entry, and the entries, whole."""
    lines = text.split("\n")
    starts = [at - 1 for at in range(1, len(lines)) if _kind(lines[at]) and not _kind(lines[at - 1]) and lines[at - 1].strip()]
    bounds = [0, *starts, len(lines)]
    found = [(lines[a] if a in starts else None, lines[a:b]) for a, b in zip(bounds, bounds[1:])]
    return found if found[0][1] else found[1:]


def _kind(line: str) -> str:
    return line[0] if line[1:2] == ":" and "A" <= line[:1] <= "Z" else ""


def header(root: Path = ROOT) -> str:
    have = read_text(root / FILE) if (root / FILE).is_file() else ""
    first = sections(have)[0] if have else (None, HEADER[:-1].split("\n"))
    return "\n".join(first[1]) + "\n" if first[0] is None else HEADER


def ours(root: Path = ROOT) -> Entries:
    """{entry: [F: line]} of the repository's own file."""
    if not (root / FILE).is_file():
        return {}
    found: Entries = {}
    for entry, lines in sections(read_text(root / FILE)):
        if entry is None:
            continue
        lines = [line for line in lines[1:] if line.strip()]
        for line in lines:
            if not line.startswith("F:\t"):
                raise Fail(f"{FILE}, {entry}", f"holds {line!r}; only lines F:<tab>PATH can be added", "take it out")
            check_path(f"{FILE}, {entry}", line[3:].rstrip("/"))
        if entry in found or len(set(lines)) < len(lines):
            raise Fail(f"{FILE}, {entry}", "stands there twice, or a line of it does", "take the second out")
        found[entry] = lines
    return found


def text(entries: Entries, root: Path = ROOT) -> str:
    """The repository's file for {entry: [line]}; the head that people wrote stays."""
    return header(root) + "\n".join(f"{e}\n" + "".join(f"{line}\n" for line in sorted(lines)) for e, lines in sorted(entries.items()))


def splice(base: str, entries: Entries) -> str:
    """BASE with the lines in: each before the first F: line of its entry that sorts after it, or
    after the last. Raises ValueError with the cause."""
    found = sections(base)
    for entry, new in entries.items():
        fits = [lines for name, lines in found if name == entry]
        if len(fits) != 1:
            raise ValueError(f"{FILE} has {'no entry' if not fits else 'two entries'} {entry!r}")
        for line in new:
            there = [at for at, have in enumerate(fits[0]) if _kind(have) == "F"]
            if not there:
                raise ValueError(f"{FILE}: {entry!r} has no F: line")
            if line in fits[0]:
                raise ValueError(f"{FILE}: {entry!r} has {line!r} already")
            after = [at for at in there if fits[0][at] > line]
            fits[0].insert(after[0] if after else there[-1] + 1, line)
    return "\n".join(line for _, lines in found for line in lines)


def added(name: str, before: str, after: str) -> Entries:
    """{entry: [line]} that makes AFTER of BEFORE; refuses any other change."""
    old = {e: lines for e, lines in sections(before) if e}
    new = {e: lines for e, lines in sections(after) if e}
    found = {e: [line for line in lines if line not in old[e]] for e, lines in new.items() if e in old and lines != old[e]}
    try:
        same = splice(before, found) == after
    except ValueError:
        same = False
    if not same:
        raise Fail(name, f"changes {FILE} otherwise than by F: lines at their sorted place under entries that are there",
                   "move the lines to where LC_ALL=C sort puts them among the entry's F: lines, and take other changes out; "
                   "no entry and no person is the set's to add")
    return found
