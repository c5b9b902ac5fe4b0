# SPDX-License-Identifier: GPL-2.0
"""What all modules share: errors, git, the lock, where things are."""
from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator, Mapping, Sequence, Union

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
GITDIR = BUILD / "git"
TREE = BUILD / "tree"
OUT = ROOT / "out"
Who = tuple[str, str]       # name, address
IDENT: Who = ("linux patch set", "patch-set@localhost")
NOTES = "refs/notes/patch"


class Fail(Exception):
    """An error for people: the thing, the cause, and what to do."""

    def __init__(self, thing: str, cause: str, todo: str = ""):
        super().__init__(f"{thing}: {cause}")
        self.text = f"{thing}: {cause}" + (f"\n  what to do: {todo}" if todo else "")


class SystemFail(Fail):
    """An error of the system, such as a full disk or a file of somebody else's."""

    def __init__(self, error: OSError):
        todo = "free some disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"see that {ROOT} is yours to read and write"
        super().__init__(str(error.filename or "the system"), error.strerror or str(error), f"{todo}, and run again")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def near(path: Path) -> str:
    """A path as people see it: from the repository's top, where it is inside."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


def switched_on(name: str) -> bool:
    """Whether a variable such as ALL=1 is on: not where it is empty or 0."""
    return os.environ.get(name, "") not in ("", "0")


def make_hint(target: str) -> str:
    """How to call make so that it means the same base as this run."""
    words = [f"{k}={shlex.quote(os.environ[k])}" for k in ("BASE", "LINUX") if os.environ.get(k)]
    return " ".join(["make", target] + words)


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def environment(neutral: bool = True) -> dict[str, str]:
    """Neutral: no git setting of the user or the machine can change the result."""
    keep_user = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM",
                 "GIT_CONFIG_NOSYSTEM", "GIT_SSH")
    env = {k: v for k, v in os.environ.items()
           if not k.startswith("GIT_") or (not neutral and k.startswith(keep_user))}
    env.update(LC_ALL="C", GIT_TERMINAL_PROMPT="0", GIT_EDITOR="true")
    if neutral:
        env.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", GIT_ATTR_NOSYSTEM="1",
                   GIT_AUTHOR_NAME=IDENT[0], GIT_AUTHOR_EMAIL=IDENT[1],
                   GIT_COMMITTER_NAME=IDENT[0], GIT_COMMITTER_EMAIL=IDENT[1])
    return env


def run(argv: Sequence[Union[str, Path]], data: Union[str, bytes, None] = None, env: Union[Mapping[str, str], None] = None,
        cwd: Union[str, Path, None] = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs a command; text in and out, bytes that are not UTF-8 survive."""
    try:
        done = subprocess.run([str(a) for a in argv], input=encode(data) if isinstance(data, str) else data, env=env, cwd=cwd, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL if data is None else None)
    except FileNotFoundError as e:
        raise Fail(str(argv[0]), "is not installed" if e.filename == str(argv[0]) else str(e),
                   f"install it (Debian: apt-get install {argv[0]})") from e
    out, err = (s.decode("utf-8", "surrogateescape") for s in (done.stdout, done.stderr))
    if check and done.returncode:
        shown = re.sub(r" --(?:git-dir|work-tree)=\S+| -c \S+", "", " ".join(str(a) for a in argv))
        raise Fail(shown[:100], f"exit {done.returncode}: {err.strip() or 'no message'}")
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def git(*args: str, data: Union[str, bytes, None] = None, env: Union[Mapping[str, str], None] = None, check: bool = True) -> str:
    """git in build/git, neutral; returns its output without the last newline."""
    argv = ["git", f"--git-dir={GITDIR}", "-c", f"core.attributesFile={os.devnull}"]
    return run([*argv, *args], data=data, env={**environment(), **(env or {})}, check=check).stdout.removesuffix("\n")


def blob(name: str, env: Union[Mapping[str, str], None] = None) -> str:
    """A file's whole content: "SHA", "COMMIT:PATH" or ":PATH" of an index."""
    return run(["git", f"--git-dir={GITDIR}", "cat-file", "blob", name], env={**environment(), **(env or {})}).stdout


def ref(name: str) -> Union[str, None]:
    """The commit a ref of build/git points to, or None."""
    return git("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}", check=False) or None


def init() -> None:
    """Makes build/git when it is not there."""
    if not (GITDIR / "patch-set-ok").exists():
        BUILD.mkdir(exist_ok=True)
        run(["git", "init", "--quiet", "--bare", "--initial-branch=none", GITDIR], env=environment())
        for key, value in (("gc.auto", "0"), ("maintenance.auto", "false"), ("core.logAllRefUpdates", "true"),
                           ("core.compression", "1"), ("notes.rewriteRef", NOTES), ("advice.detachedHead", "false"),
                           ("core.quotePath", "false")):
            git("config", key, value)
        # what a diff says after @@ must not depend on where git is run
        (GITDIR / "info").mkdir(exist_ok=True)
        (GITDIR / "info" / "attributes").write_text("*.c diff=cpp\n*.h diff=cpp\n*.py diff=python\n")
        (GITDIR / "patch-set-ok").write_text("")


def free_disk(folder: Path, need: float, what: str) -> None:
    have = shutil.disk_usage(folder).free
    if have < need:
        raise Fail(what, f"needs {need / 1e9:.1f} GB of disk, {folder} has {have / 1e9:.1f} GB free", "free some disk and try again")


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """One program at a time works in build/; the others wait, and say so."""
    BUILD.mkdir(exist_ok=True)
    lock = os.open(BUILD / "series.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 200, 0).decode(errors="replace") or "another run"
        say(f"waiting for {holder} to finish with build/ ...")
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{name} (pid {os.getpid()})".encode(), 0)
        init()
        yield
    finally:
        os.close(lock)


class Steps:
    """Which step of how many, and the time."""

    def __init__(self, total: int):
        self.total, self.at, self.start = total, 0, time.monotonic()

    def __call__(self, text: str) -> None:
        self.at += 1
        say(f"[{self.at}/{self.total}] {time.monotonic() - self.start:4.0f} s  {text}")
