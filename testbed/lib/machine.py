# SPDX-License-Identifier: GPL-2.0
"""One boot of a scenario: builds what it needs into a folder, boots it there, judges it.

The folder holds all of one run: the scenario, the kernel, the initramfs, the commit, the
logs and verdict.json. It can be booted again as it is.
"""
import fcntl
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import checkrun
import console
import judge
import scenariofile
from patchset.common import ROOT, Fail, SystemFail
from scenariofile import Scenario

TESTBED = ROOT / 'testbed'
BIN = TESTBED / 'bin'
POLICY = TESTBED / 'splats'
IMAGE = Path('arch/x86/boot/bzImage')
LOGS = ('console.log', 'tests.log', 'qmp.log', 'qemu.err', 'end', 'vm.log', 'verdict.json')


@contextmanager
def ready(what: str) -> Iterator[None]:
    """Installs what is missing, refuses a QEMU or ACCEL that cannot work, and holds build/."""
    for argv in (['setup', what], ['vm', '--check']):
        if subprocess.run([str(BIN / argv[0]), *argv[1:]], check=False).returncode:
            sys.exit(2)
    with building():
        yield


@contextmanager
def building() -> Iterator[None]:
    """Holds build/, with its one tree and one object folder per config, for one run; our own
    programs below us share it."""
    (ROOT / 'build').mkdir(exist_ok=True)
    with open(ROOT / 'build' / '.lock', 'a', encoding='utf-8') as file:
        if not os.environ.get('TESTBED_LOCKED'):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Fail('build/', 'another run is at work there', 'wait for it to end, or work in a clone of your own') from None
            os.environ['TESTBED_LOCKED'] = '1'
        yield


def sh(argv: Sequence[str | Path], log: Path, base: str, progress: Path | None = None, what: str = '') -> None:
    """Runs a program of ours with its output in a log; dies with us. Its last words are the error."""
    env = dict(os.environ, BASE=base)
    if progress:
        env['PROGRESS_FILE'] = str(progress)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, 'ab') as out:
        done = subprocess.run(['setpriv', '--pdeathsig', 'TERM', *map(str, argv)], env=env, cwd=ROOT, stdin=subprocess.DEVNULL,
                              stdout=out, stderr=out, check=False)
    if done.returncode:
        said = log.read_text(errors='replace').rstrip().split('\n')[-12:]
        raise Fail(what or Path(argv[0]).name, '\n'.join(said) or f'exit status {done.returncode}', f'read {shown(log)}')


def output(argv: Sequence[str | Path], base: str) -> str:
    """What a program of ours prints; its messages are the error if it fails."""
    done = subprocess.run([str(a) for a in argv], env=dict(os.environ, BASE=base), cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors='replace', check=False)
    if done.returncode:
        error = Fail(Path(argv[0]).name, done.stderr.strip() or f'exit status {done.returncode}')
        # It has said thing, cause and way out already; say that once.
        error.text = re.sub(r'^.*?error: ', '', error.text, flags=re.S) if 'error: ' in error.text else error.text
        raise error
    return done.stdout.strip()


def series(base: str, *args: str) -> str:
    """A verb of series/series."""
    return output([ROOT / 'series' / 'series', *args], base)


def shown(path: Path) -> str:
    return os.path.relpath(path, os.getcwd())


