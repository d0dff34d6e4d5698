"""A rule file into the panel: first what it would make, line by line; then, confirmed, the wishes themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.doors import check
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused
from firewall import importer, rows, services, specs, words
from firewall.findings import Finding, Severity
from firewall.models import CustomRule, ZoneRestriction
from firewall.specs import INTERNET, Cell, Site
from hosts.models import Host, Job
from zones.models import ExternalAddress, Zone
from zones.services import zone_create


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What a rule file says, what became (or would become) of it.

    `findings` by line; `clashes` are sentences on what the panel has already and the file says otherwise;
    `made` are the objects created, in words; `jobs` the zone jobs asked for.
    """

    site: Site
    findings: tuple[Finding, ...]
    asked: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == Severity.ERROR)


def preview(host: Host, text: str, *, answers: Mapping[str, str] | None = None) -> ImportReport:
    """Read a rule file for a host and say what it would make; nothing is saved."""
    read = importer.read(text, answers=answers, host=_facts(host))
    now = rows.site_of(host)
    return ImportReport(
        site=read.site,
        findings=read.findings,
        asked=read.asked,
        clashes=tuple(_clashes(host, now, read.site)),
        made=tuple(_news(now, read.site)),
    )


def import_rules(
    actor: Actor, host: Host, text: str, *, answers: Mapping[str, str] | None = None, approved: bool = False
) -> ImportReport:
    """Make the wishes a rule file says: zones (with their jobs), services, restrictions, policy, own rules.

    What is there already and the same stays; lines with errors are left out and reported. All or nothing.
    Raises Refused where the file clashes with what the panel has, or names an address the host does not have.
    `approved` lets the zone jobs run without another question.
    """
    check(actor, "firewall.import")
    report = preview(host, text, answers=answers)
    if report.clashes:
        raise Refused(report.clashes[0], note="Nothing was imported. Change the file or the panel, then import again.")
    before = rows.site_of(host)
    with transaction.atomic():
        jobs = tuple(_zones(actor, host, before, report.site, approved))
        _services(actor, host, before, report.site)
        _restrictions(actor, host, before, report.site)
        _policy(actor, host, before, report.site)
        _customs(actor, host, before, report.site)
        said = [str(f) for f in report.findings]
        thing = Thing(kind="host", id=str(host.pk), text=host.name)
        log.record(actor, "firewall.import", thing, data={"made": list(report.made), "findings": said})
    return replace(report, jobs=jobs)


def _facts(host: Host) -> Site:
    """What no rule file says: the host's own ports, prefixes and VPN."""
    now = rows.site_of(host)
    return Site(
        vpn=now.vpn,
        ssh_port=now.ssh_port,
        panel_port=now.panel_port,
        bridge_prefix=now.bridge_prefix,
        vif_prefix=now.vif_prefix,
    )


def _clashes(host: Host, now: Site, read: Site) -> Iterator[str]:
    has = {a.ip: a.nic for a in now.addresses}
    for address in read.addresses:
        if has.get(address.ip) != address.nic:
            on = ", ".join(f"{ip} on {nic}" for ip, nic in has.items()) or "none"
            yield (
                f"{host.name} has no {address.ip} on {address.nic}; a missing address fails silently, so it must be "
                f"there first. It has: {on}. `ip addr add {address.ip}/32 dev {address.nic}` on dom0 and the host's "
                "file would give it."
            )
    zones = {z.name: z for z in now.zones}
    for zone in read.zones:
        there = zones.get(zone.name)
        if there and replace(zone, number=there.number) != there:
            yield (
                f"The panel has a zone {zone.name} with {there.network} on {there.bridge}, the file one with "
                f"{zone.network} on {zone.bridge}. Rename it in the file, or delete the panel's first."
            )
        if not zone.bridge.startswith(now.bridge_prefix):
            yield f"{zone.bridge} of {zone.name} must begin with {now.bridge_prefix} on this host."
    services_now = {s.name: s for s in now.services}
    for service in read.services:
        known = services_now.get(service.name)
        if known and not _same(known, service):
            yield (
                f"The panel has a service {service.name} already, on {known.where}; the file's is on {service.where} "
                "or leads elsewhere. Rename it in the file, or unpublish the panel's first."
            )


