"""A rule file into the panel: first what it would make, line by line; then, confirmed, the wishes themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.doors import check
from audit import log
from audit.log import Actor, Thing
from audit.models import Entry
from dom0.errors import Refused
from firewall import exporter, importer, lint, merging, own_rules, rows, services, specs
from firewall.findings import Finding, Severity
from firewall.importer import Read, Unread
from firewall.merging import Merged
from firewall.models import CustomRule, PublishedService, ZoneRestriction
from firewall.own_rules import Wanted
from firewall.specs import Site
from hosts.models import Host, Job
from zones.models import ExternalAddress, Zone
from zones.services import zone_create

ACTION = "firewall.import"
REASON = "imported from a rule file"
#: So much of what was not taken over is kept: no file anybody wrote by hand has more.
MAX_REVIEW, MAX_REVIEW_LINE = 500, 400


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """What a rule file says, what became (or would become) of it.

    `findings` by line; `clashes` are sentences on why nothing of it can be taken as it stands; `made` the objects
    created, in words; `same`, `changed` and `gone` compare it with the panel's wishes (`gone` are only there:
    they stay, unless the file is taken exactly); `closes` are ways into dom0 and out of zones it would close;
    `review` the lines nothing became of; `jobs` those asked for.
    """

    site: Site
    findings: tuple[Finding, ...]
    asked: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    closes: tuple[str, ...] = ()
    review: tuple[Unread, ...] = ()
    jobs: tuple[Job, ...] = ()
    exact: bool = False
    until: Mapping[specs.CustomRule, str] = field(default_factory=dict)
    merged: Merged | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == Severity.ERROR)

    @property
    def does_something(self) -> bool:
        """Whether importing it would change any wish."""
        return bool(self.made or self.changed or (self.exact and self.gone))


def preview(
    host: Host, text: str, *, answers: Mapping[str, str] | None = None, exact: bool = False, viewer: str = ""
) -> ImportReport:
    """Read a rule file for a host and say what it would make; nothing is saved.

    `exact`: what differs becomes as in the file, and what the file does not have goes. `viewer` is the address
    somebody asks from, to name the way that would close behind them.
    """
    now = rows.site_of(host)
    read = importer.read(text, answers=answers, host=_facts(now))
    merged = merging.merged(now, read.site, exact=exact)
    live = rows.site_in(rows.live_revision(host))
    return ImportReport(
        site=read.site,
        findings=read.findings,
        asked=(*read.asked, *_strange_cards(host, read.site)),
        clashes=tuple(_clashes(host, now, read, merged)),
        made=merged.new,
        same=merged.same,
        changed=merged.changed,
        gone=merged.gone,
        closes=merging.ways_closed(
            live if live.zones else now, merged.site, viewer=viewer, vpn_port=host.facts.get("vpn", {}).get("port") or 0
        ),
        review=read.review,
        exact=exact,
        until=read.until,
        merged=merged,
    )


def import_rules(
    actor: Actor,
    host: Host,
    text: str,
    *,
    answers: Mapping[str, str] | None = None,
    approved: bool = False,
    exact: bool = False,
) -> ImportReport:
    """Make the wishes a rule file says: zones (with their jobs), services, restrictions, policy, own rules.

    What is there already and the same stays; lines with errors are left out, reported, and kept for review. Own
    rules become wishes when the host has tried them. All or nothing. Raises Refused where the file clashes with
    what the panel has, or names an address the host does not have. `approved` lets the zone jobs run without
    another question.
    """
    check(actor, ACTION)
    with transaction.atomic():
        Host.objects.select_for_update().get(pk=host.pk)
        report = preview(host, text, answers=answers, exact=exact)
        if report.clashes or report.merged is None:
            raise Refused(
                report.clashes[0], note="Nothing was imported. Change the file or the panel, then import again."
            )
        merged = report.merged
        _take_out(actor, host, merged)
        jobs = [*_zones(actor, host, merged, approved)]
        _services(actor, host, merged)
        _restrictions(actor, host, merged)
        if merged.cells:
            try:
                services.policy_set(actor, host, merged.cells, reason=REASON)
            except ValidationError as error:
                raise _refused("The policy", error) from error
        if merged.customs:
            jobs.append(_try(actor, host, report))
        data = {
            "made": list(report.made),
            "changed": list(report.changed),
            "gone": list(report.gone) if exact else [],
            "findings": [str(f) for f in report.findings],
            "review": _kept(report.review),
        }
        log.record(actor, ACTION, _thing(host), data=data)
    return replace(report, jobs=tuple(jobs))


def review_of(host: Host) -> tuple[str, ...]:
    """The lines the host's last import could not take over and nobody has dealt with yet."""
    last = Entry.objects.filter(action=ACTION, object_kind="host", object_id=str(host.pk), outcome="done")
    entry = last.order_by("-seq").first()
    return tuple(str(line) for line in entry.data.get("review", ())) if entry else ()


