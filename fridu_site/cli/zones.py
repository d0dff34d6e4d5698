"""`fridu zones`, `fridu zone create|change|apply|delete`, the seed's CreateZone, and `fridu address`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.core.exceptions import PermissionDenied, ValidationError
from netaddr import AddrFormatError, IPAddress, IPNetwork

from accounts.access import may
from dom0.errors import Refused
from fridu_site.cli.call import Call, Misunderstood
from fridu_site.cli.follow import follow
from hosts.models import Host, Job
from zones import addresses, rates, seen, services
from zones.dependents import goes_along
from zones.forms import lease_range
from zones.models import ExternalAddress, Zone
from zones.moving import Preview

T = TypeVar("T")
KEYS = ("net", "bridge", "external", "domain", "in", "out", "lease")
SEED = ("NAME", "NIC", "EXT", "BR", "INT", "MASK")
SAMPLE = "fridu zone create name=zBrendan net=10.10.4.0/24 external=none"
# What a field of the services is called here.
CALLED = {
    "gateway": "net",
    "prefix": "net",
    "lease_first": "lease",
    "lease_last": "lease",
    "in_kbit": "in",
    "out_kbit": "out",
}


def zones(call: Call) -> int:
    """Every zone one may see, with what matters."""
    for zone in Zone.objects.visible_to(call.user).select_related("host", "external"):
        out = zone.external.address if zone.external else "isolated"
        ceilings = [f"{rates.say(rate)} {way}" for rate, way in ((zone.in_kbit, "in"), (zone.out_kbit, "out")) if rate]
        more = f"  {', '.join(ceilings)}" if ceilings else ""
        state = "" if zone.applied_at else "  not on the host yet"
        call.say(f"{zone.name:<15}  {zone.cidr:<18}  {zone.bridge:<15}  {out:<15}  {zone.domain}{more}{state}".rstrip())
    return 0


def zone_(call: Call, host: Callable[[], Host]) -> int:
    """create, change, apply, delete or show one zone."""
    what = call.word(0, "create, change, apply, delete or show")
    verbs = {"change": _change, "apply": _apply, "delete": _delete, "show": _show}
    if what == "create":
        _demand(call, "zone.create")
        return follow(call, _said(lambda: _create(call, host(), call.typed.pairs)))
    if what not in verbs:
        raise Misunderstood(f"zone does not know {what}. It takes create, {', '.join(verbs)}.")
    if call.typed.pairs and what != "change":
        raise Misunderstood(f"zone {what} takes no {next(iter(call.typed.pairs))}=…")
    return verbs[what](call, _zone(call, "zone.view" if what == "show" else f"zone.{what.replace('apply', 'change')}"))


def create_zone(call: Call, host: Callable[[], Host]) -> int:
    """The seed's line, as it stands in a rule file. Its NIC follows from the address; MASK is the netmask."""
    _demand(call, "zone.create")
    given = call.typed.pairs
    _known("CreateZone", given, SEED)
    for key in ("NAME", "INT", "MASK"):
        if not given.get(key):
            raise Misunderstood(f"CreateZone needs {key}=… as a rule file has it. Or say: {SAMPLE}")
    pairs = {
        "name": given["NAME"],
        "net": f"{given['INT']}/{given['MASK']}",
        "bridge": given.get("BR", ""),
        "external": given.get("EXT", "none"),
    }
    at = host()
    card = next((row.nic for row in ExternalAddress.objects.filter(host=at, address=pairs["external"])), "none")
    if given.get("NIC", card) != card:
        raise Refused(
            f"{pairs['external']} is on {card}, not on {given['NIC']}.", note=f"Say NIC={card}, or leave it out."
        )
    return follow(call, _said(lambda: _create(call, at, pairs)))


