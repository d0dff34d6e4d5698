"""What one can do with zones. Every change of the host is a job.

A zone that is not on the host yet is changed at once: it is only a wish. A change of one that is there is held by
its job and becomes the wish when the job ends well: cancelled or failed, nothing is half saved, and *Apply* leads
back to the zone as it stands here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts.doors import check
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused
from hosts.models import Host, Job
from hosts.services import job_create
from zones import moving, seen
from zones.addresses import address_sync
from zones.checks import check_zone, free_bridge, free_gateway, free_number
from zones.dependents import Dependent, dependents_of
from zones.models import ExternalAddress, Zone

__all__ = ["Dependent", "address_sync", "dependents_of", "free_gateway", "zone_change", "zone_create", "zone_delete"]

Farewell = Callable[[Zone], None]
_farewells: list[Farewell] = []

#: What of a zone can change; `None` (external, lease, rates) and "" (domain) are values, so absent means unchanged.
CHANGEABLE = (
    "external",
    "domain",
    "gateway",
    "prefix",
    "bridge",
    "lease_first",
    "lease_last",
    "in_kbit",
    "out_kbit",
)


def register_farewell(farewell: Farewell) -> None:
    """Have `farewell(zone)` tidy a higher room in the transaction that deletes a zone's row."""
    _farewells.append(farewell)


def thing_of(zone: Zone) -> Thing:
    """The zone as the audit log names it."""
    return Thing(kind="zone", id=str(zone.pk), text=zone.name)


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
    lease_first: str | None = None,
    lease_last: str | None = None,
    in_kbit: int | None = None,
    out_kbit: int | None = None,
    reason: str = "",
    approved: bool = False,
) -> Job:
    """Wish for a zone and ask for the job that makes it; without `external` it is isolated. Rates in kbit/s.

    Raises ValidationError per field, Refused, PermissionDenied.
    """
    check(actor, "zone.create")
    with transaction.atomic():
        number = free_number(host)
        zone = Zone(
            host=host,
            name=name,
            number=number,
            bridge=bridge or free_bridge(host, number),
            gateway=gateway,
            prefix=prefix,
            external=external,
            domain=domain,
            lease_first=lease_first or None,
            lease_last=lease_last or None,
            in_kbit=in_kbit,
            out_kbit=out_kbit,
        )
        check_zone(zone)
        zone.save()
        return _ask(actor, "zone.create", zone, f"Create zone {zone.name}", reason, approved)


def zone_change(
    actor: Actor, zone: Zone, *, seen: str = "", reason: str = "", approved: bool = False, **wish: Any
) -> Job:
    """Change what of CHANGEABLE is named; an empty gateway, prefix or bridge stays. The bridge of a zone that is on
    the host is fixed; another subnet takes machines and services along.

    `seen` is the digest of the moves the person looked at (`zone_preview`): Refused where there are others by now.
    Raises ValidationError per field, Refused, PermissionDenied, TypeError for a wish it does not know.
    """
    check(actor, "zone.change")
    with transaction.atomic():
        zone = Zone.objects.select_for_update(of=("self",)).select_related("host", "external").get(pk=zone.pk)
        after = _changed(zone, wish)
        move = moving.move_of(zone, after)
        if move:
            moving.refuse_conflicts(move)
            if seen and moving.preview(move).digest != seen:
                raise Refused("What would move has changed since you looked.", note="Look at the new list, then go on.")
        data = {"before": _wish(zone), "after": _wish(after)}
        log.record(actor, "zone.change", thing_of(zone), why=reason, data=data)
        title = f"Move zone {zone.name} to {after.cidr}" if move else f"Change zone {zone.name}"
        if zone.applied_at is None:
            after.save()
            if move:
                moving.follow(move)
            return _ask(actor, "zone.change", after, f"Apply zone {zone.name}", reason, approved)
        change = {"change": _change(zone, after), "former": _change(after, zone)}
        return _ask(actor, "zone.change", after, title, reason, approved, change=change)


def zone_preview(zone: Zone, **wish: Any) -> moving.Preview | None:
    """What a change of subnet would take along; None where it stays. Raises ValidationError per field."""
    after = _changed(zone, wish)
    move = moving.move_of(zone, after)
    return moving.preview(move) if move else None


