"""Why a machine can't be reached, the part beyond its bridge: forwarding, SNAT, published ports; and its disk."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from dom0 import network, runner
from dom0.host import HostConfig
from dom0.verdicts import Verdict, bad, good, unsure

if TYPE_CHECKING:
    from dom0.doctor import Wish

MIB = 1 << 20
FULL = 95  # percent
_COUNTED = re.compile(r"\[(\d+):(\d+)\] -A (\S+) (.*)")


def forwarding(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    found = network.sysctls(("net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"))
    if found.get("net.ipv4.ip_forward") != "1":
        says = "The host forwards nothing between networks (net.ipv4.ip_forward is not 1)."
        return bad(says, "Operators: apply the firewall; forwarding is switched on behind rules that loaded.")
    if found.get("net.bridge.bridge-nf-call-iptables", "0") != "0":
        says = "Frames within a zone are sent through iptables (net.bridge.bridge-nf-call-iptables is not 0)."
        return bad(says, f"Operators: fridu zone apply {wish.zone}.")
    return good("The host forwards between its networks.")


def snat(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    """Whether what it sends to the Internet leaves with its zone's external address (`external`, "" for none)."""
    external = args.get("external", "")
    if not external:
        return unsure(f"Zone {wish.zone} has no external address: its machines have no way out, as wished.")
    net, rule = str(wish.network.network), f" -j SNAT --to-source {external}"
    rules = [line for line in _nat() if line.chain == "fr-snat" and f"-s {net} " in f"{line.args} "]
    found = next((line for line in rules if rule in f" {line.args}" and "ctstate" not in line.args), None)
    if found is None:
        says = f"No rule lets {net} go out as {external}: what it sends to the Internet is never answered."
        return bad(says, "Operators: apply the firewall.")
    if trouble := _on_a_card(external):
        return trouble
    return good(f"It goes out as {external}: {_times(found.packets)} so far for its zone.")


