# SPDX-License-Identifier: GPL-2.0
"""Which versions of a topic were sent: series/BASE/TOPIC.sent, a line "vN COMMIT BASE" each.

COMMIT is the repository's, which held the patches; BASE the version of the base's package,
or the commit of LINUX=DIR. From the two the commits that were sent are made again."""
from __future__ import annotations

import re
import tarfile
import tempfile
from pathlib import Path
from typing import Optional

from . import chain
from .common import ROOT, Fail, Who, environment, ref, run
from .package import Package
from .patchfile import read_text
from .repository import base_name, inputs, order
from .source import linux_dir
from .state import start_of

Sent = tuple[int, str, str]     # version, commit of the repository, base
HEAD = "# SPDX-License-Identifier: GPL-2.0\n# The versions sent: the commit of this repository, the version of the base.\n"


def _path(topic: str) -> str:
    return f"series/{base_name()}/{topic}.sent"


def versions(topic: str) -> list[Sent]:
    """What was sent, oldest first."""
    name, found = _path(topic), list[Sent]()
    for line in read_text(ROOT / name).split("\n") if (ROOT / name).is_file() else []:
        match = re.fullmatch(r"v(\d+) ([0-9a-f]{40}) (\S+)", line)
        if match and int(match.group(1)) == len(found) + 1:
            found.append((len(found) + 1, match.group(2), match.group(3)))
        elif line and not line.startswith("#"):
            raise Fail(name, f"cannot be read: {line!r}", "write lines 'vN COMMIT BASE', from v1 on, each once")
    return found


def record(topic: str, base: str) -> str:
    """Adds a line for what HEAD holds; returns the file's name."""
    left = run(["git", "-C", ROOT, "status", "--porcelain", "--", *inputs()], env=environment()).stdout
    if left:
        raise Fail(topic, f"has patches that are not committed:\n{left.rstrip()}", "commit what you have sent, and run again")
    head = run(["git", "-C", ROOT, "rev-parse", "HEAD"], env=environment()).stdout.strip()
    package, have = Package(), versions(topic)
    known = {package.ref_of(v): v for v in package.imported()}
    where = base if linux_dir() else next((v for name, v in known.items() if ref(name) == base), base)
    (ROOT / _path(topic)).write_text((read_text(ROOT / _path(topic)) if have else HEAD) + f"v{len(have) + 1} {head} {where}\n")
    return _path(topic)


def again(topic: str, version: int, who: Who) -> Optional[tuple[str, str]]:
    """(base, tip) of what was sent as VERSION; None where nothing was recorded."""
    found = next((s for s in versions(topic) if s[0] == version), None)
    if not found:
        return None
    _, commit, where = found
    base = (ref(where) if re.fullmatch("[0-9a-f]{40}", where) else Package().fetch(where))
    if not base or run(["git", "-C", ROOT, "cat-file", "-e", commit], env=environment(), check=False).returncode:
        raise Fail(_path(topic), f"v{version}: {where if not base else commit} is not here",
                   "fetch it: the base by LINUX=DIR, a commit of this repository with git fetch --unshallow")
    with tempfile.TemporaryDirectory(prefix="sent-") as folder:
        tar, root = Path(folder) / "tar", Path(folder) / "root"
        run(["git", "-C", ROOT, "archive", "--output", tar, "--format=tar", commit], env=environment())
        with tarfile.open(tar) as archive:
            archive.extractall(root)
        start = start_of(base, topic, root)
        return start, chain.build(start, order(topic, root), root, who=who, quiet=True)[-1][1]
