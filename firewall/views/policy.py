"""Who may open connections to whom: the grid, zone restrictions, the operator's own rules."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from accounts.doors import UserRequest, actor_of, page
from firewall import rows, services
from firewall.forms import CellForm, CustomForm, RestrictionForm
from firewall.models import CustomRule, ZoneRestriction
from firewall.specs import DOM0, INTERNET, VPN, Site
from firewall.views.about import host_of, known_host
from hosts.models import Host

CALLED = {INTERNET: "Internet", VPN: "Admin VPN", DOM0: "dom0"}


@dataclass(frozen=True, kw_only=True)
class Square:
    """One square of the grid: `look` is "all", "some" or "" (closed); no `url`: nothing to edit there."""

    words: str
    look: str = ""
    url: str = ""
    label: str = ""
    here: bool = False


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
    if source == target or not (editable(site, source, target) or source == INTERNET):
        return Square(words=words, look=look)
    url = "?" + urlencode({"source": source, "target": target}) + "#cell"
    if source == INTERNET:
        if target == VPN:
            return Square(words=words)
        q = "" if target == DOM0 else "?" + urlencode({"q": target})
        url = reverse("firewall:services") + q
    label = f"{called(source)} to {called(target)}: {words}"
    return Square(words=words, look=look, url=url, label=label, here=(source, target) == chosen)


def _content(site: Site, source: str, target: str) -> tuple[str, str]:
    if source == target:
        return ("inside: free" if source not in CALLED else "", "")
    if source == DOM0:
        return ("everything", "all")
    if source == INTERNET:
        return _from_internet(site, target)
    cell = site.cell(source, target)
    never = [str(r.ports) for r in site.restrictions if _holds(site, r.zone, r.direction, r.action, source, target)]
    if cell.everything:
        return (f"all but {', '.join(never)}", "some") if never else ("everything", "all")
    fixed = "DHCP, DNS, ping" if target == DOM0 and source != VPN else ""
    words = ", ".join(filter(None, (fixed, "" if cell.words == "nothing" else cell.words)))
    return (words, "some") if words else ("closed", "")


def _holds(site: Site, number: int, direction: str, action: str, source: str, target: str) -> bool:
    zone = next((z.name for z in site.zones if z.number == number), "")
    return action != "ACCEPT" and zone == (source if direction == "out" else target)


def _from_internet(site: Site, target: str) -> tuple[str, str]:
    if target == DOM0:
        own = [str(s.ports) for s in site.services if s.target is None]
        return (", ".join(dict.fromkeys([f"tcp {site.ssh_port}", *own])), "some")
    zone = next((z for z in site.zones if z.name == target), None)
    count = sum(bool(s.target) and zone is not None and zone.holds(s.target or "") for s in site.services)
    return (f"published, {count}", "some") if count else ("closed", "")


@page("firewall.view")
def policy(request: UserRequest) -> HttpResponse:
    """The grid, and the editor of the cell that is chosen."""
    host = host_of(request)
    if host is None:
        return render(request, "firewall/policy.html", {"host": None})
    site = rows.site_of(host)
    chosen = _chosen(request, site)
    return _policy(request, host, site, chosen, _cell_form(request, site, chosen) if any(chosen) else None)


@page("policy.change", methods=("POST",))
def cell(request: UserRequest) -> HttpResponse:
    """Save one cell, and the one the other way where asked for."""
    host = known_host(request)
    site = rows.site_of(host)
    chosen = _chosen(request, site)
    if not any(chosen):
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
    chosen = (request.GET.get("source", ""), request.GET.get("target", ""))
    if any(chosen) and not editable(site, *chosen):
        raise Http404
    return chosen


def _policy(
    request: UserRequest, host: Host, site: Site, chosen: tuple[str, str], form: CellForm | None
) -> HttpResponse:
    context = {
        "host": host,
        "columns": [called(party) for party in site.parties()],
        "grid": grid(site, chosen=chosen),
        "form": form,
        "query": urlencode({"source": chosen[0], "target": chosen[1]}),
        "source": called(chosen[0]),
        "target": called(chosen[1]),
        "back": any(chosen) and editable(site, chosen[1], chosen[0]),
        "restrictions": ZoneRestriction.objects.filter(zone__host=host).select_related("zone"),
        "customs": CustomRule.objects.filter(host=host).select_related("author"),
    }
    return render(request, "firewall/policy.html", context, status=422 if form and form.errors else 200)


def _cell_form(request: UserRequest, site: Site, chosen: tuple[str, str]) -> CellForm:
    cell = site.cell(*chosen)
    initial = {
        "may": "all" if cell.everything else "only" if cell.ports else "none",
        "ports": ", ".join(f"{p.proto}:{p.span}" for p in cell.ports),
    }
    return CellForm(request.POST or None, initial=initial)


@page("restriction.change", methods=("GET", "POST"))
def restriction(request: UserRequest) -> HttpResponse:
    """A new zone restriction."""
    host: Host = known_host(request)
    form = RestrictionForm(request.POST or None, host=host, initial={"zone": request.GET.get("zone", "")})
    if form.is_valid():
        try:
            made = services.restriction_add(actor_of(request), **form.wish)
            messages.success(request, f"{made.name} is saved. It takes effect when you apply.")
            return redirect("firewall:policy")
        except ValidationError as error:
            form.take(error)
    form.focus()
    return render(request, "firewall/restriction.html", {"form": form}, status=422 if form.errors else 200)


@page("restriction.change", methods=("POST",))
def restriction_remove(request: UserRequest, pk: int) -> HttpResponse:
    """Take a zone restriction out of the wishes."""
    row = get_object_or_404(ZoneRestriction, pk=pk)
    services.restriction_remove(actor_of(request), row)
    messages.success(request, f"{row.name} is taken out. What it stopped opens when you apply.")
    return redirect("firewall:policy")


@page("policy.change", methods=("GET", "POST"))
def custom(request: UserRequest) -> HttpResponse:
    """A new rule of the operator's own."""
    host = known_host(request)
    form = CustomForm(request.POST or None)
    if form.is_valid():
        try:
            services.custom_add(actor_of(request), host, **form.cleaned_data)
            messages.success(request, "Your rule is saved. It takes effect when you apply.")
            return redirect("firewall:policy")
        except ValidationError as error:
            form.take(error)
    form.focus()
    return render(request, "firewall/custom.html", {"form": form}, status=422 if form.errors else 200)


@page("policy.change", methods=("POST",))
def custom_remove(request: UserRequest, pk: int) -> HttpResponse:
    """Take an operator's own rule out of the wishes."""
    services.custom_remove(actor_of(request), get_object_or_404(CustomRule, pk=pk))
    messages.success(request, "The rule is taken out. It goes when you apply.")
    return redirect("firewall:policy")
