# SPDX-License-Identifier: GPL-2.0
"""usage: series mail --topic TOPIC [--sent | --version N] [--tip COMMIT] [--out DIR] [--changes FILE] [--check]

Prepares a topic for git send-email, and sends nothing: signed off by the user's git
identity, To: and Cc: as the patched tree's get_maintainer.pl says, the subject prefix of
series/$BASE/base. The mails stand in out/$BASE/mail/TOPIC, from version 2 on in
TOPIC-vN; an old folder is replaced once the new mails have passed their checks.
Prints who would get them, and the command that sends them.

  --topic TOPIC   the topic
  --sent          write nothing; remember in series/$BASE/TOPIC.sent that the mails last
                  prepared were sent. The next ones are then the next version, with a
                  range-diff against these, and series/TOPIC.changes says in a section "vN:",
                  lines "- ...", what is new
  --version N     this version whatever was sent, for tests
  --tip COMMIT    write nothing if the topic's last commit is not this one, which was checked
  --out DIR       write to DIR/TOPIC instead, for tests
  --changes FILE  read that instead of series/TOPIC.changes, for tests
  --check         only say what is missing that needs no kernel tree: identity, prefix, changes
environment: BASE, LINUX=DIR (see base --help)
"""
from __future__ import annotations

import argparse
import os
import shlex
import tempfile
from pathlib import Path

from .. import chain, identity, mailcheck, mails, recipients, sent
from ..common import OUT, ROOT, Fail, Steps, Who, git, make_hint, near, ref, say
from ..repository import base_name, order, prefix_of, topic_named
from ..source import base_commit
from ..state import commit_set, start_of, what_below

# To whom they go is what their headers say, whatever sendemail.suppressCc is set to: "all" would
# drop the Cc: headers. What is suppressed is what git would add: author and sign-off are who
# sends, perhaps under another address of sendemail.from.
SEND = "git send-email --confirm=always --thread --no-chain-reply-to --suppress-cc=author --suppress-cc=self --suppress-cc=body"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topic", required=True, help=argparse.SUPPRESS)
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--version", type=int, help=argparse.SUPPRESS)
    group.add_argument("--sent", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tip", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("--changes", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)


def show(maintainers: list[Who], reviewers: list[Who], lists: list[Who]) -> None:
    for title, rows in (("people", [("To", maintainers), ("Cc", reviewers)]), ("lists", [("Cc", lists)])):
        print(f"\n{title}:")
        for header, whom in rows:
            for name, address in whom:
                print(f"  {header}: " + (f"{name} <{address}>" if name else address))


def prepare(args: argparse.Namespace, who: Who, changes: str, base: str, what: str, folder: Path, target: Path) -> None:
    """Writes the mails into FOLDER, checks them, and puts them at TARGET."""
    topic, step = args.topic, Steps(3)
    # What it stands on is the set's, as in the refs, not of the person's making.
    base, what = start_of(base, topic), what_below(topic, what)
    tip = chain.build(base, order(topic), who=who, quiet=True)[-1][1]
    step("asking get_maintainer.pl of the patched tree for the recipients")
    plain = folder / "plain"
    plain.mkdir()
    with recipients.tools(base, tip) as tree:
        whom = recipients.recipients(tree, mails.write(base, tip, plain), who)
    step("writing the mails")
    new = folder / target.name
    new.mkdir()
    sending = mails.Sending(args.version, changes, sent.again(topic, args.version - 1, who), whom[0], whom[1] + whom[2])
    files = mails.write(base, tip, new, topic, what, prefix_of(topic), who, sending)
    step(f"checking {len(files)} mails")
    wrong = [f"{name}\n" + "\n".join(f"  {p}" for p in problems)
             for name, problems in mailcheck.check(topic, base, ref(f"refs/set/{base_name()}/{topic}") or "", [new], args.version) if problems]
    kept = target.with_name(f".{target.name}.bad")
    mails.replace(new if wrong else None, kept)
    if wrong:
        raise Fail(near(target), "not written, these checks of the mails fail:\n" + "\n".join(wrong), f"look at them in {near(kept)}")
    mails.replace(new, target)
    print(f"{near(target)}: a cover letter and {len(files) - 1} patches from {who[0]} <{who[1]}>, checked")
    show(*whom)


def work(args: argparse.Namespace) -> None:
    topic_named(args.topic)
    who = identity.person()
    name = f"refs/mail/{base_name()}/{args.topic}"
    if args.sent:
        base, _ = base_commit()
        commit_set(base, leave_out=True)
        if not ref(name) or ref(name) != ref(f"refs/set/{base_name()}/{args.topic}"):
            raise Fail(args.topic, "the patches are not those that mails were last prepared of", "bring back what was sent, or run mail again")
        file = sent.record(args.topic, base)
        git("update-ref", "-d", name)
        say(f"{file}: v{len(sent.versions(args.topic))} was sent; commit that file")
        return
    if args.version is None:
        args.version = len(sent.versions(args.topic)) + 1
    if args.version < 1:
        raise Fail(f"--version {args.version}", "is no version", "give 1, 2, 3, ...")
    shown = f"series/{args.topic}.changes"
    changes = mails.changes(Path(args.changes or ROOT / shown), args.changes or shown, args.version)
    prefix_of(args.topic)
    if args.check:
        return
    base, what = base_commit()
    commit_set(base, leave_out=True)
    if args.tip and ref(f"refs/set/{base_name()}/{args.topic}") != args.tip:
        raise Fail(args.topic, "its patches changed while they were checked, so no mail is written", "run again")
    place = Path(args.out).resolve() if args.out else OUT / base_name() / "mail"
    place.mkdir(parents=True, exist_ok=True)
    target = place / (args.topic + (f"-v{args.version}" if args.version > 1 else ""))
    with tempfile.TemporaryDirectory(prefix=".mail-", dir=place) as folder:
        prepare(args, who, changes, base, what, Path(folder), target)
    if not args.out:
        git("update-ref", name, ref(f"refs/set/{base_name()}/{args.topic}") or "")
    if not os.environ.get("LINUX"):
        say(f"NOTE: base-commit {base[:12]} is {what} as build/git imported it: nobody else has that commit, so neither a bot nor\n"
            "  git am --3way can start from it; the line base: tells what it is. To send against a tree that others have, say where\n"
            "  your clone of it is: make mail LINUX=DIR, with the commit checked out that you send against.")
    print(f"\nNothing was sent. Read the mails; --dry-run shows what would go out. Then, from {ROOT}:\n\n  {SEND} {shlex.quote(near(target))}/*.patch"
          f"\n\nAfterwards, so that the next version knows of this one:\n\n  {make_hint('mail')} TOPIC={args.topic} ARGS=--sent")
