"""What one can do with snapshots of a machine's root. Every change of the host is a job; every deed is in the log."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.doors import check
from accounts.models import User
from audit.log import Actor
from dom0.errors import Refused
from hosts.models import Job
from machines import changing, generations, services
from machines.models import Machine, Snapshot, verbs_on

LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,19}")
LEAST_ROOM_MIB = 16  # fewer changes than that are no use: an update of one package writes more
LONGEST = timedelta(days=3650)
_SPANS = {"h": "hours", "d": "days", "w": "weeks"}


def snapshot_take(
    actor: Actor,
    machine: Machine,
    label: str,
    *,
    expires: datetime | None = None,
    note: str = "",
    room_mib: int = 0,
    reason: str = "",
) -> Job:
    """Ask for the job that keeps the machine's root as it is then, under `label`, until `expires`.

    `room_mib` is what may change until a snapshot in a volume group is full, 0: all of it. Raises Refused,
    PermissionDenied.
    """
    check(actor, "snapshot.take", verbs=lambda user: verbs_on(user, machine))
    _refuse_unfit(machine, label, expires, room_mib)
    with transaction.atomic():
        machine = services.present(machine)
        there = list(machine.snapshots.all())
        same = next((kept for kept in there if kept.label == label), None)
        if same is not None and (same.taken_at or same.deleting):
            raise Refused(
                f"{machine.name} has a snapshot {label} already.", note=f"Nothing was changed. Use {label[:17]}-2."
            )
        if len(there) - (same is not None) >= settings.FRIDU_SNAPSHOTS:
            raise Refused(
                f"{machine.name} has {len(there)} snapshots; {settings.FRIDU_SNAPSHOTS} are allowed.",
                note="Nothing was changed. Delete one first.",
            )
        kept = same or Snapshot(machine=machine, label=label)
        kept.note, kept.expires, kept.size_mib = note.strip()[:200], expires, room_mib or machine.root_mib
        kept.image, kept.taken_by = machine.image, User.objects.get(username=actor.name)
        kept.save()
        args = {"snapshot": kept.pk, "label": label, "room_mib": room_mib if machine.volume_group else 0}
        args["expires"] = expires.isoformat() if expires else None
        title = f"Take the snapshot {label} of {machine.name}"
        return services.ask(actor, "snapshot.take", machine, title, reason=reason, args=args)


def snapshot_restore(actor: Actor, kept: Snapshot, *, reason: str = "", approved: bool = False) -> Job:
    """Ask for the job that makes the machine's root what it was when `kept` was taken; what came later is lost.

    Raises Refused, PermissionDenied.
    """
    machine = kept.machine
    check(actor, "snapshot.restore", verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine, kept = services.present(machine), _present(kept)
        # What a paused one has in memory fits no other root: it is started anew.
        off = machine.wanted == Machine.Wanted.STOPPED
        wanted = Machine.Wanted.STOPPED if off else Machine.Wanted.RUNNING
        name, domain = changing.called_at(machine, kept.taken_at) if kept.taken_at else ("", "")
        args = {"snapshot": kept.pk, "label": kept.label, "called": {"name": name, "domain": domain}}
        args |= generations.wish(machine, kept.image, wanted)
        title = f"Restore {machine.name} to its snapshot {kept.label}"
        return services.ask(actor, "snapshot.restore", machine, title, reason=reason, args=args, approved=approved)


def snapshot_delete(actor: Actor, kept: Snapshot, *, reason: str = "", approved: bool = False) -> Job:
    """Ask for the job that removes the snapshot and at last its row. Raises Refused, PermissionDenied."""
    machine = kept.machine
    check(actor, "snapshot.delete", verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine = services.present(machine)
        Snapshot.objects.filter(pk=kept.pk).update(deleting=True)
        args = {"snapshot": kept.pk, "label": kept.label}
        title = f"Delete the snapshot {kept.label} of {machine.name}"
        return services.ask(actor, "snapshot.delete", machine, title, reason=reason, args=args, approved=approved)


def _present(kept: Snapshot) -> Snapshot:
    row = Snapshot.objects.select_for_update().select_related("image").filter(pk=kept.pk).first()
    if row is None or row.deleting or row.taken_at is None:
        is_so = "is no more" if row is None else "is being deleted" if row.deleting else "was never finished"
        raise Refused(f"The snapshot {kept.label} {is_so}.", note="Nothing was changed. Choose another one.")
    return row


def _refuse_unfit(machine: Machine, label: str, expires: datetime | None, room_mib: int) -> None:
    if not LABEL.fullmatch(label) or label == "growing":
        raise Refused(
            f"“{label[:80]}” can't be a snapshot's name.",
            note="Use up to 20 small letters, digits and hyphens, such as before-update.",
        )
    now = timezone.now()
    if expires is not None and not now < expires < now + LONGEST:
        raise Refused(
            "A snapshot expires later than now, and within ten years.", note="Say for example 7d, for 7 days."
        )
    if room_mib and room_mib < LEAST_ROOM_MIB:
        raise Refused(f"Room for {room_mib} MB of changes is too little.", note=f"Use {LEAST_ROOM_MIB} MB or more.")


def expiry(text: str) -> datetime | None:
    """When something ends that was to last "7d", "12h", "2w", or until "2027-01-31"; None for "" and "never".

    Raises Refused.
    """
    if text in ("", "never", "none"):
        return None
    if found := re.fullmatch(r"([0-9]{1,4})([hdw])", text):
        return timezone.now() + timedelta(**{_SPANS[found[2]]: int(found[1])})
    try:
        day = datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        raise Refused(
            f"“{text[:40]}” is no time Fridu can read.", note="Say 7d, 12h, 2w, a day such as 2027-01-31, or never."
        ) from None
    return timezone.make_aware(day) + timedelta(days=1)
