# SPDX-License-Identifier: GPL-2.0
"""usage: series refresh [--this-base | --all-bases] [--renumber]

Writes the commits of build/tree (branch set) back to the repository: .patch files, the
order files and new files. Where nothing changed no byte changes. The result is replayed
onto the base and compared with the branch before anything is written. A refresh that was
cut off is completed by the next one.

A patch that another base lists too is not changed without a word:
  --this-base  write what changed to NAME@BASE.patch, for this base alone
  --all-bases  change it for all bases, if the set then still applies to each of them
  --renumber   also put right the line numbers of hunks that apply at an offset
"""
from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable, Iterator, Optional

from .. import chain, collect, maintainers, repository, state
from ..common import BUILD, ROOT, TREE, Fail, blob, encode, environment, git, ref, run, say
from ..patchfile import Patch, renumber
from ..source import base_commit
from ..worktree import admin, busy, dirty, heal, in_tree

SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
Content = tuple[str, bytes]     # mode, bytes


def arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--this-base", action="store_true", help=argparse.SUPPRESS)
    group.add_argument("--all-bases", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--renumber", action="store_true", help=argparse.SUPPRESS)


def guard() -> str:
    """Refuses a build/tree that is not ready; returns its tip."""
    tip = ref("refs/heads/set")
    if not ref("refs/tree/made") or not admin(TREE) or not tip:
        raise Fail("build/tree", "is not there", "make tree")
    state.take_base()
    if state.rest()[1]:
        raise Fail("build/tree", f"is not complete: {state.rest()[1][0]} waits", "make tree ARGS=--continue")
    heal(TREE)
    doing = busy(admin(TREE) or TREE)
    if doing:
        raise Fail("build/tree", f"is in the middle of a {doing}", "finish it there")
    if in_tree(TREE, "symbolic-ref", "--quiet", "HEAD", check=False) != "refs/heads/set":
        raise Fail("build/tree", "is not on its branch set", "git -C build/tree switch set")
    left = dirty(TREE, untracked=True)
    if left:
        raise Fail("build/tree", f"has changes that are not committed:\n{left}", "commit them there, or remove them")
    return tip


def find_base(tip: str) -> str:
    """The base of the branch; another one of ours when the contributor rebased onto that."""
    bases = [ref("refs/tree/base") or "", *git("for-each-ref", "--format=%(objectname)", "refs/base/").split()]
    under = [b for b in bases if git("merge-base", b, tip, check=False) == b]
    if under:
        return min(under, key=lambda b: int(git("rev-list", "--count", f"{b}..{tip}")))
    raise Fail("build/tree", "its branch set does not stand on the base", "git -C build/tree rebase --onto "
               f"{bases[0][:12]} WHERE_YOUR_COMMITS_START set")


def content(name: str, root: Path = ROOT) -> Optional[Content]:
    here = root / name
    if here.is_symlink():
        return "120000", os.fsencode(os.readlink(here))
    return ("100755" if here.stat().st_mode & 0o100 else "100644", here.read_bytes()) if here.is_file() else None


def put(target: Path, what: Content) -> None:
    """Writes a file: it is there whole, or as it was."""
    mode, data = what
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.refresh")
    part.unlink(missing_ok=True)
    if mode == "120000":
        os.symlink(os.fsdecode(data), part)
    else:
        part.write_bytes(data)
        part.chmod(0o755 if mode == "100755" else 0o644)
    os.replace(part, target)


@dataclass
class Wanted:
    """What the repository's files are to be."""
    args: argparse.Namespace
    known: dict[str, Patch]         # this base's .patch files as they are
    elsewhere: dict[str, Patch]     # the other bases'
    files: dict[str, Content] = field(default_factory=dict)
    shared: list[str] = field(default_factory=list)         # files of other bases, too, that change

    def place(self, name: str, what: Content, adopted: bool) -> str:
        """Where a file goes that other bases may have, too; ADOPTED: this base has it only now."""
        if name in self.files_elsewhere and content(name) != what:
            if adopted or self.args.this_base:
                name = repository.variant(name, repository.base_name())
            else:
                self.shared.append(name)
        self.files[name] = what
        return name

    def __post_init__(self) -> None:
        self.files_elsewhere = set(self.elsewhere) | {repository.own(a, base=b) for b in repository.others()
                                                      for p in repository.listed(base=b) for a in self.elsewhere[p].adds}

    def patch_bytes(self, c: collect.Change, made: Optional[str]) -> bytes:
        """A change's .patch: the old bytes where nothing but line numbers moved by the base."""
        old, p = self.known.get(c.path) or self.elsewhere.get(c.path), c.patch
        if old:
            if set(old.adds) == set(p.adds):
                p.adds = old.adds
            if not self.args.renumber:
                p.diff = renumber(old.diff, made, p.diff)
            if (p.subject, p.body, p.adds, set(p.maintains), p.diff) == (old.subject, old.body, old.adds, set(old.maintains), old.diff):
                return (ROOT / c.path).read_bytes()
        return encode(p.text())

    def add(self, c: collect.Change, made: Optional[str]) -> None:
        adopted = c.path not in self.known
        for path, (mode, sha) in c.new.items():
            here = repository.own(path)
            self.place(here, (mode, encode(blob(sha))), here == path and not any(path in p.adds for p in self.known.values()))
        c.path = self.place(c.path, ("100644", self.patch_bytes(c, made)), adopted)

    def entries(self, changes: Iterable[collect.Change]) -> None:
        """Our MAINTAINERS: the lines of this base's patches, and those that only other bases' take."""
        found: maintainers.Entries = {}
        for c in changes:
            twice = set(found) & set(c.patch.maintains)
            if twice:
                raise Fail(f"commit {c.commit[:12]} ({c.patch.subject})", f"adds to the entry {twice.pop()!r} of MAINTAINERS, as another commit does",
                           "make it one commit")
            found.update(c.patch.maintains)
        for p in self.elsewhere.values():
            for entry, lines in p.maintains.items():
                if entry in found and sorted(found[entry]) != sorted(lines):
                    if self.args.this_base:
                        raise Fail(f"{maintainers.FILE}, {entry}", "is other bases', too, and its lines cannot differ between them", "refresh --all-bases")
                    self.shared.append(f"{maintainers.FILE} ({entry})")
                found.setdefault(entry, lines)
        if found:
            self.files[maintainers.FILE] = ("100644", encode(maintainers.text(found)))


def wanted(base: str, tip: str, args: argparse.Namespace) -> tuple[Wanted, list[str], list[collect.Change]]:
    """What is to be written, what to be removed, and the changes."""
    topic_of = repository.listed()
    known = {p: repository.load(p) for p in topic_of}
    elsewhere = {p: repository.load(p) for b in repository.others() for p in repository.listed(base=b)}
    made = {}
    if base == ref("refs/tree/base"):
        notes = chain.noted()
        for commit in git("rev-list", f"{base}..refs/tree/made").split():
            for path in notes.get(commit, [])[:1]:
                made[path] = collect.diff_of(commit)
    changes = collect.commits(base, tip)
    collect.match_paths(changes, known)
    collect.match_paths(changes, {p: q for p, q in elsewhere.items() if p not in known and p == repository.plain(p)})
    collect.name_new(changes, repository.topics(), topic_of, {t.name for t in repository.present()})
    want = Wanted(args, known, elsewhere)
    for c in changes:
        want.add(c, made.get(c.path))
    want.entries(changes)
    if want.shared and not args.all_bases:
        raise Fail(", ".join(want.shared), f"would change for {', '.join(repository.others())} too; nothing was written",
                   f"for base {repository.base_name()} alone: make refresh BASE={repository.base_name()} ARGS=--this-base; for all bases: ARGS=--all-bases")
    for topic in repository.topics():
        text = collect.order_text(topic.name, [c.path for c in changes if c.topic == topic.name])
        if text is not None:
            want.files[repository.order_path(topic.name)] = ("100644", encode(text))
    keep = {*want.files, *(f for b in repository.others() for f in repository.inputs(base=b))}
    old = {*repository.inputs(), *state.remembered_inputs()}
    return want, sorted(f for f in old if f not in keep and os.path.lexists(ROOT / f)), changes


def protect(names: Iterable[str], made: state.Files) -> None:
    """Refuses where a file that is to be written is no longer what build/tree was made from."""
    now = state.snapshot(names)
    changed = [n for n in names if now.get(n) != made.get(n)]
    if changed:
        raise Fail(", ".join(changed), "changed in the repository since build/tree was made, and refresh would overwrite that",
                   "put your hand's change aside (git stash), make refresh, bring it back; or, if the repository's is the right "
                   f"one: git -C build/tree branch mine set; git -C build/tree reset --hard {(ref('refs/tree/made') or '')[:12]}; make tree; "
                   "then git -C build/tree cherry-pick the commits that you want from mine")


@contextlib.contextmanager
def staged(files: dict[str, Content]) -> Iterator[Path]:
    """A folder with the repository as it is to be: all that is made into commits."""
    with tempfile.TemporaryDirectory(prefix="refresh-stage-", dir=BUILD) as folder:
        stage = Path(folder)
        rest = {"series/topics", *(f for b in repository.others() for f in repository.inputs(base=b))}
        for name, what in {**{n: content(n) for n in rest}, **files}.items():
            if what:
                put(stage / name, what)
        yield stage


def replay(stage: Path, base: str, tip: str, changes: list[collect.Change]) -> None:
    """The staged repository, turned into commits, must be the branch."""
    try:
        _, whole = state.commit_set(base, root=stage, quiet=True, keep=False)
    except Fail as e:
        raise Fail("replay", f"what refresh would write does not apply; nothing was written\n{e.text}",
                   "commits of one topic come after all commits of the topic before, and each topic applies alone: reorder or split") from e
    got = git("rev-parse", f"{whole[-1][1] if whole else base}^{{tree}}")
    if got != git("rev-parse", f"{tip}^{{tree}}"):
        say(git("diff-tree", "-r", "--stat", got, f"{tip}^{{tree}}"))
        raise Fail("replay", "what refresh would write does not give the branch's tree; nothing was written",
                   f"keep build/tree and report it ({len(changes)} commits, {tip})")


def check_others(stage: Path) -> None:
    """After --all-bases the set must still apply to each other base."""
    mine = repository.base_name()
    try:
        for name in repository.others():
            os.environ["BASE"] = name
            try:
                state.commit_set(base_commit()[0], root=stage, quiet=True, keep=False)
            except Fail as e:
                raise Fail(f"base {name}", f"with this change the set no longer applies to it; nothing was written\n{e.text}",
                           f"make refresh BASE={mine} ARGS=--this-base, which leaves {name} alone") from e
    finally:
        os.environ["BASE"] = mine


def write(files: dict[str, Content], remove: list[str], refs: dict[str, str], notes: chain.Made) -> None:
    """The names of new files first, refs last: cut off anywhere between, the next refresh comes to the same end."""
    chain.note(notes)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        state.UNFINISHED.write_text("")
        for name in sorted(files, key=lambda n: n.endswith(".order")):
            put(ROOT / name, files[name])
            say(f"wrote {name}")
        for name in remove:
            (ROOT / name).unlink(missing_ok=True)
            say(f"removed {name}")
            folder = (ROOT / name).parent
            while folder != ROOT and folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
                folder = folder.parent
        state.set_refs(refs)
        state.UNFINISHED.unlink()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def work(args: argparse.Namespace) -> None:
    tip = guard()
    base = find_base(tip)
    want, remove, changes = wanted(base, tip, args)
    files = {n: c for n, c in want.files.items() if content(n) != c}
    protect([*files, *remove], state.remembered_inputs())
    with staged(want.files) as stage:
        replay(stage, base, tip, changes)
        if want.shared:
            check_others(stage)
        name, what = state.remembered_base()
        if base != ref("refs/tree/base"):
            what = git("show", "-s", "--format=%s", base)
        inputs = state.inputs_commit(state.snapshot(want.files, stage), name, what)
    write(files, remove, {"refs/tree/base": base, "refs/tree/made": tip, "refs/tree/inputs": inputs}, [(c.path, c.commit) for c in changes])
    for n in files:
        if run(["git", "-C", ROOT, "check-ignore", "-q", "--no-index", n], env=environment(), check=False).returncode == 0:
            say(f"WARNING: the repository's .gitignore hides {n}: git add -f {n}")
    say(f"refresh: {len(changes)} commits, " + (f"{len(files)} files written, {len(remove)} removed" if files or remove else "nothing changed"))
