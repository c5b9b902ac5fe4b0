# SPDX-License-Identifier: GPL-2.0
"""What the programs of series/bin share: errors, git, the lock, where things are."""
import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
GITDIR = BUILD / "git"
TREE = BUILD / "tree"
SRC = BUILD / "src"
OUT = ROOT / "out"
IDENT = ("linux patch set", "patch-set@localhost")
NOTES = "refs/notes/patch"


class Fail(Exception):
    """An error for people: the thing, the cause, and what to do."""

    def __init__(self, thing, cause, todo=""):
        super().__init__(f"{thing}: {cause}")
        self.text = f"{thing}: {cause}" + (f"\n  to do: {todo}" if todo else "")


def say(text):
    print(text, file=sys.stderr, flush=True)


def base_name():
    """The name of the base that is asked for: a folder under series/."""
    name = os.environ.get("BASE") or "6.12"
    if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._-]*", name):
        raise Fail(f"BASE={name}", "is not the name of a base", "give one of the folders series/*/ that hold a file base")
    if not (ROOT / "series" / name / "base").is_file():
        raise Fail(f"BASE={name}", f"there is no series/{name}/base", "give one of the folders series/*/ that hold a file base")
    return name


def make_hint(target):
    """How to call make so that it means the same base as this run."""
    words = [f"{k}={shlex.quote(os.environ[k])}" for k in ("BASE", "LINUX") if os.environ.get(k)]
    return " ".join(["make", target] + words)


def environment(neutral=True):
    """Neutral: no git setting of the user or machine can change what comes out."""
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


def run(argv, data=None, env=None, cwd=None, check=True):
    """Runs a command; text in and out, bytes that are not UTF-8 survive."""
    def encode(s):
        return s if isinstance(s, (bytes, type(None))) else s.encode("utf-8", "surrogateescape")
    try:
        done = subprocess.run([str(a) for a in argv], input=encode(data), env=env, cwd=cwd, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL if data is None else None)
    except FileNotFoundError as e:
        raise Fail(str(argv[0]), "is not installed" if e.filename == str(argv[0]) else str(e),
                   f"install it (Debian: apt-get install {argv[0]})") from e
    done.stdout = done.stdout.decode("utf-8", "surrogateescape")
    done.stderr = done.stderr.decode("utf-8", "surrogateescape")
    if check and done.returncode:
        shown = re.sub(r" --(?:git-dir|work-tree)=\S+| -c \S+", "", " ".join(str(a) for a in argv))
        raise Fail(shown[:100], f"exit {done.returncode}: {done.stderr.strip() or 'no message'}")
    return done


def git(*args, data=None, env=None, check=True):
    """git in build/git, neutral; returns its output without the last newline."""
    full = environment()
    full.update(env or {})
    argv = ["git", f"--git-dir={GITDIR}", "-c", f"core.attributesFile={os.devnull}"]
    return run(argv + list(args), data=data, env=full, check=check).stdout.removesuffix("\n")


def ref(name):
    """The commit a ref of build/git points to, or None."""
    return git("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}", check=False) or None


def init():
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


def free_disk(folder, need, what):
    have = shutil.disk_usage(folder).free
    if have < need:
        raise Fail(what, f"needs {need / 1e9:.1f} GB of disk, {folder} has {have / 1e9:.1f} GB free", "free some disk and try again")


def tell(lock, text):
    os.ftruncate(lock, 0)
    os.pwrite(lock, text.encode(), 0)


def take_lock():
    """One series program at a time works in build/; the others wait, and say so."""
    BUILD.mkdir(exist_ok=True)
    lock = os.open(BUILD / "series.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 200, 0).decode(errors="replace") or "another run"
        say(f"waiting for {holder} to finish with build/ ...")
        fcntl.flock(lock, fcntl.LOCK_EX)
    tell(lock, f"{Path(sys.argv[0]).name} (pid {os.getpid()})")
    return lock


def main(work, locked=True):
    """Runs a program's work(); turns errors and signals into messages and exit codes."""
    name = Path(sys.argv[0]).name

    def stop(number, _frame):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        if locked:
            keep = take_lock()
            init()
            from journal import recover
            recover()
            work()
            os.close(keep)
        else:
            work()
    except Fail as e:
        say(f"{name}: error: {e.text}")
        sys.exit(1)
    except KeyboardInterrupt:
        say(f"{name}: interrupted; nothing half-done is left")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)


class Steps:
    """Which step of how many, and the time."""

    def __init__(self, total):
        self.total, self.at, self.start = total, 0, time.monotonic()

    def __call__(self, text):
        self.at += 1
        say(f"[{self.at}/{self.total}] {time.monotonic() - self.start:4.0f} s  {text}")
