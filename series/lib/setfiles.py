# SPDX-License-Identifier: GPL-2.0
"""What the repository says: topics, their order per base, the files of patches."""
import re
from dataclasses import dataclass

import maintainers
from common import ROOT, Fail, base_name
from patchfile import check_path, parse, read_text


@dataclass
class Topic:
    name: str
    prefixes: list


def topics(root=ROOT):
    """The topics in the order in which they are committed."""
    found = []
    for line in read_text(root / "series" / "topics").split("\n"):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        name, _, prefixes = line.partition(" ")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or name in ("all", "base", "mail") or name in (t.name for t in found):
            raise Fail("series/topics", f"{name!r} cannot name a topic (or does so twice)", "use a name of its own, a-z 0-9 and -")
        found.append(Topic(name, [p.strip() for p in prefixes.split("|") if p.strip()]))
    return found


def order_path(topic, base=None):
    return f"series/{base or base_name()}/{topic}.order"


def order(topic, root=ROOT, base=None):
    """The paths of a topic's patches, as its order file lists them."""
    name = order_path(topic, base)
    if not (root / name).is_file():
        return []
    paths = [line.partition("#")[0].strip() for line in read_text(root / name).split("\n")]
    paths = [p for p in paths if p]
    for p in paths:
        check_path(name, p)
        if not p.endswith(".patch") or "@" in p.rpartition("/")[2]:
            raise Fail(name, f"{p} is not the plain name of a .patch file", "list NAME.patch; NAME@BASE.patch is found by itself")
        if paths.count(p) > 1:
            raise Fail(name, f"lists {p} twice", "remove one line")
    return paths


def variant(path, base):
    return f"{path.removesuffix('.patch')}@{base}.patch"


def resolve(path, root=ROOT, base=None):
    """The file for a listed path: the base's own variant before the shared one."""
    own = variant(path, base or base_name())
    return own if (root / own).is_file() else path


def load(path, root=ROOT, base=None):
    """(file, Patch) for a listed path."""
    file = resolve(path, root, base)
    if not (root / file).is_file():
        raise Fail(file, "is listed in an order file but is not there", "restore the file, or remove the line")
    patch = parse(file, read_text(root / file))
    if patch.maintains:
        there = maintainers.ours(root)
        for entry in patch.maintains:
            if not there.get(entry):
                raise Fail(file, f"takes the lines of {entry!r}, of which {maintainers.FILE} has none", f"write them in {maintainers.FILE}")
            patch.maintains[entry] = there[entry]
    return file, patch


def listed(root=ROOT, base=None):
    """{listed path: topic} over all topics."""
    found = {}
    for topic in topics(root):
        for path in order(topic.name, root, base):
            if path in found:
                raise Fail(order_path(topic.name, base), f"lists {path}, which {found[path]} lists too", "remove one line")
            found[path] = topic.name
    return found


def bases(root=ROOT):
    return sorted(p.parent.name for p in (root / "series").glob("*/base"))


def inputs(root=ROOT):
    """All repository files that the set for this base is made of."""
    files = [order_path(t.name) for t in topics(root) if (root / order_path(t.name)).is_file()]
    for path in listed(root):
        file, patch = load(path, root)
        files += [file] + patch.adds
    return files + [maintainers.FILE] * (root / maintainers.FILE).is_file()


def check_entries(root=ROOT):
    """Each entry of our MAINTAINERS goes into one patch: not into none, not into two."""
    taken = {}
    for path in listed(root):
        file, patch = load(path, root)
        for entry in patch.maintains:
            if entry in taken:
                raise Fail(file, f"takes the lines of {entry!r}, which {taken[entry]} takes too", "take the line Maintains: out of one")
            taken[entry] = file
    others = {e for b in bases(root) if b != base_name() for p in listed(root, b) for e in load(p, root, b)[1].maintains}
    left = set(maintainers.ours(root)) - set(taken) - others
    if left:
        raise Fail(maintainers.FILE, f"no patch takes the lines of {sorted(left)[0]!r}", "write a line 'Maintains: ENTRY' into one")
