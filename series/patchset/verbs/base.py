# SPDX-License-Identifier: GPL-2.0
"""usage: series base [--version VERSION | --list]

Imports the base into build/git and prints its commit.
The base is the pinned version of series/$BASE/base, from Debian's archive through
apt (the newest one there if that is gone), or LINUX=DIR: a git tree's HEAD or an
unpacked tarball.

  --version VERSION  another version of the package: 6.12.107, or with its revision
  --list             the oldest, the pinned and the newest version in the archive
environment: BASE (default 6.12), LINUX=DIR, NO_INSTALL=1 (never run apt-get update
on the system's own lists)
"""
from __future__ import annotations

import argparse

from ..common import Fail
from ..package import Package
from ..source import base_commit


def arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--version", help=argparse.SUPPRESS)
    group.add_argument("--list", action="store_true", help=argparse.SUPPRESS)


def work(args: argparse.Namespace) -> None:
    package = Package()
    if args.list:
        there = package.archive()
        pinned = package.of_upstream(there, package.pinned)
        print(f"oldest {there[0]}\n" + (f"pinned {pinned}\n" if pinned else "") + f"newest {there[-1]}")
    elif args.version:
        version = package.of_upstream(package.imported(), args.version)
        if not version:
            there = package.archive()
            version = package.of_upstream(there, args.version)
            if not version:
                raise Fail(f"{package.name} {args.version}", "is not in the archive", f"there is: {', '.join(there)}")
        print(package.fetch(version))
    else:
        print(base_commit()[0])
