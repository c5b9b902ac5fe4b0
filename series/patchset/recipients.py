# SPDX-License-Identifier: GPL-2.0
"""The patched tree's own scripts, asked about mails: who gets them, and what checkpatch says.

They run in a folder with the few files that they read, without git and the user's settings."""
from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from email.utils import parseaddr
from pathlib import Path
from typing import Iterator, Optional, Sequence, Union

from .common import BUILD, Fail, Who, environment, git, run

# Files and folders that they read; the empty folders make them believe in a kernel tree.
READ = ("scripts", "MAINTAINERS", ".get_maintainer.ignore", ".mailmap", "COPYING", "CREDITS", "Kbuild", "Makefile", "README",
        "Documentation/dev-tools/checkpatch.rst", "include/linux", "include/asm-generic", "include/uapi/linux")
STAND = ("Documentation", "arch", "include", "drivers", "fs", "init", "ipc", "kernel", "lib")
GET = "scripts/get_maintainer.pl"
ONLY = {"maintainers": ("--no-r", "--no-l"), "reviewers": ("--no-m", "--no-l"), "lists": ("--no-m", "--no-r"), "all": ()}


@contextlib.contextmanager
def tools(base: str, tip: str) -> Iterator[Path]:
    """A folder with these files of TIP and what base..tip touches; gone afterwards."""
    touched = git("diff", "--name-only", "--no-renames", "--diff-filter=d", base, tip).split("\n")
    with tempfile.TemporaryDirectory(prefix="mail-", dir=BUILD) as folder:
        tree, index = Path(folder) / "tree", Path(folder) / "index"
        tree.mkdir()
        there = git("ls-tree", "-z", "--name-only", tip, "--", *READ, *touched).split("\0")
        git(f"--work-tree={tree}", "checkout", "--quiet", tip, "--", *(f":(literal){p}" for p in there if p),
            env={"GIT_INDEX_FILE": str(index)})
        for name in STAND:
            (tree / name).mkdir(exist_ok=True)
        yield tree


def _perl(tree: Path, argv: Sequence[Union[str, Path]], check: bool = True) -> subprocess.CompletedProcess[str]:
    # no .get_maintainer.conf or .checkpatch.conf of the user's, and not the git that stands around it
    env = {**environment(), "HOME": str(tree), "GIT_DIR": str(tree / "none")}
    return run(["perl", *argv], env=env, cwd=tree, check=check)


def ask(tree: Path, files: Sequence[Path], which: str = "all") -> list[Who]:
    """[(name, address)] of get_maintainer.pl for patches, each address once."""
    if not (tree / GET).is_file():
        raise Fail(GET, "is not in the patched tree", "give a whole kernel tree: LINUX=DIR")
    done = _perl(tree, [GET, "--nogit", "--nogit-fallback", "--norolestats", "--no-fixes", *ONLY[which], *files])
    if done.stderr.strip():
        raise Fail(GET, f"complains: {done.stderr.strip()}", "see what is wrong with the patched MAINTAINERS")
    found: dict[str, Who] = {}
    for line in done.stdout.split("\n"):
        name, address = parseaddr(line.strip())
        if line.strip() and not re.fullmatch(r"[^\s@]+@[^\s@]+", address):
            raise Fail(GET, f"says a line without a mail address: {line!r}", "see what is wrong with the patched MAINTAINERS")
        if address:
            found.setdefault(address.lower(), (name, address))
    return list(found.values())


def recipients(tree: Path, files: Sequence[Path], sender: Who) -> list[list[Who]]:
    """(maintainers, reviewers, lists), nobody twice, and not who sends."""
    seen, kinds = {sender[1].lower()}, list[list[Who]]()
    for which in ("maintainers", "reviewers", "lists"):
        kinds.append([who for who in ask(tree, files, which) if who[1].lower() not in seen])
        seen |= {address.lower() for _, address in kinds[-1]}
    if not kinds[0] or not kinds[2]:
        raise Fail("MAINTAINERS", f"names no {'list' if kinds[0] else 'maintainer'} for the files that the topic touches",
                   "see what its entries cover: testbed/bin/check maintainers tells for each file")
    return kinds


def checkpatch(tree: Path, mails: Sequence[bytes]) -> list[list[str]]:
    """What checkpatch --strict says of each of MAILS (bytes), sign-offs included.
    UNKNOWN_COMMIT_ID: a base is one commit, without the history that a Fixes: is in.
    FILE_PATH_CHANGES comes with each new file; checks/maintainers looks for its entry, and
    checks/patches for typing errors, which takes long."""
    if not (tree / "scripts/checkpatch.pl").is_file():
        raise Fail("scripts/checkpatch.pl", "is not in the patched tree", "give a whole kernel tree: LINUX=DIR")
    said: list[list[str]] = [[] for _ in mails]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{n:04}" for n in range(len(mails))]
        for file, mail in zip(files, mails):
            file.write_bytes(mail)
        done = _perl(tree, ["scripts/checkpatch.pl", "--strict", "--terse", "--no-summary", "--show-types", "--ignore", "FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID",
                            *files], check=False) if files else None
    for line in (done.stdout + done.stderr).split("\n") if done else []:
        found = re.match(re.escape(folder) + r"/(\d+):(\d+.*)", line)
        if found:
            said[int(found.group(1))].append(found.group(2))
        elif line.strip("- ") and not re.fullmatch(re.escape(folder) + r"/\d+", line):
            said[0].append(line)
    if done and done.returncode and not any(said):
        said[0].append(f"exit {done.returncode}")
    return said


class Scripts:
    """Their answers about one topic, over any number of copies of its mails."""

    def __init__(self, base: str, tip: str, tree: Path):
        self.tree = tree
        self.heard: dict[bytes, list[str]] = {}
        self.wanted: Optional[set[str]] = None
        self.base, self.tip = base, tip

    def everybody(self) -> set[str]:
        """The addresses that get_maintainer.pl gives for the commits themselves: in mails, a
        keyword could match the headers that name other people."""
        if self.wanted is None:
            with tempfile.TemporaryDirectory() as folder:
                git("format-patch", "--quiet", "-o", folder, f"{self.base}..{self.tip}")
                self.wanted = {a.lower() for _, a in ask(self.tree, sorted(Path(folder).glob("*.patch")))}
        return self.wanted

    def style(self, mails: Sequence[bytes]) -> list[list[str]]:
        new = [m for m in dict.fromkeys(mails) if m not in self.heard]
        self.heard.update(zip(new, checkpatch(self.tree, new)))
        return [self.heard[m] for m in mails]
