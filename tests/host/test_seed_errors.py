# ruff: noqa: E501 - lines of snippets
"""The seed's own list of errors where the host decides: looked at once more right before anything is overwritten."""

from __future__ import annotations

import pytest

from tests.host.test_machine_life import Box, box, mail, nothing_left  # noqa: F401

pytestmark = pytest.mark.host


def test_a_volume_that_exists_holds_something_or_finds_no_room_is_never_overwritten(box: Box):  # noqa: F811
    found = box.do("""
from dom0.errors import Refused
def said(verb, **args):
    try:
        return run_hand(verb, **args)
    except Refused as error:
        return f"{error.message} {error.note}"
m, u, u2 = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10", "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
run_hand("volume-create", name="x-log", size_mib="16", machine=m)
out = [
    said("volume-create", name="x-log", size_mib="16", machine=m),
    said("volume-create", name="y-log", size_mib=str(1 << 29), machine=m),
    said("volume-create", name="vg9/x-log", size_mib="16", machine=m),
    said("fs-create", volume="x-log", machine="another", type="ext4", fs_uuid=u),
    said("fs-create", volume="x-log", machine=m, type="ext3", fs_uuid=u),
    said("fs-create", volume="x-log", machine=m, type="ext4", fs_uuid=u),
    said("fs-create", volume="x-log", machine=m, type="ext4", fs_uuid=u, force="yes", anew="2"),
]
before = volumes.look(config, "x-log")
out += [before.content, before.anew]
run_hand("volume-remove", name="x-log", machine=m)
""")
    exists, room, group, another, made, formatted, forced, content, anew = found
    assert "is there already. Nothing was changed. Choose another name" in exists
    assert "There is not enough space for y-log" in room
    assert "The host file names no volume group “vg9”." in group
    assert "belongs to machine 6f1d7a52" in another
    assert made == "x-log holds ext3"
    assert "is already formatted: it holds ext3. Nothing was changed." in formatted
    assert "fscreate=force" in formatted
    assert forced == "x-log holds ext4"
    assert (content, anew) == ("ext4", "2")


def test_a_distribution_is_only_overwritten_for_a_later_wish(box: Box, mail: str):  # noqa: F811
    found = box.do("""
from dom0.errors import Refused
m = machine("Mail")
carried(services.machine_stop(actor(), m))
args = dict(image=m.image.digest, volume="Mail-root", machine=str(m.uuid), fs_uuid=str(m.uuid))
try:
    run_hand("root-install", **args, generation="1")
    out = "overwritten"
except Refused as error:
    out = f"{error.message} {error.note}"
try:
    run_hand("fs-create", volume="Mail-root", machine=str(m.uuid), type="ext4", fs_uuid=str(m.uuid))
    out += "formatted"
except Refused as error:
    out += f"{error.message} {error.note}"
""")
    assert found.count("already holds a distribution. Nothing was changed.") == 2
    assert "fscreate=force" in found
