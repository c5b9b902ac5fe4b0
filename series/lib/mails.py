# SPDX-License-Identifier: GPL-2.0
"""A chain of commits as mails that git am and git send-email take."""
import re

from common import IDENT, ROOT, Fail, environment, git, run
from patchfile import check_message, read_text


def sender():
    """The user's git identity; a neutral one where none is configured."""
    done = run(["git", "-C", ROOT, "-c", "user.useConfigOnly=true", "var", "GIT_AUTHOR_IDENT"],
               env=environment(neutral=False), check=False)
    found = re.match(r"(.+) <(.+)> \d", done.stdout)
    return (found.group(1), found.group(2)) if found and not done.returncode else IDENT


def write(base, tip, folder, topic=None, what="", prefix="PATCH", who=IDENT):
    """Writes base..tip into FOLDER; with TOPIC also its cover letter. Returns the files."""
    argv = ["-c", "format.useAutoBase=false", "format-patch", "--quiet", "-o", str(folder), "--no-signature", "--zero-commit",
            "--full-index", "--no-renames", "--no-color", "--unified=3", "--diff-algorithm=myers", "--indent-heuristic",
            "--numbered", f"--subject-prefix={prefix}", "--src-prefix=a/", "--dst-prefix=b/"]
    if not topic:
        git(*argv, f"{base}..{tip}")
        return sorted(folder.glob("*.patch"))
    name = f"series/{topic}.cover"
    if not (ROOT / name).is_file():
        raise Fail(name, "is not there", "write the cover letter: a subject line, an empty line, the text")
    subject, _, body = read_text(ROOT / name).partition("\n")
    check_message(name, subject.removeprefix("Subject: "), body.strip("\n"))
    branch = f"series-{topic}"
    date = "@" + git("show", "-s", "--format=%ct", tip) + " +0000"
    git("update-ref", f"refs/heads/{branch}", tip)
    try:
        git("-c", f"branch.{branch}.description={subject.removeprefix('Subject: ')}\n\n{body.strip(chr(10))}\n", *argv, "--cover-letter",
            "--cover-from-description=subject", f"--base={base}", f"{base}..{branch}",
            env={"GIT_COMMITTER_NAME": who[0], "GIT_COMMITTER_EMAIL": who[1], "GIT_COMMITTER_DATE": date})
    finally:
        git("update-ref", "-d", f"refs/heads/{branch}")
    cover = folder / "0000-cover-letter.patch"
    text = read_text(cover)
    if f"\nbase-commit: {base}\n" not in text:
        raise Fail(name, "git wrote no base-commit line", "this git is too old; 2.39 works")
    text = text.replace(f"\nbase-commit: {base}\n", f"\nbase-commit: {base}\nbase: {what}\n")
    if not text.isascii() and "\nContent-Type:" not in text.partition("\n\n")[0]:
        text = text.replace("\n\n", "\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n", 1)
    cover.write_bytes(text.encode("utf-8", "surrogateescape"))
    return sorted(folder.glob("*.patch"))
