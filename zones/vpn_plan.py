"""From the VPN's peers and the host's state to the steps that let them in or put them out. Pure.

One file a client in OpenVPN's client-config-dir. With `ccd-exclusive` nobody gets in without one, and `disable` keeps
a revoked name out whatever else is configured. OpenVPN reads the file when a client connects and at no other time, so
whoever is in has to be put out as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from dom0.errors import Refused
from dom0.plan import Draft, Plan
from dom0.state import State
from dom0.steps import Command, Drop, Hand, Put, Step, WriteFile

MARK = "# Fridu writes this file:"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,38}")
_FOLDER = re.compile(r"(/[A-Za-z0-9._-]+)+")


@dataclass(frozen=True, kw_only=True)
class PeerSpec:
    """A peer as the planner reads it; `folder` and `network` are the host file's, the rest is wished for.

    `shared`: revoked, and its address is another peer's now. `former`: revoked peers that had this one's address.
    """

    folder: str
    network: str
    own: str  # dom0's address in it
    name: str
    address: str
    revoked: bool = False
    shared: bool = False
    former: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises Refused for what must not become a file: it is root who writes it."""
        if not _FOLDER.fullmatch(self.folder) or ".." in self.folder:
            raise Refused(f"{self.folder!r} is no folder for OpenVPN's clients.", note="Mend vpn_clients in host.toml.")
        if not _NAME.fullmatch(self.name):
            raise Refused(f"{self.name!r} is no name of a VPN client.", note="Revoke it and add another.")
        inside = IPv4Network(self.network)
        if IPv4Address(self.address) not in inside or self.address in (
            str(inside.network_address),
            str(inside.broadcast_address),
            self.own,
        ):
            raise Refused(
                f"{self.address} of {self.name} is not a client's address in {self.network}.",
                note="Revoke it and add it anew with another address.",
            )

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"

    @property
    def key(self) -> str:
        """How the observed state names it."""
        return f"{self.name} {'-' if self.shared else self.address}"

    @property
    def text(self) -> str:
        """The client's file."""
        if self.revoked:
            return f"{MARK} {self.name} is revoked.\ndisable\n"
        mask = IPv4Network(self.network).netmask
        return f"{MARK} {self.name} has this address and no other.\nifconfig-push {self.address} {mask}\n"


def looked_at(peers: tuple[PeerSpec, ...]) -> dict[str, tuple[str, ...]]:
    """What the plan needs to see of the host, by room of the state."""
    former = (f"{name} -" for p in peers for name in p.former)
    return {"files": tuple(p.path for p in peers), "peers": tuple(dict.fromkeys((*(p.key for p in peers), *former)))}


def listed(peers: tuple[PeerSpec, ...], state: State) -> Plan:
    """Steps after which OpenVPN lets in exactly those of `peers` that aren't revoked, and none of the others is in.

    Raises Refused where a client's file is somebody else's.
    """
    draft = Draft(state)
    for peer in sorted(peers, key=lambda p: (not p.revoked, p.name)):
        if peer.revoked:
            _file(peer, draft)
            _out(peer, draft)
        else:
            _former(peer, draft)
            _file(peer, draft)
            _reopened(peer, draft)
    return draft.plan()


def _file(peer: PeerSpec, draft: Draft) -> None:
    found = draft.state.files.get(peer.path)
    if found == peer.text:
        draft.so("list", f"{peer.name} {'is kept out' if peer.revoked else f'is let in, as {peer.address}'}")
        return
    if found is not None and not found.startswith(MARK) and not peer.revoked:
        raise Refused(
            f"{peer.path} is there already, and Fridu did not write it.",
            note=f"Move it away on the host, then go on: mv {peer.path} /root/{peer.name}.ccd",
        )
    draft.do(
        Step(
            stage="list",
            title=f"Keep {peer.name} out" if peer.revoked else f"Let {peer.name} in, as {peer.address}",
            action=WriteFile(path=peer.path, content=peer.text),
            effect=(Put(room="files", key=peer.path, value=peer.text),),
            relies_on=(("files", peer.path),),
        )
    )


def _out(peer: PeerSpec, draft: Draft) -> None:
    if draft.state.peers.get(peer.key) != "open":
        draft.so("session", f"{peer.name} is not in")
        return
    draft.do(_put_out(*peer.key.split(" ")))


def _put_out(name: str, address: str) -> Step:
    return Step(
        stage="session",
        title=f"Put {name} out, if it is in",
        action=Hand(verb="vpn-out", args=(("name", name), ("address", address))),
        effect=(Drop(room="peers", key=f"{name} {address}"),),
    )


def _former(peer: PeerSpec, draft: Draft) -> None:
    """Who had the address before must be out, or its packets would pass for the new one's. Raises Refused."""
    for name in peer.former:
        found = draft.state.peers.get(f"{name} -")
        if found == "unknown":
            raise Refused(
                f"{name} had {peer.address} before {peer.name}, and OpenVPN does not say whether it is still in.",
                note="Start OpenVPN, or name its management socket in host.toml (vpn_management), then go on.",
            )
        if found == "open":
            draft.do(_put_out(name, "-"))


def _reopened(peer: PeerSpec, draft: Draft) -> None:
    if draft.state.peers.get(peer.key) == "shut":
        draft.do(
            Step(
                stage="session",
                title=f"Let {peer.address} speak again, which was shut for a revoked client",
                action=Command(argv=("ip", "route", "del", "blackhole", f"{peer.address}/32")),
                effect=(Drop(room="peers", key=peer.key),),
            )
        )
