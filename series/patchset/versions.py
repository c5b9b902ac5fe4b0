# SPDX-License-Identifier: GPL-2.0
"""The versions of the base in the archive that the set is to apply to."""
from __future__ import annotations

import hashlib
from typing import Callable

from .common import encode, ref, say
from .package import Package
from .repository import listed, load
from .source import base_commit, linux_dir

Candidate = tuple[str, Callable[[], str]]       # label, function that gives a commit


def touched() -> set[str]:
    found = {"Makefile"}
    for patch in map(load, listed()):
        found |= {f for f, _ in patch.files} | set(patch.adds) | ({"MAINTAINERS"} if patch.maintains else set())
    return found


def _part(package: Package, version: str) -> str:
    """A commit with the touched files of a version; the whole one where it is here."""
    whole = ref(package.ref_of(version))
    if whole:
        return whole
    only = touched()
    key = hashlib.sha256(encode("\n".join(sorted(only)))).hexdigest()[:12]
    return package.fetch(version, only, package.ref_of(version).replace("refs/base/", "refs/part/") + f"/{key}")


def candidates() -> list[Candidate]:
    """The oldest, the pinned and the newest version of the base's package; with LINUX=DIR that tree alone."""
    if linux_dir():
        return [("LINUX=DIR", lambda: base_commit()[0])]
    package = Package()
    there = package.archive()
    why: dict[str, list[str]] = {}
    pinned = package.of_upstream(there, package.pinned) or package.of_upstream(package.imported(), package.pinned)
    if not pinned:
        say(f"NOTE: the pinned {package.name} {package.pinned} is gone from the archive")
    for reason, version in (("oldest", there[0]), ("pinned", pinned), ("newest", there[-1])):
        if version:
            why.setdefault(version, []).append(reason)

    def getter(version: str) -> Callable[[], str]:
        return lambda: _part(package, version)
    return [(f"{package.name} {v} ({', '.join(reasons)})", getter(v)) for v, reasons in why.items()]
