# SPDX-License-Identifier: GPL-2.0
"""The base as a source package of Debian's archive, through apt.

A base with SUITE= comes from a suite that the machine need not have: apt then runs with
sources, lists and cache of its own in build/apt, and the system's are left alone."""
from __future__ import annotations

import functools
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Collection, Iterable, Optional, Sequence, Union

from .common import BUILD, GITDIR, Fail, Steps, free_disk, git, near, ref, run, say, switched_on
from .importer import import_tar
from .repository import settings

KEYRINGS = "/usr/share/keyrings"


def upstream(version: str) -> str:
    """6.12.117-1~deb12u1 -> 6.12.117"""
    return version.rpartition("-")[0].rpartition(":")[2] or version


def _compare(a: str, b: str) -> int:
    if a == b:
        return 0
    return -1 if run(["dpkg", "--compare-versions", a, "lt", b], check=False).returncode == 0 else 1


def _sorted(versions: Iterable[str]) -> list[str]:
    return sorted(versions, key=functools.cmp_to_key(_compare))


class Package:
    """The package of a base."""

    def __init__(self) -> None:
        have = settings()
        self.name, self.pinned, self.suite = have["PACKAGE"], have["VERSION"], have.get("SUITE", "")
        self.options: list[str] = []    # for apt, so that it sees the suite and nothing else
        if self.suite:
            self.folder = BUILD / "apt" / self.suite
            for key, value in {"Dir::Etc::sourcelist": self.folder / "sources.list", "Dir::Etc::sourceparts": os.devnull,
                               "Dir::Etc::preferencesparts": os.devnull, "Dir::Etc::preferences": os.devnull,
                               "Dir::State::lists": self.folder / "lists", "Dir::State::status": os.devnull,
                               "Dir::Cache": self.folder / "cache", "APT::Update::Error-Mode": "any", "Acquire::Languages": "none"}.items():
                self.options += ["-o", f"{key}={value}"]
        if os.geteuid() == 0:
            self.options += ["-o", "APT::Sandbox::User=root"]

    def ref_of(self, version: str) -> str:
        return f"refs/base/{self.name}/{version.replace('~', '_').replace(':', '_')}"

    def imported(self) -> list[str]:
        """The versions that stand in build/git already, oldest first."""
        out = git("for-each-ref", "--format=%(subject)", f"refs/base/{self.name}/")
        return _sorted(line.split(" ")[1] for line in out.split("\n") if line)

    @staticmethod
    def of_upstream(versions: Sequence[str], number: str) -> Optional[str]:
        """The newest revision of an upstream version, or of a full version itself."""
        match = [v for v in versions if number in (v, upstream(v))]
        return match[-1] if match else None

    def _update_suite(self) -> bool:
        """The suite's lists, from one of the archives that the machine has Debian from."""
        rows = run(["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"], check=False).stdout.split("\n")
        archives = list(dict.fromkeys(row.split(" ", 1)[1] for row in rows if row and "security" not in row.split(" ", 1)[0]))
        keys = sorted(Path(KEYRINGS).glob("debian-archive-keyring.*"))
        for uri in archives if keys else []:
            for name in ("lists/partial", "cache/archives/partial"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            (self.folder / "sources.list").write_text(f"deb [signed-by={keys[0]}] {uri} {self.suite} main\n")
            done = run(["apt-get", "update", "-q", *self.options], check=False)
            if done.returncode == 0:
                return True
            say(f"apt-get update for {self.suite}: {done.stderr.strip()}")
        if not keys:
            say(f"{KEYRINGS} has no Debian archive keyring: apt-get install debian-archive-keyring")
        elif not archives:
            say("apt knows no Debian archive to look in")
        return False

    def _update(self, why: str) -> bool:
        """apt-get update, where that is allowed; else says the command."""
        if self.suite:
            say(f"{why}: reading the lists of {self.suite}")
            return self._update_suite()
        if switched_on("NO_INSTALL"):
            say(f"{why}; NO_INSTALL is set, so please type: apt-get update")
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

    def _lists_age(self) -> float:
        out = run(["apt-config", *self.options, "shell", "D", "Dir::State::lists/d"], check=False).stdout
        found = re.search(r"'(.*)'", out)
        times = [f.stat().st_mtime for f in Path(found.group(1) if found else "/var/lib/apt/lists").glob("*Release")]
        return time.time() - max(times) if times else 1e9

    def _madison(self) -> set[str]:
        out = run(["apt-cache", "madison", self.name, *self.options], check=False).stdout
        rows = [[c.strip() for c in line.split("|")] for line in out.split("\n")]
        return {r[1] for r in rows if len(r) == 3 and r[0] == self.name and r[2].endswith("Packages")}

    def archive(self) -> list[str]:
        """The versions that the archive serves, oldest first."""
        if not shutil.which("apt-cache"):
            raise Fail(self.name, "there is no apt on this machine", "give a kernel tree: LINUX=DIR")
        found, updated = self._madison(), False
        if not found or self._lists_age() > 7 * 86400:
            updated = self._update(f"{self.name} is not in apt's lists" if not found else "apt's lists are older than a week")
            found = self._madison()
        if not found:
            where = f"{self.suite} has" if self.suite else "apt knows"
            raise Fail(self.name, f"{where} no such package" if updated else f"{where} no such package, and its lists could not be updated",
                       "check the network and the Debian archive in apt's configuration, or give a kernel tree: LINUX=DIR")
        return _sorted(found)

    def _download(self, version: str, folder: str) -> Path:
        """The .deb, verified by apt."""
        argv = ["apt-get", "download", "-q", *self.options, f"{self.name}={version}"]
        done = run(argv, cwd=folder, check=False)
        if done.returncode and self._update(f"{self.name} {version} could not be downloaded"):
            done = run(argv, cwd=folder, check=False)
        debs = list(Path(folder).glob("*.deb"))
        if done.returncode or len(debs) != 1:
            raise Fail(f"{self.name} {version}", f"download failed: {done.stderr.strip() or 'no .deb came'}",
                       "check the network and run again; or give a kernel tree: LINUX=DIR")
        return debs[0]

    def fetch(self, version: str, only: Optional[Collection[str]] = None, name: str = "") -> str:
        """Makes sure that a version stands in build/git; returns its commit."""
        name = name or self.ref_of(version)
        have = ref(name)
        if have:
            return have
        step = Steps(2)
        found = re.search(r"^Size: (\d+)$", run(["apt-cache", "show", *self.options, f"{self.name}={version}"], check=False).stdout, re.M)
        size = int(found.group(1)) if found else 160_000_000
        free_disk(BUILD, size * (1.1 if only is not None else 3.5), f"{self.name} {version}")
        for left in BUILD.glob("download-*"):
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix="download-", dir=BUILD) as folder:
            step(f"downloading {self.name} {version} ({size / 1e6:.0f} MB)")
            deb = self._download(version, folder)
            step(f"reading {'some files of ' if only is not None else ''}{deb.name} into {near(GITDIR)}")
            commands: list[list[Union[str, Path]]] = [["dpkg-deb", "--fsys-tarfile", deb],
                                                      ["tar", "-xOf", "-", f"./usr/src/{self.name}.tar.xz"], ["xz", "-dc"]]
            try:
                return import_tar(commands, name, f"{self.name} {version}\n\nThe source of Debian's package, unchanged.\n", only)
            except Fail as e:
                raise Fail(f"{self.name} {version}", f"the download is broken and removed ({e})", "run again") from e

    def choose(self) -> str:
        """The pinned version; the newest there is when that is gone, said aloud."""
        have = self.imported()
        found = self.of_upstream(have, self.pinned)
        if found:
            return found
        try:
            there = self.archive()
        except Fail as e:
            if not have:
                raise
            say(f"NOTE: {e}; using {self.name} {have[-1]}, which is here already, instead of the pinned {self.pinned}")
            return have[-1]
        found = self.of_upstream(there, self.pinned)
        if not found:
            say(f"NOTE: the pinned {self.name} {self.pinned} is gone from the archive; using the newest, {there[-1]}")
        return found or there[-1]
