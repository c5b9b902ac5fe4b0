# SPDX-License-Identifier: GPL-2.0
"""usage: series format [--topic TOPIC] [--prefix PREFIX]

Writes out/$BASE/TOPIC/0000-cover-letter.patch, 0001-....patch for each topic, as git
send-email and git am (git am --empty=drop, for the cover letter) take them. Each topic
applies to the base, or on top of the topics that it stands on (series/topics). The old
folder is replaced when the new one is complete.

  --topic TOPIC    only this topic
  --prefix PREFIX  the subject prefix (default: PATCH)
environment: BASE, LINUX=DIR (see base --help)
"""
from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .. import mails
from ..common import OUT, near, say
from ..repository import base_name, topic_named, topics
from ..source import base_commit
from ..state import commit_set, start_of, what_below


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", help=argparse.SUPPRESS)
    parser.add_argument("--prefix", default="PATCH", help=argparse.SUPPRESS)


def work(args: argparse.Namespace) -> None:
    if args.topic:
        topic_named(args.topic)
    base, what = base_commit()
    who = mails.sender()
    made = {topic.name: own for topic, _, own in commit_set(base, who=who, keep=False, leave_out=True)[0] if own}
    folder = OUT / base_name()
    folder.mkdir(parents=True, exist_ok=True)
    for name in [args.topic] if args.topic else [t.name for t in topics()]:
        target = folder / name
        if name not in made:
            mails.replace(None, target)
            continue
        with tempfile.TemporaryDirectory(prefix=".series-", dir=folder) as temp:
            new = Path(temp) / name
            new.mkdir()
            files = mails.write(start_of(base, name, who=who), made[name][-1][1], new, name, what_below(name, what), args.prefix, who)
            mails.replace(new, target)
        say(f"{near(target)}: a cover letter and {len(files) - 1} patches from {who[0]} <{who[1]}>")
        print(near(target))
    if not made:
        say(f"the set has no patches for base {base_name()}: nothing to write")
