"""Machines on a host that the panel does not know, and what differs of those it knows."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from netaddr import IPAddress

from accounts.doors import check
from accounts.models import Owner
from audit import log
from audit.log import Actor
from dom0.errors import Refused
from hosts.models import Host, Job
from hosts.services import job_create
from machines import addresses, checks, services
from machines.models import Image, Machine
from machines.strangers import found
from zones.models import Zone
from zones.seen import leases_of

AS_FOUND = "as-found"
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """A domain of a host's that no machine of the panel is; as the watcher last found it."""

    host: Host
    name: str
    uuid: str
    kind: str
    running: bool
    ours: bool
    memory_mib: int
    vcpus: int
    cards: tuple[dict[str, str], ...]
    volumes: tuple[str, ...]
    more: dict[str, Any]

    @property
    def mac(self) -> str:
        return self.cards[0]["mac"] if self.cards else ""

    @property
    def vif(self) -> str:
        return self.cards[0]["vif"] if self.cards else ""

    @property
    def bridge(self) -> str:
        return self.cards[0]["bridge"] if self.cards else ""

    @property
    def why_not(self) -> str:
        """Why it can't be adopted as it is; "" where it can."""
        if len(self.cards) != 1:
            return f"It has {len(self.cards) or 'no'} network interfaces; a machine here has exactly one."
        if not _MAC.fullmatch(self.mac):
            return "Its interface has no MAC in its definition."
        if self.ours and not self.more.get("root"):
            return "Its volume is not there, is not marked as its own, or was never finished."
        if self.ours and image_of(self) is None:
            digest = str(self.more["root"]).partition(":")[0]
            return f"The panel knows no image {digest[:12]}…, of which its root was made. Add that image first."
        return ""


def strangers(host: Host) -> list[Stranger]:
    """All of a host's, by name."""
    return sorted((_stranger(host, one) for one in found(host)), key=lambda one: one.name.lower())


def stranger_of(host: Host, of: uuid.UUID | str) -> Stranger | None:
    return next((one for one in strangers(host) if one.uuid == str(of)), None)


def _stranger(host: Host, one: dict[str, Any]) -> Stranger:
    plain = {key: one[key] for key in ("name", "uuid", "kind", "running", "ours", "memory_mib", "vcpus")}
    return Stranger(
        host=host, cards=tuple(one["cards"]), volumes=tuple(one["volumes"]), more=one.get("more", {}), **plain
    )


def image_of(stranger: Stranger) -> Image | None:
    """The image its root was made of, by the mark on its volume."""
    digest = str(stranger.more.get("root", "")).partition(":")[0]
    return Image.objects.filter(host=stranger.host, digest=digest).first() if digest else None


def likely(stranger: Stranger) -> tuple[Zone | None, str]:
    """The zone it is in, by its bridge, else by its address; and its address, by what dom0 keeps, or its lease."""
    zones = list(Zone.objects.filter(host=stranger.host))
    zone = next((zone for zone in zones if zone.bridge == stranger.bridge), None)
    address = str(stranger.more.get("address", ""))
    for each in [zone] if zone else zones:
        lease = leases_of(each).get(stranger.mac)
        if lease and not address:
            address = lease.address
    if zone is None and address:
        zone = next((each for each in zones if IPAddress(address) in each.network), None)
    return zone, address


def machine_adopt(
    actor: Actor,
    stranger: Stranger,
    *,
    zone: Zone,
    owner: Owner,
    address: str,
    reason: str = "",
    approved: bool = False,
) -> Job:
    """Save the machine as it was found, and ask for the job that makes the host's firewall and DHCP know it.

    Raises ValidationError by field, Refused, PermissionDenied.
    """
    check(actor, "machine.adopt")
    if stranger.why_not:
        raise Refused(f"{stranger.name} can't be adopted as it is.", note=stranger.why_not)
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=stranger.host.pk)
        machine = _row(stranger, host, zone, owner, address)
        _check(machine)
        machine.save()
        return job_create(
            actor,
            "machine.adopt",
            host=host,
            title=f"Adopt {machine.name} in {zone.name}",
            target=services.thing_of(machine),
            reason=reason,
            args={**services.facts_of(machine), "made_by_fridu": stranger.ours},
            approved=approved,
        )


