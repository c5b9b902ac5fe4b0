# SPDX-License-Identifier: GPL-2.0
"""What must hold of a topic's mails, prepared or received. The commits of build/git,
made without a sender, are what they are held against; a kind of check that finds nothing
to look at has failed."""
from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Iterator, Sequence, Union

from . import identity, recipients
from .common import GITDIR, ROOT, Fail, encode, environment, git, run
from .mailfile import Mail, read
from .mails import NETDEV_MOST
from .patchfile import read_text
from .repository import cover_path, prefix_of

DIFF = ("--full-index", "--no-renames", "--no-color", "--no-ext-diff", "--unified=3", "--diff-algorithm=myers", "--indent-heuristic",
        "--src-prefix=a/", "--dst-prefix=b/")


Findings = list[tuple[str, list[str]]]     # [(name of a check, what is wrong)]


class Checks:
    """Each method that begins with on_ is a check: it yields what is wrong."""

    def __init__(self, scripts: recipients.Scripts, topic: str, mails: Sequence[Mail], version: int = 1, received: bool = False):
        self.scripts, self.topic, self.mails = scripts, topic, mails
        self.base, self.tip = scripts.base, scripts.tip
        self.version, self.received = version, received
        self.prefix = prefix_of(topic) + (f" v{version}" if version > 1 else "")
        self.cover_text = read_text(ROOT / cover_path(topic))
        self.commits = git("rev-list", "--reverse", f"{self.base}..{self.tip}").split()
        self.patches = [(m, self.commits[m.number - 1]) for m in mails if 1 <= m.number <= len(self.commits)]
        self.covers = [m for m in mails if m.number == 0]
        self.sender = mails[0].sender() if mails else ("", "")

    def on_numbering_complete(self) -> Iterator[str]:
        want = list(range(len(self.commits) + 1))
        got = [m.number for m in self.mails]
        if got != want:
            yield f"the mails are {got}, the topic's are {want}"
        yield from (f"{m.name}: says /{m.of}, there are {len(self.commits)} patches" for m in self.mails if m.of != len(self.commits))
        if not self.commits:
            yield "there is no patch"
        netdev = git("diff", "--name-only", self.base, self.tip, "--", "net")
        if netdev and len(self.commits) > NETDEV_MOST:
            yield f"{len(self.commits)} patches, netdev takes no more than {NETDEV_MOST} at a time"

    def on_subject_prefix(self) -> Iterator[str]:
        yield from (f"{m.name}: [{m.prefix}], not [{self.prefix}]" for m in self.mails if m.prefix != self.prefix)

    def on_subjects_are_the_commits(self) -> Iterator[str]:
        want = [(m, git("show", "-s", "--format=%s", c)) for m, c in self.patches]
        want += [(m, self.cover_text.partition("\n")[0].removeprefix("Subject: ")) for m in self.covers]
        yield from (f"{m.name}: {m.subject!r}, not {w!r}" for m, w in want if m.subject != w)

    def on_one_sender(self) -> Iterator[str]:
        yield from (f"{m.name}: From {m.sender()}, not {self.sender}" for m in self.mails if m.sender() != self.sender)
        if identity.flaw(*self.sender):
            yield f"{self.sender} {identity.flaw(*self.sender)}"

    def on_signed_off(self) -> Iterator[str]:
        line = f"Signed-off-by: {self.sender[0]} <{self.sender[1]}>".encode()
        for m, _ in self.patches:
            found = re.findall(rb"(?im)^[ \t]*signed-off-by:.*", m.message)
            if found != [line] or m.message.rstrip(b"\n").split(b"\n")[-1] != line:
                yield f"{m.name}: signed off by {found}, not at its end by {line!r} alone"
        yield from (f"{m.name}: a cover letter is not signed off" for m in self.covers if b"signed-off-by:" in m.body.lower())

    def on_messages_are_the_commits(self) -> Iterator[str]:
        for m, commit in self.patches:
            want = encode(git("show", "-s", "--format=%b", commit)).strip(b"\n")
            if re.sub(rb"\nSigned-off-by: .*$", b"", m.message.rstrip(b"\n")).strip(b"\n") != want:
                yield f"{m.name}: its changelog is not that of {commit[:12]}"
        for m in self.mails:
            yield from (f"{m.name}: {line!r}: where mail is kept as mbox, a line that begins with From comes out as >From; reword it"
                        for line in m.body.decode("utf-8", "replace").split("\n") if line.startswith("From "))

    def on_cover_letter(self) -> Iterator[str]:
        for m in self.covers:
            text = m.body.decode("utf-8", "replace")
            wanted = [f"\nbase-commit: {self.base}\nbase: ", self.cover_text.partition("\n")[2].strip("\n"),
                      *([f"\nChanges in v{self.version}:\n- "] if self.version > 1 else [])]
            yield from (f"{m.name}: lacks {w[:60]!r}" for w in wanted if w not in text)
            stat = git("diff", "--shortstat", "--no-renames", self.base, self.tip).strip()
            if stat not in text:
                yield f"{m.name}: its diffstat does not say {stat!r}"
            if "*** " in m.raw.decode("utf-8", "replace"):
                yield f"{m.name}: has a *** of git's to fill in"
        if len(self.covers) != 1:
            yield f"{len(self.covers)} cover letters"

    def on_encoding(self) -> Iterator[str]:
        for m in self.mails:
            how, kind = m.header("Content-Transfer-Encoding").lower(), m.header("Content-Type").lower()
            if how not in ("", "7bit", "8bit", "quoted-printable") or (not m.wire.isascii() and how != "8bit"):
                yield f"{m.name}: Content-Transfer-Encoding {how or 'not declared'}"
            if not m.body.isascii() and not re.fullmatch(r'text/plain; charset="?utf-8"?', kind):
                yield f"{m.name}: Content-Type {kind or 'not declared'}, not UTF-8"
            if not m.head.isascii():
                yield f"{m.name}: a header has bytes beyond ASCII"
            try:
                if "\ufffd" in m.body.decode("utf-8") + "".join(m.header(h) for h in ("From", "Subject")):
                    yield f"{m.name}: has U+FFFD, where another character was"
            except UnicodeDecodeError as e:
                yield f"{m.name}: byte {e.start} of the body is not UTF-8"
            if max(map(len, m.raw.split(b"\n"))) > 998:
                yield f"{m.name}: has a line longer than 998 bytes"
            if b"\r" in m.raw or b"\0" in m.raw:
                yield f"{m.name}: has CR or NUL"

    def on_diffs_are_the_commits(self) -> Iterator[str]:
        for m, commit in self.patches:
            want = encode(git("diff", *DIFF, f"{commit}^", commit)) + b"\n"
            if m.diff != want:
                line = next((n for n, (a, b) in enumerate(zip(m.diff.split(b"\n"), want.split(b"\n")), 1) if a != b), "behind the end")
                yield f"{m.name}: its diff is not that of {commit[:12]}, from line {line} of it on"

    def on_recipients(self) -> Iterator[str]:
        want = self.scripts.everybody() - {self.sender[1].lower()}
        for m in self.mails:
            yield from (f"{m.name}: To and Cc lack {a}" for a in sorted(want - m.people("To", "Cc")))
            yield from (f"{m.name}: To and Cc have {a}, whom get_maintainer.pl does not name"
                        for a in sorted(m.people("To", "Cc") - want - {self.sender[1].lower()}))
            if not m.people("To"):
                yield f"{m.name}: nobody in To"

    def on_apply_without_fuzz(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="index-", dir=GITDIR) as folder:
            env = {**environment(), "GIT_DIR": str(GITDIR), "GIT_INDEX_FILE": f"{folder}/index"}
            run(["git", "read-tree", self.base], env=env)
            for m in self.mails:
                if m.number == 0:
                    continue
                run(["git", "mailinfo", "--encoding=UTF-8", f"{folder}/message", f"{folder}/patch"], data=m.raw, env=env)
                done = run(["git", "-c", "core.attributesFile=/dev/null", "apply", "--cached", "--whitespace=nowarn", f"{folder}/patch"],
                           env=env, check=False)
                if done.returncode:
                    yield f"{m.name}: {done.stderr.strip()}"
                    return
            if run(["git", "write-tree"], env=env).stdout.strip() != git("rev-parse", f"{self.tip}^{{tree}}"):
                yield "the tree after the last one is not the topic's"

    def on_checkpatch(self) -> Iterator[str]:
        said = self.scripts.style([m.head + b"\n\n" + m.body for m, _ in self.patches])
        yield from (f"{m.name}: {line}" for (m, _), lines in zip(self.patches, said) for line in lines)

    def on_thread(self) -> Iterator[str]:
        ids = [m.header("Message-ID") for m in self.mails]
        if len(set(ids)) != len(ids) or not all(re.fullmatch(r"<[^<>\s]+@[^<>\s]+>", i) for i in ids):
            yield f"Message-IDs are missing, or not each its own: {ids}"
        first = self.covers[0].header("Message-ID") if self.covers else "no cover letter"
        for m in self.mails:
            got = m.header("In-Reply-To"), m.header("References")
            if got != (("", "") if m.number == 0 else (first, first)):
                yield f"{m.name}: In-Reply-To and References are {got}, the cover letter is {first}"

    def on_envelope(self) -> Iterator[str]:
        for m in self.mails:
            want, got = m.people("To", "Cc") - {self.sender[1].lower()}, m.people("X-RcptTo")
            if got != want:
                yield f"{m.name}: sent to {sorted(got)}, its headers name {sorted(want)}"

    def run(self) -> Findings:
        found = []
        for name in self.names(self.received):
            try:
                wrong = list(getattr(self, name)()) if self.patches else ["there is no mail of a patch to look at"]
            except Fail as e:
                wrong = [e.text]
            found.append((f"{self.topic}: {name[3:].replace('_', ' ')}", wrong))
        return found

    @classmethod
    def names(cls, received: bool) -> list[str]:
        return [n for n in cls.__dict__ if n.startswith("on_") and (received or n not in ("on_thread", "on_envelope"))]


def check(topic: str, base: str, tip: str, places: Sequence[Union[str, Path]], version: int = 1, received: bool = False) -> Findings:
    """What all PLACES with mails lack."""
    found = Findings()
    with recipients.tools(base, tip) as tree:
        scripts = recipients.Scripts(base, tip, tree)
        for place in places:
            label = f"{Path(place).name}: " if len(places) > 1 else ""
            found += [(label + name, wrong) for name, wrong in Checks(scripts, topic, read(place), version, received).run()]
    return found
