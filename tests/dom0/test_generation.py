"""What was printed from the rules is printed again only after something was loaded."""

from __future__ import annotations

import struct

import pytest

from dom0 import generation


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> dict[str, generation.Key | None]:
    state: dict[str, generation.Key | None] = {"now": (1, 7)}
    monkeypatch.setattr(generation, "current", lambda: state["now"])
    return state


def test_it_asks_once_while_nothing_is_loaded(kernel) -> None:
    asked: list[str] = []
    seen = generation.Seen()
    for _ in range(3):
        assert seen.text("v4", lambda: asked.append("v4") or f"text {len(asked)}") == "text 1"
    assert seen.text("v6", lambda: "other") == "other"
    kernel["now"] = (1, 8)
    assert seen.text("v4", lambda: asked.append("v4") or f"text {len(asked)}") == "text 2"


def test_another_network_is_another_text(kernel) -> None:
    seen = generation.Seen()
    assert seen.text("v4", lambda: "one") == "one"
    kernel["now"] = (2, 7)
    assert seen.text("v4", lambda: "two") == "two"


def test_what_was_printed_while_something_was_loaded_is_not_kept(kernel) -> None:
    seen = generation.Seen()

    def meanwhile() -> str:
        kernel["now"] = (1, 8)
        return "half"

    assert seen.text("v4", meanwhile) == "half"
    assert seen.text("v4", lambda: "whole") == "whole"


def test_where_the_kernel_does_not_tell_it_always_asks(kernel) -> None:
    kernel["now"] = None
    seen = generation.Seen()
    assert [seen.text("v4", lambda text=text: text) for text in ("a", "b")] == ["a", "b"]


def test_the_number_is_found_among_the_answers_attributes() -> None:
    body = generation.FAMILY.pack(0, 0, 0)
    body += struct.pack("=HH", 8, 2) + b"\0\0\0\1" + struct.pack("=HH", 8, 1) + struct.pack("!I", 42)
    head = generation.HEAD.pack(generation.HEAD.size + len(body), generation.ANSWER, 0, 1, 0)
    assert generation._number(head + body) == 42
    refusal = generation.HEAD.pack(36, 2, 0, 1, 0) + bytes(20)
    assert generation._number(refusal) is None
