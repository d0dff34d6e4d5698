"""What one can do with zones and external addresses. Every change of the host is a job."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from netaddr import AddrFormatError, IPNetwork, IPSet

from accounts.doors import check
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused
from dom0.state import State
from hosts.models import Host, Job
from hosts.services import job_create
from zones.models import ExternalAddress, Zone

RESERVED = ("internet", "vpn", "dom0", "none")
INSIDE = IPSet(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"])
BRIDGE = re.compile(r"[A-Za-z0-9-]{1,15}")

Farewell = Callable[[Zone], None]
_farewells: list[Farewell] = []


@dataclass(frozen=True, kw_only=True)
class Dependent:
    """Something that stands on a zone: its kind in words and its name."""

    kind: str
    name: str


def register_farewell(farewell: Farewell) -> None:
    """Have `farewell(zone)` tidy a higher room in the transaction that deletes a zone's row."""
    _farewells.append(farewell)


def thing_of(zone: Zone) -> Thing:
    """The zone as the audit log names it."""
    return Thing(kind="zone", id=str(zone.pk), text=zone.name)


def address_sync(host: Host) -> list[ExternalAddress]:
    """Bring the external addresses in line with what the host's worker reported; returns those made.

    One the host reports no more goes only when nothing uses it: observation never deletes a wish.
    """
    reported = {
        address: nic["name"] for nic in host.facts.get("nics", ()) for address in nic.get("addresses", ()) if address
    }
    with transaction.atomic():
        known = {row.address: row for row in ExternalAddress.objects.filter(host=host)}
        for address, row in known.items():
            if address not in reported and not dependents_of(row):
                row.delete()
            elif address in reported and row.nic != reported[address]:
                row.nic = reported[address]
                row.save(update_fields=["nic"])
        new = [a for a in reported if a not in known]
        taken = set(ExternalAddress.objects.filter(address__in=new).values_list("address", flat=True))
        return [
            ExternalAddress.objects.create(host=host, nic=reported[address], address=address)
            for address in new
            if address not in taken
        ]


def observe_addresses(host: Host, state: State) -> None:
    """What the watcher's round does for this room."""
    address_sync(host)


def zone_create(
    actor: Actor,
    *,
    host: Host,
    name: str,
    gateway: str,
    prefix: int = 24,
    external: ExternalAddress | None = None,
    bridge: str = "",
    domain: str = "",
    reason: str = "",
    approved: bool = False,
) -> Job:
    """Wish for a zone and ask for the job that makes it; without `external` it is isolated.

    Raises ValidationError per field, Refused, PermissionDenied.
    """
    check(actor, "zone.create")
    with transaction.atomic():
        number = _free_number(host)
        zone = Zone(
            host=host,
            name=name,
            number=number,
            bridge=bridge or _free_bridge(host, number),
            gateway=gateway,
            prefix=prefix,
            external=external,
            domain=domain,
        )
        _check(zone)
        zone.save()
        title = f"Create zone {zone.name}"
        args = _wish(zone)
        return job_create(
            actor,
            "zone.create",
            host=host,
            title=title,
            target=thing_of(zone),
            reason=reason,
            args=args,
            approved=approved,
        )


def zone_change(
    actor: Actor,
    zone: Zone,
    *,
    external: ExternalAddress | None,
    domain: str,
    gateway: str = "",
    prefix: int | None = None,
    bridge: str = "",
    reason: str = "",
    approved: bool = False,
) -> Job:
    """Change a zone's way out or domain; gateway, prefix and bridge only until it was first applied.

    Raises ValidationError per field, Refused, PermissionDenied.
    """
    check(actor, "zone.change")
    with transaction.atomic():
        zone = Zone.objects.select_for_update().get(pk=zone.pk)
        before = _wish(zone)
        zone.external, zone.domain = external, domain
        _move(zone, {"gateway": gateway or None, "prefix": prefix, "bridge": bridge or None})
        _check(zone)
        zone.save()
        log.record(actor, "zone.change", thing_of(zone), why=reason, data={"before": before, "after": _wish(zone)})
        return zone_apply(actor, zone, reason=reason, approved=approved)


def zone_apply(actor: Actor, zone: Zone, *, reason: str = "", approved: bool = False) -> Job:
    """Bring the host to the zone as wished: a `zone.change` job. Raises Refused, PermissionDenied."""
    check(actor, "zone.change")
    with transaction.atomic():
        return job_create(
            actor,
            "zone.change",
            host=zone.host,
            title=f"Apply zone {zone.name}",
            target=thing_of(zone),
            reason=reason,
            args=_wish(zone),
            approved=approved,
        )


def zone_delete(actor: Actor, zone: Zone, *, reason: str = "", approved: bool = False) -> Job:
    """Ask for a zone's removal from the host; its row goes when the job ends well.

    Raises Refused while machines or published services stand on it, PermissionDenied.
    """
    check(actor, "zone.delete")
    with transaction.atomic():
        refuse_inhabited(zone)
        return job_create(
            actor,
            "zone.delete",
            host=zone.host,
            title=f"Delete zone {zone.name}",
            target=thing_of(zone),
            reason=reason,
            args=_wish(zone),
            approved=approved,
        )


