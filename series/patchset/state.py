# SPDX-License-Identifier: GPL-2.0
"""What build/git remembers: the set's commits, and from what build/tree was made.

refs/set/BASE/{base,all,TOPIC}  the set as the repository says it
refs/heads/set                  the branch of build/tree: the contributor's
refs/tree/base, refs/tree/made  what that branch started from; its last tip that is also in the repository
refs/tree/inputs                the repository's files as they were then
"""
from __future__ import annotations

import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Iterable, Mapping, Optional

from . import chain
from .common import GITDIR, IDENT, ROOT, TREE, Fail, Who, git, make_hint, ref
from .repository import Topic, base_name, below, check_entries, inputs, order, present
from .worktree import checkout

REST = GITDIR / "patch-set-rest"
UNFINISHED = GITDIR / "patch-set-refresh-unfinished"    # its first file may be written, its refs are not
Files = dict[str, tuple[str, str]]      # {name: (mode, blob)}


def snapshot(names: Iterable[str], root: Path = ROOT) -> Files:
    """Files of the repository, the blobs kept in build/git; a missing file is left out."""
    found, regular = Files(), []
    for name in names:
        here = root / name
        if here.is_symlink():
            found[name] = chain.entry(here)
        elif here.is_file():
            regular.append(name)
    shas = git("hash-object", "-w", "--no-filters", "--stdin-paths", data="".join(f"{root / n}\n" for n in regular)).split()
    for name, sha in zip(regular, shas, strict=True):
        found[name] = ("100755" if (root / name).stat().st_mode & stat.S_IXUSR else "100644", sha)
    return found


def inputs_commit(files: Files, base: str, what: str) -> str:
    """A commit that holds repository files; its message says the base's name and what it is."""
    with tempfile.TemporaryDirectory(prefix="index-", dir=GITDIR) as folder:
        env = {"GIT_INDEX_FILE": f"{folder}/index"}
        git("update-index", "-z", "--add", "--index-info", env=env,
            data="".join(f"{m} {s}\t{n}\0" for n, (m, s) in files.items()))
        tree = git("write-tree", env=env)
    return git("commit-tree", tree, data=f"{base}\n\n{what}\n", env={"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"})


def remembered_inputs() -> Files:
    lines = git("ls-tree", "-r", "-z", "refs/tree/inputs").split("\0") if ref("refs/tree/inputs") else []
    found = Files()
    for line in filter(None, lines):
        meta, _, name = line.partition("\t")
        mode, _, sha = meta.split()
        found[name] = mode, sha
    return found


def remembered_base() -> tuple[str, str]:
    """(name of the base, what it is) of build/tree."""
    name, _, what = git("show", "-s", "--format=%B", "refs/tree/inputs").partition("\n")
    return name, what.strip()


def take_base() -> None:
    """Makes build/tree's base this run's; refuses another BASE."""
    name = remembered_base()[0]
    if (os.environ.get("BASE") or name) != name:
        raise Fail(f"BASE={os.environ['BASE']}", f"build/tree was made for {name}", f"give BASE={name}; or, for another tree: {make_hint('tree')}")
    os.environ["BASE"] = name


def set_refs(refs: Mapping[str, str]) -> None:
    """All at once, or none."""
    git("update-ref", "--stdin", data="".join(f"update {n} {c}\n" for n, c in refs.items()))


def to_tree(base: str, tip: str, what: str) -> None:
    """Brings build/tree to TIP, which is what the repository says; all refs change at once."""
    checkout(TREE, tip, "set", {
        "refs/tree/base": base, "refs/tree/made": tip,
        "refs/tree/inputs": inputs_commit(snapshot(inputs()), base_name(), what)})


def commit_set(base: str, root: Path = ROOT, quiet: bool = False, keep: bool = True, who: Who = IDENT,
               leave_out: bool = False) -> tuple[list[tuple[Topic, list[str], chain.Made]], chain.Made]:
    """The whole set onto BASE, and each topic alone, on those that it stands on: [(topic, paths, its
    own chain)], the whole chain."""
    check_entries(root)
    whole, tip, alone = chain.Made(), base, []
    tips: dict[str, str] = {}
    for topic in present(root):
        paths = order(topic.name, root)
        made = chain.build(tip, paths, root, first=len(whole) + 1, quiet=quiet, who=who, leave_out=leave_out)
        start = next((tips[n] for n in reversed(below(topic.name, root))), base)
        try:
            mine = made if tip == start else chain.build(start, paths, root, quiet=True, who=who, leave_out=leave_out)
        except chain.Misfit as e:
            e.tip = None
            e.text = f"topic {topic.name} alone, without the topics that it does not stand on, does not apply to the base\n{e.text}"
            raise
        if keep:
            chain.note(made + mine)
        whole += made
        tip = whole[-1][1] if whole else base
        tips[topic.name] = mine[-1][1] if mine else start
        alone.append((topic, paths, mine))
    if keep:
        name = f"refs/set/{base_name()}"
        refs = {f"{name}/base": base, f"{name}/all": tip, **{f"{name}/{n}": tip_of for n, tip_of in tips.items()}}
        for old in git("for-each-ref", "--format=%(refname)", f"{name}/").split():
            if old not in refs:
                git("update-ref", "-d", old)
        set_refs(refs)
    return alone, whole


def save_rest(at: str, paths: list[str]) -> None:
    REST.write_text(json.dumps({"at": at, "paths": paths}) + "\n")


def rest() -> tuple[Optional[str], list[str]]:
    """(commit, patches still to commit) of a stopped `tree --reject`; the first patch is the one it stopped at."""
    found = json.loads(REST.read_text()) if REST.exists() else {"at": None, "paths": []}
    return found["at"], found["paths"]


def start_of(base: str, topic: str, root: Path = ROOT, who: Who = IDENT) -> str:
    """The commit that a topic's first patch goes onto: BASE, or the last patch of what it stands on."""
    paths = [p for name in below(topic, root) for p in order(name, root)]
    made = chain.build(base, paths, root, quiet=True, who=who, leave_out=True)
    return made[-1][1] if made else base


def what_below(topic: str, what: str) -> str:
    """WHAT a base is, with the topics that are to be applied first."""
    names = below(topic)
    return f"{what}, with topic {' and topic '.join(names)}" if names else what
