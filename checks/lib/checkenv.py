# SPDX-License-Identifier: GPL-2.0
"""What the Python checks share: their environment, git, and the files of the repository.

Importing it makes testbed/lib (ktap) and series (patchset) importable too."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn, Optional, Union

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / 'testbed/lib'), str(ROOT / 'series')]
PROG = Path(sys.argv[0]).name


def die(thing: str, cause: str, todo: str) -> NoReturn:
    """The check cannot do its work at all: its reader calls that an error."""
    print(f'{PROG}: error: {thing}: {cause}\n  what to do: {todo}', file=sys.stderr)
    sys.exit(2)


def note(text: str) -> None:
    print(f'{PROG}: {text}', file=sys.stderr, flush=True)


def progress(text: str) -> None:
    """One short line for whoever shows how far a long step is."""
    if os.environ.get('PROGRESS_FILE'):
        Path(os.environ['PROGRESS_FILE']).write_text(text + '\n', encoding='utf-8')


def wanted(name: str) -> str:
    """A variable that the runner of the checks sets."""
    value = os.environ.get(name, '')
    if not value:
        die(name, 'is not set', f'run it by: testbed/bin/check {PROG}')
    return value


def out() -> Path:
    return Path(wanted('OUT')).resolve()


Arg = Union[str, Path]


def run(*argv: Arg, cwd: Optional[Path] = None, env: Optional[dict[str, str]] = None,
        data: Optional[bytes] = None) -> subprocess.CompletedProcess[str]:
    """Both outputs as text, whatever the exit status."""
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env={**os.environ, **(env or {})}, check=False, input=data,
                          stdin=subprocess.DEVNULL if data is None else None, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode('utf-8', 'replace'),
                                       done.stderr.decode('utf-8', 'replace'))


def git(*args: Arg) -> str:
    """git in build/git; a failure ends the check."""
    done = run('git', f'--git-dir={ROOT}/build/git', *args)
    if done.returncode:
        die(f"git {' '.join(str(a) for a in args)}"[:120], done.stderr.strip() or f'exit status {done.returncode}',
            'make the commits with: make tree')
    return done.stdout.removesuffix('\n')


def lines(text: str) -> list[str]:
    return [line for line in text.split('\n') if line]


def tracked(root: Path = ROOT) -> list[str]:
    """The files of the repository, links left out; in a tarball those that are there."""
    if (root / '.git').exists():
        done = run('git', '-C', root, 'ls-files', '-z', '--cached', '--others', '--exclude-standard')
        if done.returncode:
            die('git ls-files', done.stderr.strip(), 'see the message')
        names = [n for n in done.stdout.split('\0') if n]
    else:
        names = [str(p.relative_to(root)) for p in root.rglob('*')]
        names = [n for n in names if not re.match(r'(build|out)/|(.*/)?__pycache__/', n)]
    return sorted(n for n in names if (root / n).is_file() and not (root / n).is_symlink())


def kind(name: str, root: Path = ROOT) -> str:
    """What a file is written in, by its name, first line or shellcheck's directive: shell, python, or nothing."""
    try:
        head = (root / name).read_text(encoding='utf-8')[:2000]
    except UnicodeDecodeError:
        return ''
    first = head.partition('\n')[0]
    if re.match(r'#!.*\b(bash|sh|dash)\b', first) or name.endswith('.sh') or re.search(r'^# shellcheck shell=', head, re.M):
        return 'shell'
    if re.match(r'#!.*\bpython3?\b', first) or name.endswith('.py'):
        return 'python'
    return ''