def review_done(actor: Actor, host: Host) -> None:
    """Say that the lines left for review are dealt with; the log keeps them."""
    check(actor, ACTION)
    with transaction.atomic():
        if lines := review_of(host):
            log.record(actor, ACTION, _thing(host), data={"reviewed": list(lines), "review": []})


def export(host: Host) -> str:
    """The host's wishes as a rule file, with the ends of own rules and the lines that wait for review."""
    site = rows.site_of(host)
    ends = {(c.place, c.rule): c.expires for c in CustomRule.objects.filter(host=host).exclude(expires=None)}
    until = {
        rule: at.astimezone(UTC).isoformat(timespec="minutes")
        for rule in site.custom
        if (at := ends.get((rule.place, rule.rule)))
    }
    return exporter.rule_file(site, until=until, review=review_of(host))


def _facts(now: Site) -> Site:
    """What no rule file says: the host's own ports, prefixes, cards and VPN."""
    return Site(
        vpn=now.vpn,
        ssh_port=now.ssh_port,
        panel_port=now.panel_port,
        bridge_prefix=now.bridge_prefix,
        vif_prefix=now.vif_prefix,
        cards=now.cards,
    )


def _strange_cards(host: Host, read: Site) -> tuple[str, ...]:
    """Cards the file names and the host does not have: another name can be given for each."""
    known = {nic["name"] for nic in host.facts.get("nics", ())}
    return tuple(dict.fromkeys(a.nic for a in read.addresses if a.nic not in known)) if known else ()


def _clashes(host: Host, now: Site, read: Read, merged: Merged) -> Iterator[str]:
    has = {a.ip: a.nic for a in now.addresses}
    for address in read.site.addresses:
        if address.ip in has and has[address.ip] != address.nic:
            yield f"{address.ip} is on {has[address.ip]} of {host.name}, the file says {address.nic}."
        elif address.ip not in has:
            on = ", ".join(f"{ip} on {nic}" for ip, nic in has.items()) or "none"
            yield (
                f"{host.name} has no {address.ip} on {address.nic}; a missing address fails silently, so it must be "
                f"there first. It has: {on}. `ip addr add {address.ip}/32 dev {address.nic}` on dom0 and the host's "
                "file would give it."
            )
    zones = {z.name: z for z in now.zones}
    for zone in read.site.zones:
        there = zones.get(zone.name)
        if there and replace(zone, number=there.number) != there:
            yield (
                f"The panel has a zone {zone.name} with {there.network} on {there.bridge}, leaving with "
                f"{there.external or 'none'}; the file one with {zone.network} on {zone.bridge}, leaving with "
                f"{zone.external or 'none'}. Rename it in the file, or change the panel's first."
            )
    for kept in merged.kept:
        yield f"The panel has a {kept}. Take the file exactly, rename it in the file, or change the panel's first."
    old = {(p.about, p.sentence) for p in lint.blocking(now)}
    for problem in lint.blocking(merged.site):
        if (problem.about, problem.sentence) not in old:
            yield f"{problem.about[:1].upper()}{problem.about[1:]}: {problem.sentence}"


