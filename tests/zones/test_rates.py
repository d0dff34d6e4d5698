"""Bandwidth as people write it."""

from __future__ import annotations

import pytest

from zones import rates


@pytest.mark.parametrize(
    ("typed", "kbit"),
    [
        ("10M", 10_000),
        ("512k", 512),
        ("1G", 1_000_000),
        ("2.5M", 2_500),
        ("10 Mbit/s", 10_000),
        ("", None),
        ("none", None),
    ],
)
def test_what_is_typed_is_kbit(typed: str, kbit: int | None) -> None:
    assert rates.kbit(typed) == kbit


@pytest.mark.parametrize("typed", ["10", "fast", "-1M", "1k", "11G", "1000001k", "1e9M", "１０M"])
def test_anything_else_is_refused_with_one_that_works(typed: str) -> None:
    with pytest.raises(ValueError, match=r"10M|\d+M\."):
        rates.kbit(typed)


@pytest.mark.parametrize(
    ("kbit", "said"), [(512, "512 kbit/s"), (10_000, "10 Mbit/s"), (2_500, "2.5 Mbit/s"), (None, "")]
)
def test_it_is_said_in_words(kbit: int | None, said: str) -> None:
    assert rates.say(kbit) == said


@pytest.mark.parametrize("kbit", [64, 512, 10_000, 2_500, 1_000_000, 9_999_000])
def test_what_is_shown_again_can_be_typed_again(kbit: int) -> None:
    assert rates.kbit(rates.typed(kbit)) == kbit
