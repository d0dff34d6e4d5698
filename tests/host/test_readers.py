"""What tuning writes for each family, read by the programs that will read it: they ask DHCP on eth0, and get it.

The readers are Debian's packages (ifupdown, systemd-networkd, netplan, NetworkManager, busybox, OpenSSH) in a tree of
their own in var/cache, on trees that say they are Ubuntu, Fedora and so on. Nothing is installed on this box.
wicked and network-scripts are no packages of Debian's: their files are read by a shell, which is what they are for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dom0 import image_files
from machines import render
from machines.specs import MachineSpec
from tests.machines.conftest import spec  # noqa: F401

pytestmark = pytest.mark.host
PROJECT = Path(__file__).parents[2]
BASE = PROJECT / "var" / "cache" / "readers-trixie.tar.zst"
PACKAGES = (
    "systemd-sysv",
    "netplan.io",
    "ifupdown",
    "isc-dhcp-client",
    "network-manager",
    "busybox-static",
    "dbus",
    "iproute2",
    "openssh-server",
    "udev",
)
ALONE = ("unshare", "--mount-proc", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
IFUP, NETPLAN, MANAGER = "usr/sbin/ifup", "usr/sbin/netplan", "usr/sbin/NetworkManager"
NETWORKD = "systemd-machine-id-setup; exec /usr/lib/systemd/systemd-networkd"  # the first is init's own work
MANAGED = "dbus-daemon --system --fork --nopidfile && exec NetworkManager --no-daemon"
#: What Alpine's busybox package brings, in short: its udhcpc calls it with what the server offered.
UDHCPC = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip route add default via "$router" dev "$interface"
"""
BUSYBOX = dict.fromkeys(("usr/sbin/ifup", "usr/sbin/ifdown", "usr/sbin/udhcpc"), "/usr/bin/busybox")
Reads = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the readers' Debian in `base`: built once, a minute and a half; remove it to have it anew."""
    if not BASE.exists():
        half = BASE.with_name(f".{os.getpid()}-{BASE.name}")
        argv = ("mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "trixie", str(half))
        BASE.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run((*argv, image_files.mirror()), check=True, capture_output=True, timeout=1800)
        half.rename(BASE)
    folder = tmp_path_factory.mktemp("readers")
    for name in ("base", "layers"):
        (folder / name).mkdir()
    subprocess.run(("tar", "--zstd", "-xf", str(BASE), "--exclude=./dev/*", "-C", str(folder / "base")), check=True)
    yield folder
    subprocess.run(("rm", "-rf", str(folder)), check=True)


@pytest.fixture
def reads(base: Path, spec: MachineSpec, tmp_path: Path) -> Reads:  # noqa: F811
    """What its programs make of a tree, tuned by the family it is found to be."""
    argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dominig@home", "-f", str(tmp_path / "key"))
    subprocess.run(argv, check=True)
    key = (tmp_path / "key.pub").read_text().strip()

    def tuning(family: str) -> Any:
        image = replace(spec.image, family=family)
        return json.loads(render.tuning(replace(spec, image=image, keys=(key,))))

    every = ("debian", "ubuntu", "alpine", "opensuse", "fedora", "other")

    def read(
        release: str,
        *,
        without: tuple[str, ...] = (),
        begin: str = "",
        files: dict[str, str] | None = None,
        links: dict[str, str] | None = None,
        **ask: str,
    ) -> dict[str, Any]:
        wish = {
            "files": {"etc/os-release": release, **(files or {})},
            "links": links or {},
            "without": without,
            "tune": {family: tuning(family) for family in every},
            "begin": [begin] if begin else [],
            "ask": ask,
        }
        program = (*ALONE, sys.executable, "-m", "tests.host.read_inside", str(base))
        done = subprocess.run(
            program, input=json.dumps(wish), capture_output=True, text=True, cwd=PROJECT, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return read


GIVEN = ["10.10.2.2/24", "10.10.2.1"]


def test_ifupdown_reads_debians(reads: Reads):
    found = reads(
        "ID=debian\nVERSION_ID=13\n",
        without=(NETPLAN, MANAGER),
        begin="ifup --all --verbose",
        all="ifquery --list --all",
        eth0="ifquery --state; ifquery eth0; ifdown --no-act --force --verbose eth0",
    )
    assert (found["family"], found["lacking"]) == ("debian", [])
    assert found["address"] == GIVEN, found["log"]
    assert found["asked"]["all"].split() == ["lo", "eth0"]
    assert "dhclient -4" in found["asked"]["eth0"]


def test_systemd_networkd_reads_debians_without_ifupdown(reads: Reads):
    found = reads(
        "ID=debian\nVERSION_ID=13\n",
        without=(NETPLAN, MANAGER, IFUP),
        begin=NETWORKD,
        on="systemctl --root=/ is-enabled systemd-networkd.service",
    )
    assert found["lacking"] == []
    assert found["address"] == GIVEN, found["log"]
    assert found["asked"]["on"] == "enabled"
    assert "Unknown" not in found["log"], found["log"]


def test_netplan_reads_ubuntus_and_systemd_networkd_what_it_makes_of_it(reads: Reads):
    cloud = "network: {version: 2, ethernets: {ens3: {dhcp4: true}}}\n"
    found = reads(
        "ID=ubuntu\nID_LIKE=debian\n",
        without=(IFUP, MANAGER),
        files={"etc/netplan/50-cloud-init.yaml": cloud},
        begin=f"netplan generate && {NETWORKD}",
        all="netplan get",
        said="netplan generate",
        made="cd /run/systemd/network && ls",
        on="systemctl --root=/ is-enabled systemd-networkd.service",
    )
    assert (found["family"], found["lacking"]) == ("ubuntu", [])
    assert found["address"] == GIVEN, found["log"]
    assert "eth0:" in found["asked"]["all"]
    assert "ens3" not in found["asked"]["all"]
    assert "WARNING" not in found["asked"]["said"]
    assert "too open" not in found["asked"]["said"]
    assert found["asked"]["made"].split() == ["10-netplan-eth0.network"]
    assert found["asked"]["on"] == "enabled"


def test_netplan_has_systemd_networkd_begun_where_networkmanager_is_there_too(reads: Reads):
    found = reads(
        "ID=ubuntu\nID_LIKE=debian\n",
        without=(IFUP,),
        begin=f"netplan generate && {NETWORKD}",
        begun="mkdir /tmp/n /tmp/e /tmp/l; rm -f /run/netplan/*; "
        "/usr/lib/systemd/system-generators/netplan /tmp/n /tmp/e /tmp/l; find /tmp /run/netplan",
    )
    assert found["address"] == GIVEN, found["log"]
    assert "wants/systemd-networkd.service" in found["asked"]["begun"], found["asked"]


def test_networkmanager_reads_netplans_where_it_is_the_renderer(reads: Reads):
    desktop = {"etc/netplan/01-network-manager-all.yaml": "network: {version: 2, renderer: NetworkManager}\n"}
    found = reads("ID=ubuntu\n", without=(IFUP,), files=desktop, begin=f"netplan generate && {MANAGED}")
    assert found["address"] == GIVEN, found["log"]


@pytest.mark.parametrize("release", ["ID=fedora\n", "ID=opensuse-tumbleweed\n", "ID=rocky\nID_LIKE='rhel fedora'\n"])
def test_networkmanager_reads_fedoras_and_opensuses(reads: Reads, release: str):
    active = "nmcli -t -f NAME,FILENAME,DEVICE connection show --active"
    found = reads(release, without=(IFUP, NETPLAN), begin=MANAGED, active=active)
    assert found["family"] == ("opensuse" if "opensuse" in release else "fedora")
    assert found["lacking"] == []
    assert found["address"] == GIVEN, found["log"]
    assert "eth0:/etc/NetworkManager/system-connections/eth0.nmconnection:eth0" in found["asked"]["active"].splitlines()


def test_busyboxs_ifup_reads_alpines(reads: Reads):
    found = reads(
        "ID=alpine\n",
        without=(NETPLAN, MANAGER),
        files={
            "etc/alpine-release": "3.20.1\n",
            "etc/udhcpc/default.script": UDHCPC,
            "usr/share/udhcpc/default.script": UDHCPC,
            "etc/init.d/networking": "#!/sbin/openrc-run\n",
        },
        links=BUSYBOX,
        begin="mkdir -p /var/run; ifup -a",
        would="ifup -n -f eth0",
        with_them="readlink -f /sbin/ifup",
    )
    assert (found["family"], found["lacking"]) == ("alpine", [])
    assert found["address"] == GIVEN, found["log"]
    assert "udhcpc" in found["asked"]["would"]
    assert found["asked"]["with_them"] == "/usr/bin/busybox"


@pytest.mark.parametrize(
    ("release", "folder", "says"),
    [
        ("ID=opensuse-leap\n", "etc/sysconfig/network", "dhcp4 auto"),
        ("ID=centos\n", "etc/sysconfig/network-scripts", "dhcp yes"),
    ],
)
def test_a_shell_reads_what_wicked_and_network_scripts_will(reads: Reads, release: str, folder: str, says: str):
    asked = f'set -eu; . /{folder}/ifcfg-eth0; echo "$BOOTPROTO ${{STARTMODE:-}}${{ONBOOT:-}}"'
    found = reads(release, without=(IFUP, NETPLAN, MANAGER), files={f"{folder}/config": ""}, read=asked)
    assert found["lacking"] == []
    assert found["asked"]["read"] == says


@pytest.mark.parametrize("release", ["ID=debian\n", "ID=ubuntu\n", "ID=alpine\n", "ID=opensuse\n", "ID=fedora\n"])
def test_name_keys_password_and_filesystems_are_read_by_who_needs_them(reads: Reads, release: str):
    found = reads(
        release,
        name="getent hosts WEB-Dom.dominig.internal",
        keys="ssh-keygen -l -f /root/.ssh/authorized_keys",
        locked="passwd -S root",
        mounts="findmnt --verify --tab-file /etc/fstab",
        host_keys="ls /etc/ssh; ssh-keygen -A >/dev/null; mkdir -p /run/sshd; /usr/sbin/sshd -t && echo fit",
    )["asked"]
    assert found["name"].split() == ["127.0.1.1", "WEB-Dom.dominig.internal", "WEB-Dom"]
    assert "dominig@home (ED25519)" in found["keys"]
    assert found["locked"].split()[:2] == ["root", "L"]
    assert found["host_keys"].endswith("fit")
    assert "ssh_host" not in found["host_keys"]
    assert found["mounts"].startswith("Success, no errors or warnings")
