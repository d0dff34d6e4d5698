"""`fridu snapshot` and `fridu reinstall`: what is kept of a machine's root, and making it anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from django.utils import timezone

from dom0.errors import Refused
from fridu_site.cli import call as typed
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from machines import passwords, reinstall_services, snapshot_services
from machines.models import Image, Machine, Snapshot
from machines.snapshot_services import expiry

Find = Callable[[Call, str], Machine]
TAKE = ("expires", "note", "room")


def snapshot_(call: Call, find: Find) -> int:
    """take, list, restore or delete NAME [LABEL]."""
    what = call.word(0, "take, list, restore or delete, for example: fridu snapshot take WEB-Dom before-update")
    if what not in ("take", "list", "restore", "delete"):
        raise Misunderstood(f"snapshot does not know {what}. It takes take, list, restore and delete.")
    _demand_known(call, what, TAKE if what == "take" else ())
    # From here on the machine's name is the first word.
    call = replace(call, typed=replace(call.typed, verb=f"snapshot {what}", words=call.typed.words[1:]))
    if what == "list":
        return _list(call, find(call, "snapshot.view"))
    machine = find(call, f"snapshot.{what}")
    label = call.word(1, f"the snapshot's name, for example: fridu snapshot {what} {machine.name} before-update")
    return _take(call, machine, label) if what == "take" else _with(call, machine, what, label)


def _take(call: Call, machine: Machine, label: str) -> int:
    given = call.typed.pairs
    job = snapshot_services.snapshot_take(
        call.actor,
        machine,
        label,
        expires=expiry(given.get("expires", "")),
        note=given.get("note", ""),
        room_mib=typed.mib(given["room"], "room") if "room" in given else 0,
        reason=call.typed.reason,
    )
    return follow(call, job)


def _with(call: Call, machine: Machine, what: str, label: str) -> int:
    kept = Snapshot.objects.select_related("machine", "image").filter(machine=machine, label=label).first()
    if kept is None:
        there = ", ".join(machine.snapshots.values_list("label", flat=True))
        raise Refused(f"{machine.name} has no snapshot {label}.", note=f"It has {there}." if there else "It has none.")
    service = snapshot_services.snapshot_restore if what == "restore" else snapshot_services.snapshot_delete
    return follow(call, service(call.actor, kept, reason=call.typed.reason, approved=call.typed.yes))


def _list(call: Call, machine: Machine) -> int:
    for kept in machine.snapshots.select_related("image"):
        when = f"{timezone.localtime(kept.taken_at):%Y-%m-%d %H:%M}" if kept.taken_at else "not taken yet"
        ends = f", until {timezone.localtime(kept.expires):%Y-%m-%d %H:%M}" if kept.expires else ""
        full = f", {kept.percent:.0f} % full" if machine.volume_group else ""
        note = f"  {kept.note}" if kept.note else ""
        call.say(f"  {kept.label:<20}  {when:<16}  {kept.size_mib} MB{full}{ends}{note}")
    if not machine.snapshots.exists():
        call.say(f"{machine.name} has no snapshot. Take one: fridu snapshot take {machine.name} before-update")
    return 0


def reinstall(call: Call, machine: Machine) -> int:
    """Make its root anew, from its image or image=; with password=yes root gets a one-time one, shown here once."""
    _demand_known(call, "reinstall", ("image", "password"))
    given = call.typed.pairs
    wanted = given.get("password", "no")
    if wanted not in ("yes", "no"):
        raise Misunderstood(f"password={wanted} is neither yes nor no.")
    password, root_hash = passwords.one_time() if wanted == "yes" else ("", "")
    job = reinstall_services.machine_reinstall(
        call.actor,
        machine,
        image=_image(machine, given["image"]) if given.get("image") else None,
        root_hash=root_hash,
        reason=call.typed.reason,
        approved=call.typed.yes,
    )
    code = follow(call, job)
    if password and code == 0:
        call.say(f"Its one-time root password, shown here only: {password}")
    return code


def _image(machine: Machine, name: str) -> Image:
    found = Image.objects.filter(host=machine.host_id, name=name).first()
    if found is None:
        there = ", ".join(Image.objects.filter(host=machine.host_id).exclude(digest="").values_list("name", flat=True))
        raise Refused(f"{machine.host} has no image called {name}.", note=f"It has {there}." if there else "Add one.")
    return found


def _demand_known(call: Call, what: str, keys: tuple[str, ...]) -> None:
    unknown = sorted(set(call.typed.pairs) - set(keys))
    if unknown:
        raise Misunderstood(
            f"{what} knows no {unknown[0]}. It takes {', '.join(keys)}." if keys else f"{what} takes no {unknown[0]}=…"
        )
