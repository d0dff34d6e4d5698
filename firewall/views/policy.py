"""Who may open connections to whom: the grid and the editor of one cell."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from accounts.doors import UserRequest, actor_of, page
from firewall import rows, services, undo
from firewall.forms import CellForm
from firewall.specs import DOM0, ICMP, INTERNET, VPN, Restriction, Site
from firewall.views.about import host_of, known_host
from hosts.models import Host

CALLED = {INTERNET: "Internet", VPN: "Admin VPN", DOM0: "dom0"}


@dataclass(frozen=True, kw_only=True)
class Square:
    """One square of the grid: `look` is "all", "some" or "" (closed); no `url`: nothing to see there.

    `fixed`: it follows from something else and is no wish.
    """

    words: str
    look: str = ""
    url: str = ""
    label: str = ""
    here: bool = False
    fixed: bool = False


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The cell somebody looks at; fragments of "policy.cell" say what it comes to (ui.registry)."""

    host: Host
    site: Site
    source: str
    target: str


def called(party: str) -> str:
    """A party as the grid names it."""
    return CALLED.get(party, party)


def editable(site: Site, source: str, target: str) -> bool:
    """Whether this cell is a wish at all: the rest follows from services, or never changes."""
    zones = {z.name for z in site.zones}
    if source in (target, DOM0) or not {source, target} <= set(site.parties()):
        return False
    if source == INTERNET:
        return False
    return source == VPN or source in zones


def grid(site: Site, *, chosen: tuple[str, str] = ("", "")) -> list[tuple[str, list[Square]]]:
    """The rows of the grid."""
    return [
        (called(source), [_square(site, source, target, chosen) for target in site.parties()])
        for source in site.parties()
    ]


def _square(site: Site, source: str, target: str, chosen: tuple[str, str]) -> Square:
    words, look = _content(site, source, target)
    fixed = not editable(site, source, target)
    if source == target:
        return Square(words=words, look=look, fixed=fixed)
    url = "?" + urlencode({"source": source, "target": target}) + "#cell"
    label = f"{called(source)} to {called(target)}: {words}"
    return Square(words=words, look=look, url=url, label=label, here=(source, target) == chosen, fixed=fixed)


def _content(site: Site, source: str, target: str) -> tuple[str, str]:
    if source == target:
        return ("inside: free" if source not in CALLED else "", "")
    if source == DOM0:
        return ("everything", "all")
    if source == INTERNET:
        return _from_internet(site, target)
    cell = site.cell(source, target)
    never = [_never(site, r) for r in site.restrictions if _holds(site, r, source, target)]
    if cell.everything:
        return (f"everything but {', '.join(never)}", "some") if never else ("everything", "all")
    fixed = "DHCP, DNS, ping" if target == DOM0 and source != VPN else ""
    words = ", ".join(filter(None, (fixed, "" if cell.words == "nothing" else cell.words)))
    return (words, "some") if words else ("closed", "")


def _never(site: Site, restriction: Restriction) -> str:
    """What a restriction takes away, with the address where it is about a part of the other side only."""
    whole = restriction.address in (None, *(z.network for z in site.zones))
    return str(restriction.ports) if whole else f"{restriction.ports} of {restriction.address}"


def _holds(site: Site, restriction: Restriction, source: str, target: str) -> bool:
    """Whether a restriction takes something away from this cell."""
    zone = site.zone(restriction.zone).name
    here, there = (source, target) if restriction.direction == "out" else (target, source)
    if restriction.action == "ACCEPT" or zone != here:
        return False
    return restriction.address is None or _overlaps(site, restriction.address, there)


def _overlaps(site: Site, address: str, party: str) -> bool:
    about = IPv4Network(address)
    own = {z.name: z.network for z in site.zones} | ({VPN: site.vpn.network} if site.vpn and site.vpn.network else {})
    if party in own:
        return about.overlaps(IPv4Network(own[party] or address))
    return not any(about.subnet_of(IPv4Network(z.network)) for z in site.zones)


def _from_internet(site: Site, target: str) -> tuple[str, str]:
    if target == DOM0:
        own = [str(s.ports) for s in site.services if s.target is None]
        return (", ".join(dict.fromkeys([f"tcp {site.ssh_port}", *own])), "some")
    count = _published(site)[target]
    return (f"published, {count}", "some") if count else ("closed", "")


@lru_cache(maxsize=2)
def _published(site: Site) -> Counter[str]:
    """How many services lead into each zone."""
    zones = (site.zone_of(service.target) for service in site.services if service.target)
    return Counter(zone.name for zone in zones if zone)


