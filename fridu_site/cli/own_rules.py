"""`fridu rules`: the operators' own rules listed, added, changed and taken out; the host tries each text first."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from dom0.errors import Refused
from firewall import own_rules
from firewall.models import CustomRule
from firewall.own_rules import Wanted
from firewall.specs import PLACES
from fridu_site.cli import call as typed
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from hosts.models import Host, Job

TAKES = ("place", "rule", "expires")
LIKE = "fridu rules add place=before-input rule='-p tcp --dport 9100 -j ACCEPT' --reason 'node exporter'"


def rules_(call: Call, host: Host) -> int:
    """List them, or do what the first word says."""
    what = call.typed.words[0] if call.typed.words else ""
    doing = {"": _list, "add": _add, "change": _change, "remove": _remove}
    if what not in doing:
        raise Misunderstood(f"rules does not know {what}. It takes add, change and remove, or nothing.")
    call.demand("policy.change" if what else "firewall.view")
    unknown = sorted(set(call.typed.pairs) - set(TAKES if what in ("add", "change") else ()))
    if unknown:
        raise Misunderstood(f"rules {what} knows no {unknown[0]}=…".replace("  ", " "))
    return doing[what](call, host)


def _list(call: Call, host: Host) -> int:
    for row in CustomRule.objects.filter(host=host).select_related("author"):
        ends = f", until {timezone.localtime(row.expires):%Y-%m-%d %H:%M}" if row.expires else ""
        call.say(f"{row.pk:>5}  {row.place:<17} {row.rule}")
        call.say(f"       {row.reason} ({row.author}{ends})")
    return 0


def _add(call: Call, host: Host) -> int:
    given = call.typed.pairs
    if not given.get("place") or not given.get("rule"):
        raise Misunderstood(f"rules add needs place and rule, for example: {LIKE}")
    _demand_place(given["place"])
    job = own_rules.custom_add(
        call.actor, host, place=given["place"], rule=given["rule"], reason=call.typed.reason, expires=_end(call, None)
    )
    return _followed(call, job, "is saved")


def _change(call: Call, host: Host) -> int:
    """What is not named stays; the rule holds as it is until the new one was found to load."""
    row, given = _row(call, host), call.typed.pairs
    former = Wanted.of(row)
    place = given.get("place", former.place)
    _demand_place(place)
    job = own_rules.custom_change(
        call.actor,
        row,
        place=place,
        rule=given.get("rule", former.rule),
        reason=call.typed.reason or former.reason,
        expires=_end(call, former.expires),
    )
    return _followed(call, job, "is changed")


def _remove(call: Call, host: Host) -> int:
    row = _row(call, host)
    own_rules.custom_remove(call.actor, row, reason=call.typed.reason)
    call.say(f"{row} is taken out. It goes with: fridu firewall apply")
    return 0


def _followed(call: Call, job: Job, done: str) -> int:
    code = follow(call, job)
    if code == 0:
        call.say(f"The rule loads and {done}. It takes effect with: fridu firewall apply")
        for wanted in own_rules.wanted_of(job):
            for says in own_rules.remarks(job.host, wanted):
                call.say(says)
    return code


def _row(call: Call, host: Host) -> CustomRule:
    number = typed.count(call.word(1, "a rule's number; fridu rules lists them"), "rule")
    row = CustomRule.objects.select_related("host").filter(host=host, pk=number).first()
    if row is None:
        raise Refused(f"{host} has no own rule {number}.", note="fridu rules lists them.")
    return row


def _demand_place(place: str) -> None:
    if place not in PLACES:
        raise Misunderstood(f"place={place} is none. There are {own_rules.PLACES}.")


def _end(call: Call, former: datetime | None) -> datetime | None:
    """The moment of expires=; none takes it away. Raises Misunderstood."""
    text = call.typed.pairs.get("expires")
    if text is None:
        return former
    if text in ("", "none"):
        return None
    try:
        found = parse_datetime(text)
        day = parse_date(text) if found is None else None
    except ValueError:
        found = day = None
    if day is not None:
        found = datetime(day.year, day.month, day.day)
    if found is None:
        raise Misunderstood(f"expires={text} is no moment. Say expires=2027-01-31, 'expires=2027-01-31 18:00' or none.")
    return found if timezone.is_aware(found) else timezone.make_aware(found)