def address_(call: Call, host: Callable[[], Host]) -> int:
    """List the external addresses, put one on a card, or take one off."""
    what = call.typed.words[0] if call.typed.words else ""
    if what == "":
        _demand(call, "zone.view")
        return _addresses(call)
    address = call.word(1, "an address, for example: fridu address add 198.51.100.7 nic=eth0")
    if what == "add":
        _demand(call, "address.add")
        _known("address add", call.typed.pairs, ("nic",))
        at = host()
        nic = call.typed.pairs.get("nic") or next((card["name"] for card in at.facts.get("nics", ())), "")
        more: dict[str, Any] = {"reason": call.typed.reason, "approved": call.typed.yes}
        return follow(call, _said(lambda: addresses.address_add(call.actor, host=at, nic=nic, address=address, **more)))
    if what != "remove":
        raise Misunderstood(f"address does not know {what}. It takes add, remove, or nothing more.")
    _demand(call, "address.remove")
    row = ExternalAddress.objects.select_related("host").filter(address=_ip(address)).first()
    if row is None:
        raise Refused(f"No host has the external address {address}.", note="fridu address lists them.")
    job = addresses.address_remove(call.actor, row, reason=call.typed.reason, approved=call.typed.yes)
    return follow(call, job)


def _addresses(call: Call) -> int:
    rows = list(ExternalAddress.objects.select_related("host").prefetch_related("zones"))
    gone = addresses.missing(rows)
    for row in rows:
        used = ", ".join(zone.name for zone in row.zones.all()) or "free"
        missing = "  NOT ON ITS CARD" if row.pk in gone else ""
        call.say(f"{row.address:<15}  {row.nic:<15}  {row.host}  {used}{missing}")
    return 0


def _create(call: Call, host: Host, pairs: Mapping[str, str]) -> Job:
    _known("zone create", pairs, ("name", *KEYS))
    for key in ("name", "net"):
        if not pairs.get(key):
            raise Misunderstood(f"zone create needs {key}=…, for example: {SAMPLE}")
    wish = _wish(host, {key: value for key, value in pairs.items() if key != "name"})
    return services.zone_create(
        call.actor, host=host, name=pairs["name"], **wish, reason=call.typed.reason, approved=call.typed.yes
    )


def _change(call: Call, zone: Zone) -> int:
    """Change what is named; another subnet shows all that moves before the job is asked for."""
    _known("zone change", call.typed.pairs, KEYS)
    if not call.typed.pairs:
        raise Misunderstood(f"zone change needs what to change: {', '.join(f'{key}=…' for key in KEYS)}")
    wish = _said(lambda: _wish(zone.host, call.typed.pairs))
    preview = _said(lambda: services.zone_preview(zone, **wish))
    if preview:
        _tell(call, preview)
    more: dict[str, Any] = {
        "seen": preview.digest if preview else "",
        "reason": call.typed.reason,
        "approved": call.typed.yes,
    }
    return follow(call, _said(lambda: services.zone_change(call.actor, zone, **wish, **more)))


def _tell(call: Call, preview: Preview) -> None:
    call.say(f"{preview.move.zone.name} moves from {preview.move.old} to {preview.move.new}:")
    for row in preview.rows:
        there = f"CONFLICT: {row.conflict}" if row.conflict else "stays" if row.after == row.before else row.after
        note = f"  ({row.note})" if row.note else ""
        call.say(f"  {row.kind:<17}  {row.name:<20}  {row.before} -> {there}{note}")


def _apply(call: Call, zone: Zone) -> int:
    return follow(call, services.zone_apply(call.actor, zone, reason=call.typed.reason, approved=call.typed.yes))


def _delete(call: Call, zone: Zone) -> int:
    for each in goes_along(zone):
        call.say(f"  with it ends: {each.kind} {each.name}")
    return follow(call, services.zone_delete(call.actor, zone, reason=call.typed.reason, approved=call.typed.yes))


def _show(call: Call, zone: Zone) -> int:
    """Who is expected at which address, and who has which lease."""
    leases = seen.leases_of(zone)
    call.say(f"{zone.name}  {zone.cidr} on {zone.bridge} of {zone.host}")
    for machine in (*zone.machines.all(), *zone.expected.all()):
        lease = leases.pop(machine.mac, None)
        has = "no lease" if lease is None else "has it" if lease.address == machine.address else f"has {lease.address}"
        call.say(f"  {machine.address:<15}  {machine.name:<31}  {has}")
    for lease in sorted(leases.values(), key=lambda each: each.address):
        call.say(f"  {lease.address:<15}  a stranger, {lease.mac}, calls itself {lease.name or 'nothing'}")
    return 0


