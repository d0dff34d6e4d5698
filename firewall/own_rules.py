"""The operators' own rules: tried on the host before they are saved, and their end.

A rule is a wish only after the whole site with it was loaded in a scratch namespace on the host itself: the panel
has no right to, and its kernel may be another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts.doors import check
from accounts.models import User
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused
from firewall import lint, rows, specs
from firewall.models import CustomRule
from hosts.models import Host, Job
from hosts.services import job_create

KIND = "firewall.try"
PLACES = ", ".join(specs.PLACES)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A rule somebody wants, as the trial's job carries it."""

    place: str
    rule: str
    reason: str
    expires: datetime | None = None

    @property
    def spec(self) -> specs.CustomRule:
        place = next((p for p in specs.PLACES if p == self.place), None)
        if place is None:
            raise Refused(f"{self.place[:60]!r} is no place for an own rule.", note=f"There are {PLACES}.")
        return specs.CustomRule(place=place, rule=self.rule, reason=self.reason)


def custom_add(actor: Actor, host: Host, *, place: str, rule: str, reason: str, expires: datetime | None = None) -> Job:
    """Ask for the trial of a rule; it becomes a wish when the job ends well (`wanted_of` gives it back meanwhile).

    Raises ValidationError per field (place, rule, reason, expires), Refused without a worker that answers and while
    another rule is being tried, PermissionDenied.
    """
    wanted = Wanted(place=place, rule=" ".join(rule.split()), reason=reason, expires=expires)
    return rules_try(actor, host, [wanted])


def rules_try(actor: Actor, host: Host, wanted: Sequence[Wanted]) -> Job:
    """As `custom_add`, several at once: all of them or none."""
    author = check(actor, "policy.change")
    for each in wanted:
        _check(host, author, each)
    if not host.fresh:
        raise Refused(
            f"The worker on {host.name} does not answer, and an own rule is loaded there on trial before it is saved.",
            note="Nothing was saved. Start the worker (systemctl start fridu-worker on dom0), then add the rule again.",
        )
    places = ", ".join(dict.fromkeys(each.place for each in wanted))
    with transaction.atomic():
        return job_create(
            actor,
            KIND,
            host=host,
            title=f"Try {'an own rule' if len(wanted) == 1 else f'{len(wanted)} own rules'} in {places}",
            target=Thing(kind="own rules", id=str(host.pk), text=f"own rules of {host.name}"),
            reason=wanted[0].reason,
            args={"rules": [_plain(each) for each in wanted]},
        )


def wanted_of(job: Job) -> tuple[Wanted, ...]:
    """The rules a trial's job is about."""
    return tuple(
        Wanted(**{**each, "expires": datetime.fromisoformat(each["expires"]) if each["expires"] else None})
        for each in job.args.get("rules", ())
    )


def site_with(host: Host, wanted: Sequence[Wanted]) -> specs.Site:
    """The site as wished, with these rules in it."""
    site = rows.site_of(host)
    return replace(site, custom=(*site.custom, *(each.spec for each in wanted)))


def custom_save(actor: Actor, host: Host, wanted: Wanted) -> CustomRule:
    """Make a rule a wish that is known to load: it was tried, or it is loaded already. One that is there stays."""
    author = check(actor, "policy.change")
    with transaction.atomic():
        row, made = CustomRule.objects.get_or_create(
            host=host,
            place=wanted.place,
            rule=wanted.rule,
            defaults={"reason": wanted.reason, "expires": wanted.expires, "author": author},
        )
        over = row.expires is not None and row.expires <= timezone.now()
        if over and not made:
            row.reason, row.expires, row.author = wanted.reason, wanted.expires, author
            row.save(update_fields=["reason", "expires", "author"])
        if made or over:
            log.record(actor, "policy.change", _thing(row), why=wanted.reason, data={"added": _plain(wanted)})
    return row


def custom_remove(actor: Actor, rule: CustomRule, *, reason: str = "") -> None:
    """Take an operator's own rule out of the wishes; it holds until the next apply."""
    check(actor, "policy.change")
    with transaction.atomic():
        thing = _thing(rule)
        data = _plain(Wanted(place=rule.place, rule=rule.rule, reason=rule.reason, expires=rule.expires))
        rule.delete()
        log.record(actor, "policy.change", thing, why=reason, data={"removed": data})


def remarks(host: Host, rule: CustomRule | Wanted) -> tuple[str, ...]:
    """What a rule opens beyond what its author may have meant, in sentences."""
    spec = Wanted(place=rule.place, rule=rule.rule, reason=rule.reason).spec
    return tuple(p.sentence for p in lint.custom_problems(spec, rows.site_of(host)) if not p.blocks)


def _check(host: Host, author: User, wanted: Wanted) -> None:
    """Raise ValidationError, a sentence a field, for what can be said without the host."""
    row = CustomRule(host=host, place=wanted.place, rule=wanted.rule, reason=wanted.reason, author=author)
    errors: dict[str, list[str]] = {}
    try:
        row.full_clean()
    except ValidationError as error:
        errors = {**error.message_dict}
    if "place" not in errors and "rule" not in errors:
        site = rows.site_of(host)
        if found := [p.sentence for p in lint.custom_problems(wanted.spec, site) if p.blocks]:
            errors["rule"] = found
        elif any((c.place, c.rule) == (wanted.place, wanted.rule) for c in site.custom):
            errors["rule"] = [f"{wanted.place} has this very rule already."]
    if wanted.expires and wanted.expires <= timezone.now():
        errors["expires"] = ["That is over already. Choose a later moment, or leave it empty."]
    if errors:
        raise ValidationError(errors)


def _plain(wanted: Wanted) -> Mapping[str, Any]:
    ends = wanted.expires.isoformat() if wanted.expires else None
    return {"place": wanted.place, "rule": wanted.rule, "reason": wanted.reason, "expires": ends}


def _thing(row: CustomRule) -> Thing:
    return Thing(kind="custom rule", id=str(row.pk), text=str(row))
