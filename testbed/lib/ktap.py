# SPDX-License-Identifier: GPL-2.0
"""Reads and writes KTAP, the kernel's test output; the parser fails closed.

The parser takes what kselftest.h, kselftest_harness.h and nested KTAP print. Whatever is
not KTAP is a diagnostic, since tests print much; but a missing or wrong plan, a
number or a name that repeats, a result line without a number, a nested block
whose parent never came or a "Bail out!" is a problem, and a problem means that
the output proves nothing. Writer is what all our own Python programs print KTAP with.
"""
from __future__ import annotations

import re
from typing import Any, Iterable, Optional, TextIO, Union

Row = dict[str, Any]

VERSION = re.compile(r'(?:K?TAP) version (\d+)\s*$')
PLAN = re.compile(r'1\.\.(\d+)\s*(?:#\s*SKIP\b\s*(.*))?$', re.I)
RESULT = re.compile(r'(not )?ok(?:\s+(\d+))?(?:\s+(.*))?$')
BAIL = re.compile(r'Bail out!\s*(.*)$')
DIRECTIVE = re.compile(r'(?:^|\s+)#\s*(?:(SKIP|TODO|XFAIL|XPASS|TIMEOUT|ERROR)\b:?)?\s*(.*)$', re.I)


class Block:
    """The lines of one level: a version, a plan, results."""

    def __init__(self, indent: int) -> None:
        self.indent = indent
        self.version: Optional[str] = None
        self.plan: Optional[int] = None
        self.skip: Optional[str] = None
        self.results: list[list[Row]] = []
        self.numbers: set[int] = set()
        self.names: set[str] = set()
        self.children: list[Row] = []      # rows of a nested block that wait for their parent


class Parsed:
    """rows: dicts name, verdict, reason, said; problems: texts; skip: reason or None.

    said: the diagnostics since the result before, which is where a test says why."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.problems: list[str] = []
        self.skip: Optional[str] = None
        self.any = False        # was there any KTAP at all


def classify(failed: bool, directive: Optional[str]) -> str:
    """A result line's verdict. An expectation that was not met proves nothing."""
    if directive == 'SKIP':
        return 'FAIL' if failed else 'SKIP'
    if directive == 'TODO':
        return 'SKIP' if failed else 'PASS'
    if directive == 'XFAIL':
        return 'FAIL' if failed else 'SKIP'
    if directive in ('TIMEOUT', 'ERROR'):
        return 'FAIL'
    return 'FAIL' if failed else 'PASS'


