# SPDX-License-Identifier: GPL-2.0
"""The base as a source package of the machine's own apt archive."""
import functools
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from common import BUILD, GITDIR, ROOT, Fail, Steps, base_name, free_disk, git, init, ref, run, say
from importer import import_tar


def pinned():
    """(package, version) of series/<base>/base."""
    path = ROOT / "series" / base_name() / "base"
    found = dict(re.findall(r"^([A-Z]+)=(\S+)$", path.read_text(), re.M))
    if not {"PACKAGE", "VERSION"} <= set(found):
        raise Fail(f"series/{base_name()}/base", "does not set PACKAGE= and VERSION=", "set both")
    return found["PACKAGE"], found["VERSION"]


def upstream(version):
    """6.12.117-1~deb12u1 -> 6.12.117"""
    return version.rpartition("-")[0].rpartition(":")[2] or version


@functools.cmp_to_key
def order(a, b):
    if a == b:
        return 0
    return -1 if run(["dpkg", "--compare-versions", a, "lt", b], check=False).returncode == 0 else 1


def ref_of(package, version):
    return f"refs/base/{package}/{version.replace('~', '_').replace(':', '_')}"


def imported(package):
    """The versions that stand in build/git already, oldest first."""
    out = git("for-each-ref", "--format=%(subject)", f"refs/base/{package}/")
    return sorted((line.split(" ")[1] for line in out.split("\n") if line), key=order)


def _update(why):
    """apt-get update, where that is allowed; else says the command."""
    if os.environ.get("NO_INSTALL") == "1":
        say(f"{why}; NO_INSTALL=1 forbids to run: apt-get update")
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and (not shutil.which("sudo") or run(["sudo", "-n", "true"], check=False).returncode):
        say(f"{why}; not root, so please type: sudo apt-get update")
        return False
    say(f"{why}: running apt-get update")
    done = run(sudo + ["apt-get", "update", "-q"], check=False)
    if done.returncode:
        say(f"apt-get update: {done.stderr.strip()}")
    return done.returncode == 0


def _lists_age():
    out = run(["apt-config", "shell", "D", "Dir::State::lists/d"], check=False).stdout
    folder = (re.search(r"'(.*)'", out) or [None, "/var/lib/apt/lists"])[1]
    times = [f.stat().st_mtime for f in Path(folder).glob("*Release")]
    return time.time() - max(times) if times else 1e9


def archive(package):
    """The versions that the archive serves, oldest first."""
    if not shutil.which("apt-cache"):
        raise Fail(package, "there is no apt on this machine", "give a kernel tree: LINUX=DIR")

    def madison():
        out = run(["apt-cache", "madison", package], check=False).stdout
        rows = [[c.strip() for c in line.split("|")] for line in out.split("\n")]
        return {r[1] for r in rows if len(r) == 3 and r[0] == package and r[2].endswith("Packages")}
    found, updated = madison(), False
    if not found or _lists_age() > 7 * 86400:
        updated = _update(f"{package} is not in apt's lists" if not found else "apt's lists are older than a week")
        found = madison()
    if not found:
        raise Fail(package, "apt knows no such package" if updated else "apt knows no such package, and its lists could not be updated",
                   "check the network and the Debian archive in apt's configuration, or give a kernel tree: LINUX=DIR")
    return sorted(found, key=order)


def of_upstream(versions, number):
    """The newest revision of an upstream version, or of a full version itself."""
    match = [v for v in versions if number in (v, upstream(v))]
    return match[-1] if match else None


def _download(package, version, folder):
    """The .deb, verified by apt."""
    sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []

    def get():
        return run(["apt-get", "download", "-q", *sandbox, f"{package}={version}"], cwd=folder, check=False)
    done = get()
    if done.returncode and _update(f"{package} {version} could not be downloaded"):
        done = get()
    debs = list(Path(folder).glob("*.deb"))
    if done.returncode or len(debs) != 1:
        raise Fail(f"{package} {version}", f"download failed: {done.stderr.strip() or 'no .deb came'}",
                   "check the network and run again; or give a kernel tree: LINUX=DIR")
    return debs[0]


def fetch(package, version, only=None, name=None):
    """Makes sure that a version stands in build/git; returns its commit."""
    name = name or ref_of(package, version)
    if ref(name):
        return ref(name)
    init()
    step = Steps(2)
    shown = run(["apt-cache", "show", f"{package}={version}"], check=False).stdout
    size = int((re.search(r"^Size: (\d+)$", shown, re.M) or [0, 160_000_000])[1])
    free_disk(BUILD, size * (1.1 if only is not None else 3.5), f"{package} {version}")
    for left in BUILD.glob("download-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix="download-", dir=BUILD) as folder:
        step(f"downloading {package} {version} ({size / 1e6:.0f} MB)")
        deb = _download(package, version, folder)
        step(f"reading {'some files of ' if only is not None else ''}{deb.name} into {GITDIR.relative_to(ROOT)}")
        inner = f"./usr/src/{package}.tar.xz"
        try:
            return import_tar([["dpkg-deb", "--fsys-tarfile", deb], ["tar", "-xOf", "-", inner], ["xz", "-dc"]], name,
                              f"{package} {version}\n\nThe source of Debian's package, unchanged.\n", only)
        except Fail as e:
            raise Fail(f"{package} {version}", f"the download is broken and removed ({e})", "run again") from e


def choose():
    """(package, version): the pinned one; the newest there is when that is gone, said aloud."""
    package, number = pinned()
    have = imported(package)
    if of_upstream(have, number):
        return package, of_upstream(have, number)
    try:
        there = archive(package)
    except Fail as e:
        if not have:
            raise
        say(f"NOTE: {e}; using {package} {have[-1]}, which is here already, instead of the pinned {number}")
        return package, have[-1]
    if of_upstream(there, number):
        return package, of_upstream(there, number)
    say(f"NOTE: the pinned {package} {number} is gone from the archive; using the newest, {there[-1]}")
    return package, there[-1]
