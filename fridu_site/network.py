"""The network of one host as the overview draws it: rows of every room → the drawing's plain data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from django.urls import reverse

from firewall import specs
from firewall.rows import live_revision, site_in, site_of
from hosts.models import Host
from machines import states
from machines.models import Machine
from ui import drawing, words
from ui.links import link
from zones.models import Zone

LIST_MOST = 300  # machines told one by one beside the drawing; with more, their own page is the list


@dataclass(frozen=True, kw_only=True)
class Network:
    """What the drawing shows, and the figures beside it."""

    site: drawing.Site
    machines: tuple[Machine, ...]
    shown: dict[int, states.Shown]

    @property
    def lead(self) -> str:
        """E.g. "2 zones, 3 machines: 2 run, 1 is stopped."."""
        if not self.machines:
            return f"{words.count(len(self.site.zones), 'zone')}, no machine yet."
        total = f"{words.count(len(self.site.zones), 'zone')}, {words.count(len(self.machines), 'machine')}"
        if all(s.mark == "run" for s in self.shown.values()):
            return f"{total}, {'all ' if len(self.machines) > 1 else ''}running."
        marks = [s.mark for s in self.shown.values()]
        named = (("run", "running"), ("off", "stopped"), ("busy", "being worked on"), ("wait", "waiting for you"))
        parts = [f"{marks.count(mark)} {word}" for mark, word in (*named, ("old", "not seen")) if mark in marks]
        wrong = sum(mark in ("bad", "miss") for mark in marks)
        return f"{total}: {', '.join(parts + ([f'{wrong} in trouble'] if wrong else []))}."

    @property
    def promised_mib(self) -> int:
        return sum(m.memory_mib for m in self.machines)

    @property
    def running_mib(self) -> int:
        return sum(m.memory_mib for m in self.machines if m.observed == Machine.Observed.RUNNING)

    @property
    def root_mib(self) -> int:
        return sum(m.root_mib for m in self.machines)

    @property
    def listed(self) -> list[tuple[Machine, states.Shown, tuple[drawing.Service, ...]]]:
        """The same as a list; empty where there are too many for one."""
        if len(self.machines) > LIST_MOST:
            return []
        by = self.site.services_by
        return [(m, self.shown[m.pk], by.get(m.name, ())) for m in self.machines]


def network_of(host: Host) -> Network:
    """Read it (12 queries, however many machines)."""
    wished = site_of(host)
    # Prefetched, not joined: a thousand machines share a few owners and zones.
    machines = Machine.objects.filter(host=host).prefetch_related("owner", "zone")
    # Converted row by row, and not drawn.
    machines = machines.defer("uuid", "created", "observed_at")
    rows = tuple(machines.order_by("zone__number", "name"))
    jobs = states.notable_jobs()
    shown = {m.pk: states.shown(m, jobs.get(m.pk)) for m in rows}
    names = {str(m.address): m.name for m in rows}
    services = _services(wished, site_in(live_revision(host)), frozenset(names.items()))
    site = drawing.Site(
        host=host.name,
        vpn=_vpn(host),
        dom0_ports=_dom0_ports(wished),
        addresses=tuple(drawing.Address(ip=a.ip, nic=a.nic) for a in wished.addresses),
        zones=_zones(host, wished, rows, shown, services),
        services=services,
        policy=tuple(_policy(wished)),
        policy_href=link("firewall:policy"),
    )
    return Network(site=site, machines=rows, shown=shown)


def _vpn(host: Host) -> drawing.Vpn:
    vpn = host.facts.get("vpn") or {}
    return drawing.Vpn(
        iface=vpn.get("interface") or "", ip=vpn.get("address") or "", note=vpn.get("network") or "not set up"
    )


def _dom0_ports(site: specs.Site) -> str:
    own = {("tcp", site.ssh_port, str(site.ssh_port))}
    own |= {(p.proto, p.first, p.span) for s in site.services if s.target is None for p in s.ports.each}
    return ", ".join(f"udp {span}" if proto == "udp" else span for proto, _, span in sorted(own))


@lru_cache(maxsize=4)
def _services(
    wished: specs.Site, live: specs.Site, machines: frozenset[tuple[str, str]]
) -> tuple[drawing.Service, ...]:
    return tuple(_published(wished, live, dict(machines)))


def _published(wished: specs.Site, live: specs.Site, names: dict[str, str]) -> Iterator[drawing.Service]:
    """What is wished, and what is still in force though nobody wishes it any more."""
    in_force, asked = set(live.services), set(wished.services)
    for service in wished.services:
        yield from _drawn(wished, service, names, "" if service in in_force else "not applied yet")
    for service in live.services:
        if service not in asked:
            yield from _drawn(live, service, names, "still open until applied")


def _drawn(site: specs.Site, service: specs.Service, names: dict[str, str], pending: str) -> Iterator[drawing.Service]:
    if service.target is None:
        return
    for address in site.addresses_of(service):
        yield drawing.Service(
            addr=address,
            proto="tcp and udp" if service.proto == specs.BOTH else service.proto,
            port=service.port_first,
            last=service.port_last,
            machine=names.get(service.target, service.target),
            to=service.target_ports.first,
            pending=pending,
        )


def _zones(
    host: Host,
    wished: specs.Site,
    rows: tuple[Machine, ...],
    shown: dict[int, states.Shown],
    services: tuple[drawing.Service, ...],
) -> tuple[drawing.Zone, ...]:
    ids = dict(Zone.objects.filter(host=host).values_list("number", "pk"))
    by_zone: dict[int, list[drawing.Machine]] = {zone.number: [] for zone in wished.zones}
    for row in rows:
        by_zone[row.zone.number].append(_machine(row, shown[row.pk]))
    for ip in sorted({s.machine for s in services} - {m.name for m in rows}):
        zone = wished.zone_of(ip)
        if zone:
            by_zone[zone.number].append(drawing.Machine(name=ip, ip=ip, state="none"))
    return tuple(
        drawing.Zone(
            name=zone.name,
            bridge=zone.bridge,
            net=f"{zone.gateway}/{zone.network.partition('/')[2]}",
            ext=zone.external or "",
            machines=tuple(by_zone[zone.number]),
            limits=tuple(_limits(wished, zone)),
            href=reverse("zones:detail", args=(ids[zone.number],)),
        )
        for zone in wished.zones
    )


def _machine(row: Machine, shown: states.Shown) -> drawing.Machine:
    return drawing.Machine(
        name=row.name,
        ip=str(row.address),
        owner=row.owner.name,
        state=shown.mark,
        note="" if shown.mark == "run" else shown.word,
        href=_page_of(row.pk),
        key=str(row.pk),
    )


@lru_cache(maxsize=1 << 12)
def _page_of(machine: int) -> str:
    return reverse("machines:detail", args=(machine,))


def _limits(site: specs.Site, zone: specs.Zone) -> Iterator[str]:
    """What a zone may not, in words short enough for the drawing."""
    for rule in site.restrictions:
        if rule.zone == zone.number and rule.action != "ACCEPT":
            way, whom = ("takes no", "from") if rule.direction == "in" else ("sends no", "to")
            yield f"{way} {rule.ports}" + (f" {whom} {rule.address}" if rule.address else "")
    out = site.cell(zone.name, specs.INTERNET)
    if zone.external and not out.everything:
        yield f"reaches the Internet on {out.words}" if out.ports else "sends nothing to the Internet"
    to_dom0 = site.cell(zone.name, specs.DOM0)
    if to_dom0.everything or to_dom0.ports:
        yield f"reaches dom0 on {to_dom0.words}" if to_dom0.ports else "reaches all of dom0"


def _policy(site: specs.Site) -> Iterator[drawing.Reach]:
    party = {specs.VPN: "", **{zone.name: zone.name for zone in site.zones}}
    for cell in site.policy:
        if cell.source in party and cell.target in party and (cell.everything or cell.ports):
            what = "all" if cell.everything else cell.words
            yield drawing.Reach(source=party[cell.source], target=party[cell.target], what=what)


def stale(network: Network) -> Network:
    """The last picture of a host that does not answer, every live state marked as old."""
    old = {pk: replace(s, mark="old") if s.mark in ("run", "off") else s for pk, s in network.shown.items()}
    marks = {str(m.pk): old[m.pk].mark for m in network.machines}
    zones = tuple(
        replace(z, machines=tuple(replace(m, state=marks.get(m.key, m.state)) for m in z.machines))
        for z in network.site.zones
    )
    return replace(network, shown=old, site=replace(network.site, zones=zones))
