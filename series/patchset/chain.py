# SPDX-License-Identifier: GPL-2.0
"""Repository -> commits in build/git: the same input gives the same hashes everywhere."""
from __future__ import annotations

import os
import re
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Iterable, Mapping, Optional, Sequence, Union

from .common import GITDIR, IDENT, NOTES, ROOT, Fail, Who, blob, encode, environment, git, make_hint, ref, run, say
from .maintainers import FILE as MAINTAINERS, splice
from .patchfile import Patch
from .repository import load, own

Made = list[tuple[str, str]]    # [(.patch file, commit)]
TEMPORARY = f"refs/making/{os.getpid()}"     # git fast-import wants a ref


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


class Index:
    """The files that some patches touch, and no others, as they are at START.

    git reads and writes the whole index for each command, and the kernel's has 90,000
    files. So this index makes no trees: what each patch changes goes to git fast-import,
    which looks at the folders on the way alone.
    """

    def __init__(self, start: str, patches: Sequence[Patch], folder: str):
        self.env = {"GIT_INDEX_FILE": f"{folder}/index"}
        self.start, self.commits = start, [f"reset {TEMPORARY}\nfrom {start}\n"]
        self.files: dict[str, str] = {}     # {path: "mode blob"}
        paths = {path for p in patches for path in [*p.adds, *(f for f, _ in p.files), *([MAINTAINERS] if p.maintains else [])]}
        asked = sorted(paths | {parent for path in paths for parent in _parents(path)})
        for line in filter(None, git("ls-tree", "-z", "--full-tree", start, "--", *asked).split("\0") if asked else []):
            meta, _, path = line.partition("\t")
            mode, kind, sha = meta.split()
            if kind == "blob":
                self.files[path] = f"{mode} {sha}"
        kinds = git("cat-file", "--batch-check=%(objecttype)", data="".join(f"{start}:{path}\n" for path in asked)).split("\n")
        self.folders = {path for path, kind in zip(asked, kinds) if kind in ("tree", "commit")}
        self.update(self.files)

    def update(self, files: Mapping[str, str]) -> None:
        git("update-index", "-z", "--index-info", data="".join(f"{entry}\t{path}\0" for path, entry in files.items()), env=self.env)

    def taken(self, path: str) -> bool:
        """Whether PATH is there, as a file or a folder, or cannot be."""
        return path in self.files or path in self.folders or any(parent in self.files for parent in _parents(path)) \
            or any(f.startswith(f"{path}/") for f in self.files)

    def commit(self, message: str, who: Who, stamp: str) -> None:
        """What has changed since the commit before becomes one more."""
        new = {}
        for line in filter(None, git("ls-files", "--stage", "-z", env=self.env).split("\0")):
            meta, _, path = line.partition("\t")
            new[path] = meta.rpartition(" ")[0]
        text = encode(message).decode("latin-1")
        lines = [f"commit {TEMPORARY}", f"mark :{len(self.commits)}", f"author {who[0]} <{who[1]}> {stamp}",
                 f"committer {IDENT[0]} <{IDENT[1]}> {stamp}", f"data {len(text)}"]
        lines = [encode(line).decode("latin-1") for line in lines]
        changes = [f"D {path}" for path in self.files if path not in new]
        changes += [f"M {entry} {path}" for path, entry in new.items() if self.files.get(path) != entry]
        self.commits.append("\n".join(lines) + "\n" + text + "".join(encode(c).decode("latin-1") + "\n" for c in changes)
                            + f"\nget-mark :{len(self.commits)}\n")
        self.files = new

    def made(self) -> list[str]:
        """The hashes of the commits so far."""
        return fast_import(self.commits) if len(self.commits) > 1 else []


