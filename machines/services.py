"""What one can do with machines and images. Every change of the host is a job; every deed stands in the log."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from django.db import transaction

from accounts.doors import check
from accounts.models import Owner, SSHKey
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused
from hosts.models import Host, Job
from hosts.services import job_create
from machines import changing, checks, create_sizes, modes, passwords, strangers
from machines.addresses import drawn, free_addresses
from machines.create_sizes import Sizes
from machines.models import Image, Machine, SiteDefaults, verbs_on
from machines.published import published
from machines.specs import LOCKED, ROOT_HASH, UID_BLOCK
from zones.models import Zone
from zones.services import dependents_of

__all__ = [
    "defaults_change",
    "free_addresses",
    "image_add",
    "machine_create",
    "machine_delete",
    "machine_key",
    "machine_password",
    "machine_reboot",
    "machine_start",
    "machine_stop",
]

FIRST_UID = 62 * UID_BLOCK  # 4,063,232: above what /etc/subuid gives to people
LAST_UID = 2**32 - 2 * UID_BLOCK


def machine_create(
    actor: Actor,
    *,
    host: Host,
    zone: Zone,
    owner: Owner,
    name: str,
    address: str,
    image: Image | None = None,
    ssh_keys: Sequence[SSHKey] = (),
    root_hash: str = "",
    stages: Mapping[str, str] | None = None,
    reason: str = "",
    approved: bool = False,
    **sizes: Unpack[Sizes],
) -> Job:
    """Save a new machine and ask for the job that makes it; what is None or left out comes from the site's defaults.

    `root_hash` is the crypt(3) hash of a one-time password (`passwords.one_time`); without one root is locked. `stages`
    says what is to become of each (`machines.modes`), before what the defaults say. Raises ValidationError by field,
    Refused, PermissionDenied.
    """
    check(actor, "machine.create")
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=host.pk)  # one at a time: uids and names are drawn here
        defaults = SiteDefaults.objects.select_related("image").filter(host=host).first() or SiteDefaults(host=host)
        machine = Machine(
            host=host,
            zone=zone,
            owner=owner,
            name=name,
            address=address,
            image=checks.image_or_default(image, defaults),
            uid_base=free_uid_base(host),
            **create_sizes.settled(host, defaults, sizes),
        )
        chosen = create_sizes.stages(defaults, stages or {})
        modes.read(chosen)
        chosen = {stage: mode for stage, mode in chosen.items() if mode != "force"}  # nothing was done yet
        machine.wanted = Machine.Wanted.RUNNING if modes.read(chosen).does("start") else Machine.Wanted.STOPPED
        checks.check_new(machine)
        machine.mac, machine.vif = drawn(host, machine.address)
        machine.full_clean()
        machine.save()
        machine.ssh_keys.set(ssh_keys)
        args = {**facts_of(machine), "password": password_name() if root_hash else LOCKED}
        if chosen:
            args["stages"] = chosen
        return job_create(
            actor,
            "machine.create",
            host=host,
            title=f"Create {machine.name} in {zone.name}",
            target=thing_of(machine),
            reason=reason,
            args=args,
            secrets={ROOT_HASH: root_hash} if root_hash else {},
            approved=approved,
        )


def machine_start(actor: Actor, machine: Machine, *, reason: str = "") -> Job:
    """Wish the machine running. Raises Refused, PermissionDenied."""
    return power(actor, "machine.start", machine, "Start", Machine.Wanted.RUNNING, reason)


def machine_stop(actor: Actor, machine: Machine, *, force: bool = False, reason: str = "") -> Job:
    """Wish the machine off: asked to power off, or with `force` ended at once. Raises Refused, PermissionDenied."""
    verb, args = ("Force off", {"force": True}) if force else ("Stop", None)
    return power(actor, "machine.stop", machine, verb, Machine.Wanted.STOPPED, reason, args)


def machine_reboot(actor: Actor, machine: Machine, *, reason: str = "") -> Job:
    """Have the machine powered off and started again. Raises Refused, PermissionDenied."""
    return power(actor, "machine.reboot", machine, "Restart", Machine.Wanted.RUNNING, reason)


def machine_key(actor: Actor, machine: Machine, keys: Sequence[SSHKey], *, reason: str = "") -> Job:
    """Let exactly `keys` in as root. Raises Refused, PermissionDenied."""
    check(actor, "machine.key", verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine = present(machine)
        _refuse_held(machine)
        machine.ssh_keys.set(keys)
        args = {"keys": [key.fingerprint for key in keys]}
        title = f"Set the SSH keys of {machine.name}"
        return ask(actor, "machine.key", machine, title, reason=reason, args=args)


def machine_password(actor: Actor, machine: Machine, *, reason: str = "") -> tuple[str, Job]:
    """A one-time root password, for the eyes of whoever asks, and the job that sets it. Raises Refused,
    PermissionDenied."""
    check(actor, "machine.password", verbs=lambda user: verbs_on(user, machine))
    password, root_hash = passwords.one_time()
    with transaction.atomic():
        machine = present(machine)
        _refuse_held(machine)
        title = f"Set a one-time root password on {machine.name}"
        args, hidden = {"password": password_name()}, {ROOT_HASH: root_hash}
        return password, ask(actor, "machine.password", machine, title, reason=reason, args=args, hidden=hidden)


def _refuse_held(machine: Machine) -> None:
    """Raises Refused where it is seen to run, and only lxc's host could write to its root meanwhile."""
    runs = machine.observed in (Machine.Observed.RUNNING, Machine.Observed.PAUSED)
    if runs and not machine.host.shared:
        raise Refused(
            f"{machine.name} runs: nobody else can write to its filesystem meanwhile.",
            note="Nothing was changed. Log in on its console, or stop it first, then set it.",
        )


