# SPDX-License-Identifier: GPL-2.0
"""Finds the checks of the repository and runs one, and reads its KTAP as strictly as a guest's.

A check is an executable file in checks/. Its first lines say, for the machine:
    check: per repository|base|topic    how often it runs
    check: about SECONDS                roughly how long it takes, alone and with warm caches
    check: needs build                  if it builds in build/, so that no other build may run
    check: setup docs                   if `testbed/bin/setup docs` gets all that it runs; test
                                        if not given
It runs in the top folder of the repository, with BASE, BASE_COMMIT, TIP (of the topic, or
of the whole set), TOPIC (empty unless it is per topic) and OUT, an empty folder of its own.
It prints KTAP with a plan, and exits with 0 if and only if nothing failed. Anything else
proves nothing and is an ERROR.

What passes is remembered in build/passed, by the commits and by everything that a check is
made of, so that "make mail" after "make test" need not build each patch again.
"""
from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

import ktap
from rows import SAID_LINES, Row, row

PER = ('repository', 'base', 'topic')
HEADER_LINES = 40


class CheckError(Exception):
    """A check that cannot be used; the text names it and says what to do."""


@dataclass(frozen=True)
class Check:
    name: str
    path: Path
    per: str
    about: int
    needs_build: bool
    setup: str = 'test'


@dataclass
class Result:
    verdict: str
    rows: list[Row] = field(default_factory=list)    # as in verdict.json


def load(path: Path) -> Check:
    """The check of one file, by its header."""
    found: dict[str, str] = {}
    try:
        text = path.read_text(encoding='utf-8').splitlines()[:HEADER_LINES]
    except (OSError, UnicodeDecodeError) as error:
        raise CheckError(f'{path}: cannot be read: {error}') from error
    for line in text:
        match = re.match(r'(?:#\s*)?check:\s+(per|about|needs|setup)\s+(\S+)\s*$', line.strip())
        if match:
            if match[1] in found:
                raise CheckError(f'{path}: says "check: {match[1]}" twice; leave one line')
            found[match[1]] = match[2]
        elif re.match(r'(?:#\s*)?check:', line.strip()):
            raise CheckError(f'{path}: has a line that nobody understands: {line.strip()!r}; see testbed/lib/checkrun.py')
    if found.get('per') not in PER:
        raise CheckError(f'{path}: does not say "check: per {"|".join(PER)}"; add that line to its header')
    if not found.get('about', '').isdecimal():
        raise CheckError(f'{path}: does not say "check: about SECONDS"; add that line to its header')
    if found.get('needs', 'build') != 'build':
        raise CheckError(f'{path}: needs {found["needs"]}; only "check: needs build" is known')
    if found.get('setup', 'docs') != 'docs':
        raise CheckError(f'{path}: says "check: setup {found["setup"]}"; only "check: setup docs" is known')
    return Check(path.name, path, found['per'], int(found['about']), 'needs' in found, found.get('setup', 'test'))


def find(root: Path) -> list[Check]:
    """All checks, by name."""
    folder = root / 'checks'
    return [load(path) for path in sorted(folder.iterdir()) if path.is_file() and os.access(path, os.X_OK)]