def commit_of(ref: str) -> str:
    """A commit of build/git."""
    done = subprocess.run(['git', f'--git-dir={ROOT}/build/git', 'rev-parse', '-q', '--verify', f'{ref}^{{commit}}'],
                          stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Fail(ref, 'is no commit of build/git', 'make tree, or series/series commits')
    return done.stdout.strip()


def words(path: Path) -> str:
    try:
        return path.read_text(errors='replace').strip()
    except OSError:
        return ''


def build(base: str, config: str, rev: str, runs: list[tuple[Scenario, Path]], progress: Path | None = None) -> None:
    """Builds a commit's kernel, and packs each scenario, all of this config, into its folder."""
    objects, source = ROOT / 'build' / base / 'o' / config, ROOT / 'build' / base / 'src'
    selftests = ROOT / 'build' / base / 'selftests'
    first = runs[0][1]
    series(base, 'checkout', rev)
    for _, out in runs:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
    log = first / 'build.log'
    sh([BIN / 'kernel', '--config', config, '--src', source, '--out', objects, '--log', first / 'kernel.log'], log, base,
       progress, f'kernel {config}')
    guests = sorted({scenario.guest for scenario, _ in runs if scenario.guest})
    for name in guests:
        sh([BIN / 'kernel', '--config', name, '--src', source, '--out', objects.parent / name, '--log', first / f'kernel-{name}.log'],
           log, base, progress, f'kernel {name}')
    tests = sorted({t.name for scenario, _ in runs for t in scenario.tests})
    if progress:
        progress.write_text(f'{len(tests)} tests\n')
    sh([BIN / 'selftests', '--src', source, '--headers', objects, '--out', selftests, '--log', first / 'selftests.log', *tests],
       log, base, progress, 'selftests')
    for scenario, out in runs:
        (out / 'scenario').write_text(scenariofile.text(scenario))
        (out / 'tests.list').write_text(scenario.guest_list())
        (out / 'about.json').write_text(json.dumps({'name': scenario.name, 'base': base, 'commit': rev}) + '\n')
        guest: list[str | Path] = ['--guest', objects.parent / scenario.guest / IMAGE] if scenario.guest else []
        sh([BIN / 'initramfs', '--out', out / 'initramfs.cpio', '--tests', selftests, '--list', out / 'tests.list', *guest], log, base)
        shutil.copyfile(objects / IMAGE, out / 'bzImage')


def again(old: Path, new: Path) -> None:
    """A folder with the same kernel and tests, for another boot."""
    if old != new:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        for name in ('scenario', 'about.json', 'tests.list'):
            shutil.copyfile(old / name, new / name)
        for name in ('bzImage', 'initramfs.cpio'):
            os.link(old / name, new / name)


def boot(out: Path, icount: bool = False) -> dict[str, Any]:
    """Boots what build() left in a folder; the verdict is also in verdict.json there. With
    ICOUNT, the machine's time is instructions."""
    about, scenario = about_of(out), scenario_of(out)
    for name in LOGS:
        (out / name).unlink(missing_ok=True)
    argv: list[str | Path] = [BIN / 'vm', '--kernel', out / 'bzImage', '--initrd', out / 'initramfs.cpio', '--out', out,
                              '--timeout', str(scenario.timeout), '--memory', scenario.memory]
    if scenario.append:
        argv += ['--append', scenario.append]
    if scenario.device:
        argv += ['--device', scenario.device]
    if icount:
        argv.append('--icount')
    sh(argv, out / 'vm.log', about['base'], what=f'machine of {scenario.name}')
    return verdict(out)


def about_of(out: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((out / 'about.json').read_text())
        return found
    except (OSError, ValueError) as error:
        raise Fail(shown(out), f'holds no run: {error}', 'give the folder of an earlier run') from None


def scenario_of(out: Path) -> Scenario:
    try:
        scenario = scenariofile.load(out / 'scenario')
    except (scenariofile.ScenarioError, OSError) as error:
        raise Fail(shown(out), f'its scenario cannot be read: {error}', 'run it anew') from None
    scenario.name = about_of(out)['name']
    return scenario


def verdict(out: Path) -> dict[str, Any]:
    """Judges the logs in a folder anew."""
    about = about_of(out)
    try:
        policy = console.Policy.load(POLICY)
    except console.PolicyError as error:
        raise Fail(shown(POLICY), str(error), 'correct the policy') from None
    result = judge.judge(out, scenario_of(out), policy)
    result.update(base=about['base'], commit=about['commit'],
                  command=f'BASE={about["base"]} testbed/bin/run --rev {about["commit"]} {shlex.quote(about["name"])}')
    temp = out / 'verdict.json.tmp'
    temp.write_text(json.dumps(result, indent=1) + '\n')
    temp.replace(out / 'verdict.json')
    return result


def at_test(out: Path, scenario: Scenario) -> str:
    """Which test the machine is at, for whoever waits."""
    begun = re.findall(r'^@@ \S+ \S+ begin (\S+)', words(out / 'tests.log'), re.M)
    if not begun:
        return 'booting'
    return f'{begun[-1]} ({len(begun)} of {len(scenario.tests)})'


def main(work: Callable[[], int]) -> None:
    """Runs a program's work(), which returns its exit status; errors name thing, cause and way out."""
    name = Path(sys.argv[0]).name
    # Programs below us run in the top folder.
    if os.environ.get('LINUX'):
        os.environ['LINUX'] = os.path.abspath(os.environ['LINUX'])
    try:
        sys.exit(work())
    except Fail as error:
        print(f'{name}: error: {error.text}', file=sys.stderr)
        sys.exit(2)
    except checkrun.CheckError as error:
        print(f'{name}: error: {error}', file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        print(f'{name}: error: {SystemFail(error).text}', file=sys.stderr)
        sys.exit(2)
    except scenariofile.ScenarioError as error:
        print(f'{name}: error: {error}\n  what to do: testbed/scenarios/README has the format', file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f'\n{name}: interrupted; run it again to go on', file=sys.stderr)
        sys.exit(130)