@page("firewall.view")
def policy(request: UserRequest) -> HttpResponse:
    """The grid, and the editor of the cell that is chosen."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/policy.html", {"host": None})
    site = rows.site_of(host)
    chosen = _chosen(request, site)
    return _policy(request, host, site, chosen, _cell_form(request, site, chosen) if editable(site, *chosen) else None)


@page("policy.change", methods=("POST",))
def cell(request: UserRequest) -> HttpResponse:
    """Save one cell, and the one the other way where asked for."""
    host = known_host(request)
    site = rows.site_of(host)
    chosen = _chosen(request, site)
    if not editable(site, *chosen):
        raise Http404
    form = _cell_form(request, site, chosen)
    if form.is_valid():
        try:
            cells = form.cells(*chosen, back=editable(site, chosen[1], chosen[0]))
            services.policy_set(actor_of(request), host, cells, reason=form.cleaned_data["reason"])
            messages.success(request, "Saved. It takes effect when you apply.")
            return redirect(f"{reverse('firewall:policy')}?{urlencode({'source': chosen[0], 'target': chosen[1]})}")
        except ValidationError as error:
            form.take(error)
    return _policy(request, host, site, chosen, form)


def _chosen(request: UserRequest, site: Site) -> tuple[str, str]:
    """The cell in the page's address; two empty words for none. Raises Http404 for one that is not in the grid."""
    source, target = request.GET.get("source", ""), request.GET.get("target", "")
    if (source or target) and (source == target or not {source, target} <= set(site.parties())):
        raise Http404
    return source, target


def _policy(
    request: UserRequest, host: Host, site: Site, chosen: tuple[str, str], form: CellForm | None
) -> HttpResponse:
    source, target = chosen
    squares, here = grid(site, chosen=chosen), leg(request, site)
    row = dict(squares).get(called(here), [])
    context = {
        "host": host,
        "legs": [(party, called(party)) for party in site.parties()],
        "leg": here,
        "row": [(called(to), one) for to, one in zip(site.parties(), row, strict=True) if to != here],
        "columns": [called(party) for party in site.parties()],
        "grid": squares,
        "chosen": Pair(host=host, site=site, source=source, target=target) if source else None,
        "form": form,
        "query": urlencode({"source": source, "target": target}),
        "source": called(source),
        "target": called(target),
        "back": editable(site, target, source),
        "was": (was := in_force(host, site, source, target) if form else ""),
        "seen": cell_seen(site, source, target, was),
        "why": _fixed(source, target),
        "published": f"{reverse('firewall:services')}?{urlencode({'q': target})}" if source == INTERNET else "",
    }
    return render(request, "firewall/policy.html", context, status=422 if form and form.errors else 200)


def cell_seen(site: Site, source: str, target: str, was: str) -> str:
    """What whoever undoes a cell has seen of it (`undo.refuse_unseen`)."""
    return undo.seen(site.cell(source, target), was)


def in_force(host: Host, site: Site, source: str, target: str) -> str:
    """What is in force of a cell that is wished otherwise; "" where both say the same, and before the first apply."""
    live = rows.tried_or_live(host).first()
    if live is None:
        return ""
    now, wished = rows.site_in(live).cell(source, target), site.cell(source, target)
    same = (now.everything, now.ports) == (wished.everything, wished.ports)
    return "" if same else "everything" if now.everything else now.words


def leg(request: UserRequest, site: Site) -> str:
    """From whom, where a narrow page shows one row of a grid: the chosen cell's, else as asked, else the first."""
    parties = list(site.parties())
    asked = request.GET.get("source") or request.GET.get("from", "")
    return asked if asked in parties else next(iter(parties), "")


def _fixed(source: str, target: str) -> str:
    """Why a cell can't be changed here."""
    if source == DOM0:
        return "dom0 itself may open everything: it is the host, and the panel’s jobs run there."
    if target == VPN:
        return "The Internet never reaches the admin VPN."
    if target == DOM0:
        return "The Internet reaches dom0 by the admin’s ssh and by dom0’s own published ports, by nothing else."
    return "The Internet reaches machines by published services only: publish one, or take one out."


def _cell_form(request: UserRequest, site: Site, chosen: tuple[str, str]) -> CellForm:
    cell = site.cell(*chosen)
    initial = {
        "may": "all" if cell.everything else "only" if cell.ports else "none",
        "ports": ", ".join("icmp" if p.proto == ICMP else f"{p.proto}:{p.span}" for p in cell.ports),
    }
    return CellForm(request.POST or None, initial=initial)
