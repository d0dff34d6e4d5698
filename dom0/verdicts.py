"""What a diagnosis says of one thing: a verdict in plain words, what to do, and what was seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass

GOOD, BAD, UNSURE = "good", "bad", "can't tell"
SEEN = 12  # lines of evidence at most


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`verdict` is GOOD, BAD or UNSURE; `says` and `do` are sentences, `seen` lines of evidence."""

    verdict: str
    says: str
    do: str = ""
    seen: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As a step's output holds it; `read` is its inverse."""
        lines = [f"{self.verdict}: {self.says}"]
        lines += [f"do: {self.do}"] if self.do else []
        return "\n".join([*lines, *(f"seen: {line}" for line in self.seen[:SEEN])])


def good(says: str, *, seen: tuple[str, ...] = ()) -> Verdict:
    return Verdict(verdict=GOOD, says=says, seen=seen)


def bad(says: str, do: str, *, seen: tuple[str, ...] = ()) -> Verdict:
    return Verdict(verdict=BAD, says=says, do=do, seen=seen)


def unsure(says: str, do: str = "", *, seen: tuple[str, ...] = ()) -> Verdict:
    return Verdict(verdict=UNSURE, says=says, do=do, seen=seen)


def read(text: str) -> Verdict | None:
    """The verdict of a step's output; None where it is none."""
    lines = text.splitlines()
    verdict, colon, says = lines[0].partition(": ") if lines else ("", "", "")
    if not colon or verdict not in (GOOD, BAD, UNSURE):
        return None
    do = next((line.removeprefix("do: ") for line in lines[1:] if line.startswith("do: ")), "")
    seen = tuple(line.removeprefix("seen: ") for line in lines[1:] if line.startswith("seen: "))
    return Verdict(verdict=verdict, says=says, do=do, seen=seen)
