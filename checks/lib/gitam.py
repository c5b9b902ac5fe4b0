# SPDX-License-Identifier: GPL-2.0
"""git am of patches on a base, in a worktree of build/git that is gone afterwards."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Sequence

from checkenv import ROOT, git, lines, run

NEUTRAL = {'GIT_CONFIG_GLOBAL': os.devnull, 'GIT_CONFIG_NOSYSTEM': '1'}


def am(folder: Path, base: str, tip: str, patches: Sequence[Path]) -> tuple[str, set[str]]:
    """What is wrong: git am fails, or its tree is not the one of TIP. And the authors of the
    commits, each with the sign-offs: "NAME <ADDRESS>|NAME <ADDRESS>"."""
    done = run('git', f'--git-dir={ROOT}/build/git', 'worktree', 'add', '-q', '--no-checkout', '--detach', folder, base)
    if done.returncode:
        return done.stderr, set()
    try:
        here = ('git', '-C', folder, '-c', 'user.name=check', '-c', 'user.email=check@localhost')
        # The files that the patches touch are enough, and much less to write.
        touched = git('diff', '--no-renames', '--name-only', base, tip) + '\n'
        for arguments, data in ((('sparse-checkout', 'set', '--no-cone', '--stdin'), touched.encode()), (('checkout', '-q'), None),
                                (('am', '-q', '--empty=drop', *map(str, patches)), None)):
            done = run(*here, *arguments, data=data, env=NEUTRAL)
            if done.returncode:
                return done.stdout + done.stderr or 'it failed', set()
        said = run(*here, 'log', '--format=%an <%ae>|%(trailers:key=Signed-off-by,valueonly,separator=%x2C)', f'{base}..').stdout
        same = run(*here, 'rev-parse', 'HEAD^{tree}').stdout.strip() == git('rev-parse', f'{tip}^{{tree}}')
        return '' if same else 'the tree after git am is not the one of the topic', set(lines(said))
    finally:
        run('git', f'--git-dir={ROOT}/build/git', 'worktree', 'remove', '--force', folder)