def zone_apply(actor: Actor, zone: Zone, *, reason: str = "", approved: bool = False) -> Job:
    """Bring the host to the zone as it stands here: a `zone.change` job. Raises Refused, PermissionDenied."""
    check(actor, "zone.change")
    with transaction.atomic():
        return _ask(actor, "zone.change", zone, f"Apply zone {zone.name}", reason, approved)


def zone_delete(actor: Actor, zone: Zone, *, reason: str = "", approved: bool = False) -> Job:
    """Ask for a zone's removal from the host; its row goes when the job ends well.

    Raises Refused while machines or published services stand on it, PermissionDenied.
    """
    check(actor, "zone.delete")
    with transaction.atomic():
        refuse_inhabited(zone)
        return _ask(actor, "zone.delete", zone, f"Delete zone {zone.name}", reason, approved)


def zone_forget(zone: Zone) -> None:
    """Delete the row of a zone that is gone from the host, with what higher rooms keep about it."""
    refuse_inhabited(zone)
    for farewell in _farewells:
        farewell(zone)
    seen.forget_link(zone)
    zone.delete()


def wished(zone: Zone, change: dict[str, Any]) -> Zone:
    """The zone with a job's change on it; not saved."""
    after = copy.copy(zone)
    for field, value in change.items():
        if field == "external":
            value = ExternalAddress.objects.get(pk=value) if value else None
        setattr(after, field, value)
    return after


def zone_changed(zone: Zone, change: dict[str, Any]) -> None:
    """Make a job's change the wish, with all that moves along, and book the zone as on the host."""
    after = wished(zone, change)
    move = moving.move_of(zone, after)
    after.applied_at = timezone.now()
    after.save()
    if move:
        moving.follow(move)


def refuse_inhabited(zone: Zone) -> None:
    """Raise Refused, naming them, while machines or services stand on the zone."""
    standing = dependents_of(zone)
    if standing:
        names = ", ".join(f"{d.kind} {d.name}" for d in standing[:5])
        more = f" and {len(standing) - 5} more" if len(standing) > 5 else ""
        raise Refused(f"{zone.name} is in use: {names}{more}.", note="Delete or move them first.")


def _changed(zone: Zone, wish: dict[str, Any]) -> Zone:
    """The zone as it would be. Raises ValidationError per field, TypeError."""
    if unknown := sorted(set(wish) - set(CHANGEABLE)):
        raise TypeError(f"a zone has no {unknown[0]} to change")
    after = copy.copy(zone)
    for field, value in wish.items():
        if field in ("gateway", "prefix", "bridge") and not value:
            continue
        setattr(after, field, None if field.startswith("lease_") and not value else value)
    if after.bridge != zone.bridge and zone.applied_at is not None:
        says = f"{zone.name}'s machines hang on {zone.bridge}; delete the zone and create it anew to change its bridge."
        raise ValidationError({"bridge": says})
    check_zone(after)
    return after


def _change(before: Zone, after: Zone) -> dict[str, Any]:
    """The fields that differ, as `after` has them and a job keeps them."""
    names = {field: "external_id" if field == "external" else field for field in CHANGEABLE}
    both = {field: (getattr(before, name), getattr(after, name)) for field, name in names.items()}
    return {field: new for field, (old, new) in both.items() if old != new}


def _wish(zone: Zone) -> dict[str, Any]:
    rates = {"in_kbit": zone.in_kbit, "out_kbit": zone.out_kbit}
    return {
        "name": zone.name,
        "bridge": zone.bridge,
        "gateway": f"{zone.gateway}/{zone.prefix}",
        "external": zone.external.address if zone.external else None,
        "domain": zone.domain,
        **({"lease": f"{zone.lease_first}-{zone.lease_last}"} if zone.lease_first else {}),
        **{name: rate for name, rate in rates.items() if rate},
    }


def _ask(
    actor: Actor,
    kind: str,
    zone: Zone,
    title: str,
    reason: str,
    approved: bool,
    *,
    change: dict[str, Any] | None = None,
) -> Job:
    return job_create(
        actor,
        kind,
        host=zone.host,
        title=title,
        target=thing_of(zone),
        reason=reason,
        args={**_wish(zone), **(change or {})},
        approved=approved,
    )
