# SPDX-License-Identifier: GPL-2.0
"""A row of a verdict: one test, subtest or check."""
from collections.abc import Iterable
from typing import Optional, TypedDict

SAID_LINES = 20     # of what a test said before it failed


class Row(TypedDict):
    test: str
    subtest: str
    verdict: str
    seconds: Optional[float]
    fingerprint: str
    reason: str
    said: list[str]     # lines of the log that stand before the verdict, if it needs explaining


def row(test: str, verdict: str, reason: str = '', subtest: str = '', seconds: Optional[float] = None,
        fingerprint: str = '', said: Iterable[str] = ()) -> Row:
    return {'test': test, 'subtest': subtest, 'verdict': verdict, 'seconds': seconds,
            'fingerprint': fingerprint, 'reason': reason,
            'said': list(said)[-SAID_LINES:] if verdict in ('FAIL', 'ERROR') else []}
