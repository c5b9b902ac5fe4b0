# SPDX-License-Identifier: GPL-2.0
"""usage: series commits [--topic TOPIC] [--onto REV FILE...]

Turns the repository's patches into commits in build/git, on the base, and prints the
last one. The same input gives the same hashes on every machine. No patch is fuzzed; a
hunk that applies at another line is named on stderr.

  --topic TOPIC       print the tip of this topic, on the base and the topics that it stands on
  --onto REV FILE...  instead: commit the .patch FILEs (paths in the repository) onto REV
Left in build/git: refs set/$BASE/base, set/$BASE/all, set/$BASE/TOPIC.
environment: BASE, LINUX=DIR (see base --help)
"""
from __future__ import annotations

import argparse
from pathlib import Path

from .. import chain
from ..common import Fail, near, ref
from ..repository import base_name, topic_named
from ..source import base_commit
from ..state import commit_set


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", help=argparse.SUPPRESS)
    parser.add_argument("--onto", help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", help=argparse.SUPPRESS)


def work(args: argparse.Namespace) -> None:
    if bool(args.onto) != bool(args.files):
        raise Fail("--onto REV FILE...", "needs both", "give a commit and at least one .patch file")
    if args.onto:
        start = ref(args.onto)
        if not start:
            raise Fail(args.onto, "is no commit of build/git", f"give a hash, or set/{base_name()}/all")
        print(chain.build(start, [near(Path(f)) if Path(f).is_absolute() else f for f in args.files])[-1][1])
        return
    if args.topic:
        topic_named(args.topic)
    commit_set(base_commit()[0], leave_out=True)
    print(ref(f"refs/set/{base_name()}/{args.topic or 'all'}"))
