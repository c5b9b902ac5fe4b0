# SPDX-License-Identifier: GPL-2.0
"""What the repository says: bases, topics, their order, the files of patches. Nothing else reads series/."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import maintainers
from .common import ROOT, Fail
from .patchfile import Patch, check_path, parse, read_text

DEFAULT = "6.12"
SETTING = re.compile(r"(PACKAGE|VERSION|SUITE|PREFIX(?:\.[a-z0-9-]+)?)=(\S.*)")


@dataclass
class Topic:
    name: str
    prefixes: list[str]     # of its commits' subjects
    after: str = ""         # the topic that it stands on; else it applies to the base alone


def bases(root: Path = ROOT) -> list[str]:
    """The folders of series/ with a file base, 6.12 before 6.18 before 7.3."""
    return sorted((p.parent.name for p in (root / "series").glob("*/base")), key=lambda n: [int(d) for d in re.findall(r"\d+", n)])


def base_name() -> str:
    """The base that is asked for."""
    name = os.environ.get("BASE") or DEFAULT
    if name not in bases():
        raise Fail(f"BASE={name}", "is no base of this set", f"give one of: {', '.join(bases())}")
    return name


def settings(base: Optional[str] = None) -> dict[str, str]:
    """The lines KEY=VALUE of series/BASE/base."""
    name, found = f"series/{base or base_name()}/base", {}
    for line in read_text(ROOT / name).split("\n"):
        line = line.partition("#")[0].strip()
        match = SETTING.fullmatch(line)
        if match:
            found[match.group(1)] = match.group(2)
        elif line:
            raise Fail(name, f"cannot be read: {line!r}", "write PACKAGE=, VERSION=, SUITE=, PREFIX= or PREFIX.TOPIC=")
    if not {"PACKAGE", "VERSION"} <= set(found):
        raise Fail(name, "does not set PACKAGE= and VERSION=", "set both")
    return found


def prefix_of(topic: str) -> str:
    """What stands in the brackets of the topic's subjects: "PATCH net-next"."""
    name, have = f"series/{base_name()}/base", settings()
    words = have.get(f"PREFIX.{topic}", have.get("PREFIX"))
    todo = f"write the line PREFIX.{topic}=PATCH, with the tree's tag if it has one, as in PATCH net-next"
    if not words:
        raise Fail(name, f"has no PREFIX for topic {topic}", todo)
    if not re.fullmatch(r"[!-Z^-~]+( [!-Z^-~]+)*", words):
        raise Fail(name, f"{words!r} cannot stand in a subject's brackets", todo)
    return words


def topics(root: Path = ROOT) -> list[Topic]:
    """All topics, in the order in which they are committed."""
    found: list[Topic] = []
    for line in read_text(root / "series" / "topics").split("\n"):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        name, _, prefixes = line.partition(" ")
        after = ""
        if re.match(r"\s*after\s", prefixes):
            _, after, prefixes = prefixes.split(None, 2)
            if after not in (t.name for t in found):
                raise Fail("series/topics", f"{name} stands after {after!r}, which is no topic above it", "name a topic that comes before")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or name in ("all", "base", "mail") or name in (t.name for t in found):
            raise Fail("series/topics", f"{name!r} cannot name a topic (or does so twice)", "use a name of its own, a-z 0-9 and -")
        found.append(Topic(name, [p.strip() for p in prefixes.split("|") if p.strip()], after))
    return found


def present(root: Path = ROOT, base: Optional[str] = None) -> list[Topic]:
    """The topics that have an order file for this base."""
    return [t for t in topics(root) if (root / order_path(t.name, base)).is_file()]


def below(name: str, root: Path = ROOT, base: Optional[str] = None) -> list[str]:
    """The topics with patches for this base that a topic stands on, the lowest first."""
    after = {t.name: t.after for t in topics(root)}
    found: list[str] = []
    while after[name]:
        name = after[name]
        if order(name, root, base):
            found.insert(0, name)
    return found


def topic_named(name: str) -> Topic:
    """The topic of an option --topic; refuses others, and one without patches for this base."""
    for t in present():
        if t.name == name and order(name):
            return t
    what = f"has no patches for base {base_name()}" if name in (t.name for t in topics()) else "there is no such topic"
    names = [t.name for t in present() if order(t.name)]
    raise Fail(f"TOPIC={name}", what, f"give one of: {', '.join(names)}" if names else f"give another base: {', '.join(others())}")


def order_path(topic: str, base: Optional[str] = None) -> str:
    return f"series/{base or base_name()}/{topic}.order"


