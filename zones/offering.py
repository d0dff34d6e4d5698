"""What the panel's frame shows of this room: hits of the search box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse

from accounts.access import may
from accounts.models import User
from ui import words
from ui.registry import Attention, Found
from zones.addresses import missing
from zones.models import ExternalAddress, Zone

HITS = 10


def needs(request: HttpRequest) -> Iterator[Attention]:
    """External addresses that are not on their card: what is published there answers nobody, and nothing says so."""
    if not may(cast(User, request.user), "zone.view"):
        return
    gone = missing(ExternalAddress.objects.all())
    if not gone:
        return
    for row in ExternalAddress.objects.filter(pk__in=gone).select_related("host").prefetch_related("zones", "services"):
        used, ports = [zone.name for zone in row.zones.all()], len(row.services.all())
        through = f"{', '.join(used)} goes out by it. " if used else ""
        lost = f"{words.count(ports, 'published service')} can't be reached. " if ports else ""
        yield Attention(
            state="bad" if used or ports else "miss",
            title=f"{row.address} is not on {row.nic} of {row.host}",
            text=f"{through}{lost}Nothing else fails visibly.",
            url=reverse("zones:addresses"),
        )


def find(request: HttpRequest, typed: str) -> Iterator[Found]:
    """Zones by name, bridge, domain, gateway or the address they go out by."""
    hit = Q(name__icontains=typed) | Q(bridge__iexact=typed) | Q(domain__icontains=typed)
    # startswith compares text: PostgreSQL refuses to take just any word for an address.
    hit |= Q(gateway__startswith=typed) | Q(external__address__startswith=typed)
    zones = Zone.objects.visible_to(cast(User, request.user)).select_related("external")
    for zone in zones.filter(hit)[:HITS]:
        out = f"out as {zone.external.address}" if zone.external else "isolated"
        yield Found(
            title=zone.name,
            sub=f"zone, {zone.cidr} on {zone.bridge}, {out}",
            url=reverse("zones:detail", args=(zone.pk,)),
        )
