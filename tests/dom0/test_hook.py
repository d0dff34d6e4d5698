"""What libvirt's hook reads in a domain, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from dom0 import hook, host
from dom0.hook import Complaint, Root, read

GOLDEN = (Path(__file__).parents[1] / "golden" / "domain-lxc.xml").read_text()
UUID = "6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10"
ROOT = Root(volume="/var/lib/fridu/volumes/WEB-Dom-root.img", mount=f"/run/fridu/machines/{UUID}", uid_base=1048576)


def test_it_reads_volume_mount_and_user_ids_from_the_definition():
    assert read(GOLDEN.encode()) == (ROOT,)


def test_it_reads_the_log_volume_too_and_wants_a_filesystem_that_shows_it():
    log = f"/run/fridu/machines/{UUID}.log"
    said = f'<fridu:log volume="/dev/vg0/WEB-Dom-log" mount="{log}"/>'
    named = GOLDEN.replace("</fridu:machine>", f"{said}</fridu:machine>")
    shown = f'<filesystem type="mount"><source dir="{log}"/><target dir="/var/log"/></filesystem>'
    with pytest.raises(Complaint, match="none of its filesystems comes from there"):
        read(named.encode())
    found = read(named.replace("<interface", f"{shown}<interface").encode())
    assert found == (ROOT, Root(volume="/dev/vg0/WEB-Dom-log", mount=log, uid_base=1048576))


def test_it_leaves_a_domain_alone_that_is_not_ours():
    foreign = GOLDEN[: GOLDEN.index("<metadata>")] + GOLDEN[GOLDEN.index("</metadata>") + len("</metadata>") :]
    assert read(foreign.encode()) == ()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('<uid start="0" target="1048576"', '<uid start="0" target="0"', "would be this host's root"),
        ('<gid start="0" target="1048576"', '<gid start="0" target="0"', "would be this host's root"),
        ('uid_base="1048576"', 'uid_base="0"', "which must be 100000 or more"),
        ('uid_base="1048576"', 'uid_base="many"', "garbles"),
        (f'<source dir="/run/fridu/machines/{UUID}"/>', '<source dir="/"/>', "none of its filesystems"),
        ('volume="/var/lib/fridu/volumes/', 'volume="/var/lib/fridu/volumes/../../', "not a plain absolute path"),
        ('volume="/var', 'volume="var', "not a plain absolute path"),
    ],
)
def test_it_refuses_a_definition_that_contradicts_itself(old: str, new: str, sentence: str):
    assert old in GOLDEN
    with pytest.raises(Complaint, match=sentence):
        read(GOLDEN.replace(old, new, 1).encode())


def test_it_refuses_a_machine_without_shifted_user_ids():
    start, end = GOLDEN.index("<idmap>"), GOLDEN.index("</idmap>") + len("</idmap>")
    with pytest.raises(Complaint, match="idmap"):
        read((GOLDEN[:start] + GOLDEN[end:]).encode())


@pytest.mark.parametrize(
    "line",
    ["", 'state = "/srv/state"', "state='/srv/state' # here", 'state="/srv/state"', '  state   =  "/srv/state"  '],
)
def test_it_finds_the_limits_where_the_host_file_says(monkeypatch, tmp_path, line):
    """It reads one key by hand; whoever else reads the file finds the same."""
    path = tmp_path / "host.toml"
    path.write_text(f'name = "box"\nlibvirt = "lxc:///system"\nvolumes = "/v"\n{line}\n[[nic]]\nname = "eth0"\n')
    monkeypatch.setenv("FRIDU_HOST_TOML", str(path))
    assert hook.limits_folder() == f"{host.load().state}/limits"
    xml = b"<domain type='lxc' id='42'><uuid>6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10</uuid></domain>"
    assert hook.limits_path(xml) == f"{host.load().state}/limits/6f1d7a52-6d4c-4a53-9a3b-0f6a9c1f4e10.json"
    assert hook.domain_id(xml) == 42
