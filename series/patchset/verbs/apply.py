# SPDX-License-Identifier: GPL-2.0
"""usage: LINUX=DIR series apply [--topic TOPIC] [--branch NAME]

Applies the set (or one topic) to your own git tree with git am, on a new branch. First it
is checked that everything applies to your HEAD, without touching your tree; a tree with
uncommitted changes is refused. When git am fails all the same, your branch is restored.

  --topic TOPIC  only this topic (also: TOPIC=)
  --branch NAME  the new branch (also: BRANCH=; default: patch-set-$BASE or patch-set-$BASE-TOPIC)
environment: LINUX=DIR, BASE, TOPIC, BRANCH
"""
from __future__ import annotations

import argparse
import os
import signal
import tempfile
from pathlib import Path

from .. import chain, mails
from ..common import Fail, environment, git, run, say
from ..repository import base_name, below, load, order, present, topic_named
from ..source import base_commit, is_git, linux_dir, user_git
from ..worktree import busy


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", default=os.environ.get("TOPIC"), help=argparse.SUPPRESS)
    parser.add_argument("--branch", default=os.environ.get("BRANCH"), help=argparse.SUPPRESS)


def guard(folder: Path, branch: str) -> None:
    given = f"LINUX={os.environ['LINUX']}"
    if not is_git(folder) or user_git(folder, "rev-parse", "--is-inside-work-tree", check=False) != "true":
        raise Fail(given, "is not a git tree with files checked out", "give the top of your git tree of Linux; for an unpacked "
                   "tarball: git init, git add -A -f, git commit")
    doing = busy(folder / user_git(folder, "rev-parse", "--git-dir"))
    if doing:
        raise Fail(given, f"is in the middle of a {doing}", "finish or abort it")
    left = user_git(folder, "status", "--porcelain", "--untracked-files=no")
    if left:
        raise Fail(given, f"has uncommitted changes:\n{left}", "commit or stash them")
    if user_git(folder, "rev-parse", "--quiet", "--verify", f"refs/heads/{branch}", check=False):
        raise Fail(given, f"has a branch {branch} already", f"choose another with BRANCH=NAME, or: git -C {os.environ['LINUX']} branch -D {branch}")
    if run(["git", "check-ref-format", "--branch", branch], check=False).returncode:
        raise Fail(f"BRANCH={branch}", "git takes no such name for a branch", "choose another name")
    done = run(["git", "-C", folder, "var", "GIT_COMMITTER_IDENT"], env=environment(neutral=False), check=False)
    if done.returncode:
        raise Fail(given, "git does not know who you are", "git config --global user.name and user.email")


def am(folder: Path, branch: str, files: list[str], tree: str) -> None:
    """git am on a new branch; on any failure all is as before."""
    head = user_git(folder, "rev-parse", "HEAD")
    before = user_git(folder, "symbolic-ref", "--quiet", "--short", "HEAD", check=False)
    argv = ["am", "--quiet", "--keep-cr", "--no-3way", "--no-scissors", "--empty=stop", "--whitespace=nowarn"]
    try:
        user_git(folder, "checkout", "--quiet", "--no-overwrite-ignore", "-b", branch)
        user_git(folder, *argv, *files)
        if user_git(folder, "rev-parse", "HEAD^{tree}") != tree:
            raise Fail("git am", "gave another tree than the set", "look at the hooks and settings of your git tree")
    except BaseException as e:
        old = {s: signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        user_git(folder, "am", "--abort", check=False)
        user_git(folder, "reset", "--quiet", "--hard", head, check=False)
        user_git(folder, "checkout", "--quiet", *([before] if before else ["--detach", head]), check=False)
        if user_git(folder, "rev-parse", "--quiet", "--verify", f"refs/heads/{branch}", check=False):
            user_git(folder, "branch", "--quiet", "-D", branch, check=False)
        for s, handler in old.items():
            signal.signal(s, handler)
        say(f"apply: your tree is back on {before or head[:12]}")
        if isinstance(e, Fail):
            raise Fail("git am", f"failed in {os.environ['LINUX']}: {e}", "your tree is as it was") from e
        raise


def work(args: argparse.Namespace) -> None:
    folder = linux_dir()
    if not folder:
        raise Fail("LINUX", "is not set", "make apply LINUX=DIR, with your own git tree of Linux")
    names = [topic_named(args.topic).name] if args.topic else [t.name for t in present()]
    if args.topic:
        names = below(args.topic) + names
    paths = [p for n in names for p in order(n)]
    if not paths:
        raise Fail("the set", f"has no patches for base {base_name()}", "nothing to apply; for another base: BASE=")
    branch = args.branch or f"patch-set-{base_name()}" + (f"-{args.topic}" if args.topic else "")
    guard(folder, branch)
    base, _ = base_commit()
    for path in paths:
        for new in load(path).adds:
            if os.path.lexists(folder / new):
                raise Fail(f"{os.environ['LINUX']}/{new}", f"is in the way: {path} adds it", "move it away")
    made = chain.build(base, paths, leave_out=True)
    if not made:
        raise Fail(os.environ["LINUX"], "has all of these patches already", "there is nothing to apply")
    tree = git("rev-parse", f"{made[-1][1]}^{{tree}}")
    with tempfile.TemporaryDirectory(prefix="series-") as temp:
        mine = chain.build(base, paths, who=mails.sender(), quiet=True, leave_out=True)
        am(folder, branch, [str(f) for f in mails.write(base, mine[-1][1], Path(temp))], tree)
    say(f"apply: {len(made)} patches on the new branch {branch} of {os.environ['LINUX']}")
