# SPDX-License-Identifier: GPL-2.0
"""Who sends: a person with an address that answers reach. Anything else is refused."""
from __future__ import annotations

import getpass
import re
import socket
from typing import Optional

from .common import IDENT, Fail, Who
from .mails import configured

# What documentation, fresh installations and templates put where a name belongs.
NAMES = {"", "your name", "your full name", "your name here", "name", "full name", "real name", "first last", "firstname lastname",
         "root", "admin", "administrator", "user", "username", "me", "you", "git", "unknown", "none", "nobody", "noname", "anonymous",
         "foo", "foo bar", "bar", "test", "tester", "example", "placeholder", "changeme", "todo", "fixme", "xxx", "developer", "author",
         "sender", "ubuntu", "debian", "john doe", "jane doe", "joe user", "a u thor", "a. u. thor", "c o mitter", IDENT[0].lower()}
LOCALS = {"you", "your", "your.name", "your.email", "your_email", "youremail", "yourname", "your-name", "username", "name", "email",
          "noreply", "no-reply", "none", "changeme", "johndoe", "john.doe", "jane.doe", "foo"}
# Reserved by RFC 2606 and 6761, or never seen outside one's own network. ".test" is let
# through for the test of the mails: no mail server can be there either.
DOMAINS = re.compile(r"(.*\.)?(example|example\.(com|org|net)|invalid|localhost|localdomain|local|internal|lan|users\.noreply\.github\.com)")


def _guessed(local: str, domain: str) -> bool:
    """Whether this is what git makes up of the login and the machine's name."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        return False
    return local == login and domain in (socket.gethostname().lower(), socket.getfqdn().lower())


def flaw(name: str, address: str) -> Optional[str]:
    """What is wrong with an identity; None for a person's."""
    plain = re.sub(r"\s+", " ", name).strip().lower()
    local, at, domain = address.lower().rpartition("@")
    if (name, address) == IDENT:
        return "is the one that this repository's own commits have, nobody's"
    if plain in NAMES or not re.search(r"[^\W\d_]", plain):
        return f"has {name!r} for a name, which is nobody's"
    if not at or not local or not re.fullmatch(r"[^\s<>()\[\],;:\"@\\]+", local):
        return f"has no mail address: {address!r}"
    if "(none)" in domain or DOMAINS.fullmatch(domain):
        return f"has an address at {domain}, where no mail arrives"
    if not re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]", domain):
        return f"has an address at {domain!r}, which is no domain of the internet"
    if local in LOCALS or _guessed(local, domain):
        return f"has {address}, a placeholder, for an address"
    return None


def person() -> Who:
    """(name, address) of the user's git configuration."""
    todo = 'the name and address that you sign with: git config --global user.name "..."; git config --global user.email ...'
    who = configured()
    if not who:
        raise Fail("your git identity", "user.name or user.email is not set; mails are signed off by who sends them", todo)
    wrong = flaw(*who)
    if wrong:
        raise Fail(f"your git identity {who[0]} <{who[1]}>", wrong, todo)
    return who
