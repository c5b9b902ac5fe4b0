# SPDX-License-Identifier: GPL-2.0
"""A .patch file: one commit without its author. Read, checked, written."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Optional

from .common import Fail

HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
Files = list[tuple[str, list[tuple[str, str]]]]     # [(path, [(hunk header, hunk text)])]
MAIL_BREAK = re.compile(r"(?:---(?:\s|$)|diff -|Index: )")


@dataclass
class Patch:
    subject: str
    body: str
    adds: list[str] = field(default_factory=list)
    diff: str = ""
    files: Files = field(default_factory=list)      # the existing files that the hunks touch
    maintains: dict[str, list[str]] = field(default_factory=dict)   # {entry of MAINTAINERS: the F: lines that it gets}

    @property
    def message(self) -> str:
        return self.subject + "\n" + (f"\n{self.body}\n" if self.body else "")

    def text(self) -> str:
        body = f"{self.body}\n\n" if self.body else ""
        adds = "".join(f"Adds: {a}\n" for a in self.adds)
        maintains = "".join(f"Maintains: {m}\n" for m in sorted(self.maintains))
        return f"Subject: {self.subject}\n\n{body}{adds}{maintains}---\n{self.diff}"


def read_text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def check_path(name: str, path: str) -> None:
    """A path of the kernel tree, plain enough to stand in a diff unquoted."""
    if path.startswith("/") or any(p in ("", ".", "..", ".git") for p in path.split("/")) or \
            re.search(r'[\x00-\x1f"\\\x7f]', path):
        raise Fail(name, f"bad path {path!r}", "use a plain relative path of the kernel tree")


def check_message(name: str, subject: str, body: str) -> None:
    """What git am would cut or read otherwise cannot stand in a changelog."""
    if not subject.strip() or subject != subject.strip():
        raise Fail(name, "has no subject, or one with spaces at its ends", "reword the commit")
    if re.match(r"(?:>?From|Date|Subject): ", body, re.I) or body.startswith(">From"):
        raise Fail(name, "the changelog starts with a mail header", "reword its first line")
    for line in body.split("\n"):
        if MAIL_BREAK.match(line):
            raise Fail(name, f"the changelog has the line {line!r}, where git am ends a changelog", "indent that line")
        if re.match("Signed-off-by:", line, re.I):
            raise Fail(name, f"the changelog has the line {line!r}", "take it out: a person signs when sending, not in the repository")
        if line.startswith(("Adds: ", "Maintains: ")):
            raise Fail(name, f"the changelog has the line {line!r}; its first word is the patch file's own", "reword that line")


def parse_diff(name: str, diff: str) -> Files:
    """The existing files a diff touches."""
    def fail(cause: str, todo: str = "make the change with git in build/tree, then make refresh") -> NoReturn:
        raise Fail(name, cause, todo)
    lines = diff.split("\n")
    if lines.pop():
        fail("does not end with a newline")
    files: Files = []
    at = 0
    while at < len(lines):
        head = re.fullmatch(r"diff --git a/(.+) b/\1", lines[at])
        if not head:
            fail(f"expected 'diff --git a/FILE b/FILE' (no renames), found {lines[at]!r}")
        path: str = head.group(1)
        hunks: list[tuple[str, str]] = []
        check_path(name, path)
        if path in (f[0] for f in files):
            fail(f"{path} occurs twice")
        files.append((path, hunks))
        at += 1
        while at < len(lines) and not lines[at].startswith(("@@ ", "diff --git ")):
            line = lines[at]
            if line.startswith("new file mode"):
                fail(f"creates {path} in a hunk", f"put the file at {path} and name it in a line 'Adds: {path}'")
            if line.startswith(("Binary files", "GIT binary patch")):
                fail(f"{path} is a binary file", "a patch set holds text only")
            if not line.startswith(("old mode ", "new mode ", "deleted file mode ", "index ", "--- ", "+++ ")):
                fail(f"{path}: does not belong into a diff: {line!r}")
            if line.startswith(("--- ", "+++ ")) and line[4:].rstrip("\t") not in ("/dev/null", f"a/{path}", f"b/{path}"):
                fail(f"{path}: names another file: {line!r}")
            at += 1
        while at < len(lines) and lines[at].startswith("@@ "):
            first, found = at, HUNK.match(lines[at])
            if not found:
                fail(f"{path}: bad hunk header {lines[at]!r}")
            old, new = (int(found.group(i) or 1) for i in (2, 4))
            at, lead, changed = at + 1, 0, False
            while (old > 0 or new > 0) and at < len(lines):
                kind = lines[at][:1]
                if kind not in ("+", "-", " ", "\\", ""):
                    break
                old -= kind in ("-", " ", "")
                new -= kind in ("+", " ", "")
                changed = changed or kind in ("+", "-")
                lead += not changed
                at += 1
            if at < len(lines) and lines[at].startswith("\\ "):
                at += 1
            if old or new:
                fail(f"{path}: hunk {len(hunks) + 1} has not the number of lines that its header says")
            if lead < 3 and int(found.group(1)) > 1:
                fail(f"{path}: hunk {len(hunks) + 1} has {lead} lines of context before the change, not 3")
            hunks.append((lines[first], "\n".join(lines[first:at]) + "\n"))
    return files


def parse(name: str, text: str) -> Patch:
    """A Patch from a .patch file's text."""
    def fail(cause: str) -> NoReturn:
        raise Fail(name, cause, "make the change with git in build/tree, then make refresh")
    head, mark, diff = text.partition("\n---\n")
    if not mark:
        fail("has no line '---' after the changelog")
    lines = head.split("\n")
    if not lines[0].startswith("Subject: ") or (len(lines) > 1 and lines[1]):
        fail("does not start with 'Subject: ...' and an empty line")
    subject, lines = lines[0][len("Subject: "):], lines[2:]
    adds: list[str] = []
    maintains: dict[str, list[str]] = {}
    while lines and lines[-1].startswith(("Adds: ", "Maintains: ")):
        word, _, what = lines.pop().partition(": ")
        if word == "Maintains":
            maintains[what] = []
            continue
        adds.insert(0, what)
        check_path(name, what)
    body = "\n".join(lines).strip("\n")
    check_message(name, subject, body)
    files = parse_diff(name, diff) if diff else []
    if not adds and not files and not maintains:
        fail("changes nothing")
    if "MAINTAINERS" in (f[0] for f in files):
        fail("has a hunk of MAINTAINERS, which would not fit another base; its lines stand in the file MAINTAINERS")
    both = set(adds) & {f[0] for f in files} or {a for a in adds if adds.count(a) > 1}
    if both:
        fail(f"{both.pop()} is named twice")
    return Patch(subject, body, adds, diff, files, maintains)


