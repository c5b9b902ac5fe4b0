# SPDX-License-Identifier: GPL-2.0
"""What the test modules share."""
import difflib
import os
import subprocess
import tempfile
from collections.abc import Callable
from types import ModuleType

HERE = os.path.dirname(os.path.abspath(__file__))
TESTBED = os.path.dirname(HERE)
BIN = os.path.join(TESTBED, 'bin')
GOLDEN = os.path.join(HERE, 'golden')
Case = tuple[str, Callable[[], None]]


class Skip(Exception):
    pass


def read(path: str) -> str:
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def write(path: str, text: str, mode: int = 0o644) -> str:
    with open(path, 'w', encoding='utf-8') as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def same(got: str, want: str, what: str) -> None:
    if got != want:
        diff = difflib.unified_diff(want.splitlines(), got.splitlines(), 'expected', 'got', lineterm='', n=1)
        raise AssertionError(f'{what} differs\n' + '\n'.join(diff))


def run(*command: str, env: dict[str, str] | None = None, limit: float = 60,
        cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=dict(os.environ, **(env or {})), timeout=limit, cwd=cwd,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix='testbed.')


def named_cases(module: ModuleType, prefix: str) -> list[Case]:
    """Every function test_... of a module, by its name in words."""
    return [(f'{prefix}: {name[5:].replace("_", " ")}', function)
            for name, function in sorted(vars(module).items()) if name.startswith('test_') and callable(function)]
