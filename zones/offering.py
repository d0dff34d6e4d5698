"""What the panel's frame shows of this room: hits of the search box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import User
from ui.registry import Found
from zones.models import Zone

HITS = 10


def find(request: HttpRequest, words: str) -> Iterator[Found]:
    """Zones by name, bridge, domain, gateway or the address they go out by."""
    hit = Q(name__icontains=words) | Q(bridge__iexact=words) | Q(domain__icontains=words)
    # startswith compares text: PostgreSQL refuses to take just any word for an address.
    hit |= Q(gateway__startswith=words) | Q(external__address__startswith=words)
    zones = Zone.objects.visible_to(cast(User, request.user)).select_related("external")
    for zone in zones.filter(hit)[:HITS]:
        out = f"out as {zone.external.address}" if zone.external else "isolated"
        yield Found(
            title=zone.name,
            sub=f"zone, {zone.cidr} on {zone.bridge}, {out}",
            url=reverse("zones:detail", args=(zone.pk,)),
        )