def parse(lines: Iterable[str]) -> Parsed:
    out = Parsed()
    stack = [Block(0)]
    since: list[str] = []

    def where(block: Block) -> str:
        return '' if block.indent == 0 else 'nested: '

    def close(block: Block) -> list[Row]:
        """Checks a finished block, hands its rows to the level above."""
        done = len(block.results)
        if block.children:
            out.problems.append(where(block) + 'a nested block has no result line of its own')
        if block.plan is None:
            out.problems.append(where(block) + 'no plan (1..N)')
        elif block.plan != done:
            out.problems.append(f'{where(block)}the plan says {block.plan} tests, {done} reported')
        elif done == 0 and block.skip is None:
            out.problems.append(where(block) + 'the plan is of no tests, without a SKIP')
        return [row for result in block.results for row in result]

    def result(block: Block, match: re.Match[str]) -> None:
        failed, number, text = bool(match[1]), int(match[2]), match[3] or ''
        directive, comment = None, ''
        found = DIRECTIVE.search(text)
        if found:
            directive, comment = (found[1] or '').upper(), found[2]
            text = text[:found.start()]
        # ksft_test_result_skip() has the name after the directive only.
        name = re.sub(r'^-\s+', '', text).strip() or comment or f'#{number}'
        if number in block.numbers:
            out.problems.append(f'{where(block)}number {number} repeats')
        elif number != len(block.numbers) + 1:
            out.problems.append(f'{where(block)}number {number} comes where {len(block.numbers) + 1} is due')
        if name in block.names:
            out.problems.append(f'{where(block)}the name "{name}" repeats')
        block.numbers.add(number)
        block.names.add(name)
        verdict = classify(failed, directive)
        reason = ' '.join(w for w in (directive, comment) if w)
        children, block.children = block.children, []
        if verdict == 'PASS' and any(c['verdict'] == 'FAIL' for c in children):
            verdict, reason = 'FAIL', 'reported ok, but a nested test failed'
        rows = [dict(c, name=f"{name}/{c['name']}") for c in children]
        block.results.append([{'name': name, 'verdict': verdict, 'reason': reason, 'said': since[:]}] + rows)
        since.clear()

    for line in lines:
        line = line.rstrip('\r\n')
        text = line.lstrip(' ')
        indent = len(line) - len(text)
        version, plan, res, bail = (r.match(text) for r in (VERSION, PLAN, RESULT, BAIL))
        if res and not res[2]:
            if indent == 0:
                out.problems.append(f'a result line without a number: "{text[:60]}"')
                out.any = True
            continue
        if not (version or plan or res or bail):
            if text:
                since.append(line)
            continue
        out.any = True
        if bail:
            out.problems.append(f'Bail out! {bail[1]}'.rstrip())
            continue
        while indent < stack[-1].indent:
            rows = close(stack.pop())
            stack[-1].children += rows
        if indent > stack[-1].indent:
            stack.append(Block(indent))
        block = stack[-1]
        if version:
            if block.version is not None:
                out.problems.append(where(block) + 'a second version line')
            block.version = version[1]
            if version[1] not in ('1', '13', '14'):
                out.problems.append(f'unknown version: "{text}"')
        elif plan:
            if block.plan is not None:
                out.problems.append(where(block) + 'a second plan')
            block.plan, block.skip = int(plan[1]), plan[2]
            if block.plan == 0 and block.skip is not None and block.indent == 0:
                out.skip = block.skip or 'no reason given'
        elif res:
            result(block, res)

    while len(stack) > 1:
        rows = close(stack.pop())
        stack[-1].children += rows
    if out.any:
        out.rows = close(stack[0])
    return out


class Writer:
    """Prints KTAP. Give the plan first where the number of results is known; end() prints
    what is missing of it and returns the exit status. Without end() the output has no
    plan, or fewer results than planned, and the reader calls it an error."""
    DIAGNOSTIC_LINES = 40

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.planned: Optional[int] = None
        self.done = self.failures = 0
        self._say('KTAP version 1')

    def _say(self, line: str) -> None:
        # A byte that is not UTF-8 in a tool's message must not end the check.
        encoding = self.stream.encoding or 'utf-8'
        print(line.encode(encoding, 'replace').decode(encoding), file=self.stream, flush=True)

    def plan(self, number: int) -> None:
        self.planned = number
        self._say(f'1..{number}')

    def result(self, ok: bool, name: str, diagnostics: Union[str, Iterable[str]] = '', skip: str = '') -> None:
        """One result; its diagnostics go before it, as KTAP wants."""
        lines = diagnostics.splitlines() if isinstance(diagnostics, str) else [
            line for text in diagnostics for line in text.splitlines()]
        more = len(lines) - self.DIAGNOSTIC_LINES
        for line in lines[:self.DIAGNOSTIC_LINES] + ([f'... and {more} more lines'] if more > 0 else []):
            self._say(f'# {line}')
        self.done += 1
        self.failures += not ok
        # "#" would begin a directive.
        name = ' '.join(name.split()).replace('#', '\\#')
        self._say(f"{'ok' if ok else 'not ok'} {self.done} {name}" + (f' # SKIP {skip}' if skip else ''))

    def skip_all(self, reason: str) -> int:
        """There is nothing to look at."""
        self._say(f'1..0 # SKIP {reason}')
        return 0

    def end(self) -> int:
        if self.planned is None:
            self.plan(self.done)
        return 1 if self.failures or self.planned != self.done else 0