def _same(known: specs.Service, service: specs.Service) -> bool:
    # A zone's number is the panel's own; dom0's card may be unsaid there.
    return replace(service, zone=known.zone, nic=known.nic) == known


def _news(now: Site, read: Site) -> Iterator[str]:
    names = {z.name for z in now.zones}
    for zone in read.zones:
        if zone.name not in names:
            way = f"leaves with {zone.external}" if zone.external else "isolated"
            yield f"zone {zone.name}, {zone.network} on {zone.bridge}, {way}"
    had = {s.name for s in now.services}
    for service in read.services:
        if service.name not in had:
            to = f"{service.target}, port {service.target_ports.span}" if service.target else "dom0"
            yield f"service {service.name}: {service.where} to {to}"
    for restriction in read.restrictions:
        zone_name = read.zone(restriction.zone).name
        yield f"zone restriction {restriction.name}: {restriction.action} {restriction.ports} of {zone_name}"
    for cell in read.policy:
        if cell.target != INTERNET and now.cell(cell.source, cell.target) != cell:
            yield f"policy: {words.party(cell.source)} may open {cell.words} to {words.party(cell.target)}"
    for rule in read.custom:
        yield f"own rule in {rule.place}: {rule.rule}"


def _zones(actor: Actor, host: Host, before: Site, read: Site, approved: bool) -> Iterator[Job]:
    had = {z.name for z in before.zones}
    addresses = {a.address: a for a in ExternalAddress.objects.filter(host=host)}
    for zone in read.zones:
        if zone.name in had:
            continue
        try:
            yield zone_create(
                actor,
                host=host,
                name=zone.name,
                gateway=zone.gateway,
                prefix=int(zone.network.split("/")[1]),
                external=addresses[zone.external] if zone.external else None,
                bridge=zone.bridge,
                reason="imported from a rule file",
                approved=approved,
            )
        except ValidationError as error:
            raise Refused(f"Zone {zone.name}: {' '.join(error.messages)}", note="Nothing was imported.") from error


def _services(actor: Actor, host: Host, before: Site, read: Site) -> None:
    had = {s.name for s in before.services}
    addresses = {a.address: a for a in ExternalAddress.objects.filter(host=host)}
    zones = {z.name: z for z in Zone.objects.filter(host=host)}
    for service in read.services:
        if service.name in had:
            continue
        try:
            services.service_publish(
                actor,
                host=host,
                name=service.name,
                proto=service.proto,
                port=service.port_first,
                port_last=service.port_last,
                external=addresses[service.external] if service.external else None,
                nic="" if service.external else service.nic or "",
                target=service.target,
                target_port=service.target_ports.first,
                zone=zones[read.zone(service.zone).name] if service.zone else None,
                reason="imported from a rule file",
            )
        except ValidationError as error:
            said = " ".join(error.messages)
            raise Refused(f"Service {service.name}: {said}", note="Nothing was imported.") from error


def _restrictions(actor: Actor, host: Host, before: Site, read: Site) -> None:
    zones = {z.name: z for z in Zone.objects.filter(host=host)}
    for r in read.restrictions:
        zone = zones[read.zone(r.zone).name]
        if not ZoneRestriction.objects.filter(zone=zone, name=r.name).exists():
            services.restriction_add(
                actor,
                zone=zone,
                name=r.name,
                direction=r.direction,
                action=r.action,
                proto=r.ports.proto,
                port=r.ports.first,
                port_last=r.ports.last,
                address=r.address or "",
                reason="imported from a rule file",
            )


def _policy(actor: Actor, host: Host, before: Site, read: Site) -> None:
    """The file's cells, and none for a zone's way out that the file closes."""
    closed = [
        Cell(source=z.name, target=INTERNET)
        for z in read.zones
        if z.external and read.cell(z.name, INTERNET).words == "nothing"
    ]
    wished = [c for c in read.policy if c.target != INTERNET or not c.everything]
    cells = [c for c in (*wished, *closed) if before.cell(c.source, c.target) != c]
    if cells:
        services.policy_set(actor, host, cells, reason="imported from a rule file")


def _customs(actor: Actor, host: Host, before: Site, read: Site) -> None:
    for rule in read.custom:
        if not CustomRule.objects.filter(host=host, place=rule.place, rule=rule.rule).exists():
            services.custom_add(actor, host, place=rule.place, rule=rule.rule, reason=rule.reason)
