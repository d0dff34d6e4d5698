"""What the firewall keeps of a zone's addresses, when its subnet changes or the zone goes (zones.moving, dependents).

The wishes follow the move and are then not applied; the rules in force stay as they are until somebody applies.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q
from django.urls import reverse
from netaddr import AddrFormatError, IPAddress, IPNetwork

from firewall import rows
from firewall.models import CustomRule, PolicyCell, PublishedService, ZoneRestriction
from firewall.words import party
from hosts.models import Host
from zones.dependents import Dependent
from zones.models import Zone
from zones.moving import Follower, Move, Moved

OPEN = {rows.ALL: "everything", rows.NONE: "nothing"}


def shows(move: Move) -> Iterator[Moved]:
    """Services whose target moves, restrictions that name an address there, own rules that do and stay."""
    host = move.zone.host
    for service, after in _services(move):
        yield Moved(
            kind="published service",
            name=service.name,
            before=f"{service.target}:{service.target_port}",
            after=f"{after}:{service.target_port}" if after else "",
            note="leads there once the firewall is applied",
            conflict="" if after else f"its target {service.target} has no place in {move.new}.",
            url=f"{reverse('firewall:services')}?q={service.name}",
        )
    for restriction, after in _restrictions(move):
        yield Moved(
            kind="restriction",
            name=f"{restriction.name} of {restriction.zone}",
            before=restriction.address,
            after=after,
            note="means the new address once the firewall is applied",
            conflict="" if after else f"its address {restriction.address} has no place in {move.new}.",
        )
    for rule in CustomRule.objects.filter(host=host):
        if _names(rule.rule, move.old):
            yield Moved(
                kind="own rule",
                name=rule.place,
                before=rule.rule[:120],
                after=rule.rule[:120],
                note="names an address there and is never rewritten: change it yourself",
            )


def follows(move: Move) -> None:
    """Write down the new targets and addresses; they are not in force before an apply."""
    for service, after in _services(move):
        if after and after != service.target:
            PublishedService.objects.filter(pk=service.pk).update(target=after, zone=move.zone, live=False)
    for restriction, after in _restrictions(move):
        if after and after != restriction.address:
            ZoneRestriction.objects.filter(pk=restriction.pk).update(address=after)


def dependents(zone: Zone) -> Iterator[Dependent]:
    """What hangs on a zone besides its own rows: services and restrictions of others that name its addresses hold it;
    its restrictions and cells of the policy go with it."""
    for service in PublishedService.objects.filter(host=zone.host, target__isnull=False):
        if service.target and IPAddress(service.target) in zone.network:
            yield Dependent(kind="published service", name=service.name)
    for restriction in ZoneRestriction.objects.filter(zone__host=zone.host).select_related("zone"):
        if restriction.zone_id == zone.pk:
            yield Dependent(kind="restriction", name=restriction.name, holds=False)
        elif restriction.address and IPNetwork(restriction.address) in zone.network:
            yield Dependent(kind="restriction", name=f"{restriction.name} of {restriction.zone}")
    key, numbers = f"zone:{zone.number}", _numbers(zone.host)
    for cell in PolicyCell.objects.filter(host=zone.host).filter(Q(source=key) | Q(target=key)):
        source, target = (rows.party(each, numbers) for each in (cell.source, cell.target))
        kind = "way in from the admin VPN" if cell.source == "vpn" else "cell of the policy"
        opens = OPEN.get(cell.ports, cell.ports)
        yield Dependent(kind=kind, name=f"{party(source)} → {party(target)}: {opens}", holds=False)


def _services(move: Move) -> Iterator[tuple[PublishedService, str]]:
    for service in PublishedService.objects.filter(host=move.zone.host, target__isnull=False):
        if service.target and IPAddress(service.target) in move.old:
            yield service, move.place(service.target)


def _restrictions(move: Move) -> Iterator[tuple[ZoneRestriction, str]]:
    for row in ZoneRestriction.objects.filter(zone__host=move.zone.host).exclude(address="").select_related("zone"):
        if IPNetwork(row.address) in move.old:
            yield row, move.place_network(row.address)


def _names(rule: str, network: IPNetwork) -> bool:
    """Whether a rule's text names an address or network that touches `network`."""
    for word in rule.replace("=", " ").replace(",", " ").split():
        try:
            found = IPNetwork(word.partition(":")[0])
        except (AddrFormatError, ValueError):
            continue
        if found.prefixlen and (found in network or network in found):
            return True
    return False


def _numbers(host: Host) -> dict[int, str]:
    return dict(Zone.objects.filter(host=host).values_list("number", "name"))


def held(host: Host) -> Iterator[str]:
    """Addresses that a rule in force leads to, though no wish does any more: their machine has moved away."""
    inforce = {service.target for service in rows.site_in(rows.tried_or_live(host).first()).services if service.target}
    wished = PublishedService.objects.filter(host=host, target__isnull=False).values_list("target", flat=True)
    yield from sorted(inforce - set(wished))


FOLLOWER = Follower(shows=shows, follows=follows)
