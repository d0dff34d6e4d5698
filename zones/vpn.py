"""What one can do with the admin VPN's peers: add, revoke, bring OpenVPN's list in line. The host's side is a job."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts.doors import check
from accounts.models import User
from audit import log
from audit.log import Actor, Thing
from dom0.errors import Refused
from dom0.state import State
from hosts.models import Host, Job
from hosts.services import job_create
from zones.models import VpnPeer

WHOLE_LIST = "vpn"  # kind of target of the job that writes every peer of a host
ELSEWHERE = "/etc/openvpn/clients"  # in the lines to type, where the host file names no folder
SAME_NAME = "A certificate of that name stays shut out. Use another name, such as {}."


@dataclass(frozen=True, kw_only=True)
class Vpn:
    """A host's admin VPN as its worker reported it; `clients` is the folder Fridu may write, or ""."""

    interface: str
    address: str
    network: str
    clients: str
    management: str

    @property
    def there(self) -> bool:
        return bool(self.interface and self.network)

    @property
    def mask(self) -> str:
        return str(IPv4Network(self.network).netmask)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A peer with what the host says of it: `state` a mark of the panel, `says` its word, `origin` where it is in from.

    `since` is when it came in; None where it is not, or where OpenVPN doesn't say.
    """

    peer: VpnPeer
    state: str
    says: str
    origin: str = ""
    since: datetime | None = None


def vpn_of(host: Host) -> Vpn:
    """The admin VPN of a host's facts; one that is not there has no network."""
    facts = host.facts.get("vpn") or {}
    return Vpn(**{name: str(facts.get(name) or "") for name in Vpn.__dataclass_fields__})


def thing_of(peer: VpnPeer) -> Thing:
    """The peer as the audit log names it."""
    return Thing(kind="vpn peer", id=str(peer.pk), text=peer.name)


def observe(host: Host, state: State) -> None:
    """What the watcher's round does for the admin VPN: OpenVPN's list, and who is in."""
    host.figures = {**host.figures, "vpn": dict(state.vpn)}
    host.save(update_fields=["figures"])


def peer_add(
    actor: Actor, host: Host, *, user: User, name: str, address: str = "", reason: str = ""
) -> tuple[VpnPeer, Job | None]:
    """Give a user a way into the admin VPN; without `address` the next free one. No job where the host's list isn't
    Fridu's to write.

    Raises ValidationError by field, Refused where the host has no admin VPN, PermissionDenied.
    """
    check(actor, "vpn.change")
    vpn = vpn_of(host)
    if not vpn.there:
        raise Refused(
            f"{host} has no admin VPN.", note="Name its vpn_interface, vpn_address and vpn_network in host.toml."
        )
    with transaction.atomic():
        Host.objects.select_for_update().get(pk=host.pk)  # two at once must not get the same address
        peer = VpnPeer(host=host, user=user, name=name, address=address or free_address(host))
        _check(peer, vpn)
        peer.save()
        return peer, _ask(actor, peer, thing_of(peer), f"Add {peer.name} to the admin VPN", reason)


def peer_revoke(actor: Actor, peer: VpnPeer, *, reason: str = "") -> Job | None:
    """Shut a peer out, at once and for ever; its name is never given again. None where there is no list to write.

    Raises Refused for one that is revoked already, PermissionDenied.
    """
    check(actor, "vpn.change")
    with transaction.atomic():
        if not VpnPeer.objects.filter(pk=peer.pk, revoked=None).update(revoked=timezone.now()):
            raise Refused(f"{peer.name} is revoked already.", note="Bring OpenVPN's list in line if it still gets in.")
        peer.refresh_from_db()
        # A target of its own: the job that added the peer may still be open, and a revocation waits for nobody.
        thing = Thing(kind="vpn revocation", id=str(peer.pk), text=peer.name)
        return _ask(actor, peer, thing, f"Revoke {peer.name}", reason)


def user_deactivated(actor: Actor, user: User) -> None:
    """Revoke the peers of a user who was shut out, in the same transaction (accounts.services.on_deactivated)."""
    for peer in VpnPeer.objects.filter(user=user, revoked=None):
        peer_revoke(actor, peer, reason=f"{user} was deactivated")


def list_write(actor: Actor, host: Host, *, reason: str = "") -> Job:
    """Bring OpenVPN's list in line with all peers of the host. Raises Refused, PermissionDenied."""
    check(actor, "vpn.change")
    if not vpn_of(host).clients:
        raise Refused(
            f"{host}'s host.toml names no vpn_clients, so its list is not Fridu's to write.",
            note='Add for example vpn_clients = "/etc/openvpn/fridu-clients", or type the lines on the page Admin VPN.',
        )
    thing = Thing(kind=WHOLE_LIST, id=str(host.pk), text=host.name)
    with transaction.atomic():
        title = f"Write the admin VPN’s list on {host}"
        return job_create(actor, "vpn.change", host=host, title=title, target=thing, reason=reason)


def _ask(actor: Actor, peer: VpnPeer, target: Thing, title: str, reason: str) -> Job | None:
    args = {"user": peer.user.get_username(), "address": peer.address, "revoked": peer.revoked is not None}
    if vpn_of(peer.host).clients:
        return job_create(actor, "vpn.change", host=peer.host, title=title, target=target, reason=reason, args=args)
    log.record(actor, "vpn.change", thing_of(peer), why=reason, data=args)
    return None


