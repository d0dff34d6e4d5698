"""`fridu vpn`: the admin VPN's peers."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied, ValidationError

from accounts.access import may
from accounts.models import User
from dom0.errors import Refused
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from hosts.models import Host, Job
from zones import vpn
from zones.models import VpnPeer

ADD = ("user", "address")


def vpn_(call: Call, host: Host) -> int:
    """List the peers, or add, revoke one, or write OpenVPN's whole list."""
    what = call.typed.words[0] if call.typed.words else ""
    if call.typed.pairs and what != "add":
        raise Misunderstood(f"vpn {what}".rstrip() + f" takes no {next(iter(call.typed.pairs))}=…")
    if what == "":
        return _list(call, host)
    if what == "add":
        return _add(call, host)
    if what == "revoke":
        return _followed(call, host, vpn.peer_revoke(call.actor, _peer(call, host), reason=call.typed.reason))
    if what == "write":
        return follow(call, vpn.list_write(call.actor, host, reason=call.typed.reason))
    raise Misunderstood(f"vpn does not know {what}. It takes add, revoke, write, or nothing more.")


def _list(call: Call, host: Host) -> int:
    if not may(call.user, "vpn.view"):
        raise PermissionDenied(f"{call.user} may not do that (vpn.view).")
    found = vpn.vpn_of(host)
    call.say(f"{found.interface} {found.network} on {host}" if found.there else f"{host} has no admin VPN.")
    for each in vpn.standings(host, VpnPeer.objects.filter(host=host).select_related("user")):
        came = f" from {each.origin}" if each.origin else ""
        call.say(
            f"  {each.peer.address:<15}  {each.peer.name:<24} {each.peer.user.get_username():<16} {each.says}{came}"
        )
    return 0


def _add(call: Call, host: Host) -> int:
    unknown = sorted(set(call.typed.pairs) - set(ADD))
    if unknown:
        raise Misunderstood(f"vpn add knows no {unknown[0]}. It takes {', '.join(ADD)}.")
    given = call.typed.pairs
    name = _word(call, "a peer's name, for example: fridu vpn add fulup-laptop user=fulup")
    user = User.objects.filter(username=given["user"]).first() if given.get("user") else call.user
    if user is None:
        raise Refused(f"The panel has no user called {given['user']}.", note="The People page lists them.")
    wish = {"name": name, "address": given.get("address", "")}
    try:
        peer, job = vpn.peer_add(call.actor, host, user=user, **wish, reason=call.typed.reason)
    except ValidationError as error:
        raise Refused(" ".join(error.messages), note="Nothing was added.") from error
    call.say(f"{peer.name} of {peer.user} gets {peer.address}.")
    return _followed(call, host, job)


def _followed(call: Call, host: Host, job: Job | None) -> int:
    """To the job's end; where the host's list is not Fridu's to write, what to type there."""
    if job is not None:
        return follow(call, job)
    name = _word(call, "a peer's name")
    peer = VpnPeer.objects.get(host=host, name=name)
    call.say(f"Fridu may not write OpenVPN's list on {host} (vpn_clients in host.toml). Type there:")
    call.say(f"  {vpn.lines(vpn.vpn_of(host), peer)}")
    return 0


def _peer(call: Call, host: Host) -> VpnPeer:
    name = _word(call, "a peer's name, for example: fridu vpn revoke fulup-laptop")
    peer = VpnPeer.objects.filter(host=host, name=name).first() if may(call.user, "vpn.view") else None
    if peer is None:
        raise PermissionDenied(f"There is no peer called {name}.")
    return peer


def _word(call: Call, what: str) -> str:
    return call.word(1, what)
