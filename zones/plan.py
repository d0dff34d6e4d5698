"""From a zone's spec and the host's state to the steps that make (or unmake) the zone. Pure.

Seen from the host nothing of a zone is destroyed but its bridge, and that only while nothing is attached to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Interface

from dom0 import bridge, dnsmasq, members
from dom0.errors import Refused
from dom0.members import Member
from dom0.plan import Draft, Plan
from dom0.state import Link, State
from dom0.steps import Command, Drop, Put, RemoveFile, Step, WriteFile
from zones import render
from zones.specs import ZoneSpec

Settle = Callable[[Draft], None]


def _nobody(draft: Draft) -> None:
    """A zone without machines has nobody to settle."""


def present(spec: ZoneSpec, state: State, settle: Settle = _nobody) -> Plan:
    """Steps after which the zone is on the host: bridge, settings, address, bandwidth, membership, DHCP and DNS.

    `settle` adds what its machines need, after the new membership and before dnsmasq starts with it: dnsmasq
    forgets an address a machine had only when it starts. Membership nobody wishes any more goes last. Raises
    Refused where the bridge, its addresses or a route to its subnet are somebody else's.
    """
    _refuse_strangers(spec, state)
    draft = Draft(state)
    _bridge(spec, draft)
    _settings(spec, draft)
    _address(spec, draft)
    _up(spec, draft)
    _shape(spec, draft)
    _membership(spec, draft)
    settle(draft)
    _dnsmasq(spec, draft)
    _keep(spec, draft)
    _forget_former(spec, draft)
    return draft.plan()


def absent(spec: ZoneSpec, state: State) -> Plan:
    """Steps after which nothing of the zone is left. Raises Refused while something is attached to its bridge."""
    draft = Draft(state)
    for path in (spec.bridge_file, spec.members_file):
        _remove(draft, "boot", f"Forget {spec.name} for the next boot", path)
    _no_dnsmasq(spec, draft)
    _no_bridge(spec, draft)
    _forget_former(spec, draft)
    _no_membership(spec, draft)
    return draft.plan()


def looked_at(spec: ZoneSpec) -> dict[str, tuple[str, ...]]:
    """What both plans need to see of the host, by room of the state."""
    return {
        "links": ("*",),
        "routes": ("*",),
        "sysctls": (render.V6, *(key for key, _ in render.sysctls(spec.bridge))),
        "services": (dnsmasq.service(spec.name), _shaping(spec)),
        "members": (*(m.key for m in _members(spec)), members.EVERY_NET, members.EVERY_INSIDE),
        "files": (spec.files.conf, spec.files.leases, spec.bridge_file, spec.members_file),
    }


def _ours(spec: ZoneSpec, link: Link) -> bool:
    return link.kind == "bridge" and link.mac == render.bridge_mac(spec.host, spec.name)


def _refuse_strangers(spec: ZoneSpec, state: State) -> None:
    found = state.links.get(spec.bridge)
    if found and not _ours(spec, found):
        raise Refused(
            f"{spec.host} has an interface {spec.bridge} already, and it is not zone {spec.name}'s.",
            note=f"Give the zone another bridge, or remove that one on the host: ip link delete {spec.bridge}.",
        )
    for link in state.links.values():
        for text in link.addresses if link.name != spec.bridge else ():
            if IPv4Interface(text).network.overlaps(spec.network):
                raise Refused(
                    f"{link.name} on {spec.host} has the address {text}, which overlaps {spec.network} of {spec.name}.",
                    note="Give the zone another subnet; machines of both could not be told apart.",
                )
    for route in state.routes.values():
        if route.device != spec.bridge and route.meets(spec.network):
            raise Refused(
                f"{spec.host} has a route {route.text}, which overlaps {spec.network} of {spec.name}.",
                note="Give the zone another subnet, or take that route away; what it leads to would not be reached.",
            )


def _bridge(spec: ZoneSpec, draft: Draft) -> None:
    if spec.bridge in draft.state.links:
        draft.so("bridge", f"{spec.bridge} is there")
        return
    made = render.bridge(spec)
    draft.do(
        Step(
            stage="bridge",
            title=f"Make the bridge {spec.bridge}",
            action=Command(argv=made.add),
            effect=(Put(room="links", key=spec.bridge, value=Link(name=spec.bridge, kind="bridge", mac=made.mac)),),
        )
    )


def _settings(spec: ZoneSpec, draft: Draft) -> None:
    wanted = render.sysctls(spec.bridge)
    if render.V6 not in draft.state.sysctls:
        wanted = tuple(pair for pair in wanted if not pair[0].startswith("net.ipv6."))
    wrong = tuple((key, value) for key, value in wanted if draft.state.sysctls.get(key) != value)
    if not wrong:
        draft.so("sysctl", f"{spec.bridge} takes no IPv6, redirects or source routes")
        return
    draft.do(
        Step(
            stage="sysctl",
            title=f"Close {spec.bridge} to IPv6, redirects and source routes",
            action=Command(argv=bridge.settings(wrong)),
            effect=tuple(Put(room="sysctls", key=key, value=value) for key, value in wrong),
        )
    )


def _address(spec: ZoneSpec, draft: Draft) -> None:
    wanted = str(spec.interface)
    found = draft.state.links[spec.bridge].addresses
    if found == (wanted,):
        draft.so("address", f"{spec.bridge} has {wanted}")
    for other in found:
        if other != wanted and other in _addresses(spec, draft):
            # The kernel may take further addresses of the same subnet along with the first one.
            _ip_address(spec, draft, "del", other, tuple(a for a in _addresses(spec, draft) if not _same(a, other)))
    if wanted not in _addresses(spec, draft):
        verb = "replace" if wanted in found else "add"
        _ip_address(spec, draft, verb, wanted, (*_addresses(spec, draft), wanted))


def _same(one: str, other: str) -> bool:
    return IPv4Interface(one).network == IPv4Interface(other).network


def _addresses(spec: ZoneSpec, draft: Draft) -> tuple[str, ...]:
    return draft.state.links[spec.bridge].addresses


def _ip_address(spec: ZoneSpec, draft: Draft, verb: str, address: str, left: tuple[str, ...]) -> None:
    link = replace(draft.state.links[spec.bridge], addresses=left)
    says = f"Take {address} from {spec.bridge}" if verb == "del" else f"Give {spec.bridge} the address {address}"
    draft.do(
        Step(
            stage="address",
            title=says,
            action=Command(argv=render.bridge(spec).addressed(verb, address)),
            effect=(Put(room="links", key=spec.bridge, value=link),),
        )
    )


def _up(spec: ZoneSpec, draft: Draft) -> None:
    link = draft.state.links[spec.bridge]
    if link.up:
        draft.so("up", f"{spec.bridge} is up")
        return
    draft.do(
        Step(
            stage="up",
            title=f"Set {spec.bridge} up",
            action=Command(argv=render.bridge(spec).up),
            effect=(Put(room="links", key=spec.bridge, value=replace(link, up=True)),),
        )
    )


def _shaping(spec: ZoneSpec) -> str:
    return f"{bridge.SHAPING}{spec.bridge}"


def _shape(spec: ZoneSpec, draft: Draft) -> None:
    found, wanted = draft.state.services.get(_shaping(spec), ""), spec.ceilings
    if found == wanted:
        if wanted:
            draft.so("bandwidth", f"{spec.bridge} {_rates(spec)}")
        return
    key = _shaping(spec)
    effect = Put(room="services", key=key, value=wanted) if wanted else Drop(room="services", key=key)
    action = bridge.shape(spec.bridge, spec.in_kbit, spec.out_kbit)
    draft.do(Step(stage="bandwidth", title=f"See that {spec.bridge} {_rates(spec)}", action=action, effect=(effect,)))


def _rates(spec: ZoneSpec) -> str:
    said = [f"{kbit} kbit/s {way}" for kbit, way in ((spec.in_kbit, "to"), (spec.out_kbit, "from")) if kbit]
    return f"carries at most {' and '.join(said)} its machines" if said else "carries what it can"


def _members(spec: ZoneSpec) -> tuple[Member, ...]:
    own = members.zone_members(spec.bridge, str(spec.network))
    return (*own, *members.host_members(spec.vpn_network))


def _membership(spec: ZoneSpec, draft: Draft) -> None:
    missing = [m for m in _members(spec) if m.key not in draft.state.members]
    if not missing:
        draft.so("members", f"The firewall's sets know {spec.network} on {spec.bridge}")
        return
    sets = zip((members.ZNET, members.INSIDE, members.VIFS), members.create_sets(), strict=True)
    for name, argv in sets:
        draft.do(Step(stage="members", title=f"Make sure the firewall's set {name} exists", action=Command(argv=argv)))
    for member in missing:
        _member(draft, f"Tell the firewall: {member.element} in {member.set}", member.add, present=member.key)


def _forget_former(spec: ZoneSpec, draft: Draft) -> None:
    """Subnets the sets still have on this bridge; the entry that names the bridge goes last: it tells of the other."""
    wanted = {m.key for m in _members(spec)}
    keys = tuple(draft.state.members)
    for former in members.of_bridge(keys, spec.bridge):
        if former.key in wanted:
            continue
        network = former.element.partition(",")[0]
        inside = Member(set=members.INSIDE, element=network)
        shared = any(key.startswith(f"{members.ZNET} {network},") for key in keys if key != former.key)
        gone = [inside] if inside.key in keys and inside.key not in wanted and not shared else []
        for member in (*gone, former):
            _member(draft, f"Take {member.element} out of {member.set}", member.remove, gone=member.key)


def _keep(spec: ZoneSpec, draft: Draft) -> None:
    """What dom0 makes the zone of again when it boots; dnsmasq's configuration is there already."""
    membership, _ = members.boot_files(_members(spec))
    kept = (("bridge", spec.bridge_file, render.bridge(spec).text), ("membership", spec.members_file, membership))
    missing = [each for each in kept if draft.state.files.get(each[1]) != each[2]]
    for what, path, text in missing:
        _write(draft, "boot", f"Keep the {what} of {spec.name} for the next boot", path, text)
    if not missing:
        draft.so("boot", f"{spec.name} comes back when the host boots")


