"""What the watcher books of a host's network: interfaces, routes, leases, addresses of ours.

Observation deletes no wish.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from django.utils import timezone

from dom0 import added, dnsmasq
from dom0.dnsmasq import Lease
from dom0.state import State
from hosts.models import Host
from zones.addresses import address_sync
from zones.models import NetworkSeen, Zone

MOST = 300  # interfaces, and routes, kept
LOOPBACK = "lo"


def observe(host: Host, state: State) -> None:
    """What the watcher's round does for this room; the row is written only where it changed."""
    found = {"links": _links(host, state), "routes": _routes(state), "added": _added(state), "leases": _leases(state)}
    seen = NetworkSeen.objects.filter(host=host).first()
    if seen is None or any(getattr(seen, field) != value for field, value in found.items()):
        NetworkSeen.objects.update_or_create(host=host, defaults={**found, "seen_at": timezone.now()})
    address_sync(host)


def leases_of(zone: Zone) -> dict[str, Lease]:
    """Who has which address in the zone, by MAC, as last seen."""
    seen = NetworkSeen.objects.filter(host=zone.host_id).first()
    rows = seen.leases.get(zone.name, ()) if seen else ()
    found = (Lease(address=address, mac=mac, name=name, expires=end) for address, mac, name, end in rows)
    return {lease.mac: lease for lease in found}


def ends(lease: Lease) -> datetime | None:
    """When a lease ends; None for never."""
    return datetime.fromtimestamp(lease.expires, tz=UTC) if lease.expires else None


def forget_link(zone: Zone) -> None:
    """A bridge that has just gone is no stranger's, however long the next round takes."""
    seen = NetworkSeen.objects.filter(host=zone.host_id).first()
    if seen and seen.links.pop(zone.bridge, None):
        seen.leases.pop(zone.name, None)
        seen.save(update_fields=["links", "leases"])


def _links(host: Host, state: State) -> dict[str, Any]:
    """Every interface but loopback and what hangs on a zone's bridge (machines)."""
    prefix = host.facts.get("bridge_prefix", "xen-br")
    kept = [link for link in state.links.values() if link.name != LOOPBACK and not link.master.startswith(prefix)]
    return {
        link.name: {"kind": link.kind, "mac": link.mac, "addresses": list(link.addresses)}
        for link in sorted(kept, key=lambda link: link.name)[:MOST]
    }


def _routes(state: State) -> list[list[str]]:
    found = [[route.to, route.way, route.device] for route in state.routes.values()]
    return sorted(found)[:MOST]


def _added(state: State) -> dict[str, str]:
    found = {}
    for path, text in state.files.items():
        if PurePath(path).parent.name == added.FOLDER:
            try:
                ours = added.read(text)
            except (ValueError, KeyError, TypeError):
                continue
            found[ours.address] = ours.nic
    return dict(sorted(found.items()))


def _leases(state: State) -> dict[str, Any]:
    return {
        PurePath(path).stem: sorted([one.address, one.mac, one.name, one.expires] for one in dnsmasq.leases(text))
        for path, text in sorted(state.files.items())
        if PurePath(path).suffix == dnsmasq.LEASES
    }