def _take_out(actor: Actor, host: Host, merged: Merged) -> None:
    """What the file does not have, or has otherwise."""
    for service in merged.without_services:
        services.service_unpublish(
            actor, PublishedService.objects.get(host=host, name=service.name), reason="not in the rule file"
        )
    for r in merged.without_restrictions:
        row = ZoneRestriction.objects.get(zone__host=host, zone__number=r.zone, name=r.name)
        services.restriction_remove(actor, row, reason="not in the rule file")
    for rule in merged.without_customs:
        for custom in CustomRule.objects.filter(host=host, place=rule.place, rule=rule.rule):
            own_rules.custom_remove(actor, custom, reason="not in the rule file")


def _zones(actor: Actor, host: Host, merged: Merged, approved: bool) -> Iterator[Job]:
    addresses = {a.address: a for a in ExternalAddress.objects.filter(host=host)}
    for zone in merged.zones:
        try:
            yield zone_create(
                actor,
                host=host,
                name=zone.name,
                gateway=zone.gateway,
                prefix=int(zone.network.split("/")[1]),
                external=addresses[zone.external] if zone.external else None,
                bridge=zone.bridge,
                reason=REASON,
                approved=approved,
            )
        except ValidationError as error:
            raise _refused(f"Zone {zone.name}", error) from error


def _services(actor: Actor, host: Host, merged: Merged) -> None:
    addresses = {a.address: a for a in ExternalAddress.objects.filter(host=host)}
    zones = _by_number(host, merged)
    for service in merged.services:
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
                zone=zones[service.zone] if service.zone else None,
                reason=REASON,
            )
        except ValidationError as error:
            raise _refused(f"Service {service.name}", error) from error


def _restrictions(actor: Actor, host: Host, merged: Merged) -> None:
    zones = _by_number(host, merged)
    for r in merged.restrictions:
        try:
            services.restriction_add(
                actor,
                zone=zones[r.zone],
                name=r.name,
                direction=r.direction,
                action=r.action,
                proto=r.ports.proto,
                port=r.ports.first,
                port_last=r.ports.last,
                address=r.address or "",
                reason=REASON,
            )
        except ValidationError as error:
            raise _refused(f"Zone restriction {r.name}", error) from error


def _try(actor: Actor, host: Host, report: ImportReport) -> Job:
    customs = report.merged.customs if report.merged else ()
    try:
        return own_rules.rules_try(actor, host, [_wanted(rule, report.until) for rule in customs])
    except ValidationError as error:
        raise _refused("Own rules", error) from error


def _by_number(host: Host, merged: Merged) -> Mapping[int, Zone]:
    """Zones by the number the merged site gives them; their rows may have got another."""
    named = {z.name: z for z in Zone.objects.filter(host=host)}
    return {zone.number: named[zone.name] for zone in merged.site.zones}


def _wanted(rule: specs.CustomRule, until: Mapping[specs.CustomRule, str]) -> Wanted:
    ends: datetime | None = None
    if rule in until:
        try:
            ends = datetime.fromisoformat(until[rule])
        except ValueError:
            raise Refused(
                f"UNTIL={until[rule][:40]} of the own rule in {rule.place} is no moment.",
                note="Nothing was imported. Write it as 2027-01-31T18:00+00:00.",
            ) from None
        ends = ends if ends.tzinfo else ends.replace(tzinfo=UTC)
    return Wanted(place=rule.place, rule=rule.rule, reason=rule.reason, expires=ends)


def _kept(review: Sequence[Unread]) -> list[str]:
    return [unread.text[:MAX_REVIEW_LINE] for unread in review[:MAX_REVIEW]]


def _refused(what: str, error: ValidationError) -> Refused:
    return Refused(f"{what}: {' '.join(error.messages)}", note="Nothing was imported.")


def _thing(host: Host) -> Thing:
    return Thing(kind="host", id=str(host.pk), text=host.name)