def _member(draft: Draft, title: str, argv: tuple[str, ...], *, present: str = "", gone: str = "") -> None:
    put = Put(room="members", key=present, value="present")
    effect = (put if present else Drop(room="members", key=gone),)
    draft.do(Step(stage="members", title=title, action=Command(argv=argv), effect=effect))


def _write(draft: Draft, stage: str, title: str, path: str, content: str) -> None:
    effect = (Put(room="files", key=path, value=content),)
    draft.do(Step(stage=stage, title=title, action=WriteFile(path=path, content=content), effect=effect))


def _remove(draft: Draft, stage: str, title: str, path: str) -> None:
    if path in draft.state.files:
        effect = (Drop(room="files", key=path),)
        draft.do(Step(stage=stage, title=title, action=RemoveFile(path=path), effect=effect))


def _dnsmasq(spec: ZoneSpec, draft: Draft) -> None:
    conf, service = render.dnsmasq_conf(spec), dnsmasq.service(spec.name)
    written = draft.state.files.get(spec.files.conf) == conf
    running = draft.state.services.get(service)
    if written and running == dnsmasq.digest(conf):
        draft.so("dnsmasq", f"dnsmasq answers on {spec.bridge}")
        return
    folders = (spec.files.ethers, spec.files.hosts, spec.files.pid.rpartition("/")[0])
    folders_made = Command(argv=("mkdir", "-p", "-m", "0755", *folders))
    draft.do(Step(stage="dnsmasq", title="Make the folders for the machines' addresses and names", action=folders_made))
    if not written:
        _write(draft, "dnsmasq", f"Write the DHCP and DNS settings of {spec.name}", spec.files.conf, conf)
    if running:
        _stop(spec, draft)
    draft.do(
        Step(
            stage="dnsmasq",
            title=f"Start dnsmasq on {spec.bridge}",
            action=dnsmasq.start(spec.files, conf),
            effect=(Put(room="services", key=service, value=dnsmasq.digest(conf)),),
        )
    )


