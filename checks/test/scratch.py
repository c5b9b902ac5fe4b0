# SPDX-License-Identifier: GPL-2.0
"""What the tests share: a scratch repository with the real checks in it."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Mapping, Optional

import checkrun
from rows import Row

ROOT = Path(__file__).resolve().parents[2]
SPDX = '#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0\n'
AUTHOR = ('-c', 'user.name=a', '-c', 'user.email=a@mail.test', '-c', 'commit.gpgsign=false')
RUN = """import sys, json
from pathlib import Path
import checkrun
a = sys.argv[1:]
r = checkrun.run(checkrun.load(Path(a[0])), *a[1:5], Path(a[5]), log=Path(a[6]))
print(json.dumps([r.verdict, r.rows]))
"""


def git(folder: Path, *args: str) -> str:
    done = subprocess.run(['git', '-C', str(folder), *AUTHOR, *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Scratch(unittest.TestCase):
    """self.root is a git repository with checks/, testbed/lib and series/ of this one."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix='checks-test.')
        self.addCleanup(folder.cleanup)
        self.top = Path(folder.name).resolve()
        self.root = self.top / 'repository'
        self.root.mkdir()
        quiet = shutil.ignore_patterns('__pycache__', 'test')
        for name in ('checks', 'testbed/lib', 'series'):
            shutil.copytree(ROOT / name, self.root / name, ignore=quiet, symlinks=True)
        for name in ('.shellcheckrc', '.gitignore'):
            shutil.copy2(ROOT / name, self.root / name)
        git(self.root, 'init', '-q')

    def plant(self, files: Mapping[str, str], mode: int = 0o644) -> None:
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding='utf-8')
            path.chmod(mode)

    def commit(self, message: str) -> str:
        git(self.root, 'add', '-A')
        git(self.root, 'commit', '-q', '--allow-empty', '-m', message)
        return git(self.root, 'rev-parse', 'HEAD')

    def check(self, name: str, base_commit: str = '', tip: str = '', topic: str = '', env: Optional[Mapping[str, str]] = None,
              base: str = '6.12') -> checkrun.Result:
        """Runs a check of the scratch repository, in a process of its own for its environment."""
        done = subprocess.run(['python3', '-c', RUN, str(self.root / 'checks' / name), base, base_commit, tip, topic, str(self.top / 'out' / name),
                               str(self.top / f'{name}.log')], capture_output=True, text=True, check=False,
                              env={**os.environ, 'PYTHONPATH': str(self.root / 'testbed/lib'), **(env or {})})
        self.assertEqual(done.returncode, 0, done.stderr)
        verdict, rows = json.loads(done.stdout)
        return checkrun.Result(verdict, rows)

    def log(self, name: str) -> str:
        path = self.top / f'{name}.log'
        return path.read_text(encoding='utf-8', errors='replace') if path.exists() else ''

    def failed(self, result: checkrun.Result) -> list[str]:
        return [r['subtest'] for r in result.rows[1:] if r['verdict'] == 'FAIL']

    def assert_verdict(self, result: checkrun.Result, verdict: str, failed: Optional[list[str]] = None, name: str = '') -> None:
        text = f'{self.show(result)}\n{self.log(name)}'
        self.assertEqual(result.verdict, verdict, text)
        if failed is not None:
            self.assertEqual(self.failed(result), failed, text)

    @staticmethod
    def show(result: checkrun.Result) -> str:
        def line(row: Row) -> str:
            return f"{row['verdict']} {row['subtest']} {row['reason']} {' | '.join(row['said'])}"
        return '\n'.join(map(line, result.rows))
