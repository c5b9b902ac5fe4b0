# SPDX-License-Identifier: GPL-2.0
"""usage: series checkout REV [--to DIR]

Checks a commit of build/git out to build/$BASE/src, the worktree that kernels are built
from, and prints its hash. Only files that differ are touched. REV: a hash,
set/$BASE/base, set/$BASE/all, set/$BASE/TOPIC, or set (the branch of build/tree).

  --to DIR  another worktree of build/git, made if it is not there
environment: BASE
"""
from __future__ import annotations

import argparse
from pathlib import Path

from ..common import BUILD, TREE, Fail, near, ref
from ..repository import base_name
from ..worktree import admin, checkout, dirty, heal


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rev", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)


def work(args: argparse.Namespace) -> None:
    folder = (args.to or BUILD / base_name() / "src").resolve()
    shown = near(folder)
    commit = ref(args.rev)
    if not commit:
        raise Fail(args.rev, "is no commit of build/git", "make it first: series/series commits, or make tree")
    if folder == TREE:
        raise Fail(shown, "is the contributor's", "make tree")
    folder.parent.mkdir(parents=True, exist_ok=True)
    heal(folder)
    if admin(folder) and dirty(folder):
        raise Fail(shown, f"has changed files:\n{dirty(folder)}", "this folder is the testbed's own; edit in build/tree. "
                   f"To throw the changes away: git -C {shown} reset --hard")
    checkout(folder, commit)
    print(commit)