def order(topic: str, root: Path = ROOT, base: Optional[str] = None) -> list[str]:
    """The .patch files of a topic, in their order."""
    name = order_path(topic, base)
    if not (root / name).is_file():
        return []
    paths = [line.partition("#")[0].strip() for line in read_text(root / name).split("\n")]
    paths = [p for p in paths if p]
    for p in paths:
        check_path(name, p)
        if not p.endswith(".patch"):
            raise Fail(name, f"{p} is not the name of a .patch file", "list files NAME.patch or NAME@BASE.patch")
        if p not in (plain(p), variant(p, base or base_name())):
            raise Fail(name, f"lists {p}, which is another base's", f"list {plain(p)} or {variant(p, base or base_name())}")
        if paths.count(p) > 1:
            raise Fail(name, f"lists {p} twice", "remove one line")
    return paths


def plain(path: str) -> str:
    """a/b@7.3.patch -> a/b.patch"""
    return re.sub(r"@[^/@]+(?=\.patch$)", "", path)


def variant(path: str, base: str) -> str:
    """a/b.patch -> a/b@7.3.patch"""
    stem, suffix = os.path.splitext(plain(path))
    return f"{stem}@{base}{suffix}"


def own(path: str, root: Path = ROOT, base: Optional[str] = None) -> str:
    """The file that stands for PATH: the base's own, PATH@BASE, before the shared one.

    KVM's selftests for x86 are in x86_64/ before 6.14 and in x86/ since. What is only in
    x86_64/ here stands for x86/ as well.
    """
    mine = variant(path, base or base_name())
    if os.path.lexists(root / mine):
        return mine
    if path.startswith("tools/testing/selftests/kvm/") and not os.path.lexists(root / path):
        old = path.replace("/x86/", "/x86_64/")
        return old if os.path.lexists(root / old) else path
    return path


def cover_path(topic: str) -> str:
    return own(f"series/{topic}.cover")


def load(path: str, root: Path = ROOT) -> Patch:
    """A .patch file, with its lines of MAINTAINERS."""
    if not (root / path).is_file():
        raise Fail(path, "is listed in an order file but is not there", "restore the file, or remove the line")
    patch = parse(path, read_text(root / path))
    if patch.maintains:
        there = maintainers.ours(root)
        for entry in patch.maintains:
            if not there.get(entry):
                raise Fail(path, f"takes the lines of {entry!r}, of which {maintainers.FILE} has none", f"write them in {maintainers.FILE}")
            patch.maintains[entry] = there[entry]
    return patch


def listed(root: Path = ROOT, base: Optional[str] = None) -> dict[str, str]:
    """{.patch file: topic} over all topics."""
    found: dict[str, str] = {}
    for topic in topics(root):
        for path in order(topic.name, root, base):
            if path in found:
                raise Fail(order_path(topic.name, base), f"lists {path}, which {found[path]} lists too", "remove one line")
            found[path] = topic.name
    return found


def others() -> list[str]:
    return [b for b in bases() if b != base_name()]


def inputs(root: Path = ROOT, base: Optional[str] = None) -> list[str]:
    """All repository files that the set for a base is made of."""
    files = [order_path(t.name, base) for t in present(root, base)]
    for path in listed(root, base):
        files += [path, *(own(a, root, base) for a in load(path, root).adds)]
    return files + [maintainers.FILE] * (root / maintainers.FILE).is_file()


def check_entries(root: Path = ROOT) -> None:
    """Each entry of our MAINTAINERS goes into one patch: not into none, not into two."""
    taken: dict[str, str] = {}
    for path in listed(root):
        for entry in load(path, root).maintains:
            if entry in taken:
                raise Fail(path, f"takes the lines of {entry!r}, which {taken[entry]} takes too", "take the line Maintains: out of one")
            taken[entry] = path
    elsewhere = {e for b in others() for p in listed(root, b) for e in load(p, root).maintains}
    left = set(maintainers.ours(root)) - set(taken) - elsewhere
    if left:
        raise Fail(maintainers.FILE, f"no patch takes the lines of {sorted(left)[0]!r}", "write a line 'Maintains: ENTRY' into one")


def document() -> dict[str, Any]:
    """All of it for one base: what `series show` prints."""
    have, found = settings(), []
    for t in present():
        patches = []
        for path in order(t.name):
            p = load(path)
            touches = [f for f, _ in p.files]
            patches.append({"path": path, "subject": p.subject, "adds": p.adds, "touches": touches, "maintains": sorted(p.maintains),
                            "selftest": any(f.startswith("tools/testing/selftests/") for f in p.adds + touches)})
        found.append({"name": t.name, "below": below(t.name), "subject_prefix": prefix_of(t.name), "prefixes": t.prefixes,
                      "cover": cover_path(t.name) if (ROOT / cover_path(t.name)).is_file() else None, "patches": patches})
    return {"bases": bases(), "base": base_name(), "package": have["PACKAGE"], "version": have["VERSION"], "topics": found}
