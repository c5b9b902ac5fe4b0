# SPDX-License-Identifier: GPL-2.0
"""usage: series tree [--reject | --continue | --check]

Makes build/tree: a git worktree, branch `set`, with the base and one commit per patch.
Edit there with plain git (commit, commit --amend, rebase -i), then run refresh.
Nothing in it is ever overwritten before refresh has written it to the repository: run
refresh before you switch BASE.

  --reject    where a patch does not apply: stop there, with the rejects in build/tree
  --continue  after that has been resolved and committed: commit the other patches
  --check     only check: exit 1 when build/tree holds work that refresh has not written
environment: BASE, LINUX=DIR (see base --help)
"""
from __future__ import annotations

import argparse
import sys
from typing import Callable

from .. import chain, state
from ..common import GITDIR, ROOT, TREE, Fail, encode, make_hint, near, ref, say
from ..repository import listed, load, own
from ..source import base_commit
from ..worktree import admin, busy, checkout, dirty, heal, in_tree

MESSAGE = GITDIR / "patch-set-message"


def arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--reject", action="store_true", help=argparse.SUPPRESS)
    group.add_argument("--continue", dest="go_on", action="store_true", help=argparse.SUPPRESS)
    group.add_argument("--check", action="store_true", help=argparse.SUPPRESS)


def guard(clean_only: bool = False) -> None:
    """Refuses where build/tree holds work that the repository has not."""
    heal(TREE)
    tip, made = ref("refs/heads/set"), ref("refs/tree/made")
    name = state.remembered_base()[0] if made else ""
    gitdir = admin(TREE)
    if gitdir:
        doing = busy(gitdir)
        if doing:
            raise Fail("build/tree", f"is in the middle of a {doing}", "finish it, or git -C build/tree "
                       f"{doing.split(' ', maxsplit=1)[0]} --abort")
        if tip and in_tree(TREE, "symbolic-ref", "--quiet", "HEAD", check=False) != "refs/heads/set":
            raise Fail("build/tree", "is not on its branch set", "git -C build/tree switch set")
        if dirty(TREE):
            raise Fail("build/tree", f"has uncommitted changes, made for base {name}",
                       f"commit them there and run make refresh BASE={name}; to throw them away: git -C build/tree reset --hard")
    if not clean_only and tip and tip != made:
        raise Fail("build/tree", f"has commits for base {name} that refresh has not written to the repository",
                   f"make refresh BASE={name}; to throw them away: git -C build/tree reset --hard {(made or 'BASE')[:12]}")


def stop_at(error: chain.Misfit, tip: str, start: Callable[[str], None]) -> None:
    """Leaves build/tree at the commit before the patch that does not apply, with its rejects."""
    paths = list(listed())
    patch = load(error.path)
    chain.note(error.made)
    start(tip)
    state.save_rest(tip, paths[paths.index(error.path):])
    chain.rejects(tip, patch, TREE)
    MESSAGE.write_bytes(encode(patch.message))
    for path in patch.adds:
        source = ROOT / own(path)
        if not (TREE / path).exists() and source.is_file():
            (TREE / path).parent.mkdir(parents=True, exist_ok=True)
            (TREE / path).write_bytes(source.read_bytes())
            (TREE / path).chmod(source.stat().st_mode)
    say(f"tree: stopped before {error.path}. {error}\n"
        "What applies is applied in build/tree; the rest lies beside each file as FILE.rej. Now type:\n"
        "  cd build/tree       and edit until git diff shows the whole change; rm the .rej\n"
        f"  git add {' '.join([f for f, _ in patch.files] + patch.adds + ['MAINTAINERS'] * bool(patch.maintains))}\n"
        f"  git commit -F {MESSAGE}\n"
        f"  {make_hint('tree')} ARGS=--continue, and at its end: make refresh\n"
        "To give up: git -C build/tree reset --hard, then make tree on a base where all applies")
    sys.exit(1)


def go_on() -> None:
    at, rest = state.rest()
    if not rest:
        raise Fail("--continue", "nothing was stopped", "make tree")
    state.take_base()
    guard(clean_only=True)
    tip = ref("refs/heads/set")
    if not tip or tip == at:
        raise Fail(rest[0], "is not committed in build/tree yet", f"git add what belongs to it, then: git commit -F {MESSAGE}")
    if tip not in chain.noted():
        chain.note([(rest[0], tip)])
    try:
        more = chain.build(tip, rest[1:])
    except chain.Misfit as e:
        stop_at(e, e.tip or tip, lambda commit: checkout(TREE, commit, "set"))
        return
    chain.note(more)
    checkout(TREE, more[-1][1] if more else tip, "set")
    state.REST.unlink()
    say("build/tree is complete; look at it, then: make refresh")


def work(args: argparse.Namespace) -> None:
    if args.check:
        guard()
        return
    if args.go_on:
        go_on()
        return
    guard()
    base, what = base_commit()
    try:
        _, whole = state.commit_set(base)
    except chain.Misfit as e:
        if not args.reject or e.tip is None:
            raise
        stop_at(e, e.tip, lambda commit: state.to_tree(base, commit, what))
        return
    tip = whole[-1][1] if whole else base
    state.to_tree(base, tip, what)
    state.REST.unlink(missing_ok=True)
    say(f"{near(TREE)}: {len(whole)} commits on {what}")
    print(tip)
