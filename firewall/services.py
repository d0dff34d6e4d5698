"""What one can do with the firewall. Edits are wishes; one apply makes one revision of all of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction

from accounts.doors import check
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused
from firewall import affected, lint, render, rows, words
from firewall.affected import Touched
from firewall.findings import Problem
from firewall.models import PolicyCell, PublishedService, Revision, ZoneRestriction
from firewall.specs import Cell, Service, Site, as_dict
from firewall.words import Change
from hosts.models import Host
from machines.models import Machine
from zones import addresses
from zones.models import ExternalAddress, Zone

site_of = rows.site_of


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What an apply would change now: wished and live site, the difference, what is wrong with the wish.

    `digest` names exactly this wish, so that what was looked at is what gets applied.
    """

    wished: Site
    live: Revision | None
    changes: tuple[Change, ...]
    stays: Change
    touched: tuple[Touched, ...]
    problems: tuple[Problem, ...]
    digest: str

    @property
    def counts(self) -> str:
        return words.counts(self.changes)

    @property
    def raw(self) -> tuple[str, ...]:
        """The same as a unified difference of the rendered files."""
        before = render.files(rows.site_in(self.live)) if self.live else None
        return render.raw_difference(before, render.files(self.wished))


def pending(host: Host) -> Pending:
    """Compare what is wished with the revision in force; worked out once for the same wish, revision and names."""
    live = rows.live_revision(host)
    names = frozenset(rows.machine_names(host).items())
    return replace(_compared(rows.site_in(live), rows.site_of(host), names), live=live)


@lru_cache(maxsize=4)
def _compared(before: Site, wished: Site, machines: frozenset[tuple[str, str]]) -> Pending:
    names = dict(machines)
    changes = words.difference(before, wished, names=names)
    return Pending(
        wished=wished,
        live=None,
        changes=changes,
        stays=words.stays(before, wished),
        touched=affected.touched(before, wished, names) if changes else (),
        problems=lint.problems(wished),
        digest=digest_of(wished),
    )


def digest_of(site: Site) -> str:
    """Digest of a site's objects (SHA-256, hex)."""
    return hashlib.sha256(json.dumps(as_dict(site), sort_keys=True).encode()).hexdigest()


def service_publish(
    actor: Actor,
    *,
    host: Host,
    name: str,
    proto: str,
    port: int,
    external: ExternalAddress | None = None,
    port_last: int | None = None,
    target: str | Machine | None = None,
    target_port: int | None = None,
    zone: Zone | None = None,
    nic: str = "",
    reason: str = "",
) -> PublishedService:
    """Wish for a published service: `target` a machine or its address, None for dom0's own.

    `external` None means every address (dom0 only). Raises ValidationError per field: name, external, proto,
    port, port_last, target, target_port.
    """
    check(actor, "service.publish")
    address = str(target.address) if isinstance(target, Machine) else target
    if address and external is None:
        raise ValidationError({"external": "Choose the external address it is published on."})
    if zone is None and external is not None and address:
        zone = external.zones.first()
    row = PublishedService(
        host=host,
        name=name,
        zone=zone,
        external=external,
        nic=nic,
        proto=proto,
        port=port,
        port_last=port_last or port,
        target=address or None,
        target_port=target_port or port,
    )
    with transaction.atomic():
        _check_service(row)
        row.live = rows.in_force(row)
        row.save()
        log.record(actor, "service.publish", _thing("service", row), why=reason, data=_service_data(row))
    return row


def service_unpublish(actor: Actor, service: PublishedService, *, reason: str = "") -> None:
    """Take a published service out of the wishes; it stays open until the next apply."""
    check(actor, "service.unpublish")
    with transaction.atomic():
        thing, data = _thing("service", service), _service_data(service)
        service.delete()
        log.record(actor, "service.unpublish", thing, why=reason, data=data)


def service_change(
    actor: Actor,
    service: PublishedService,
    *,
    name: str,
    proto: str,
    port: int,
    external: ExternalAddress | None,
    port_last: int | None = None,
    target: str | None = None,
    target_port: int | None = None,
    reason: str = "",
) -> PublishedService:
    """Wish for a published service to be another: what it was stays open until the next apply.

    The same fields and errors as `service_publish`.
    """
    check(actor, "service.change")
    if target and external is None:
        raise ValidationError({"external": "Choose the external address it is published on."})
    before = _service_data(service)
    service.name, service.proto, service.external = name, proto, external
    service.port, service.port_last = port, port_last or port
    service.target, service.target_port = target or None, target_port or port
    service.zone = _publisher(service) if target else None
    with transaction.atomic():
        _check_service(service)
        service.live = rows.in_force(service)
        service.save()
        data = {"before": before, "after": _service_data(service)}
        log.record(actor, "service.change", _thing("service", service), why=reason, data=data)
    return service


