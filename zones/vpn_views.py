"""The admin VPN in the browser. Every change is a POST to one service."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render

from accounts.doors import UserRequest, actor_of, page
from dom0.errors import Refused
from hosts.models import Host, Job
from ui.htmx import answer
from zones import vpn
from zones.models import VpnPeer
from zones.vpn import Standing, Vpn
from zones.vpn_forms import PeerForm, RevokeForm

KINDS = ("vpn", "vpn peer", "vpn revocation")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One host's admin VPN: its peers that may come in, those revoked, and names only the host knows."""

    host: Host
    vpn: Vpn
    peers: list[Standing]
    revoked: list[Standing]
    strangers: dict[str, str]
    silent: bool
    job: Job | None
    lines: str = ""

    @property
    def differs(self) -> bool:
        """Whether the host's list is not as wished, and no job is on its way to it."""
        return self.job is None and any(each.state in ("wait", "bad") for each in (*self.peers, *self.revoked))


def _shown(host: Host) -> Shown:
    found = vpn.vpn_of(host)
    rows = list(VpnPeer.objects.filter(host=host).select_related("user"))
    standings = vpn.standings(host, rows)
    live = [each for each in standings if each.peer.revoked is None]
    report = host.figures.get("vpn") or {}
    return Shown(
        host=host,
        vpn=found,
        peers=live,
        revoked=[each for each in standings if each.peer.revoked],
        strangers=vpn.strangers(host, rows),
        silent=bool(found.management) and report.get("clients") is None,
        job=Job.objects.filter(host=host, target_kind__in=KINDS, state__in=Job.OPEN).first(),
        lines="" if found.clients else "\n".join(vpn.lines(found, row) for row in rows),
    )


def _hosts() -> list[Host]:
    return [host for host in Host.objects.all() if vpn.vpn_of(host).there]


@page("vpn.view")
def list_(request: UserRequest) -> HttpResponse:
    """Each host's admin VPN: its interface and network, who may come in, who is in."""
    return _list(request)


def _list(request: UserRequest, refused: Refused | None = None) -> HttpResponse:
    context = {"shown": [_shown(host) for host in _hosts()], "refused": refused, "has_host": Host.objects.exists()}
    return answer(request, "zones/vpn.html", {"rows": "zones/_vpn_rows.html"}, context, status=409 if refused else 200)


@page("vpn.change", methods=("GET", "POST"))
def add(request: UserRequest) -> HttpResponse:
    """A new peer; a name only the host's list has may be taken over (`?name=`)."""
    given = {key: request.GET[key][:40] for key in ("name", "address") if key in request.GET}
    form = PeerForm(
        request.POST if request.method == "POST" else None, hosts=_hosts(), initial={"user": request.user, **given}
    )
    refused: Refused | None = None
    if form.is_valid():
        try:
            peer, job = vpn.peer_add(actor_of(request), **form.cleaned_data)
            if job is not None:
                return redirect("hosts:job", job.pk)
            messages.success(request, f"Added {peer.name} with {peer.address}. Now type its line on the host.")
            return redirect("zones:vpn")
        except ValidationError as error:
            form.take(error)
        except Refused as error:
            refused = error
    status = 409 if refused else 422 if form.errors else 200
    return render(request, "zones/vpn_add.html", {"form": form, "refused": refused}, status=status)


@page("vpn.change", methods=("GET", "POST"))
def revoke(request: UserRequest, pk: int) -> HttpResponse:
    """What revoking a peer means, and its revocation."""
    peer = get_object_or_404(VpnPeer.objects.select_related("user", "host"), pk=pk)
    form = RevokeForm(request.POST if request.method == "POST" else None)
    refused: Refused | None = None
    if form.is_valid():
        try:
            job = vpn.peer_revoke(actor_of(request), peer, **form.cleaned_data)
            if job is not None:
                return redirect("hosts:job", job.pk)
            messages.success(request, f"Revoked {peer.name} here. Now type its line on the host.")
            return redirect("zones:vpn")
        except Refused as error:
            refused = error
    context = {"peer": peer, "vpn": vpn.vpn_of(peer.host), "form": form, "refused": refused}
    return render(request, "zones/vpn_revoke.html", context, status=409 if refused else 200)


@page("vpn.change", methods=("POST",))
def write(request: UserRequest, pk: int) -> HttpResponse:
    """Bring the list of a host in line."""
    host = get_object_or_404(Host, pk=pk)
    try:
        return redirect("hosts:job", vpn.list_write(actor_of(request), host).pk)
    except Refused as error:
        return _list(request, error)
