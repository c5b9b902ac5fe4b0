# SPDX-License-Identifier: GPL-2.0
"""Commits -> patches: what each changes, its topic, its file's name, the order files."""
from __future__ import annotations

import functools
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import AbstractSet as Set, Callable, Mapping, Optional, Sequence

from . import chain, maintainers
from .common import ROOT, Fail, blob, git, say
from .patchfile import Patch, check_message, check_path, parse_diff, read_text
from .repository import Topic, base_name, order_path, plain, variant

DIFF = ("-c", "diff.suppressBlankEmpty=false", "diff-tree", "-r", "-p", "--no-commit-id", "--no-color", "--no-renames", "--no-ext-diff",
        "--no-textconv", "--unified=3", "--inter-hunk-context=0", "--diff-algorithm=myers", "--indent-heuristic", "--full-index",
        "--src-prefix=a/", "--dst-prefix=b/", "--diff-filter=a")
OURS = ("series/", "testbed/", "checks/", "out/", "build/", ".ci/", ".git/")
OUR_FILES = ("README.md", "Makefile", "MAINTAINERS", ".gitignore")


@dataclass
class Change:
    commit: str
    patch: Patch
    new: dict[str, tuple[str, str]]     # {added path: (mode, blob)}
    folder: str     # where its file belongs
    topic: str = ""
    path: str = ""  # its .patch file


@functools.lru_cache(maxsize=None)
def diff_of(commit: str) -> str:
    """The canonical diff of a commit, without its new files, MAINTAINERS and index lines."""
    lines = git(*DIFF, commit, "--", ".", f":(exclude,top){maintainers.FILE}").split("\n")
    out = "\n".join(line for line in lines if not re.match(r"index [0-9a-f]{40}\.\.", line))
    return out + "\n" if out else ""


def commits(base: str, tip: str) -> list[Change]:
    """The Changes from BASE to TIP, checked: what cannot be a patch is refused, with the way out."""
    found: list[Change] = []
    added: dict[str, str] = {}
    for entry in git("log", "-z", "--reverse", "--topo-order", "--format=%H %P%n%s%n%b", f"{base}..{tip}").split("\0"):
        if not entry:
            continue
        line, subject, text = entry.split("\n", 2)
        commit, *parents = line.split()
        body = _body(commit, subject, text)
        name = f"commit {commit[:12]} ({subject})"
        if len(parents) != 1:
            raise Fail(name, "is a merge", "make the history a line: git -C build/tree rebase set/" + f"{base_name()}/base")
        new: dict[str, tuple[str, str]] = {}
        edited: list[str] = []
        counts: Counter[str] = Counter()
        rows = iter(git("diff-tree", "-r", "--no-commit-id", "--no-renames", "--raw", "--numstat", "-z", commit).split("\0"))
        for row in filter(None, rows):
            if not row.startswith(":"):
                more, less, path = row.split("\t", 2)
                counts[path] = int(more) + int(less) if more != "-" else -1
                continue
            path = next(rows)
            _, mode, _, sha, status = row.split()
            check_path(name, path)
            if status == "A":
                if path.startswith(OURS) or path in OUR_FILES or path.endswith(".patch"):
                    raise Fail(name, f"adds {path}, a name that means something else in this repository", "choose another name")
                if mode not in ("100644", "100755", "120000"):
                    raise Fail(name, f"adds {path}, which is no file (mode {mode})", "add files only")
                new[path] = (mode, sha)
                continue
            if status == "T":
                raise Fail(name, f"turns {path} from file to link or back", "do it in two commits, or not at all")
            if path in added:
                raise Fail(name, f"changes {path}, which {added[path]} adds; a new file is added whole by one commit",
                           f"squash the change into that commit: git -C build/tree commit --fixup {added[path].split()[1]} "
                           f"and git rebase -i --autosquash, or make it part of {added[path]}")
            edited.append(path)
        maintains: maintainers.Entries = {}
        if maintainers.FILE in edited:
            maintains = maintainers.added(name, *(blob(f"{c}:{maintainers.FILE}") for c in (parents[0], commit)))
        diff = diff_of(commit) if edited else ""
        if not new and not edited:
            raise Fail(name, "changes nothing", "drop it: git -C build/tree rebase -i, and delete its line")
        for path, count in counts.items():
            if count < 0:
                raise Fail(name, f"{path} is a binary file", "a patch set holds text only")
        check_message(name, subject, body)
        top = max(edited or new, key=lambda p: counts[p])
        found.append(Change(commit, Patch(subject, body, list(new), diff, parse_diff(name, diff) if diff else [], maintains), new,
                            top.rpartition("/")[0]))
        added.update({p: name for p in new})
    return found