def judge(test: str, text: str, status: int, seconds: float, hung: bool = False, messages: str = '') -> Result:
    """What the output and the exit status of a check prove. Of an ERROR its MESSAGES tell most."""
    parsed = ktap.parse(text.splitlines())
    problems = list(parsed.problems)
    failed = [r for r in parsed.rows if r['verdict'] == 'FAIL']
    if hung:
        problems.append('stopped at its time limit')
    elif status < 0:
        problems.append(f'killed by signal {-status}')
    elif status > 128:
        problems.append(f'killed by signal {status - 128}')
    elif status and not failed:
        problems.append(f'exit status {status}, but no result failed')
    elif not status and failed:
        problems.append('exit status 0, but a result failed')
    if not parsed.any:
        problems.append('it printed no KTAP')
    if problems:
        verdict, reason = 'ERROR', '; '.join(problems)
    elif failed:
        verdict, reason = 'FAIL', f'{len(failed)} of {len(parsed.rows)} failed'
    elif parsed.skip is not None:
        verdict, reason = 'SKIP', parsed.skip
    else:
        verdict, reason = 'PASS', ''
    rows = [row(test, verdict, reason, seconds=round(seconds, 1), said=text.splitlines() + messages.splitlines()[-SAID_LINES // 2:] if problems else [])]
    return Result(verdict, rows + [row(test, r['verdict'], r['reason'], r['name'],
                                       # Of a check, what comes first says why.
                                       said=[re.sub(r'^# ?', '', line) for line in r['said']][:SAID_LINES]) for r in parsed.rows])


def environment(check: Check, base: str, base_commit: str, tip: str, topic: str, out: Path) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS')}
    return {**env, 'BASE': base, 'BASE_COMMIT': base_commit, 'TIP': tip, 'TOPIC': topic if check.per == 'topic' else '',
            'OUT': str(out), 'PROGRESS_FILE': f'{out}.progress', 'PYTHONDONTWRITEBYTECODE': '1'}


def memo(check: Check, base: str, base_commit: str, tip: str, topic: str) -> Path:
    """The file that is there once this check has passed on these commits."""
    root = check.path.resolve().parent.parent
    made_of = [p for name in ('checks', 'testbed/bin', 'testbed/lib', 'testbed/configs', 'series') for p in (root / name).rglob('*')
               if p.is_file() and '__pycache__' not in p.parts and 'test' not in p.relative_to(root).parts and p.suffix != '.cover']
    digest = hashlib.sha256('\0'.join((check.name, base, base_commit, tip, topic)).encode())
    for path in sorted(made_of):
        digest.update(f'\0{path.relative_to(root)}\0'.encode() + path.read_bytes())
    return root / 'build/passed' / f'{check.name}-{digest.hexdigest()[:24]}'


def passed(check: Check, base: str, base_commit: str, tip: str, topic: str) -> bool:
    """Has it passed before, on these commits and as it is now?"""
    return bool(tip) and memo(check, base, base_commit, tip, topic).exists()


def run(check: Check, base: str, base_commit: str, tip: str, topic: str, out: Path,
        log: Optional[Path] = None, limit: Optional[float] = None) -> Result:
    """Runs one check. OUT is emptied; its stdout is kept in OUT.ktap, and its messages go to the
    file LOG, or where ours go."""
    out = out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    output = out.with_name(out.name + '.ktap')
    root, start, hung = check.path.resolve().parent.parent, time.monotonic(), False
    remembered = memo(check, base, base_commit, tip, topic)
    before = log.stat().st_size if log and log.exists() else 0
    with open(output, 'wb') as stdout, open(log or os.devnull, 'ab') as stderr:
        # Its own process group, which goes as a whole; and it does not outlive us.
        with subprocess.Popen(['setpriv', '--pdeathsig', 'TERM', str(check.path.resolve())], cwd=root, stdin=subprocess.DEVNULL,
                              stdout=stdout, stderr=stderr if log else None, start_new_session=True,
                              env=environment(check, base, base_commit, tip, topic, out)) as process:
            try:
                process.wait(limit or max(3600, 30 * check.about))
            except BaseException as error:
                for number in (signal.SIGTERM, signal.SIGKILL):
                    try:
                        os.killpg(process.pid, number)
                        process.wait(10)
                        break
                    except (ProcessLookupError, subprocess.TimeoutExpired):
                        continue
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                hung = True
    text = output.read_bytes().decode('utf-8', 'replace')
    messages = log.read_bytes()[before:].decode('utf-8', 'replace') if log else ''
    test = f'{check.name} {topic}' if check.per == 'topic' else check.name
    result = judge(test, text, process.returncode, time.monotonic() - start, hung, messages)
    # Not where the check itself changed meanwhile.
    if result.verdict == 'PASS' and remembered == memo(check, base, base_commit, tip, topic):
        remembered.parent.mkdir(parents=True, exist_ok=True)
        remembered.touch()
    return result
