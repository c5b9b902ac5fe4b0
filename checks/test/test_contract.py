# SPDX-License-Identifier: GPL-2.0
"""The contract: what a check says of itself, and what its output proves."""
import io
import unittest

import checkrun
import ktap
from scratch import ROOT, SPDX, Scratch

HEAD = SPDX + '# check: per repository\n# check: about 1\n'
GOOD = 'echo KTAP version 1; echo 1..2; echo ok 1 a; echo ok 2 b\n'
FAILS = 'echo KTAP version 1; echo 1..1; echo "# because"; echo not ok 1 a; exit 1\n'


class Contract(Scratch):
    def result(self, body: str) -> checkrun.Result:
        self.plant({'checks/planted': HEAD + body}, 0o755)
        return checkrun.run(checkrun.load(self.root / 'checks/planted'), '', '', '', '', self.top / 'out', self.top / 'planted.log')

    def test_a_good_check_passes(self) -> None:
        self.assert_verdict(self.result(GOOD), 'PASS', [])

    def test_what_proves_nothing_is_an_error(self) -> None:
        for what, body in {
                'no output': 'true\n',
                'no KTAP': 'echo hello\n',
                'no plan': GOOD.replace('echo 1..2;', ''),
                'truncated': GOOD.replace('; echo ok 2 b', ''),
                'a result too many': GOOD + 'echo ok 3 c\n',
                'the plan twice': GOOD + 'echo 1..2\n',
                'a number twice': GOOD.replace('ok 2 b', 'ok 1 b'),
                'a name twice': GOOD.replace('ok 2 b', 'ok 2 a'),
                'no number': GOOD.replace('ok 2 b', 'ok b'),
                'bail out': GOOD + 'echo "Bail out! no disk"\n',
                'a plan of nothing': 'echo KTAP version 1; echo 1..0\n',
                'exit 1, all well': GOOD + 'exit 1\n',
                'exit 0, a failure': GOOD.replace('ok 2', 'not ok 2'),
                'killed': GOOD + 'kill -9 $$\n',
                'cut inside a line': 'printf "KTAP version 1\\n1..2\\nok 1 a\\nok"\n'}.items():
            with self.subTest(what):
                self.assert_verdict(self.result(body), 'ERROR')

    def test_a_failure_keeps_its_words(self) -> None:
        got = self.result(FAILS)
        self.assert_verdict(got, 'FAIL', ['a'])
        self.assertEqual(got.rows[1]['said'], ['because'])

    def test_an_error_keeps_its_message(self) -> None:
        (self.top / 'planted.log').write_text('of another check\n', encoding='utf-8')
        got = self.result('echo KTAP version 1\necho "planted: error: gcc: it is gone" >&2\nexit 2\n')
        self.assert_verdict(got, 'ERROR')
        self.assertEqual(got.rows[0]['said'], ['KTAP version 1', 'planted: error: gcc: it is gone'])

    def test_a_skip_has_its_reason(self) -> None:
        got = self.result('echo KTAP version 1; echo "1..0 # SKIP nothing here"\n')
        self.assert_verdict(got, 'SKIP')
        self.assertEqual(got.rows[0]['reason'], 'nothing here')

    def test_a_check_that_hangs_is_an_error(self) -> None:
        self.plant({'checks/planted': HEAD + GOOD + 'sleep 100\n'}, 0o755)
        got = checkrun.run(checkrun.load(self.root / 'checks/planted'), '', '', '', '', self.top / 'out', limit=2)
        self.assert_verdict(got, 'ERROR')

    def test_its_environment(self) -> None:
        body = GOOD + 'echo "$BASE|$BASE_COMMIT|$TIP|$TOPIC|$(ls "$OUT" | wc -l)|$(pwd)" >&2\n'
        self.plant({'checks/planted': HEAD.replace('repository', 'topic') + body}, 0o755)
        self.assert_verdict(self.check('planted', 'b', 't', 'topic'), 'PASS')
        self.assertEqual(self.log('planted'), f'6.12|b|t|topic|0|{self.root}\n')

    def test_a_header_that_is_wrong_is_refused(self) -> None:
        for head in ('', '# check: per repository\n', '# check: about 1\n', '# check: per moon\n# check: about 1\n',
                     '# check: per base\n# check: about long\n', '# check: per base\n# check: about 1\n# check: needs luck\n',
                     '# check: per base\n# check: per topic\n# check: about 1\n', '# check: per base\n# check: about 1\n# check: weekly\n',
                     '# check: per base\n# check: about 1\n# check: setup moon\n'):
            with self.subTest(head):
                self.plant({'checks/planted': SPDX + head + GOOD}, 0o755)
                with self.assertRaises(checkrun.CheckError):
                    checkrun.find(self.root)

    def test_what_passed_is_remembered(self) -> None:
        self.result(GOOD)
        check = checkrun.load(self.root / 'checks/planted')
        checkrun.run(check, '', 'b', 't', '', self.top / 'out', log=self.top / 'log')
        self.assertTrue(checkrun.passed(check, '', 'b', 't', ''))
        self.assertFalse(checkrun.passed(check, '', 'b', 'another', ''))
        self.plant({'checks/planted': HEAD + GOOD + '\n'}, 0o755)
        self.assertFalse(checkrun.passed(check, '', 'b', 't', ''))

    def test_what_failed_is_not_remembered(self) -> None:
        self.plant({'checks/planted': HEAD + FAILS}, 0o755)
        check = checkrun.load(self.root / 'checks/planted')
        checkrun.run(check, '', 'b', 't', '', self.top / 'out', log=self.top / 'log')
        self.assertFalse(checkrun.passed(check, '', 'b', 't', ''))


class Writers(unittest.TestCase):
    def test_the_checks_of_this_repository_say_what_they_are(self) -> None:
        self.assertTrue(checkrun.find(ROOT))

    def test_what_python_writes_can_be_read(self) -> None:
        stream = io.StringIO()
        writer = ktap.Writer(stream)
        writer.result(True, 'a')
        writer.result(False, 'b: # SKIP not\nreally', ['ok 3 no result', '\udc80'])
        writer.result(True, 'c', skip='no machine')
        self.assertEqual(writer.end(), 1)
        self.read(stream.getvalue())

    def read(self, text: str) -> None:
        parsed = ktap.parse(text.splitlines())
        self.assertEqual(parsed.problems, [], text)
        self.assertEqual([r['verdict'] for r in parsed.rows], ['PASS', 'FAIL', 'SKIP'], text)
        self.assertEqual(parsed.rows[1]['said'][0], '# ok 3 no result', text)
        self.assertEqual(checkrun.judge('t', text, 1, 0.0).verdict, 'FAIL')

    def test_a_writer_that_does_not_come_to_its_end_is_an_error(self) -> None:
        stream = io.StringIO()
        ktap.Writer(stream).result(True, 'a')
        self.assertEqual(checkrun.judge('t', stream.getvalue(), 0, 0.0).verdict, 'ERROR')