def _wish(host: Host, pairs: Mapping[str, str]) -> dict[str, Any]:
    """What was typed, by the services' names. Raises Misunderstood, Refused, ValidationError."""
    wish: dict[str, Any] = {key: pairs[key] for key in ("bridge", "domain") if key in pairs}
    if wish.get("domain") == "none":
        wish["domain"] = ""
    if "net" in pairs:
        wish["gateway"], wish["prefix"] = _net(pairs["net"])
    if "external" in pairs:
        wish["external"] = _external(host, pairs["external"])
    for key, field in (("in", "in_kbit"), ("out", "out_kbit")):
        if key in pairs:
            try:
                wish[field] = rates.kbit(pairs[key])
            except ValueError as error:
                raise Misunderstood(f"{key}={pairs[key]}: {error}") from error
    if "lease" in pairs:
        wish["lease_first"], wish["lease_last"] = lease_range(pairs["lease"])
    return wish


def _net(text: str) -> tuple[str, int]:
    """Gateway and prefix of "10.10.4.0/24" (its first address) or "10.10.4.254/24" (that one)."""
    try:
        if "/" not in text:
            raise AddrFormatError(text)
        net = IPNetwork(text, version=4)
    except (AddrFormatError, ValueError) as error:
        raise Misunderstood(f"net={text} is no subnet. Say for example net=10.10.4.0/24") from error
    gateway = net.ip if net.ip != net.network or net.size < 4 else net[1]
    return str(gateway), net.prefixlen


def _external(host: Host, text: str) -> ExternalAddress | None:
    if text.lower() in ("", "none"):
        return None
    row = ExternalAddress.objects.filter(host=host, address=_ip(text)).first()
    if row is None:
        there = ", ".join(ExternalAddress.objects.filter(host=host).values_list("address", flat=True)) or "none"
        note = f"It has {there}. Add one: fridu address add {text} nic=eth0. Isolated: external=none."
        raise Refused(f"{host} has no external address {text}.", note=note)
    return row


def _ip(text: str) -> str:
    try:
        return str(IPAddress(text, version=4))
    except (AddrFormatError, ValueError) as error:
        raise Misunderstood(f"{text} is no IPv4 address. One looks like 198.51.100.7.") from error


def _said(do: Callable[[], T]) -> T:
    """`do`, its objections by the names they have here. Raises Refused."""
    try:
        return do()
    except ValidationError as error:
        fields = getattr(error, "message_dict", {"": error.messages})
        said = [f"{CALLED.get(field, field)}: {' '.join(texts)}".removeprefix(": ") for field, texts in fields.items()]
        raise Refused("\n      ".join(said), note="Nothing was created or changed.") from error


def _zone(call: Call, action: str) -> Zone:
    name = call.word(1, "a zone's name, for example: fridu zone change zFulup in=10M")
    named = {"name": name, **({"host__name": call.typed.host} if call.typed.host else {})}
    found = list(Zone.objects.visible_to(call.user, action).select_related("host", "external").filter(**named)[:2])
    if len(found) == 2:
        raise Refused(f"Several hosts have a zone called {name}.", note="Say which with --host NAME.")
    if not found:
        raise PermissionDenied(f"There is no zone called {name}.")
    return found[0]


def _known(verb: str, pairs: Mapping[str, str], keys: tuple[str, ...]) -> None:
    unknown = sorted(set(pairs) - set(keys))
    if unknown:
        raise Misunderstood(f"{verb} knows no {unknown[0]}. It takes {', '.join(keys)}.")


def _demand(call: Call, action: str) -> None:
    if not may(call.user, action):
        raise PermissionDenied(f"{call.user} may not do that ({action}).")