def _body(commit: str, subject: str, text: str) -> str:
    """A changelog as a patch file has it."""
    lines = [line.rstrip() for line in text.split("\n")]
    signed = [line for line in lines if re.match("Signed-off-by:", line, re.I)]
    if signed:
        say(f"NOTE: commit {commit[:12]} ({subject}): its {signed[0]!r} is left out; a person signs when sending")
        lines = [line for line in lines if line not in signed]
    return "\n".join(lines).strip("\n")


def match_paths(changes: Sequence[Change], known: Mapping[str, Patch]) -> None:
    """Gives each Change the .patch it came from; KNOWN is {.patch file: old Patch}."""
    taken: dict[str, Change] = {}

    def take(wanted: Callable[[Change], list[str]]) -> None:
        for c in changes:
            if not c.path:
                free = [p for p in wanted(c) if p in known and p not in taken]
                if free:
                    c.path = free[0]
                    taken[free[0]] = c
    notes = chain.noted()
    take(lambda c: [p for p in notes.get(c.commit, []) if p in known and known[p].subject == c.patch.subject])
    take(lambda c: [p for p in known if known[p].subject == c.patch.subject])
    take(lambda c: notes.get(c.commit, []))


def name_new(changes: Sequence[Change], topics: Sequence[Topic], known_topic: Mapping[str, str], here: Set[str]) -> None:
    """Topic for each Change; a file name for each that has none. HERE: the topics that this base has."""
    used, before, notes = {c.path for c in changes}, "", chain.noted()
    names = [t.name for t in topics]

    def later(best: set[str]) -> str:
        """The first of them behind the topic of the commit before: topics stand in an order."""
        return next((n for n in names[names.index(before) + 1 if before else 0:] if n in best), "")
    for c in changes:
        subject = c.patch.subject
        fits = [(len(p), t.name) for t in topics for p in t.prefixes if subject.startswith(p)]
        best = {name for length, name in fits if length == max(fits)[0]}
        if len(best) > 1:
            best = best & here or best
        if len(best) == 1:
            c.topic = best.pop()
        elif c.path in known_topic:
            c.topic = known_topic[c.path]
        elif before in best:
            c.topic = before
        elif best and later(best):
            c.topic = later(best)
        else:
            raise Fail(f"commit {c.commit[:12]} ({subject})", "its subject starts with the prefix of "
                       + ("no topic" if not best else f"several topics: {', '.join(sorted(best))}"),
                       "reword it to start with one of: " + "; ".join(f"{t.name}: {' '.join(t.prefixes)}" for t in topics)
                       + "  (or add the prefix to series/topics)")
        before = c.topic
        told = [p for p in notes.get(c.commit, []) if p not in used and not c.path]     # a refresh that was cut off named it
        c.path = c.path or "".join(told[:1])
        if not c.path:
            rest = subject[max(fits)[0]:] if fits else subject.rpartition(": ")[2]
            slug = re.sub(r"[^a-z0-9]+", "-", rest.lower()).strip("-")
            slug = (slug[:50].rpartition("-")[0] if len(slug) > 50 and "-" in slug[:50] else slug[:50]) or "patch"
            stem, n = f"{c.folder}/{slug}".lstrip("/"), 1
            path = f"{stem}.patch"
            while path in used or os.path.lexists(ROOT / path) or os.path.lexists(ROOT / variant(path, base_name())):
                n += 1
                path = f"{stem}-{n}.patch"
            c.path = path
        used.add(c.path)


def order_text(topic: str, paths: Sequence[str]) -> Optional[str]:
    """An order file for PATHS; what people wrote above or beside a line that stays, stays."""
    file = ROOT / order_path(topic)
    if not file.is_file():
        if not paths:
            return None
        return "# SPDX-License-Identifier: GPL-2.0\n" + f"# The patches of topic {topic}, in their order.\n\n" + "".join(f"{p}\n" for p in paths)
    head: list[str] = []
    above: list[str] = []
    lines: dict[str, list[str]] = {}
    kept = read_text(file).split("\n")
    if kept and not kept[-1]:
        kept.pop()
    for line in kept:
        path = line.partition("#")[0].strip()
        if path:
            lines[plain(path)] = above + [line]
            above = []
        else:
            above.append(line)
            if not lines and not line.strip():
                head, above = head + above, []
    if not lines:
        head, above = head + above, []
    first = next(iter(lines), None)
    while first and lines[first][0].startswith("# SPDX"):
        head.append(lines[first].pop(0))
    out = head + above
    for p in reversed(paths):
        kept = lines.get(plain(p), [p])
        out[len(head):len(head)] = [*kept[:-1], p + kept[-1].lstrip()[len(kept[-1].partition("#")[0].strip()):]]
    return "".join(f"{line}\n" for line in out)