def dnat(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    """Each of `ports` ("tcp 91.121.65.140 80 8080", separated by commas): is there a rule, and was it ever used?"""
    wanted = [tuple(each.split()) for each in args.get("ports", "").split(",") if each]
    if not wanted:
        return unsure("No port is published for it: from the Internet nobody reaches it, as wished.")
    rules = [line for line in _nat() if line.chain.startswith("fr-dn-") and "-j DNAT" in line.args]
    missing, lines = [], []
    for proto, external, port, inside in wanted:
        rule = next((line for line in rules if _leads(line, proto, external, port, wish.address, inside)), None)
        if rule is None:
            missing.append(f"{proto} {port} of {external}")
        else:
            lines.append(f"{proto} {port} of {external}: {_times(rule.packets)}")
    if missing:
        says = f"No rule leads {', '.join(missing)} to it."
        return bad(says, "Operators: apply the firewall; the page of the published services says what is not applied.")
    for external in dict.fromkeys(each[1] for each in wanted):
        if trouble := _on_a_card(external):
            return trouble
    return good(f"Every published port leads to it: {'; '.join(lines)}.")


def _leads(line: Counted, proto: str, external: str, port: str, address: str, inside: str) -> bool:
    if line.chain != f"fr-dn-{external}" and not line.chain.startswith(f"fr-dn-{external}-"):
        return False
    words = line.args.split()
    said = dict(pairwise(words))
    there = said.get("--to-destination", "").partition("-")[0].partition("/")[0]
    return said.get("-p") == proto and said.get("--dport") == port.replace("-", ":") and there == f"{address}:{inside}"


def _on_a_card(address: str) -> Verdict | None:
    for link in network.links((network.ALL,)).values():
        if address in {each.partition("/")[0] for each in link.addresses}:
            if link.up:
                return None
            return bad(f"{address} is on {link.name}, which is down.", f"Operators: ip link set {link.name} up")
    says = f"The external address {address} is on none of the host's cards: nothing sent to it arrives."
    return bad(says, f"Operators: put it on its card (fridu address add {address}).")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A rule of the nat table, with how many connections it translated."""

    chain: str
    args: str
    packets: int


def _nat() -> list[Counted]:
    saved = runner.run(("iptables-save", "-c", "-t", "nat"), keep=runner.ALL).stdout
    found = (_COUNTED.fullmatch(line) for line in saved.splitlines())
    return [Counted(chain=m[3], args=m[4], packets=int(m[1])) for m in found if m]


def _times(packets: int) -> str:
    return "never used" if not packets else f"used by {packets} connection{'' if packets == 1 else 's'}"


# its disk


def root(config: HostConfig, wish: Wish, args: Mapping[str, str]) -> Verdict:
    """The superblock of its root volume (`volume`), as numbers; where the host mounted it (`mount`), the kernel's.

    Nothing is mounted for this.
    """
    try:
        with open(args["volume"], "rb") as file:
            file.seek(1024)
            block = file.read(1024)
    except FileNotFoundError:
        return bad("Its root volume is not there.", "Operators: bring it back, or reinstall the machine.")
    found = superblock(block)
    if found is None:
        return bad("There is no filesystem on its root volume.", "Reinstall the machine, or restore a snapshot.")
    check = "Stop the machine and check its filesystem (fridu check NAME)"
    check += "." if config.lxc else ", or start it from a rescue image and run e2fsck on it there."
    if found.errors:
        last = f", the last {found.last_error:%Y-%m-%d %H:%M} UTC" if found.last_error else ""
        return bad(f"Its root filesystem has errors: the kernel met {found.errors}{last}.", check)
    mounted = config.lxc and os.path.ismount(args.get("mount", ""))
    if not found.clean and not mounted and args.get("wanted") != "running":
        return unsure("Its root filesystem was not closed properly; it is repaired at the next start.")
    return _room(found, args["mount"] if mounted else "")


def _room(found: Superblock, mount: str) -> Verdict:
    total, free = found.blocks * found.block_bytes, found.free * found.block_bytes
    nodes, free_nodes, age = found.inodes, found.free_inodes, ""
    if mount:
        facts = os.statvfs(mount)
        total, free = facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize
        nodes, free_nodes = facts.f_files, facts.f_ffree
    else:
        age = " as it was last written down"
    used = 100 - 100 * free // max(1, total)
    if used >= FULL:
        says = f"Its root filesystem is full: {free // MIB} of {total // MIB} MB are free{age}."
        return bad(says, "Remove what is not needed (often /var/log), or grow its root volume.")
    if nodes and 100 - 100 * free_nodes // nodes >= FULL:
        return bad(f"Its root filesystem has room for {free_nodes} more files only{age}.", "Remove many small files.")
    return good(f"Its root filesystem is in order: {free // MIB} of {total // MIB} MB are free{age}.")


@dataclass(frozen=True, kw_only=True)
class Superblock:
    """What ext3 and ext4 say of themselves."""

    clean: bool
    errors: int
    last_error: datetime | None
    blocks: int
    free: int
    block_bytes: int
    inodes: int
    free_inodes: int


def superblock(raw: bytes) -> Superblock | None:
    """Read from the 1024 bytes at byte 1024 of a volume; None for anything else. The guest wrote them: only numbers."""
    if len(raw) < 1024 or raw[0x38:0x3A] != b"\x53\xef":
        return None
    inodes, blocks, _, free, free_inodes, _, log = struct.unpack_from("<7I", raw, 0)
    (state,) = struct.unpack_from("<H", raw, 0x3A)
    (count,) = struct.unpack_from("<I", raw, 0x194)
    (last,) = struct.unpack_from("<I", raw, 0x1CC)
    if log > 6:
        return None
    return Superblock(
        clean=bool(state & 1) and not struct.unpack_from("<I", raw, 0x60)[0] & 4,
        errors=max(count, 1) if state & 2 else count,
        last_error=datetime.fromtimestamp(last, UTC) if last else None,
        blocks=blocks,
        free=free,
        block_bytes=1024 << log,
        inodes=inodes,
        free_inodes=free_inodes,
    )


LOOKS: dict[str, Callable[[HostConfig, Wish, Mapping[str, str]], Verdict]] = {
    "forwarding": forwarding,
    "snat": snat,
    "dnat": dnat,
    "root": root,
}
