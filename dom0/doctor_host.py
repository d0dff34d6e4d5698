"""The health of a host itself: one thing after the other, each with its verdict. For operators; nothing is changed."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from dom0 import bridge, dnsmasq, guard, network, probe, runner, saving, trial, volumes
from dom0.errors import CommandFailed, FriduError, Refused
from dom0.host import HostConfig
from dom0.state import Link
from dom0.verdicts import Verdict, bad, good, unsure

MIB = 1 << 20
LOW_MIB = 2048
ANSWER_S = 3.0
LATE_S = 30
_UNSYNCHRONISED = 5  # what adjtimex answers of a clock nothing keeps right
_libc = ctypes.CDLL(None, use_errno=True)


def libvirt(config: HostConfig) -> Verdict:
    from dom0 import domains  # here, for the panel imports us too and may have no libvirt

    try:
        found = domains.look_at_all(config)
    except FriduError as error:
        says = f"libvirt does not answer at {config.libvirt}: {_short(error)}"
        return bad(says, "Look at libvirtd's service and its log (journalctl -u libvirtd), and start it again.")
    running = sum(domain.running for domain in found.values())
    return good(f"libvirt answers at {config.libvirt}: {running} of {len(found)} machines run.")


def zones(config: HostConfig) -> Verdict:
    lines, wrong = [], []
    links = network.links((network.ALL,))
    for path in sorted(Path(config.state, "zones").glob("[!.]*.json")):
        name, wanted = path.stem, bridge.read(path.read_text())
        link = links.get(wanted.name)
        served = dnsmasq.service(name) in network.services(config, (dnsmasq.service(name),))
        faults = [] if link and link.up else [f"its bridge {wanted.name} is {'down' if link else 'not there'}"]
        faults += [] if link is None or wanted.address in link.addresses else [f"{wanted.name} lacks {wanted.address}"]
        faults += [] if served else ["its dnsmasq does not run"]
        lines.append(f"{name}: {'; '.join(faults) or 'in order'}")
        wrong += [name] if faults else []
    if wrong:
        do = f"fridu zone apply {wrong[0]} mends it; after a failed boot: python -m dom0.boot"
        return bad(f"{', '.join(wrong)}: not all is there.", do, seen=tuple(lines))
    return good(f"All {len(lines)} zones have their bridge, DHCP and DNS.", seen=tuple(lines))


def cards(config: HostConfig) -> Verdict:
    links = network.links((network.ALL,))
    faults = list(_card_faults(config, links))
    if faults:
        return bad("A card is not as the host file says.", "Bring it up, or put the address on it.", seen=tuple(faults))
    return good(f"{', '.join(nic.name for nic in config.nics) or 'No card is named in the host file'}: in order.")


def _card_faults(config: HostConfig, links: Mapping[str, Link]) -> Iterator[str]:
    for nic in config.nics:
        link = links.get(nic.name)
        if link is None or not link.up:
            yield f"{nic.name} is {'down' if link else 'not there'}"
            continue
        has = {address.partition("/")[0] for address in link.addresses}
        yield from (f"{nic.name} lacks {address}" for address in nic.addresses if address not in has)


def forwarding(config: HostConfig) -> Verdict:
    wanted = {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "0"}
    found = network.sysctls(tuple(wanted))
    wrong = [f"{key} is {found[key]}, not {value}" for key, value in wanted.items() if found.get(key, value) != value]
    if wrong:
        return bad("A kernel setting is not as it must be.", "Apply the firewall; it sets them.", seen=tuple(wrong))
    return good("The host forwards, and bridged frames don't pass iptables.")


def policy(config: HostConfig) -> Verdict:
    if "fr-in" not in saving.save("v4"):
        do = "fridu firewall apply, or without the panel: python -m dom0.boot"
        return bad("No rules of Fridu are loaded: dom0 and every zone are open.", do)
    pending = trial.pending(config)
    note = f" A revision is on trial for {pending.seconds_left:.0f} s more." if pending else ""
    return good(f"The firewall is loaded.{note}")


def guards(config: HostConfig) -> Verdict:
    beating = guard.beating(config)
    missing = [name for name in guard.NAMES if name not in beating]
    if missing:
        says = f"The guard {' and '.join(missing)} does not beat: a firewall trial would not be taken back by it."
        return bad(says, "Start the guards' services again (systemctl restart fridu-guard@…), and see their log.")
    return good(f"The guards beat: {', '.join(beating)}.")


def redis(config: HostConfig, broker: str) -> Verdict:
    if not broker:
        return unsure("The broker is not Redis; how it is can't be asked.")
    try:
        with _line(broker) as line:
            line.sendall(b"PING\r\n")
            answer = line.recv(64)
    except OSError as error:
        says = f"Redis does not answer at {broker}: {error.strerror or error}."
        return bad(says, "Start it again. Nothing is lost: jobs wait in the database and are sent again.")
    if not answer:
        return unsure(f"Something answers at {broker}, and says nothing.")
    return good("Redis answers.")


def _line(broker: str) -> socket.socket:
    if broker.startswith("/"):
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(ANSWER_S)
        line.connect(broker)
        return line
    host, _, port = broker.rpartition(":")
    return socket.create_connection((host, int(port)), ANSWER_S)


def kernel(config: HostConfig) -> Verdict:
    tries = {"sets (ipset)": ("ipset", "list", "-n"), "bridge rules (nft)": ("nft", "list", "tables")}
    missing = [what for what, argv in tries.items() if not _runs(argv)]
    wanted = {"loop devices": "/dev/loop-control"} if config.lxc else {}
    wanted |= {"tunnels": "/dev/net/tun"} if config.vpn_interface.startswith("tun") else {}
    wanted |= {"Xen's doors": "/proc/xen/privcmd"} if config.libvirt.startswith("xen") else {}
    missing += [what for what, path in wanted.items() if not Path(path).exists()]
    if missing:
        do = "Load the module (modprobe ip_set, nf_tables, loop, tun, xen-privcmd) and name it in /etc/modules."
        return bad(f"The kernel lacks {', '.join(missing)}.", do)
    return good(f"The kernel ({os.uname().release}) has what machines need.")


def _runs(argv: tuple[str, ...]) -> bool:
    try:
        runner.run(argv, timeout_s=10)
    except CommandFailed:
        return False
    return True


def disk(config: HostConfig) -> Verdict:
    lines, low = [], []
    places = {"image files": config.volumes, "golden copies": config.golden, "backups": config.backups}
    for what, path in {**places, "state": config.state, "run": config.run}.items():
        try:
            facts = os.statvfs(path)
        except FileNotFoundError:
            continue
        free, total = facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize
        lines.append(f"{what} ({path}): {free // MIB} of {total // MIB} MB free")
        low += [what] if free < min(LOW_MIB * MIB, total // 20) or facts.f_favail == 0 < facts.f_files else []
    groups = volumes.groups(config)
    for name in config.volume_groups:
        place = groups.get(name)
        lines.append(f"volume group {name}: " + (f"{place.free_bytes // MIB} MB free" if place else "not there"))
        low += [] if place and place.free_bytes > 64 * MIB else [f"volume group {name}"]
    if low:
        do = "Remove what is not needed: snapshots, images, former backups; or add a disk."
        return bad(f"Too little room: {', '.join(low)}.", do, seen=tuple(lines))
    return good("There is room on every disk.", seen=tuple(lines))


def memory(config: HostConfig) -> Verdict:
    free = probe.free_memory_mib(config)
    if not free:
        says = f"No memory is left beside the {config.reserved_memory_mib} MB kept for the host: no machine starts."
        return bad(says, "Stop a machine, or give one less memory.")
    return good(f"{free} MB are free for machines; {config.reserved_memory_mib} MB are kept for the host.")


def clock(config: HostConfig, panel: str) -> Verdict:
    """`panel`: when the panel asked, by its clock, in seconds since 1970; the answer can't be older."""
    if (behind := int(panel) - time.time()) > LATE_S:
        says = f"The host's clock is {behind:.0f} s behind the panel's."
        return bad(says, "Have both keep the time of the same server: apt install chrony.")
    if _libc.adjtimex(ctypes.create_string_buffer(512)) == _UNSYNCHRONISED:
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        return unsure(f"Nothing keeps the clock right, as far as the kernel knows; it says {now} UTC.")
    return good("The clock is kept right.")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


LOOKS: dict[str, Callable[[HostConfig, Mapping[str, str]], Verdict]] = {
    "libvirt": lambda config, args: libvirt(config),
    "zones": lambda config, args: zones(config),
    "cards": lambda config, args: cards(config),
    "forwarding": lambda config, args: forwarding(config),
    "policy": lambda config, args: policy(config),
    "guards": lambda config, args: guards(config),
    "redis": lambda config, args: redis(config, args.get("broker", "")),
    "kernel": lambda config, args: kernel(config),
    "disk": lambda config, args: disk(config),
    "memory": lambda config, args: memory(config),
    "clock": lambda config, args: clock(config, args["panel"]),
}


def look(config: HostConfig, args: Mapping[str, str], stdin: str = "") -> str:
    """The verdict about `look=`. Raises Refused for one nobody knows."""
    if args["look"] not in LOOKS:
        raise Refused(f"Nobody knows how to look at {args['look']}.", note=f"Use one of {', '.join(LOOKS)}.")
    try:
        return LOOKS[args["look"]](config, args).text
    except (FriduError, OSError, ValueError) as error:
        return unsure(f"The host could not look: {_short(error)}").text


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {"doctor-host": look}