def zone_forget(zone: Zone) -> None:
    """Delete the row of a zone that is gone from the host, with what higher rooms keep about it."""
    refuse_inhabited(zone)
    for farewell in _farewells:
        farewell(zone)
    zone.delete()


def refuse_inhabited(zone: Zone) -> None:
    """Raise Refused, naming them, while machines or services stand on the zone."""
    standing = dependents_of(zone)
    if standing:
        names = ", ".join(f"{d.kind} {d.name}" for d in standing[:5])
        more = f" and {len(standing) - 5} more" if len(standing) > 5 else ""
        raise Refused(f"{zone.name} is in use: {names}{more}.", note="Delete or move them first.")


def dependents_of(row: models.Model) -> list[Dependent]:
    """Whatever keeps a zone or an external address from going (relations that are PROTECTed)."""
    found = []
    for relation in row._meta.related_objects:
        if relation.on_delete is models.PROTECT:
            rows: Any = getattr(row, relation.get_accessor_name() or "")
            kind = str(relation.related_model._meta.verbose_name)
            found += [Dependent(kind=kind, name=str(each)) for each in rows.all()]
    return found


def free_gateway(host: Host) -> str:
    """The gateway to offer for the next zone, first of a free /24 in 10.10.0.0/16; "" for none left."""
    vpn = host.facts.get("vpn", {}).get("network")
    taken = IPSet([zone.network for zone in Zone.objects.filter(host=host)] + ([IPNetwork(vpn)] if vpn else []))
    free = (n for n in range(1, 255) if IPSet([f"10.10.{n}.0/24"]).isdisjoint(taken))
    return next((f"10.10.{n}.1" for n in free), "")


def _wish(zone: Zone) -> dict[str, Any]:
    return {
        "name": zone.name,
        "bridge": zone.bridge,
        "gateway": f"{zone.gateway}/{zone.prefix}",
        "external": zone.external.address if zone.external else None,
        "domain": zone.domain,
    }


def _free_number(host: Host) -> int:
    """The lowest free number; zones keep theirs, chain names hang on it."""
    taken = set(Zone.objects.filter(host=host).values_list("number", flat=True))
    return next(n for n in range(1, len(taken) + 2) if n not in taken)


def _free_bridge(host: Host, number: int) -> str:
    prefix = host.facts.get("bridge_prefix", "xen-br")
    taken = set(Zone.objects.filter(host=host).values_list("bridge", flat=True))
    return next(name for n in range(number, number + len(taken) + 1) if (name := f"{prefix}{n}") not in taken)


def _move(zone: Zone, wanted: dict[str, Any]) -> None:
    moved = {name: value for name, value in wanted.items() if value is not None and value != getattr(zone, name)}
    if moved and zone.applied_at is not None:
        says = f"{zone.name} is on the host already; delete it and create it anew to move it."
        raise ValidationError(dict.fromkeys(moved, says))
    for name, value in moved.items():
        setattr(zone, name, value)


def _check(zone: Zone) -> None:
    """Everything that can be said before the host is asked. Raises ValidationError per field."""
    errors: dict[str, list[str]] = {}
    try:
        zone.full_clean(validate_constraints=False)
    except ValidationError as error:
        errors = {**error.message_dict}
    for field, sentence in _more(zone):
        if field not in errors:
            errors[field] = [sentence]
    if "prefix" in errors:
        errors.pop("gateway", None)  # judged with a subnet nobody means
    if errors:
        raise ValidationError(errors)


def _more(zone: Zone) -> list[tuple[str, str]]:
    prefix = zone.host.facts.get("bridge_prefix", "xen-br")
    found = []
    if zone.name.lower() in RESERVED:
        found.append(("name", f"{zone.name} means something else in the rules. Use another name, such as zFulup."))
    if Zone.objects.filter(host=zone.host, name__iexact=zone.name).exclude(pk=zone.pk).exists():
        found.append(("name", f"There is a zone {zone.name} already. Use another name."))
    if not BRIDGE.fullmatch(zone.bridge) or not zone.bridge.startswith(prefix) or zone.bridge == prefix:
        example = _free_bridge(zone.host, zone.number)
        found.append(
            ("bridge", f"A bridge's name begins with {prefix} and has at most 15 characters, for example {example}.")
        )
    other = Zone.objects.filter(host=zone.host, bridge=zone.bridge).exclude(pk=zone.pk).first()
    if other is not None:
        found.append(
            ("bridge", f"{zone.bridge} is the bridge of {other.name}. Free: {_free_bridge(zone.host, zone.number)}.")
        )
    if zone.external and zone.external.host_id != zone.host_id:
        found.append(("external", f"{zone.external.address} belongs to {zone.external.host}, not to {zone.host}."))
    return found + _subnet(zone)


def _subnet(zone: Zone) -> list[tuple[str, str]]:
    try:
        network = zone.network
    except (AddrFormatError, ValueError):
        return []  # full_clean said so, beside the field
    if network not in INSIDE:
        return [("gateway", f"{zone.cidr} is not a private subnet. Use one such as 10.10.{zone.number}.1 with /24.")]
    vpn = zone.host.facts.get("vpn", {}).get("network")
    if vpn and (network in IPNetwork(vpn) or IPNetwork(vpn) in network):
        return [("gateway", f"{zone.cidr} overlaps the admin VPN ({vpn}). Use another subnet.")]
    return []
