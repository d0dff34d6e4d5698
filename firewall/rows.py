"""Rows ↔ the frozen site the compiler reads. Reading only; services write.

Rows that read as before give the very same Site (`_site`, by all it is made from), and a revision, which never
changes, is read once (`_noted`): so what others work out of a site can be kept under the site itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from firewall import specs
from firewall.models import CustomRule, PolicyCell, PublishedService, Revision, ZoneRestriction
from firewall.specs import BOTH, DOM0, ICMP, INTERNET, PING, PROTOS, VPN, Cell, Ports, Site, from_dict
from hosts.models import Host
from machines.models import Expected, Machine
from zones.models import ExternalAddress, Zone

ALL, NONE = "all", "none"
#: So many sites are kept at a time, wished ones and revisions': of 1000 services about 1 MB each.
KEPT = 8
#: What a service is made from, as the database says it; see `_service`.
_SERVICE = (
    "name",
    "proto",
    "port",
    "port_last",
    "external__address",
    "external__nic",
    "nic",
    "target",
    "target_port",
    "zone__number",
)


def site_of(host: Host) -> Site:
    """All firewall wishes of a host as they stand now, applied or not (7 queries)."""
    zones = list(Zone.objects.filter(host=host).select_related("external"))
    addresses = list(ExternalAddress.objects.filter(host=host))
    facts = host.facts
    return _site(
        tuple(PublishedService.objects.filter(host=host).values_list(*_SERVICE)),
        addresses=tuple(specs.Address(ip=a.address, nic=a.nic) for a in addresses),
        zones=tuple(_zone(zone) for zone in zones),
        restrictions=tuple(restriction_of(r) for r in restrictions(host)),
        policy=_policy(host, zones),
        custom=tuple(_custom(rule) for rule in _customs(host)),
        vpn=_vpn(host.facts.get("vpn") or {}),
        ssh_port=facts.get("admin_ssh_port", 22),
        panel_port=facts.get("panel_port"),
        bridge_prefix=facts.get("bridge_prefix", "xen-br"),
        vif_prefix=facts.get("vif_prefix", "fr"),
        cards=tuple(nic["name"] for nic in facts.get("nics", ())),
    )


@lru_cache(maxsize=KEPT)
def _site(services: tuple[tuple[Any, ...], ...], **rest: Any) -> Site:
    """The site of these services' rows and all else; for the same ones the same site."""
    return Site(services=tuple(_service(*row) for row in services), **rest)


def live_revision(host: Host) -> Revision | None:
    """The revision in force, as far as the panel knows."""
    found = Revision.objects.filter(host=host, state=Revision.State.LIVE)
    # The rendered files are long and seldom asked for; the site is read by site_in.
    return found.select_related("author").defer("files", "site").first()


def tried_or_live(host: Host) -> QuerySet[Revision]:
    """The revision on trial, if any, then the one in force: what the next apply is compared with by the pages."""
    states = Revision.State
    # An old revision may be on trial again while a newer one is in force.
    found = Revision.objects.filter(host=host, state__in=(states.TRIAL, states.LIVE)).order_by("-state")
    return found.defer("files", "site")


def loaded(host: Host) -> tuple[Revision | None, Site]:
    """The revision the host's rules are those of, and its site; before the first apply none, and what is wished."""
    revision = tried_or_live(host).first()
    return revision, site_in(revision) if revision else site_of(host)


def vpn_address(host: Host) -> str:
    """dom0's own address in the admin VPN; "" where there is none."""
    return str((host.facts.get("vpn") or {}).get("address") or "")


def site_in(revision: Revision | None) -> Site:
    """The site a revision was rendered from; an empty one for none."""
    return _noted(revision.pk, revision.digest) if revision else Site()


@lru_cache(maxsize=KEPT)
def _noted(pk: int, digest: str) -> Site:
    # The digest besides, for a restored database may have given the number to another revision.
    return from_dict(Revision.objects.values_list("site", flat=True).get(pk=pk))


def forget() -> None:
    """Read revisions anew, as after another database came."""
    _noted.cache_clear()


def machine_names(host: Host) -> Mapping[str, str]:
    """Machine names by address, those kept for a former box's machines too."""
    kept = Expected.objects.filter(host=host).values_list("address", "name")
    return {**dict(kept), **dict(Machine.objects.filter(host=host).values_list("address", "name"))}


def service_of(row: PublishedService) -> specs.Service:
    """A service's row as the compiler reads it; the row may be unsaved."""
    address, card = (row.external.address, row.external.nic) if row.external else (None, None)
    zone = row.zone.number if row.zone else None
    inside = (row.target, row.target_port)
    return _service(row.name, row.proto, row.port, row.port_last, address, card, row.nic, *inside, zone)


def _service(
    name: str,
    proto: str,
    port: int,
    last: int,
    address: str | None,
    card: str | None,
    nic: str,
    target: str | None,
    target_port: int,
    zone: int | None,
) -> specs.Service:
    """A service from the columns of `_SERVICE`; `card` is that of its address."""
    return specs.Service(
        name=name,
        proto=specs.proto_of(proto),
        port_first=port,
        port_last=last,
        external=address,
        nic=(card if address else nic) or None,
        target=target or None,
        target_port=target_port if target else None,
        zone=zone,
    )


