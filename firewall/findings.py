"""What is said about a line of a rule file, or about objects that don't fit together. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`line` counts from 1; `sentence` says what is so and what to do."""

    line: int
    severity: Severity
    sentence: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.severity}: {self.sentence}"


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Objects of a site that can't be compiled together, or had better not be.

    `about` names the object ("service DomiSSH"), `field` the form field it is best shown beside;
    `blocks` says that nothing is applied while it stands.
    """

    about: str
    sentence: str
    field: str = ""
    blocks: bool = True
