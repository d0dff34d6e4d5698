"""Who acts on the command line: the panel user of the login's name, or whom --as names. root is not a person."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from accounts.access import Role
from accounts.models import User
from audit.log import Actor
from dom0.errors import Refused


def login(environ: Mapping[str, str] = os.environ) -> str:
    """The name somebody logged in with; through sudo it is still theirs."""
    uid = os.getuid()
    if uid == 0 and environ.get("SUDO_USER", "root") != "root":
        return environ["SUDO_USER"]
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def acting(as_user: str, who: str) -> tuple[User, Actor]:
    """The user that acts for the login `who`, and how the log names him: with the login behind it. Raises Refused."""
    if not as_user and who == "root":
        raise Refused(
            "root is not a person, and the log names persons.", note="Say who you are: fridu --as USER … as panel user."
        )
    name = as_user or who
    user = User.objects.filter(username=name, is_active=True).first()
    if as_user and as_user != who and who != "root" and not _is_operator(who):
        raise Refused(f"{who} may not act as {as_user}.", note="Only root and operators act for somebody else.")
    if user is None:
        raise Refused(
            f"The panel has no active user called {name}.",
            note="Say who with --as USER. The first operator is made by: fridu createoperator NAME",
        )
    return user, Actor(id=user.pk, name=user.get_username(), address=f"command line, {who}"[:45])


def _is_operator(name: str) -> bool:
    return User.objects.filter(username=name, is_active=True, role=Role.OPERATOR).exists()