def former_service(host: Host, name: str) -> PublishedService | None:
    """The service of this name as the revision on trial, else the one in force, publishes it: an unsaved change, or
    an unsaved new row.
    """
    found = next((s for s in site_in(tried_or_live(host).first()).services if s.name == name), None)
    if found is None:
        return None
    row = PublishedService.objects.filter(host=host, name=name).first() or PublishedService(host=host, name=name)
    row.external = ExternalAddress.objects.filter(host=host, address=found.external).first() if found.external else None
    row.zone = Zone.objects.filter(host=host, number=found.zone).first() if found.zone is not None else None
    row.nic = (found.nic or "") if found.target is None and not found.external else ""
    row.proto, row.port, row.port_last = found.proto, found.port_first, found.port_last
    row.target, row.target_port = found.target, found.target_ports.first
    return row


def in_force(row: PublishedService) -> bool:
    """Whether the revision in force publishes exactly this."""
    return service_of(row) in site_in(live_revision(row.host)).services


def party(key: str, zones: Mapping[int, str]) -> str:
    """A policy row's key ("zone:2", "vpn") as the compiler's party; "" for a zone that is gone."""
    if not key.startswith("zone:"):
        return key
    return zones.get(int(key.removeprefix("zone:")), "")


def key_of(party: str, zones: Mapping[str, int]) -> str:
    """The compiler's party as a policy row's key. Raises KeyError for a zone that is not there."""
    return party if party in (INTERNET, VPN, DOM0) else f"zone:{zones[party]}"


def ports_in(text: str) -> tuple[Ports, ...]:
    """`tcp:25,udp:514-520,both:53,icmp` as ports; icmp is ping. Raises ValueError with a sentence."""
    return tuple(dict.fromkeys(_ports(part) for part in text.replace(",", " ").split()))


def _ports(part: str) -> Ports:
    if part.lower() in (ICMP, "ping"):
        return PING
    proto, _, span = part.partition(":")
    first, _, last = span.partition("-")
    low, high = _port(first, part), _port(last or first, part)
    if proto not in (*PROTOS, BOTH) or low > high:
        raise ValueError(_NO_PORT.format(part[:40]))
    return Ports(proto=specs.proto_of(proto), first=low, last=high)


def _port(text: str, part: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(_NO_PORT.format(part[:40]))
    return int(text)


_NO_PORT = "{} is no port. Write them such as tcp:25, udp:514-520, both:53, or icmp for ping; they go from 1 to 65535."


def ports_text(cell: Cell) -> str:
    """A cell's content as a policy row keeps it."""
    return ALL if cell.everything else ",".join(_port_text(p) for p in cell.ports) or NONE


def _port_text(ports: Ports) -> str:
    return ICMP if ports == PING else f"{ports.proto}:{ports.span}"


def restrictions(host: Host) -> list[ZoneRestriction]:
    """A host's restrictions in the order in which packets meet them, with their zones."""
    # In the order they were made: an ACCEPT exempts from those after it.
    return list(ZoneRestriction.objects.filter(zone__host=host).select_related("zone").order_by("zone__number", "pk"))


def _customs(host: Host) -> list[CustomRule]:
    wanted = Q(expires=None) | Q(expires__gt=timezone.now())
    return list(CustomRule.objects.filter(wanted, host=host).select_related("author"))


def _zone(zone: Zone) -> specs.Zone:
    return specs.Zone(
        number=zone.number,
        name=zone.name,
        bridge=zone.bridge,
        gateway=str(zone.gateway),
        network=zone.cidr,
        external=zone.external.address if zone.external else None,
        nic=zone.external.nic if zone.external else None,
    )


def restriction_of(row: ZoneRestriction) -> specs.Restriction:
    """A restriction's row as the compiler reads it."""
    return specs.Restriction(
        name=row.name,
        zone=row.zone.number,
        direction="in" if row.direction == "in" else "out",
        action="DROP" if row.action == "DROP" else "REJECT" if row.action == "REJECT" else "ACCEPT",
        ports=Ports(proto=specs.proto_of(row.proto), first=row.port, last=row.port_last),
        address=row.address or None,
    )


def _vpn(facts: dict[str, Any]) -> specs.Vpn | None:
    if not facts.get("interface"):
        return None
    return specs.Vpn(interface=facts["interface"], network=facts.get("network") or None, port=facts.get("port") or 0)


def _policy(host: Host, zones: list[Zone]) -> tuple[Cell, ...]:
    numbers = {zone.number: zone.name for zone in zones}
    cells = {
        (zone.name, INTERNET): Cell(source=zone.name, target=INTERNET, everything=True)
        for zone in zones
        if zone.external
    }
    for row in PolicyCell.objects.filter(host=host):
        pair = (party(row.source, numbers), party(row.target, numbers))
        cells.pop(pair, None)
        if all(pair) and row.ports != NONE:
            ports = () if row.ports == ALL else ports_in(row.ports)
            cells[pair] = Cell(source=pair[0], target=pair[1], everything=row.ports == ALL, ports=ports)
    return tuple(cells[pair] for pair in sorted(cells))


def _custom(row: CustomRule) -> specs.CustomRule:
    place = next(p for p in specs.PLACES if p == row.place)
    return specs.CustomRule(place=place, rule=row.rule, reason=row.reason, author=row.author.get_username())
