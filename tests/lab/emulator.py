"""qemu, as the lab runs it: software emulation only, a network with no way out, throw-away disks."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo import processes
from demo.processes import Process
from tests.lab.places import Problem, built, running
from tests.lab.tiers import Tier

QEMU = "qemu-system-x86_64"
DISKS = ("root", "data")
#: Ports of the host reached from this box's loopback: its SSH, the panel's door, the one a test publishes.
PORTS = {"ssh": 22, "web": 443, "published": 2201}
LINUX = "root=/dev/vda rw net.ifnames=0 mitigations=off nokaslr audit=0 random.trust_cpu=on quiet"
#: What an emulated processor does not need to be guarded against, and what would only slow it.
XEN = "console=com1 com1=115200,8n1 dom0_mem={mib}M,max:{mib}M dom0_max_vcpus=1 xpti=0 spec-ctrl=0 pcid=0"
#: qemu64 makes libxl fail and virsh hang; Nehalem is the plainest that works.
MACHINE = ("-M", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem")


@dataclass(frozen=True, kw_only=True)
class Running:
    """A host that runs: its folder below var/lab/run is `name`."""

    name: str
    tier: str
    process: Process
    ports: dict[str, int]

    @property
    def folder(self) -> Path:
        return running(self.name)

    def alive(self) -> bool:
        return self.process.alive()


def start(
    tier: Tier, name: str, *, disks: Mapping[str, Path], state: Path | None = None, bound: bool = False
) -> Running:
    """Start `tier` on overlays of `disks`, from a frozen `state` where one is given. Raises Problem.

    `bound`: it ends with this process, however that ends; otherwise it stays until it is stopped.
    """
    stop(name)
    for left, host in _records():
        if not host.alive():
            shutil.rmtree(left, ignore_errors=True)
    folder = running(name)
    folder.mkdir(parents=True)
    for disk in DISKS:
        _overlay(folder / f"{disk}.qcow2", disks.get(disk), tier.data_gib)
    ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
    incoming = ("-incoming", f"exec:lz4 -dc {state}") if state else ()
    argv = (*command(tier, ports), *incoming)
    with open(folder / "qemu.log", "wb") as log:
        child = subprocess.Popen(
            (*(("setpriv", "--pdeathsig", "KILL", "--") if bound else ()), *argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
        )
    began = processes.start_time(child.pid)
    host = Running(name=name, tier=tier.name, process=Process(pid=child.pid, started=began or 0), ports=ports)
    (folder / "host.json").write_text(json.dumps(asdict(host)))
    return host


def recorded() -> list[Running]:
    """The hosts that run now."""
    return [host for _, host in _records() if host.alive()]


def _records() -> Iterator[tuple[Path, Running]]:
    """The folder and the record of every host started, of dead ones too."""
    for path in sorted(running("x").parent.glob("*/host.json")):
        data = json.loads(path.read_text())
        yield path.parent, Running(**{**data, "process": Process(**data["process"])})


def stop(name: str) -> bool:
    """End the host `name` and throw its disks away; True where it ran."""
    host = next((each for each in recorded() if each.name == name), None)
    if host:
        processes.kill(host.process)
        _reap(host.process.pid)
    shutil.rmtree(running(name), ignore_errors=True)
    return host is not None


def version() -> str:
    """Of the emulator: a frozen state fits only the one it was made with."""
    done = subprocess.run((QEMU, "--version"), capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()[0]


def command(tier: Tier, ports: Mapping[str, int]) -> tuple[str, ...]:
    """How `tier` is started, in the folder of its disks. A frozen state comes back only into the same."""
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{ports[name]}-10.0.2.15:{port}" for name, port in PORTS.items())
    disks = (f"file={disk}.qcow2,if=virtio,format=qcow2,cache=unsafe,discard=unmap" for disk in DISKS)
    return (
        *(QEMU, "-name", f"lab-{tier.name}", *MACHINE, "-smp", str(tier.processors), "-m", str(tier.memory_mib)),
        *("-nodefaults", "-no-user-config", "-display", "none", "-serial", "file:console.log"),
        *("-qmp", "unix:qmp.sock,server=on,wait=off", *_kernel(tier)),
        *(word for disk in disks for word in ("-drive", disk)),
        *("-netdev", f"user,id=net,restrict=on{forwards}", "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng"),
    )


def _kernel(tier: Tier) -> tuple[str, ...]:
    image = built(tier.image)
    if not tier.xen:
        kernel = image / "vmlinux" if (image / "vmlinux").exists() else image / "vmlinuz"
        linux = f"console=ttyS0 {LINUX}"
        return ("-kernel", str(kernel), "-initrd", str(image / "initrd"), "-append", linux)
    modules = f"{image / 'vmlinux'} console=hvc0 {LINUX},{image / 'initrd'}"
    return ("-kernel", str(image / "xen"), "-append", XEN.format(mib=tier.dom0_mib), "-initrd", modules)


def _overlay(path: Path, backing: Path | None, gib: int) -> None:
    """A disk of its own for what is written from now on; empty where nothing lies below it."""
    below = ("-b", str(backing), "-F", "qcow2" if backing.suffix == ".qcow2" else "raw") if backing else ()
    size = () if backing else (f"{gib}G",)
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", *below, str(path), *size)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise Problem(f"No disk for the host: {done.stderr.strip()}")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _reap(pid: int) -> None:
    """Where it was a child of this process, take its end in."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


class Monitor:
    """qemu's control socket (QMP). Raises Problem where the host ended or refuses a command."""

    def __init__(self, host: Running, *, patience_s: float = 30) -> None:
        self.host = host
        self._socket = self._connect(time.monotonic() + patience_s)
        self._lines = self._socket.makefile("rb")
        self._answer()
        self.ask("qmp_capabilities")

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """One command and its answer."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        answer = self._answer()
        if "error" in answer:
            raise Problem(f"qemu refuses {command}: {answer['error']['desc']}")
        return answer["return"]

    def migrated(self, *, patience_s: float) -> None:
        """Wait until the state has gone out or come in. Raises Problem."""
        deadline = time.monotonic() + patience_s
        while (status := self.ask("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled") or time.monotonic() > deadline:
                raise Problem(f"The state of {self.host.name} could not be moved ({status}). {ended(self.host)}")
            time.sleep(0.02)

    def _connect(self, deadline: float) -> socket.socket:
        folder = os.open(self.host.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            while True:
                there = socket.socket(socket.AF_UNIX)
                try:
                    # by the folder's descriptor: a socket's path may have 107 letters only
                    there.connect(f"/proc/self/fd/{folder}/qmp.sock")
                except OSError:
                    there.close()
                    if not self.host.alive() or time.monotonic() > deadline:
                        raise Problem(f"qemu does not answer. {ended(self.host)}") from None
                    time.sleep(0.02)
                else:
                    there.settimeout(120)
                    return there
        finally:
            os.close(folder)

    def _answer(self) -> Any:
        """The next answer; events between are passed over."""
        while True:
            line = self._lines.readline()
            if not line:
                raise Problem(f"qemu has ended. {ended(self.host)}")
            said = json.loads(line)
            if "event" not in said:
                return said


def ended(host: Running) -> str:
    """What a host said last, for a sentence about its failure."""
    said = []
    for name in ("qemu.log", "console.log"):
        path = host.folder / name
        lines = path.read_text(errors="replace").strip().splitlines()[-3:] if path.exists() else []
        said += [f"{name}: {' / '.join(lines)}"] if lines else []
    return " ".join(said) or "It said nothing."
