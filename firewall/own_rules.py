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

    @classmethod
    def of(cls, row: CustomRule) -> Wanted:
        """The rule as it is wished now."""
        return cls(place=row.place, rule=row.rule, reason=row.reason, expires=row.expires)

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


def custom_change(
    actor: Actor, row: CustomRule, *, place: str, rule: str, reason: str, expires: datetime | None = None
) -> Job:
    """Ask for the trial of a rule in the place of one that is there, which holds until the job ends well.

    Raises as `custom_add` does; ValidationError too where nothing would change.
    """
    wanted = Wanted(place=place, rule=" ".join(rule.split()), reason=reason, expires=expires)
    if wanted == Wanted.of(row):
        raise ValidationError({"rule": ["That is how it is already. Change something of it."]})
    return rules_try(actor, row.host, [wanted], instead=row)


def rules_try(actor: Actor, host: Host, wanted: Sequence[Wanted], *, instead: CustomRule | None = None) -> Job:
    """As `custom_add`, several at once: all of them or none. `instead`: the one the only one of them replaces."""
    author = check(actor, "policy.change")
    for each in wanted:
        _check(host, author, each, instead)
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
            title=f"Try {_said(wanted, instead)} in {places}",
            target=Thing(kind="own rules", id=str(host.pk), text=f"own rules of {host.name}"),
            reason=wanted[0].reason,
            args={"rules": [_plain(each) for each in wanted], **(_instead(instead) if instead else {})},
        )


def _said(wanted: Sequence[Wanted], instead: CustomRule | None) -> str:
    if instead:
        return "a changed own rule"
    return "an own rule" if len(wanted) == 1 else f"{len(wanted)} own rules"


def _instead(row: CustomRule) -> dict[str, Any]:
    return {"instead": row.pk, "former": _plain(Wanted.of(row))}


def replaced_by(job: Job) -> CustomRule | None:
    """The rule that the only one of a trial's job would replace; None where it replaces none.

    Raises Refused where it is gone or another one by now.
    """
    if "instead" not in job.args:
        return None
    row = CustomRule.objects.filter(host=job.host_id, pk=job.args["instead"]).first()
    if row is None or _plain(Wanted.of(row)) != job.args.get("former"):
        raise Refused(
            "The rule was changed or taken out meanwhile.", note="Nothing was saved. Look at it, then change it anew."
        )
    return row


def wanted_of(job: Job) -> tuple[Wanted, ...]:
    """The rules a trial's job is about."""
    return tuple(
        Wanted(**{**each, "expires": datetime.fromisoformat(each["expires"]) if each["expires"] else None})
        for each in job.args.get("rules", ())
    )


def site_with(host: Host, wanted: Sequence[Wanted], instead: CustomRule | None = None) -> specs.Site:
    """The site as wished, with these rules in it, the first of them where the one it replaces is."""
    site, new = rows.site_of(host), [each.spec for each in wanted]
    if instead is None:
        return replace(site, custom=(*site.custom, *new))
    former = (instead.place, instead.rule)
    kept = [[each] if (each.place, each.rule) != former else new for each in site.custom]
    there = any(each == new for each in kept)  # one that is over is no part of the site
    return replace(site, custom=(*(one for heap in kept for one in heap), *(() if there else new)))


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


def custom_replace(actor: Actor, row: CustomRule, wanted: Wanted) -> CustomRule:
    """Make of a rule that is there one that is known to load; its place among the others stays."""
    author = check(actor, "policy.change")
    with transaction.atomic():
        before = _plain(Wanted.of(row))
        # In the kernel's words it may be what another row says already.
        CustomRule.objects.filter(host=row.host, place=wanted.place, rule=wanted.rule).exclude(pk=row.pk).delete()
        row.place, row.rule, row.reason = wanted.place, wanted.rule, wanted.reason
        row.expires, row.author = wanted.expires, author
        row.save()
        data = {"before": before, "after": _plain(wanted)}
        log.record(actor, "policy.change", _thing(row), why=wanted.reason, data=data)
    return row


def custom_remove(actor: Actor, rule: CustomRule, *, reason: str = "") -> None:
    """Take an operator's own rule out of the wishes; it holds until the next apply."""
    check(actor, "policy.change")
    with transaction.atomic():
        thing = _thing(rule)
        data = _plain(Wanted.of(rule))
        rule.delete()
        log.record(actor, "policy.change", thing, why=reason, data={"removed": data})


def remarks(host: Host, rule: CustomRule | Wanted) -> tuple[str, ...]:
    """What a rule opens beyond what its author may have meant, in sentences."""
    spec = Wanted(place=rule.place, rule=rule.rule, reason=rule.reason).spec
    return tuple(p.sentence for p in lint.custom_problems(spec, rows.site_of(host)) if not p.blocks)


def _check(host: Host, author: User, wanted: Wanted, instead: CustomRule | None = None) -> None:
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
        elif _taken(host, wanted, instead):
            errors["rule"] = [f"{wanted.place} has this very rule already."]
    if wanted.expires and wanted.expires <= timezone.now():
        errors["expires"] = ["That is over already. Choose a later moment, or leave it empty."]
    if errors:
        raise ValidationError(errors)


def _taken(host: Host, wanted: Wanted, instead: CustomRule | None) -> bool:
    same = CustomRule.objects.filter(host=host, place=wanted.place, rule=wanted.rule)
    others = same.exclude(pk=instead.pk) if instead else same
    return any(row.expires is None or row.expires > timezone.now() or instead for row in others)


def _plain(wanted: Wanted) -> Mapping[str, Any]:
    ends = wanted.expires.isoformat() if wanted.expires else None
    return {"place": wanted.place, "rule": wanted.rule, "reason": wanted.reason, "expires": ends}


def _thing(row: CustomRule) -> Thing:
    return Thing(kind="custom rule", id=str(row.pk), text=str(row))
