"""The admin VPN's job kind: rows become specs, the planner does the rest."""

from __future__ import annotations

from dom0.errors import Refused
from dom0.host import HostConfig
from dom0.plan import Plan
from dom0.probe import Scope
from dom0.state import State
from hosts.kinds import Kind, register
from hosts.models import Job
from zones import vpn_plan
from zones.models import VpnPeer
from zones.vpn import WHOLE_LIST
from zones.vpn_plan import PeerSpec


def register_kinds() -> None:
    """Make vpn.change known; called once at start-up."""
    register(
        Kind(
            name="vpn.change",
            queue="net",
            # The operator who adds or revokes a peer has just said so, and a revocation waits for nobody.
            approval="none",
            scope=_scope,
            plan=_plan,
            locks=_locks,
        )
    )


def _specs(job: Job, config: HostConfig) -> tuple[PeerSpec, ...]:
    if not config.vpn_clients or not config.vpn_network:
        raise Refused(
            f"host.toml of {config.name} names no vpn_clients or vpn_network.",
            note="With them OpenVPN's list is Fridu's to write; docs/install.md shows how.",
        )
    peers = VpnPeer.objects.filter(host=job.host_id)
    given = set(peers.filter(revoked=None).values_list("address", flat=True))
    former: dict[str, list[str]] = {}
    for name, address in peers.exclude(revoked=None).values_list("name", "address"):
        former.setdefault(address, []).append(name)
    wanted = peers if job.target_kind == WHOLE_LIST else peers.filter(pk=job.target_id)
    return tuple(
        PeerSpec(
            folder=config.vpn_clients.rstrip("/"),
            network=config.vpn_network,
            own=config.vpn_address,
            name=peer.name,
            address=peer.address,
            revoked=peer.revoked is not None,
            shared=peer.revoked is not None and peer.address in given,
            former=() if peer.revoked else tuple(former.get(peer.address, ())),
        )
        for peer in wanted
    )


def _scope(job: Job, config: HostConfig) -> Scope:
    return Scope(**vpn_plan.looked_at(_specs(job, config)))  # type: ignore[arg-type]


def _plan(job: Job, state: State, config: HostConfig) -> Plan:
    return vpn_plan.listed(_specs(job, config), state)


def _locks(job: Job) -> tuple[str, ...]:
    return ("vpn",)
