"""External addresses Fridu itself puts on a card, where the host file allows it, and keeps there at boot.

What the host file names is root's own to bring up. A card is only ever given or relieved of a /32 of this list:
it is never renamed, enslaved, taken down or flushed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from dom0 import announce, files, openvpn, runner
from dom0.added import FOLDER, Added, path, read
from dom0.errors import Refused
from dom0.host import HostConfig


def permitted(config: HostConfig, added: Added) -> bool:
    """Whether the host file lets us put it there."""
    nic = next((nic for nic in config.nics if nic.name == added.nic), None)
    return nic is not None and any(IPv4Address(added.address) in IPv4Network(n) for n in nic.may_add)


def kept(config: HostConfig) -> tuple[Added, ...]:
    """Every address of ours, by address; a file that can't be read is none."""
    found = []
    for file in sorted(Path(config.state, FOLDER).glob("[!.]*.json")):
        try:
            found.append(read(file.read_text()))
        except (ValueError, KeyError, TypeError):
            continue
    return tuple(found)


def put(config: HostConfig, added: Added) -> None:
    """Put it on its card, where it is not there yet, and tell the neighbours; who knew it elsewhere would go on
    sending there for minutes. Raises Refused where the host file does not allow it.
    """
    _refuse_forbidden(config, added)
    if not _there(added):
        runner.run(("ip", "address", "add", f"{added.address}/32", "dev", added.nic))
    announce.announce(added)


def _refuse_forbidden(config: HostConfig, added: Added) -> None:
    if not permitted(config, added):
        raise Refused(
            f"{added.nic} may not get {added.address} from Fridu: the host file does not allow it.",
            note=f"Allow it there: may_add under [[nic]] {added.nic}. Or by hand: {added.by_hand}.",
        )


def _there(added: Added) -> bool:
    found = _asked("address", "show", "dev", added.nic)
    return added.address in [each.get("local") for link in found for each in link.get("addr_info", ())]


def _refuse_anothers(config: HostConfig, added: Added) -> None:
    """An address that somebody needs where he is. On the card it would be dom0's own, and he out of its reach.

    Raises Refused for a gateway, a broadcast address, who talks to dom0 from there now, and who answers a ping.
    """
    who = ""
    if added.address in _gateways():
        who = "the gateway of this host: nothing would leave it any more, your own connection included"
    elif added.address in _broadcasts():
        who = "an address of the whole link, nobody's own"
    elif added.address in _talking(config):
        who = "where somebody talks to this host from, right now: he would be locked out"
    elif _answers(added):
        who = "somebody else's: a ping there is answered"
    if who:
        raise Refused(
            f"{added.address} is {who}.",
            note=f"Nothing was put on {added.nic}. Name an address your provider routes to this host.",
        )


def _gateways() -> set[str]:
    routes = _asked("route", "show", "table", "all")
    return {hop["gateway"] for route in routes for hop in (route, *route.get("nexthops", ())) if "gateway" in hop}


def _broadcasts() -> set[str]:
    return {route["dst"] for route in _asked("route", "show", "table", "local", "type", "broadcast")}


def _talking(config: HostConfig) -> set[str]:
    """Who has a connection to dom0 itself open, and who is in over the VPN, by the address he comes from."""
    lines = runner.run(("ss", "-H", "-t", "-n", "state", "established")).stdout.splitlines()
    ends = [line.split()[3] for line in lines if len(line.split()) > 3]
    ends += [session.origin for session in (openvpn.sessions(config) or {}).values()]
    return {end.rpartition(":")[0].strip("[]").removeprefix("::ffff:") for end in ends}


def _answers(added: Added) -> bool:
    """Whether a ping comes back. Not whether ARP is answered: providers' routers answer that for everybody."""
    return runner.run(("ping", "-c", "1", "-W", "1", added.address), ok_codes=(0, 1, 2, 127)).code == 0


def _asked(*words: str) -> list[dict[str, Any]]:
    found = json.loads(runner.run(("ip", "-json", "-4", *words), ok_codes=(0, 2)).stdout or "[]")
    return [each for each in found if each]


def _added(args: Mapping[str, str]) -> Added:
    try:
        return Added(nic=args["nic"], address=str(IPv4Address(args["address"])))
    except AddressValueError as error:
        raise Refused(f"{args['address']} is not an IPv4 address.") from error


def address_add(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """Put an external address on a card and keep it there at boot."""
    added = _added(args)
    _refuse_forbidden(config, added)
    if not _there(added):
        _refuse_anothers(config, added)
    put(config, added)
    files.write_atomic(path(config.state, added.address), added.text)
    return f"{added.address} is on {added.nic}"


def address_remove(config: HostConfig, args: Mapping[str, str], stdin: str) -> str:
    """Take an address of ours off its card and out of the next boot. Raises Refused for one that is not ours."""
    added = _added(args)
    text = files.read_text(path(config.state, added.address))
    if text is None or read(text) != added:
        raise Refused(
            f"{added.address} was not put on {added.nic} by Fridu.", note="Whoever put it there takes it off."
        )
    runner.run(("ip", "address", "del", f"{added.address}/32", "dev", added.nic), ok_codes=(0, 2))
    # Last: while the file is there, the address is ours and this can be done again.
    files.remove(path(config.state, added.address))
    return f"{added.address} is off {added.nic}"


VERBS: dict[str, Callable[[HostConfig, Mapping[str, str], str], str]] = {
    "address-add": address_add,
    "address-remove": address_remove,
}