def _check(peer: VpnPeer, vpn: Vpn) -> None:
    """Everything that can be said before the host is asked. Raises ValidationError by field."""
    errors: dict[str, list[str]] = {}
    for field, sentence in (*_name(peer), *_address(peer, vpn), *_user(peer)):
        errors.setdefault(field, [sentence])
    try:
        peer.full_clean(validate_constraints=False)
    except ValidationError as error:
        errors = {**error.message_dict, **errors}
    if errors:
        raise ValidationError(errors)


def _name(peer: VpnPeer) -> Iterator[tuple[str, str]]:
    other = VpnPeer.objects.filter(host=peer.host, name=peer.name).select_related("user").first()
    if other is None:
        return
    free = _free_name(peer)
    if other.revoked:
        yield "name", f"{peer.name} was revoked on {other.revoked:%Y-%m-%d}. {SAME_NAME.format(free)}"
    else:
        yield "name", f"{peer.name} is a peer of {other.user} already. Use another name, such as {free}."


def _free_name(peer: VpnPeer) -> str:
    taken = set(VpnPeer.objects.filter(host=peer.host).values_list("name", flat=True))
    return next(name for n in range(2, len(taken) + 3) if (name := f"{peer.name[:36]}-{n}") not in taken)


def _user(peer: VpnPeer) -> Iterator[tuple[str, str]]:
    if not peer.user.is_active:
        yield "user", f"{peer.user} is not let in to the panel either. Let {peer.user} in first."


def _address(peer: VpnPeer, vpn: Vpn) -> Iterator[tuple[str, str]]:
    free, network = free_address(peer.host), IPv4Network(vpn.network)
    instead = f"Use {free}." if free else "No address is free."
    try:
        wanted = IPv4Address(peer.address)
    except ValueError:
        if peer.address:
            yield "address", f"That is not an IPv4 address. {instead}"
        else:
            yield (
                "address",
                f"Every address of {network} is taken, or was. Give a revoked peer’s, or widen vpn_network.",
            )
        return
    if wanted not in network:
        yield "address", f"{wanted} is not in the admin VPN ({network}). {instead}"
    elif wanted in (network.network_address, network.broadcast_address):
        yield "address", f"{wanted} is the network's own or its broadcast address. {instead}"
    elif str(wanted) == vpn.address:
        yield "address", f"{wanted} is the host's own address in the VPN. {instead}"
    for other in VpnPeer.objects.filter(host=peer.host, address=peer.address).order_by("-revoked"):
        if other.revoked is None:
            yield "address", f"{other.name} has {wanted}. {instead}"
        elif not vpn.management:
            yield (
                "address",
                f"{other.name} had {wanted} and may still be in: OpenVPN can't be told to put it out "
                f"(vpn_management in host.toml). {instead}",
            )


def free_address(host: Host) -> str:
    """The address to offer for the next peer: the first nobody has, or had; "" for none left."""
    vpn = vpn_of(host)
    if not vpn.there:
        return ""
    taken = {vpn.address, *VpnPeer.objects.filter(host=host).values_list("address", flat=True)}
    first, *others = (str(address) for address in IPv4Network(vpn.network).hosts())
    # The first one last: where a network has a gateway, most people look for it there.
    return next((address for address in (*others, first) if address not in taken), "")


def standings(host: Host, peers: Iterable[VpnPeer]) -> list[Standing]:
    """Each peer with what the host's last report says of it."""
    report: dict[str, Any] = host.figures.get("vpn") or {}
    return [_standing(host, peer, vpn_of(host), report) for peer in peers]


def _standing(host: Host, peer: VpnPeer, vpn: Vpn, report: dict[str, Any]) -> Standing:
    changed = peer.revoked or peer.created
    if host.seen_at is None or host.seen_at <= changed:
        return Standing(peer=peer, state="busy", says="just revoked" if peer.revoked else "just added")
    session = (report.get("clients") or {}).get(peer.name)
    listed = (report.get("listed") or {}).get(peer.name)
    if session:
        mark, says = ("bad", "revoked, still in") if peer.revoked else ("run", "in")
        since = datetime.fromtimestamp(session["since"], tz=UTC)
        return Standing(peer=peer, state=mark, says=says, origin=session["origin"].rpartition(":")[0], since=since)
    if not vpn.clients:
        return Standing(peer=peer, state="off", says="revoked" if peer.revoked else "added here")
    if listed != ("disabled" if peer.revoked else peer.address):
        return Standing(peer=peer, state="wait", says="the host’s list differs")
    if peer.revoked:
        return Standing(peer=peer, state="off", says="revoked")
    return Standing(peer=peer, state="off", says="not in" if report.get("clients") is not None else "may come in")


def strangers(host: Host, peers: Iterable[VpnPeer]) -> dict[str, str]:
    """Names the host's list has and Fridu hasn't, with the address each gets ("" for none)."""
    ours = {peer.name for peer in peers}
    found: dict[str, str] = (host.figures.get("vpn") or {}).get("listed") or {}
    return {name: says for name, says in found.items() if name not in ours}


def lines(vpn: Vpn, peer: VpnPeer) -> str:
    """What to type on a host whose list is not Fridu's to write."""
    says = "disable" if peer.revoked else f"ifconfig-push {peer.address} {vpn.mask}"
    return f"echo {shlex.quote(says)} > {ELSEWHERE}/{peer.name}"
