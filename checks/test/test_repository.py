# SPDX-License-Identifier: GPL-2.0
"""The checks of the repository itself, on a repository with planted faults."""
import shutil
import unittest

from scratch import ROOT, SPDX, Scratch, git

PY = '#!/usr/bin/env python3\n# SPDX-License-Identifier: GPL-2.0\n'
LIB = '# SPDX-License-Identifier: GPL-2.0\n# shellcheck shell=bash\n'


class Bare(Scratch):
    """Only what is planted, and what the check that runs needs."""

    def setUp(self) -> None:
        super().setUp()
        shutil.rmtree(self.root / 'series')
        for path in [*(self.root / 'checks').iterdir(), *(self.root / 'testbed/lib').iterdir()]:
            if path.is_file() and path.name not in ('ktap.py', 'checkrun.py', 'rows.py'):
                path.unlink()

    def bring(self, name: str) -> None:
        shutil.copy2(ROOT / 'checks' / name, self.root / 'checks' / name)


class Repository(Bare):
    @unittest.skipUnless(shutil.which('shellcheck'), 'shellcheck is not installed')
    def test_shell(self) -> None:
        self.bring('shell')
        self.plant({'bin/good': SPDX + 'echo "$1"\n', 'bin/bad': SPDX + 'echo $1\n', 'lib/bad.sh': LIB + 'f() { echo $1; }\n',
                    'lib/good.sh': LIB + 'f() { echo "$1"; }\n', 'lib/unnamed': LIB + 'f() { echo $1; }\n', 'bin/syntax': SPDX + 'if\n'}, 0o755)
        self.assert_verdict(self.check('shell'), 'FAIL', ['bin/bad', 'bin/syntax', 'lib/bad.sh', 'lib/unnamed'])

    @unittest.skipUnless(shutil.which('/usr/bin/mypy') and shutil.which('/usr/bin/pyflakes3'), 'mypy or pyflakes3 is not installed')
    def test_python(self) -> None:
        self.bring('python')
        self.plant({'bin/good': PY + 'def f() -> int:\n    return 1\n\n\nf()\n', 'bin/unused': PY + 'import os\n',
                    'bin/untyped': PY + 'def f(x):\n    return x\n', 'lib/wrong.py': PY + 'x: int = "a"\n'})
        failed = self.failed(self.check('python'))
        self.assertEqual(failed, ['pyflakes: bin/unused', 'mypy: bin/untyped', 'mypy: lib/wrong.py'])
        self.plant({'bin/syntax': PY + 'def\n'})
        self.assertIn('pyflakes: bin/syntax', self.failed(self.check('python')))

    @unittest.skipUnless(shutil.which('codespell'), 'codespell is not installed')
    def test_spelling(self) -> None:
        self.bring('spelling')
        self.plant({'README.md': 'All is well; an iif, too.\n'})
        self.assert_verdict(self.check('spelling'), 'PASS')
        # In two halves, for the sake of the check itself.
        self.plant({'README.md': 'Not yet: rec' + 'ieve.\n'})
        got = self.check('spelling')
        self.assert_verdict(got, 'FAIL')
        self.assertIn('README.md:1', '\n'.join(got.rows[1]['said']))

    def test_repository(self) -> None:
        self.bring('repository')
        self.plant({'bin/good': SPDX, 'fs/a.patch': 'Subject: a\n---\n'})
        self.assert_verdict(self.check('repository'), 'PASS', [])
        for name, text, row in (
                ('bin/bare', '#!/bin/sh\n', 'each file has its SPDX line'),
                ('fs/a.patch', 'Subject: a\n\nSigned-' + 'off-by: A <a@mail.test>\n---\n', 'nobody has signed: who sends does'),
                ('README.md', 'Get it from deb.' + 'debian.org.\n', 'no host of a package registry'),
                ('README.md', 'See /ho' + 'me/somebody/tree.\n', 'no path of a machine'),
                ('README.md', f'See {self.root}/tree.\n', 'no path of a machine')):
            with self.subTest(text):
                self.plant({name: text})
                self.assert_verdict(self.check('repository'), 'FAIL', [row])
                (self.root / name).unlink()


class Messages(Bare):
    def test_commit_messages(self) -> None:
        self.bring('commit-messages')
        marker = self.commit('An old subject that does not keep the rule, and is longer than any new one may ever be.')
        self.plant({'checks/lib/commit-messages.after': f'# comment\n{marker}\n'})
        good = ['checks: Add a check', 'series, testbed: Move it\n\nBecause.', 'Makefile: Say it\n\n' + 'https://' + 'x' * 80]
        bad = ['checks: ' + 'x' * 65, 'No area here', 'checks: Stop.', 'checks: Add more\n\n' + 'word ' * 16,
               'checks: Sign\n\nSigned-' + 'off-by: A <a@mail.test>']
        for message in good:
            self.commit(message)
        self.assert_verdict(self.check('commit-messages'), 'PASS', [])
        for message in bad:
            self.commit(message)
        got = self.check('commit-messages')
        self.assert_verdict(got, 'FAIL')
        self.assertEqual([n.partition(' ')[2] for n in self.failed(got)], [m.partition('\n')[0] for m in bad])

    def test_commit_messages_without_commits(self) -> None:
        self.bring('commit-messages')
        self.plant({'checks/lib/commit-messages.after': '# comment\n' + '1' * 40 + '\n'})
        self.commit('checks: Add')
        self.assert_verdict(self.check('commit-messages'), 'ERROR')
        self.commit('checks: Add more')
        clone = self.top / 'clone'
        git(self.top, 'clone', '-q', '--depth', '1', f'file://{self.root}', str(clone))
        self.root = clone
        self.assert_verdict(self.check('commit-messages'), 'SKIP')
        shutil.rmtree(clone / '.git')
        self.assert_verdict(self.check('commit-messages'), 'SKIP')
