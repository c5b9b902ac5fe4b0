# SPDX-License-Identifier: GPL-2.0
"""What gcc, clang and sparse say of kernel source files with W=1, file by file.

kbuild is asked once for the commands that it runs for each file, in the object folder of a
config. After that they are run directly, and only for files that a commit touches or that
include a header it touches: a run of make costs more than all of these."""
from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from checkenv import ROOT, die, lines, note, run

# As testbed/bin/kernel has it: another release or compiler would build everything again.
KBUILD = {'KBUILD_BUILD_TIMESTAMP': 'Thu Jan  1 00:00:00 UTC 1970', 'KBUILD_BUILD_USER': 'testbed', 'KBUILD_BUILD_HOST': 'testbed',
          'KBUILD_BUILD_VERSION': '1', 'LOCALVERSION': '', 'LC_ALL': 'C', 'CCACHE_NOHASHDIR': '1'}
# sparse 0.6.4 knows no __typeof_unqual__, and says nothing at all after it.
SPARSE = 'sparse -D__typeof_unqual__=__typeof__'
PLANTED = {'gcc': 'void planted(void)\n{\n\tint unused;\n}\n', 'clang': 'void planted(void)\n{\n\tint unused;\n}\n',
           'sparse': 'int planted(int __user *p)\n{\n\treturn *p;\n}\n'}


def make(src: Path, o: Path, cc: str, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **KBUILD, 'CCACHE_BASEDIR': str(src), 'CCACHE_DEPEND': '1'}
    for name in ('MAKEFLAGS', 'MAKELEVEL', 'MFLAGS'):
        env.pop(name, None)
    done = subprocess.run(['setpriv', '--pdeathsig', 'TERM', 'make', '-C', str(src), f'O={o}', f'CC={cached(cc)}', '--no-print-directory',
                           f'-j{os.cpu_count()}', *args], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode('utf-8', 'replace'), '')


def cached(cc: str) -> str:
    return f'ccache {cc}' if os.environ.get('CCACHE', 'ccache') and shutil.which('ccache') else cc


def clang_for(src: Path) -> str:
    """The first clang that is new enough for this tree."""
    script = src / 'scripts/min-tool-version.sh'
    least = run(script, 'llvm').stdout.strip() if script.exists() else '0'

    def number(text: str) -> list[int]:
        return [int(n) for n in re.findall(r'\d+', text)][:2]
    names = ['clang'] + [f'clang-{n}' for n in range(30, 12, -1)]
    for name in [os.environ['CLANG']] if os.environ.get('CLANG') else names:
        if shutil.which(name):
            found = re.search(r'version (\d+\.\d+)', run(name, '--version').stdout)
            if found and number(found[1]) >= number(least):
                return name
    return die('clang', f'none is here of version {least} or newer, which this kernel wants', 'testbed/bin/setup test')


def object_of(source: str) -> str:
    """What kbuild makes of a source file."""
    return f"{'arch/x86/kvm/../../../' if source.startswith('virt/kvm/') else ''}{source[:-2]}.o"


@dataclass
class Said:
    """What the tools say of one file in one config."""
    lines: dict[str, set[str]] = field(default_factory=dict)    # by tool
    error: str = ''
    needs: set[str] = field(default_factory=set)    # the files of the tree that it is made of


