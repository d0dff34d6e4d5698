"""`bin/fridu` on the box while the demo runs: the same command inside the demo's dom0, where its panel lives."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.enter import become, inside
from demo.layout import INSIDE, PROJECT, Layout, Problem
from demo.processes import recorded


def main(words: Sequence[str]) -> None:
    """Become `bin/fridu words` inside; where that can't be, say why and end with 1."""
    try:
        layout = chosen()
        if os.geteuid() != 0:
            raise Problem("The demo's command line is root's, like its dom0: sudo bin/fridu …")
        argv = inside(layout, str(INSIDE / "bin" / "fridu"), *handed_in(words))
    except Problem as problem:
        sys.exit(f"FATAL {problem}")
    become(layout, argv)


def chosen(project: Path = PROJECT) -> Layout:
    """The demo that is meant: the one FRIDU_DEMO names, else the one that runs. Raises Problem where several do."""
    if name := os.environ.get("FRIDU_DEMO"):
        return Layout(name=name, project=project)
    there = [Layout(name=path.parent.name, project=project) for path in sorted(project.glob("var/*/state.json"))]
    running = [layout for layout in there if "keeper" in recorded(layout)]
    if len(running) > 1:
        names = " or ".join(layout.name for layout in running)
        raise Problem(f"Several demos run. Say which: fridu --demo {names} …")
    return (running or there or [Layout(project=project)])[0]


def handed_in(words: Sequence[str]) -> list[str]:
    """The words, a rule file among them opened here: dom0 sees other folders than whoever typed its name."""
    if "import" not in words:
        return list(words)
    return [_open(word) if Path(word).is_file() else word for word in words]


def _open(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return path  # the command itself says what is wrong with it
    os.set_inheritable(fd, True)
    return f"/proc/self/fd/{fd}"