def fast_import(commands: Iterable[str]) -> list[str]:
    """Runs COMMANDS, which use TEMPORARY for a ref, and returns what they ask for."""
    drop = f"reset {TEMPORARY}\nfrom {'0' * 40}\n"
    return git("fast-import", "--quiet", "--force", "--date-format=raw", data="".join([*commands, drop]).encode("latin-1")).split()


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def _add_files(file: str, patch: Patch, root: Path, index: Index) -> None:
    found = {}
    for path in patch.adds:
        here = root / own(path, root)
        if index.taken(path):
            raise Misfit(file, f"adds {path}, which the base (or an earlier patch) has already", "edit the file instead of adding it")
        if not os.path.lexists(here) or here.is_dir():
            raise Fail(file, f"adds {path}, which is not in the repository", f"put the file at {path}, or remove the line Adds: {path}")
        found[path] = " ".join(entry(here))
    index.update(found)


def _splice(file: str, patch: Patch, index: Index) -> None:
    """The patch's lines of MAINTAINERS, each at its sorted place."""
    if MAINTAINERS not in index.files:
        raise Misfit(file, f"adds lines to {MAINTAINERS}, which the base has not", "give a whole tree of Linux")
    try:
        sha = git("hash-object", "-w", "--stdin", data=splice(blob(f":{MAINTAINERS}", env=index.env), patch.maintains))
    except ValueError as e:
        raise Misfit(file, str(e), f"put the line under another entry, or take it out, in {MAINTAINERS} of this repository") from e
    index.update({MAINTAINERS: f"100644 {sha}"})


def build(start: str, paths: Sequence[str], root: Path = ROOT, who: Who = IDENT, first: int = 1, quiet: bool = False,
          leave_out: bool = False) -> Made:
    """Commits the patches PATHS onto START, or raises a Misfit. What START has already, as a newer
    version of a base can, is an error, or left out with LEAVE_OUT."""
    when, zone = git("show", "-s", "--format=%cd", "--date=raw", start).split(" ")
    patches = [load(path, root) for path in paths]
    built: list[str] = []
    with tempfile.TemporaryDirectory(prefix="index-", dir=GITDIR) as folder:
        index = Index(start, patches, folder)
        for number, (path, patch) in enumerate(zip(paths, patches), first):
            try:
                if patch.adds:
                    _add_files(path, patch, root, index)
                if patch.diff:
                    env = {"GIT_DIR": str(GITDIR), **index.env}
                    done = _git_apply("--cached", env=env, data=patch.diff)
                    if done.returncode and not patch.adds and not _git_apply("--cached", "--check", "--reverse", env=env, data=patch.diff).returncode:
                        if not leave_out:
                            raise Fail(path, "this base has the same change already", "take a base without it, or take it out of its order file")
                        if not quiet:
                            say(f"NOTE: {path}: left out, as this base has the same change already")
                        continue
                    if done.returncode:
                        raise _misfit([start, *index.made()][-1], path, patch)
                    if not quiet:
                        _report_offsets(path, patch, done.stderr)
                if patch.maintains:
                    _splice(path, patch, index)
            except Misfit as e:
                e.made = list(zip(built, index.made()))
                e.tip = [start, *index.made()][-1]
                raise
            index.commit(patch.message, who, f"{int(when) + number} {zone}")
            built.append(path)
        return list(zip(built, index.made(), strict=True))


def note(pairs: Made) -> None:
    """Remembers which commit came from which .patch; git rebase and amend carry it on."""
    have = noted()
    new = {commit: encode(f"{path}\n").decode("latin-1") for path, commit in pairs if have.get(commit) != [path]}
    if new:
        start = ref(NOTES)
        fast_import([f"commit {NOTES}\ncommitter {IDENT[0]} <{IDENT[1]}> {int(time.time())} +0000\ndata 0\n", f"from {start}\n" if start else "",
                     *(f"N inline {commit}\ndata {len(text)}\n{text}" for commit, text in new.items())])


def noted() -> dict[str, list[str]]:
    """{commit: the paths that its note names}."""
    pairs = [line.split() for line in git("notes", "--ref", NOTES, "list").split("\n")] if ref(NOTES) else []
    found, rest = {}, encode(git("cat-file", "--batch=%(objectsize)", "--buffer", data="".join(f"{sha}\n" for sha, _ in pairs)))
    for _, commit in pairs:
        size, _, rest = rest.partition(b"\n")
        found[commit] = rest[:int(size)].decode("utf-8", "surrogateescape").split()
        rest = rest[int(size) + 1:]
    return found
