"""Changing a machine that exists. The wish lies with its job; the row has it once the job has ended well."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.doors import check
from accounts.models import Owner, SSHKey
from audit.log import Actor
from dom0.errors import Refused
from hosts.models import Job
from machines import change_checks, change_words, following, services
from machines.addresses import free_addresses
from machines.change_words import Difference
from machines.changing import KIND
from machines.models import Grant, Machine, verbs_on
from machines.people import keys_of_people
from zones.models import Zone
from zones.moving import Moved

CHANGEABLE = (
    *("name", "zone", "address", "owner", "memory_mib", "vcpus", "root_mib", "swap_mib", "log_mib"),
    *("autostart", "start_order", "on_crash", "boot", "kernel"),
)
ROWS: dict[str, type[Zone] | type[Owner]] = {"zone": Zone, "owner": Owner}  # named by their number in a job
GROWN = ("root_mib", "log_mib")  # only ever larger


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a change would change: the machine's own rows, what moves along, what else is to be known."""

    after: Machine
    rows: tuple[Difference, ...]
    moved: tuple[Moved, ...] = ()
    keys: tuple[SSHKey, ...] = ()  # of the former owner's people: they stay inside
    grants: tuple[Grant, ...] = ()  # they end

    @property
    def digest(self) -> str:
        """Names exactly this list: who has seen another one looks again."""
        rows = [f"{row.field}\0{row.before}\0{row.after}" for row in self.rows]
        moved = [f"{row.kind}\0{row.name}\0{row.before}\0{row.after}" for row in self.moved]
        more = [str(key.pk) for key in self.keys] + [f"g{grant.pk}" for grant in self.grants]
        return hashlib.sha256("\n".join((*rows, *moved, *more)).encode()).hexdigest()[:16]


