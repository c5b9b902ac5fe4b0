# SPDX-License-Identifier: GPL-2.0
"""usage: series show

Prints what the set consists of, as one JSON document: the bases, this base's package and
version, its topics with prefixes and cover letter, their patches with the files that each
adds and touches. Needs no kernel.
environment: BASE
"""
from __future__ import annotations

import argparse
import json

from ..repository import document


def arguments(parser: argparse.ArgumentParser) -> None:
    pass


def work(args: argparse.Namespace) -> None:
    print(json.dumps(document(), indent=1))
