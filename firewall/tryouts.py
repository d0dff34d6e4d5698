"""What to try from another window while a revision is on trial. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from firewall.specs import BOTH, Service, Site
from firewall.words import ends

MOST = 3
WEB = {80: "http", 8080: "http", 443: "https", 8443: "https"}


@dataclass(frozen=True, kw_only=True)
class Tryout:
    """One thing to try: what it shows, and the command."""

    says: str
    command: str


def tryouts(before: Site, after: Site, user: str) -> tuple[Tryout, ...]:
    """The admin's own way in first, then some of what opened or moved, then some of what closed."""
    old, new = ends(before), ends(after)
    opened = [s for key, s in new.items() if s.target and (key not in old or _leads(old[key]) != _leads(s))]
    closed = [s for key, s in old.items() if s.target and key not in new]
    return (
        *_ssh(after, user),
        *(Tryout(says=f"Answers: {s.where}", command=_command(s)) for s in opened[:MOST]),
        *(Tryout(says=f"No answer any more: {s.where}", command=_command(s)) for s in closed[:MOST]),
    )


def _leads(service: Service) -> tuple[str | None, str]:
    return service.target, service.target_ports.span


def _ssh(site: Site, user: str) -> Iterator[Tryout]:
    taken = {s.external for s in site.services if s.target and s.ports.first <= site.ssh_port <= s.ports.last}
    own = next((a.ip for a in site.addresses if a.ip not in taken), "")
    if own:
        port = "" if site.ssh_port == 22 else f"-p {site.ssh_port} "
        yield Tryout(says="dom0 by ssh", command=f"ssh {port}{user}@{own}")


def _command(service: Service) -> str:
    address, port = service.external, service.port_first
    if service.proto in ("tcp", BOTH):
        scheme = WEB.get(port)
        usual = port in (80, 443)
        return (
            f"curl -I {scheme}://{address}{'' if usual else f':{port}'}/" if scheme else f"nc -vz -w 3 {address} {port}"
        )
    return f"nc -vzu -w 3 {address} {port}"