def service_restore(actor: Actor, host: Host, name: str, *, reason: str = "") -> PublishedService:
    """Wish again for a service as the revision in force publishes it, whether it was taken out or changed.

    Raises Refused where that revision has none of this name, ValidationError where its port is taken meanwhile.
    """
    check(actor, "service.publish")
    row = rows.former_service(host, name)
    if row is None:
        raise Refused(f"The revision in force publishes no {name}.", note="Publish it anew.")
    with transaction.atomic():
        _check_service(row)
        row.live = rows.in_force(row)
        row.save()
        data = {**_service_data(row), "restored": True}
        log.record(actor, "service.publish", _thing("service", row), why=reason, data=data)
    return row


def _publisher(service: PublishedService) -> Zone | None:
    """The zone a service belongs to: the one it had, where that goes out by its address, else the address's own."""
    zone = service.zone
    if zone and service.external_id in (None, zone.external_id):
        return zone
    return service.external.zones.first() if service.external else None


def restriction_add(
    actor: Actor,
    *,
    zone: Zone,
    name: str,
    direction: str,
    action: str,
    proto: str,
    port: int,
    port_last: int | None = None,
    address: str = "",
    reason: str = "",
) -> ZoneRestriction:
    """Wish for a zone restriction (TuneZone). Raises ValidationError per field."""
    check(actor, "restriction.change")
    row = ZoneRestriction(
        zone=zone,
        name=name,
        direction=direction,
        action=action,
        proto=proto,
        port=port,
        port_last=port_last or port,
        address=address,
    )
    with transaction.atomic():
        _refuse_second_name(row)
        _clean(row)
        site = rows.site_of(zone.host)
        # Written the way the kernel prints it, else what is live would always differ from what is wished.
        row.address = lint.canonical(row.address) if lint.is_network(row.address) else row.address
        row.save()
        _refuse_new(site, rows.site_of(zone.host))
        log.record(actor, "restriction.change", _thing("restriction", row), why=reason, data={"added": _plain(row)})
    return row


def restriction_change(
    actor: Actor,
    restriction: ZoneRestriction,
    *,
    zone: Zone,
    name: str,
    direction: str,
    action: str,
    proto: str,
    port: int,
    port_last: int | None = None,
    address: str = "",
    reason: str = "",
) -> ZoneRestriction:
    """Wish for a zone restriction to be another. Raises ValidationError per field."""
    check(actor, "restriction.change")
    row, before = restriction, _plain(restriction)
    row.zone, row.name, row.direction, row.action = zone, name, direction, action
    row.proto, row.port, row.port_last, row.address = proto, port, port_last or port, address
    with transaction.atomic():
        _refuse_second_name(row)
        _clean(row)
        site = rows.site_of(zone.host)
        row.address = lint.canonical(row.address) if lint.is_network(row.address) else row.address
        row.save()
        _refuse_new(site, rows.site_of(zone.host))
        data = {"before": before, "after": _plain(row)}
        log.record(actor, "restriction.change", _thing("restriction", row), why=reason, data=data)
    return row


def restriction_remove(actor: Actor, restriction: ZoneRestriction, *, reason: str = "") -> None:
    """Take a zone restriction out of the wishes."""
    check(actor, "restriction.change")
    with transaction.atomic():
        thing, data = _thing("restriction", restriction), _plain(restriction)
        restriction.delete()
        log.record(actor, "restriction.change", thing, why=reason, data={"removed": data})


def policy_set(actor: Actor, host: Host, cells: Iterable[Cell], *, reason: str = "") -> None:
    """Wish for what some cells of the grid shall say; a cell without ports closes.

    Raises ValidationError with one sentence a wrong cell (field "ports").
    """
    check(actor, "policy.change")
    numbers = {zone.name: zone.number for zone in Zone.objects.filter(host=host)}
    with transaction.atomic():
        before = rows.site_of(host)
        changed = {}
        for cell in cells:
            try:
                source, target = rows.key_of(cell.source, numbers), rows.key_of(cell.target, numbers)
            except KeyError as missing:
                raise ValidationError({"ports": f"There is no zone {missing.args[0]} on {host}."}) from None
            PolicyCell.objects.update_or_create(
                host=host, source=source, target=target, defaults={"ports": rows.ports_text(cell)}
            )
            was = before.cell(cell.source, cell.target)
            changed[f"{cell.source} → {cell.target}"] = [was.words, cell.words]
        _refuse_new(before, rows.site_of(host))
        log.record(actor, "policy.change", _thing("host", host), why=reason, data={"cells": changed})


