"""Tuning by family, on trees made by hand: what is written, and what is said where it can't be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from configparser import ConfigParser
from dataclasses import replace
from pathlib import Path

import pytest

from dom0 import families, tune
from dom0.confined import Root
from machines import render
from machines.specs import BootSpec, MachineSpec

SHADOW = "root:*:19000:0:99999:7:::\n"
#: What each kind of tree has, as its distribution installs it.
TREES = {
    "debian 12": {"etc/os-release": "ID=debian\nVERSION_ID=12\n", "usr/sbin/ifup": ""},
    "debian 13": {
        "etc/os-release": "ID=debian\n",
        "usr/lib/systemd/systemd-networkd": "",
        "usr/lib/systemd/systemd": "",
    },
    "devuan": {"etc/os-release": "ID=devuan\nID_LIKE=debian\n", "usr/sbin/ifup": ""},
    "ubuntu": {
        "etc/os-release": "ID=ubuntu\nID_LIKE=debian\n",
        "usr/sbin/netplan": "",
        "etc/netplan/50-cloud-init.yaml": "network: {version: 2, ethernets: {ens3: {dhcp4: true}}}\n",
        "etc/cloud/cloud.cfg": "",
        "usr/lib/systemd/systemd-networkd": "",
        "usr/lib/systemd/systemd-resolved": "",
    },
    "alpine": {
        "etc/os-release": "ID=alpine\n",
        "etc/alpine-release": "3.20.1",
        "sbin/ifup": "",
        "etc/init.d/networking": "",
    },
    "opensuse leap": {
        "etc/os-release": 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n',
        "etc/sysconfig/network/config": "",
    },
    "opensuse 16": {"etc/os-release": "ID=opensuse-tumbleweed\n", "usr/sbin/NetworkManager": ""},
    "fedora": {"etc/os-release": "ID=fedora\n", "usr/sbin/NetworkManager": ""},
    "centos 7": {"etc/os-release": 'ID="centos"\nID_LIKE="rhel fedora"\n', "etc/sysconfig/network-scripts/ifup": ""},
    "old debian": {"etc/debian_version": "9.1\n", "usr/sbin/ifup": ""},
    "old suse": {"etc/SuSE-release": "openSUSE 11\n", "etc/sysconfig/network/config": ""},
    "slackware": {"etc/os-release": "ID=slackware\n"},
    "nothing": {},
}
FAMILIES = {
    "debian 12": "debian",
    "debian 13": "debian",
    "devuan": "debian",
    "ubuntu": "ubuntu",
    "alpine": "alpine",
    "opensuse leap": "opensuse",
    "opensuse 16": "opensuse",
    "fedora": "fedora",
    "centos 7": "fedora",
    "old debian": "debian",
    "old suse": "opensuse",
    "slackware": "other",
    "nothing": "other",
}
#: The one file that has eth0 ask for its address.
NETWORK = {
    "debian 12": "etc/network/interfaces",
    "debian 13": "etc/systemd/network/10-eth0.network",
    "ubuntu": "etc/netplan/90-fridu.yaml",
    "alpine": "etc/network/interfaces",
    "opensuse leap": "etc/sysconfig/network/ifcfg-eth0",
    "opensuse 16": "etc/NetworkManager/system-connections/eth0.nmconnection",
    "fedora": "etc/NetworkManager/system-connections/eth0.nmconnection",
    "centos 7": "etc/sysconfig/network-scripts/ifcfg-eth0",
}
Tuned = Callable[[str], tuple[Path, list[str]]]


@pytest.fixture
def grown(tmp_path: Path) -> Callable[[str], Path]:
    """The tree of that name."""

    def grow(name: str) -> Path:
        for path, content in {**TREES[name], "etc/shadow": SHADOW, "etc/ssh/ssh_host_rsa_key": "old"}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(content)
        return tmp_path

    return grow


@pytest.fixture
def tuned(grown: Callable[[str], Path], spec: MachineSpec) -> Tuned:
    """The tree of that name, tuned by the family it was found to be, and what was said."""

    def run(name: str) -> tuple[Path, list[str]]:
        tree = grown(name)
        fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
        try:
            family = families.look(Root(fd))["family"]
            wishes = json.loads(render.tuning(replace(spec, image=replace(spec.image, family=family))))
            return tree, tune.write(Root(fd), wishes)
        finally:
            os.close(fd)

    return run


@pytest.mark.parametrize("name", TREES)
def test_each_tree_is_found_to_be_of_its_family(grown: Callable[[str], Path], name: str):
    fd = os.open(grown(name), os.O_RDONLY | os.O_DIRECTORY)
    assert families.look(Root(fd))["family"] == FAMILIES[name]
    os.close(fd)


@pytest.mark.parametrize("name", NETWORK)
def test_each_family_asks_for_its_address_in_its_own_way(tuned: Tuned, name: str):
    tree, lacking = tuned(name)
    text = (tree / NETWORK[name]).read_text()
    assert lacking == []
    assert "dhcp" in text.lower() or "method=auto" in text
    assert (tree / "etc/hostname").read_text() == "WEB-Dom\n"
    assert not (tree / "etc/ssh/ssh_host_rsa_key").exists()
    assert (tree / "root/.ssh/authorized_keys").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", [n for n in NETWORK if n.startswith(("opensuse 16", "fedora"))])
def test_networkmanager_gets_a_keyfile_that_nobody_else_reads(tuned: Tuned, name: str):
    tree, _ = tuned(name)
    keyfile = tree / NETWORK[name]
    read = ConfigParser()
    read.read_string(keyfile.read_text())
    assert (read["connection"]["interface-name"], read["ipv4"]["method"]) == ("eth0", "auto")
    assert keyfile.stat().st_mode & 0o777 == 0o600  # NetworkManager ignores others


def test_nothing_of_clouds_or_installers_network_stays(tuned: Tuned):
    tree, _ = tuned("ubuntu")
    assert [p.name for p in (tree / "etc/netplan").iterdir()] == ["90-fridu.yaml"]
    assert (tree / "etc/cloud/cloud-init.disabled").exists()
    assert (tree / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service").is_symlink()


def test_alpine_begins_its_network_at_boot(tuned: Tuned):
    tree, _ = tuned("alpine")
    assert (tree / "etc/runlevels/boot/networking").readlink() == Path("/etc/init.d/networking")


@pytest.mark.parametrize("name", ["slackware", "nothing"])
def test_an_unknown_family_says_what_could_not_be_done(tuned: Tuned, name: str):
    tree, lacking = tuned(name)
    assert (tree / "etc/hostname").read_text() == "WEB-Dom\n"
    assert (tree / "etc/ssh/ssh_host_rsa_key").exists()  # it might never make another
    assert len(lacking) == 2
    assert "ssh-keygen -A" in lacking[0]
    assert "Its network could not be set up" in lacking[1]
    assert not (tree / "etc/network/interfaces").exists()


def test_a_known_family_without_its_tools_says_so(grown, spec: MachineSpec):
    fd = os.open(grown("nothing"), os.O_RDONLY | os.O_DIRECTORY)
    wishes = json.loads(render.tuning(replace(spec, image=replace(spec.image, family="fedora"))))
    assert "none of /usr/sbin/NetworkManager" in tune.write(Root(fd), wishes)[0]
    os.close(fd)


def test_a_machine_that_grub_shall_start_says_that_its_root_has_no_menu(grown, spec: MachineSpec):
    tree = grown("debian 12")
    debian = replace(spec, image=replace(spec.image, family="debian"))
    by_grub = json.loads(render.tuning(replace(debian, boot=BootSpec(how="grub", kernel="/grub.bin"))))
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    (says,) = tune.write(Root(fd), by_grub)
    assert "no /boot/grub/grub.cfg" in says
    assert tune.write(Root(fd), json.loads(render.tuning(debian))) == []
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/grub/grub.cfg").write_text("linux /vmlinuz\n")
    assert tune.write(Root(fd), by_grub) == []
    os.close(fd)
