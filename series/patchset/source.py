# SPDX-License-Identifier: GPL-2.0
"""The base that a run means: a package, or the user's own tree given as LINUX=DIR."""
from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Mapping, Optional

from .common import BUILD, GITDIR, Fail, environment, free_disk, git, run, say
from .package import Package
from .repository import base_name

WANTED = ("Makefile", "Kconfig", "MAINTAINERS")
BUILT = (".config", "vmlinux", "include/config", "include/generated", "Module.symvers", "scripts/basic/fixdep")


def user_git(folder: Path, *args: str, check: bool = True, env: Optional[Mapping[str, str]] = None) -> str:
    """git as the user set it up, in the user's tree; never to change anything there."""
    full = environment(neutral=False)
    full.update(GIT_OPTIONAL_LOCKS="0")
    full.update(env or {})
    return run(["git", "-C", folder, *args], env=full, check=check).stdout.removesuffix("\n")


def is_git(folder: Path) -> bool:
    return (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir())


def linux_dir() -> Optional[Path]:
    """LINUX as a folder, or None."""
    given = os.environ.get("LINUX")
    if not given:
        return None
    folder = Path(given).resolve()
    if not folder.is_dir():
        raise Fail(f"LINUX={given}", "there is no such folder", "give a git tree or an unpacked tarball of Linux")
    if folder == BUILD.resolve() or BUILD.resolve() in folder.parents:
        raise Fail(f"LINUX={given}", "lies in build/, which is the set's own", "give your own tree, or none")
    return folder


def _check_makefile(given: str, text: str) -> str:
    got = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL)\s*=\s*(\d+)", text, re.M))
    if not {"VERSION", "PATCHLEVEL"} <= set(got):
        raise Fail(f"LINUX={given}", "is no kernel tree: its Makefile sets no VERSION and PATCHLEVEL", "give the top of a Linux tree")
    number = f"{got['VERSION']}.{got['PATCHLEVEL']}"
    if number != base_name():
        say(f"NOTE: LINUX={given} is Linux {number}, the set is for {base_name()}; trying")
    return f"{number}.{got.get('SUBLEVEL', '0')}"


def _lacks(given: str, missing: list[str]) -> None:
    if missing:
        raise Fail(f"LINUX={given}", f"is no kernel tree: it has no {', '.join(missing)}", "give the top of a Linux tree")


def _objects(folder: Path, seen: list[Path]) -> list[Path]:
    """The object folders of a repository, with those it borrows from itself."""
    folder = folder.resolve()
    if folder in seen or not folder.is_dir():
        return seen
    seen.append(folder)
    more = folder / "info" / "alternates"
    for line in more.read_text().split("\n") if more.is_file() else []:
        if line and not line.startswith("#"):
            _objects(folder / line, seen)
    return seen


def _borrow(folder: Path) -> None:
    """Lets build/git read the objects of the user's repository; writes only in build/git."""
    path = user_git(folder, "rev-parse", "--git-path", "objects")
    want = [str(p) for p in _objects(folder / path, [])]
    file = GITDIR / "objects" / "info" / "alternates"
    have = [p for p in (file.read_text().split("\n") if file.is_file() else []) if p and Path(p).is_dir()]
    lines = have + [p for p in want if p not in have]
    file.write_text("".join(f"{p}\n" for p in lines))
    shallow = folder / user_git(folder, "rev-parse", "--git-path", "shallow")
    if shallow.is_file():
        mine = GITDIR / "shallow"
        ids = set(shallow.read_text().split()) | set(mine.read_text().split() if mine.is_file() else [])
        mine.write_text("".join(f"{i}\n" for i in sorted(ids)))


def _from_git(folder: Path, given: str) -> tuple[str, str]:
    head = user_git(folder, "rev-parse", "--quiet", "--verify", "HEAD^{commit}", check=False)
    if not head:
        raise Fail(f"LINUX={given}", "git finds no commit there: "
                   + (run(["git", "-C", folder, "rev-parse", "HEAD"], env=environment(False), check=False).stderr.strip().split("\n")[0]),
                   "give a tree with a commit checked out")
    if user_git(folder, "rev-parse", "--show-object-format") != "sha1":
        raise Fail(f"LINUX={given}", "is a git tree with SHA-256 names", "give a SHA-1 tree or an unpacked tarball")
    names = user_git(folder, "ls-tree", "--name-only", "--full-tree", head).split("\n")
    _lacks(given, [w for w in WANTED if w not in names])
    version = _check_makefile(given, user_git(folder, "show", f"{head}:Makefile"))
    if (folder / ".git").exists() and user_git(folder, "status", "--porcelain", "--untracked-files=no"):
        say(f"WARNING: LINUX={given} has uncommitted changes; they are NOT used, only its HEAD ({head[:12]}) is")
    _borrow(folder)
    git("update-ref", f"refs/base/linux/{head[:16]}", head)
    return head, f"Linux {version}, git tree at commit {head}"


def _from_folder(folder: Path, given: str) -> tuple[str, str]:
    _lacks(given, [w for w in WANTED if not (folder / w).is_file()])
    built = [b for b in BUILT if (folder / b).exists()]
    if built:
        raise Fail(f"LINUX={given}", f"was built in (it has {built[0]})", f"clean it: make -C {given} mrproper")
    version = _check_makefile(given, (folder / "Makefile").read_text(errors="replace"))
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    name, index = f"refs/base/folder/{key}", GITDIR / f"index-{key}"
    if not index.exists():
        used = sum(f.lstat().st_size for f in folder.rglob("*") if not f.is_dir())
        free_disk(BUILD, used * 0.4, f"LINUX={given}")
        say(f"importing {given} ({used / 1e6:.0f} MB) into build/git")
    env = {"GIT_INDEX_FILE": str(index)}
    # each file is streamed into one pack (bigFileThreshold), as it is (-text -filter)
    attributes = GITDIR / "import-attributes"
    attributes.write_text("* -text -filter -ident -working-tree-encoding -crlf\n")
    info = GITDIR / "info" / "attributes"
    keep = info.read_text()
    try:
        info.write_text(attributes.read_text())
        git(f"--work-tree={folder}", "-c", "core.bigFileThreshold=1", "-c", "core.bare=false", "-c", "core.fileMode=true",
            "-c", "core.safecrlf=false", "-C", str(folder), "add", "--all", "--force", "--", ".", env=env)
    finally:
        info.write_text(keep)
        attributes.unlink()
    tree = git("write-tree", env=env)
    when = f"@{int((folder / 'Makefile').stat().st_mtime)} +0000"
    commit = git("commit-tree", tree, data=f"Linux {version}\n\nAn unpacked source folder, unchanged.\n",
                 env={"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when})
    git("update-ref", name, commit)
    return commit, f"Linux {version}, an unpacked folder"


def base_commit() -> tuple[str, str]:
    """(commit in build/git, what it is)."""
    folder = linux_dir()
    if folder:
        return (_from_git if is_git(folder) else _from_folder)(folder, os.environ["LINUX"])
    package = Package()
    version = package.choose()
    return package.fetch(version), f"Debian's {package.name} {version}"
