# SPDX-License-Identifier: GPL-2.0
"""A mail of a series, taken apart by hand where bytes count: the parsers of Python's email
package turn line ends and broken bytes into something else."""
from __future__ import annotations

import email
import mailbox
import quopri
import re
from dataclasses import dataclass
from email.header import decode_header, make_header
from email.utils import getaddresses, parseaddr
from pathlib import Path
from typing import Union

from .common import Fail

SUBJECT = re.compile(r"\[(.+) (\d+)/(\d+)\] (.*)")


def _decoded(text: str) -> str:
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, UnicodeError, ValueError):
        return ""


@dataclass
class Mail:
    name: str
    raw: bytes

    def __post_init__(self) -> None:
        self.head, _, self.wire = self.raw.partition(b"\n\n")
        self.msg = email.message_from_bytes(self.head + b"\n\n")
        how = self.header("Content-Transfer-Encoding").lower()
        self.body = quopri.decodestring(self.wire) if how == "quoted-printable" else self.wire
        found = SUBJECT.fullmatch(self.header("Subject"))
        self.prefix, self.number, self.of, self.subject = (found.group(1), int(found.group(2)), int(found.group(3)), found.group(4)) \
            if found else ("", -1, -1, self.header("Subject"))
        self.message, _, rest = (b"\n" + self.body).partition(b"\n---\n")
        at = rest.find(b"\ndiff --git ")
        self.diff = rest[at + 1:].rstrip(b"\n") + b"\n" if at >= 0 else b""

    def _unfolded(self, name: str) -> list[str]:
        return [re.sub(r"\r?\n[ \t]+", " ", str(v)) for v in self.msg.get_all(name, [])]

    def header(self, name: str) -> str:
        """A header's text, unfolded and decoded; empty when it is not there or twice."""
        found = self._unfolded(name)
        return _decoded(found[0]) if len(found) == 1 else ""

    def sender(self) -> tuple[str, str]:
        """(name, address). Taken apart before it is decoded: a name may hold a comma."""
        found = self._unfolded("From")
        name, address = parseaddr(found[0]) if len(found) == 1 else ("", "")
        return _decoded(name), address

    def people(self, *names: str) -> set[str]:
        return {a.lower() for _, a in getaddresses([v for n in names for v in self._unfolded(n)]) if a}


def read(where: Union[str, Path]) -> list[Mail]:
    """The mails of a folder of .patch files, a Maildir or an mbox, by their numbers."""
    path = Path(where)
    if not path.exists():
        raise Fail(str(where), "is not there", "give a folder of mails or an mbox")
    if path.is_file():
        box = mailbox.mbox(path, create=False)
        found = [Mail(f"{path.name}#{k}", box.get_bytes(k)) for k in box.keys()]
    else:
        found = [Mail(f.name, f.read_bytes()) for f in sorted([*path.glob("*.patch"), *path.glob("new/*"), *path.glob("cur/*")])]
    return sorted(found, key=lambda m: m.number)
