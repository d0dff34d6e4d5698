"""docs/install.md as commands: what a person types, section by section, exactly as it stands there. Pure."""

from __future__ import annotations

import re

from tests.lab.recipe import INSTALL


def commands(section: int, text: str | None = None) -> list[str]:
    """The command lines of "## SECTION.", continued lines put together, without its "###" parts. Raises ValueError."""
    text = INSTALL.read_text() if text is None else text
    found = re.search(rf"^## {section}\. .*?(?=^## |^### |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"docs/install.md has no section {section}.")
    lines = re.sub(r"\\\n\s*", " ", found.group(0)).splitlines()
    return [line.strip() for line in lines if line.startswith("    ")]
