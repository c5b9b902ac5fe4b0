# SPDX-License-Identifier: GPL-2.0
"""What `make run`, `make test` and `make broken` are made of: jobs, and what each needs."""
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import checkrun
import machine
import results
import variants
from jobs import BUILD, CHECK, MACHINE, Job
from rows import row
from machine import commit_of, series
from patchset.common import ROOT, Fail, git
from scenariofile import Scenario
from variants import Variant


class Base:
    """A base, its topics, and the jobs that all others of it need."""

    def __init__(self, name: str, out: Path, only: str | None = None) -> None:
        self.name, self.out, self.only = name, out / name, only     # only: a commit instead of the set
        self.show: dict[str, Any] = json.loads(series(name, 'show'))
        self.topics = [str(t['name']) for t in self.show['topics']]
        self.fetch = Job(f'{name}: the base and the set on it', self._fetch)
        self.folders: list[tuple[str, Path]] = []     # (what it is in the table, folder of a run)
        self.caught: list[tuple[str, str, str, int, int]] = []

    def _fetch(self, _job: Job) -> None:
        series(self.name, 'commits')

    def what(self) -> str:
        """The base that was fetched: the package that was imported, or the user's tree."""
        commit = commit_of(self.ref('base'))
        linux = os.environ.get('LINUX')
        return f'{linux} at {commit[:12]}' if linux else git('show', '-s', '--format=%s', commit)

    def start(self, topic: str) -> str:
        """What the topic's first patch goes onto."""
        below: list[str] = next((t['below'] for t in self.show['topics'] if t['name'] == topic), [])
        return self.ref(below[-1] if below else 'base')

    def ref(self, name: str) -> str:
        return f'refs/set/{self.name}/{name}'

    def selftests(self) -> list[str]:
        return [str(p['path']) for t in self.show['topics'] for p in t['patches'] if p['selftest']]

    def rev(self, on: str, patches: list[str] | None = None) -> Callable[[], str]:
        """The set, or the base with the set's selftests; with more patches on top."""
        def find() -> str:
            more = list(patches or [])
            if on == 'base':
                return series(self.name, 'commits', '--onto', commit_of(self.ref('base')), *self.selftests(), *more)
            tip = commit_of(self.only or self.ref('all'))
            return series(self.name, 'commits', '--onto', tip, *more) if more else tip
        return find


def progress_of(job: Job, out: Path) -> Path:
    """A file that a program below overwrites with how far it is."""
    out.mkdir(parents=True, exist_ok=True)
    file = out / 'progress'
    file.unlink(missing_ok=True)
    job.progress = lambda: machine.words(file)
    return file


def build_job(base: Base, name: str, config: str, rev: Callable[[], str], runs: list[tuple[Scenario, Path]],
              needs: list[Job]) -> Job:
    def work(job: Job) -> None:
        machine.build(base.name, config, rev(), runs, progress_of(job, base.out / 'progress' / name.replace('/', '-')))
    return Job(f'{base.name}: build {name}', work, [base.fetch, *needs], BUILD, True, machine.shown(runs[0][1] / 'build.log'))


def boot_job(base: Base, name: str, scenario: Scenario, out: Path, needs: list[Job]) -> Job:
    base.folders.append((name, out))

    def work(job: Job) -> None:
        job.progress = lambda: machine.at_test(out, scenario)
        machine.boot(out)
        job.rows += [item.row for item in results.load(out)[1]]
        # The kernel and the initramfs are as big as all the rest.
        if job.rows and all(r['verdict'] in ('PASS', 'SKIP') for r in job.rows):
            for big in ('bzImage', 'initramfs.cpio'):
                (out / big).unlink(missing_ok=True)
    return Job(f'{base.name}: {name}', work, needs, MACHINE, log=machine.shown(out / 'tests.log'))