def _stop(spec: ZoneSpec, draft: Draft) -> None:
    effect = (Drop(room="services", key=dnsmasq.service(spec.name)),)
    title = f"End dnsmasq of {spec.name}"
    draft.do(Step(stage="dnsmasq", title=title, action=dnsmasq.stop(spec.name), effect=effect))


def _no_dnsmasq(spec: ZoneSpec, draft: Draft) -> None:
    if dnsmasq.service(spec.name) in draft.state.services:
        _stop(spec, draft)
    _remove(draft, "dnsmasq", "Remove its leases", spec.files.leases)
    if spec.files.conf in draft.state.files:
        # Before the configuration, whose presence says that this stage is not over; 1 where they are gone already.
        folders = ("rmdir", "--ignore-fail-on-non-empty", spec.files.ethers, spec.files.hosts)
        action = Command(argv=folders, ok_codes=(0, 1))
        draft.do(Step(stage="dnsmasq", title="Remove the folders for machines", action=action))
    _remove(draft, "dnsmasq", f"Remove the DHCP and DNS settings of {spec.name}", spec.files.conf)


def _no_bridge(spec: ZoneSpec, draft: Draft) -> None:
    link = draft.state.links.get(spec.bridge)
    if _shaping(spec) in draft.state.services and (link is None or _ours(spec, link)):
        gone = (Drop(room="services", key=_shaping(spec)),)
        says = f"Take the ceilings off {spec.bridge}"
        draft.do(Step(stage="bandwidth", title=says, action=bridge.shape(spec.bridge, 0, 0), effect=gone))
    if link is None:
        draft.so("bridge", f"{spec.bridge} is gone")
        return
    if not _ours(spec, link):
        draft.so("bridge", f"{spec.bridge} on {spec.host} is not {spec.name}'s and stays")
        return
    attached = sorted(other.name for other in draft.state.links.values() if other.master == spec.bridge)
    if attached:
        raise Refused(
            f"{', '.join(attached)} {'is' if len(attached) == 1 else 'are'} still attached to {spec.bridge}.",
            note="Stop or delete the machines there first.",
        )
    draft.do(
        Step(
            stage="bridge",
            title=f"Remove the bridge {spec.bridge}",
            action=Command(argv=("ip", "link", "delete", spec.bridge, "type", "bridge")),
            effect=(Drop(room="links", key=spec.bridge),),
            relies_on=(("links", spec.bridge),),
            destroys=f"The bridge {spec.bridge} with its address {spec.gateway}; no machine is attached to it.",
        )
    )


def _no_membership(spec: ZoneSpec, draft: Draft) -> None:
    for member in members.zone_members(spec.bridge, str(spec.network)):
        if member.key in draft.state.members:
            _member(draft, f"Take {member.element} out of {member.set}", member.remove, gone=member.key)
