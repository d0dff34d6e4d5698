"""Wish again for what is in force, where somebody changed the wish or took it out and has not applied it yet.

Services have theirs in `services.service_restore`; here are restrictions, cells of the policy and own rules. While
a revision is on trial, in force means that one: it is what the pages compare with. Whoever undoes says what he saw
(`seen`), so that nobody throws away what another wished for meanwhile.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.core.exceptions import ValidationError

from audit.log import Actor
from dom0.errors import Refused
from firewall import own_rules, rows, services
from firewall.models import CustomRule, ZoneRestriction
from firewall.specs import PLACES
from hosts.models import Host
from zones.models import Zone

WHY = "as it is in force"


def seen(*said: object) -> str:
    """What somebody saw who undoes it, as one word: another one says that it is no longer so."""
    return hashlib.sha256(repr(said).encode()).hexdigest()[:20]


def refuse_unseen(now: str, saw: str) -> None:
    """Raises Refused where it is not what was seen."""
    if now != saw:
        raise Refused("Somebody changed this meanwhile, so nothing was undone.", note="It stands here as it is now.")


def restriction_restore(actor: Actor, zone: Zone, name: str) -> ZoneRestriction:
    """Wish for a zone's restriction as the revision in force has it, whether it was changed or taken out.

    Raises Refused where that revision has none of this name, ValidationError where it does not fit any more.
    """
    in_force = rows.site_in(rows.tried_or_live(zone.host).first()).restrictions
    was = next((r for r in in_force if (r.zone, r.name) == (zone.number, name)), None)
    if was is None:
        raise Refused(f"The revision in force has no restriction {name} on {zone.name}.", note="Add it anew.")
    row = ZoneRestriction.objects.filter(zone=zone, name=name).select_related("zone__host").first()
    wish: dict[str, Any] = {
        "zone": zone,
        "name": name,
        "direction": was.direction,
        "action": was.action,
        "proto": was.ports.proto,
        "port": was.ports.first,
        "port_last": was.ports.last,
        "address": was.address or "",
        "reason": WHY,
    }
    return services.restriction_change(actor, row, **wish) if row else services.restriction_add(actor, **wish)


def cell_restore(actor: Actor, host: Host, source: str, target: str) -> None:
    """Wish for one cell of the policy as it is in force. Raises Refused without a revision, ValidationError."""
    live = rows.tried_or_live(host).first()
    if live is None:
        raise Refused("No revision is in force, so there is nothing to go back to.", note="Set the cell by hand.")
    services.policy_set(actor, host, [rows.site_in(live).cell(source, target)], reason=WHY)


def custom_restore(actor: Actor, host: Host, place: str, rule: str) -> CustomRule:
    """Wish again for an own rule that holds and was taken out: it is loaded, so it needs no trial.

    Raises Refused where the revision in force has no such rule.
    """
    live = rows.site_in(rows.tried_or_live(host).first()).custom
    was = next((c for c in live if (c.place, c.rule) == (place, rule)), None)
    if was is None:
        where = place if place in PLACES else "there"
        raise Refused(f"The revision in force has no such rule in {where}.", note="Add it anew.")
    wanted = own_rules.Wanted(place=was.place, rule=was.rule, reason=was.reason or WHY)
    return own_rules.custom_save(actor, host, wanted)


def said(error: Refused | ValidationError) -> str:
    """Why it could not be undone, for the top of the page."""
    if isinstance(error, Refused):
        return f"{error.message} {error.note}".strip()
    return " ".join(error.messages)
