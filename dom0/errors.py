"""What can go wrong on a host, in four words. Pure."""

from __future__ import annotations


class FriduError(Exception):
    """Base of every error Fridu raises on purpose; `str()` is a sentence a user may read."""


class Refused(FriduError):
    """Nothing was changed, and here is what to do.

    `note` is the way out, in the seed's manner: another name, adopt, force.
    """

    def __init__(self, message: str, *, note: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.note = note


class StalePlan(Refused):
    """The host changed between the plan a person approved and its execution; nothing was done."""


class CommandFailed(FriduError):
    """A process ended with a code nobody expected, or ran out of time (`code` is None)."""

    def __init__(self, argv: tuple[str, ...], code: int | None, stdout: str, stderr: str) -> None:
        self.argv, self.code, self.stdout, self.stderr = argv, code, stdout, stderr
        said = (stderr or stdout).strip().splitlines()
        how = "ran out of time" if code is None else f"ended with code {code}"
        super().__init__(f"{argv[0]} {how}" + (f": {said[-1][:300]}" if said else "."))
