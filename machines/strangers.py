"""What domains have that the panel does not know, so that nobody else gets it.

After the database was restored from yesterday, whoever was made since still runs with an address, a MAC and user ids.
"""

from __future__ import annotations

from typing import Any

from hosts.models import Host
from machines.models import Machine

UNKNOWN = "unknown"  # the key in a host's figures


def found(host: Host) -> list[dict[str, Any]]:
    """Each as the watcher last found it."""
    there = host.figures.get(UNKNOWN, ())
    if not there:
        return []
    known = {str(each) for each in Machine.objects.filter(host=host).values_list("uuid", flat=True)}
    return [one for one in there if one["uuid"] not in known]


def addresses(host: Host) -> dict[str, str]:
    """The name of the domain by the address it has, as far as the host knows that."""
    return {one["more"]["address"]: one["name"] for one in found(host) if one.get("more", {}).get("address")}


def cards(host: Host) -> set[str]:
    """MACs and names of interfaces."""
    return {card[key] for one in found(host) for card in one["cards"] for key in ("mac", "vif")}


def uid_bases(host: Host) -> set[int]:
    """First of each one's host uids."""
    return {one["more"]["uid_base"] for one in found(host) if one.get("more", {}).get("uid_base")}
