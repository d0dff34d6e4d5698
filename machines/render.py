"""What is written for a machine: its lines for DHCP and DNS, and the files of its root filesystem. Pure."""

from __future__ import annotations

import json
from typing import Any

from dom0.steps import secret
from machines import definition
from machines import tuning as tuning_of
from machines.specs import LOCKED, ROOT_HASH, EntrySpec, MachineSpec, Tuned, short_digest

#: The signal to a family's init, busybox's or systemd's; others are asked by ACPI.
POWER_OFF = {"tiny": "usr2", "alpine": "usr2", **dict.fromkeys(("debian", "ubuntu", "opensuse", "fedora"), "rt6")}
KEYS_PATH = "/root/.ssh/authorized_keys"


def ethers(spec: EntrySpec) -> str:
    """Its line for the zone's DHCP."""
    return f"{spec.mac},{spec.address},{spec.name}\n"


def hosts(spec: EntrySpec) -> str:
    """Its line for the zone's DNS."""
    full = f" {spec.name}.{spec.zone.domain}" if spec.zone.domain else ""
    return f"{spec.address}{full} {spec.name}\n"


def tuned(spec: MachineSpec, asked: str = "") -> Tuned:
    """The mark of a root filesystem that is tuned as wished; `asked` tells one forced wish from another."""
    base = short_digest(_text(_base(spec)))
    return Tuned(base=f"{base}-{asked}" if asked else base, keys=keys_digest(spec), password=spec.password)


def keys_digest(spec: MachineSpec) -> str:
    return short_digest(keys_text(spec))


def tuning(spec: MachineSpec, mark: Tuned | None = None) -> str:
    """All of a fresh root's tuning, as dom0.tune reads it; `mark` where it is not the spec's own."""
    wishes = _base(spec)
    wishes["files"].append(_keys(spec))
    wishes["passwords"] = {"root": "*" if spec.password == LOCKED else secret(ROOT_HASH)}
    return _marked(spec, mark or tuned(spec), wishes)


def keys_tuning(spec: MachineSpec, mark: Tuned) -> str:
    """The SSH keys alone."""
    return _marked(spec, mark, {"files": [_keys(spec)]})


def password_tuning(spec: MachineSpec, mark: Tuned) -> str:
    """The root password alone."""
    return _marked(spec, mark, {"passwords": {"root": secret(ROOT_HASH)}})


def lines_tuning(spec: MachineSpec, mark: Tuned, lines: list[dict[str, str]]) -> str:
    """Single lines of its own files, where they are as they were made."""
    return _marked(spec, mark, {"lines": lines})


def own_line(spec: MachineSpec) -> str:
    """The line of /etc/hosts with which it knows itself."""
    names = f"{spec.name}.{spec.zone.domain} {spec.name}" if spec.zone.domain else spec.name
    return f"127.0.1.1 {names}"


def keys_text(spec: MachineSpec) -> str:
    return "".join(f"{' '.join(line.split())}\n" for line in spec.keys)


def _marked(spec: MachineSpec, mark: Tuned, wishes: dict[str, Any]) -> str:
    return _text({"machine": spec.uuid, "mark": str(mark), **wishes})


def _text(wishes: dict[str, Any]) -> str:
    return json.dumps(wishes, indent=1, ensure_ascii=False)


def _keys(spec: MachineSpec) -> dict[str, Any]:
    return {"path": KEYS_PATH, "content": keys_text(spec), "mode": "0600", "folder_mode": "0700"}


def _base(spec: MachineSpec) -> dict[str, Any]:
    """Name, addresses by DHCP, nothing left of whoever built the image: by family."""
    wishes: dict[str, Any] = {
        "files": [
            {"path": "/etc/hostname", "content": f"{spec.name}\n"},
            {"path": "/etc/hosts", "content": _etc_hosts(spec)},
            {"path": "/etc/fstab", "content": definition.fstab(spec)},
        ],
        "remove": ["/etc/udev/rules.d/70-persistent-net.rules"],
    }
    for part, more in tuning_of.recipe(spec).items():
        wishes[part] = [*wishes.get(part, ()), *more]
    return wishes


def _etc_hosts(spec: MachineSpec) -> str:
    return f"127.0.0.1 localhost\n{own_line(spec)}\n::1 localhost ip6-localhost ip6-loopback\n"
