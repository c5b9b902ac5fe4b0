# SPDX-License-Identifier: GPL-2.0
"""A source tarball into build/git as one commit, streamed: nothing is unpacked to disk."""
from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import IO, Collection, Optional, Sequence, Union

from .common import GITDIR, IDENT, Fail, environment, git


def _stop(procs: Sequence[subprocess.Popen[bytes]]) -> None:
    for p in procs:
        if p.poll() is None:
            p.kill()
        p.wait()


def _said(procs: Sequence[subprocess.Popen[bytes]]) -> str:
    return " ".join(p.stderr.read().decode(errors="replace").strip() for p in procs if p.stderr).strip()


def _sweep() -> None:
    """What a killed import leaves; only called under the lock."""
    for pattern in ("objects/pack/tmp_*", "fast_import_crash_*"):
        for left in GITDIR.glob(pattern):
            left.unlink()


def _entries(tar: tarfile.TarFile, send: IO[bytes], only: Optional[Collection[str]]) -> tuple[dict[str, tuple[str, int]], Optional[int]]:
    """Sends each file's content; returns {path: (mode, mark)} and the Makefile's time."""
    entries: dict[str, tuple[str, int]] = {}
    when, mark = None, 0
    for m in tar:
        path = m.name.removeprefix("./").partition("/")[2]
        if path == "Makefile":
            when = int(m.mtime)
        if m.isdir() or not path or (only is not None and path not in only):
            continue
        if m.islnk():
            entries[path] = entries[m.linkname.removeprefix("./").partition("/")[2]]
            continue
        if m.issym():
            mode, data = "120000", m.linkname.encode("utf-8", "surrogateescape")
        elif m.isreg():
            file = tar.extractfile(m)
            mode, data = "100755" if m.mode & 0o100 else "100644", file.read() if file else b""
        else:
            raise Fail(path, "is neither file, folder nor link", "this is no kernel source tarball")
        mark += 1
        send.write(b"blob\nmark :%d\ndata %d\n" % (mark, len(data)) + data + b"\n")
        entries[path] = (mode, mark)
    return entries, when


def import_tar(commands: Sequence[Sequence[Union[str, Path]]], ref: str, message: str, only: Optional[Collection[str]] = None) -> str:
    """Runs COMMANDS as a pipeline that ends in a tar stream; makes REF from it, or nothing.

    The commit depends on the tar and the message alone. ONLY limits it to some paths."""
    _sweep()
    procs: list[subprocess.Popen[bytes]] = []
    previous: Optional[IO[bytes]] = None
    try:
        for argv in commands:
            p = subprocess.Popen([str(a) for a in argv], stdin=previous or subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
            if previous:
                previous.close()
            procs.append(p)
            previous = p.stdout
        into = subprocess.Popen(["git", f"--git-dir={GITDIR}", "-c", "pack.compression=1", "-c", "fastimport.unpackLimit=0",
                                 "fast-import", "--done", "--quiet", "--depth=0", "--force"], stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment())
        procs.append(into)
        send = into.stdin
        assert send and previous
        try:
            with tarfile.open(fileobj=previous, mode="r|", bufsize=1 << 20) as tar:
                entries, when = _entries(tar, send, only)
            while previous.read(1 << 20):
                pass
        except (tarfile.TarError, EOFError, KeyError) as e:
            _stop(procs[:-1])
            raise Fail(message.split("\n", maxsplit=1)[0], f"the tarball cannot be read: {_said(procs[:-1]) or e}") from e
        for p, argv in zip(procs[:-1], commands):
            if p.wait():
                raise Fail(message.split("\n", maxsplit=1)[0], f"{argv[0]}: {_said([p])}")
        if when is None:
            raise Fail(message.split("\n", maxsplit=1)[0], "the tarball holds no Makefile", "this is no kernel source tarball")
        text = message.encode()
        who = f"{IDENT[0]} <{IDENT[1]}> {when} +0000".encode()
        send.write(b"commit %s\nauthor %s\ncommitter %s\ndata %d\n%s\n" % (ref.encode(), who, who, len(text), text))
        for path, (mode, mark) in sorted(entries.items()):
            quoted = path.encode("utf-8", "surrogateescape")
            if quoted.startswith(b'"') or b"\n" in quoted:
                raise Fail(path, "has a name that cannot be imported")
            send.write(b"M %s :%d %s\n" % (mode.encode(), mark, quoted))
        send.write(b"\ndone\n")
        send.close()
        if into.wait():
            raise Fail("git fast-import", _said([into]))
    except BrokenPipeError as e:
        raise Fail("git fast-import", _said(procs[-1:]) or "stopped") from e
    finally:
        _stop(procs)
        _sweep()
    return git("rev-parse", f"{ref}^{{commit}}")