def scenario_jobs(base: Base, scenarios: list[Scenario]) -> list[Job]:
    """One build for each config and commit, then a machine for each scenario."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[tuple[str, Scenario, Path]]] = {}
    for scenario in scenarios:
        for on in scenario.on:
            label = scenario.name + ('' if on == 'set' else ' on the base')
            out = base.out / label.replace(' ', '-')
            groups.setdefault((on, scenario.config, tuple(scenario.patches)), []).append((label, scenario, out))
    # What changes the objects least from one build to the next comes next.
    jobs: list[Job] = []
    for (on, config, patches), runs in sorted(groups.items(), key=lambda g: (g[0][1], g[0][2], g[0][0])):
        name = config + (' of the base' if on == 'base' else '') + (' with faults' if patches else '')
        build = build_job(base, name, config, base.rev(on, list(patches)), [(s, out) for _, s, out in runs], [])
        jobs += [build] + [boot_job(base, label, s, out, [build]) for label, s, out in runs]
    return jobs


def variant_jobs(base: Base, found: list[Variant], runs: int, first_only: bool, needs: list[Job]) -> list[Job]:
    """Each variant is built once, and booted RUNS times, or until it is caught."""
    jobs: list[Job] = []
    faults: set[str] = set()
    for v in found:
        fault = [str(v.fault)] if v.fault else []
        key = f'{v.config} {v.fault} {v.head["Test"]} {v.head.get("Env")} {v.head.get("Arguments")} {v.head.get("Append")}'
        if v.fault and key not in faults:
            faults.add(key)
            name = f'{v.fault.stem} alone, {v.subtest}'
            out = base.out / 'broken' / f'{v.fault.stem}-alone-{v.name}'
            build = build_job(base, name, v.config, base.rev('set', fault), [(v.scenario(), out)], needs)
            jobs += [build, boot_job(base, name, v.scenario(), out, [build])]
        out = base.out / 'broken' / v.name / '1'
        patches = fault + ([] if v.empty else [str(v.path)])
        build = build_job(base, f'broken {v.name}', v.config, base.rev('base' if v.head.get('On') else 'set', patches),
                          [(v.scenario(), out)], needs)
        jobs += [build, catch_job(base, v, out, runs, first_only, build)]
    return jobs


def catch_job(base: Base, v: Variant, first: Path, runs: int, first_only: bool, build: Job) -> Job:
    def work(job: Job) -> None:
        caught, seen, others = 0, [], []
        for number in range(1, runs + 1):
            out = first.parent / str(number)
            machine.again(first, out)
            job.progress = lambda n=number: f'run {n} of {runs}'      # type: ignore[misc]
            word, text = variants.outcome(machine.boot(out), v)
            if word == 'caught':
                caught += 1
                seen += [text] if text not in seen else []
                if first_only:
                    break
            elif word == 'other':
                others.append(f'run {number}: {text}')
        for big in first.parent.glob('*/bzImage'), first.parent.glob('*/initramfs.cpio'):
            for path in big:
                path.unlink()
        base.caught.append((v.name, v.subtest, ', '.join(seen) or '; '.join(others) or 'none', caught, number))
        reason = f'caught in {caught} of {number} runs' + (f'; but {"; ".join(others)}' if others else '')
        job.rows.append(row(f'broken {v.name}', 'PASS' if caught and not others else 'FAIL', reason))
    return Job(f'{base.name}: broken {v.name}', work, [build], MACHINE, log=machine.shown(first.parent))


def check_job(check: checkrun.Check, base: Base | None, topic: str, out: Path, needs: list[Job]) -> Job:
    label = f'{base.name}: ' if base else ''
    name = f'{label}{check.name}' + (f' of {topic}' if topic else '')

    log, progress = out.with_name(f'{out.name}.log'), out.with_name(f'{out.name}.progress')

    def work(job: Job) -> None:
        job.progress = lambda: machine.words(progress)
        commit = commit_of(base.start(topic)) if base else ''
        tip = commit_of(base.ref(topic or 'all')) if base else ''
        log.parent.mkdir(parents=True, exist_ok=True)
        job.rows += checkrun.run(check, base.name if base else '', commit, tip, topic, out, log).rows
    return Job(name, work, needs, BUILD if check.needs_build else CHECK, check.needs_build, machine.shown(log))


def check_jobs(bases: list[Base], full: list[Base], out: Path) -> list[Job]:
    """Each check of checks/, as often as it says, those that build a kernel only for the bases in
    FULL; the longest first, so that they overlap best."""
    jobs = []
    for check in sorted(checkrun.find(ROOT), key=lambda c: -c.about):
        if check.per == 'repository':
            jobs.append(check_job(check, None, '', out / 'checks' / check.name, []))
        for base in (full if check.needs_build else bases) if check.per != 'repository' else []:
            for topic in base.topics if check.per == 'topic' else ['']:
                folder = base.out / 'checks' / (f'{check.name}-{topic}' if topic else check.name)
                jobs.append(check_job(check, base, topic, folder, [base.fetch]))
    return jobs


def bisect_jobs(base: Base, scenarios: list[Scenario]) -> list[Job]:
    """Each commit of each topic, with the topic's selftests on top, booted with the scenario that
    says "commits TOPIC": what a bisect would meet."""
    jobs: list[Job] = []
    for topic in base.show['topics']:
        tests = [p['path'] for p in topic['patches'] if p['selftest']]
        if not tests and not any(p['selftest'] for t in base.show['topics'] if t['name'] in topic['below'] for p in t['patches']):
            tests = base.selftests()  # of a topic that comes later
        plain = [p['path'] for p in topic['patches'] if not p['selftest']]
        found = next((s for s in scenarios if topic['name'] in s.commits), None)
        if plain and not found:
            raise Fail(f'topic {topic["name"]}', f'no scenario for base {base.name} boots its commits',
                       f'write the line "commits {topic["name"]}" into one of testbed/scenarios')
        for n in range(1, len(plain)):
            def rev(n: int = n, topic: str = topic['name'], plain: list[str] = plain, tests: list[str] = tests) -> str:
                return series(base.name, 'commits', '--onto', commit_of(base.start(topic)), *plain[:n], *tests)
            assert found
            scenario, name = found.of_a_commit(), f'{topic["name"]} up to {Path(plain[n - 1]).stem}'
            out = base.out / 'bisect' / f'{topic["name"]}-{n:02}'
            build = build_job(base, name, scenario.config, rev, [(scenario, out)], [])
            jobs += [build, boot_job(base, name, scenario, out, [build])]
    return jobs


def bases() -> list[str]:
    """The bases that the set has patches for."""
    known = json.loads(series('6.12', 'show'))['bases']
    return [str(b) for b in known if any(t['patches'] for t in json.loads(series(str(b), 'show'))['topics'])]
