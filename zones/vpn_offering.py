"""What other pages show of the admin VPN: a user's peers, on the user's page and on one's own account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from django.db.models import Q
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse

from accounts.access import may
from accounts.models import User
from hosts.models import Host
from ui.registry import Attention, Found
from zones import vpn
from zones.models import VpnPeer

HITS = 10


def of_user(request: HttpRequest, user: User) -> str:
    """The peers of `user`, for operators and for the user alone."""
    viewer = cast(User, request.user)
    own = viewer.pk == user.pk
    if not own and not may(viewer, "vpn.view"):
        return ""
    peers = VpnPeer.objects.filter(user=user).select_related("host")
    if own:
        peers = peers.filter(revoked=None)
    shown = [(peer, vpn.standings(peer.host, [peer])[0]) for peer in peers]
    context = {"peers": shown, "own": own, "links": may(viewer, "vpn.view")}
    return render_to_string("zones/_vpn_of_user.html", context, request) if shown else ""


def needs(request: HttpRequest) -> Iterator[Attention]:
    """Revoked peers that are in all the same."""
    if not may(cast(User, request.user), "vpn.view"):
        return
    for host in Host.objects.all():
        names = (host.figures.get("vpn") or {}).get("clients") or ()
        for peer in VpnPeer.objects.filter(host=host, name__in=names).exclude(revoked=None) if names else ():
            yield Attention(
                state="bad",
                title=f"{peer.name} is revoked and still in the admin VPN",
                text=f"OpenVPN on {host} says so. Write its list again.",
                url=reverse("zones:vpn"),
            )


def find(request: HttpRequest, words: str) -> Iterator[Found]:
    """Peers by name, address or user."""
    if not may(cast(User, request.user), "vpn.view"):
        return
    hit = Q(name__icontains=words) | Q(address__iexact=words) | Q(user__username__iexact=words)
    for peer in VpnPeer.objects.filter(hit).select_related("user")[:HITS]:
        says = "revoked peer" if peer.revoked else "peer"
        yield Found(
            title=peer.name, sub=f"{says} of the admin VPN, {peer.address}, of {peer.user}", url=reverse("zones:vpn")
        )
