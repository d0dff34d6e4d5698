"""LVM's command lines, and its reports as LVM 2.03.16 printed them on a real host."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dom0 import lvm

FIXTURES = Path(__file__).parents[1] / "fixtures" / "lvm"
UUID = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10"


def report(name: str) -> str:
    return (FIXTURES / f"{name}.json").read_text()


@pytest.fixture
def web() -> lvm.Logical:
    return next(each for each in lvm.volumes(report("lvs")) if each.name == "WEB-Dom-root")


def test_a_report_tells_ours_from_strangers_volumes_and_snapshots():
    found = {each.name: each for each in lvm.volumes(report("lvs"))}
    assert found["WEB-Dom-root"].marks == {
        "machine": UUID,
        "root": "5d" * 32 + ":1",
        "tuned": "a b,c/ü",
        "blank": "yes",
    }
    assert found["WEB-Dom-root"].size_bytes == 100 << 20
    assert found["WEB-Dom-root"].path == "/dev/vg0/WEB-Dom-root"
    assert found["foreign"].marks == {}
    assert found["foreign"].open
    kept = found["WEB-Dom-root.kept"]
    assert kept.shown_bytes == 100 << 20  # the size of what it was made of, however much it can keep
    assert (kept.origin, kept.valid, kept.percent > 0) == ("WEB-Dom-root", True, True)
    assert not found["foreign.full"].valid


def test_a_report_of_a_group_says_its_room():
    (group,) = lvm.groups(report("vgs"))
    assert (group.name, group.extent_bytes) == ("vg0", 4 << 20)
    assert 0 < group.free_bytes < group.size_bytes
    assert [group.rounded(size) for size in (1, 4 << 20)] == [4 << 20, 4 << 20]


def test_a_report_of_extents_is_what_lvextend_takes():
    found = lvm.ranges(report("ranges"))
    assert len(found) == 2
    assert all(place.startswith("/dev/vdb:") for place in found)


@given(st.text())
def test_any_mark_comes_back_from_its_tag(value: str):
    tag = lvm.tag("tuned", value)
    assert not set(tag) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-/=!:#&")
    assert lvm.marks_of(f"other,{tag}")["tuned"] == value


def test_tags_of_others_are_no_marks():
    assert lvm.marks_of("backup,owner=x,fridu.machine=m") == {"machine": "m"}
    assert lvm.marks_of("") == {}


def test_marks_change_in_one_command_by_the_volumes_uuid(web: lvm.Logical):
    argv = lvm.retag(web, {"wiping": "0"}, ("root", "tuned", "origin"))
    assert argv[0] == "lvchange"
    assert argv[argv.index("--select") + 1] == f'lv_uuid="{web.uuid}"'
    removed = [argv[at + 1] for at, word in enumerate(argv) if word == "--deltag"]
    assert removed == [lvm.tag(mark, web.marks[mark]) for mark in ("root", "tuned")]
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--addtag"] == ["fridu.wiping=0"]


def test_a_mark_that_is_so_already_takes_no_command(web: lvm.Logical):
    assert lvm.retag(web, {"machine": UUID}, ("origin",)) == ()


def test_a_mark_with_another_value_takes_the_place_of_the_former(web: lvm.Logical):
    argv = lvm.retag(web, {"machine": "other"}, ())
    assert ("--deltag", lvm.tag("machine", UUID), "--addtag", "fridu.machine=other") == argv[2:6]


def test_a_volume_is_removed_by_its_uuid_and_nothing_else(web: lvm.Logical):
    assert lvm.remove(web) == ("lvremove", "-q", "-y", "--select", f'lv_uuid="{web.uuid}"', "vg0")


@pytest.mark.parametrize("uuid", ["", "x", '" || lv_name=~".*', "abcdef-abcd-abcd-abcd-abcd-abcd-abcde\n"])
def test_a_selection_by_what_is_no_uuid_is_never_made(web: lvm.Logical, uuid: str):
    with pytest.raises(ValueError, match="uuid"):
        lvm.remove(replace(web, uuid=uuid))


def test_a_volume_is_marked_in_the_command_that_makes_it():
    argv = lvm.create("vg0", "WEB-Dom-root", 64 << 20, {"machine": UUID, "zeroing": "0"})
    assert argv[-1] == "vg0"
    assert f"fridu.machine={UUID}" in argv
    assert "fridu.zeroing=0" in argv
    assert "67108864b" in argv