def zone_farewell(zone: Zone) -> None:
    """Drop what the policy says about a zone that goes: its number may be given to another."""
    key = f"zone:{zone.number}"
    PolicyCell.objects.filter(host=zone.host).filter(models.Q(source=key) | models.Q(target=key)).delete()


def _check_service(row: PublishedService) -> None:
    """Raise ValidationError per field for anything that keeps the service from working."""
    errors: dict[str, list[str]] = {}
    try:
        row.full_clean(validate_constraints=False)
    except ValidationError as error:
        raise ValidationError({**error.message_dict, **_ports_in_words(row, error.message_dict)}) from error
    site, service = _without(rows.site_of(row.host), row), rows.service_of(row)
    if PublishedService.objects.filter(host=row.host, name=row.name).exclude(pk=row.pk).exists():
        errors["name"] = [f"A service {row.name} exists already. Give this one another name."]
    for problem in lint.service_problems(site, service):
        if problem.blocks:
            errors.setdefault(_field(problem.field), []).append(problem.sentence)
    if row.external and addresses.missing([row.external]):
        errors.setdefault("external", []).append(_missing(row.external))
    if said := _taken(row, site):
        errors.setdefault("port", []).append(said)
    if not errors and (stolen := _takes_from_dom0(site, service)):
        errors["port"] = [stolen]
    if errors:
        raise ValidationError(errors)


def _without(site: Site, row: PublishedService) -> Site:
    """The site but for what this row is now: a service that is changed is not in its own way."""
    if row.pk is None:
        return site
    was = rows.service_of(PublishedService.objects.select_related("external", "zone").get(pk=row.pk))
    return replace(site, services=tuple(s for s in site.services if s != was))


def _taken(row: PublishedService, site: Site) -> str:
    service = rows.service_of(row)
    if service.target is None:
        same = [s for s in site.services if s.target is None and s.external == service.external]
        return next((f"{o.where} is dom0's already ({o.name})." for o in same if o.ports.overlaps(service.ports)), "")
    return lint.conflict(service, site.services, targets=rows.machine_names(row.host))


def _ports_in_words(row: models.Model, wrong: Collection[str]) -> dict[str, list[str]]:
    ports = (field for field in ("port", "port_last", "target_port") if field in wrong)
    return {field: [f"{getattr(row, field)} is no port; they go from 1 to 65535, such as 443."] for field in ports}


def _missing(external: ExternalAddress) -> str:
    """DNAT asks whether an address is dom0's own: one that is not there fails without a word."""
    ip, nic = external.address, external.nic
    return (
        f"{ip} is not on {nic}: what is published there would silently not answer. "
        f"On dom0: ip addr add {ip}/32 dev {nic}, then wait for the next look at the host."
    )


def _takes_from_dom0(site: Site, service: Service) -> str:
    """Why a service can't have a port on the last address where it is dom0's own: its ssh, or one of its services."""
    before = lint.blocking(site)
    after = lint.blocking(replace(site, services=(*site.services, service)))
    new = [p for p in after if p not in before]
    return new[0].sentence if new else ""


def _field(field: str) -> str:
    return {"port_first": "port"}.get(field, field) or "__all__"


def _refuse_second_name(row: ZoneRestriction) -> None:
    """Raise ValidationError where the zone has another restriction of this name."""
    if ZoneRestriction.objects.filter(zone=row.zone, name=row.name).exclude(pk=row.pk).exists():
        says = f"{row.zone.name} has a restriction {row.name} already. Give this one another name."
        raise ValidationError({"name": [says]})


def _clean(row: models.Model) -> None:
    try:
        row.full_clean()
    except ValidationError as error:
        raise ValidationError({**error.message_dict, **_ports_in_words(row, error.message_dict)}) from error


def _refuse_new(before: Site, after: Site) -> None:
    """Raise ValidationError for problems this change brings; older ones are told when applying."""
    old = lint.blocking(before)
    new = [p for p in lint.blocking(after) if p not in old]
    if new:
        errors: dict[str, list[str]] = {}
        for problem in new:
            errors.setdefault("ports" if problem.about.startswith("policy") else _field(problem.field), []).append(
                problem.sentence
            )
        raise ValidationError(errors)


def _thing(kind: str, row: models.Model) -> Thing:
    return Thing(kind=kind, id=str(row.pk), text=str(row))


def _service_data(row: PublishedService) -> dict[str, Any]:
    service = rows.service_of(row)
    to = "dom0" if service.target is None else f"{service.target}:{service.target_ports.span}"
    return {"where": service.where, "to": to}


def _plain(row: models.Model) -> dict[str, Any]:
    return {f.name: str(getattr(row, f.attname)) for f in row._meta.concrete_fields if f.name != "id"}
