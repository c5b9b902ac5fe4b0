# SPDX-License-Identifier: GPL-2.0
"""Runs jobs side by side where cores are idle, in the order given, and shows what they do.

A job waits for those that it needs, and for room: a machine and a check take one share of
the cores, a kernel build takes them all but leaves room for a machine, whose tests mostly
sleep. Two builds never overlap, since they share build/. What fails stops only what needs
it; nothing is run twice.
"""
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rows import Row, row
from patchset.common import Fail

ROOM = 4        # shares; a build takes BUILD of them, a machine MACHINE, a check CHECK
BUILD, MACHINE, CHECK = 2, 2, 1
QUIET = 60      # seconds between two lines about the same running job in a log


@dataclass
class Job:
    name: str
    work: Callable[['Job'], None]
    needs: Sequence['Job'] = ()
    share: int = CHECK
    build: bool = False             # works in build/, alone
    log: str = ''                   # where to read on when it failed
    rows: list[Row] = field(default_factory=list)
    progress: Callable[[], str] = lambda: ''
    state: str = 'waiting'          # running, passed, failed, not run
    seconds: float = 0.0
    began: float = 0.0

    def settle(self) -> None:
        bad = any(r['verdict'] in ('FAIL', 'ERROR') for r in self.rows)
        self.state = 'failed' if bad else 'passed'
        self.seconds = time.monotonic() - self.began


class Show:
    """Lines for a log; on a terminal also one line in place with what runs now."""

    def __init__(self) -> None:
        self.out = sys.stderr
        self.live = self.out.isatty()
        self.start = time.monotonic()
        self.width = 0
        self.said: dict[str, float] = {}

    def line(self, text: str) -> None:
        self.clear()
        print(text, file=self.out, flush=True)

    def clear(self) -> None:
        if self.width:
            print('\r' + ' ' * self.width + '\r', end='', file=self.out, flush=True)
            self.width = 0

    def running(self, jobs: list[Job], done: int, total: int) -> None:
        now = time.monotonic()
        if self.live:
            words = [f'{j.name}: {j.progress() or f"{now - j.began:.0f} s"}' for j in jobs]
            text = f'[{done}/{total}] {now - self.start:.0f} s | ' + ' | '.join(words)
            text = text[:columns() - 1]
            self.clear()
            print(text, end='', file=self.out, flush=True)
            self.width = len(text)
            return
        for job in jobs:
            if now - max(self.said.get(job.name, 0.0), job.began) >= QUIET:
                self.said[job.name] = now
                self.line(f'{self.clock()}    {job.name}: {job.progress() or "at work"} ({now - job.began:.0f} s)')

    def clock(self) -> str:
        return f'{time.monotonic() - self.start:5.0f} s'


def columns() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def execute(job: Job) -> None:
    """In a thread of its own: an error becomes a row, so that it is counted."""
    try:
        job.work(job)
    except Fail as error:
        job.rows.append(row(job.name, 'ERROR', error.text))
    except BaseException as error:  # a bug of ours must not pass for a green job
        job.rows.append(row(job.name, 'ERROR', f'{type(error).__name__}: {error}'))


def fits(job: Job, running: list[Job], waiting: list[Job]) -> bool:
    if job.build and any(j.build for j in running):
        return False
    # Checks must not keep the next build, which most others wait for, from starting.
    if job.share == CHECK and any(j.build for j in waiting) and sum(j.share == CHECK for j in running) >= ROOM - BUILD:
        return False
    return not running or sum(j.share for j in running) + job.share <= ROOM


def run(jobs: list[Job]) -> bool:
    """Runs all; whether every job passed. Ctrl-C reaches the children, and ends us."""
    show = Show()
    threads: dict[int, threading.Thread] = {}
    while True:
        for job in jobs:
            if job.state == 'running' and not threads[id(job)].is_alive():
                job.settle()
                done = sum(j.state not in ('waiting', 'running') for j in jobs)
                word = 'ok' if job.state == 'passed' else 'FAILED'
                show.line(f'{show.clock()}  [{done}/{len(jobs)}] {job.name}: {word}, {job.seconds:.0f} s'
                          + (f', see {job.log}' if word == 'FAILED' and job.log else ''))
            if job.state == 'waiting' and any(n.state in ('failed', 'not run') for n in job.needs):
                broke = next(n for n in job.needs if n.state in ('failed', 'not run'))
                job.state = 'not run'
                job.rows.append(row(job.name, 'ERROR', f'not run, since it needs: {broke.name}'))
        running = [j for j in jobs if j.state == 'running']
        for job in jobs:
            if job.state == 'waiting' and all(n.state == 'passed' for n in job.needs) and fits(job, running, [j for j in jobs if j.state == 'waiting']):
                job.state, job.began = 'running', time.monotonic()
                thread = threading.Thread(target=execute, args=(job,), daemon=True)
                threads[id(job)] = thread
                thread.start()
                running.append(job)
                if not show.live:
                    show.line(f'{show.clock()}    {job.name}')
        if not running and not any(j.state == 'waiting' for j in jobs):
            break
        show.running(running, sum(j.state not in ('waiting', 'running') for j in jobs), len(jobs))
        time.sleep(0.2)
    show.clear()
    return all(j.state == 'passed' for j in jobs)


def times(jobs: list[Job]) -> str:
    """Where the time went, longest first."""
    rows = sorted((j for j in jobs if j.seconds), key=lambda j: -j.seconds)
    return ''.join(f'{j.seconds:6.0f} s  {j.state:7}  {j.name}\n' for j in rows)
