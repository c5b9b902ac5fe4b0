# SPDX-License-Identifier: GPL-2.0
"""The worktrees in build/: made and moved so that nothing of a person is lost."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Mapping, Optional

from .common import BUILD, GITDIR, Fail, environment, free_disk, git, near, ref, run, say

BUSY = {"rebase-merge": "rebase", "rebase-apply": "rebase or am", "MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick",
        "REVERT_HEAD": "revert", "sequencer": "cherry-pick or revert"}


def admin(folder: Path) -> Optional[Path]:
    """The folder in build/git that belongs to a worktree; None where there is no worktree."""
    link = folder / ".git"
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return None
    text = link.read_text() if link.is_file() else ""
    path = GITDIR / "worktrees" / os.path.basename(text.strip())
    if not text.startswith("gitdir: ") or not path.is_dir():
        raise Fail(near(folder), "is not a worktree of build/git", "move it away, and run again")
    if text.strip() != f"gitdir: {path}":
        # the whole repository was moved or copied; git worktree repair would mend a copy's original
        (path / "gitdir").write_text(f"{link}\n")
        link.write_text(f"gitdir: {path}\n")
    return path


def in_tree(folder: Path, *args: str, check: bool = True, data: Optional[str] = None) -> str:
    """git in a worktree of ours, neutral."""
    argv = ["git", f"--git-dir={admin(folder)}", f"--work-tree={folder}", "-c", f"core.attributesFile={os.devnull}", *args]
    return run(argv, env=environment(), cwd=folder, check=check, data=data).stdout.removesuffix("\n")


def dirty(folder: Path, untracked: bool = False) -> str:
    return in_tree(folder, "status", "--porcelain", f"--untracked-files={'normal' if untracked else 'no'}")


def busy(gitdir: Path) -> Optional[str]:
    """What git is in the middle of, or None."""
    return next((what for name, what in BUSY.items() if (gitdir / name).exists()), None)


def _size(commit: str) -> float:
    sizes = [line.split()[3] for line in git("ls-tree", "-r", "-l", commit).split("\n")]
    return sum((int(s) + 4095) // 4096 * 4096 for s in sizes if s != "-") * 1.05


def _marker(folder: Path) -> Path:
    return GITDIR / ("checkout-" + near(folder).strip("/").replace("/", "-"))


def heal(folder: Path) -> None:
    """Finishes a checkout that was interrupted; loses nothing that a person wrote."""
    marker = _marker(folder)
    if not marker.exists():
        return
    branch, *commits = marker.read_text().split()
    if admin(folder):
        blobs: dict[str, set[str]] = {}
        for commit in commits:
            for line in git("ls-tree", "-r", "-z", commit).split("\0"):
                if line:
                    blobs.setdefault(line.partition("\t")[2], set()).add(line.split()[2])
        status = [s for s in in_tree(folder, "-c", "status.renames=false", "status", "--porcelain", "-z",
                                          "--untracked-files=all").split("\0") if s]
        untracked = {s[3:] for s in status if s.startswith("??")}
        files = [p for p in (s[3:] for s in status) if (folder / p).is_file() and not (folder / p).is_symlink()]
        shas = in_tree(folder, "hash-object", "--no-filters", "--stdin-paths", data="".join(f"{p}\n" for p in files)).split()
        ours = {p for p, sha in zip(files, shas) if sha in blobs.get(p, ())}
        foreign = [p for p in files if p not in ours | untracked]
        if foreign:
            raise Fail(f"{near(folder)}/{foreign[0]}", "was changed after an interrupted checkout",
                       f"save what you need of it, then: git -C {near(folder)} checkout -- {foreign[0]}")
        say(f"finishing an interrupted checkout of {near(folder)}")
        for p in ours & untracked:
            (folder / p).unlink()
        if branch != "-" and ref(f"refs/heads/{branch}"):
            in_tree(folder, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
        in_tree(folder, "reset", "--quiet", "--hard", "HEAD")
    marker.unlink()


def checkout(folder: Path, commit: str, branch: Optional[str] = None, refs: Optional[Mapping[str, str]] = None) -> None:
    """Brings a clean worktree to COMMIT, detached, touching only files that differ; then
    sets REFS and BRANCH, if given, all at once."""
    marker = _marker(folder)
    shown = near(folder)
    if admin(folder):
        old = in_tree(folder, "rev-parse", "HEAD")
        marker.write_text(f"{branch or '-'} {old} {commit}\n")
        try:
            in_tree(folder, "checkout", "--quiet", "--no-overwrite-ignore", "--detach", commit)
        except Fail as e:
            if not dirty(folder):
                marker.unlink()
            raise Fail(shown, f"git cannot check out {commit[:12]}: {e}", "move the files that it names out of the way") from e
    else:
        free_disk(BUILD, _size(commit), shown)
        say(f"checking out {shown} (for the first time: a minute or less)")
        git("worktree", "prune")
        marker.write_text(f"{branch or '-'} {commit}\n")
        git("worktree", "add", "--force", "--no-checkout", "--detach", str(folder), commit)
        in_tree(folder, "reset", "--quiet", "--hard", "HEAD")
    if branch:
        both = {**(refs or {}), f"refs/heads/{branch}": commit}
        git("update-ref", "--create-reflog", "--stdin", data="".join(f"update {n} {c}\n" for n, c in both.items()))
        in_tree(folder, "symbolic-ref", "HEAD", f"refs/heads/{branch}")
    marker.unlink()