def _numberless(diff: str) -> list[str]:
    def plain(line: str) -> str:
        found = HUNK.match(line)
        return f"@@ -,{found.group(2) or 1} +,{found.group(4) or 1}" if found else line
    return [plain(line) for line in diff.split("\n") if not re.match(r"index [0-9a-f]+\.\.", line)]


def renumber(old: str, made: Optional[str], new: str) -> str:
    """OLD when NEW differs from it in line numbers only, with those numbers that the
    contributor moved (MADE -> NEW) moved alike; NEW when more differs."""
    if _numberless(old) != _numberless(new):
        return new
    if made is None or _numberless(made) != _numberless(new):
        return old

    def starts(text: str) -> list[list[int]]:
        return [[int(m.group(1)), int(m.group(3))] for m in map(HUNK.match, text.split("\n")) if m]
    moved = iter([(n[0] - m[0], n[1] - m[1]) for n, m in zip(starts(new), starts(made))])

    def shift(line: str) -> str:
        found = HUNK.match(line)
        if not found:
            return line
        by = next(moved)
        n = [int(found.group(1)) + by[0], int(found.group(3)) + by[1]]
        counts = ["," + c if (c := found.group(i)) is not None else "" for i in (2, 4)]
        return f"@@ -{n[0]}{counts[0]} +{n[1]}{counts[1]} @@" + line[found.end():]
    return "\n".join(map(shift, old.split("\n")))
