# SPDX-License-Identifier: GPL-2.0
"""Many files written as one: all staged first; a rename decides; what was cut off is finished."""
import json
import os
import shutil
import signal
from pathlib import Path

from common import BUILD, ROOT, git, say

PENDING = BUILD / "refresh-pending"
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def commit(stage, write, remove, refs, notes):
    """Moves the files WRITE ({name: mode}) of the folder STAGE into the repository, takes REMOVE away, sets REFS and NOTES."""
    (stage / "plan.json").write_text(json.dumps({"write": write, "remove": remove, "refs": refs, "notes": notes}))
    os.sync()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        os.rename(stage, PENDING)
        _finish()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _place(source, target, mode):
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.refresh")
    part.unlink(missing_ok=True)
    if mode == "120000":
        os.symlink(os.readlink(source), part)
    else:
        shutil.copyfile(source, part)
        part.chmod(0o755 if mode == "100755" else 0o644)
    os.replace(part, target)


def _finish():
    import chain   # chain needs common, which calls recover()
    plan = json.loads((PENDING / "plan.json").read_text())
    for name in plan["remove"]:
        (ROOT / name).unlink(missing_ok=True)
        folder = Path(ROOT / name).parent
        while folder != ROOT and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent
    for name, mode in plan["write"].items():
        _place(PENDING / name, ROOT / name, mode)
    chain.note(plan["notes"])
    git("update-ref", "--stdin", data="".join(f"update {n} {c}\n" for n, c in plan["refs"].items()))
    gone = BUILD / "refresh-done"
    shutil.rmtree(gone, ignore_errors=True)
    os.rename(PENDING, gone)
    shutil.rmtree(gone)


def recover():
    """Finishes a refresh that was cut off after its decision; drops one cut off before."""
    for left in BUILD.glob("refresh-stage-*"):
        shutil.rmtree(left)
    if PENDING.exists():
        say("finishing a refresh that was cut off")
        _finish()
