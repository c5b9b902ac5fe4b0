# SPDX-License-Identifier: GPL-2.0
"""What build/git remembers: the set's commits, and from what build/tree was made.

refs/set/BASE/{base,all,TOPIC}  the set as the repository says it
refs/heads/set                  the branch of build/tree: the contributor's
refs/tree/base, refs/tree/made  what that branch started from; its last tip that is also in the repository
refs/tree/inputs                the repository's files as they were then
"""
import json
import os
import stat
import tempfile

import chain
from common import GITDIR, ROOT, TREE, base_name, git, ref
from setfiles import check_entries, inputs, order, topics
from worktree import checkout

REST = GITDIR / "patch-set-rest"


def snapshot(names, root=ROOT):
    """{name: (mode, blob)} of repository files, the blobs kept in build/git; a missing file is left out."""
    found, plain = {}, []
    for name in names:
        here = root / name
        if here.is_symlink():
            found[name] = ("120000", git("hash-object", "-w", "--stdin", data=os.fsencode(os.readlink(here))))
        elif here.is_file():
            plain.append(name)
    shas = git("hash-object", "-w", "--no-filters", "--stdin-paths", data="".join(f"{root / n}\n" for n in plain)).split()
    for name, sha in zip(plain, shas, strict=True):
        found[name] = ("100755" if (root / name).stat().st_mode & stat.S_IXUSR else "100644", sha)
    return found


def inputs_commit(files, base, what):
    """A commit that holds repository files; its message says the base's name and what it is."""
    with tempfile.TemporaryDirectory(prefix="index-", dir=GITDIR) as folder:
        env = {"GIT_INDEX_FILE": f"{folder}/index"}
        git("update-index", "-z", "--add", "--index-info", env=env,
            data="".join(f"{m} {s}\t{n}\0" for n, (m, s) in files.items()))
        tree = git("write-tree", env=env)
    return git("commit-tree", tree, data=f"{base}\n\n{what}\n", env={"GIT_AUTHOR_DATE": "@0 +0000", "GIT_COMMITTER_DATE": "@0 +0000"})


def remembered_inputs():
    lines = git("ls-tree", "-r", "-z", "refs/tree/inputs").split("\0") if ref("refs/tree/inputs") else []
    return {line.partition("\t")[2]: tuple(line.partition("\t")[0].split()[::2]) for line in lines if line}


def remembered_base():
    """(name of the base, what it is) of build/tree."""
    name, _, what = git("show", "-s", "--format=%B", "refs/tree/inputs").partition("\n")
    return name, what.strip()


def to_tree(base, tip, what):
    """Brings build/tree to TIP, which is what the repository says; all refs change at once."""
    checkout(TREE, tip, "set", {
        "refs/tree/base": base, "refs/tree/made": tip,
        "refs/tree/inputs": inputs_commit(snapshot(inputs()), base_name(), what)})


def commit_set(base, root=ROOT, quiet=False, keep=True, who=chain.IDENT):
    """The whole set onto BASE, and each topic alone: [(topic, paths, its own chain)], the whole chain."""
    check_entries(root)
    whole, tip, alone = [], base, []
    for topic in topics(root):
        paths = order(topic.name, root)
        made = chain.build(tip, paths, root, first=len(whole) + 1, quiet=quiet, who=who)
        try:
            own = made if tip == base else chain.build(base, paths, root, quiet=True, who=who)
        except chain.Misfit as e:
            e.tip = None
            e.text = f"topic {topic.name} alone, without the topics before it, does not apply to the base\n{e.text}"
            raise
        if keep:
            chain.note(made + own)
        whole += made
        tip = whole[-1][1] if whole else base
        alone.append((topic, paths, own))
    if keep:
        name = f"refs/set/{base_name()}"
        git("update-ref", f"{name}/base", base)
        git("update-ref", f"{name}/all", tip)
        for topic, _, own in alone:
            git("update-ref", f"{name}/{topic.name}", own[-1][1] if own else base)
    return alone, whole


def save_rest(at, paths):
    REST.write_text(json.dumps({"at": at, "paths": paths}) + "\n")


def rest():
    """(commit, patches still to commit) of a stopped `tree --reject`; the first patch is the one it stopped at."""
    found = json.loads(REST.read_text()) if REST.exists() else {"at": None, "paths": []}
    return found["at"], found["paths"]
