# SPDX-License-Identifier: GPL-2.0
"""The faults that checks/mail plants: each spoils a mail as `series mail` writes it, in one place,
and is looked for by checks that there are."""
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'series'))
import mailfaults  # noqa: E402
from patchset.mailcheck import Checks  # noqa: E402

MAIL = '''From 1234 Mon Sep 17 00:00:00 2001
Message-ID: <a-{n}-check@mail.test>
In-Reply-To: <a-0-check@mail.test>
X-RcptTo: a@list.test, b@list.test
From: =?UTF-8?q?Pr=C3=BCfung?= <check@mail.test>
Subject: [PATCH 6.12 {n}/2] T: Do it
To: a@list.test
Cc: b@list.test,
    linux-kernel@vger.kernel.org,
    c@list.test
MIME-Version: 1.0
Content-Type: text/plain; charset=UTF-8
Content-Transfer-Encoding: 8bit

The changelog.

Signed-off-by: Prüfung <check@mail.test>
---
 3 files changed, 1 insertion(+)

diff --git a/a b/a
@@ -1,3 +1,4 @@ f
 one
 two
+\tthree;
 four
base-commit: 1234
'''


class Faults(unittest.TestCase):
    def test_each_spoils_one_file(self) -> None:
        for fault in mailfaults.FAULTS:
            with self.subTest(fault.name), tempfile.TemporaryDirectory() as name:
                mails, box, to = Path(name) / 'mails', Path(name) / 'box', Path(name) / 'to'
                mails.mkdir()
                to.mkdir()
                for n in range(3):
                    (mails / f'000{n}-x.patch').write_text(MAIL.format(n=n), encoding='utf-8')
                box.write_text(''.join(MAIL.format(n=n) for n in range(3)), encoding='utf-8')
                place, wrong = mailfaults.spoil(fault, mails, box, to)
                self.assertEqual(wrong, '')
                if fault.where in ('patch', 'cover'):
                    changed = [m.name for m in mails.iterdir() if not (place / m.name).exists() or (place / m.name).read_bytes() != m.read_bytes()]
                    self.assertEqual(changed, ['0000-x.patch' if fault.where == 'cover' else '0002-x.patch'])

    def test_their_checks_are_there(self) -> None:
        there = {n[3:].replace('_', ' ') for n in Checks.names(True)}
        self.assertLessEqual({n for f in mailfaults.FAULTS for n in f.found_by}, there)
        # No check that no fault is planted for.
        self.assertEqual({n for f in mailfaults.FAULTS for n in f.found_by}, there)
