# SPDX-License-Identifier: GPL-2.0
"""Repository -> commits in build/git: the same input gives the same hashes everywhere."""
from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Mapping, Optional, Sequence, Union

from .common import GITDIR, IDENT, NOTES, ROOT, Fail, Who, blob, encode, environment, git, make_hint, ref, run, say
from .maintainers import FILE as MAINTAINERS, splice
from .patchfile import Patch
from .repository import load, own

Made = list[tuple[str, str]]    # [(.patch file, commit)]


class Misfit(Fail):
    """A patch that does not apply: its .path, the last good commit .tip, and what was .made up to there."""

    def __init__(self, path: str, cause: str, todo: str):
        super().__init__(path, cause, todo)
        self.path, self.made = path, Made()
        self.tip: Optional[str] = None


def _git_apply(*args: str, env: Optional[Mapping[str, str]] = None, cwd: Union[str, Path, None] = None,
               data: str = "") -> subprocess.CompletedProcess[str]:
    return run(["git", "-c", "core.attributesFile=/dev/null", "apply", "--verbose", "--whitespace=nowarn", *args, "-"],
               env={**environment(), **(env or {})}, cwd=cwd, data=data, check=False)


def rejects(start: str, patch: Patch, folder: Path) -> str:
    """Applies what applies of a patch to copies of its files in FOLDER; the .rej lie beside.
    Returns what git says."""
    for path, _ in patch.files:
        if git("ls-tree", start, "--", path):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode(blob(f"{start}:{path}")))
    return _git_apply("--reject", cwd=folder, data=patch.diff, env={"GIT_CEILING_DIRECTORIES": str(folder.parent)}).stderr


def _misfit(start: str, file: str, patch: Patch) -> Misfit:
    """Says which hunk of which file fails, and shows it."""
    text = []
    with tempfile.TemporaryDirectory(prefix="series-") as folder:
        said = rejects(start, patch, Path(folder))
        for path, hunks in patch.files:
            part = said.partition(f"Checking patch {path}...\n")[2].partition("Checking patch ")[0]
            applied = said.partition(f"Applying patch {path} with ")[2].partition("Applying patch ")[0]
            numbers = [int(n) for n in re.findall(r"Rejected hunk #(\d+)", applied)]
            if numbers:
                for n in numbers:
                    text.append(f"hunk {n} of {len(hunks)} in {path} does not apply:\n"
                                + "".join(f"    {line}\n" for line in hunks[n - 1][1].rstrip("\n").split("\n")).rstrip("\n"))
            elif part.startswith("error: ") or f"error: {path}: " in said:
                text.append(re.findall(rf"error: ({re.escape(path)}: .*)", said)[0] if f"error: {path}: " in said
                            else part.split("\n")[0])
    cause = "\n".join(text) or said.strip()
    return Misfit(file, cause, f"make it fit by hand: {make_hint('tree')} ARGS=--reject   "
                  "(it stops at this patch, leaves the rejects in build/tree and says how to go on)")


def _report_offsets(file: str, patch: Patch, said: str) -> None:
    for path, hunks in patch.files:
        part = said.partition(f"Checking patch {path}...\n")[2].partition("Checking patch ")[0]
        for n, where, by in re.findall(r"Hunk #(\d+) succeeded at (\d+) \(offset (-?\d+) lines?\)", part):
            say(f"NOTE: {file}: hunk {n} of {len(hunks)} in {path} applies at line {where}, offset {by}")


def entry(here: Path) -> tuple[str, str]:
    """(mode, blob) of a file of the repository, kept in build/git."""
    if here.is_symlink():
        return "120000", git("hash-object", "-w", "--stdin", data=os.fsencode(os.readlink(here)))
    return ("100755" if here.stat().st_mode & stat.S_IXUSR else "100644"), git("hash-object", "-w", "--no-filters", "--", str(here))


def _add_files(file: str, patch: Patch, root: Path, env: Mapping[str, str]) -> None:
    there = git("ls-files", "--cached", "-z", "--", *(":(literal)" + a for a in patch.adds), env=env).split("\0")
    lines = []
    for path in patch.adds:
        here = root / own(path, root)
        if path in there or any(t.startswith(path + "/") for t in there):
            raise Misfit(file, f"adds {path}, which the base (or an earlier patch) has already", "edit the file instead of adding it")
        if not os.path.lexists(here) or here.is_dir():
            raise Fail(file, f"adds {path}, which is not in the repository", f"put the file at {path}, or remove the line Adds: {path}")
        mode, sha = entry(here)
        lines.append(f"{mode} {sha}\t{path}\0")
    git("update-index", "-z", "--index-info", data="".join(lines), env=env)


def _splice(file: str, patch: Patch, env: Mapping[str, str]) -> None:
    """The patch's lines of MAINTAINERS, each at its sorted place."""
    if not git("ls-files", "--cached", "--", MAINTAINERS, env=env):
        raise Misfit(file, f"adds lines to {MAINTAINERS}, which the base has not", "give a whole tree of Linux")
    try:
        sha = git("hash-object", "-w", "--stdin", data=splice(blob(f":{MAINTAINERS}", env=env), patch.maintains))
    except ValueError as e:
        raise Misfit(file, str(e), f"put the line under another entry, or take it out, in {MAINTAINERS} of this repository") from e
    git("update-index", "--cacheinfo", f"100644,{sha},{MAINTAINERS}", env=env)


def build(start: str, paths: Sequence[str], root: Path = ROOT, who: Who = IDENT, first: int = 1, quiet: bool = False) -> Made:
    """Commits the patches PATHS onto START, or raises a Misfit."""
    when, zone = git("show", "-s", "--format=%cd", "--date=raw", start).split(" ")
    made, tip = Made(), start
    with tempfile.TemporaryDirectory(prefix="index-", dir=GITDIR) as folder:
        env = {"GIT_INDEX_FILE": f"{folder}/index"}
        git("read-tree", start, env=env)
        for number, path in enumerate(paths, first):
            patch = load(path, root)
            try:
                if patch.adds:
                    _add_files(path, patch, root, env)
                if patch.diff:
                    done = _git_apply("--cached", env={"GIT_DIR": str(GITDIR), **env}, data=patch.diff)
                    if done.returncode:
                        raise _misfit(tip, path, patch)
                    if not quiet:
                        _report_offsets(path, patch, done.stderr)
                if patch.maintains:
                    _splice(path, patch, env)
            except Misfit as e:
                e.tip, e.made = tip, made
                raise
            tree = git("write-tree", env=env)
            stamp = f"@{int(when) + number} {zone}"
            tip = git("commit-tree", tree, "-p", tip, data=patch.message, env={
                "GIT_AUTHOR_NAME": who[0], "GIT_AUTHOR_EMAIL": who[1], "GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp})
            made.append((path, tip))
    return made


def note(pairs: Made) -> None:
    """Remembers which commit came from which .patch; git rebase and amend carry it on."""
    have = {}
    if ref(NOTES):
        for line in git("notes", "--ref", NOTES, "list").split("\n"):
            have[line.split(" ")[1]] = line.split(" ")[0]
    for path, commit in pairs:
        text = encode(f"{path}\n")
        if have.get(commit) != hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest():
            git("notes", "--ref", NOTES, "add", "-f", "-F", "-", commit, data=path + "\n")


def noted(commit: str) -> list[str]:
    """The paths that a commit's note names."""
    return git("notes", "--ref", NOTES, "show", commit, check=False).split()
