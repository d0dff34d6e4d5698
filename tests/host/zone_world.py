"""A dom0 of its own for zones: a fresh network namespace, folders dnsmasq can read, a guest on the bridge."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dom0 import execute, files, network, probe
from dom0.dnsmasq import Files
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from zones import plan
from zones.specs import ZoneSpec

CLONE_NEWNET = 0x40000000
MAC = "aa:bb:cc:dd:01:02"
CLIENT = f"frz-{os.getpid() % 100000}"


def until(so: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def run(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture
def dom0() -> Iterator[HostConfig]:
    """This thread in a fresh network namespace, with folders dnsmasq can read after it gave up root."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    folder = Path(tempfile.mkdtemp(prefix="frz-"))
    folder.chmod(0o755)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    config = HostConfig(
        name="ns3100421",
        libvirt="lxc:///system",
        volumes=str(folder / "volumes"),
        state=str(folder / "state"),
        run=str(folder / "run"),
    )
    try:
        run("ip", "link", "set", "lo", "up")
        yield config
    finally:
        for conf in Path(config.state, "dnsmasq").glob("*.conf"):
            network.dnsmasq_stop(config, {"zone": conf.stem}, "")
        subprocess.run(("ip", "netns", "delete", CLIENT), capture_output=True, check=False)
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        shutil.rmtree(folder)


def alive(pid: str) -> bool:
    """Whether the process is more than an entry its parent has not collected yet."""
    path = Path("/proc", pid, "cmdline")
    return path.exists() and path.read_bytes() != b""


def zone(config: HostConfig) -> ZoneSpec:
    return ZoneSpec(
        host=config.name,
        name="zFulup",
        bridge="xen-br1",
        gateway="10.10.1.1",
        prefix=24,
        isolated=True,
        domain="fulup.internal",
        files=Files(state=config.state, run=config.run, zone="zFulup"),
    )


def look(spec: ZoneSpec, config: HostConfig) -> State:
    return probe.probe(config, Scope(**plan.looked_at(spec)))  # type: ignore[arg-type]


def carry_out(found: Plan, state: State, config: HostConfig) -> None:
    for step in found.steps:
        execute.perform(step, config, state, {})
        state = step.after(state)


def make(spec: ZoneSpec, config: HostConfig) -> None:
    state = look(spec, config)
    carry_out(plan.present(spec, state), state, config)


def tell(spec: ZoneSpec, name: str, mac: str, ip: str) -> None:
    files.write_atomic(f"{spec.files.ethers}/{name}", f"{mac},{ip},{name}\n")
    files.write_atomic(f"{spec.files.hosts}/{name}", f"{ip} {name}.{spec.domain} {name}\n")


def plug_in(spec: ZoneSpec, mac: str = MAC, vif: str = "fr1") -> None:
    """A machine's interface on the bridge, its other end in a namespace of the machine's own."""
    run("ip", "netns", "add", CLIENT)
    run("ip", "link", "add", vif, "type", "veth", "peer", "name", "eth0", "netns", CLIENT)
    run("ip", "link", "set", vif, "master", spec.bridge, "up")
    run("ip", "-n", CLIENT, "link", "set", "eth0", "address", mac, "up")


def lease(config: HostConfig, tries: int = 20) -> str:
    """What a machine gets by asking for an address, as "address router dns domain name"; "" for nothing."""
    script = Path(config.state) / "on-lease"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "LEASE $ip $router $dns $domain $hostname"\nexit 0\n')
    script.chmod(0o755)
    ask = ("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", str(tries), "-T", "1", "-s", str(script))
    said = subprocess.run(
        ("ip", "netns", "exec", CLIENT, *ask), capture_output=True, text=True, check=False, timeout=120
    ).stdout
    return next((line.removeprefix("LEASE ") for line in said.splitlines() if line.startswith("LEASE ")), "")


def resolve(name: str) -> str:
    run("ip", "-n", CLIENT, "address", "replace", "10.10.1.2/24", "dev", "eth0")
    ask = ("busybox", "nslookup", name, "10.10.1.1")
    return subprocess.run(
        ("ip", "netns", "exec", CLIENT, *ask), capture_output=True, text=True, check=False, timeout=120
    ).stdout


@pytest.fixture
def host_file(dom0: HostConfig, monkeypatch: pytest.MonkeyPatch) -> HostConfig:
    """The same as the worker reads it."""
    toml = Path(dom0.state).parent / "host.toml"
    lines = (f"{key} = {json.dumps(getattr(dom0, key))}" for key in ("name", "libvirt", "volumes", "state", "run"))
    toml.write_text("\n".join(lines) + '\n[[nic]]\nname = "eth0"\naddresses = []\nmay_add = true\n')
    monkeypatch.setenv("FRIDU_HOST_TOML", str(toml))
    return dom0