def machine_delete(actor: Actor, machine: Machine, *, reason: str = "", approved: bool = False) -> Job:
    """Ask for the job that removes the machine, its volume and at last its row. Raises Refused, PermissionDenied."""
    check(actor, "machine.delete", verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine = Machine.objects.select_for_update().get(pk=machine.pk)
        refuse_needed(machine)
        changing.refuse_half_way(machine)
        Machine.objects.filter(pk=machine.pk).update(deleting=True)
        args = facts_of(machine)
        title = f"Delete {machine.name}"
        return ask(actor, "machine.delete", machine, title, reason=reason, args=args, approved=approved)


def image_add(
    actor: Actor, *, host: Host, name: str, archive: str, digest: str, family: str, min_root_mib: int
) -> Image:
    """Make an archive in the host's images folder known. Raises ValidationError by field, PermissionDenied."""
    check(actor, "image.add")
    with transaction.atomic():
        image = Image(host=host, name=name, archive=archive, digest=digest, family=family, min_root_mib=min_root_mib)
        checks.check_image(image)
        image.save()
        thing = Thing(kind="image", id=str(image.pk), text=image.name)
        log.record(actor, "image.add", thing, data={"archive": archive, "digest": digest, "family": family})
    return image


def defaults_change(actor: Actor, host: Host, **changes: Any) -> SiteDefaults:
    """What a new machine on `host` gets where nobody says otherwise: `changes` by field of SiteDefaults.

    Raises ValidationError by field, PermissionDenied.
    """
    check(actor, "defaults.change")
    with transaction.atomic():
        defaults = SiteDefaults.objects.filter(host=host).first() or SiteDefaults(host=host)
        was = create_sizes.in_words(defaults)
        for field in create_sizes.DEFAULTS:
            if field in changes:
                setattr(defaults, field, changes[field])
        checks.check_defaults(defaults)
        defaults.save()
        thing = Thing(kind="host", id=str(host.pk), text=host.name)
        log.record(actor, "defaults.change", thing, data={"was": was, "is": create_sizes.in_words(defaults)})
    return defaults


def refuse_needed(machine: Machine) -> None:
    """Raises Refused while a port leads to the machine: whoever gets its address next would answer there."""
    ports = [f"{p.name} ({p.proto} {p.span} of {p.address})" for p in published([machine])[machine.pk]]
    # Its snapshots go with it: the plan names each.
    names = [*ports, *(f"{row.kind} {row.name}" for row in dependents_of(machine) if row.kind != "snapshot")]
    if names:
        raise Refused(
            f"{machine.name} is still needed by {', '.join(names[:5])}.",
            note="Nothing was changed. Unpublish that and apply the firewall first, then delete the machine.",
        )


def thing_of(machine: Machine) -> Thing:
    """The machine as the log names it."""
    return Thing(kind="machine", id=str(machine.pk), text=machine.name)


def facts_of(machine: Machine) -> dict[str, Any]:
    """The machine in words that outlive its row."""
    return {
        "name": machine.name,
        "zone": machine.zone.name,
        "owner": machine.owner.name,
        "address": machine.address,
        "uuid": str(machine.uuid),
        "image": machine.image.name,
        "memory_mib": machine.memory_mib,
        "root_mib": machine.root_mib,
        "vcpus": machine.vcpus,
    }


def power(
    actor: Actor,
    kind: str,
    machine: Machine,
    verb: str,
    wanted: str,
    reason: str,
    args: dict[str, Any] | None = None,
) -> Job:
    """Save the wish for another state of the machine, and ask for the job that brings it. Raises Refused,
    PermissionDenied."""
    check(actor, kind, verbs=lambda user: verbs_on(user, machine))
    with transaction.atomic():
        machine = present(machine)
        Machine.objects.filter(pk=machine.pk).update(wanted=wanted)
        return ask(actor, kind, machine, f"{verb} {machine.name}", reason=reason, args=args)


def ask(
    actor: Actor,
    kind: str,
    machine: Machine,
    title: str,
    *,
    reason: str,
    args: dict[str, Any] | None = None,
    hidden: dict[str, str] | None = None,
    approved: bool = False,
) -> Job:
    """The job of that kind about the machine."""
    return job_create(
        actor,
        kind,
        host=machine.host,
        title=title,
        target=thing_of(machine),
        reason=reason,
        args=args,
        secrets=hidden,
        approved=approved,
    )


def present(machine: Machine) -> Machine:
    """The machine's row, locked. Raises Refused for one that was never finished or is being deleted."""
    row = Machine.objects.select_for_update(of=("self",)).select_related("host").get(pk=machine.pk)
    if row.deleting:
        raise Refused(f"{row.name} is being deleted.", note="Wait for the end of that job, or cancel it.")
    if row.built_at is None:
        raise Refused(f"{row.name} is not finished.", note="Go on with the job that creates it, or delete the machine.")
    changing.refuse_half_way(row)
    return row


def free_uid_base(host: Host) -> int:
    """The block after the highest one in use; once all are used up, the lowest gap."""
    there = Machine.objects.filter(host=host).values_list("uid_base", flat=True)
    taken = sorted({*there, *strangers.uid_bases(host)})
    base = max(FIRST_UID, *(t + 2 * UID_BLOCK - 1 for t in taken)) // UID_BLOCK * UID_BLOCK if taken else FIRST_UID
    if base <= LAST_UID:
        return base
    used = {t // UID_BLOCK for t in taken} | {(t + UID_BLOCK - 1) // UID_BLOCK for t in taken}
    return next(n for n in range(FIRST_UID // UID_BLOCK, LAST_UID // UID_BLOCK) if n not in used) * UID_BLOCK


def password_name() -> str:
    """What tells one one-time password from another; says nothing of it."""
    return secrets.token_hex(6)
