"""What is published of machines, for the machines' own pages."""

from __future__ import annotations

from collections.abc import Sequence

from firewall import specs
from firewall.models import PublishedService, Revision
from firewall.rows import service_of
from machines.models import Machine
from machines.published import Published


def of_machines(machines: Sequence[Machine], certain: bool) -> dict[int, list[Published]]:
    """By machine, the services that lead to its address.

    One query for any number of machines; `certain` takes a second one and says which are in force.
    """
    here = {(m.host_id, m.address): m for m in machines}
    services = PublishedService.objects.filter(
        host__in={host for host, _ in here}, target__in={address for _, address in here}
    ).select_related("external", "zone__external")
    in_force = _in_force({host for host, _ in here}) if certain else None
    found: dict[int, list[Published]] = {}
    for service in services:
        machine = here.get((service.host_id, service.target or ""))
        if machine is not None:
            found.setdefault(machine.pk, []).append(_published(service, in_force))
    return found


def _in_force(hosts: set[int]) -> set[specs.Service]:
    live = Revision.objects.filter(host__in=hosts, state=Revision.State.LIVE).values_list("site", flat=True)
    return {service for site in live for service in specs.from_dict(site).services}


def _published(service: PublishedService, in_force: set[specs.Service] | None) -> Published:
    # Without an address of its own it answers on all of them; the zone's is the one people know.
    external = service.external or (service.zone.external if service.zone else None)
    return Published(
        name=service.name,
        address=external.address if external else "",
        proto=service.proto,
        port=service.port,
        port_last=service.port_last,
        target_port=service.target_port,
        live=in_force is None or service_of(service) in in_force,
    )