class Folder:
    """One compiler and one config."""

    def __init__(self, cc: str, config: str, src: Path, o: Path, scratch: Path) -> None:
        self.cc, self.config, self.src, self.o, self.scratch = cc, config, src, o, scratch
        self.tool = 'clang' if 'clang' in cc else 'gcc'
        self.commands: dict[str, dict[str, list[str]]] = {}     # file: tool: command
        self.said: dict[str, Said] = {}
        scratch.mkdir(parents=True, exist_ok=True)

    @property
    def tools(self) -> list[str]:
        return ['gcc', 'sparse'] if self.tool == 'gcc' else ['clang']

    def learn(self, files: list[str]) -> str:
        """Asks kbuild how it compiles FILES; what it says where it cannot."""
        objects = {object_of(f): f for f in files}
        for name in objects:
            (self.o / name).unlink(missing_ok=True)
        check = ['C=1', f'CHECK={SPARSE}'] if self.tool == 'gcc' else []
        # Not -Otarget: that writes out long commands in pieces, between which another make's line may come.
        done = make(self.src, self.o, self.cc, 'W=1', 'V=1', '-k', '-Orecurse', 'KCFLAGS=', *check, *objects)
        (self.scratch / 'learn.log').write_text(done.stdout, encoding='utf-8')
        for line in done.stdout.split('\n'):
            try:
                lexer = shlex.shlex(line, posix=True, punctuation_chars=';')
                lexer.whitespace_split, lexer.commenters = True, ''
                words = list(lexer)
            except ValueError:
                continue
            words = words[:words.index(';')] if ';' in words else words
            source = next((f for f in files if words and words[-1].endswith('/' + f)), None)
            if source and words[0] == 'sparse':
                self.commands.setdefault(source, {})['sparse'] = words
            elif source and '-c' in words and '-o' in words:
                self.commands.setdefault(source, {})[self.tool] = words
        lost = [f for f in files if set(self.commands.get(f, {})) != set(self.tools)]
        if not lost:
            return ''
        errors = [line for line in lines(done.stdout) if re.search(r'\berror:|\*\*\*|not found', line)]
        what = 'make does not compile' if done.returncode else f'{self.scratch}/learn.log does not show how make compiles'
        return '\n'.join([f"{what} {', '.join(lost)}"] + errors[:8])

    def normal(self, text: str) -> set[str]:
        """Warnings and errors, without line numbers, which move with every patch."""
        found = set()
        for line in text.split('\n'):
            if re.search('warning|error', line):
                line = line.replace(f'{self.src}/', '').replace('../', '')
                found.add(f"[{self.config}] {re.sub(r':[0-9]+(:[0-9]+)?:', ':', line, count=1)}")
        return found

    def compile(self, file: str, source: Optional[Path] = None, skip: str = '') -> Said:
        said = Said()
        if skip in self.tools:      # It says what it said before.
            said.lines[skip] = self.said[file].lines.get(skip, set()) if file in self.said else set()
        # No comma: -Wp, would split it.
        at = self.scratch / file.replace('/', '__')
        for tool, command in self.commands[file].items():
            if tool == skip:
                continue
            words = [f'-Wp,-MMD,{at}.d' if w.startswith('-Wp,-MMD,') else w for w in command]
            if '-o' in words:
                words[words.index('-o') + 1] = f'{at}.o'
            if source:
                words[-1] = str(source)
            done = run(*words, cwd=self.o, env={**KBUILD, 'CCACHE_BASEDIR': str(self.src), 'CCACHE_DEPEND': '1'})
            said.lines[tool] = self.normal(done.stdout + done.stderr)
            if done.returncode and not said.error:
                errors = [line for line in lines(done.stdout + done.stderr) if 'error' in line]
                said.error = '\n'.join(errors[:8]) or f'{tool}: exit status {done.returncode}: {done.stderr[-300:]}'
        depends = Path(f'{at}.d')
        if depends.exists():
            for word in depends.read_text(encoding='utf-8').replace('\\\n', ' ').partition(':')[2].split():
                path = os.path.normpath(self.o / word)
                if path.startswith(f'{self.src}/'):
                    said.needs.add(path[len(str(self.src)) + 1:])
        return said

    def control(self) -> None:
        """Each tool must see a planted fault, or its silence would mean nothing."""
        file = next(iter(self.commands))
        for tool in self.tools:
            source = self.scratch / f'planted-{tool}.c'
            source.write_text('#include <linux/compiler.h>\n' + PLANTED[tool], encoding='utf-8')
            said = self.compile(file, source)
            if not any('planted' in line for line in said.lines[tool]):
                die(tool, f'it does not see a planted fault ({source})', 'look at what it says of that file with the command in learn.log beside it')

    def look(self, files: list[str], touched: Optional[set[str]], skip: str = '') -> dict[str, Said]:
        """What is said of FILES now, but by the tool SKIP. With TOUCHED, only what these files change is compiled."""
        todo = [f for f in files if touched is None or f not in self.said or f in touched or self.said[f].needs & touched]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            fresh = dict(zip(todo, pool.map(lambda f: self.compile(f, skip=skip), todo)))
        return {f: fresh[f] if f in fresh else self.said[f] for f in files}


def configure(cc: str, config: str, src: Path, o: Path) -> str:
    """Makes the .config of an object folder; what is said where that fails."""
    env = {'CC': cc, **({} if 'ccache' in cached(cc) else {'CCACHE': ''})}
    done = run(ROOT / 'testbed/bin/kernel', '--config', config, '--src', src, '--out', o, '--only', 'config', env=env)
    if done.returncode:
        return done.stderr.strip()
    note(f'{o.relative_to(ROOT)}: configured')
    return ''
