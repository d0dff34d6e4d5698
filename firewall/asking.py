"""What a page asks about the ports of an external address."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from firewall import rows
from firewall.models import Proto, PublishedService
from firewall.ports import Taken, free_near, in_the_way
from hosts.models import Host
from zones.models import ExternalAddress


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The ports of one address: who has the one that is wanted, what is free near it, and all that is taken."""

    address: str
    proto: str
    wanted: tuple[int, int] | None
    busy: Taken | None
    free: tuple[str, ...]
    taken: tuple[Taken, ...]

    @property
    def span(self) -> str:
        """The ports that are wanted, as people write them."""
        return _span(*self.wanted) if self.wanted else ""


def ports(
    host: Host, *, external: ExternalAddress, proto: str, port: tuple[int, int] | None = None, but: str = ""
) -> Asked:
    """Look (3 queries). `but` names a service that is in nobody's way: the one that is changed."""
    taken = sorted(_taken(host, external, proto, but), key=lambda t: (t.first, t.last))
    busy = in_the_way(taken, *port) if port else None
    free: tuple[str, ...] = ()
    if port:
        size = port[1] - port[0]
        free = tuple(_span(first, first + size) for first in free_near(taken, port[0], size=size + 1))
    return Asked(
        address=external.address,
        proto=Proto(proto).label,
        wanted=port,
        busy=busy,
        free=free,
        taken=tuple(taken),
    )


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _taken(host: Host, external: ExternalAddress, proto: str, but: str) -> list[Taken]:
    """Services there, dom0's own included, and the admin's ssh."""
    names = rows.machine_names(host)
    here = Q(external=external) | Q(external=None, nic__in=("", external.nic))
    found = PublishedService.objects.filter(here, host=host).exclude(name=but)
    if proto != Proto.BOTH:
        found = found.filter(proto__in=(proto, Proto.BOTH))
    out = [
        Taken(first=first, last=last, by=name, to=names.get(target, target) if target else "dom0")
        for name, first, last, target in found.values_list("name", "port", "port_last", "target")
    ]
    ssh = host.facts.get("admin_ssh_port", 22)
    if proto != Proto.UDP and in_the_way(out, ssh, ssh) is None:
        out.append(Taken(first=ssh, last=ssh, by="the admin’s ssh", to="dom0"))
    return out