def machine_change(
    actor: Actor, machine: Machine, *, seen: str = "", reason: str = "", approved: bool = False, **wish: Any
) -> Job:
    """Change what of CHANGEABLE is named and ask for the job that makes it so; another zone without an address gets
    its lowest free one.

    `seen` is the digest of the preview the person looked at: Refused where it would read otherwise by now. Raises
    ValidationError by field, Refused, PermissionDenied, TypeError for a wish nobody knows.
    """
    check(actor, KIND, verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine = _whole(services.present(machine))
        _refuse_in_rescue(machine)
        found = preview(machine, **wish)
        if seen and found.digest != seen:
            raise Refused("What would change has changed since you looked.", note="Look at it again, then go on.")
        return _asked(actor, machine, found, reason=reason, approved=approved)


def _refuse_in_rescue(machine: Machine) -> None:
    if machine.rescue_id is not None:
        raise Refused(
            f"{machine.name} runs a rescue image, its own volumes beside it.",
            note=f"Nothing was changed. End that first: fridu rescue {machine.name} --end.",
        )


def preview(machine: Machine, *, back: bool = False, **wish: Any) -> Preview:
    """What the wish would change. Raises ValidationError by field, TypeError.

    `back`: it goes back to where it was.
    """
    if unknown := sorted(set(wish) - set(CHANGEABLE)):
        raise TypeError(f"a machine has no {unknown[0]} to change")
    after = _with(machine, wish)
    if after.zone_id != machine.zone_id and not wish.get("address"):
        after.address = next(iter(free_addresses(after.zone, 1)), machine.address)
    changed = frozenset(field for field in CHANGEABLE if _value(machine, field) != _value(after, field))
    change_checks.check(machine, after, changed, back=back)
    move = following.move_of(machine, after)
    given = "owner" in changed
    return Preview(
        after=after,
        rows=tuple(change_words.difference(machine, after, field) for field in CHANGEABLE if field in changed),
        moved=following.preview(move).rows if move else (),
        keys=tuple(keys_of_people(machine, machine.owner, but=after.owner)) if given else (),
        grants=tuple(machine.grants.select_related("user")) if given else (),
    )


def wished(machine: Machine, values: Mapping[str, Any]) -> Machine:
    """The machine with a job's values on it; not saved. Raises Refused where a zone or owner is no more."""
    after = copy.copy(machine)
    for field, value in values.items():
        if field in ROWS:
            row = ROWS[field].objects.filter(pk=value).first()
            if row is None:
                raise Refused(f"The {field} of {machine.name}'s change is no more.", note="Ask for another change.")
            value = row
        setattr(after, field, value)
    return after


def machine_changed(machine: Machine, job: Job) -> None:
    """Make the job's change the machine's row, with all that follows it, in the transaction that ends the job."""
    change = job.args.get("change", {})
    after = wished(machine, change)
    fields = {f"{field}_id" if field in ROWS else field: value for field, value in change.items()}
    if fields:
        Machine.objects.filter(pk=machine.pk).update(**fields)
    if move := following.move_of(machine, after):
        following.follow(move)
    if "owner" in change and change["owner"] != machine.owner_id:
        machine.grants.all().delete()
        Grant.objects.bulk_create(Grant(machine=machine, **grant) for grant in job.args.get("grants", ()))


def undo(actor: Actor, job: Job, machine: Machine) -> Job:
    """Ask for the job that goes back. One that ended well: a change to the former values, sizes that only grow left
    out. One that stopped: from wherever its parts are. Raises Refused, PermissionDenied."""
    check(actor, KIND, verbs=lambda user: verbs_on(user, machine))
    change, former, why = job.args["change"], job.args["former"], f"undo of job {job.pk}"
    if job.state in (Job.State.DONE, Job.State.NOTHING):
        return _undo_ended(actor, job, machine, why)
    with transaction.atomic():
        machine = Machine.objects.select_for_update(of=("self",)).select_related("host").get(pk=machine.pk)
        args = {
            **{"change": former, "former": change, "back": True},
            **{"before": job.args["after"], "after": job.args["before"]},
        }
        return services.ask(actor, KIND, machine, f"Undo: {job.title}", reason=why, args=args)


def _undo_ended(actor: Actor, job: Job, machine: Machine, why: str) -> Job:
    change, former = job.args["change"], job.args["former"]
    back = {field: value for field, value in former.items() if not (field in GROWN and value < change[field])}
    if not back:
        raise Refused(
            f"A volume that has grown stays as large: {job.title} can't be undone.",
            note="Nothing was changed. What is on it is as it was, with more room.",
        )
    with transaction.atomic():
        machine = _whole(services.present(machine))
        there = wished(machine, back)
        try:
            found = preview(machine, back=True, **{field: getattr(there, field) for field in back})
        except ValidationError as error:
            raise Refused(" ".join(error.messages), note="Nothing was changed. Ask for another change.") from error
        grants = job.args.get("former_grants", [])
        return _asked(actor, machine, found, reason=why, back=True, grants=grants)


def _asked(
    actor: Actor,
    machine: Machine,
    found: Preview,
    *,
    reason: str,
    approved: bool = False,
    back: bool = False,
    grants: list[dict[str, Any]] | None = None,
) -> Job:
    fields = [row.field for row in found.rows]
    args: dict[str, Any] = {
        "change": {field: _value(found.after, field) for field in fields},
        "former": {field: _value(machine, field) for field in fields},
        "before": {row.label: row.before for row in found.rows},
        "after": {row.label: row.after for row in found.rows},
        **({"back": True} if back else {}),
        **({"grants": grants} if grants else {}),
        **({"former_grants": [_kept(grant) for grant in found.grants]} if found.grants else {}),
    }
    title = change_words.title(machine, found.after, fields)
    return services.ask(actor, KIND, machine, title, reason=reason, args=args, approved=approved)


def _kept(grant: Grant) -> dict[str, Any]:
    expires = grant.expires.isoformat() if grant.expires else None
    return {"user_id": grant.user_id, "verbs": grant.verbs, "expires": expires}


def _whole(machine: Machine) -> Machine:
    """With the rows its change is told by."""
    return Machine.objects.select_related("host", "zone", "owner", "image").get(pk=machine.pk)


def _with(machine: Machine, wish: Mapping[str, Any]) -> Machine:
    after = copy.copy(machine)
    for field, value in wish.items():
        if not (field == "address" and not value):
            setattr(after, field, value)
    return after


def _value(machine: Machine, field: str) -> Any:
    """As a job keeps it."""
    return getattr(machine, f"{field}_id" if field in ROWS else field)