def _row(stranger: Stranger, host: Host, zone: Zone, owner: Owner, address: str) -> Machine:
    more = stranger.more
    image = image_of(stranger) if stranger.ours else _as_found(host)
    state = Machine.Wanted.RUNNING if stranger.running else Machine.Wanted.STOPPED
    machine = Machine(
        host=host,
        zone=zone,
        owner=owner,
        name=stranger.name,
        address=address,
        mac=stranger.mac,
        vif=stranger.vif,
        uuid=uuid.UUID(stranger.uuid),
        uid_base=more.get("uid_base") or services.free_uid_base(host),
        vcpus=stranger.vcpus,
        memory_mib=max(16, stranger.memory_mib),
        root_mib=max(16, more.get("root_mib", 16)),
        swap_mib=more.get("swap_mib", 0),
        log_mib=more.get("log_mib", 0),
        volume_group=more.get("volume_group", ""),
        root_generation=int(str(more.get("root", ":1")).partition(":")[2] or 1),
        wanted=state,
        adopted=True,
    )
    if image is not None:
        machine.image = image
    if not machine.vif:
        machine.vif = addresses.drawn(host, address)[1]
    return machine


def _as_found(host: Host) -> Image:
    """What stands for the root of machines something else made: nothing could be made of it."""
    image, _ = Image.objects.get_or_create(
        host=host, name=AS_FOUND, defaults={"archive": AS_FOUND, "family": Image.Family.OTHER}
    )
    return image


def _check(machine: Machine) -> None:
    says = {
        "name": checks.name_complaint(machine),
        "zone": checks.zone_complaint(machine),
        "address": addresses.complaint(machine.zone, machine.address, name=machine.name),
    }
    if errors := {field: [text] for field, text in says.items() if text}:
        raise ValidationError(errors)
    machine.full_clean()


def drift_restore(actor: Actor, machine: Machine, *, digest: str, reason: str = "", approved: bool = False) -> Job:
    """Ask for the plan that goes back to the wish from exactly the difference called `digest`.

    Raises Refused, PermissionDenied.
    """
    check(actor, "machine.drift")
    with transaction.atomic():
        machine = _as_seen(machine, digest)
        args = {"restore": _said(machine)}
        title = f"Put {machine.name} back as wished"
        return services.ask(actor, "machine.drift", machine, title, reason=reason, args=args, approved=approved)


def drift_adopt(actor: Actor, machine: Machine, *, digest: str, reason: str = "", approved: bool = False) -> Job:
    """Wish what was found, where a wish can say it, and ask for the plan of what is left.

    Exactly the difference called `digest` is adopted: a newer one somebody did not look at is not.
    Raises ValidationError, Refused, PermissionDenied.
    """
    check(actor, "machine.drift")
    with transaction.atomic():
        machine = _as_seen(machine, digest)
        wishes: dict[str, Any] = {}
        for item in machine.drift.get("items", ()):
            wishes |= item["adopt"]
        if not wishes:
            raise Refused(
                f"Nothing of what differs on {machine.name} can be a wish.",
                note="Nothing was changed. Restore it, or ignore it until it changes again.",
            )
        was = {column: getattr(machine, column) for column in wishes}
        for column, value in wishes.items():
            setattr(machine, column, value)
        machine.full_clean()
        machine.save(update_fields=list(wishes))
        args = {"was": was, "is": wishes}
        title = f"Take over what was found of {machine.name}"
        return services.ask(actor, "machine.drift", machine, title, reason=reason, args=args, approved=approved)


def drift_ignore(actor: Actor, machine: Machine, *, digest: str, reason: str = "") -> None:
    """Leave exactly the difference called `digest` alone, until something else differs. Raises Refused."""
    check(actor, "machine.drift")
    with transaction.atomic():
        machine = _as_seen(machine, digest)
        if not digest:
            raise Refused(f"Nothing differs of {machine.name}.", note="Nothing was changed.")
        Machine.objects.filter(pk=machine.pk).update(ignored_drift=digest)
        log.record(actor, "machine.drift", services.thing_of(machine), why=reason, data={"ignored": _said(machine)})


def _as_seen(machine: Machine, digest: str) -> Machine:
    """The machine's row, locked. Raises Refused where something else differs by now, or nothing does any more."""
    machine = services.present(machine)
    if machine.drift.get("digest", "") != digest:
        raise Refused(
            f"What differs of {machine.name} has changed since you saw it.",
            note="Nothing was changed. Look at it again, then decide.",
        )
    return machine


def _said(machine: Machine) -> list[str]:
    return [f"{i['what']}: {i['wished']} wished, {i['found']} found" for i in machine.drift.get("items", ())]
