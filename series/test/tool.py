# SPDX-License-Identifier: GPL-2.0
"""For the tests: what checks/ asks of patchset, as lines "ok" and "not ok", in the repository of the current folder."""
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, "series")
from patchset.common import Fail, locked, ref, say  # noqa: E402
from patchset.mailcheck import check  # noqa: E402
from patchset.repository import base_name, topic_named  # noqa: E402
from patchset.state import commit_set  # noqa: E402
from patchset.versions import candidates  # noqa: E402


def applies() -> list[tuple[str, list[str]]]:
    found = []
    for label, get in candidates():
        try:
            found.append((f"{len(commit_set(get(), keep=False, leave_out=True)[1])} patches apply to {label}", list[str]()))
        except Fail as e:
            found.append((f"apply to {label}", [e.text]))
    return found


def mails(topic: str, *places: str) -> list[tuple[str, list[str]]]:
    base, tip = (ref(f"refs/set/{base_name()}/{name}") or "" for name in ("base", topic_named(topic).name))
    return check(topic, base, tip, places)


try:
    with locked("test"):
        found = applies() if sys.argv[1] == "applies" else mails(*sys.argv[2:])
except Fail as e:
    say(e.text)
    sys.exit(1)
for name, wrong in found:
    print(f"{'not ok' if wrong else 'ok'} {name}", *wrong, sep="\n# ")
sys.exit(any(wrong for _, wrong in found))
