# SPDX-License-Identifier: GPL-2.0
"""Mails that are spoiled in one way each, with the checks of patchset.mailcheck that must find
it, and identities that nobody may send with."""
from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

Change = Callable[[bytes], bytes]


def first(pattern: bytes, new: bytes) -> Change:
    return lambda text: re.sub(pattern, new, text, count=1, flags=re.M)


def each(pattern: bytes, new: bytes) -> Change:
    return lambda text: re.sub(pattern, new, text, flags=re.M)


def carriage_returns(text: bytes) -> bytes:
    head, mark, diff = text.partition(b'\ndiff --git')
    return head + mark + diff.replace(b'\n', b'\r\n')


@dataclass
class Fault:
    name: str
    found_by: tuple[str, ...]       # these and no others; empty: all of them
    where: str                      # patch, cover, folder, or box: what arrived
    change: Optional[Change] = None


FAULTS = [
    Fault('unsigned', ('signed off', 'checkpatch'), 'patch', each(rb'^Signed-off-by: .*\n', b'')),
    Fault('signed twice', ('signed off', 'messages are the commits'), 'patch',
          first(rb'^(Signed-off-by:) .*\n', rb'\g<0>\1 Another <another@mail.test>\n')),
    Fault('other sender', ('one sender', 'signed off'), 'patch', each(rb'check@mail\.test', b'another@mail.test')),
    Fault('wrong prefix', ('subject prefix',), 'patch', first(rb'^(Subject: \[PATCH)[^]]*? (\d+/\d+\])', rb'\1 other \2')),
    Fault('wrong subject', ('subjects are the commits',), 'patch', first(rb'^(Subject: \[[^]]*\] )', rb'\1Re-')),
    Fault('changelog', ('messages are the commits',), 'patch', first(rb'\n\n\S', b'\n\nX')),
    Fault('Latin 1', ('encoding', 'signed off', 'checkpatch'), 'patch', each('^(Signed-off-by: .*)ü'.encode(), b'\\1\xfc')),
    Fault('replacement character', ('encoding', 'messages are the commits'), 'patch', first(rb'^Signed-off-by: ', b'\xef\xbf\xbd\n\\g<0>')),
    Fault('undeclared', ('encoding',), 'patch', each(rb'^Content-T.*\n', b'')),
    Fault('spaces for tabs', ('diffs are the commits', 'apply without fuzz', 'checkpatch'), 'patch', each(rb'^\+\t', b'+        ')),
    Fault('trailing space', ('diffs are the commits', 'apply without fuzz', 'checkpatch'), 'patch', first(rb'^(\+\t.*;)$', rb'\1 ')),
    Fault('carriage returns', ('encoding', 'diffs are the commits', 'apply without fuzz', 'checkpatch'), 'patch', carriage_returns),
    # The context farthest from the change: patch -F takes it, git apply does not.
    Fault('fuzz', ('diffs are the commits', 'apply without fuzz'), 'patch', first(rb'^(@@ .*\n.*)$', rb'\1 moved')),
    Fault('list missing', ('recipients',), 'patch', each(rb'^    linux-kernel@vger\.kernel\.org,*\n', b'')),
    Fault('somebody more', ('recipients',), 'patch', first(rb'^Cc: ', b'Cc: another@mail.test, ')),
    Fault('mail missing', ('numbering complete', 'apply without fuzz'), 'patch'),
    Fault('no mail', (), 'folder'),
    Fault('no base', ('cover letter',), 'cover', each(rb'^base-commit: .*\n', b'')),
    Fault('diffstat', ('cover letter',), 'cover', first(rb' files? changed, ', rb'\g<0>1')),
    Fault('thread', ('thread',), 'box', first(rb'^In-Reply-To: <', rb'\g<0>x')),
    Fault('same Message-ID', ('thread',), 'box', each(rb'^(Message-I[Dd]: .*)-[0-9]*-check@', rb'\1-1-check@')),
    Fault('envelope', ('envelope',), 'box', first(rb'^X-RcptTo: [^,]*, *', b'X-RcptTo: ')),
]

# name, address, what the refusal says
IDENTITIES = [line.split('|') for line in """\
linux patch set|patch-set@localhost|nobody's
Your Name|person@mail.test|nobody's
root|person@mail.test|nobody's
A Person|you@example.com|where no mail arrives
A Person|person@mail.example|where no mail arrives
A Person|person@host.invalid|where no mail arrives
A Person|person@localhost|where no mail arrives
A Person|person@machine|no domain
A Person|person@machine.(none)|where no mail arrives
A Person|you@mail.test|placeholder
A Person|person|no mail address""".split('\n')]


def victim(folder: Path) -> Path:
    """The mail that is spoiled: the second patch, or the next one with what the faults need."""
    mails = sorted(p for p in folder.iterdir() if not p.name.startswith('0000-'))
    fit = [m for m in mails if re.search(rb'^\+\t.*;$', m.read_bytes(), re.M) and re.search(rb'^@@ -[1-9].*\n ', m.read_bytes(), re.M)]
    late = [m for m in fit if m != mails[0]]
    return (late or fit or mails)[0]


def spoil(fault: Fault, mails: Path, box: Path, to: Path) -> tuple[Path, str]:
    """A spoiled copy in the folder TO, named as its label in mailcheck; and what is wrong with the fault."""
    place = to / fault.name.replace(' ', '_')
    if fault.where == 'box':
        place.write_bytes(box.read_bytes())
        target = place
    else:
        shutil.copytree(mails, place)
        target = next(place.glob('0000-*')) if fault.where == 'cover' else place / victim(mails).name
    if fault.where == 'folder':
        for mail in place.iterdir():
            mail.unlink()
    elif fault.change is None:
        target.unlink()
    else:
        before = target.read_bytes()
        target.write_bytes(fault.change(before))
        if target.read_bytes() == before:
            return place, f'nothing was spoiled in {target.name}'
    return place, ''
