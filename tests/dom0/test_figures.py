"""What the kernel's own files say of interfaces, disks and memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dom0 import figures
from dom0.host import HostConfig
from dom0.state import Domain

NET = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  999       5    0    0    0     0          0         0      999       5    0    0    0     0       0          0
fr0a0a0204:123456      77    0    0    0     0          0         0 18446744073709551615       8    0    0    0     0       0          0
  eth0:      10      77    0    0    0     0          0         0  20       8    0    0    0     0       0          0
"""  # noqa: E501
DISKS = """\
   7       1 loop1 8059 4387 1298124 3790 7877 4666 72724 7476 0 7952 16648 0 0 0 0 5158 5381
 254       3 dm-3 1 0 16 0 2 0 8 0 0 0 0
"""


def config(tmp_path: Path, **more: object) -> HostConfig:
    known = {"name": "box", "libvirt": "lxc:///system", "volumes": "/nowhere", "run": str(tmp_path)}
    return HostConfig(**{**known, **more})  # type: ignore[arg-type]


def test_what_this_side_receives_the_machine_sent_and_foreign_cards_are_left_out(tmp_path: Path) -> None:
    assert figures.traffic(config(tmp_path), NET) == {"fr0a0a0204": (2**64 - 1, 123456)}


def test_disks_are_counted_by_what_a_machine_has_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path.stat().st_dev
    (tmp_path / "machines" / "u1").mkdir(parents=True)
    text = f"{os.major(here)} {os.minor(here)} disk 1 0 100 0 2 0 300 0 0 0 0\n{DISKS}"
    domains = {name: Domain(name=name, uuid=f"u{n}", running=n < 3) for n, name in enumerate("ABCD", start=1)}
    assert figures.disks(config(tmp_path), domains, text) == {"u1": (100 * 512, 300 * 512)}


def test_a_volume_group_that_is_away_counts_nothing(tmp_path: Path) -> None:
    assert figures.disks(config(tmp_path, libvirt="xen:///system", volume_groups=("no-such",)), {}, DISKS) == {}


V1 = "9:name=systemd:/\n4:memory:/machine/lxc-1-A\n2:cpu,cpuacct:/x\n0::/\n"
V2 = "0::/machine.slice/machine-lxc.scope\n"


@pytest.mark.parametrize(
    ("text", "folder", "file"),
    [
        (V1, "memory/machine/lxc-1-A", "memory.usage_in_bytes"),
        (V2, "machine.slice/machine-lxc.scope", "memory.current"),
    ],
)
def test_memory_is_found_under_either_version_of_control_groups(text: str, folder: str, file: str) -> None:
    found, (name, _) = figures._group(text)
    assert (str(found), name) == (f"/sys/fs/cgroup/{folder}", file)


@pytest.mark.parametrize("text", ["", "0::/\n", "3:cpu:/x\n"])
def test_a_process_in_no_memory_group_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="no memory group"):
        figures._group(text)


def test_memory_that_can_not_be_read_is_libvirts(tmp_path: Path) -> None:
    gone = Domain(name="A", uuid="u", running=True, number=2**22 + 1, memory_kib=77)
    assert figures.with_memory(config(tmp_path), {"A": gone})["A"].memory_kib == 77


def test_the_host_itself_is_counted() -> None:
    load = figures.load()
    assert load["memory_mib"] > load["used_mib"] > 0
    assert load["ticks"] > load["busy_ticks"] > 0
    assert load["processors"] >= 1
