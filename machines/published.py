"""Where machines learn what is published of them: a higher room registers its answer here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from machines.models import Machine


@dataclass(frozen=True, kw_only=True)
class Published:
    """One port of an external address that leads to a machine; not `live`: wished, not applied yet."""

    name: str
    address: str
    proto: str  # tcp, udp, or "tcp and udp"
    port: int
    port_last: int
    target_port: int
    live: bool = True

    @property
    def span(self) -> str:
        """The port outside, or the range: "80", "7000–7010"."""
        return self._span(self.port)

    @property
    def inside(self) -> str:
        """The port inside, or the range."""
        return self._span(self.target_port)

    @property
    def ports(self) -> str:
        """As a list says it: "80", "udp 5060", "7000–7010"."""
        return self.span if self.proto == "tcp" else f"{self.proto} {self.span}"

    def _span(self, first: int) -> str:
        last = first + self.port_last - self.port
        return f"{first}" if first == last else f"{first}–{last}"


Provider = Callable[[Sequence[Machine]], dict[int, list[Published]]]
_providers: list[Provider] = []


def register(provider: Provider) -> None:
    """Have `provider(machines)` say what is published, by machine, in one query for any number of them."""
    _providers.append(provider)


def published(machines: Sequence[Machine]) -> dict[int, list[Published]]:
    """What is published of each of `machines`, in port order; nothing where nobody registered."""
    found: dict[int, list[Published]] = {machine.pk: [] for machine in machines}
    for provider in _providers:
        for pk, services in provider(machines).items():
            found[pk].extend(services)
    return {pk: sorted(services, key=lambda s: (s.address, s.proto, s.port)) for pk, services in found.items()}


@dataclass(frozen=True, kw_only=True)
class Login:
    """How root gets in: by the published port from anywhere, by the zone's address from the admin VPN."""

    public: str
    private: str


def login(machine: Machine, services: Sequence[Published]) -> Login:
    """The command lines to log in with; `public` is "" where no port leads to the machine's port 22."""
    ways = [s for s in services if s.proto != "udp" and s.target_port == 22 and s.live]
    # A port like its own (22) reads best; else the lowest.
    way = min(ways, key=lambda s: (s.port != 22, s.port), default=None)
    public = "" if way is None else f"ssh root@{way.address}" + ("" if way.port == 22 else f" -p {way.port}")
    return Login(public=public, private=f"ssh root@{machine.address}")
