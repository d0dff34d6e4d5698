"""The documents: links lead somewhere, examples are the code's own, nothing of one developer's box stands in them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_box_of_a_developer_and_no_registry_stands_in_it(page: Path) -> None:
    assert not re.search(r"/wor[k]/|/home/\w|/tmp/|pyp[i]\.|deb\.debia[n]|npmj[s]", page.read_text())


def test_the_example_of_a_plan_is_the_codes_own() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    example = textwrap.dedent(text[text.index("       def _up(spec") : text.index("   What is not ours")]).strip()
    assert example in (ROOT / "zones" / "plan.py").read_text()


def test_the_example_of_a_rule_is_the_codes_own() -> None:
    line = '"zone.create": Rule(says="create a zone", roles=_OP),'
    assert line in (ROOT / "CONTRIBUTING.md").read_text()
    assert line in (ROOT / "accounts" / "access.py").read_text()


def test_every_file_the_installation_names_exists() -> None:
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/install.md", "docs/operations.md"))
    named = set(re.findall(r"(?<![\w/])((?:deploy|bin|dom0|docs|bench)/[\w./-]*\w)", text))
    assert len(named) > 8
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
