"""Frames of a guest are read as numbers or not at all."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from dom0 import frames, names, verdicts
from dom0.doctor_ways import superblock

MAC = "aa:bb:cc:dd:02:02"


def test_a_question_and_its_answer_are_read():
    asked = frames.read(frames.who_has("02:00:00:00:00:01", "10.10.2.1", "10.10.2.4"))
    assert asked is not None
    assert (asked.what, asked.sender, asked.address) == ("who-has", "10.10.2.1", "10.10.2.4")


def test_a_discover_is_read_as_what_it_was_written_from():
    found = frames.read(frames.discover(MAC, 0x1234))
    assert found is not None
    assert (found.what, found.source, found.about, found.xid) == ("DISCOVER", MAC, MAC, 0x1234)
    assert found.text == f"DHCP DISCOVER from {MAC}"


def test_what_a_guest_calls_itself_in_a_frame_is_never_repeated():
    evil = frames.discover(MAC, 7)[:-20] + b"\x0c\x10\x1b]0;gotcha\x07aaaaa" + bytes(20)
    found = frames.read(evil)
    assert found is not None
    assert "gotcha" not in repr(found)


@given(
    st.binary(max_size=700),
    st.sampled_from([b"", frames.discover(MAC, 1), frames.who_has(MAC, "0.0.0.0", "1.2.3.4")]),
    st.integers(0, 400),
)
def test_no_bytes_whatever_bring_it_down(noise: bytes, whole: bytes, at: int):
    data = whole[:at] + noise + whole[at + len(noise) :]
    found = frames.read(data)
    assert found is None or (found.text.isprintable() and len(found.text) < 200)
    names.address_in(data, min(at, 60))
    superblock(data)


@given(st.binary(min_size=1024, max_size=1024))
def test_a_superblock_of_a_guest_is_numbers_or_none(raw: bytes):
    superblock(raw)
    found = superblock(raw[:0x38] + b"\x53\xef" + raw[0x3A:])
    assert found is None or found.block_bytes <= 65_536


def test_a_superblock_tells_errors_and_room():
    raw = bytearray(1024)
    struct.pack_into("<7I", raw, 0, 100, 1000, 0, 10, 50, 1, 2)
    struct.pack_into("<HH", raw, 0x38, 0xEF53, 1)
    assert superblock(bytes(raw)) is not None
    assert superblock(bytes(raw)).clean  # type: ignore[union-attr]
    struct.pack_into("<H", raw, 0x3A, 2)
    assert superblock(bytes(raw)).errors == 1  # type: ignore[union-attr]


def test_a_verdict_is_read_as_it_was_written():
    said = verdicts.bad("The bridge is down.", "Apply the zone.", seen=("a", "b"))
    assert verdicts.read(said.text) == said
    assert verdicts.read("anything else") is None
    assert verdicts.read("") is None
