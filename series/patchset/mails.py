# SPDX-License-Identifier: GPL-2.0
"""A chain of commits as mails that git am and git send-email take."""
from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from email.header import Header
from email.utils import formataddr, parseaddr
from pathlib import Path
from typing import Optional

from .common import IDENT, ROOT, Fail, Who, encode, environment, git, run, say
from .patchfile import check_message, read_text
from .repository import cover_path

NETDEV_MOST = 15    # patches in a series


def configured() -> Optional[Who]:
    """The user's git identity, or None. What git would guess does not count."""
    done = run(["git", "-C", ROOT, "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"],
               env=environment(neutral=False), check=False)
    found = re.match(r"(.+) <(.+)> \d", done.stdout)
    return (found.group(1), found.group(2)) if found and not done.returncode else None


def sender() -> Who:
    """The user's git identity; a neutral one where none is configured."""
    return configured() or IDENT


def replace(new: Optional[Path], target: Path) -> None:
    """NEW takes the place of TARGET."""
    old = target.with_name(f".{target.name}.old")
    if old.exists() and not target.exists():    # a run before was killed between the two
        old.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    if new:
        new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def changes(file: Path, shown: str, version: int) -> str:
    """What a cover letter says of the versions up to VERSION: "Changes in v2:" and its lines."""
    todo = f"write into {shown} what differs from v{version - 1}: the line v{version}: and lines '- ...', above the sections of older ones"
    found: dict[int, list[str]] = {}
    at = 0
    for number, line in enumerate(read_text(file).split("\n") if file.is_file() else [], 1):
        head = re.fullmatch(r"v([1-9]\d*):", line)
        if head:
            older, at = at, int(head.group(1))
            if older and at >= older:
                raise Fail(f"{shown}:{number}", f"v{at} stands below v{older}", "put the newest section first, each once")
            found[at] = []
        elif line and not line.startswith("#"):
            if not at or not re.match(r"- \S" if not found[at] else r"- \S|  +\S", line):
                raise Fail(f"{shown}:{number}", f"is no line of a changelog: {line!r}", "write 'v2:', below it lines '- ...', gone on with by '  ...'")
            if len(line) > 75:
                raise Fail(f"{shown}:{number}", f"has {len(line)} columns", "wrap it at 75")
            found[at].append(line)
    if version > 1 and not found.get(version):
        raise Fail(shown, f"has no section v{version}" if file.is_file() else f"is not there, and v{version} wants its changes told", todo)
    if found and max(found) > version:
        say(f"NOTE: {shown} has a section v{max(found)}, this is v{version}")
    return "\n\n".join(f"Changes in v{n}:\n" + "\n".join(found[n]) for n in sorted(found, reverse=True) if 1 < n <= version)


@dataclass
class Sending:
    """What mails to be sent have beyond those that git am takes."""
    version: int = 1
    changes: str = ""
    before: Optional[tuple[str, str]] = None    # base and tip of the version before
    to: list[Who] = field(default_factory=list)
    cc: list[Who] = field(default_factory=list)

    def argv(self) -> list[str]:
        people = [f"--{kind}={formataddr(who)}" for kind in ("to", "cc") for who in getattr(self, kind)]
        again = [f"--reroll-count={self.version}"] if self.version > 1 else []
        if self.before:
            again.append("--range-diff=%s..%s" % self.before)
        return ["--signoff", *again, *people]


def _header(line: bytes) -> bytes:
    """A header of a cover letter, which git 2.39 leaves in UTF-8 where no commit message is."""
    if line.isascii():
        return line
    name, _, text = line.decode("utf-8").partition(": ")
    if name == "From":
        return f"From: {formataddr(parseaddr(text))}".encode()      # it quoted the name, too
    return f"{name}: {Header(text, 'utf-8', header_name=name).encode()}".encode()


def _declare(file: Path) -> None:
    """git declares an encoding for what a message has, not for what a diff or a description has."""
    head, gap, body = file.read_bytes().partition(b"\n\n")
    head = b"\n".join(map(_header, head.split(b"\n")))
    if not body.isascii() and b"\nContent-Type:" not in head:
        head += b"\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit"
    file.write_bytes(head + gap + body)


def write(base: str, tip: str, folder: Path, topic: str = "", what: str = "", prefix: str = "PATCH", who: Who = IDENT,
          sending: Optional[Sending] = None) -> list[Path]:
    """Writes base..tip into FOLDER; with TOPIC also its cover letter, with SENDING signed off by WHO. Returns the files."""
    argv = ["-c", "format.useAutoBase=false", "format-patch", "--quiet", "-o", str(folder), "--no-signature", "--zero-commit",
            "--full-index", "--no-renames", "--no-color", "--unified=3", "--diff-algorithm=myers", "--indent-heuristic",
            "--numbered", f"--subject-prefix={prefix}", "--src-prefix=a/", "--dst-prefix=b/", *(sending.argv() if sending else [])]
    if not topic:
        git(*argv, f"{base}..{tip}")
        return sorted(folder.glob("*.patch"))
    name = cover_path(topic)
    if not (ROOT / name).is_file():
        raise Fail(name, "is not there", "write the cover letter: a subject line, an empty line, the text")
    subject, _, body = read_text(ROOT / name).partition("\n")
    subject, body = subject.removeprefix("Subject: "), body.strip("\n")
    check_message(name, subject, body)
    if sending and sending.changes:
        body += f"\n\n{sending.changes}"
    branch = f"series-{topic}"
    date = "@" + git("show", "-s", "--format=%ct", tip) + " +0000"
    git("update-ref", f"refs/heads/{branch}", tip)
    try:
        git("-c", f"branch.{branch}.description={subject}\n\n{body}\n", *argv, "--cover-letter",
            "--cover-from-description=subject", f"--base={base}", f"{base}..{branch}",
            env={"GIT_COMMITTER_NAME": who[0], "GIT_COMMITTER_EMAIL": who[1], "GIT_COMMITTER_DATE": date})
    finally:
        git("update-ref", "-d", f"refs/heads/{branch}")
    cover = next(folder.glob("*0000-cover-letter.patch"))
    text = read_text(cover)
    if f"\nbase-commit: {base}\n" not in text:
        raise Fail(name, "git wrote no base-commit line", "this git is too old; 2.39 works")
    text = text.replace(f"\nbase-commit: {base}\n", f"\nbase-commit: {base}\nbase: {what}\n")
    cover.write_bytes(encode(text))
    for file in folder.glob("*.patch"):
        _declare(file)
    return sorted(folder.glob("*.patch"))
